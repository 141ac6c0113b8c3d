"""What this node has written under its key, and what somebody else has who holds a copy of it.

A node that was restored from a backup, or that runs beside its clone, finds logs of its own key that it does not
remember. What its own disk remembers is marked in a row, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, Protocol

from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.journal.journal import RowChange
from mesyx_core.outbox.follow import Follower
from mesyx_core.outbox.ways import Ways
from mesyx_core.record.checkpoint import parse
from mesyx_core.record.entry import Origin

MARKS: Final = "outbox/own"
CLOCK: Final = "outbox/clock"


class Elsewhere(IntEnum):
    """What somebody else has written under this node's key."""

    NOTHING = 0
    BEFORE = 1
    """Signed before this run began: this node was restored from a backup."""
    NOW = 2
    """Signed since: the key is in use twice."""


class Rows(Protocol):
    """The node's sealed rows."""

    async def all(self, space: str) -> dict[str, bytes]: ...

    def sealed(self, space: str, changes: Mapping[str, bytes | None]) -> list[RowChange]: ...


class Own:
    """This node's own logs, remembered and not."""

    def __init__(self, journal: Journal, node: bytes, rows: Rows) -> None:
        self._journal = journal
        self._node = node
        self._rows = rows
        self._marked: set[str] = set()
        self._remembered: dict[Origin, int] = {}
        self._held: dict[Origin, int] = {}
        self._said = 0

    async def load(self, own: Sequence[Origin], follower: Follower) -> list[RowChange]:
        """Look at the node's own logs as a run begins. What a log of which this disk remembers to be the writer holds
        by now is reflected in the rows; what is added to it from elsewhere, as after a restore, is not. Changes to
        commit."""
        self._marked = set(await self._rows.all(MARKS))
        for last in (await self._rows.all(CLOCK)).values():
            self._said = int.from_bytes(last, "big")
        changes: list[RowChange] = []
        for origin in own:
            head = await self._journal.head(origin)
            if head is None:
                continue
            self._held[origin] = head.seq
            if _mark(origin) in self._marked:
                self._remembered[origin] = head.seq
                if not follower.known(origin):
                    changes += follower.skip(origin, head.seq)
        return changes

    def stamp(self, now: float, *, later: bool = False) -> int:
        """The time to say something with: never before what was said already, and after it if `later` is wanted. A
        clock that was in 2099 for a minute would otherwise have said the newest word for good."""
        self._said = max(int(now), self._said + later)
        return self._said

    def remembered(self, origin: Origin, seq: int) -> bool:
        """Whether the rows of this disk know of that entry."""
        return self._journal.began(origin) or seq <= self._remembered.get(origin, 0)

    async def commit(self, ways: Ways, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange]) -> None:
        """Commit, and mark the logs that are written to for the first time."""
        fresh = {_mark(log.origin) for log, _ in entries} - self._marked
        marks = self._rows.sealed(MARKS, dict.fromkeys(fresh, b""))
        clock = self._rows.sealed(CLOCK, {"said": self._said.to_bytes(8, "big")}) if entries else []
        await ways.commit(entries, [*rows, *marks, *clock])
        self._marked |= fresh

    async def elsewhere(self, store: bytes, began: float) -> Elsewhere:
        """What has come of logs of this node's key that this run does not write, further than they were held when it
        began."""
        found = Elsewhere.NOTHING
        for head in await self._journal.heads(store):
            origin = Origin(store, head.node, head.incarnation)
            if head.node != self._node or self._journal.began(origin) or head.seq <= self._held.get(origin, 0):
                continue
            self._held[origin] = head.seq
            data = await self._journal.checkpoint(origin)
            if data is not None:
                found = max(found, Elsewhere.NOW if parse(data)[0].time > began else Elsewhere.BEFORE)
        return found


def _mark(origin: Origin) -> str:
    return f"{origin.store.hex()}/{origin.incarnation.hex()}"
