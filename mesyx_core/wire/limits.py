"""Limits towards strangers: connections at once, actions a second, bytes in memory, failed log-ins.

The clock comes as an argument.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Address, ip_address


def peer_key(host: str) -> str:
    """What counts as one peer: an IPv4 address, or an IPv6 /64, the least that one customer is given."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


class Connections:
    """Open connections, overall and per peer. `enter` and `leave` come in pairs."""

    def __init__(self, overall: int | None, per_peer: int | None) -> None:
        """None is no limit."""
        self.overall = sys.maxsize if overall is None else overall
        self.per_peer = sys.maxsize if per_peer is None else per_peer
        self._peers: Counter[str] = Counter()
        self._open = 0

    @property
    def open(self) -> int:
        return self._open

    def enter(self, host: str) -> bool:
        """Count one more from `host`; False, and nothing counted, when there are enough."""
        peer = peer_key(host)
        if self._open >= self.overall or self._peers[peer] >= self.per_peer:
            return False
        self._open += 1
        self._peers[peer] += 1
        return True

    def leave(self, host: str) -> None:
        """Undo one `enter` that gave True."""
        peer = peer_key(host)
        self._open -= 1
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]


class Bucket:
    """A token bucket: `rate` a second on average, `burst` at once; it starts full."""

    __slots__ = ("_clock", "_tokens", "_when", "burst", "rate")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._tokens = burst
        self._when = clock()

    def take(self, tokens: float = 1) -> bool:
        """Spend tokens, if there are enough."""
        self._fill()
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True

    def delay(self, tokens: float = 1) -> float:
        """Seconds until `take` would succeed; 0 when it would now."""
        self._fill()
        return max(0.0, (tokens - self._tokens) / self.rate)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._when) * self.rate)
        self._when = now


class Buckets:
    """One bucket a peer, for at most `peers` of them; the one not seen longest is forgotten."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float], peers: int = 10_000) -> None:
        self._new = partial(Bucket, rate, burst, clock)
        self._most = peers
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, host: str) -> Bucket:
        """The bucket of the peer at `host`."""
        peer = peer_key(host)
        bucket = self._buckets.get(peer) or self._buckets.setdefault(peer, self._new())
        self._buckets.move_to_end(peer)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket


class Budget:
    """Bytes of large messages in memory, over all connections of a listener."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, size: int) -> bool:
        """Hold so many more, if there is room."""
        if self.held + size > self.most:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Let go of what `take` has held."""
        self.held -= size


class Failures:
    """Failed log-ins of one connection: each is answered later than the one before, and there are not many."""

    def __init__(self, most: int, delay: float) -> None:
        """`delay`: seconds before the first is answered; doubles with each."""
        self._most = most
        self._delay = delay
        self._count = 0

    def another(self) -> float:
        """Count one; how long to wait before it is answered, in seconds."""
        self._count += 1
        return self._delay * 2.0 ** (self._count - 1)

    @property
    def enough(self) -> bool:
        """Close the connection."""
        return self._count >= self._most
