"""How long a peer may take: from command to command, between two pieces of content, and for a message in all."""

from __future__ import annotations

from mesyx_smtp.config import Timeouts
from mesyx_smtp.engine import Engine
from mesyx_smtp.transaction import Transaction

RATE = 500.0
"""Bytes of content that buy a second more for a message."""


class Patience:
    """Of one connection. Times are seconds of one clock, the caller's."""

    def __init__(self, timeouts: Timeouts, engine: Engine, now: float) -> None:
        self._timeouts = timeouts
        self._engine = engine
        self._heard = now
        self._message: Transaction | None = None
        self._since = now
        self._size = 0

    def answered(self, now: float) -> None:
        """It is the peer's turn: what was silent before is forgotten."""
        self._heard = now

    def came(self, size: int, now: float) -> None:
        """The peer sent something. Commands count only when they are whole, and answered."""
        if self._engine.in_content:
            self._heard = now
        if not self._engine.in_message:
            self._message, self._since = None, now
        elif self._message is self._engine.transaction:
            self._size += size
        else:
            self._message, self._since, self._size = self._engine.transaction, now, size

    def left(self, now: float) -> float:
        """Seconds until it is over; not above zero when it is."""
        limits = self._timeouts
        left = self._heard + (limits.data if self._engine.in_content else limits.command) - now
        if self._message is not None and self._message is self._engine.transaction:
            left = min(left, self._since + limits.message + self._size / RATE - now)
        return left
