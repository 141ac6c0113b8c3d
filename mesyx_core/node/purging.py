"""Purges: what some node wants dropped everywhere, judged by each node alone, from what it can see without a key.

A purge counts when its writer may purge whatever the entries are sealed to, and names them as they are. It acts at once
on seals that another seal has taken the place of, on what its writer asked of a gateway, and where the owner has signed
it; else after the store's grace, counted by this node's clock from when it first saw the purge, unless a client vetoes
it meanwhile. What is purged stays so.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from mesyx_core.api import MesyxError
from mesyx_core.journal import Journal
from mesyx_core.node.clock import now
from mesyx_core.node.rows import SealedRows
from mesyx_core.record.entry import Header, Kind, Origin, decode_header, entry_id
from mesyx_core.record.marks import Named, Purge, decode_purge, decode_reseal, decode_veto, ids_digest
from mesyx_core.record.payloads import Target, decode_epoch
from mesyx_core.record.powers import may_write
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.authority import Authority

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

SPACE: Final = "purging"
PAUSE: Final = 1.0
"""Seconds between two looks at the least."""
LOOK: Final = 300.0
"""Seconds after which a grace that runs is looked at again."""
_PICKED: Final = 4096
"""Headers looked at together."""

log = logging.getLogger(__name__)


class At(NamedTuple):
    """An entry of a store."""

    node: bytes
    incarnation: bytes
    seq: int


class _Seal(NamedTuple):
    at: At
    target: Target | None
    """None when its payload is gone."""
    again: bool
    """By a reseal entry, not by the epoch's own."""


class Waiting(NamedTuple):
    """A purge that has not acted yet, or not on all that it names."""

    node: bytes
    """Who wants it."""
    entries: int
    since: int | None
    """Unix seconds at which this node first saw it, where the grace runs;"""
    why: str
    """"grace", or what is missing."""


@dataclass
class _Open:
    purge: Purge
    left: list[Named]
    since: int | None = None
    why: str = ""


