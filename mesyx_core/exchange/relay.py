"""Whether a signal that came is taken, passed on or lost, and where it goes. No I/O; the clocks are arguments."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum, auto
from typing import Any, Final, Protocol

from mesyx_core.wire.limits import Bucket

from .frames import Signal
from .signal import genuine

SLACK: Final = 300
"""Seconds by which two members' clocks may differ."""
LIFETIME: Final = 120
"""Seconds for which a signal may want to be of use."""
AHEAD: Final = 10
"""Seconds by which the clock of who begins something may be ahead of this node's, if others pass it on."""
RATE: Final = 200.0
"""Signals a second from one peer, and"""
BURST: Final = 400.0
"""at once; what comes on top is lost."""
BYTES: Final = float(1 << 20)
"""Bytes of signals a second from one peer, and"""
BYTES_BURST: Final = float(4 << 20)
"""at once."""
REMEMBERED: Final = 16_384
"""Signals of one origin that are known so as not to be taken twice: about 3 MB. More of it than that within the time
for which they could be played again are lost."""
WAYS: Final = 4096
"""Requests for which it is known where they came from."""


class Way(Protocol):
    """A session's connection, as signals need it."""

    peer: bytes

    @property
    def running(self) -> bool: ...

    def signal(self, frame: Signal) -> bool:
        """Pass a signal on to the peer; False when it is lost."""

    def start(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job that ends with the connection. It raises nothing."""


class Fate(Enum):
    """Of a signal that came."""

    MINE = auto()
    PASS = auto()
    LOST = auto()
    FLOOD = auto()
    """Lost because its peer sends too many."""


class Relay:
    """One store's signals on one node."""

    def __init__(
        self,
        store: bytes,
        me: bytes,
        member: Callable[[bytes], bool],
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`now` tells Unix seconds."""
        self.lost: Final[Counter[str]] = Counter()
        """How many were lost, by why."""
        self._since = now()
        self._store = store
        self._me = me
        self._member = member
        self._now = now
        self._monotonic = monotonic
        self._buckets: dict[bytes, tuple[Bucket, Bucket]] = {}
        self._seen: dict[bytes, OrderedDict[tuple[bytes, int], float]] = {}
        self._ways: OrderedDict[tuple[bytes, bytes], bytes] = OrderedDict()

    def take(self, frame: Signal, peer: bytes) -> Fate:
        """What becomes of a frame that `peer` has sent. The cheap questions come first: a flood costs little."""
        count, size = self._bucket(peer)
        if not (count.take() and size.take(len(frame.sealed))):
            self.lost["flood"] += 1
            return Fate.FLOOD
        why = self._objection(frame)
        if why:
            self.lost[why] += 1
            return Fate.LOST
        if frame.target == self._me:
            self._came(frame, peer)
            return Fate.MINE
        if frame.hops <= 1:
            self.lost["too many hops"] += 1
            return Fate.LOST
        self._came(frame, peer)
        return Fate.PASS

    def repeated(self, made: int) -> bool:
        """Whether others may have kept a request or an event, made at that time by its origin's clock, since before
        this relay began to remember what it has seen; then it is lost.

        An earlier relay took nothing that was made more than AHEAD after its end, by this node's clock, and this one
        takes only what was made more than AHEAD after its own beginning. The origin's clock need not be right.
        """
        if made > self._now() + AHEAD:
            why = "made ahead of time"
        elif made <= self._since + AHEAD:
            why = "made before the start"
        else:
            return False
        self.lost[why] += 1
        return True

    def ways(self, frame: Signal, attached: Iterable[Way], but: bytes = b"") -> list[Way]:
        """Where a frame goes: to its target if that is connected; an answer the way that its request came; else to all
        peers but the one it came from."""
        running = {one.peer: one for one in attached if one.running}
        if frame.target in running:
            return [running[frame.target]]
        back = self._ways.get((frame.target, frame.id))
        if back is not None and back in running and back != but:
            return [running[back]]
        return [one for peer, one in running.items() if peer not in (but, frame.origin)]

    def _objection(self, frame: Signal) -> str:
        """Why a frame is lost; empty when it is not."""
        if frame.origin == self._me:
            return "own"
        if not self._member(frame.origin) or not (frame.target == self._me or self._member(frame.target)):
            return "not a member"
        now = self._now()
        if frame.deadline + SLACK < now:
            return "expired"
        if frame.deadline - SLACK > now + LIFETIME:
            return "deadline too far"
        seen = self._seen.setdefault(frame.origin, OrderedDict())
        if (frame.id, frame.number) in seen:
            return "seen"
        self._forget(seen)
        if len(seen) >= REMEMBERED:
            return "too many of one origin"
        return "" if genuine(frame, self._store) else "forged"

    def _bucket(self, peer: bytes) -> tuple[Bucket, Bucket]:
        found = self._buckets.get(peer)
        if found is None:
            found = Bucket(RATE, BURST, self._monotonic), Bucket(BYTES, BYTES_BURST, self._monotonic)
            self._buckets[peer] = found
        return found

    def _came(self, frame: Signal, peer: bytes) -> None:
        until = self._monotonic() + max(0.0, frame.deadline + SLACK - self._now())
        self._seen[frame.origin][frame.id, frame.number] = until
        if (frame.origin, frame.id) not in self._ways:
            self._ways[frame.origin, frame.id] = peer
            if len(self._ways) > WAYS:
                self._ways.popitem(last=False)

    def _forget(self, seen: OrderedDict[tuple[bytes, int], float]) -> None:
        """What cannot be played again any more, oldest first."""
        now = self._monotonic()
        while seen and next(iter(seen.values())) < now:
            seen.popitem(last=False)
