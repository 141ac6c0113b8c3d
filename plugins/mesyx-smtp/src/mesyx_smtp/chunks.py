"""The content of BDAT as it comes off the wire (RFC 3030, section 2): chunks of announced sizes.

No dots, and no end mark that could be mistaken. CR or LF alone and NUL refuse the message as they do after DATA, also
where two chunks meet; binary content (BINARYMIME) is not offered.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mesyx_smtp import replies
from mesyx_smtp.data import Scanner

_ARGUMENT = re.compile(rb"([0-9]{1,20})(?: +(?i:(LAST)))?")


class Chunk(NamedTuple):
    """BDAT's argument."""

    size: int
    last: bool


def parse(argument: bytes) -> Chunk | None:
    """Read SIZE [LAST]; None when it is neither, and where the chunk ends cannot be known."""
    match = _ARGUMENT.fullmatch(argument)
    return None if match is None else Chunk(int(match[1]), match[2] is not None)


class Chunks(Scanner):
    """All chunks of one message. `begin` each, then `feed` at most `left` bytes at a time until there are none."""

    __slots__ = ("_last", "left")

    def __init__(self, limit: int, received: int, fault: bytes | None = None) -> None:
        """As Scanner. With a `fault`, chunks are refused by it and only swallowed."""
        super().__init__(limit, received)
        self.fault = fault
        self.left = 0
        self._last = False
        self._held = b""
        self._header = b"\r\n"

    def begin(self, chunk: Chunk) -> None:
        """The next one. A message that it makes too big is refused before its first byte."""
        self.left, self._last = chunk
        if self.size + self.left > self._limit and self.fault is None:
            self.fault = replies.TOO_BIG

    def feed(self, data: bytes) -> bytes:
        """Content in these bytes, empty if refused. A CR at the end is held back until it is known what follows."""
        self.left -= len(data)
        self.size += len(data)
        self.ended = self._last and not self.left
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") and not self.ended else b""
        if self._held:
            data = data[:-1]
        if self.fault is None and data:
            self._check(data)
        return b"" if self.fault else data
