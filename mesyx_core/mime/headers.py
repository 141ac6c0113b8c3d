"""The fields of a header (RFC 5322, section 2.2): where they are, and their values unfolded."""

from __future__ import annotations

import re
from collections.abc import Container

from mesyx_core.mime.model import HeaderField

_NEXT = re.compile(rb"\n(?![ \t])")
_FOLD = re.compile(rb"[\r\n]+[ \t]*")


def header_fields(data: bytes, start: int, end: int) -> list[HeaderField]:
    """The fields of the header data[start:end] in order; lines that are no field are left out.

    The value is what stands after the colon, still folded, without its line end.
    """
    fields = []
    at = start
    for line in _NEXT.split(data[start:end]):
        stop = min(at + len(line) + 1, end)
        name, colon, value = line.partition(b":")
        if colon and (name := name.rstrip(b" \t")):
            fields.append(HeaderField(name, value.rstrip(b"\r\n"), at, stop))
        at = stop
    return fields


def wanted_fields(header: bytes, names: Container[bytes]) -> dict[bytes, list[bytes]]:
    """The raw values of those fields that are wanted, by name in lower case: what indexing looks at, quickly."""
    found: dict[bytes, list[bytes]] = {}
    for line in _NEXT.split(header):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if name in names or (name := name.rstrip(b" \t")) in names:
            if not colon:
                continue
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
    return found


def unfold(value: bytes) -> bytes:
    """A raw value on one line, trimmed: each fold is a space, CR and LF are gone, and NUL shows as U+FFFD."""
    value = value.strip()
    if b"\n" in value or b"\r" in value:
        value = _FOLD.sub(b" ", value)
    return value.replace(b"\0", b"\xef\xbf\xbd") if b"\0" in value else value
