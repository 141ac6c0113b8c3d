"""Re-encryption: seal the epochs of one keyset to another, drop the old seals, and move what the index knows.

No message is rewritten: whoever has an epoch's seed can read it, so the seed alone is sealed again. Every step can be
taken again from the start, here and on other clients at the same time: an epoch that has a good seal to the target is
passed over, a purge names what is not purged yet, and folding copies what is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from mesyx_core.api import Locked
from mesyx_core.mailbox.model import SEQ, SEQ_MASK
from mesyx_core.mailbox.opening import WRONG_SEAL
from mesyx_core.mailbox.seeds import Seal, SeedLocked, SeedUnknown, SeedWrong, origin_of
from mesyx_core.record.entry import Kind, Origin, decode_header, entry_id
from mesyx_core.record.marks import Reseal, purges
from mesyx_core.record.payloads import Target
from mesyx_core.vault.keyset import Keyset

if TYPE_CHECKING:
    from mesyx_core.mailbox.account import Account
    from mesyx_core.mailbox.storage import Connection

BATCH: Final = 256
"""Epochs sealed in one transaction."""

_T = TypeVar("_T")


class Resealed(NamedTuple):
    """What became of a keyset's epochs; these numbers add up to all of them."""

    sealed: int
    """To the other keyset now,"""
    there: int
    """before,"""
    running: int
    """not yet, since they are not closed,"""
    locked: int
    """or since no key here opens them."""


class Retired(NamedTuple):
    """What became of the old seals."""

    purged: int
    """Named in a purge: every node drops them;"""
    dropped: int
    """dropped by this node alone, which cannot open the new ones."""


class Reencryption:
    """Of one open account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._alone = asyncio.Lock()

    async def reseal(
        self, source: Keyset, into: Keyset, tell: Callable[[int, int], None] = lambda done, of: None
    ) -> Resealed:
        """Seal every closed epoch of a keyset to another keyset as well; `tell` hears how many of how many are. Returns
        once all new seals are durable here and known to the index."""
        async with self._alone:
            epochs = await self._read(lambda db: _epochs(db, _target(source), _target(into)))
            waiting = [epoch for epoch in epochs if not epoch.there]
            ready = [epoch for epoch in waiting if epoch.closed or self._over(epoch.origin)]
            sealed = 0
            batches = [ready[at : at + BATCH] for at in range(0, len(ready), BATCH)]
            sealing = self._sealing(batches, 0, into)
            for number, batch in enumerate(batches):
                made, sealing = await sealing, self._sealing(batches, number + 1, into)  # while these are written
                try:
                    if made:
                        written = await self._account.writer.marks([(Kind.RESEAL, payload) for payload in made])
                        await self._account.feed.reached(written)
                except BaseException:
                    sealing.cancel()
                    raise
                sealed += len(made)
                tell(number * BATCH + len(batch), len(ready))
            await sealing
            there, running = len(epochs) - len(waiting), len(waiting) - len(ready)
            return Resealed(sealed, there, running, len(ready) - sealed)

    def _over(self, origin: int) -> bool:
        return self._account.journal.over(self._origin(origin))

    def _sealing(self, batches: Sequence[Sequence[_Epoch]], number: int, into: Keyset) -> asyncio.Task[list[bytes]]:
        batch = batches[number] if number < len(batches) else ()
        return asyncio.create_task(asyncio.to_thread(self._seal, batch, into))

    def _seal(self, epochs: Sequence[_Epoch], into: Keyset) -> list[bytes]:
        """Reseal payloads of those that can be opened here."""
        made: list[bytes] = []
        for epoch in epochs:
            try:
                seal = self._account.seeds.reseal(epoch.origin, epoch.number, into)
            except (SeedLocked, SeedUnknown, SeedWrong):
                continue
            node, incarnation = self._account.ledger.nodes[epoch.origin]
            made.append(Reseal(node, incarnation, epoch.number, *seal).encode())
        return made

    # --- the old seals ------------------------------------------------------------------------------------------------

    async def left(self, source: Keyset) -> int:
        """How many epochs are sealed to a keyset, as far as is known here."""
        sql = "SELECT count(DISTINCT origin << 40 | number) FROM seal WHERE target = ? AND target_id = ?"
        found: int = await self._read(lambda db: db.execute(sql, _target(source)).fetchone()[0])
        return found

    async def retire(self, source: Keyset, into: Keyset, *, drop: bool) -> Retired:
        """Of the epochs that are sealed to another keyset, get rid of the seals to this one: where the new ones open
        here and are right, and this node may purge, for all nodes; where they do not open here, on this node, if it is
        to `drop` them."""
        async with self._alone:
            if not self._account.seeds.opens(_target(into)):
                return Retired(0, await self._drop(source, into) if drop else 0)
            await self._verify(into)
            if not self._may_purge(source):
                return Retired(0, 0)
            return Retired(await self._purge(source, into), 0)

    def _may_purge(self, keyset: Keyset) -> bool:
        return self._account.authority().may_purge(self._account.writer.node, keyset.id)

    async def _drop(self, source: Keyset, into: Keyset) -> int:
        old = await self._read(lambda db: _old(db, _target(source), _target(into), good=False))
        for origin, group in groupby(old, lambda entry: entry >> SEQ):
            await self._account.journal.drop(self._origin(origin), [entry & SEQ_MASK for entry in group])
        await self.forget(old)
        return len(old)

    async def _purge(self, source: Keyset, into: Keyset) -> int:
        journal = self._account.journal
        old = await self._read(lambda db: _old(db, _target(source), _target(into), good=True))
        named: list[tuple[Origin, list[tuple[int, bytes]]]] = []
        for row, group in groupby(old, lambda entry: entry >> SEQ):
            origin = self._origin(row)
            purged = journal.gone(origin).purged
            held = await journal.pick(origin, [entry & SEQ_MASK for entry in group if entry & SEQ_MASK not in purged])
            headers = [(seq, entry.header, decode_header(entry.header)) for seq, entry in held]
            # An epoch's entry of earlier versions shows its commitment nowhere else.
            ids = [(seq, entry_id(data)) for seq, data, header in headers if header.s or header.kind != Kind.EPOCH]
            if ids:
                named.append((origin, ids))
        found = [(Kind.PURGE, purge.encode()) for purge in purges("once", named)]
        if found:
            await self._account.feed.reached(await self._account.writer.marks(found))
        return sum(len(ids) for _, ids in named)

    async def _verify(self, into: Keyset) -> None:
        """Look into seals that could not be opened when they came."""
        for entry, origin, number, file in await self._read(lambda db: _unverified(db, _target(into))):
            verdict = await asyncio.to_thread(self._account.seeds.check, origin, number, Seal(_target(into), file))
            if verdict != "locked":
                await self._account.feed.alone(self._judge, entry, verdict == "good")

    def _judge(self, entry: int, good: bool) -> None:
        with self._account.ledger.change() as change:
            if good:
                change.db.execute("UPDATE seal SET good = 1 WHERE entry = ?", (entry,))
            else:
                change.db.execute("DELETE FROM seal WHERE entry = ?", (entry,))
                change.violation(entry, WRONG_SEAL)

    async def forget(self, entries: Sequence[int]) -> None:
        """The payloads of these entries are gone: so are their seals."""
        if entries:
            await self._account.feed.alone(self._forget, entries)
            self._account.reader.forget()

    def _forget(self, entries: Sequence[int]) -> None:
        with self._account.ledger.change() as change:
            epochs = change.unseal(entries)
        self._account.seeds.look_again(epochs)

    async def sweep(self) -> None:
        """Forget seals whose payloads went while nobody looked."""
        gone = {row: self._account.journal.gone(self._origin(row)) for row in self._account.ledger.nodes}
        entries = await self._read(lambda db: [row[0] for row in db.execute("SELECT entry FROM seal")])
        await self.forget([entry for entry in entries if entry & SEQ_MASK in gone[entry >> SEQ]])

    # --- the index ----------------------------------------------------------------------------------------------------

    async def fold(self, source: Keyset, into: Keyset) -> bool:
        """Move what the index knows of a keyset's messages into the other's file and destroy the one it was in, once
        all of the keyset's epochs open by the other; whether that is done now."""
        account, old, new = self._account, _target(source), _target(into)
        if not account.shelf.there(old) or not account.seeds.opens(new):
            return False
        if await self._read(lambda db: _unsealed(db, old, new)):
            return False
        try:
            await account.feed.alone(self._fold, old, new)
        except Locked:
            return False
        return True

    def _fold(self, source: Target, into: Target) -> None:
        self._account.shelf.fold(source, into)
        self._account.ledger.fold(source, into)
        self._account.shelf.destroy(source)

    # ------------------------------------------------------------------------------------------------------------------

    def _origin(self, row: int) -> Origin:
        return origin_of(self._account.ledger, self._account.store, row << SEQ)

    async def _read(self, query: Callable[[Connection], _T]) -> _T:
        def work() -> _T:
            with self._account.ledger.database.read() as db:
                return query(db)

        return await asyncio.to_thread(work)


