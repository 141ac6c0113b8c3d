"""The content of a message on its way out: what must be known of it first, and its dots (RFC 5321, section 4.5.2)."""

from __future__ import annotations

from typing import Final, NamedTuple

from mesyx_core.api import Body

HEADER: Final = 1 << 20
"""Bytes in which the end of the header is looked for."""


class Traits(NamedTuple):
    """What decides how content can be sent."""

    eight_bit: bool
    """It needs 8BITMIME (RFC 6152)."""
    utf8_header: bool
    """Its header is not ASCII: it needs SMTPUTF8 (RFC 6531) where it was submitted with it."""
    clean: bool
    """Every line ends with CRLF, and there is no NUL: no two servers can see different messages in it."""


async def inspect(body: Body) -> Traits:
    """Read it all once, a chunk at a time."""
    ascii_only = header_ascii = clean = True
    header = last = b""
    in_header = True
    async for chunk in body.read():
        ascii_only = ascii_only and chunk.isascii()
        clean = clean and b"\0" not in chunk
        seen = last + chunk
        held = seen.endswith(b"\r")
        whole = seen[:-1] if held else seen
        lines = whole.count(b"\r\n")
        clean = clean and whole.count(b"\r") == lines == whole.count(b"\n")
        last = b"\r" if held else b""
        if in_header:
            header += chunk
            end = 0 if header.startswith(b"\r\n") else header.find(b"\r\n\r\n")
            in_header = end < 0 and len(header) <= HEADER
            if not in_header:
                header_ascii, header = header[: end if end >= 0 else HEADER].isascii(), b""
    if in_header:
        header_ascii = header.isascii()
    return Traits(not ascii_only, not header_ascii, clean and not last)


class Stuffer:
    """Doubles the dots at the start of lines, over chunks cut anywhere. For clean content only."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b"\r\n"  # the CRLF behind DATA: a dot right here is at the start of a line

    def feed(self, chunk: bytes) -> bytes:
        """What to send for this chunk."""
        before = self._last
        seen = before + chunk
        self._last = seen[-2:]
        return seen.replace(b"\r\n.", b"\r\n..")[len(before) :]

    def end(self) -> bytes:
        """What ends the message."""
        return b".\r\n" if self._last == b"\r\n" else b"\r\n.\r\n"
