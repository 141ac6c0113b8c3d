"""BODY[…]<…>: how it is asked for, and which octets it is (RFC 3501, section 6.4.5)."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from mesyx_core import mime
from mesyx_core.mime import Part
from mesyx_imap.errors import Bad
from mesyx_imap.format import astring
from mesyx_imap.parser import Cursor

_SPEC = re.compile(rb"((?:[1-9][0-9]{0,8}(?:\.(?=.)|\Z)){0,64})([A-Z.]*)\Z", re.ASCII)
_FIELD_END = re.compile(rb"\n(?![ \t])")

What = Literal["", "HEADER", "TEXT", "MIME"]


class Fields(NamedTuple):
    """A choice of header fields."""

    names: frozenset[bytes]
    """In lower case."""
    invert: bool
    """All but these."""


class Section(NamedTuple):
    """One body section of a FETCH."""

    label: bytes
    """What the response calls it."""
    path: tuple[int, ...] = ()
    what: What = ""
    fields: Fields | None = None
    """The header fields that are wanted, if not all are."""
    first: int = 0
    """Octets of the section that are left out at its start."""
    most: int | None = None

    @property
    def whole(self) -> bool:
        """Can be cut without the message's structure."""
        return not self.path and not self.what


def parse(args: Cursor) -> Section:
    """What follows BODY or BODY.PEEK: `[section]<origin.length>`. Raises Bad."""
    args.expect(b"[")
    path, words = _spec(b"" if args.peek() == b"]" else args.name())
    fields, shown = None, b""
    if words in (b"HEADER.FIELDS", b"HEADER.FIELDS.NOT"):
        args.space()
        names = args.several(args.astring)
        fields = Fields(frozenset(name.lower() for name in names), words.endswith(b"NOT"))
        if not names:
            raise Bad(b"No header fields named")
        shown = b" (%b)" % b" ".join(map(astring, names))
    args.expect(b"]")
    first, most = _partial(args)
    numbers = b".".join([b"%d" % number for number in path])
    dot = b"." if path and words else b""
    origin = b"" if most is None else b"<%d>" % first
    label = b"BODY[%b%b%b%b]%b" % (numbers, dot, words, shown, origin)
    return Section(label, path, _what(path, words), fields, first, most)


def _spec(raw: bytes) -> tuple[tuple[int, ...], bytes]:
    match = _SPEC.match(raw.upper())
    if not match:
        raise Bad(b"Not a section")
    return tuple(map(int, filter(None, match[1].split(b".")))), match[2]


def _what(path: tuple[int, ...], words: bytes) -> What:
    if words in (b"HEADER", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT"):
        return "HEADER"
    if words == b"TEXT":
        return "TEXT"
    if words == b"MIME" and path:
        return "MIME"
    if words:
        raise Bad(b"Not a section")
    return ""


def _partial(args: Cursor) -> tuple[int, int | None]:
    if not args.skip(b"<"):
        return 0, None
    first = args.number()
    args.expect(b".")
    most = args.number()
    args.expect(b">")
    if not most:
        raise Bad(b"Empty partial")
    return first, most


def locate(section: Section, root: Part | None, size: int) -> tuple[int, int] | None:
    """Start and end in the message before `fields` and the partial; None when there is no such section."""
    if section.whole:
        return 0, size
    return None if root is None else mime.section(root, section.path, section.what)


def choose(header: bytes, fields: Fields) -> bytes:
    """The wanted fields in their order, and the empty line (RFC 3501, section 6.4.5: always there)."""
    if header and header[-1:] != b"\n":
        header += b"\r\n"
    names, invert = fields
    kept = [
        field
        for field in _FIELD_END.split(header)
        if (field[: field.find(b":")].rstrip().lower() in names) is not invert and field.strip()
    ]
    kept.append(b"\r\n")
    return b"\n".join(kept)


def clip(section: Section, start: int, end: int) -> tuple[int, int]:
    """The partial of what lies in [start, end)."""
    first = min(start + section.first, end)
    return first, end if section.most is None else min(first + section.most, end)
