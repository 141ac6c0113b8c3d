"""Reads, in the logs of a store, what is sealed to this gateway: to its recipients of the day, or to its node key.

A cursor stands in each log that is followed. It moves in the same transaction in which what was read takes effect, so
nothing takes effect twice, and nothing is passed over."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from mesyx_core.journal import Journal
from mesyx_core.journal.journal import RowChange
from mesyx_core.record import content, payloads
from mesyx_core.record.content import Content
from mesyx_core.record.entry import Entry, Header, Kind, Origin, decode_header
from mesyx_core.record.payloads import Target
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import age, encoding, seal
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.epoch import LEAVES, SeedReader, commitment
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.vault.seal import SealError

log = logging.getLogger(__name__)

BATCH: Final = 2000
OPENED: Final = 256
"""Entries whose contents are read at a time: at most 1 MiB each."""
HOLES: Final = 1000
"""Entries of one log whose payload may still be on its way."""
SEEDS: Final = 256


class Rows(Protocol):
    """The node's sealed rows."""

    async def all(self, space: str) -> dict[str, bytes]: ...

    def sealed(self, space: str, changes: Mapping[str, bytes | None]) -> list[RowChange]: ...


class Heard(NamedTuple):
    """An entry that was sealed to this gateway."""

    origin: Origin
    seq: int
    target: Target
    content: Content
    roles: frozenset[str]
    """What its writer may do."""


class Identities(Protocol):
    """The recipients of the day that are held."""

    def identity(self, id: bytes) -> age.Identity | None: ...


class Take(Protocol):
    """Has what was read take effect, together with these changes of rows, in one commit."""

    async def __call__(self, heard: Sequence[Heard], rows: list[RowChange]) -> None: ...


class Unreadable(Exception):
    """An entry cannot be opened here: not sealed to this gateway, its key gone, or not what it should be."""


class Absent(Exception):
    """An entry's payload is not here yet, or was purged."""


@dataclass(slots=True)
class Cursor:
    """How far one log was read."""

    seq: int = 0
    holes: set[int] = field(default_factory=set)
    """Numbers up to there whose payload was not held."""
    skipped: int = 0
    """Up to there it was passed over, and nothing is known of the epochs that began there."""
    tried: int = 0
    """The hole that was looked at last."""

    def dump(self) -> bytes:
        return encoding.encode([self.seq, sorted(self.holes), self.skipped])


class Ours(NamedTuple):
    """An epoch that is sealed to this gateway."""

    seq: int
    target: Target


