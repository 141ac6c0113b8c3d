"""What is sealed: a message with its body, or one of the inner kinds, as versioned CBOR (design, section 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args

import cbor2

from mesyx_core.api import Bytes, Direction, Importance, Kind, Message, Scalar
from mesyx_core.record import shape
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding

VERSION: Final = 1
MAX_CONTENT: Final = 1 << 20
MAX_ITEMS: Final = 100_000

Inner: TypeAlias = Literal["op", "receipt", "intent", "snapshot", "submission", "request", "account", "recipients"]
_MESSAGES: Final = frozenset(get_args(Kind))
_INNER: Final = frozenset(get_args(Inner))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class BlobRef(NamedTuple):
    """A body that lies in a blob of the entry."""

    hash: bytes
    """SHA-256 of the ciphertext, as in the entry's header."""
    size: int
    """Of the body in clear, in bytes."""
    key: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """What an entry held once opened."""

    kind: str
    message: Message | None = None
    """For mail, line, event and post. Its body is empty when `body` is a BlobRef."""
    body: bytes | BlobRef = b""
    value: Any = field(default=None)
    """For the inner kinds: the decoded value, which the kind's own module checks."""


def pack(
    message: Message,
    body: bytes | BlobRef,
    *,
    recipients: Sequence[str] | None = None,
    envelope: Mapping[str, Scalar] | None = None,
) -> bytes:
    """The bytes to seal for `message`; its own body is not looked at, nor what is given apart from it. An `Item` where
    that is certain by the types."""
    recipients = message.recipients if recipients is None else recipients
    envelope = message.envelope if envelope is None else envelope
    inner: bytes | list[Any] = body if isinstance(body, bytes) else list(body)
    fields = _fields(message, recipients, envelope)
    value = [VERSION, message.kind, fields, inner]
    if _plain(message, fields, recipients, envelope):
        return encoding.Item(encoding.encode_ordered(value))
    return encoding.encode(value)


def pack_inner(kind: Inner, value: Any) -> bytes:
    """The bytes to seal for one of the inner kinds; `value` is plain: int, bytes, str, bool, None, list, dict."""
    return encoding.encode([VERSION, kind, value])


def unpack(data: bytes) -> Content:
    """What `pack` or `pack_inner` made. Raises RecordError."""
    what = "a message's content"
    value = shape.decode(data, what, limit=MAX_CONTENT, items=MAX_ITEMS)
    kind = value[1] if type(value) is list and len(value) > 1 and type(value[1]) is str else None
    if kind in _MESSAGES:
        _, _, fields, inner = shape.versioned(value, what, 4)
        body = _body(inner)
        shown = body if isinstance(body, bytes) else b""
        return Content(cast(str, kind), _message(cast(Kind, kind), fields, shown), body)
    if kind in _INNER:
        return Content(cast(str, kind), value=shape.versioned(value, what, 3)[2])
    shape.versioned(value, what, 3)
    raise RecordError("a message's content is of an unknown kind", "update Mesyx on this node")


def known_body(data: bytes) -> bytes | BlobRef:
    """The body of a message, ten times as fast as `unpack`, for bytes that it has taken before; what follows them is
    left alone."""
    return _body(cbor2.loads(data)[3])


def milliseconds(time: datetime) -> int:
    """Unix milliseconds of an aware time."""
    return (time - _EPOCH) // _MILLISECOND


def moment(time: int) -> datetime:
    """The aware UTC time of Unix milliseconds. Raises RecordError beyond the year 9999."""
    try:
        return _EPOCH + time * _MILLISECOND
    except OverflowError:
        raise RecordError("a message's time is out of range") from None


def _body(value: Any) -> bytes | BlobRef:
    if type(value) is bytes:
        return value
    what = "a message's body"
    digest, size, key = shape.array(value, what, 3)
    return BlobRef(shape.octets(digest, what, shape.HASH), shape.number(size, what), shape.octets(key, what, shape.KEY))


# Fields stand under small numbers, and not at all when they have their default: an IRC line stays an IRC line.
_NETWORK, _ACCOUNT, _CONVERSATION, _SENDER, _NETWORK_ID, _MAILBOX = 2, 3, 4, 6, 9, 13
_TEXTS: Final = {
    "network": _NETWORK,
    "account": _ACCOUNT,
    "conversation": _CONVERSATION,
    "sender": _SENDER,
    "network_id": _NETWORK_ID,
    "mailbox": _MAILBOX,
}
_TIME, _DIRECTION, _RECIPIENTS, _CLAIMED, _ENVELOPE, _TAGS, _IMPORTANCE, _FLAGS = 1, 5, 7, 8, 10, 11, 12, 14
_DEFAULT: Final = {"network": "mail"}
_FIELD_TYPES: Final = {_TIME: int, _RECIPIENTS: list, _CLAIMED: int, _ENVELOPE: dict, _TAGS: dict, _FLAGS: list}
_SCALAR_TYPES: Final = frozenset((str, bool, bytes, type(None)))  # an int by its size; a float is encoded by its value
_INT_BOUND: Final = 1 << 63


