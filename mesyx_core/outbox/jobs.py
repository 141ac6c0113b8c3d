"""The jobs of a gateway as rows, and those that are not finished in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from mesyx_core.journal.journal import RowChange
from mesyx_core.outbox.queue import Job, Key, dump, load
from mesyx_core.vault import encoding

WAITING: Final = "outbox/waiting"
DONE: Final = "outbox/done"
KEPT: Final = 30 * 86_400
"""Seconds for which is remembered what was sent, should somebody ask for it again."""
_LIMIT: Final = 1 << 20


class Rows(Protocol):
    """The node's sealed rows."""

    async def get(self, space: str, key: str) -> bytes | None: ...

    async def all(self, space: str) -> dict[str, bytes]: ...

    def sealed(self, space: str, changes: Mapping[str, bytes | None]) -> list[RowChange]: ...


class Jobs:
    """Change them by `rows`, then `apply` once those are committed."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._waiting: dict[Key, Job] = {}

    async def load(self) -> None:
        for data in (await self._rows.all(WAITING)).values():
            job = load(encoding.decode(data, limit=_LIMIT))
            self._waiting[job.key] = job

    def __iter__(self) -> Iterator[Job]:
        """Those that are not finished, the oldest first."""
        return iter(sorted(self._waiting.values(), key=lambda job: job.since))

    def __len__(self) -> int:
        return len(self._waiting)

    def waiting(self, key: Key) -> Job | None:
        return self._waiting.get(key)

    async def find(self, key: Key) -> Job | None:
        """A job, finished or not."""
        known = self._waiting.get(key)
        if known is None:
            data = await self._rows.get(DONE, _name(key))
            known = None if data is None else load(encoding.decode(data, limit=_LIMIT))
        return known

    def rows(self, changed: Mapping[Key, Job]) -> list[RowChange]:
        """The changes that make these jobs durable."""
        waiting: dict[str, bytes | None] = {}
        done: dict[str, bytes | None] = {}
        for key, job in changed.items():
            data = encoding.encode(dump(job))
            waiting[_name(key)], done[_name(key)] = (None, data) if _over(job) else (data, None)
        return self._rows.sealed(WAITING, waiting) + self._rows.sealed(DONE, done)

    def apply(self, changed: Mapping[Key, Job]) -> None:
        for key, job in changed.items():
            if _over(job):
                self._waiting.pop(key, None)
            else:
                self._waiting[key] = job

    async def old(self, now: float) -> list[RowChange]:
        """Changes that forget what is long over, and word of other runs whose requests never came."""
        changes: list[RowChange] = []
        for space in (WAITING, DONE):
            gone: dict[str, bytes | None] = {}
            for name, data in (await self._rows.all(space)).items():
                job = load(encoding.decode(data, limit=_LIMIT))
                if job.since + KEPT < now and (space == DONE or job.request is None):
                    gone[name] = None
                    self._waiting.pop(job.key, None)
            changes += self._rows.sealed(space, gone)
        return changes


def _over(job: Job) -> bool:
    return job.final and (job.request is not None or bool(job.recipients))


def _name(key: Key) -> str:
    return f"{key[0].hex()}/{key[1].hex()}"
