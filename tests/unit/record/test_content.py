"""What is sealed reads and packs as the vectors fix."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.api import Bytes, Message, Scalar
from mesyx_core.record import content
from mesyx_core.record.content import BlobRef, Content
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding

FOLDER = Path(__file__).parents[2] / "vectors" / "content"
NOON = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
HELD: dict[str, tuple[Message, bytes | BlobRef]] = {
    "mail": (
        Message(kind="mail", time=NOON, sender="a@example.org", recipients=("b@example.org",)),
        b"Subject: x\r\n\r\ntext\r\n",
    ),
    "mail-full": (
        Message(
            kind="mail",
            time=NOON + timedelta(milliseconds=123),
            network="matrix",
            account="work",
            conversation="#room",
            direction="out",
            sender="a@example.org",
            recipients=("b@example.org", "c@example.org"),
            claimed=NOON - timedelta(seconds=1),
            network_id="<id@example.org>",
            envelope={"peer": "192.0.2.1", "tls": True, "score": 1.5, "trace": 120, "raw": b"\0\xff", "none": None},
            tags={"key": "välue"},
            importance="high",
            mailbox="Lists/x",
            flags=frozenset({"work", "\\Seen"}),
        ),
        b"body",
    ),
    "mail-blob": (
        Message(kind="mail", time=NOON),
        BlobRef(hashlib.sha256(b"blob").digest(), 70_000, hashlib.sha256(b"key").digest()),
    ),
    "line": (
        Message(
            kind="line",
            time=NOON,
            network="irc",
            account="libera",
            conversation="#mesyx",
            sender="nick!user@host",
        ),
        b"hello",
    ),
    "early": (Message(kind="event", time=datetime(1969, 12, 31, 23, 59, 58, 500_000, UTC)), b""),
}


@pytest.mark.parametrize("name", HELD)
def test_a_message_reads_and_packs_as_fixed(name: str) -> None:
    data = (FOLDER / f"{name}.cbor").read_bytes()
    message, body = HELD[name]
    assert content.pack(message, body) == data
    opened = content.unpack(data)
    shown = body if isinstance(body, bytes) else b""
    assert opened.body == body
    assert opened.kind == message.kind
    assert opened.message is not None
    assert opened.message.body == Bytes(shown)
    assert {f: getattr(opened.message, f) for f in Message.__slots__ if f != "body"} == {
        f: getattr(message, f) for f in Message.__slots__ if f != "body"
    }


def test_inner_kinds_carry_their_value() -> None:
    op, request = ((FOLDER / f"{name}.cbor").read_bytes() for name in ("op", "request"))
    assert content.unpack(op) == Content("op", value=b"batch")
    assert content.unpack(request) == Content("request", value={"to": ["a"], "deadline": 5})
    assert content.pack_inner("op", b"batch") == op
    assert content.pack_inner("request", {"deadline": 5, "to": ["a"]}) == request


def test_every_vector_is_read() -> None:
    for file in FOLDER.glob("*.cbor"):
        content.unpack(file.read_bytes())


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [1],
        [1, "mail"],
        [1, "mail", {}, b""],
        [1, "mail", {1: 0}, "text"],
        [1, "mail", {1: 0}, [b"h", 1, b"k"]],
        [1, "mail", {1: 2**53 - 1}, b""],
        [1, "mail", {1: True}, b""],
        [1, "mail", {1: 0, 6: 7}, b""],
        [1, "mail", {1: 0, 7: "b"}, b""],
        [1, "mail", {1: 0, 10: {1: 2}}, b""],
        [1, "mail", {1: 0, 11: {"k": 2}}, b""],
        [1, "mail", {1: 0, 14: [1]}, b""],
        [1, "mail", {"1": 0}, b""],
        [1, "song", {1: 0}, b""],
        [1, ["mail"], {1: 0}, b""],
        [1, "op", 1, 2],
        [True, "op", 1],
    ],
)
def test_any_other_form_is_refused(value: object) -> None:
    with pytest.raises(RecordError):
        content.unpack(encoding.encode(value))


def test_a_later_version_says_what_to_do() -> None:
    for value in ([2, "mail", {1: 0}, b"", 5], [2, "song"]):
        with pytest.raises(RecordError, match="update Mesyx"):
            content.unpack(encoding.encode(value))


def test_fields_of_a_later_minor_version_are_passed_over() -> None:
    opened = content.unpack(encoding.encode([1, "mail", {1: 0, 5: "sideways", 12: "vital", 99: "new"}, b""]))
    assert opened.message is not None
    assert (opened.message.direction, opened.message.importance) == ("in", "normal")


def test_an_error_repeats_nothing_of_what_it_refused() -> None:
    with pytest.raises(RecordError) as failure:
        content.unpack(encoding.encode([1, "mail", {1: 0, 6: ["secret"]}, b"secret"]))
    assert "secret" not in str(failure.value)


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-840, 840))
def test_times_come_back_to_the_millisecond(time: datetime, minutes: int) -> None:
    aware = time.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert abs(content.moment(content.milliseconds(aware)) - aware) < timedelta(milliseconds=1)


def test_an_irc_line_stays_small() -> None:
    assert len(content.pack(*HELD["line"])) < 100


SCALARS = st.one_of(
    st.text(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.booleans(), st.binary(), st.none()
)


@given(st.dictionaries(st.text(max_size=30), SCALARS), st.dictionaries(st.text(max_size=30), st.text()))
def test_what_is_packed_in_haste_is_deterministic(envelope: dict[str, Scalar], tags: dict[str, str]) -> None:
    message = Message(
        kind="mail", time=datetime.now(UTC), sender="a", mailbox="b", direction="out", envelope=envelope, tags=tags
    )
    packed = content.pack(message, b"body")
    assert packed == encoding.encode(encoding.decode(packed, limit=1 << 20))


@pytest.mark.parametrize("name", HELD)
def test_what_is_sealed_unseen_is_one_item(name: str) -> None:
    packed = content.pack(*HELD[name])
    assert encoding.extent(packed) == len(packed)


@pytest.mark.parametrize("value", [NOON, 1 << 64, ["a"], {"a": 1}, ("a",), 1.5, frozenset("a")])
@pytest.mark.parametrize("field", ["envelope", "tags", "recipients", "sender"])
def test_what_a_plugin_gives_of_another_type_is_looked_through_before_it_is_sealed(field: str, value: Any) -> None:
    given: dict[str, Any] = {"recipients": (value,), "sender": value}
    message = Message(kind="mail", time=NOON, **{field: given.get(field, {"peer": value})})
    try:
        packed = content.pack(message, b"body")
    except (TypeError, ValueError):
        return
    assert type(packed) is bytes


def test_a_message_whose_fields_keep_to_their_types_is_not_looked_through() -> None:
    envelope: dict[str, Scalar] = {"peer": "192.0.2.1", "port": 25, "tls": True, "raw": b"x", "none": None}
    message = Message(kind="mail", time=NOON, sender="a@example.org", recipients=("b@example.org",), envelope=envelope)
    assert type(content.pack(message, b"body")) is encoding.Item
