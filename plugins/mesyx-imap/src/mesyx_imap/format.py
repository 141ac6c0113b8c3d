"""Values as IMAP writes them (RFC 3501, section 9)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime

_LONGEST = 4096
"""Longest quoted string: some clients have limits for them, none for literals."""
_PLAIN = re.compile(rb'[^\x00\r\n\x80-\xff"\\]{0,4096}')
_UNQUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]")
_SPECIAL = re.compile(rb'(["\\])')
_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def literal(data: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(data), data)


def string(data: bytes) -> bytes:
    """Quoted where that is possible; NUL, which no string may hold, becomes a question mark."""
    if _PLAIN.fullmatch(data):
        return b'"' + data + b'"'
    if _UNQUOTABLE.search(data) or len(data) > _LONGEST:
        return literal(data.replace(b"\0", b"?"))
    return b'"%b"' % _SPECIAL.sub(rb"\\\1", data)


def nstring(data: bytes | None) -> bytes:
    return b"NIL" if data is None else string(data)


def astring(data: bytes) -> bytes:
    """As short as it can be."""
    return data if _ATOM.fullmatch(data) and data.upper() != b"NIL" else string(data)


def flags(given: Iterable[str], recent: bool = False) -> bytes:
    r"""A flag list; \Recent is a session's own and comes last."""
    words = sorted(given)
    if recent:
        words.append("\\Recent")
    return f"({' '.join(words)})".encode("ascii", "replace")


def date_time(time: datetime) -> bytes:
    """An internal date. Times in a view are in UTC."""
    t = time.utctimetuple()
    return b'"%2d-%b-%04d %02d:%02d:%02d +0000"' % (t[2], _MONTHS[t[1] - 1], t[0], t[3], t[4], t[5])


def object_id(kind: bytes, value: bytes) -> bytes:
    """RFC 8474, section 7: letters, digits, - and _ only; `kind` keeps it from beginning with anything but a letter."""
    return kind + urlsafe_b64encode(value).rstrip(b"=")
