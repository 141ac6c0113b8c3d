"""Hostile addresses: each has one form to be compared by, or is refused, in little time."""

from __future__ import annotations

from contextlib import suppress

from mesyx_core.api import Refused
from mesyx_core.wire.addresses import LONGEST, ascii_domain, normal, printable, unicode_domain

SEEDS: list[bytes] = [
    b"alice+tag@example.org",
    "J\u00f6rg@B\u00fccher.example".encode(),
    b"<jo\xcc\x88rg@xn--bcher-kva.EXAMPLE>",
    b'"a b"@[IPv6:2001:db8::1]',
    "a@\u0661\u0662.\u05d0\u05d1\u3002example".encode(),
    b"a@xn--a\xe2\x80\x8d.xn--",
    "T\u0308om@b\u00fccher.example".encode(),
]
TOKENS: list[bytes] = [
    b"@",
    b"xn--",
    b".",
    b"+",
    "\u3002".encode(),
    "\u200d".encode(),
    "\u0130".encode(),
    "\u00df".encode(),
]


def target(data: bytes) -> None:
    """The form is its own form, and as long as an address may be."""
    text = data.decode("utf-8", "replace")
    printable(text)
    ascii_domain(text)
    with suppress(Refused):
        unicode_domain(text)
    try:
        found = normal(text)
    except Refused:
        return
    assert len(found) <= 2 * LONGEST
    assert normal(found) == found
