"""The outbox of a node: one loop that follows the logs, keeps the days, and starts what is due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from mesyx_core.api import MesyxError
from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.journal.journal import RowChange
from mesyx_core.outbox import publishing, queue
from mesyx_core.outbox.days import Days
from mesyx_core.outbox.follow import Follower, Heard, Rows
from mesyx_core.outbox.jobs import Jobs
from mesyx_core.outbox.jobs import Rows as JobRows
from mesyx_core.outbox.own import Elsewhere, Own
from mesyx_core.outbox.queue import Job, Key, Place
from mesyx_core.outbox.sending import Sending
from mesyx_core.outbox.telling import receipts
from mesyx_core.outbox.ways import Ways
from mesyx_core.record import outgoing
from mesyx_core.record.entry import Origin
from mesyx_core.record.outgoing import Fate, Intent, Receipt, Request
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.nodekey import NodeKey

log = logging.getLogger(__name__)

PARALLEL: Final = 16
"""Attempts at a time, over all stores."""
LOOK: Final = 2.0
"""Seconds after which it looks again by itself: what is due, and whether somebody has turned the clock."""
GRACE: Final = 4.0
"""Seconds that a stop leaves to attempts that run."""
SWEEP: Final = 6 * 3600
RESTORED: Final = "this node's state is older than what it has written: it was restored from a backup"
TWICE: Final = "this node's key is in use twice: another node writes under it"
TWICE_REMEDY: Final = (
    "stop the other one, and give it a key of its own (`mesyx init` in a new folder); then restart this one"
)


class AllRows(JobRows, Rows, Protocol):
    """The node's sealed rows, for both."""


