"""What clients and gateways tell one another about outgoing messages reads and packs as the vectors fix."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mesyx_core.api import Bytes, Message
from mesyx_core.record import content, outgoing
from mesyx_core.record.content import BlobRef, Content
from mesyx_core.record.outgoing import (
    Account,
    AccountRemoved,
    Day,
    Fate,
    Intent,
    Receipt,
    Recipients,
    Request,
    Submission,
    Told,
)
from mesyx_core.record.shape import RecordError

FOLDER = Path(__file__).parents[2] / "vectors" / "content"
TIME = 1_795_305_600
ID = bytes(range(16))
NODE = b"n" * 32
AGE = "age1pq1" + "q" * 20
DAY = outgoing.day_id(AGE)
MAIL = Message(
    kind="mail",
    time=datetime.fromtimestamp(TIME, UTC),
    body=Bytes(b"Subject: x\r\n\r\ntext\r\n"),
    direction="out",
    sender="a@example.org",
    recipients=("b@example.org", "c@example.org"),
    network_id="<x@example.org>",
    envelope={"reverse_path": "a@example.org"},
)
LARGE = Message(kind="mail", time=datetime.fromtimestamp(TIME, UTC), direction="out", recipients=("c@example.org",))
BLOB = BlobRef(hashlib.sha256(b"blob").digest(), 70_000, hashlib.sha256(b"key").digest())
HELD: dict[str, Told] = {
    "recipients": Recipients(TIME, (Day(DAY, AGE, TIME, TIME + 86_400),), ("mail", "irc")),
    "submission": Submission(ID, "send", NODE, DAY, TIME + 432_000, TIME),
    "submission-waiting": Submission(ID, "send", b"", b"", TIME + 432_000, TIME),
    "request-send": Request("send", ID, TIME + 432_000, MAIL, b"Subject: x\r\n\r\ntext\r\n"),
    "request-again": Request("send", ID, TIME + 432_000, LARGE, BLOB, (1,)),
    "request-drop": Request("drop", ID),
    "intent": Intent(ID, 2, (0, 1), TIME),
    "receipt": Receipt(
        ID,
        TIME,
        False,
        (
            Fate(0, "b@example.org", "sent", "", "192.0.2.1", 1),
            Fate(1, "c@example.org", "later", "451 4.7.1 greylisted", "mx.example.org", 1, TIME + 300),
        ),
    ),
    "account": Account(
        "libera", "irc", NODE, "", {"nick": "alice", "tls": True, "channels": ["#mesyx"]}, {"password": "geheim"}, TIME
    ),
    "account-removed": AccountRemoved("libera", NODE, TIME),
}


@pytest.mark.parametrize("name", HELD)
def test_it_reads_and_packs_as_fixed(name: str) -> None:
    data = (FOLDER / f"{name}.cbor").read_bytes()
    assert HELD[name].pack() == data
    assert outgoing.decode(content.unpack(data)) == HELD[name]


def test_recipients_keep_their_numbers_when_a_request_is_sealed_again() -> None:
    first, again = HELD["request-send"], HELD["request-again"]
    assert isinstance(first, Request)
    assert isinstance(again, Request)
    assert first.numbered == {0: "b@example.org", 1: "c@example.org"}
    assert again.numbered == {1: "c@example.org"}


def test_other_kinds_are_none_of_these() -> None:
    assert outgoing.decode(Content("op", value=b"batch")) is None


_SEND = {"verb": "send", "id": ID, "deadline": TIME, "message": content.pack(MAIL, b"")}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("recipients", [TIME, [[DAY, AGE + "q", TIME, TIME]], ["mail"]]),
        ("recipients", [TIME, [[DAY, AGE, TIME, TIME]] * 33, ["mail"]]),
        ("recipients", [TIME, [], "mail"]),
        ("submission", [ID, "keep", NODE, DAY, TIME, TIME]),
        ("submission", [ID[1:], "send", NODE, DAY, TIME, TIME]),
        ("submission", [ID, "send", NODE[1:], DAY, TIME, TIME]),
        ("submission", [ID, "send", NODE, DAY, -1, TIME]),
        ("request", [ID]),
        ("request", {"verb": "send", "id": ID}),
        ("request", {**_SEND, "message": content.pack_inner("op", b"")}),
        ("request", {**_SEND, "message": content.pack(Message(kind="mail", time=MAIL.time), b"")}),
        ("request", {**_SEND, "numbers": [1]}),
        ("request", {**_SEND, "numbers": [1, 1]}),
        ("request", {**_SEND, "deadline": True}),
        ("intent", [ID, 1, [1000], TIME]),
        ("intent", [ID, 1, [3, 3], TIME]),
        ("receipt", [ID, TIME, 1, []]),
        ("receipt", [ID, TIME, True, [[0, "a", "gone", "", "", 0, None]]]),
        ("receipt", [ID, TIME, True, [[0, "a", "sent", "x" * 513, "", 0, None]]]),
        ("receipt", [ID, TIME, True, [[0, "a", "sent", "", "", 0, None]] * 201]),
        ("account", ["", "irc", NODE, "", {}, {}]),
        ("account", ["a", "irc", NODE, "", {"a": b"bytes"}, {}]),
        ("account", ["a", "irc", NODE, "", {"a": [[[[[[[[[1]]]]]]]]]}, {}]),
        ("account", ["a", "irc", NODE, "", {1: 2}, {}]),
        ("account", ["a", "irc", NODE, "", {}, {"password": 5}]),
        ("account", ["a", NODE[1:]]),
    ],
)
def test_any_other_form_is_refused(kind: Any, value: object) -> None:
    with pytest.raises(RecordError):
        outgoing.decode(content.unpack(content.pack_inner(kind, value)))


def test_an_error_repeats_nothing_of_what_it_refused() -> None:
    with pytest.raises(RecordError) as failure:
        outgoing.decode_account(["secret", "irc", b"", "", {}, {"secret": "secret"}])
    assert "secret" not in str(failure.value)
