"""Replies of an SMTP server (RFC 5321, section 4.2), read within bounds: it is a stranger and may say anything."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mesyx_core.api import Temporary
from mesyx_core.wire.lines import LineError, Lines, LineTooLong

LINE: Final = 2048
"""Longest line of a reply. RFC 5321, section 4.5.3.1.5, asks for 512 and what extensions add."""
LINES: Final = 100
"""Lines of one reply; servers list about fifteen extensions."""
TOTAL: Final = 256 * 1024
"""Bytes of a whole session's replies, besides what each recipient adds."""
REASON: Final = 300
"""Characters of a reply that are kept as a reason."""

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)")


class ReplyError(Temporary):
    """Not what a server may say. The connection is of no more use."""


class Reply(NamedTuple):
    """One reply, its lines without code, printable."""

    code: int
    lines: tuple[str, ...]

    @property
    def kind(self) -> int:
        """First digit: 2 done, 3 go on, 4 later, 5 never."""
        return self.code // 100

    @property
    def status(self) -> str:
        """The enhanced status code (RFC 2034), or "" if there is none of the reply's own class."""
        found = _STATUS.match(self.lines[0])
        return found[0].strip() if found and int(found[1]) == self.kind else ""

    @property
    def text(self) -> str:
        """All in one line, the enhanced status code said once."""
        first, *more = self.lines
        status = self.status
        return " ".join(
            filter(None, (first, *(line.removeprefix(status).strip() if status else line for line in more)))
        )

    def reason(self, place: str = "") -> str:
        """The reply as a reason: one printable line of at most `REASON` characters, with what it was the reply to."""
        tail = f" (at {place})" if place else ""
        return clean(f"{self.code} {self.text}", REASON - len(tail)) + tail


def clean(text: str, most: int = REASON) -> str:
    """One line of at most `most` printable characters."""
    line = " ".join(text[: 4 * most].split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


class Replies:
    """Feed it bytes, get replies. Raises ReplyError for whatever no server may say."""

    def __init__(self, total: int = TOTAL) -> None:
        self._lines = Lines(LINE)
        self._left = total
        self._code = 0
        self._texts: list[str] = []

    @property
    def buffered(self) -> int:
        """Bytes that were said beyond the last reply, an unfinished reply included."""
        return self._lines.size + len(self._texts)

    def feed(self, data: bytes) -> None:
        """Bytes from the server."""
        self._left -= len(data)
        if self._left < 0:
            raise ReplyError("the server says too much")
        self._lines.feed(data)

    def next(self) -> Reply | None:
        """The next whole reply; None until there is one."""
        while (line := self._line()) is not None:
            found = _LINE.fullmatch(line)
            if found is None:
                raise ReplyError("this is not an SMTP server")
            code = int(found[1])
            if self._texts and code != self._code:
                raise ReplyError("the lines of a reply have different codes")
            self._code = code
            self._texts.append(clean((found[3] or b"").decode("utf-8", "replace"), LINE))
            if found[2] != b"-":
                reply = Reply(code, tuple(self._texts))
                self._texts = []
                return reply
            if len(self._texts) >= LINES:
                raise ReplyError("a reply has too many lines")
        return None

    def _line(self) -> bytes | None:
        try:
            return self._lines.line()
        except LineError as error:
            long = isinstance(error, LineTooLong)
            raise ReplyError("a line of a reply is too long" if long else "a line is not ended by CRLF") from None
