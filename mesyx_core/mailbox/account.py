"""A store on a client: its index, the feed that fills it, and the views on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from pydantic import JsonValue

from mesyx_core.api import Changed, Event, Message, View
from mesyx_core.journal import Journal
from mesyx_core.mailbox import accounts, directory, schema
from mesyx_core.mailbox.accounts import Noted
from mesyx_core.mailbox.feed import Feed, Progress
from mesyx_core.mailbox.gateways import granted_by
from mesyx_core.mailbox.keeping import Keeper
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ, SEQ_MASK
from mesyx_core.mailbox.news import News
from mesyx_core.mailbox.opening import Opener
from mesyx_core.mailbox.orders import Orders
from mesyx_core.mailbox.outbound import Outbound, Part
from mesyx_core.mailbox.reading import Reader
from mesyx_core.mailbox.reencryption import Reencryption
from mesyx_core.mailbox.resealing import Resealing
from mesyx_core.mailbox.rewriting import Rewriting
from mesyx_core.mailbox.seeds import Seeds, origin_of
from mesyx_core.mailbox.shelf import Shelf
from mesyx_core.mailbox.storage import open_database
from mesyx_core.mailbox.view import AccountView
from mesyx_core.record.entry import Kind, Origin
from mesyx_core.record.ops import Dot
from mesyx_core.record.payloads import Target
from mesyx_core.vault import age
from mesyx_core.vault.authority import Authority

COMMON: Final = "index"


class Writer(Protocol):
    """How an account writes to the store's log. Returned dots (n = 0) name the entries, in order, once durable."""

    async def ops(self, batches: Sequence[bytes]) -> list[Dot]:
        """Seal batches of ops to the client recipients, in one transaction."""

    async def message(self, message: Message) -> Dot:
        """Seal a person's own message as any other: by keyset, a large body as a blob."""

    async def post(self, parts: Sequence[Part]) -> list[Dot]:
        """Seal what is sent, in one transaction: a message as above, an `Ask` to its recipient of the day alone, a note
        to the client recipients. A body above the inline limit gets a blob for each of them."""

    async def marks(self, entries: Sequence[tuple[Kind, bytes]]) -> list[Dot]:
        """Entries in clear that say something of others: reseal, purge, veto; all in one transaction."""

    @property
    def node(self) -> bytes:
        """This node's key."""


