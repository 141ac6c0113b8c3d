"""One command's arguments, read from left to right (RFC 3501, section 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TypeVar

from mesyx_imap import names, ranges
from mesyx_imap.errors import Bad
from mesyx_imap.limits import FLAG, ITEMS

_T = TypeVar("_T")

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_PATTERN = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
_QUOTED = re.compile(rb'"([^"\\\x00]*(?:\\["\\][^"\\\x00]*)*)"')
_ESCAPED = re.compile(rb'\\(["\\])')
_NUMBER = re.compile(rb"[0-9]{1,10}(?![0-9])", re.ASCII)
_NAME = re.compile(rb"[A-Za-z0-9.]+", re.ASCII)
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]+", re.ASCII)
_SET = re.compile(rb"[0-9*:,]+", re.ASCII)
_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_DATE = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})(?![0-9])", re.ASCII)
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"', re.ASCII
)
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
SYSTEM = {flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")}


class Cursor:
    """A place in a command: text runs with a literal between each two. Every method raises Bad."""

    __slots__ = ("_at", "_literals", "_run", "_text", "_texts")

    def __init__(self, texts: Sequence[bytes], literals: Sequence[bytes] = ()) -> None:
        self._texts = texts
        self._literals = literals
        self._run = 0
        self._text = texts[0]
        self._at = 0

    # --- single characters ---

    @property
    def at_end(self) -> bool:
        return self._at == len(self._text) and self._run == len(self._literals)

    def end(self) -> None:
        """Nothing may follow."""
        if not self.at_end:
            raise Bad(b"Unexpected arguments")

    def peek(self) -> bytes:
        """The next octet of text, or nothing."""
        return self._text[self._at : self._at + 1]

    def skip(self, octets: bytes) -> bool:
        """Step over exactly these, in any case; False and unmoved if they are not next."""
        end = self._at + len(octets)
        if self._text[self._at : end].upper() != octets:
            return False
        self._at = end
        return True

    def expect(self, octets: bytes) -> None:
        if not self.skip(octets):
            raise Bad(b"Expected " + (b"space" if octets == b" " else octets))

    def space(self) -> None:
        self.expect(b" ")

    # --- words ---

    def _match(self, expression: re.Pattern[bytes], what: bytes) -> re.Match[bytes]:
        match = expression.match(self._text, self._at)
        if not match:
            raise Bad(b"Expected " + what)
        self._at = match.end()
        return match

    def atom(self) -> bytes:
        return self._match(_ATOM, b"an atom")[0]

    def word(self) -> bytes:
        """An atom in capitals: names of commands, items and keys."""
        return self.atom().upper()

    def name(self) -> bytes:
        """Letters, digits and dots, in capitals: a fetch item, or what stands in its brackets."""
        return self._match(_NAME, b"a name")[0].upper()

    def base64(self) -> bytes:
        """As it stands; `=` alone is nothing (RFC 4959, section 3)."""
        return self._match(_BASE64, b"base64")[0]

    def quoted(self) -> bytes:
        raw = self._match(_QUOTED, b"a quoted string")[1]
        return _ESCAPED.sub(rb"\1", raw) if b"\\" in raw else raw

    def literal(self) -> bytes:
        if self._at != len(self._text) or self._run == len(self._literals):
            raise Bad(b"Expected a literal")
        data = self._literals[self._run]
        self._run += 1
        self._text, self._at = self._texts[self._run], 0
        return data

    def string(self) -> bytes:
        return self.quoted() if self.peek() == b'"' else self.literal()

    def astring(self) -> bytes:
        return self._astring(_ASTRING)

    def _astring(self, atom: re.Pattern[bytes]) -> bytes:
        match = atom.match(self._text, self._at)
        if not match:
            return self.string()
        self._at = match.end()
        return match[0]

    def nstring(self) -> bytes | None:
        return None if self.skip(b"NIL") else self.string()

    # --- values ---

    def number(self) -> int:
        number = int(self._match(_NUMBER, b"a number")[0])
        if number > ranges.MOST:
            raise Bad(b"Number too large")
        return number

    def sequence(self) -> ranges.Set:
        return ranges.parse(self._match(_SET, b"a sequence set")[0])

    @property
    def at_sequence(self) -> bool:
        return self.peek() in b"0123456789*" and not self.at_end

    def mailbox(self) -> str:
        """A mailbox name, decoded. Raises No too."""
        return names.decode(self.astring())

    def pattern(self) -> str:
        """A mailbox name that may have wildcards. Raises No too."""
        return names.decode(self._astring(_PATTERN))

    def flag(self) -> str:
        """A system flag in its usual case, or a keyword. Raises Bad for \\Recent and unknown backslashes."""
        raw = self._match(_FLAG, b"a flag")[0]
        if len(raw) > FLAG:
            raise Bad(b"Flag too long")
        flag = raw.decode("ascii")
        if flag[0] != "\\":
            return flag
        known = SYSTEM.get(flag.lower())
        if not known:
            raise Bad(b"No such system flag")
        return known

    def date(self) -> date:
        quoted = self.skip(b'"')
        day, month, year = self._match(_DATE, b"a date").groups()
        if quoted:
            self.expect(b'"')
        return _calendar(day, month, year)

    def date_time(self) -> datetime:
        """In UTC."""
        day, month, year, hour, minute, second, sign, hours, minutes = self._match(_DATE_TIME, b"a date-time").groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == b"+" else -1)
        start = _calendar(day, month, year)
        try:
            local = datetime(
                start.year, start.month, start.day, int(hour), int(minute), int(second), tzinfo=timezone(offset)
            )
            return local.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Bad(b"Not a date") from None

    def several(self, one: Callable[[], _T]) -> list[_T]:
        """A parenthesised list, which may be empty."""
        self.expect(b"(")
        found: list[_T] = []
        while not self.skip(b")"):
            if found:
                self.space()
            found.append(one())
            if len(found) > ITEMS:
                raise Bad(b"List too long")
        return found


def _calendar(day: bytes, month: bytes, year: bytes) -> date:
    try:
        return date(int(year), _MONTHS.index(month.lower()) + 1, int(day))
    except ValueError:
        raise Bad(b"Not a date") from None
