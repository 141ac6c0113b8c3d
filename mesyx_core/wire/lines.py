"""Bounded lines out of a byte stream, for engines that see no socket."""

from __future__ import annotations

from mesyx_core.api import Refused


class LineError(Refused):
    """A line that cannot be taken. It was consumed: the next `line()` goes on after it."""


class LineTooLong(LineError):
    """Longer than the limit. Raised once, as soon as that is known; the rest is skipped as it comes."""

    def __init__(self) -> None:
        super().__init__("line too long")


class BareLineFeed(LineError):
    """Ended by LF without CR, or with a CR inside: others may see other lines here (RFC 5321, section 2.3.8)."""

    def __init__(self) -> None:
        super().__init__("line not ended by CRLF")


class Lines:
    """A buffer that is fed bytes and gives lines up to `limit` bytes (CRLF not counted), or raw runs for literals.

    It holds what was fed and not yet taken; who feeds it stops reading while `size` is too high for
    him. `limit` may be set anew at any time.
    """

    __slots__ = ("_at", "_buffer", "_seen", "_skipping", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._at = 0
        self._seen = 0  # no LF stands in [_at, _seen)
        self._skipping = False

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return len(self._buffer) - self._at

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add what came from the network."""
        self._buffer += data

    def line(self) -> bytes | None:
        """The next line without its CRLF; None until there is a whole one. Raises LineTooLong, BareLineFeed."""
        while True:
            end = self._buffer.find(b"\n", max(self._at, self._seen))
            if end < 0:
                return self._unended()
            skipped, self._skipping = self._skipping, False
            line = bytes(self._buffer[self._at : end])
            self._drop(end + 1)
            if not skipped:
                return self._checked(line)

    def raw(self, most: int) -> bytes:
        """Up to `most` bytes as they are: a literal's content, or what stands behind the last line."""
        end = min(len(self._buffer), self._at + most)
        data = bytes(self._buffer[self._at : end])
        self._drop(end)
        return data

    def clear(self) -> int:
        """Forget all that waits, and how many bytes that was."""
        size = self.size
        self._drop(len(self._buffer))
        self._skipping = False
        return size

    def _unended(self) -> bytes | None:
        size = self.size
        self._seen = len(self._buffer)
        if self._skipping:
            self._drop(len(self._buffer))
        elif size > self.limit + 1:  # a CR that waits for its LF does not count
            self._skipping = True
            self._drop(len(self._buffer))
            raise LineTooLong
        return None

    def _checked(self, line: bytes) -> bytes:
        if len(line) > self.limit + 1:
            raise LineTooLong
        if line.find(b"\r") != len(line) - 1:  # the first CR is the last byte; so is no CR in an empty line
            raise BareLineFeed
        if not line:
            raise BareLineFeed
        return line[:-1]

    def _drop(self, end: int) -> None:
        if end >= len(self._buffer):
            self._buffer.clear()
            self._at = self._seen = 0
            return
        self._at = self._seen = end
        if end > 65536:  # moving the rest to the front is paid once in 64 KiB, not once a line
            del self._buffer[:end]
            self._at = self._seen = 0