class Signals(Protocol):
    """How an account reaches what other nodes hold."""

    def ask(self, node: bytes, account: str, name: str, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        """A request to an account that a node holds. Raises Refused, Temporary."""

    def events(self) -> AsyncGenerator[Event, None]:
        """Events of the store's accounts, from now on; while it is read, somebody counts as attached."""


class Trace(NamedTuple):
    """What became of an entry here."""

    state: str
    """"shown", "opened", "waits", "violation" or "unknown"."""
    why: str = ""
    mailboxes: tuple[str, ...] = ()


class Account:
    """Made by `open`; for the event loop that opened it."""

    def __init__(
        self,
        folder: Path,
        store: bytes,
        name: str,
        journal: Journal,
        authority: Callable[[], Authority],
        identities: Sequence[age.Identity],
        writer: Writer,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        settled: Callable[[], bool] = lambda: True,
        signals: Signals | None = None,
        own: age.Identity | None = None,
    ) -> None:
        folder.parent.mkdir(mode=0o700, exist_ok=True)  # parents=True would make it readable by others
        folder.mkdir(mode=0o700, exist_ok=True)
        self.store = store
        self.name = name
        self.writer = writer
        self.now = clock
        self.random = random
        self.journal = journal
        self.authority = authority
        self.signals = signals
        self.changing = asyncio.Lock()
        """One change at a time, so that each sees what the one before did."""
        recipients = (own.recipient,) if own is not None else authority().effective.clients
        opening = [*identities, own] if own is not None else identities
        database = open_database(folder / COMMON, recipients, opening, random, schema.COMMON, schema.VERSION)
        try:
            self.ledger = Ledger(database, clock)
            self.seeds = Seeds(store, self.ledger, identities, authority)
            generation = self.ledger.generation(random)
            self.shelf = Shelf(folder, generation, authority, identities, random, self._made_anew, own)
            gone = {self.ledger.targets[row] for row in self.ledger.gone}
            self.ledger.miss({each for each in self.ledger.keysets if each not in gone and not self.shelf.there(each)})
        except BaseException:
            database.close()
            raise
        self.reader = Reader(journal, store, self.ledger, self.seeds)
        self.news = News(self.ledger)
        opener = Opener(self.ledger, self.seeds, authority, self._gone)
        self.outbound = Outbound(self)
        self.resealing = Resealing(self, settled)
        self.orders = Orders(self)
        self.reencryption = Reencryption(self)
        self.rewriting = Rewriting(self)
        keeper = Keeper(self.ledger, self.shelf, self.seeds)
        news, wake = self.news.publish, self.resealing.wake
        self.feed = Feed(journal, store, writer.node, self.ledger, opener, keeper, news, wake)

    def _gone(self, origin: int, seq: int) -> bool:
        return seq in self.journal.gone(origin_of(self.ledger, self.store, origin << SEQ))

    def _made_anew(self, target: Target) -> None:
        """Of a keyset's file that was damaged; in any thread."""
        if target in self.ledger.keysets:
            self.ledger.miss({target})
            self.feed.retry_soon("body")

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        store: bytes,
        name: str,
        journal: Journal,
        authority: Callable[[], Authority],
        identities: Sequence[age.Identity],
        writer: Writer,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        settled: Callable[[], bool] = lambda: True,
        signals: Signals | None = None,
        own: age.Identity | None = None,
    ) -> AsyncIterator[Account]:
        """Open the index in `folder`, or make it. `clock` tells Unix seconds; `settled` whether other nodes have told
        since the start what they know: before, nothing is sealed again; `signals` reach other nodes, where there are
        any. With a key of its `own`, the index is sealed to that alone. Raises Locked when no identity opens it.

        `run` must run for anything to appear, and must have ended before the block is left.
        """
        account = await asyncio.to_thread(
            cls, folder, store, name, journal, authority, identities, writer, clock, random, settled, signals, own
        )
        try:
            yield account
        finally:
            account.news.close()
            await asyncio.to_thread(account._close)

    def _close(self) -> None:
        # Views live on in sessions that nobody has ended yet: from now on they find it locked.
        self.seeds.forget()
        self.reader.forget()
        self.shelf.close()
        self.ledger.database.close()

    async def run(self) -> None:
        """Feed the index, and seal what waits to be sent, until cancelled."""
        resealing = asyncio.create_task(self.resealing.run())
        try:
            await self.feed.run()
        finally:
            resealing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await resealing

    def view(self, login: str = "", identities: Sequence[str] | None = None) -> View:
        """A view for one log-in, which may send as every address granted to the store, or only as some of them."""
        return AccountView(self, login, identities)

    @property
    def granted(self) -> set[str]:
        """Addresses that gateways grant to the store, now."""
        return granted_by(self.authority().effective)

    def unlock(self, identities: Sequence[age.Identity]) -> None:
        """Use these identities from now on, and open what waits for them."""
        self.seeds.unlock(identities)
        self.reader.forget()
        self.shelf.unlock(identities)
        self.feed.retry("locked", "epoch")
        self.resealing.wake()

    def manifest_changed(self) -> None:
        """Judge again what was passed over because its node was no member."""
        self.feed.retry("member", "locked")
        self.resealing.wake()

    async def purged(self, origin: Origin, seqs: Iterable[int]) -> None:
        """The payloads of these entries are gone, for good."""
        row = self.ledger.origins.get((origin.node, origin.incarnation))
        if row is not None:
            await self.reencryption.forget([row << SEQ | seq for seq in seqs])
            self.feed.retry("body")

    async def shred(self, keyset: bytes) -> None:
        """Destroy what the index knows of a keyset's messages and show them nowhere, for their key is to be destroyed.
        Harmless to repeat. Raises Temporary."""
        await self._vanish(self._shred, Target("keyset", keyset))

    async def reappear(self) -> None:
        """Show again what an identity opens that has come back. Raises Temporary."""
        for target in [self.ledger.targets[row] for row in self.ledger.gone]:
            if self.seeds.opens(target):
                await self._vanish(self._unshred, target)
                self.feed.retry("body", "locked")

    async def _vanish(self, work: Callable[[Target], tuple[int, list[Changed]]], target: Target) -> None:
        modseq, changed = await self.feed.alone(work, target)
        self.reader.forget()
        if changed:
            self.news.publish(modseq, changed)

    def _shred(self, target: Target) -> tuple[int, list[Changed]]:
        found = self.ledger.vanish(target)
        self.shelf.destroy(target)
        return found

    def _unshred(self, target: Target) -> tuple[int, list[Changed]]:
        self.ledger.miss({target})
        return self.ledger.vanish(target, gone=False)

    async def seeds_missing(self) -> int:
        """Of how many epochs the seed, and with it whom it is sealed to, has not come yet."""

        def work() -> int:
            with self.ledger.database.read() as db:
                row = db.execute("SELECT count(*) FROM pending p JOIN epoch e ON e.entry = p.entry").fetchone()
            return int(row[0])

        return await asyncio.to_thread(work)

    async def epochs_running(self, keyset: bytes) -> set[bytes]:
        """The nodes that may still seal more in an epoch of a keyset, as far as their logs are opened."""

        def work() -> set[int]:
            with self.ledger.database.read() as db:
                sql = "SELECT DISTINCT s.origin FROM seal s JOIN epoch e USING (origin, number) "
                where = "WHERE s.target = 'keyset' AND s.target_id = ? AND NOT e.closed"
                return {row[0] for row in db.execute(sql + where, (keyset,))}

        found = [origin_of(self.ledger, self.store, row << SEQ) for row in await asyncio.to_thread(work)]
        return {origin.node for origin in found if not self.journal.over(origin)}

    async def accounts(self) -> list[Noted]:
        """The person's accounts on other networks."""
        return await asyncio.to_thread(self._accounts)

    def _accounts(self) -> list[Noted]:
        with self.ledger.database.read() as db:
            return accounts.listing(db)

    async def epochs(self) -> dict[Target, int]:
        """How many epochs each target opens, of those read so far."""

        def work() -> dict[Target, int]:
            with self.ledger.database.read() as db:
                rows = db.execute(
                    "SELECT target, target_id, count(DISTINCT origin << 40 | number) FROM seal GROUP BY 1, 2"
                ).fetchall()
            return {Target(kind, id): count for kind, id, count in rows}

        return await asyncio.to_thread(work)

    async def locked_epochs(self) -> dict[bytes, int]:
        """By keyset: how many epochs nothing here opens; without those whose messages are gone from here."""

        def work() -> dict[bytes, int]:
            with self.ledger.database.read() as db:
                targets = {Target(*row) for row in db.execute("SELECT DISTINCT target, target_id FROM seal").fetchall()}
                opened = json.dumps([each.id.hex() for each in targets if self.seeds.opens(each)])
                rows = db.execute(
                    "SELECT s.target_id, count(*) FROM seal s WHERE s.target = 'keyset' AND NOT EXISTS "
                    "(SELECT 1 FROM seal t WHERE t.origin = s.origin AND t.number = s.number "
                    "AND lower(hex(t.target_id)) IN (SELECT value FROM json_each(?))) GROUP BY 1",
                    (opened,),
                ).fetchall()
            gone = {self.ledger.targets[row].id for row in self.ledger.gone}
            return {id: count for id, count in rows if id not in gone}

        return await asyncio.to_thread(work)

    async def sealed_to(self, node: bytes, incarnation: bytes, number: int) -> set[bytes]:
        """The keysets that an epoch of a log is sealed to."""
        origin = self.ledger.origins.get((node, incarnation), 0)

        def work() -> set[bytes]:
            with self.ledger.database.read() as db:
                sql = "SELECT target_id FROM seal WHERE origin = ? AND number = ? AND target = 'keyset'"
                return {row[0] for row in db.execute(sql, (origin, number))}

        return await asyncio.to_thread(work)

    async def account_told(self, name: str, node: bytes) -> int:
        """When something was last said of an account on a node, in Unix seconds; 0 when nothing was."""

        def work() -> int:
            with self.ledger.database.read() as db:
                return accounts.latest(db, name, node)

        return await asyncio.to_thread(work)

    async def status(self) -> Progress:
        """How far the store is opened."""
        return await self.feed.progress()

    async def violations(self) -> dict[tuple[bytes, str], int]:
        """Entries that are not shown because they break a rule: how many, by their node and the rule."""
        return await asyncio.to_thread(self.feed.violations)

    async def trace(self, node: bytes, incarnation: bytes, seq: int) -> Trace:
        """What became of an entry."""
        return await asyncio.to_thread(self._trace, node, incarnation, seq)

    def entry(self, node: bytes, incarnation: bytes, seq: int) -> int:
        """An entry as the index numbers it; 0 for one of an unknown log."""
        row = self.ledger.origins.get((node, incarnation))
        return row << SEQ | seq if row else 0

    def _trace(self, node: bytes, incarnation: bytes, seq: int) -> Trace:
        entry = self.entry(node, incarnation, seq)
        if not entry or entry & SEQ_MASK > self.ledger.cursors.get(entry >> SEQ, 0):
            return Trace("unknown")
        with self.ledger.database.read() as db:
            row = db.execute("SELECT why FROM pending WHERE entry = ?", (entry,)).fetchone()
            if row:
                return Trace("waits", row[0])
            row = db.execute("SELECT what FROM violation WHERE entry = ?", (entry,)).fetchone()
            if row:
                return Trace("violation", row[0])
            rows = db.execute(
                "SELECT p.mailbox FROM entry e JOIN place p ON p.shown = e.shown WHERE e.id = ?", (entry,)
            ).fetchall()
            shown = {row[0] for row in rows}
            boxes = directory.boxes(self.ledger, db)
        return Trace("shown" if shown else "opened", "", tuple(box.name for box in boxes if box.row in shown))
