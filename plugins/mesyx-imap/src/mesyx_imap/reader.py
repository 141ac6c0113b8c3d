"""Commands out of a byte stream, with their literals (RFC 3501, section 4.3; RFC 7888)."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from mesyx_core.wire.limits import Budget
from mesyx_core.wire.lines import LineError, Lines, LineTooLong
from mesyx_imap.limits import Limits

_HEAD = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,64}) ((?:[Uu][Ii][Dd] )?[A-Za-z0-9]{1,32})')
_LITERAL = re.compile(rb"\{([0-9]{1,10})(\+?)\}\Z", re.ASCII)
_APPEND = re.compile(rb"[^ ]{1,64} APPEND ([^ ]?)", re.IGNORECASE)


class Command(NamedTuple):
    """A whole command: what stands between literals, and the literals."""

    tag: bytes
    name: bytes
    """In capitals; a UID form as b"UID FETCH"."""
    texts: list[bytes]
    """The first begins behind the name."""
    literals: list[bytes]


class Go(NamedTuple):
    """The client waits for leave to send a literal."""


class Fault(NamedTuple):
    """What came cannot be taken; `fatal`: nor can what comes after it."""

    tag: bytes
    text: bytes
    fatal: bool = False


Event: TypeAlias = Command | Go | Fault


class Reader:
    """Fed octets, gives events. Whoever feeds it stops reading while `size` is high."""

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self._limits = limits
        self._ceiling = limits.stranger
        self._budget = budget
        self._charged = 0  # of the budget, for the command that is being read
        self._lent = 0  # of the budget, for commands that were given out
        self._lines = Lines(self._ceiling.line)
        self._texts: list[bytes] = []
        self._literals: list[bytes] = []
        self._chunks: list[bytes] = []
        self._wanted = 0  # octets of the literal that are still to come
        self._refused: Fault | None = None  # what to say once the rest of the command has been skipped

    @property
    def size(self) -> int:
        """Octets that wait."""
        return self._lines.size

    @property
    def partial(self) -> bool:
        """A command has begun and is not whole."""
        return bool(self._texts) or self._lines.size > 0

    def admit(self) -> None:
        """The client has logged in."""
        self._ceiling = self._limits.person
        self._lines.limit = self._ceiling.line

    def feed(self, data: bytes) -> None:
        self._lines.feed(data)

    def line(self) -> bytes | Fault | None:
        """A line that is not a command: DONE, or a SASL message."""
        try:
            return self._lines.line()
        except LineError:
            return Fault(b"*", b"Line not understood", fatal=True)

    def next(self) -> Event | None:
        """The next event; None until more is fed."""
        while True:
            if self._wanted and not self._collect():
                return None
            self._lines.limit = max(1, self._ceiling.line - sum(map(len, self._texts)))
            try:
                line = self._lines.line()
            except LineTooLong:
                return self._fault(b"Line too long")
            except LineError:
                return self._fault(b"Lines end with CRLF")
            if line is None:
                return None
            event = self._take(line)
            if event is not None:
                return event

    def release(self) -> None:
        """No command that was given out is in memory any more."""
        self._budget.give(self._lent)
        self._lent = 0

    def close(self) -> None:
        """Forget everything."""
        self.release()
        self._reset()
        self._lines.clear()

    def _collect(self) -> bool:
        """Move what has come of a literal; True once it is whole."""
        while self._wanted:
            chunk = self._lines.raw(min(self._wanted, 1 << 16))
            if not chunk:
                return False
            self._wanted -= len(chunk)
            if not self._refused:
                self._chunks.append(chunk)
        if not self._refused:
            self._literals.append(b"".join(self._chunks))
        self._chunks = []
        return True

    def _take(self, line: bytes) -> Event | None:
        match = _LITERAL.search(line)
        if not match:
            return self._whole(line)
        self._texts.append(line[: match.start()])
        size, waits = int(match[1]), not match[2]
        refusal = self._refused or self._judge(size)
        if refusal and (waits or refusal.fatal):
            self._reset()
            return refusal
        self._refused = refusal
        self._wanted = size
        if not size and not refusal:
            self._literals.append(b"")
        return Go() if waits else None

    def _judge(self, size: int) -> Fault | None:
        """Whether a literal may come."""
        stranger = self._ceiling is self._limits.stranger
        large = not stranger and self._is_message()
        if len(self._literals) >= self._ceiling.literals:
            return Fault(self._tag(), b"BAD Too many literals", fatal=True)
        if size > (self._limits.append if large else self._ceiling.literal):
            return Fault(
                self._tag(), b"NO [TOOBIG] Literal too large", fatal=stranger or size > 4 * self._limits.append
            )
        if size > self._ceiling.literal:
            if not self._budget.take(size):
                return Fault(self._tag(), b"NO [LIMIT] Too much is being uploaded just now; try again")
            self._charged += size
        return None

    def _is_message(self) -> bool:
        """Whether the literal that comes is what APPEND appends: the first, or the second if the first is a name."""
        match = _APPEND.match(self._texts[0])
        return match is not None and len(self._literals) == (0 if match[1] else 1)

    def _whole(self, line: bytes) -> Event:
        texts, literals, refused = [*self._texts, line], self._literals, self._refused
        if not refused:
            self._lent += self._charged
            self._charged = 0
        self._reset()
        if refused:
            return refused
        match = _HEAD.match(texts[0])
        if not match:
            return Fault(b"*", b"BAD Not a command")
        texts[0] = texts[0][match.end() :]
        return Command(match[1], match[2].upper(), texts, literals)

    def _tag(self) -> bytes:
        match = _HEAD.match(self._texts[0]) if self._texts else None
        return match[1] if match else b"*"

    def _fault(self, text: bytes) -> Fault:
        fault = Fault(self._tag(), b"BAD " + text)
        self._reset()
        return fault

    def _reset(self) -> None:
        self._texts, self._literals, self._chunks = [], [], []
        self._wanted = 0
        self._refused = None
        self._budget.give(self._charged)
        self._charged = 0
