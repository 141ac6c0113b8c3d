"""A clock that stands until it is turned: hours of timeouts in a moment, the same each time."""

from __future__ import annotations

import heapq
import itertools
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
_ROUNDS: Final = 20
"""Turns of the event loop that what was woken gets before the clock goes on."""


class Clock:
    """`now`, `monotonic` and `sleep` as `api.Context` has them. Time passes only in `turn`."""

    def __init__(self, start: datetime = NOON) -> None:
        self._start = start
        self._passed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    @property
    def waiting(self) -> int:
        """How many sleep just now."""
        return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Until the clock was turned so far."""
        if seconds <= 0:
            return await anyio.lowlevel.checkpoint()
        sleeper = (self._passed + seconds, next(self._order), anyio.Event())
        heapq.heappush(self._sleepers, sleeper)
        try:
            await sleeper[2].wait()
        finally:
            if sleeper in self._sleepers:  # given up
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    async def turn(self, seconds: float) -> None:
        """Let time pass. Who sleeps wakes in order, and may sleep again, before it goes on."""
        await self._settle()
        until = self._passed + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self._passed, _, due = heapq.heappop(self._sleepers)
            due.set()
            await self._settle()
        self._passed = until
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(_ROUNDS):
            await anyio.lowlevel.checkpoint()
