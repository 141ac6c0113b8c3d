"""Everything in `mesyx_core.record` that reads bytes of another node: headers, payloads, checkpoints, contents."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from mesyx_core.api import Message
from mesyx_core.record import checkpoint, content, marks, payloads
from mesyx_core.record.entry import Header, Kind, Origin, decode_header, entry_id
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.nodekey import NodeKey

_KEY = NodeKey(b"k" * 32)
_ORIGIN = Origin(b"s" * 32, _KEY.public, b"i" * 16)
_MESSAGE = Message(
    kind="mail",
    time=datetime(2026, 11, 22, tzinfo=UTC),
    claimed=datetime(2026, 11, 21, tzinfo=UTC),
    sender="a@example.org",
    recipients=("b@example.org", "c@example.org"),
    envelope={"peer": "192.0.2.1", "tls": True, "score": 1.5, "trace": 120, "raw": b"\x00", "none": None},
    tags={"k": "v"},
    importance="high",
    flags=frozenset({"\\Seen", "x"}),
)

SEEDS = [
    Header(Kind.SEALED, 7, 3, b"s" * 32, ((b"h" * 32, 70_000), (b"g" * 32, 5)), 512, b"p" * 32).encode(),
    Header(Kind.END, 0, 0, b"", (), 2, b"p" * 32).encode(),
    payloads.Start(b"m" * 32, (payloads.Earlier(b"i" * 16, 9, b"c" * 32),)).encode(),
    payloads.Epoch(payloads.Target("keyset", b"k" * 32), b"c" * 32, b"age-encryption.org/v1\n").encode(),
    payloads.Epoch(payloads.CLIENTS, b"c" * 32, b"age-encryption.org/v1\n").encode(),
    payloads.Close(1024).encode(),
    payloads.End().encode(),
    marks.Reseal(_KEY.public, b"i" * 16, 7, payloads.Target("keyset", b"k" * 32), b"age-encryption.org/v1\n").encode(),
    *(one.encode() for one in marks.purges("grace", [(_ORIGIN, [(n, bytes([n]) * 32) for n in (2, 3, 4, 9)])])),
    marks.Veto(_KEY.public, b"i" * 16, 5).encode(),
    checkpoint.sign(_KEY, checkpoint.Checkpoint(_ORIGIN, 5, b"c" * 32, b"m" * 32, 1_800_000_000)),
    content.pack(_MESSAGE, b"Subject: x\r\n\r\ntext\r\n"),
    content.pack(_MESSAGE, content.BlobRef(b"h" * 32, 70_000, b"k" * 32)),
    content.pack_inner("op", b"op"),
    content.pack_inner("request", {"to": ["a"], "deadline": 5}),
]


def target(data: bytes) -> None:
    """Each decoder takes what another node may send; what it takes encodes to the same bytes."""
    for decode in (
        decode_header,
        payloads.decode_start,
        payloads.decode_epoch,
        payloads.decode_close,
        payloads.decode_end,
        marks.decode_reseal,
        marks.decode_purge,
        marks.decode_veto,
    ):
        try:
            value = decode(data)
        except RecordError:
            continue
        assert value.encode() == data
    with suppress(RecordError):
        checkpoint.verify(data)
    try:
        opened = content.unpack(data)
    except RecordError:
        pass
    else:
        if opened.message is not None:
            content.unpack(content.pack(opened.message, opened.body))
    entry_id(data)