class Purging:
    """One store's."""

    def __init__(
        self,
        journal: Journal,
        store: bytes,
        authority: Callable[[], Authority],
        rows: SealedRows,
        clock: Callable[[], int],
        told: Callable[[Origin, Sequence[int]], Awaitable[None]],
    ) -> None:
        """`told` hears what was purged just now."""
        self._journal = journal
        self._store = store
        self._authority = authority
        self._rows = rows
        self._clock = clock
        self._told = told
        self._alone = anyio.Lock()
        self._read: dict[Origin, int] = {}
        self._open: dict[At, _Open] = {}
        self._vetoed: dict[At, list[At]] = {}
        self._seals: dict[tuple[bytes, bytes, int], list[_Seal]] = {}
        """Of each epoch."""
        self._epochs: dict[At, tuple[bytes, bytes, int]] = {}
        self._late: dict[Origin, set[int]] = {}
        """Entries that were read without their payload."""

    def waiting(self) -> list[Waiting]:
        """For `doctor`: what was asked for and is not done."""
        return [
            Waiting(at.node, sum(run.length for n in one.left for run in n.runs), one.since, one.why)
            for at, one in self._open.items()
        ]

    def done(self, at: At) -> bool:
        """Whether the purge in an entry has acted on all that it names; not before it was read here."""
        origin = Origin(self._store, at.node, at.incarnation)
        return self._read.get(origin, 0) >= at.seq and at not in self._open and at.seq not in self._late.get(origin, ())

    def named(self, purges: Iterable[At]) -> set[Named]:
        """What these purges name and have not acted on."""
        return {named for at in purges if at in self._open for named in self._open[at].left}

    async def look(self) -> None:
        """Read what is new, and do what is due."""
        async with self._alone:
            await self._look()

    async def _look(self) -> None:
        for head in await self._journal.heads(self._store):
            await self._read_marks(Origin(self._store, head.node, head.incarnation))
        for at, one in list(self._open.items()):
            await self._act(at, one)
            if not one.left:
                del self._open[at]
                if one.since is not None:
                    await self._rows.put(SPACE, {self._key(at): None})

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _read_marks(self, origin: Origin) -> None:
        late = self._late.pop(origin, set())
        if late:
            await self._take_all(origin, sorted(late))
        while marked := await self._journal.marks(origin, self._read.get(origin, 0), max_count=512):
            await self._take_all(origin, [seq for seq, kind in marked if kind != Kind.CLOSE])
            self._read[origin] = marked[-1][0]

    async def _take_all(self, origin: Origin, seqs: Sequence[int]) -> None:
        gone = self._journal.gone(origin)
        for seq, entry in await self._journal.pick(origin, seqs):
            if entry.payload is None and seq not in gone:
                self._late.setdefault(origin, set()).add(seq)
            try:
                self._take(At(*origin[1:], seq), decode_header(entry.header), entry.payload)
            except RecordError:
                continue  # its opener shows it

    def _take(self, at: At, header: Header, payload: bytes | None) -> None:
        if header.kind == Kind.EPOCH:
            target = decode_epoch(payload).target if payload is not None else None
            self._learn((at.node, at.incarnation, header.epoch), _Seal(at, target, again=False))
        elif payload is None:
            return
        elif header.kind == Kind.RESEAL:
            reseal = decode_reseal(payload)
            self._learn((reseal.node, reseal.incarnation, reseal.number), _Seal(at, reseal.target, again=True))
        elif header.kind == Kind.PURGE:
            purge = decode_purge(payload)
            self._open.setdefault(at, _Open(purge, list(purge.named)))
        elif header.kind == Kind.VETO:
            self._vetoed.setdefault(At(*decode_veto(payload)), []).append(at)

    def _learn(self, epoch: tuple[bytes, bytes, int], seal: _Seal) -> None:
        seals = self._seals.setdefault(epoch, [])
        seals[:] = [*(each for each in seals if each.at != seal.at), seal]
        self._epochs[seal.at] = epoch

    # --- judging ------------------------------------------------------------------------------------------------------

    async def _act(self, at: At, one: _Open) -> None:
        authority = self._authority()
        if not self._wrote(authority, Kind.PURGE, at):
            one.why = "its writer may not purge"
            return
        owners = one.purge.is_owners(self._store, authority.effective.owner)
        left: list[Named] = []
        for named in one.left:
            if not await self._judge(authority, at, one, named, owners):
                left.append(named)
        one.left = left

    async def _judge(self, authority: Authority, at: At, one: _Open, named: Named, owners: bool) -> bool:
        """Whether these entries are done with. Sets why they are not."""
        origin = Origin(self._store, named.node, named.incarnation)
        head, purged = await self._journal.head(origin), self._journal.gone(origin).purged
        if all(seq in purged for seq in named.seqs):
            return True
        if head is None or head.seq < named.last:
            one.why = "what it names has not come yet"
            return False
        headers = await self._headers(origin, named)
        if ids_digest(entry_id(data) for _, data in headers) != named.digest:
            one.why = "what it names is not what is here"
            return False
        decoded = [(seq, decode_header(data)) for seq, data in headers]
        if not owners and not all(self._may(authority, at, named, seq, header) for seq, header in decoded):
            one.why = "its writer may not purge what it names"
            return False
        at_once = one.purge.when == "once" and (
            owners
            or all(self._own(at, named, header) for _, header in decoded)
            or all(self._replaced(one.purge, named, *each) for each in decoded)
        )
        if not at_once and not await self._ripe(authority, at, one):
            return False
        seqs = [seq for seq, header in decoded if header.kind in (Kind.EPOCH, Kind.RESEAL, Kind.SEALED)]
        await self._journal.purge(origin, seqs)
        await self._told(origin, seqs)
        log.info("%d entries were purged", len(seqs))
        return True

    async def _headers(self, origin: Origin, named: Named) -> list[tuple[int, bytes]]:
        seqs = list(named.seqs)
        found: list[tuple[int, bytes]] = []
        for at in range(0, len(seqs), _PICKED):
            some = await self._journal.look(
                origin, seqs[at : at + _PICKED], lambda entries: [(seq, entry.header) for seq, entry in entries]
            )
            found += some
        return found

    async def _ripe(self, authority: Authority, at: At, one: _Open) -> bool:
        """Whether the grace is over without a veto."""
        if any(self._wrote(authority, Kind.VETO, veto) for veto in self._vetoed.get(at, ())):
            one.why = "vetoed"
            return False
        if one.since is None:
            kept = await self._rows.get(SPACE, self._key(at))
            one.since = int.from_bytes(kept, "big") if kept is not None else self._clock()
            if kept is None:
                await self._rows.put(SPACE, {self._key(at): one.since.to_bytes(8, "big")})
        one.why = "grace"
        return self._clock() - one.since >= authority.effective.grace

    def _key(self, at: At) -> str:
        return f"{self._store.hex()[:16]}-{at.incarnation.hex()}-{at.seq}"

    def _wrote(self, authority: Authority, kind: Kind, at: At) -> bool:
        return may_write(kind, authority.roles(*at))

    def _may(self, authority: Authority, at: At, named: Named, seq: int, header: Header) -> bool:
        """Whether the purge's writer may purge what an entry is sealed to: all that its epoch is sealed to, as who
        reads by one key alone must not take it from those who read by another."""
        if self._own(at, named, header):
            return True
        targets = [seal.target for seal in self._of(named, seq, header) if seal.target is not None]
        if not targets:
            return False
        return all(authority.may_purge(at.node, each.id, at.incarnation, at.seq) for each in targets)

    def _own(self, at: At, named: Named, header: Header) -> bool:
        """What a client has sealed to a gateway's recipient of the day, or to a node, is always its own to purge."""
        if named.node != at.node or header.kind != Kind.SEALED:
            return False
        seals = self._seals.get((named.node, named.incarnation, header.epoch), [])
        return bool(seals) and all(seal.target is not None and seal.target.kind in ("day", "node") for seal in seals)

    def _replaced(self, purge: Purge, named: Named, seq: int, header: Header) -> bool:
        """Whether it is a seal that another one has taken the place of, which stays."""
        if header.kind not in (Kind.EPOCH, Kind.RESEAL):
            return False
        mine = At(named.node, named.incarnation, seq)
        seals = self._of(named, seq, header)
        old = next((seal.target for seal in seals if seal.at == mine), None)
        return any(
            seal.at != mine and seal.target not in (None, old) and not self._lost(purge, seal.at)
            for seal in seals
            if seal.again
        )

    def _lost(self, purge: Purge, at: At) -> bool:
        """Whether a reseal entry is gone, is going with the same purge, or counts for nothing."""
        if at.seq in self._journal.gone(Origin(self._store, at.node, at.incarnation)).purged:
            return True
        if not self._wrote(self._authority(), Kind.RESEAL, at):
            return True
        return any(
            (n.node, n.incarnation) == at[:2] and any(first <= at.seq < first + length for first, length in n.runs)
            for n in purge.named
        )

    def _of(self, named: Named, seq: int, header: Header) -> Sequence[_Seal]:
        """All seals of the epoch that an entry seals, or is sealed in."""
        if header.kind in (Kind.EPOCH, Kind.SEALED):
            return self._seals.get((named.node, named.incarnation, header.epoch), [])
        epoch = self._epochs.get(At(named.node, named.incarnation, seq))
        return self._seals.get(epoch, []) if epoch is not None else []


