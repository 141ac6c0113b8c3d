"""Sequence sets (RFC 3501, section 9): read, resolved against a mailbox, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mesyx_imap.errors import Bad
from mesyx_imap.limits import RANGES

STAR = 0
"""Stands for * in a set that has not been resolved; message numbers begin at 1."""

MOST = 2**32 - 1
_ELEMENT = re.compile(rb"([1-9][0-9]{0,9}|\*)(?::([1-9][0-9]{0,9}|\*))?", re.ASCII)

Set = Sequence[tuple[int, int]]
"""As it came: unordered, overlapping, with STAR."""


def parse(raw: bytes) -> Set:
    """Read `1:4,7,9:*`. Raises Bad."""
    elements = raw.split(b",", RANGES)
    if len(elements) > RANGES:
        raise Bad(b"Sequence set too long")
    return [_element(element) for element in elements]


def _element(raw: bytes) -> tuple[int, int]:
    match = _ELEMENT.fullmatch(raw)
    if not match:
        raise Bad(b"Not a sequence set")
    first = _number(match[1])
    return first, first if match[2] is None else _number(match[2])


def _number(raw: bytes) -> int:
    number = STAR if raw == b"*" else int(raw)
    if number > MOST:
        raise Bad(b"Number too large")
    return number


def resolve(asked: Set, top: int) -> list[tuple[int, int]]:
    """Ascending, disjoint ranges, with * as `top`."""
    found = sorted((min(a or top, b or top), max(a or top, b or top)) for a, b in asked)
    merged: list[tuple[int, int]] = []
    for low, high in found:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    return merged


def collect(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges."""
    ranges: list[tuple[int, int]] = []
    low = high = -1
    for number in numbers:
        if number == high + 1:
            high = number
            continue
        if low >= 0:
            ranges.append((low, high))
        low = high = number
    if low >= 0:
        ranges.append((low, high))
    return ranges


def text(numbers: Iterable[int]) -> bytes:
    """Numbers in the order given, runs shortened: what COPYUID shows."""
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in collect(numbers))
