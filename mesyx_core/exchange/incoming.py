"""Takes ids and entries from a session into the journal, when their node may write to the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import anyio

from mesyx_core.journal import Diverged, Journal
from mesyx_core.record.checkpoint import verify
from mesyx_core.record.entry import Entry, Origin, chain_over, chain_start, entry_id
from mesyx_core.record.shape import RecordError

from .compare import Log
from .errors import Violation
from .flow import DIVERGED, NOT_ALLOWED
from .frames import Decline, Entries, Have, Ids, Want
from .session import Session
from .trail import Places, Walk

_MAX_WALKS: Final = 64


class Locks(Protocol):
    """One lock for each log, shared by all sessions: what is held must not grow between looking and taking in."""

    def __call__(self, log: Log) -> anyio.Lock: ...


class Incoming:
    """Takes in one store's logs from one session."""

    def __init__(
        self, journal: Journal, store: bytes, session: Session, limit: Callable[[Log], int], locks: Locks
    ) -> None:
        """`limit` tells up to which number entries of a log are valid; 0: none."""
        self._journal = journal
        self._store = store
        self._session = session
        self._limit = limit
        self._locks = locks
        self._walks: dict[Log, Walk] = {}
        self._places: dict[Log, Places] = {}
        self.declined: dict[Log, int] = {}
        """Logs not taken from this peer, and why."""

    async def take(self, frame: Ids | Entries) -> None:
        """Answers with have, want or decline. Raises Violation for what no honest peer sends, and what the journal
        raises when the disk does not take it."""
        log = (frame.node, frame.incarnation)
        if log in self.declined:  # it was under way when we declined
            return
        if self._limit(log) <= frame.after:
            self._decline(log, NOT_ALLOWED)
            return
        try:
            if isinstance(frame, Ids):
                await self._ids(log, frame)
            else:
                await self._entries(log, frame)
        except RecordError as error:
            raise Violation(str(error)) from None
        except Diverged:
            self._decline(log, DIVERGED)

    async def _head(self, log: Log) -> tuple[int, bytes]:
        origin = Origin(self._store, *log)
        head = await self._journal.head(origin)
        return (head.seq, head.chain) if head else (0, chain_start(origin))

    # --- ids ----------------------------------------------------------------------------------------------------------

    async def _ids(self, log: Log, frame: Ids) -> None:
        walk = self._walks.get(log)
        if walk is None:
            seq, chain = await self._head(log)
            if frame.after > seq:
                self._session.send(Want(*log, seq))
                return
            if len(self._walks) >= _MAX_WALKS:
                raise Violation("ids of too many logs at a time")
            walk = self._walks[log] = Walk(Origin(self._store, *log), seq, chain)
        ids = frame.ids
        if frame.after < walk.at:
            ids = ids[32 * (walk.at - frame.after) :]
        elif frame.after > walk.at:
            raise Violation("ids that do not follow those before")
        walk.take(ids)
        if frame.last:
            del self._walks[log]
            self._arrive(log, walk, frame.checkpoint)

    def _arrive(self, log: Log, walk: Walk, checkpoint: bytes) -> None:
        if not checkpoint:
            if log not in self._places:
                raise Violation("ids without a checkpoint")
            self._places[log] = walk.rejoin(self._places[log])
            return
        places = walk.end(checkpoint)
        if places is None:
            self._decline(log, DIVERGED)
        else:
            self._places[log] = places

    # --- entries ------------------------------------------------------------------------------------------------------

    async def _entries(self, log: Log, frame: Entries) -> None:
        if not frame.entries:
            raise Violation("no entries")
        async with self._locks(log):
            seq, chain = await self._head(log)
            if frame.after > seq:
                self._forget(log)
                self._session.send(Want(*log, seq))
                return
            upto = frame.after + len(frame.entries)
            if upto > self._limit(log):
                self._decline(log, NOT_ALLOWED)
                return
            if upto > seq:
                fresh = [Entry(header, payload) for header, payload in frame.entries[seq - frame.after :]]
                seq = await self._receive(log, seq, chain, fresh, frame.checkpoint)
        self._session.flow.holds(log, upto)
        self._session.send(Have(*log, seq))

    async def _receive(self, log: Log, after: int, chain: bytes, entries: list[Entry], checkpoint: bytes) -> int:
        origin = Origin(self._store, *log)
        places = self._places.get(log)
        upto = after + len(entries)
        if checkpoint:
            signed = verify(checkpoint, origin)
            if signed.seq != upto:
                raise Violation("entries that end elsewhere than their checkpoint")
            if signed.chain != chain_over(chain, (entry_id(entry.header) for entry in entries)):
                raise Diverged("another branch of the log is held")
            return await self._journal.receive(origin, after, chain, entries, checkpoint)
        if places is None or places.chain(upto) is None:
            raise Violation("entries that nothing signed leads to")
        held = await self._journal.receive(origin, after, chain, entries, places.checkpoint, places)
        places.pass_by(held)
        if not places.chains_at:
            self._forget(log)
        return held

    def _decline(self, log: Log, reason: int) -> None:
        self._forget(log)
        self.declined[log] = reason
        self._session.send(Decline(*log, reason))

    def _forget(self, log: Log) -> None:
        self._walks.pop(log, None)
        self._places.pop(log, None)
