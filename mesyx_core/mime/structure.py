"""The MIME structure of a message by byte offsets: one pass, nothing decoded.

Delimiter lines are looked for among all open multiparts at once, so that a message is read once however deep it goes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from mesyx_core.mime.addresses import parse_addresses
from mesyx_core.mime.headers import unfold, wanted_fields
from mesyx_core.mime.model import Address, Envelope, Limits, Message, Parameters, Part
from mesyx_core.mime.parameters import parse_disposition, parse_token, parse_tokens, parse_type

LIMITS: Final = Limits()
_BLANK = re.compile(rb"\n\r?\n")
_PART_FIELDS: Final = frozenset(
    (
        b"content-type", b"content-transfer-encoding", b"content-id", b"content-description", b"content-disposition",
        b"content-language", b"content-location", b"content-md5",
    )
)  # fmt: skip
_MESSAGE_FIELDS: Final = _PART_FIELDS | {
    b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"in-reply-to", b"message-id",
    b"references",
}  # fmt: skip
_HIDING: Final = (b"base64", b"quoted-printable", b"x-uuencode", b"uuencode", b"x-uue")
_BOUNDARY: Final = 200  # of a longer boundary only so many bytes count, or many long ones would make each line costly


class _Open:
    """A part that is being read: all that is known before its end."""

    __slots__ = ("body", "boundary", "digest", "envelope", "fields", "inner", "line", "parts", "start", "type")

    def __init__(self, start: int) -> None:
        self.start = start
        self.body = start
        self.line = 0  # LFs before the body
        self.fields: dict[bytes, list[bytes]] = {}
        self.type: tuple[bytes, bytes, Parameters] = (b"text", b"plain", ())
        self.boundary: bytes | None = None
        self.digest = False
        self.parts: list[Part] = []
        self.envelope: Envelope | None = None  # of the message inside
        self.inner: Part | None = None


class Scanner:
    """One pass over one message."""

    def __init__(self, data: bytes, limits: Limits = LIMITS) -> None:
        self.data = data
        self.limits = limits
        self.count = 0
        self.parameters = limits.parameters * 1000
        self.addresses = limits.addresses * 10
        self.stack: list[_Open] = []
        self.needle = b"\n--"  # how all their delimiter lines begin
        self.widths: list[int] = []  # lengths of the open boundaries, longest first
        self.levels: dict[bytes, int] = {}  # open boundary -> innermost level that has it
        self.blank = -1  # start and end of the next empty line, -1 before the first search
        self.blank_end = -1
        self.lined = 0  # LFs are counted up to here
        self.lines = 0
        self.fields: dict[bytes, list[bytes]] = {}  # of the message's own header
        self.root = Part()

    def run(self) -> Part:
        """Read it all."""
        data, end = self.data, len(self.data)
        at = self._begin(0)
        while self.levels and (found := self._delimiter(at, end)) is not None:
            newline, level, after = found
            line_end = data.find(b"\n", after)
            if data.startswith(b"--", after):
                self._close(level, newline)
                self.stack[level].boundary = None
                self._boundaries()
                at = line_end if line_end >= 0 else end
            elif line_end < 0:  # nothing begins after it
                self._close(level, newline)
                break
            elif self.count < self.limits.parts:
                self._close(level, newline)
                at = self._begin(line_end + 1)
            else:
                break
        self._close(-1, end)
        return self.root

    def read_header(self) -> Envelope:
        """Read the message's own header alone."""
        body, _ = self._header_end(0)
        self.fields = wanted_fields(self.data[: min(body, self.limits.header)], _MESSAGE_FIELDS)
        return self.envelope()

    def _delimiter(self, at: int, end: int) -> tuple[int, int, int] | None:
        """The next delimiter line whose LF is in [at, end): that LF, its level, and where its boundary ends.

        It is enough that a line begins with the boundary (RFC 2046, section 5.1.1); of several that fit, the longest.
        """
        data, levels, widths, needle = self.data, self.levels, self.widths, self.needle
        end = min(end - 1 + len(needle), len(data))
        while (at := data.find(needle, at, end)) >= 0:
            for width in widths:
                level = levels.get(data[at + 3 : at + 3 + width])
                if level is not None:
                    return at, level, at + 3 + width
            at += 3
        return None

    def _begin(self, start: int) -> int:
        """Open the part whose header starts here, and messages right inside; returns where to look for delimiters."""
        while True:
            self.count += 1
            opened = _Open(start)
            body, cut = self._header_end(start)
            opened.body = body
            opened.line = self._lines(body)
            is_message = not self.stack or self.stack[-1].envelope is not None
            header = self.data[start : min(body, start + self.limits.header)]
            if header:
                opened.fields = wanted_fields(header, _MESSAGE_FIELDS if is_message else _PART_FIELDS)
            if not self.stack:
                self.fields = opened.fields
            elif is_message:
                self.stack[-1].envelope = self._envelope(opened.fields)
            self._classify(opened)
            self.stack.append(opened)
            if cut:
                opened.boundary = None  # the delimiter line is an outer part's
            elif opened.boundary is not None:
                self._boundaries()
            if cut or opened.envelope is None or self.count >= self.limits.parts:
                return max(body - 1, 0)
            start = body

    def _header_end(self, start: int) -> tuple[int, bool]:
        """Where the body starts, and whether a delimiter line cut the header off: the body is empty then."""
        data = self.data
        if data.startswith((b"\n", b"\r\n"), start):
            return start + (1 if data.startswith(b"\n", start) else 2), False
        if self.blank < start:
            found = _BLANK.search(data, start)
            self.blank, self.blank_end = found.span() if found else (len(data), len(data))
        if self.levels and (delimiter := self._delimiter(start - 1, self.blank)) is not None:
            return delimiter[0] + 1, True
        return self.blank_end, False

    def _classify(self, opened: _Open) -> None:
        """Type and parameters, and what follows from them: a boundary to look for, or a message inside."""
        fields = opened.fields
        parent = self.stack[-1] if self.stack else None
        if b"content-type" in fields:
            limit = min(self.limits.parameters, self.parameters)
            opened.type = parse_type(unfold(fields[b"content-type"][0]), limit)
            self.parameters -= len(opened.type[2])
        elif parent is not None and parent.digest:
            opened.type = (b"message", b"rfc822", ())
        type_, subtype, params = opened.type
        if type_ == b"multipart":
            if len(self.stack) >= self.limits.depth:
                opened.type = (b"application", b"octet-stream", params)
                return
            opened.digest = subtype == b"digest"
            boundary = next((value for name, value in params if name == b"boundary"), b"")
            opened.boundary = boundary.rstrip()[:_BOUNDARY] or None
        elif type_ == b"message" and subtype == b"rfc822":
            encoding = fields.get(b"content-transfer-encoding")
            hidden = encoding is not None and parse_token(unfold(encoding[0])) in _HIDING
            if hidden or len(self.stack) >= self.limits.depth:
                opened.type = (b"application", b"octet-stream", params)
            else:
                opened.envelope = Envelope()

    def _boundaries(self) -> None:
        """Recompute what delimiter lines are looked for: at most one boundary a level."""
        self.levels = {o.boundary: i for i, o in enumerate(self.stack) if o.boundary is not None}
        self.needle = b"\n--" + _common(self.levels)
        self.widths = sorted({len(boundary) for boundary in self.levels}, reverse=True)

    def _close(self, level: int, newline: int) -> None:
        """End all parts above a level: before the line end at `newline`, or at the end of the message for level -1."""
        stack = self.stack
        if len(stack) - 1 == level:
            return
        end = newline
        if level >= 0 and newline and self.data[newline - 1] == 13:
            end = newline - 1
        had_boundary = False
        while len(stack) - 1 > level:
            opened = stack.pop()
            had_boundary = had_boundary or opened.boundary is not None
            # A header that a delimiter cut off keeps its last line end, so the part ends where its body starts.
            part = self._freeze(opened, max(end, opened.body))
            end = max(end, part.end)
            if not stack:
                self.root = part
            elif stack[-1].envelope is not None:
                stack[-1].inner = part
            else:
                stack[-1].parts.append(part)
        if had_boundary:
            self._boundaries()

    def _lines(self, position: int) -> int:
        """LFs before a position. Positions only grow, so that each byte is counted once."""
        self.lines += self.data.count(b"\n", self.lined, position)
        self.lined = position
        return self.lines

    def _freeze(self, opened: _Open, end: int) -> Part:
        fields = opened.fields
        type_, subtype, params = opened.type
        lines = self._lines(end) - opened.line
        message = None
        if opened.envelope is not None:  # there is always a part inside, if only one that was not looked into
            inner = opened.inner or Part(header_start=opened.body, body_start=opened.body, end=end, lines=lines)
            message = Message(opened.envelope, inner)
        encoding, identity, description, md5, location = b"7bit", None, None, None, None
        disposition: bytes | None = None
        disposition_params: Parameters = ()
        language: tuple[bytes, ...] = ()
        if b"content-transfer-encoding" in fields:
            encoding = parse_token(unfold(fields[b"content-transfer-encoding"][0])) or b"7bit"
        if b"content-disposition" in fields:
            limit = min(self.limits.parameters, self.parameters)
            disposition, disposition_params = parse_disposition(unfold(fields[b"content-disposition"][0]), limit)
            self.parameters -= len(disposition_params)
        if b"content-id" in fields:
            identity = unfold(fields[b"content-id"][0])
        if b"content-description" in fields:
            description = unfold(fields[b"content-description"][0])
        if b"content-md5" in fields:
            md5 = unfold(fields[b"content-md5"][0])
        if b"content-location" in fields:
            location = unfold(fields[b"content-location"][0])
        if b"content-language" in fields:
            limit = min(self.limits.parameters, self.parameters)
            language = parse_tokens(unfold(fields[b"content-language"][0]), limit)
            self.parameters -= len(language)
        return Part(
            type_, subtype, params, identity, description, encoding, md5, disposition, disposition_params, language,
            location, opened.start, opened.body, end, lines, tuple(opened.parts), message,
        )  # fmt: skip

    def envelope(self) -> Envelope:
        """The message's own envelope."""
        return self._envelope(self.fields)

    def _envelope(self, fields: dict[bytes, list[bytes]]) -> Envelope:
        from_ = self._address(fields, b"from")
        return Envelope(
            _last(fields, b"date"),
            _last(fields, b"subject"),
            from_,
            self._address(fields, b"sender") or from_,
            self._address(fields, b"reply-to") or from_,
            self._address(fields, b"to"),
            self._address(fields, b"cc"),
            self._address(fields, b"bcc"),
            _last(fields, b"in-reply-to"),
            _last(fields, b"message-id"),
        )

    def _address(self, fields: dict[bytes, list[bytes]], name: bytes) -> tuple[Address, ...]:
        values = fields.get(name)
        if values is None:
            return ()
        value = unfold(values[0] if len(values) == 1 else b",".join(values))
        found = parse_addresses(value, min(self.limits.addresses, self.addresses))
        self.addresses -= len(found)
        return found


def _common(boundaries: Collection[bytes]) -> bytes:
    """How all of them begin."""
    first, last = min(boundaries, default=b""), max(boundaries, default=b"")
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    return first[:same]


def _last(fields: dict[bytes, list[bytes]], name: bytes) -> bytes | None:
    values = fields.get(name)
    return unfold(values[-1]) if values is not None else None


def index(data: bytes, limits: Limits = LIMITS) -> Part:
    """The part tree of a whole message. Takes any bytes, with CR LF or bare LF, and never raises."""
    return Scanner(data, limits).run()


def envelope(data: bytes, limits: Limits = LIMITS) -> Envelope:
    """The envelope of a whole message's header. Takes any bytes."""
    return Scanner(data, limits).read_header()
