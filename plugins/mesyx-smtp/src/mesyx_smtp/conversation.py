"""One connection as lines that come and replies that go: when it is whose turn, and how it ends.

What the lines mean is the engine's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum, auto

from mesyx_core.wire.lines import LineError, Lines, LineTooLong
from mesyx_smtp import replies
from mesyx_smtp.events import Close, Event
from mesyx_smtp.limits import LINE, Limits


class State(Enum):
    """What the engine is at."""

    COMMAND = auto()
    RECIPIENT = auto()  # a Recipient event waits for its answer
    CONTENT = auto()
    CHUNK = auto()  # BDAT's: takes bytes, or has taken all and is to be answered
    COMMIT = auto()  # the last Content event waits for its answer
    TLS = auto()  # StartTls waits for its answer
    LOGIN = auto()  # a Login event waits for its answer
    CLOSING = auto()
    OVER = auto()


class Conversation(ABC):
    """Feed it bytes, call `next` for events until it gives None, and send what `output` gives after each call."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lines = Lines(LINE)
        self._output = bytearray()
        self._state = State.COMMAND
        self._stopping = False
        self._errors = 0
        self._idle = 0

    @abstractmethod
    def _obey(self, line: bytes) -> Event | None:
        """Do what a command says."""

    @abstractmethod
    def _scan(self) -> Event | None:
        """Take in content after DATA."""

    @abstractmethod
    def _chunk(self) -> Event | None:
        """Take in content after BDAT, and answer the chunk when all of it is there."""

    @property
    @abstractmethod
    def _hungry(self) -> bool:
        """Some of the chunk is still to come."""

    # --- the driver's side --------------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet looked at."""
        return self._lines.size

    def feed(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._state is not State.OVER:
            self._lines.feed(data)

    def output(self) -> bytes:
        """Replies to send; forgotten here once taken."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def next(self) -> Event | None:
        """Work until something needs the driver; None: needs more input, or an answer."""
        event: Event | None = None
        while event is None:
            if self._state is State.COMMAND:
                if self._stopping:
                    self._close(replies.SHUTDOWN)
                    continue
                try:
                    line = self._lines.line()
                except LineError as error:
                    self._misread(replies.LINE_TOO_LONG if isinstance(error, LineTooLong) else replies.BARE_LINE)
                    continue
                if line is None:
                    return None
                event = self._obey(line)
            elif self._state is State.CONTENT:
                if not self._lines.size:
                    return None
                event = self._scan()
            elif self._state is State.CHUNK:
                if self._hungry and not self._lines.size:
                    return None
                event = self._chunk()
            elif self._state is State.CLOSING:
                self._state = State.OVER
                self._lines.clear()
                return Close()
            else:
                return None
        return event

    def insecure(self) -> None:
        """More plaintext came behind STARTTLS, and could be somebody else's."""
        self._close(replies.PLAIN_BEFORE_TLS)

    def timeout(self) -> None:
        """The peer has been silent for too long."""
        self._close(replies.TIMEOUT)

    def shutdown(self) -> None:
        """The node stops: `next` gives Close once no message is under way."""
        self._stopping = True

    # --- for the engine -----------------------------------------------------------------------------------------------

    def _misread(self, reply: bytes) -> Event | None:
        """A line that is none."""
        return self._error(reply)

    def _idled(self, reply: bytes) -> Event | None:
        self._idle += 1
        if self._idle > self._limits.idle:
            return self._error(reply)
        self._output += reply
        return None

    def _error(self, reply: bytes) -> Event | None:
        self._errors += 1
        if self._errors >= self._limits.errors:
            return self._close(replies.TOO_MANY_ERRORS)
        self._output += reply
        return None

    def _close(self, reply: bytes) -> Event | None:
        if self._state not in (State.CLOSING, State.OVER):
            self._output += reply
            self._state = State.CLOSING
        return None
