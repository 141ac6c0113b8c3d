"""After a key was compromised: seal messages anew, under seeds that nobody has seen, and have the old ones purged.

Whoever has the key has the seeds that were sealed to it, so sealing those again would not help. Each message is sealed
as an entry of this client's that stands for the old one: it keeps its place, its flags and its UID. What was done is
done: every step looks at what is left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from mesyx_core.api import Message
from mesyx_core.mailbox.model import SEQ, SEQ_MASK
from mesyx_core.mailbox.opening import instead
from mesyx_core.mailbox.seeds import origin_of
from mesyx_core.record.entry import Kind, Origin, decode_header, entry_id
from mesyx_core.record.marks import Purge, purges

if TYPE_CHECKING:
    from mesyx_core.mailbox.account import Account

TOGETHER: Final = 32
"""Messages sealed in one transaction."""
_LOOK: Final = 5000


class Rewritten(NamedTuple):
    """What became of the messages under some keysets."""

    messages: int
    """That there are, the purged ones left out;"""
    sealed: int
    """sealed anew now,"""
    there: int
    """or before;"""
    unread: int
    """those that no key here opens, or that are no messages."""


class Exposed(NamedTuple):
    """All entries of one log that keys of some keysets open."""

    origin: Origin
    row: int
    epochs: dict[int, list[tuple[int, bytes]]]
    """By epoch, the (number, id) of entries in it whose payloads are not purged."""

    @property
    def sealed(self) -> list[tuple[int, bytes]]:
        """The same of all epochs."""
        return sorted(one for epoch in self.epochs.values() for one in epoch)


class Rewriting:
    """Of one open account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._alone = asyncio.Lock()

    async def rewrite(
        self, keysets: Collection[bytes], tell: Callable[[int, int], None] = lambda done, of: None
    ) -> Rewritten:
        """Seal every message anew that was sealed to one of these keysets, given by id, to the one that is in use for
        it now. Returns once all are durable here and in the index."""
        async with self._alone:
            exposed = await self.exposed(keysets)
            stood = await self._stood()
            wanted = [(log, seq) for log in exposed for seq, _ in log.sealed if log.row << SEQ | seq not in stood]
            total, sealed = sum(len(log.sealed) for log in exposed), 0
            for at in range(0, len(wanted), TOGETHER):
                some = [await self._anew(log, seq) for log, seq in wanted[at : at + TOGETHER]]
                found = [message for message in some if message is not None]
                if found:
                    await self._account.feed.reached(await self._account.writer.post(found))
                sealed += len(found)
                tell(at + len(some), len(wanted))
            return Rewritten(total, sealed, total - len(wanted), len(wanted) - sealed)

    async def span(self, keysets: Collection[bytes]) -> tuple[int | None, int | None]:
        """When the first and the last message that keys of these keysets open came, in Unix seconds."""
        times: list[int] = []
        for log in await self.exposed(keysets):
            times += await asyncio.to_thread(self._times, [log.row << SEQ | seq for seq, _ in log.sealed])
        return (min(times) // 1000, max(times) // 1000) if times else (None, None)

    def _times(self, entries: Sequence[int]) -> list[int]:
        with self._account.ledger.database.read() as db:
            found = db.execute(
                "SELECT min(e.time), max(e.time) FROM json_each(?) j CROSS JOIN entry e ON e.id = j.value",
                (json.dumps(entries),),
            ).fetchone()
        return [time for time in found if time is not None]

    async def _anew(self, log: Exposed, seq: int) -> Message | None:
        message = await self._account.reader.message(log.row << SEQ | seq)
        return None if message is None else instead(message, log.origin.node, log.origin.incarnation, seq)

    async def purges(self, keysets: Collection[bytes]) -> list[Purge]:
        """What has to go: messages that another stands for, and what seals epochs of which nothing else is left. To be
        signed by the owner, or to take the store's grace."""
        stood = await self._stood()
        named: dict[Origin, list[tuple[int, bytes]]] = {}
        empty: set[tuple[int, int]] = set()
        for log in await self.exposed(keysets):
            for number, sealed in log.epochs.items():
                done = [one for one in sealed if log.row << SEQ | one[0] in stood]
                named.setdefault(log.origin, []).extend(done)
                if len(done) == len(sealed):
                    empty.add((log.row, number))
        for row, seqs in (await asyncio.to_thread(self._seals, empty)).items():
            origin = origin_of(self._account.ledger, self._account.store, row << SEQ)
            gone = self._account.journal.gone(origin).purged
            held = await self._account.journal.pick(origin, [seq for seq in seqs if seq not in gone])
            named.setdefault(origin, []).extend((seq, entry_id(entry.header)) for seq, entry in held)
        return purges("once", [(origin, some) for origin, some in named.items() if some])

    def _seals(self, epochs: Collection[tuple[int, int]]) -> dict[int, list[int]]:
        """The entries that seal these epochs' seeds, to whomever, by log."""
        found: dict[int, list[int]] = {}
        with self._account.ledger.database.read() as db:
            for entry, row, number in db.execute("SELECT entry, origin, number FROM seal"):
                if (row, number) in epochs:
                    found.setdefault(entry >> SEQ, []).append(entry & SEQ_MASK)
        return found

    async def write(self, wanted: Sequence[Purge]) -> list[tuple[bytes, bytes, int]]:
        """Have this node's log say so; the entries."""
        if not wanted:
            return []
        written = await self._account.writer.marks([(Kind.PURGE, purge.encode()) for purge in wanted])
        await self._account.feed.reached(written)
        return [dot[:3] for dot in written]

    async def exposed(self, keysets: Collection[bytes]) -> list[Exposed]:
        """What keys of these keysets open, log by log."""
        epochs = await asyncio.to_thread(self._epochs, keysets)
        found = []
        for row in sorted({row for row, _ in epochs}):
            origin = Origin(self._account.store, *self._account.ledger.nodes[row])
            numbers = {number for at, number in epochs if at == row}
            purged, after = self._account.journal.gone(origin).purged, 0
            log = Exposed(origin, row, {number: [] for number in numbers})
            while entries := await self._account.journal.entries(
                origin, after, max_bytes=8 << 20, max_count=_LOOK, payloads=False
            ):
                after = entries[-1][0]
                for seq, entry in entries:
                    header = decode_header(entry.header)
                    if header.kind == Kind.SEALED and header.epoch in numbers and seq not in purged:
                        log.epochs[header.epoch].append((seq, entry_id(entry.header)))
            found.append(log)
        return found

    def _epochs(self, keysets: Collection[bytes]) -> set[tuple[int, int]]:
        with self._account.ledger.database.read() as db:
            rows = db.execute("SELECT origin, number, target_id FROM seal WHERE target = 'keyset'").fetchall()
        return {(row, number) for row, number, id in rows if id in keysets}

    async def _stood(self) -> set[int]:
        def read() -> set[int]:
            with self._account.ledger.database.read() as db:
                return {row[0] for row in db.execute("SELECT old FROM stand")}

        return await asyncio.to_thread(read)