def _fields(message: Message, recipients: Sequence[str], envelope: Mapping[str, Scalar]) -> dict[int, Any]:
    """In ascending order, as deterministic CBOR wants them."""
    fields: dict[int, Any] = {_TIME: milliseconds(message.time)}
    if message.network != "mail":
        fields[_NETWORK] = message.network
    if message.account:
        fields[_ACCOUNT] = message.account
    if message.conversation:
        fields[_CONVERSATION] = message.conversation
    if message.direction != "in":
        fields[_DIRECTION] = message.direction
    if message.sender:
        fields[_SENDER] = message.sender
    if recipients:
        fields[_RECIPIENTS] = list(recipients)
    if message.claimed is not None:
        fields[_CLAIMED] = milliseconds(message.claimed)
    if message.network_id:
        fields[_NETWORK_ID] = message.network_id
    if envelope:
        fields[_ENVELOPE] = _ordered(envelope)
    if message.tags:
        fields[_TAGS] = _ordered(message.tags)
    if message.importance != "normal":
        fields[_IMPORTANCE] = message.importance
    if message.mailbox:
        fields[_MAILBOX] = message.mailbox
    if message.flags:
        fields[_FLAGS] = sorted(message.flags)
    return fields


def _plain(
    message: Message, fields: Mapping[int, Any], recipients: Sequence[str], envelope: Mapping[str, Scalar]
) -> bool:
    """Whether every value is of a type that gives one CBOR item which can be opened again: what a plugin puts into an
    envelope need not keep to its type."""
    for number, value in fields.items():
        if type(value) is not _FIELD_TYPES.get(number, str):
            return False
    return (
        type(message.kind) is str
        and _scalar(envelope.values())
        and _scalar(recipients)
        and (not message.tags or _scalar(message.tags.values()))
        and (not message.flags or _scalar(message.flags))
    )


def _scalar(values: Iterable[Any]) -> bool:
    for value in values:
        kind = type(value)
        if kind is int:
            if not -_INT_BOUND <= value < _INT_BOUND:
                return False
        elif kind not in _SCALAR_TYPES:
            return False
    return True


def _ordered(texts: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of deterministic CBOR."""
    return {key: texts[key] for key in _order(tuple(texts))}


@lru_cache(maxsize=64)
def _order(keys: tuple[str, ...]) -> tuple[str, ...]:
    """[Kept: an ingress gives the same names with every message.]"""
    return tuple(sorted(keys, key=_place))


def _place(key: str) -> tuple[int, bytes]:
    encoded = key.encode()
    return len(encoded), encoded


def _message(kind: Kind, value: Any, body: bytes) -> Message:
    what = "a message's fields"
    if type(value) is not dict or not all(type(key) is int for key in value):
        raise RecordError(f"{what} have the wrong form")
    fields: Mapping[int, Any] = value
    texts = {
        name: shape.text(fields.get(number, _DEFAULT.get(name, "")), what, MAX_CONTENT)
        for name, number in _TEXTS.items()
    }
    claimed = fields.get(_CLAIMED)
    return Message(
        kind=kind,
        time=moment(shape.number(fields.get(_TIME), what, shape.TIME_MAX, -shape.TIME_MAX)),
        body=Bytes(body),
        direction=cast(Direction, _one_of(fields.get(_DIRECTION, "in"), Direction, "in")),
        recipients=tuple(_strings(fields.get(_RECIPIENTS, []))),
        claimed=None if claimed is None else moment(shape.number(claimed, what, shape.TIME_MAX, -shape.TIME_MAX)),
        envelope=_scalars(fields.get(_ENVELOPE, {})),
        tags=cast("dict[str, str]", _scalars(fields.get(_TAGS, {}), (str,))),
        importance=cast(Importance, _one_of(fields.get(_IMPORTANCE, "normal"), Importance, "normal")),
        flags=frozenset(_strings(fields.get(_FLAGS, []))),
        **texts,
    )


def _one_of(value: Any, choices: Any, otherwise: str) -> str:
    """An unknown word of a later version counts as the default (section 3: importance)."""
    word = shape.text(value, "a message's fields", 64)
    return word if word in get_args(choices) else otherwise


def _strings(value: Any) -> list[str]:
    return [shape.text(one, "a message's fields", MAX_CONTENT) for one in shape.array(value, "a message's fields")]


def _scalars(value: Any, types: tuple[type, ...] = (str, int, float, bool, bytes, type(None))) -> dict[str, Scalar]:
    if type(value) is not dict:
        raise RecordError("a message's fields have the wrong form")
    if not all(type(name) is str and type(one) in types for name, one in value.items()):
        raise RecordError("a message's fields have the wrong form")
    return value
