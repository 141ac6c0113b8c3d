"""Reads logs from the journal into frames, in the pieces that the other side can check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mesyx_core.journal import Journal
from mesyx_core.record import checkpoint as checkpoints
from mesyx_core.record.entry import Entry, Origin

from .compare import Log
from .frames import MAX_IDS, Entries, Ids
from .session import Session
from .trail import STEP

PIECE_BYTES: Final = 1 << 20
PIECE_COUNT: Final = 512
_OVERHEAD: Final = 16


@dataclass(slots=True)
class _Backlog:
    """A log that is more than one piece behind: ids up to the checkpoint first, then its entries."""

    checkpoint: bytes
    after: int
    upto: int
    walked: int
    """Ids were sent up to here."""
    dense: int
    """The peer remembers every place up to here, beside each 64th."""


class Outgoing:
    """Sends one store's logs on one session."""

    def __init__(self, journal: Journal, store: bytes, session: Session, limit: Callable[[Log], int]) -> None:
        """`limit` tells up to which number a log may be given on."""
        self._journal = journal
        self._store = store
        self._session = session
        self._limit = limit
        self._backlogs: dict[Log, _Backlog] = {}

    async def piece(self, log: Log, after: int) -> None:
        """Queue one frame of what follows number `after` of a log, and tell the flow."""
        origin = Origin(self._store, *log)
        backlog = self._backlogs.get(log)
        if backlog is None or not backlog.after <= after < backlog.upto:
            self._backlogs.pop(log, None)
            await self._begin(origin, log, after)
        elif backlog.walked < backlog.upto:
            await self._walk(origin, log, backlog)
        else:
            await self._go_on(origin, log, after, backlog)

    async def _begin(self, origin: Origin, log: Log, after: int) -> None:
        signed = await self._journal.checkpoint(origin)
        upto = checkpoints.parse(signed)[0].seq if signed else 0
        if signed is None or not after < upto <= self._limit(log):
            self._session.flow.nothing(log)
            return
        entries = await self._read(origin, after, upto)
        if after + len(entries) == upto:
            self._send(log, after, entries, signed)
            return
        self._backlogs[log] = backlog = _Backlog(signed, after, upto, after, after + STEP)
        await self._walk(origin, log, backlog)

    async def _walk(self, origin: Origin, log: Log, backlog: _Backlog) -> None:
        after = backlog.walked
        ids = await self._journal.ids(origin, after, max_count=min(MAX_IDS, backlog.upto - after))
        if not ids:  # the log went away under us
            self._session.flow.nothing(log)
            return
        backlog.walked += len(ids)
        last = backlog.walked == backlog.upto
        self._session.send(Ids(*log, after, b"".join(ids), backlog.checkpoint if last else b"", last))
        self._session.flow.later(log)

    async def _go_on(self, origin: Origin, log: Log, after: int, backlog: _Backlog) -> None:
        entries = await self._read(origin, after, backlog.upto)
        if not entries:
            self._session.flow.nothing(log)
            return
        upto = after + len(entries)
        if upto == backlog.upto:
            del self._backlogs[log]
        elif upto > backlog.dense:
            place = upto - upto % STEP
            if place <= after:  # not one place within a piece
                await self._show(origin, log, after, backlog)
            else:
                del entries[place - after :]
        self._send(log, after, entries, b"")

    async def _show(self, origin: Origin, log: Log, after: int, backlog: _Backlog) -> None:
        upto = min(after - after % STEP + STEP, backlog.upto)
        ids = await self._journal.ids(origin, after, max_count=upto - after)
        self._session.send(Ids(*log, after, b"".join(ids), b"", True))
        backlog.dense = upto

    async def _read(self, origin: Origin, after: int, upto: int) -> list[Entry]:
        count = min(PIECE_COUNT, upto - after)
        numbered = await self._journal.entries(origin, after, max_bytes=PIECE_BYTES, max_count=count)
        return [entry for _, entry in numbered]

    def _send(self, log: Log, after: int, entries: Sequence[Entry], checkpoint: bytes) -> None:
        weight = sum(len(header) + len(payload or b"") + _OVERHEAD for header, payload in entries)
        self._session.send(Entries(*log, after, tuple((e.header, e.payload) for e in entries), checkpoint))
        self._session.flow.sent(log, after + len(entries), weight)