@dataclass
class Purgings:
    """Of all stores of a node."""

    node: Node
    of: dict[bytes, Purging] = field(default_factory=dict)
    _wake: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        stop = self.node.journal.on_commit(lambda origin, seq: self.wake())
        try:
            while True:
                self._wake = anyio.Event()
                await self.look()
                await anyio.sleep(PAUSE)
                with anyio.move_on_after(LOOK):
                    await self._wake.wait()
        finally:
            stop()

    async def look(self) -> None:
        """Do in every store what is due."""
        held = {store.id: store for store in self.node.stores}
        for gone in self.of.keys() - held.keys():
            del self.of[gone]
        for store in held.values():
            if store.id not in self.of:
                self.of[store.id] = self._made(store.id)
            try:
                await self.of[store.id].look()
            except MesyxError as error:  # the disk: the next look may find it mended
                log.warning("what is to be purged is not: %s", error.what)

    def _made(self, store: bytes) -> Purging:
        node = self.node

        def authority() -> Authority:
            found = node.stores.authority(store)
            assert found is not None
            return found

        async def told(origin: Origin, seqs: Iterable[int]) -> None:
            held = node.stores.get(store)
            if held is not None and held.account is not None:
                await held.account.purged(origin, seqs)

        return Purging(node.journal, store, authority, node.rows, lambda: int(now().timestamp()), told)
