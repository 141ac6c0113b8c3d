"""How fast signals go out and come in beside the logs of one session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mesyx_core.wire.limits import Bucket

from .session import Session

RATE: Final = 150.0
"""Signals a second that a session sends; fewer than a peer takes from it."""
BURST: Final = 100.0
BYTES: Final = float(512 << 10)
"""The same in bytes."""
AT_ONCE: Final = 70 << 10
"""Bytes of signals that go out together with what the logs have to send."""
LOOK: Final = 0.01
"""Seconds between two looks at signals that wait."""
FLOODED: Final = 0.005
"""Seconds for which nothing more is read from a peer that sends signals too fast, at each of them: it keeps nobody but
itself busy. A peer of ours never does."""


class Pacing:
    """Lets a session's signals out: as many as the peer takes, and few enough that the logs never wait for them."""

    def __init__(self, session: Session, monotonic: Callable[[], float]) -> None:
        self._session = session
        self._count = Bucket(RATE, BURST, monotonic)
        self._bytes = Bucket(BYTES, float(AT_ONCE), monotonic)

    @property
    def look(self) -> float | None:
        """Seconds after which one that waits may go; None when none waits."""
        return LOOK if self._session.signal_size else None

    def let(self) -> None:
        """What may go goes out with what is taken next."""
        left = AT_ONCE
        while 0 < (size := self._session.signal_size) <= left and not self._bytes.delay(size) and self._count.take():
            self._bytes.take(size)
            left -= size
            self._session.let_signal()
