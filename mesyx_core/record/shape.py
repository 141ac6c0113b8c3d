"""Checks on decoded CBOR, so that a format reads as its own definition and hostile bytes end as one error."""

from __future__ import annotations

from typing import Any, Final

from mesyx_core.api import Permanent
from mesyx_core.vault import encoding

HASH: Final = 32
KEY: Final = 32
INCARNATION: Final = 16
SEQ_MAX: Final = 2**40 - 1
"""The journal keeps a log's number in 40 bits."""
TIME_MAX: Final = 2**53 - 1
COUNT_MAX: Final = 2**62


class RecordError(Permanent):
    """Bytes that are not what they claim to be: wrong form, wrong size, wrong hash or wrong signature."""


def decode(data: bytes, what: str, *, limit: int, items: int = 100_000, depth: int = 16) -> Any:
    """The one deterministic CBOR item that `data` must be."""
    try:
        return encoding.decode(data, limit=limit, depth=depth, items=items)
    except encoding.EncodingError:
        raise RecordError(f"{what} is too large, or not in the one form it must have") from None


def array(value: Any, what: str, size: int | None = None, most: int | None = None) -> list[Any]:
    """A list of exactly `size`, or of at most `most` items."""
    if type(value) is not list or (size is not None and len(value) != size) or (most is not None and len(value) > most):
        raise RecordError(f"{what} has the wrong form")
    return value


def versioned(value: Any, what: str, size: int, version: int = 1) -> list[Any]:
    """A list of `size` items whose first is the format's version."""
    if type(value) is list and value and type(value[0]) is int and value[0] > version:
        raise RecordError(f"{what} is of a later version", "update Mesyx on this node")
    items = array(value, what, size)
    if items[0] != version or type(items[0]) is not int:
        raise RecordError(f"{what} has the wrong form")
    return items


def octets(value: Any, what: str, size: int | None = None, most: int | None = None) -> bytes:
    """A byte string of exactly `size`, or of at most `most` bytes."""
    if (
        type(value) is not bytes
        or (size is not None and len(value) != size)
        or (most is not None and len(value) > most)
    ):
        raise RecordError(f"{what} has the wrong form")
    return value


def number(value: Any, what: str, most: int = COUNT_MAX, least: int = 0) -> int:
    """An integer within bounds; true and false are none."""
    if type(value) is not int or not least <= value <= most:
        raise RecordError(f"{what} has the wrong form")
    return value


def text(value: Any, what: str, most: int) -> str:
    """A string of at most `most` characters."""
    if type(value) is not str or len(value) > most:
        raise RecordError(f"{what} has the wrong form")
    return value
