"""The text form of an age file: strict PEM (RFC 7468), lines of 64 columns, LF or CRLF."""

from __future__ import annotations

import binascii
from typing import Final

from . import base64
from .errors import ArmorError

BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
END: Final = b"-----END AGE ENCRYPTED FILE-----"

_COLUMNS: Final = 64
_WHITE: Final = b" \t\r\n"


def encode(file: bytes) -> bytes:
    """The armored file, ending in a line break."""
    text = binascii.b2a_base64(file, newline=False)
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return b"\n".join((BEGIN, *lines, END, b""))


def decode(armored: bytes) -> bytes:
    """The binary file; white space is allowed before and after the armor, nothing else is. Raises ArmorError."""
    text = armored.strip(_WHITE).replace(b"\r\n", b"\n")
    if not text.startswith(BEGIN + b"\n") or not text.endswith(b"\n" + END):
        raise ArmorError("no begin or end line of an age file")
    lines = text[len(BEGIN) + 1 : -len(END)]
    breaks = lines[_COLUMNS :: _COLUMNS + 1]
    whole = lines.replace(b"\n", b"")
    # Every line but the last has 64 columns, and the last, which may be as long, is not empty.
    if len(whole) % _COLUMNS:
        breaks += b"\n"
    if lines != b"" and (breaks.strip(b"\n") or len(whole) + len(breaks) != len(lines) or not lines.endswith(b"\n")):
        raise ArmorError("lines of the wrong length")
    try:
        return base64.decode_padded(whole)
    except ValueError:
        raise ArmorError("not canonical base64") from None


def is_armored(file: bytes) -> bool:
    """Whether it looks like armor rather than a binary file."""
    return file[:1_024].lstrip(_WHITE).startswith(b"-----BEGIN")
