"""What an egress remembers of servers between attempts, in memory only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

HOSTS: Final = 1000
GRACE: Final = 240.0
"""Seconds between the first handshake with a server that failed and the first mail that goes to it in clear."""
FORGOTTEN: Final = 86400.0


class Handshakes:
    """Servers that offer STARTTLS and then fail at it.

    Opportunistic TLS must not make mail worse than none would: a server whose TLS is broken would never get any. So
    such mail waits for one attempt, since most failures pass; if TLS fails again later, it goes in clear at once. That
    is what Postfix does at its level "may". Whoever sits on the line gains nothing: he could have hidden STARTTLS.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, float] = OrderedDict()

    def failed(self, host: str) -> bool:
        """Note that one failed; whether mail may go to the host in clear now."""
        now = self._clock()
        first = self._failed.get(host)
        if first is not None and now - first < FORGOTTEN:
            return now - first >= GRACE
        self._failed[host] = now
        self._failed.move_to_end(host)
        if len(self._failed) > HOSTS:
            self._failed.popitem(last=False)
        return False

    def worked(self, host: str) -> None:
        """TLS with it began."""
        self._failed.pop(host, None)