class _Epoch(NamedTuple):
    origin: int
    number: int
    closed: bool
    there: bool


def _target(keyset: Keyset) -> Target:
    return Target("keyset", keyset.id)


_OTHER: Final = """EXISTS (SELECT 1 FROM seal t WHERE t.origin = s.origin AND t.number = s.number
    AND t.target = ? AND t.target_id = ? AND t.good >= ?)"""


def _epochs(db: Connection, source: Target, into: Target) -> list[_Epoch]:
    rows = db.execute(
        f"SELECT DISTINCT s.origin, s.number, e.closed, {_OTHER} FROM seal s JOIN epoch e USING (origin, number) "  # noqa: S608 - no values
        "WHERE s.target = ? AND s.target_id = ? ORDER BY 1, 2",
        (*into, 0, *source),
    )
    return [_Epoch(origin, number, bool(closed), bool(there)) for origin, number, closed, there in rows]


def _old(db: Connection, source: Target, into: Target, good: bool) -> list[int]:
    """Entries that seal an epoch to the one keyset, where another seals it to the other."""
    sql = f"SELECT s.entry FROM seal s WHERE s.target = ? AND s.target_id = ? AND {_OTHER} ORDER BY 1"  # noqa: S608 - no values
    return [row[0] for row in db.execute(sql, (*source, *into, int(good)))]


def _unsealed(db: Connection, source: Target, into: Target) -> bool:
    """Whether an epoch of the one keyset does not open by the other yet."""
    sql = f"SELECT 1 FROM seal s WHERE s.target = ? AND s.target_id = ? AND NOT {_OTHER} LIMIT 1"  # noqa: S608 - no values
    return db.execute(sql, (*source, *into, 1)).fetchone() is not None


def _unverified(db: Connection, target: Target) -> list[tuple[int, int, int, bytes]]:
    sql = "SELECT entry, origin, number, sealed FROM seal WHERE target = ? AND target_id = ? AND good = 0"
    return list(db.execute(sql, target))
