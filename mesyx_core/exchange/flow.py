"""What one side sends of its logs: what the peer has, what is under way, and which log comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from .compare import Log

WINDOW: Final = 4 << 20
"""Bytes of entries that may be sent and not yet be durable at the peer."""
NOT_ALLOWED: Final = 1
"""Reason to decline a log: its node may not write to the store, as the manifest has it."""
DIVERGED: Final = 2
"""Reason to decline a log: another branch of it is held."""
_REWINDS: Final = 16


class Flow:
    """Turns "the journal has this log up to n" and the peer's answers into "send this log next, after number m"."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._mine: dict[Log, int] = {}
        self._sent: dict[Log, int] = {}
        self._unknown: set[Log] = set()
        self._ready: dict[Log, None] = {}  # in the order in which they get their turn
        self._under_way: deque[tuple[Log, int, int]] = deque()
        self._weight = 0
        self._rewinds: dict[Log, int] = {}
        self.acked: dict[Log, int] = {}
        """What is known to be durable at the peer."""
        self.told: dict[Log, int] = {}
        """How far the peer holds logs, as a comparison has found since this was last taken out."""
        self.declined: dict[Log, int] = {}
        """Logs that the peer does not take, and the reason's number."""

    def begin(self, heads: Mapping[Log, int]) -> None:
        """The logs as they were compared; each waits until `found` tells what the peer has of it."""
        self._unknown |= heads.keys()
        self._mine.update(heads)

    def found(self, positions: Mapping[Log, int]) -> None:
        """What a comparison has found out."""
        self.told.update(positions)
        for log, seq in positions.items():
            self._unknown.discard(log)
            self.holds(log, seq)

    def grew(self, log: Log, seq: int) -> None:
        """The journal has this log up to `seq`. A log that was not compared is new: it is sent from its start."""
        self._mine[log] = max(seq, self._mine.get(log, 0))
        self._consider(log)

    def held(self, log: Log) -> int:
        """How far this side's journal has a log."""
        return self._mine.get(log, 0)

    def holds(self, log: Log, seq: int) -> None:
        """The peer has this log up to `seq`, durably: it said so, or sent it."""
        if seq > self.acked.get(log, 0):
            self.acked[log] = seq
        if seq > self._sent.get(log, 0):
            self._sent[log] = seq
        if any(one == log and upto <= seq for one, upto, _ in self._under_way):
            self._keep((one, upto, weight) for one, upto, weight in self._under_way if one != log or upto > seq)
        self._consider(log)

    def rewind(self, log: Log, seq: int) -> None:
        """The peer asks for what follows `seq`."""
        if log in self.declined:
            return
        self._drop(log)
        self._rewinds[log] = self._rewinds.get(log, 0) + 1
        if self._rewinds[log] > _REWINDS:
            self.decline(log, DIVERGED)
            return
        self.acked[log] = self._sent[log] = seq
        self._consider(log)

    def decline(self, log: Log, reason: int) -> None:
        """The peer does not take this log."""
        self._drop(log)
        self.declined[log] = reason
        self._ready.pop(log, None)

    def reconsider(self) -> None:
        """A newer manifest: what was declined may be offered again."""
        declined, self.declined = self.declined, {}
        for log in declined:
            self._sent[log] = self.acked.get(log, 0)
            self._consider(log)

    @property
    def room(self) -> int:
        """Bytes that may be sent now."""
        return max(0, self._window - self._weight)

    def next(self) -> tuple[Log, int] | None:
        """Whose turn it is, and after which number; None when nothing waits or the window is full."""
        if self._weight >= self._window or not self._ready:
            return None
        log = next(iter(self._ready))
        return log, self._sent.get(log, 0)

    def sent(self, log: Log, upto: int, weight: int) -> None:
        """Entries up to this number are under way; the next log gets its turn."""
        self._under_way.append((log, upto, weight))
        self._weight += weight
        self._sent[log] = max(upto, self._sent.get(log, 0))
        self._ready.pop(log, None)
        self._consider(log)

    def nothing(self, log: Log) -> None:
        """The journal has no more of this log to give for now; `grew` brings it back."""
        self._ready.pop(log, None)

    def later(self, log: Log) -> None:
        """Something else than entries was sent of this log; others get their turn first."""
        if log in self._ready:
            self._ready[log] = self._ready.pop(log)

    @property
    def waiting(self) -> int:
        """Entries that the peer does not have yet, as far as known."""
        return sum(
            max(0, seq - self.acked.get(log, 0))
            for log, seq in self._mine.items()
            if log not in self._unknown and log not in self.declined
        )

    @property
    def settled(self) -> bool:
        """All is compared, sent and durable at the peer."""
        return not self._unknown and not self._under_way and not self._ready

    def _consider(self, log: Log) -> None:
        if log in self._unknown or log in self.declined:
            return
        if self._mine.get(log, 0) > self._sent.get(log, 0):
            self._ready.setdefault(log)
        else:
            self._ready.pop(log, None)

    def _drop(self, log: Log) -> None:
        self._keep((one, upto, weight) for one, upto, weight in self._under_way if one != log)

    def _keep(self, kept: Iterable[tuple[Log, int, int]]) -> None:
        self._under_way = deque(kept)
        self._weight = sum(weight for _, _, weight in self._under_way)
