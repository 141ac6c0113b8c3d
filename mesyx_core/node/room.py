"""Room on the disk: what a store may fill, and what stays free; bytes on their way count as if they had come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from mesyx_core.api import Temporary
from mesyx_core.pipeline.delivery import AHEAD

LOOK_SECONDS: Final = 0.02
"""For so long a look at the free disk holds; what is set aside meanwhile is counted."""


class Room:
    """Quota and disk reserve of a node, so that strangers cannot fill either, one by one or all at once."""

    def __init__(
        self,
        *,
        usage: Callable[[bytes], Awaitable[int]],
        free: Callable[[], int],
        quota: int,
        reserve: int,
        monotonic: Callable[[], float],
    ) -> None:
        self._usage = usage
        self._look = free
        self._quota = quota
        self._reserve = reserve
        self._monotonic = monotonic
        self._coming: dict[bytes, tuple[int, int]] = {}  # store: bytes that are set aside, and by how many bodies
        self._looked = float("-inf")
        self._free = 0

    async def take(self, store: bytes, size: int, *, first: bool = False) -> None:
        """Set `size` bytes aside; `first` for a body that has none yet. 0 only asks whether any more may come. Raises
        Temporary."""
        used = await self._usage(store)  # the last await: nobody takes the same room meanwhile
        coming, bodies = self._coming.get(store, (0, 0))
        if used + coming + size > self._quota:
            raise Temporary("the mailbox is full")
        now = self._monotonic()
        if now - self._looked > LOOK_SECONDS:
            # Not all that was set aside is written yet.
            self._free = self._look() - sum((size >> 3) + AHEAD * count for size, count in self._coming.values())
            self._looked = now
        if self._free - size < self._reserve:
            raise Temporary("the server's disk is almost full")
        if size:
            self._free -= size
            self._coming[store] = (coming + size, bodies + first)

    def give_back(self, store: bytes, size: int) -> None:
        """All that a body had set aside: it is committed and counted by the store now, or given up."""
        coming, bodies = self._coming[store]
        if bodies > 1:
            self._coming[store] = (coming - size, bodies - 1)
        else:
            del self._coming[store]
