"""The feed: takes entries from the journal as they are committed, opens them and keeps them, batch after batch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Final, NamedTuple, TypeVar

from mesyx_core.api import Changed, Temporary
from mesyx_core.journal import BlobAbsent, Journal
from mesyx_core.mailbox.bodies import BlobBody, BodyDamaged
from mesyx_core.mailbox.keeping import Keeper, Kept
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ, SEQ_MASK, Why
from mesyx_core.mailbox.opening import Item, Later, Opener, Unread, Violation
from mesyx_core.mailbox.seeds import origin_of
from mesyx_core.record.entry import Entry, Origin
from mesyx_core.record.ops import Dot

_COUNT: Final = 512
_BYTES: Final = 4 << 20
_PATIENCE: Final = 2.0
"""Seconds after which bodies that were missing are looked for, should nobody have said that they came."""
_ABSENT: Final[tuple[Why, ...]] = ("body", "blob", "epoch")

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class Progress(NamedTuple):
    """What `status` shows."""

    opened: int
    """Messages and ops since the start."""
    behind: int
    """Entries committed and not opened."""
    waiting: int
    """Entries passed over whose body, blob or cause is not here."""
    locked: int
    """Entries passed over whose key is not open here."""
    violations: int


class Feed:
    """One store's. `run` works until cancelled; everything else is for the same event loop."""

    def __init__(
        self,
        journal: Journal,
        store: bytes,
        own: bytes,
        ledger: Ledger,
        opener: Opener,
        keeper: Keeper,
        publish: Callable[[int, Sequence[Changed]], None],
        posted: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._store = store
        self._own = own
        self._ledger = ledger
        self._opener = opener
        self._keeper = keeper
        self._publish = publish
        self._posted = posted
        self._heads: dict[tuple[bytes, bytes], int] = {}
        self._read: dict[int, int] = {}
        """How far each origin's entries were fetched; ahead of the cursor while a batch is being kept."""
        self._retry: set[Why] = set()
        self._ready: list[int] = []
        self._wake = asyncio.Event()
        self._waiters: list[tuple[Dot, asyncio.Future[None]]] = []
        self._stopped = False
        self.idle = False
        """Whether all that can be opened now is opened."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = 0
        self._doubted: set[Origin] = set()

    # --- for the account ----------------------------------------------------------------------------------------------

    async def reached(self, dots: Iterable[Dot]) -> None:
        """Return once these entries are opened. Raises Temporary when the feed stops before."""
        for dot in dots:
            if self._is_opened(dot):
                continue
            if self._stopped:
                raise Temporary("the mailbox is being closed")
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((dot, future))
            self._wake.set()
            await future

    async def alone(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        """Do something to the index while nothing else changes it. Raises Temporary when the feed does not run."""
        if self._stopped or self._loop is None:
            raise Temporary("the mailbox is being closed")
        return await self._keep_thread(work, *arguments)

    def retry(self, *why: Why) -> None:
        """Try entries again that were passed over for these reasons."""
        self._retry.update(why)
        self._wake.set()

    def retry_soon(self, *why: Why) -> None:
        """The same, from any thread. Before `run`, everything is tried anyway."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.retry, *why)

    async def progress(self) -> Progress:
        """How far the store is opened, now."""
        heads = await self._journal.heads(self._store)
        behind = sum(max(0, head.seq - self._cursor(head.node, head.incarnation)) for head in heads)
        waits, violations = await asyncio.to_thread(self._waits)  # after: of all that is not behind
        locked = waits.pop("locked", 0)
        waits.pop("gone", None)
        return Progress(self._opened, behind, sum(waits.values()), locked, violations)

    def _waits(self) -> tuple[dict[str, int], int]:
        with self._ledger.database.read() as db:
            waits = dict(db.execute("SELECT why, count(*) FROM pending GROUP BY why").fetchall())
            return waits, db.execute("SELECT count(*) FROM violation").fetchone()[0]

    def violations(self) -> dict[tuple[bytes, str], int]:
        """How many entries of which node break which rule. For any thread."""
        found: dict[tuple[bytes, str], int] = {}
        with self._ledger.database.read() as db:
            rows = db.execute("SELECT entry >> ?, what, count(*) FROM violation GROUP BY 1, 2", (SEQ,)).fetchall()
        for origin, what, count in rows:
            at = self._ledger.nodes[origin][0], what
            found[at] = found.get(at, 0) + count
        return found

    def _cursor(self, node: bytes, incarnation: bytes) -> int:
        row = self._ledger.origins.get((node, incarnation))
        return 0 if row is None else self._ledger.cursors.get(row, 0)

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open what is there, then what comes, until cancelled."""
        self._opening = ThreadPoolExecutor(1, "mesyx-open")
        self._keeping = ThreadPoolExecutor(1, "mesyx-keep")
        stop = self._journal.on_commit(self._committed)
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        try:
            for head in await self._journal.heads(self._store):
                at = (head.node, head.incarnation)
                self._heads[at] = max(head.seq, self._heads.get(at, 0))
            self._retry.update(("body", "blob", "epoch", "locked", "member", "cause", "fault"))
            while True:
                self._wake.clear()
                await self._doubt()
                await self._catch_up()
                await self._try_again()
                if not self._wake.is_set():
                    self.idle = True
                    await self._pause()
                    self.idle = False
        finally:
            self._stopped = True
            self._loop = None
            stop()
            for _, future in self._waiters:
                if not future.done():
                    future.set_exception(Temporary("the mailbox is being closed"))
            self._waiters.clear()
            self._opening.shutdown(wait=True)
            self._keeping.shutdown(wait=True)

    def _committed(self, origin: Origin, seq: int) -> None:
        if origin.store != self._store:
            return
        at = (origin.node, origin.incarnation)
        row = self._ledger.origins.get(at)
        if row is not None and seq <= self._ledger.cursors.get(row, 0):
            self._retry.update(_ABSENT)
        self._heads[at] = max(seq, self._heads.get(at, 0))
        self._wake.set()

    async def _pause(self) -> None:
        absent = await self._pending(_ABSENT, 0, 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE if absent else None):
                await self._wake.wait()
        if absent:
            self._retry.update(_ABSENT)

    async def _doubt(self) -> None:
        """This node's own entries that came from elsewhere: its state was restored from a copy, and the index with it,
        or another one writes under its key."""
        back = {log for log in self._journal.grown if (log.store, log.node) == (self._store, self._own)}
        if not back <= self._doubted:
            _log.warning("entries of this node's own came back from another: all mailboxes get a new UIDVALIDITY")
            await self._keep_thread(self._ledger.doubt)
            self._doubted |= back

    async def _catch_up(self) -> None:
        """Open all origins up to their heads, in turns, one batch being opened while the one before is kept."""
        keeping: asyncio.Task[None] | None = None
        try:
            while batch := await self._next():
                origin, entries = batch
                items = await self._open(origin, entries)
                if keeping is not None:
                    await keeping
                keeping = asyncio.create_task(self._keep(items))
            if keeping is not None:
                await keeping
        except BaseException:
            if keeping is not None:
                with contextlib.suppress(BaseException):
                    await keeping
            self._read.clear()
            raise

    async def _next(self) -> tuple[int, list[tuple[int, Entry]]] | None:
        behind: list[tuple[int, tuple[bytes, bytes]]] = []
        for at, seq in list(self._heads.items()):  # more come while an origin is noted
            row = self._ledger.origins.get(at)
            if row is None:
                row = await self._keep_thread(self._new_origin, at)
            read = max(self._read.get(row, 0), self._ledger.cursors.get(row, 0))
            if read < seq:
                behind.append((row, at))
        # The one served longest ago is next: none waits behind another's backlog.
        for row, at in behind:
            after = max(self._read.get(row, 0), self._ledger.cursors.get(row, 0))
            entries = await self._journal.entries(Origin(self._store, *at), after, max_bytes=_BYTES, max_count=_COUNT)
            self._heads[at] = self._heads.pop(at)
            if entries:
                self._read[row] = entries[-1][0]
                return row, entries
        return None

    def _new_origin(self, at: tuple[bytes, bytes]) -> int:
        with self._ledger.change() as change:
            return change.origin(*at)

    async def _open(self, origin: int, entries: list[tuple[int, Entry]]) -> list[Item]:
        loop = asyncio.get_running_loop()
        items = await loop.run_in_executor(self._opening, self._opener.open, origin, entries)
        for at, item in enumerate(items):
            if isinstance(item, Unread):
                items[at] = await self._read_body(item)
        return items

    async def _read_body(self, unread: Unread) -> Item:
        """One at a time, so that only one large message is in memory."""
        try:
            body = await BlobBody(self._journal, unread.body).whole()
        except BlobAbsent:
            return Later(unread.entry, "blob")
        except BodyDamaged:
            return Violation(unread.entry, "its blob is not what was sealed")
        return await asyncio.get_running_loop().run_in_executor(self._opening, self._opener.read, unread, body)

    async def _keep(self, items: list[Item]) -> None:
        kept: Kept = await self._keep_thread(self._keeper.keep, items)
        self._opened += kept.opened
        self._ready += kept.ready
        if kept.changed:
            self._publish(kept.modseq, kept.changed)
        if kept.posted:
            self._posted()
        if kept.retry:
            self._retry.update(kept.retry)
            self._wake.set()
        waiters, self._waiters = self._waiters, []
        for dot, future in waiters:
            if future.done():
                continue
            if self._is_opened(dot):
                future.set_result(None)
            else:
                self._waiters.append((dot, future))

    async def _keep_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._keeping, work, *arguments)

    def _is_opened(self, dot: Dot) -> bool:
        return self._cursor(dot.node, dot.incarnation) >= dot.seq

    # --- what was passed over ---------------------------------------------------------------------------------------

    async def _try_again(self) -> None:
        while self._ready or self._retry:
            ready, self._ready = sorted(set(self._ready)), []
            why, self._retry = tuple(self._retry), set()
            for at in range(0, len(ready), _COUNT):
                await self._reopen(ready[at : at + _COUNT])
            after = 0
            while entries := await self._pending(why, after, _COUNT):
                after = entries[-1]
                await self._reopen(entries)

    async def _pending(self, why: Sequence[Why], after: int, count: int) -> list[int]:
        def query() -> list[int]:
            with self._ledger.database.read() as db:
                marks = db.execute(
                    "SELECT entry FROM pending WHERE entry > ? AND why IN (SELECT value FROM json_each(?)) "
                    "ORDER BY entry LIMIT ?",
                    (after, _json(why), count),
                )
                return [row[0] for row in marks]

        return await self._keep_thread(query)

    async def _reopen(self, entries: list[int]) -> None:
        items: list[Item] = []
        for row, group in groupby(entries, lambda entry: entry >> SEQ):
            origin = origin_of(self._ledger, self._store, row << SEQ)
            found = await self._journal.pick(origin, [entry & SEQ_MASK for entry in group])
            items += await self._open(row, found)
        await self._keep(items)


def _json(words: Sequence[str]) -> str:
    return "[" + ",".join(f'"{word}"' for word in words) + "]"
