"""The form of a signal: what is sealed to its target, and what its origin signs around that.

What is inside repeats who says it to whom, so that nobody can sign another's sealed words as their own.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args

from pydantic import JsonValue

from mesyx_core.record import shape
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import age, labels
from mesyx_core.vault.encoding import decode, encode
from mesyx_core.vault.nodekey import NodeKey, verify

from .frames import MAX_HOPS, Signal

Word: TypeAlias = Literal["ask", "stop", "reply", "end", "fail", "tell"]
"""A request, its end by who asked, an answer to it, the end of the answers, their end by an error, and an event."""

VERSION: Final = 2
"""Of what is sealed."""
ID: Final = 16
MAX_NAME: Final = 64
MAX_BODY: Final = 60 << 10
"""Bytes of what is sealed."""
MAX_DEPTH: Final = 12
MAX_ITEMS: Final = 20_000
MAX_PATIENCE: Final = 120_000
MAX_NUMBER: Final = (1 << 20) - 1
MAX_TIME: Final = (1 << 40) - 1


class Body(NamedTuple):
    """What a signal says."""

    store: bytes
    origin: bytes
    target: bytes
    id: bytes
    number: int
    word: Word
    name: str = ""
    """Of the request or event."""
    value: JsonValue = None
    patience: int = 0
    """Of a request: milliseconds for which its answers are waited for."""
    made: int = 0
    """Unix seconds by the clock of its origin."""


def seal(key: NodeKey, recipient: str, body: Body, deadline: int) -> Signal | None:
    """The frame; None when what it says is too large, or no JSON. `recipient` is the target's, as the manifest has
    it."""
    try:
        inside = encode([VERSION, *body])
        decode(inside, limit=MAX_BODY, depth=MAX_DEPTH + 2, items=MAX_ITEMS)
    except (ValueError, TypeError, RecursionError):
        return None
    sealed = age.encrypt(inside, [recipient])
    signature = key.sign(labels.SIGNAL, *_signed(body.store, body.target, body.id, body.number, deadline, sealed))
    return Signal(body.target, key.public, body.id, body.number, deadline, MAX_HOPS, signature, sealed)


def genuine(frame: Signal, store: bytes) -> bool:
    """Whether its origin has signed it for this store."""
    signed = _signed(store, frame.target, frame.id, frame.number, frame.deadline, frame.sealed)
    return verify(frame.origin, frame.signature, labels.SIGNAL, *signed)


def _signed(store: bytes, target: bytes, id: bytes, number: int, deadline: int, sealed: bytes) -> tuple[Any, ...]:
    return 1, store, target, id, number, deadline, sealed


def open_(frame: Signal, store: bytes, identity: age.Identity) -> Body:
    """What a signal to this node says. Raises RecordError for one that is not sealed to it, or was said to somebody
    else, by somebody else or in another store."""
    try:
        inside = age.decrypt(frame.sealed, [identity])
    except age.AgeError:
        raise RecordError("a signal is not sealed to this node") from None
    return read(inside, frame, store)


def read(inside: bytes, frame: Signal, store: bytes) -> Body:
    """What was sealed in a frame. Raises RecordError."""
    what = "a signal"
    value = shape.decode(inside, what, limit=MAX_BODY, items=MAX_ITEMS, depth=MAX_DEPTH + 2)
    items = shape.versioned(value, what, 11, VERSION)
    _, about, origin, target, id, number, word, name, said, patience, made = items
    if (about, origin, target, id, number) != (store, frame.origin, frame.target, frame.id, frame.number):
        raise RecordError(f"{what} was said to another, or by another")
    if type(word) is not str or word not in get_args(Word):
        raise RecordError(f"{what} has the wrong form")
    return Body(
        store,
        frame.origin,
        frame.target,
        frame.id,
        frame.number,
        cast(Word, word),
        shape.text(name, what, MAX_NAME),
        json_value(said),
        shape.number(patience, what, MAX_PATIENCE),
        shape.number(made, what, MAX_TIME),
    )


def json_value(value: Any, depth: int = MAX_DEPTH) -> JsonValue:
    """Raises RecordError for what JSON does not have."""
    if depth and type(value) is list:
        return [json_value(one, depth - 1) for one in value]
    if depth and type(value) is dict and all(type(key) is str for key in value):
        return {key: json_value(one, depth - 1) for key, one in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return cast(JsonValue, value)
    raise RecordError("a signal has the wrong form")
