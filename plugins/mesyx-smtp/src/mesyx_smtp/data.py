"""The content of DATA as it comes off the wire (RFC 5321, section 4.5.2).

Only CRLF.CRLF ends it. CR or LF alone and NUL make the whole message one to refuse, but never end it: so no two servers
can see different messages in the same bytes. Works on chunks as they come; never on single lines.
"""

from __future__ import annotations

import re

from mesyx_smtp import replies

_END = b"\r\n.\r\n"
_TRACE = b"\r\nreceived:"
# Each begins with one fixed byte, which the engine finds several times as fast as bytes.count and bytes.replace do.
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_BARE_CR = re.compile(rb"\r(?!\n)")
_DOT = re.compile(rb"\n(?=\.)")


class Scanner:
    """Feed it bytes, get content. After `ended`, `rest` holds what stands behind the end."""

    __slots__ = ("_begun", "_header", "_held", "_limit", "_received", "_trips", "ended", "fault", "rest", "size")

    def __init__(self, limit: int, received: int) -> None:
        """`limit`: bytes of content; `received`: trace headers, above which it is a loop."""
        self.ended = False
        self.rest = b""
        self.fault: bytes | None = None
        """The reply that refuses the message; content that comes after it is swallowed."""
        self.size = 0
        """Bytes of content so far, swallowed ones too."""
        self._limit = limit
        self._received = received
        self._trips = 0
        self._header: bytes | None = b""  # end of the header as far as seen, lower case; None: in the body
        self._begun = False
        self._held = b"\r\n"  # the CRLF behind the DATA command: a dot right here is at the start of a line

    def feed(self, data: bytes) -> bytes:
        """Content in these bytes, dots unstuffed, empty if refused."""
        data = self._held + data
        dot = _DOT.search(data)
        data = self._cut(data, -1 if dot is None else data.find(_END, max(0, dot.start() - 1)))
        if not data:
            return data
        if self.fault is None:
            self._check(data)
        content = data.replace(b"\r\n.", b"\r\n") if dot and dot.end() < len(data) else data
        if not self._begun:
            self._begun = True
            content = content[2:]
        self.size += len(content)
        if self.size > self._limit and self.fault is None:
            self.fault = replies.TOO_BIG
        return b"" if self.fault else content

    def _cut(self, data: bytes, end: int) -> bytes:
        """Up to the end, or up to what may be the beginning of the end."""
        if end >= 0:
            self.ended = True
            self.rest = data[end + len(_END) :]
            return data[: end + 2]
        cut = len(data)
        for length in (4, 3, 2, 1):
            if data.endswith(_END[:length]):
                cut -= length
                break
        self._held = data[cut:]
        return data[:cut]

    def _check(self, data: bytes) -> None:
        if _BARE_LF.search(data) or _BARE_CR.search(data):
            self.fault = replies.BARE_CR_LF
        elif b"\0" in data:
            self.fault = replies.NUL
        elif self._header is not None:
            self._count(self._header + data)

    def _count(self, header: bytes) -> None:
        end = header.find(b"\r\n\r\n")
        header = (header if end < 0 else header[: end + 2]).lower()
        self._trips += header.count(_TRACE)
        if self._trips > self._received:
            self.fault = replies.LOOP
        self._header = header[-(len(_TRACE) - 1) :] if end < 0 else None
