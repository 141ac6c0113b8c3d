"""Frames say again what was said, and nothing else passes."""

from __future__ import annotations

import os

import cbor2
import pytest

from mesyx_core.exchange import frames
from mesyx_core.exchange.errors import Violation
from mesyx_core.exchange.frames import Splitter, pack, unpack

HASH, RUN = bytes(32), bytes(16)


def test_every_frame_is_read_as_it_was_written() -> None:
    for frame in (
        frames.Hello((1, 2), RUN),
        frames.Open(1, HASH, bytes(64), HASH, (HASH,), HASH),
        frames.Entries(HASH, RUN, 0, ((b"h", b"p"), (b"h", None)), b""),
        frames.Logs("0f", ((HASH, RUN, 1, HASH),), False),
        frames.Same(),
    ):
        assert unpack(pack(frame)[4:]) == frame


def test_frames_come_out_whole_however_the_bytes_arrive() -> None:
    said = [frames.Ping(n) for n in range(50)]
    stream = b"".join(map(pack, said))
    for step in (1, 3, 7, 1000):
        splitter = Splitter()
        heard = [frame for at in range(0, len(stream), step) for frame in splitter.feed(stream[at : at + step])]
        assert heard == said


@pytest.mark.parametrize("size", [0, frames.MAX_STRANGER + 1, 2**31, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_anything_is_kept(size: int) -> None:
    with pytest.raises(Violation, match=r"too long|empty"):
        list(Splitter().feed(size.to_bytes(4, "big")))


def test_a_splitter_holds_no_more_than_one_frame() -> None:
    splitter = Splitter()
    splitter.limit = 1000
    data = (900).to_bytes(4, "big") + bytes(800)
    assert list(splitter.feed(data)) == []
    with pytest.raises(Violation):
        list(splitter.feed(bytes(5000)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        cbor2.dumps([]),
        cbor2.dumps("text"),
        cbor2.dumps([99]),
        cbor2.dumps([-1]),
        cbor2.dumps([True]),
        cbor2.dumps([1]),
        cbor2.dumps([1, [1], bytes(15)]),
        cbor2.dumps([1, [1], bytes(16), 0]),
        cbor2.dumps([1, ["1"], bytes(16)]),
        cbor2.dumps([1, [1] * 17, bytes(16)]),
        b"\x9f\x07\xff",  # indefinite length
        b"\x82\x18\x07\x01",  # a number longer than it need be
        cbor2.dumps([8, "xyz", [HASH] * 16]),
        cbor2.dumps([8, "0" * 17, [HASH] * 16]),
        cbor2.dumps([12, HASH, RUN, 0, [[b"", b""]], b""]),
        cbor2.dumps([12, HASH, RUN, 0, [[b"h", 5]], b""]),
        cbor2.dumps([12, HASH, RUN, 0, [[b"h"]], b""]),
        cbor2.dumps([12, HASH, RUN, 1 << 40, [[b"h", b"p"]], b""]),
    ],
)
def test_what_is_no_frame_is_a_violation(body: bytes) -> None:
    with pytest.raises(Violation):
        unpack(body)


def test_noise_is_a_violation_or_a_frame() -> None:
    for _ in range(2000):
        try:
            list(Splitter().feed(b"\0\0\0\x10" + os.urandom(16)))
        except Violation:
            continue
