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
    lines = [line.removesuffix(b"\r") for line in armored.strip(_WHITE).split(b"\n")]
    if len(lines) < 2 or lines[0] != BEGIN or lines[-1] != END:
        raise ArmorError("no begin or end line of an age file")
    *full, last = lines[1:-1] or [b""]
    if any(len(line) != _COLUMNS for line in full) or (full and not last) or len(last) > _COLUMNS:
        raise ArmorError("lines of the wrong length")
    try:
        return base64.decode_padded(b"".join((*full, last)))
    except ValueError:
        raise ArmorError("not canonical base64") from None


def is_armored(file: bytes) -> bool:
    """Whether it looks like armor rather than a binary file."""
    return file[:1_024].lstrip(_WHITE).startswith(b"-----BEGIN")