class Outbox:
    """Make it with what the node gives, `load` it, and `run` it in a task."""

    look: float = LOOK

    def __init__(
        self,
        journal: Journal,
        key: NodeKey,
        days: Days,
        rows: AllRows,
        authority: Callable[[bytes], Authority | None],
        ways: Ways,
    ) -> None:
        """`authority` gives what is in effect for a store, None for one that is not held."""
        self.journal = journal
        self.days = days
        self.ways = ways
        self.jobs = Jobs(rows)
        self.own = Own(journal, key.public, rows)
        self.follower = Follower(journal, key, days, rows, authority, self._take)
        self.lock = anyio.Lock()
        """Held while a job changes: from looking at it to its commit."""
        self.stopped = ""
        """Why nothing is sent any more; empty while all is well."""
        self.restored = ""
        """Said when others held more of this node's own logs than it did itself."""
        self._key = key
        self._authority = authority
        self._published = publishing.Published()
        self._sending = Sending(self)
        self._active: set[Key] = set()
        self._attempts: set[anyio.CancelScope] = set()
        self._later: dict[Key, float] = {}
        self._dirty: set[bytes] = set()
        self._news = anyio.Event()
        self._began = 0.0
        self._swept = 0.0

    async def load(self) -> None:
        """What was known at the last stop."""
        self._began = self.ways.now()
        await self.jobs.load()
        await self.follower.load()
        held = [
            Origin(store, head.node, head.incarnation)
            for store, _ in await self.journal.stores()
            for head in await self.journal.heads(store)
        ]
        rows = await self.own.load([origin for origin in held if origin.node == self._key.public], self.follower)
        rows += self.follower.forget_all_but(day.id for day in self.days)
        if rows:
            await self.journal.commit((), rows=rows)

    async def run(self) -> None:
        """Until cancelled."""
        stop = self.journal.on_commit(self._committed)
        try:
            self._dirty.update(self.ways.stores())
            async with anyio.create_task_group() as tasks:
                try:
                    while True:
                        self._news = anyio.Event()
                        await self._round(tasks)
                        with anyio.move_on_after(self.look):
                            await self._news.wait()
                finally:
                    for attempt in self._attempts:
                        attempt.deadline = anyio.current_time() + GRACE
        finally:
            stop()

    def wake(self) -> None:
        """Look again soon: an egress is up, a session is in sync, a person asked."""
        self._news.set()

    def later(self, key: Key, seconds: float) -> None:
        """Leave a job alone for a while; only in memory."""
        self._later[key] = self.ways.now() + seconds

    async def commit(self, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange] = ()) -> None:
        """What this node says, marked as its own so that a later run knows it. Raises Temporary."""
        await self.own.commit(self.ways, entries, rows)

    # --- one round ----------------------------------------------------------------------------------------------------

    async def _round(self, tasks: TaskGroup) -> None:
        # Before the logs are read: what a session brings in the meantime may be news of what was sent.
        in_sync = {store for store in self.ways.stores() if self.ways.in_sync(store)}
        try:
            await self._follow()
            await self._keep_days()
            await self._sweep()
        except (MesyxError, OSError) as error:  # the disk is full, or the like: what waits, waits
            log.warning(
                "the outbox cannot go on for now: %s", error.what if isinstance(error, MesyxError) else "the disk"
            )
            return
        if self.stopped:
            return
        now = self.ways.now()
        for job in self.jobs:
            if len(self._active) >= PARALLEL:
                break
            if job.key in self._active or job.store not in in_sync or self._later.get(job.key, 0) > now:
                continue
            interrupted = job.trying and job.request is not None
            if interrupted or (job.due is not None and job.due <= now):
                self._later.pop(job.key, None)
                self._active.add(job.key)
                tasks.start_soon(self._work, job.key)

    async def _work(self, key: Key) -> None:
        """An attempt that runs when the node stops has a while to come to its end: what is cut off is sent again."""
        with anyio.CancelScope(shield=True) as attempt:
            self._attempts.add(attempt)
            try:
                await self._sending.work(key)
            except MesyxError as error:
                log.warning("a message waits: %s", error.what)
                self.later(key, LOOK)
            finally:
                self._attempts.discard(attempt)
                self._active.discard(key)
                self._news.set()

    async def _follow(self) -> None:
        for store in self._dirty & set(self.ways.stores()):
            self._dirty.discard(store)
            try:
                await self.follower.follow(store, self._wanted)
                await self._watch(store)
            except BaseException:
                self._dirty.add(store)
                raise

    def _wanted(self, origin: Origin) -> bool:
        authority = self._authority(origin.store)
        if authority is None:
            return False
        client = "client" in authority.roles(origin.node, origin.incarnation, 1)
        return client or (origin.node == self._key.public and not self.journal.began(origin))

    async def _watch(self, store: bytes) -> None:
        """Hear who else writes, or wrote, under this node's key."""
        found = await self.own.elsewhere(store, self._began)
        if found and not self.restored:
            log.warning("%s", RESTORED)
            self.restored = RESTORED
        if found is Elsewhere.NOW:
            if not self.stopped:
                log.error("%s; nothing is sent any more: %s", TWICE, TWICE_REMEDY)
            self.stopped = TWICE
            self._published.forget(store)  # said again, so that the other one hears of this one

    async def _keep_days(self) -> None:
        """Make days ahead, erase those that are done with, and say so in every store."""
        now = self.ways.now()
        self.days.prepare(now)
        needed = {job.day for job in self.jobs if not job.final}
        needed |= self.follower.awaited()
        async with self.lock:
            for job in list(self.jobs):
                day = self.days.get(job.day)
                if day is not None and self.days.overdue(day, now) and not job.trying:
                    await self._sending.give_back(job.key)
            gone = self.days.erase(now, needed)
        if gone:
            await self.journal.commit((), rows=self.follower.forget_all_but(day.id for day in self.days))
            log.info("%d keys of days that are over were erased", len(gone))
        await self._published.publish(self)

    async def _sweep(self) -> None:
        now = self.ways.now()
        if not self._swept <= now < self._swept + SWEEP:
            self._swept = now
            rows = await self.jobs.old(now)
            if rows:
                await self.journal.commit((), rows=rows)

    def _committed(self, origin: Origin, seq: int) -> None:
        if not self.journal.began(origin) or "client" in self._roles(origin):
            self._dirty.add(origin.store)
            self._news.set()

    def _roles(self, origin: Origin) -> frozenset[str]:
        authority = self._authority(origin.store)
        return authority.roles(origin.node, origin.incarnation, 1) if authority is not None else frozenset()

    # --- what was read ------------------------------------------------------------------------------------------------

    async def _take(self, heard: Sequence[Heard], rows: list[RowChange]) -> None:
        async with self.lock:
            staged: dict[Key, Job] = {}
            entries: list[tuple[Log, Draft]] = []
            for one in heard:
                try:
                    told = outgoing.decode(one.content)
                except RecordError:
                    log.warning("what a client asks for has not the form it should have")
                    continue
                if isinstance(told, Request) and "client" in one.roles and one.target.kind == "day":
                    entries += await self._asked(one, told, staged)
                elif isinstance(told, Intent | Receipt) and self._elsewhere(one):
                    await self._said(one, told, staged)
            await self.commit(entries, [*rows, *self.jobs.rows(staged)])
            self.jobs.apply(staged)
        self._news.set()

    def _elsewhere(self, one: Heard) -> bool:
        """Whether another run of this node wrote it that this one does not remember."""
        return one.origin.node == self._key.public and not self.own.remembered(one.origin, one.seq)

    async def _asked(self, one: Heard, request: Request, staged: dict[Key, Job]) -> list[tuple[Log, Draft]]:
        now = int(self.ways.now())
        key = (one.origin.store, request.id)
        known = staged.get(key) or await self.jobs.find(key)
        if request.verb == "send":
            return await self._send(one, request, known, staged, now)
        if request.verb == "retry":
            if known is not None and not known.final:
                staged[key] = queue.hurry(known, now)
                self._later.pop(key, None)
            return []
        if known is None:  # another client's word of it may come later than this one's
            staged[key] = Job(*key, {}, now, dropped=True)
            return []
        told = queue.drop(known)
        staged[key] = told.job
        return await self._receipts(told.job, told.fates, await self._sending.addresses(known)) if told.fates else []

    async def _send(
        self, one: Heard, request: Request, known: Job | None, staged: dict[Key, Job], now: int
    ) -> list[tuple[Log, Draft]]:
        assert request.message is not None
        key = (one.origin.store, request.id)
        network = request.message.network
        job = queue.admit(
            known,
            store=key[0],
            id=request.id,
            numbers=request.numbered,
            request=Place(one.origin.node, one.origin.incarnation, one.seq),
            day=one.target.id,
            deadline=request.deadline,
            network=network,
            mail=request.message.kind == "mail",
            schedule=self.ways.schedule(network),
            now=now,
        )
        fates = queue.known_fates(job, request.numbered)
        if known is not None and known.dropped and known.request is None:
            told = queue.drop(job)
            job, fates = told.job, (*fates, *told.fates)
        staged[key] = job
        self._later.pop(key, None)
        return await self._receipts(job, fates, request.numbered) if fates else []

    async def _said(self, one: Heard, told: Intent | Receipt, staged: dict[Key, Job]) -> None:
        now = int(self.ways.now())
        key = (one.origin.store, told.id)
        known = staged.get(key) or await self.jobs.find(key)
        if isinstance(told, Intent):
            staged[key] = queue.heard_intent(known, *key, told.attempt, told.numbers, now)
        else:
            staged[key] = queue.heard_receipt(known, *key, told.fates, now)

    async def _receipts(self, job: Job, fates: Sequence[Fate], addresses: Mapping[int, str]) -> list[tuple[Log, Draft]]:
        return await receipts(self.ways, self.days, job, fates, addresses, self.own.stamp(self.ways.now()))

    # --- for people ---------------------------------------------------------------------------------------------------

    def waits(self, job: Job) -> str:
        """What a job waits for, for a person."""
        now = self.ways.now()
        if self.stopped:
            return self.stopped
        if job.request is None:
            return "the request, which another run of this node has seen"
        if not self.ways.in_sync(job.store):
            return "a session with another member: what was sent already must be known first"
        if job.key in self._active:
            return ""
        if self.ways.egress(job.network) is None:
            return f"an egress for {job.network} that is up"
        if self._later.get(job.key, 0) > now:
            return "the message's body, or the disk"
        return "its next attempt" if job.due is not None and job.due > now else "its turn"
