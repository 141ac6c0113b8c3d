"""The header of an age file: version, one stanza per recipient, MAC."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from . import base64
from .errors import HeaderError, MacError

VERSION: Final = b"age-encryption.org/v1"
FILE_KEY_SIZE: Final = 16
WRAPPED_SIZE: Final = FILE_KEY_SIZE + 16
LONGEST: Final = 1 << 20
"""Most bytes of a header."""
MOST_STANZAS: Final = 128

_COLUMNS: Final = 64
_MAC_SIZE: Final = 32
_CLOSING: Final = b"---"
_OPENING: Final = b"->"


class Stanza(NamedTuple):
    """How one recipient gets at the file key: the type and its arguments, and a body."""

    type: bytes
    arguments: tuple[bytes, ...]
    body: bytes


class Header(NamedTuple):
    """A header that was read, with its MAC not yet checked, and where the payload begins."""

    stanzas: tuple[Stanza, ...]
    covered: bytes
    mac: bytes
    end: int


def write(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    """The header in bytes, up to and including the line break before the payload."""
    lines = [VERSION, *(line for stanza in stanzas for line in stanza_lines(stanza))]
    covered = b"\n".join((*lines, _CLOSING))
    return b"".join((covered, b" ", base64.encode(_mac(file_key, covered)), b"\n"))


def stanza_lines(stanza: Stanza) -> list[bytes]:
    """A stanza as it stands in a header, and as plugins are told of it."""
    text = base64.encode(stanza.body)
    body = [text[at : at + _COLUMNS] for at in range(0, len(text) + 1, _COLUMNS)]
    return [b" ".join((_OPENING, stanza.type, *stanza.arguments)), *body]


def read(file: bytes) -> Header:
    """The header that `file` starts with; raises HeaderError for any but the one allowed form."""
    lines = _Lines(file)
    if lines.next() != VERSION:
        raise HeaderError("not an age v1 file")
    stanzas: list[Stanza] = []
    while True:
        start = lines.at
        line = lines.next()
        if line.startswith(_CLOSING):
            break
        if len(stanzas) == MOST_STANZAS:
            raise HeaderError("too many recipients")
        stanzas.append(read_stanza(line, lines.next))
    if not stanzas:
        raise HeaderError("no recipient")
    closing, _, text = line.partition(b" ")
    if closing != _CLOSING:
        raise HeaderError("no MAC")
    mac = argument(text, _MAC_SIZE)
    return Header(tuple(stanzas), file[: start + len(_CLOSING)], mac, lines.at)


def check(header: Header, file_key: bytes) -> None:
    """Raise MacError unless the header is as its writer made it."""
    if not hmac.compare_digest(_mac(file_key, header.covered), header.mac):
        raise MacError("the header was changed")


def argument(text: bytes, size: int) -> bytes:
    """`size` bytes from canonical unpadded base64; raises HeaderError."""
    try:
        data = base64.decode(text)
    except ValueError:
        raise HeaderError("not canonical base64") from None
    if len(data) != size:
        raise HeaderError("an argument of the wrong size")
    return data


def derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) of one block, 32 bytes."""
    return hmac.digest(hmac.digest(salt or bytes(32), key, "sha256"), info + b"\x01", "sha256")


class _Lines:
    """Lines that end in LF, one after the other, within the longest header."""

    def __init__(self, file: bytes) -> None:
        self._file = file
        self.at = 0

    def next(self) -> bytes:
        end = self._file.find(b"\n", self.at, LONGEST)
        if end < 0:
            raise HeaderError("the header is cut short or too long")
        line = self._file[self.at : end]
        self.at = end + 1
        return line


def read_stanza(line: bytes, following: Callable[[], bytes]) -> Stanza:
    """The stanza that begins with a line; `following` gives those after it, without their ends. Raises HeaderError."""
    opening, *arguments = line.split(b" ")
    if opening != _OPENING or not arguments or not all(map(_visible, arguments)):
        raise HeaderError("not a stanza")
    body = []
    while True:
        text = following()
        if len(text) > _COLUMNS:
            raise HeaderError("a line is too long")
        body.append(text)
        if len(text) < _COLUMNS:
            break
    try:
        return Stanza(arguments[0], tuple(arguments[1:]), base64.decode(b"".join(body)))
    except ValueError:
        raise HeaderError("not canonical base64") from None


def _visible(text: bytes) -> bool:
    return bool(text) and min(text) >= 0x21 and max(text) <= 0x7E


def _mac(file_key: bytes, covered: bytes) -> bytes:
    return hmac.digest(derive(file_key, b"", b"header"), covered, "sha256")