class Follower:
    """Follows the logs of all stores of one node."""

    def __init__(
        self,
        journal: Journal,
        key: NodeKey,
        days: Identities,
        rows: Rows,
        authority: Callable[[bytes], Authority | None],
        take: Take,
        space: str = "outbox",
    ) -> None:
        """`space` is where its rows are: two followers of one node have two."""
        self._cursor_rows = f"{space}/cursors"
        self._epoch_rows = f"{space}/epochs"
        self._journal = journal
        self._key = key
        self._days = days
        self._rows = rows
        self._authority = authority
        self._take = take
        self._cursors: dict[Origin, Cursor] = {}
        self._epochs: dict[Origin, dict[int, Ours]] = {}
        self._seeds: OrderedDict[tuple[Origin, int], SeedReader] = OrderedDict()

    async def load(self) -> None:
        """Where it had come to, before anything else is asked of it."""
        for name, data in (await self._rows.all(self._cursor_rows)).items():
            seq, holes, skipped = encoding.decode(data, limit=1 << 20)
            self._cursors[_origin(name)] = Cursor(seq, set(holes), skipped)
        for name, data in (await self._rows.all(self._epoch_rows)).items():
            seq, kind, id = encoding.decode(data, limit=1024)
            origin, _, number = name.rpartition("/")
            self._epochs.setdefault(_origin(origin), {})[int(number)] = Ours(seq, Target(kind, id))

    def known(self, origin: Origin) -> bool:
        """Whether a cursor stands in this log."""
        return origin in self._cursors

    def skip(self, origin: Origin, seq: int) -> list[RowChange]:
        """Read this log from after `seq` on only: what came before is reflected in the rows. Changes to commit."""
        cursor = self._cursors[origin] = Cursor(seq, skipped=seq)
        return self._rows.sealed(self._cursor_rows, {_name(origin): cursor.dump()})

    async def follow(self, store: bytes, wanted: Callable[[Origin], bool]) -> None:
        """Read on in the store's logs that are wanted: this node's own first, since they say what was done already."""
        heads = await self._journal.heads(store)
        for head in sorted(heads, key=lambda head: head.node != self._key.public):
            origin = Origin(store, head.node, head.incarnation)
            if wanted(origin):
                cursor = self._cursors.setdefault(origin, Cursor())
                while cursor.seq < head.seq and await self._on(origin, cursor, head.seq):
                    pass
                if cursor.holes:
                    await self._fill(origin, cursor)

    def awaited(self) -> set[bytes]:
        """Days to which something is sealed that is known and has not come yet."""
        return {
            epoch.target.id
            for origin, cursor in self._cursors.items()
            if cursor.holes
            for epoch in self._epochs.get(origin, {}).values()
            if epoch.target.kind == "day"
        }

    async def open(self, origin: Origin, seq: int) -> tuple[Header, Content]:
        """One entry, again. Raises Unreadable, Absent."""
        found = await self._journal.pick(origin, [seq])
        if not found:
            raise Absent
        _, header, opened = await self._opened(origin, found[0][1])
        return header, opened

    def forget_all_but(self, days: Iterable[bytes]) -> list[RowChange]:
        """The keys of all other days are gone, and with them what was known of epochs sealed to them. Changes to
        commit."""
        kept = set(days)
        changes: dict[str, bytes | None] = {}
        for origin, epochs in self._epochs.items():
            gone = [number for number, one in epochs.items() if one.target.kind == "day" and one.target.id not in kept]
            for number in gone:
                del epochs[number]
                self._seeds.pop((origin, number), None)
                changes[f"{_name(origin)}/{number}"] = None
        return self._rows.sealed(self._epoch_rows, changes)

    # --- one log ------------------------------------------------------------------------------------------------------

    async def _on(self, origin: Origin, cursor: Cursor, head: int) -> bool:
        """Move on by a batch; whether there was one."""
        batch = await self._journal.entries(origin, cursor.seq, max_count=BATCH, payloads=False)
        batch = [(seq, entry) for seq, entry in batch if seq <= head]
        if not batch:
            return False
        headers = {seq: decode_header(entry.header) for seq, entry in batch}
        learnt = await self._learn_before(origin, cursor.skipped)
        learnt |= await self._learn(origin, [seq for seq, one in headers.items() if one.kind == Kind.EPOCH])
        ours = {**self._epochs.get(origin, {}), **learnt}
        wanted = [seq for seq, one in headers.items() if one.kind == Kind.SEALED and one.epoch in ours]
        last = batch[-1][0]
        if len(wanted) > OPENED:
            wanted = wanted[:OPENED]
            last = wanted[-1]
            learnt = {number: one for number, one in learnt.items() if one.seq <= last}
        self._epochs.setdefault(origin, {}).update(learnt)
        heard, absent = await self._read(origin, wanted)
        moved = Cursor(last, set(sorted(cursor.holes | absent)[-HOLES:]))
        rows = self._rows.sealed(self._cursor_rows, {_name(origin): moved.dump()})
        rows += self._rows.sealed(
            self._epoch_rows,
            {f"{_name(origin)}/{n}": encoding.encode([one.seq, *one.target]) for n, one in learnt.items()},
        )
        await self._take(heard, rows)
        cursor.seq, cursor.holes, cursor.skipped = moved.seq, moved.holes, 0
        return True

    async def _fill(self, origin: Origin, cursor: Cursor) -> None:
        """Read what has come since; in turns, so that none waits behind others that never come."""
        holes = sorted(cursor.holes)
        first = bisect_right(holes, cursor.tried)
        asked = (holes[first:] + holes[:first])[:OPENED]
        heard, absent = await self._read(origin, asked)
        cursor.tried = asked[-1]
        left = cursor.holes - (set(asked) - absent)
        if left != cursor.holes:
            moved = Cursor(cursor.seq, left, cursor.skipped)
            rows = self._rows.sealed(self._cursor_rows, {_name(origin): moved.dump()})
            await self._take(heard, rows)
            cursor.holes = left

    async def _learn_before(self, origin: Origin, skipped: int) -> dict[int, Ours]:
        """A log that was passed over goes on after all: which of its epochs are for this gateway."""
        learnt: dict[int, Ours] = {}
        at = 0
        while at < skipped:
            batch = await self._journal.entries(origin, at, max_count=BATCH, payloads=False)
            if not batch:
                break
            epochs = [s for s, entry in batch if s <= skipped and decode_header(entry.header).kind == Kind.EPOCH]
            learnt |= await self._learn(origin, epochs)
            at = batch[-1][0]
        return learnt

    async def _learn(self, origin: Origin, seqs: Sequence[int]) -> dict[int, Ours]:
        """Of these epochs, those that are sealed to a key held here."""
        learnt: dict[int, Ours] = {}
        for seq, entry in await self._journal.pick(origin, seqs) if seqs else []:
            number = decode_header(entry.header).epoch
            if entry.payload is None or number in self._epochs.get(origin, {}):
                continue
            try:
                target = payloads.decode_epoch(entry.payload).target
            except RecordError:
                continue
            if self._identity(target) is not None:
                learnt[number] = Ours(seq, target)
        return learnt

    async def _read(self, origin: Origin, seqs: Sequence[int]) -> tuple[list[Heard], set[int]]:
        authority = self._authority(origin.store)
        if authority is None or not seqs:
            return [], set(seqs)
        heard: list[Heard] = []
        absent: set[int] = set()
        for seq, entry in await self._journal.pick(origin, seqs):
            try:
                target, _, opened = await self._opened(origin, entry)
            except Absent:
                absent.add(seq)
            except Unreadable:
                log.warning("an entry that is sealed to this node cannot be opened: %s/%d", _name(origin)[-12:], seq)
            else:
                roles = authority.roles(origin.node, origin.incarnation, seq)
                heard.append(Heard(origin, seq, target, opened, roles))
        return heard, absent

    async def _opened(self, origin: Origin, entry: Entry) -> tuple[Target, Header, Content]:
        header = decode_header(entry.header)
        ours = self._epochs.get(origin, {}).get(header.epoch)
        if ours is None or header.kind != Kind.SEALED or not 0 <= header.index < LEAVES:
            raise Unreadable
        if entry.payload is None:
            raise Absent
        reader = await self._seed(origin, header.epoch, ours)
        context = seal.Context(*origin, header.kind, header.epoch, header.index, header.blobs)
        try:
            data = seal.open_(reader.leaf(header.index), context, header.s, entry.payload)
            return ours.target, header, content.unpack(data)
        except (SealError, RecordError):
            raise Unreadable from None

    async def _seed(self, origin: Origin, number: int, ours: Ours) -> SeedReader:
        known = self._seeds.get((origin, number))
        if known is not None:
            self._seeds.move_to_end((origin, number))
            return known
        found = await self._journal.pick(origin, [ours.seq])
        payload = found[0][1].payload if found else None
        identity = self._identity(ours.target)
        if payload is None:
            raise Absent
        if identity is None:
            raise Unreadable
        try:
            epoch = payloads.decode_epoch(payload)
            seed = age.decrypt(epoch.file, [identity])
        except (age.AgeError, RecordError):
            raise Unreadable from None
        if len(seed) != 32 or commitment(*origin, number, seed) != epoch.commitment:
            raise Unreadable
        reader = self._seeds[origin, number] = SeedReader(seed)
        while len(self._seeds) > SEEDS:
            self._seeds.popitem(last=False)
        return reader

    def _identity(self, target: Target) -> age.Identity | None:
        if target.kind == "day":
            return self._days.identity(target.id)
        if target == Target("node", self._key.public):
            return self._key.identity
        return None


def _name(origin: Origin) -> str:
    return f"{origin.store.hex()}/{origin.node.hex()}/{origin.incarnation.hex()}"


def _origin(name: str) -> Origin:
    store, node, incarnation = (bytes.fromhex(part) for part in name.split("/"))
    return Origin(store, node, incarnation)
