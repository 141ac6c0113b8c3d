"""What is sealed to a gateway is read once, whatever order its pieces come in."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio

from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.journal.journal import RowChange
from mesyx_core.outbox.days import Days
from mesyx_core.outbox.follow import Follower, Heard
from mesyx_core.pipeline import Content, Sealer, ToDay, ToNode
from mesyx_core.record import content
from mesyx_core.record.entry import Entry, Origin, chain_start
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.encoding import encode
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Manifest, Member, next_commitment, owner_public, sign
from mesyx_core.vault.nodekey import NodeKey
from tests.unit.pipeline.kit import CLIENT, OWNER, READER

GATEWAY, LAPTOP, RELAY = (NodeKey(letter * 32) for letter in (b"g", b"l", b"r"))
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def authority() -> Authority:
    manifest = Manifest(
        owner=owner_public(OWNER),
        next_owner=next_commitment(owner_public(b"n" * 32)),
        members=(
            Member(GATEWAY.public, GATEWAY.recipient, frozenset({"accept", "exchange"})),
            Member(LAPTOP.public, LAPTOP.recipient, frozenset({"client"})),
            Member(RELAY.public, RELAY.recipient, frozenset({"exchange"})),
        ),
        keysets=(Keyset((READER.recipient,), fallback=True),),
        clients=(CLIENT.recipient,),
    )
    return Authority.of([sign(manifest, OWNER)])


AUTHORITY = authority()
STORE = AUTHORITY.store


class Rows:
    """The node's rows in its journal, not sealed."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def all(self, space: str) -> dict[str, bytes]:
        return await self.journal.rows(space)

    def sealed(self, space: str, changes: Mapping[str, bytes | None]) -> list[RowChange]:
        return [(space, key, value) for key, value in changes.items()]


class Laptop:
    """A client's journal, in which it seals."""

    def __init__(self, journal: Journal, key: NodeKey = LAPTOP) -> None:
        self.journal = journal
        self._key = key
        self._drawn = 0
        self.sealer = Sealer(
            STORE,
            begin=self._begin,
            authority=lambda: AUTHORITY,
            commit=self._commit,
            now=lambda: NOW,
            random=self._random,
        )

    def _random(self, n: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(self._key.public + str(self._drawn).encode()).digest(n)

    async def _begin(self) -> Log:
        return await self.journal.begin_log(
            STORE, self._key, AUTHORITY.effective.hash, self._random(16), lambda: NOW.timestamp()
        )

    async def _commit(self, entries: Sequence[tuple[Log, Draft]]) -> list[int]:
        return await self.journal.commit(entries)

    async def put(self, word: str, target: ToDay | ToNode) -> None:
        await self._commit([await self.sealer.seal(Content(content.pack_inner("request", word), target=target))])


class Gateway:
    """A gateway's journal, and what its follower has read."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.journal = journal
        self.days = Days.open(folder / "days", GATEWAY.seal_row, GATEWAY.open_row)
        self.days.prepare(NOW.timestamp())
        self.heard: list[Heard] = []
        self.fail = False

    @property
    def words(self) -> list[object]:
        return [one.content.value for one in self.heard]

    @property
    def recipient(self) -> str:
        return next(iter(self.days)).recipient

    async def follower(self) -> Follower:
        """A new one, as after a start."""
        made = Follower(self.journal, GATEWAY, self.days, Rows(self.journal), lambda _: AUTHORITY, self._take)
        await made.load()
        return made

    async def _take(self, heard: Sequence[Heard], rows: list[RowChange]) -> None:
        if self.fail:
            raise OSError
        await self.journal.commit((), rows=rows)
        self.heard += heard

    async def receive(self, journal: Journal, *, without: Sequence[int] = ()) -> None:
        """Everything that another journal has, but for some payloads."""
        for head in await journal.heads(STORE):
            origin = Origin(STORE, head.node, head.incarnation)
            held = await self.journal.head(origin)
            after, chain = (held.seq, held.chain) if held is not None else (0, chain_start(origin))
            entries = [
                Entry(entry.header, None if seq in without else entry.payload)
                for seq, entry in await journal.entries(origin, after)
            ]
            checkpoint = await journal.checkpoint(origin)
            assert checkpoint is not None
            if entries:
                await self.journal.receive(origin, after, chain, entries, checkpoint)

    async def fill(self, journal: Journal, seq: int) -> None:
        [head] = await journal.heads(STORE)
        origin = Origin(STORE, head.node, head.incarnation)
        [(_, entry)] = await journal.pick(origin, [seq])
        assert entry.payload is not None
        await self.journal.fill(origin, [(seq, entry.payload)])


@asynccontextmanager
async def both(folder: Path, key: NodeKey = LAPTOP) -> AsyncIterator[tuple[Laptop, Gateway]]:
    async with Journal.open(folder / "laptop") as here, Journal.open(folder / "gateway") as there:
        for journal in (here, there):
            await journal.add_store(STORE, "alice")
        gateway = Gateway(there, folder)
        yield Laptop(here, key), gateway
        gateway.days.close()


def everything(_: object) -> bool:
    return True


def test_what_is_for_the_gateway_is_read_in_order_and_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with both(tmp_path) as (laptop, gateway):
            other = Days.open(tmp_path / "others", RELAY.seal_row, RELAY.open_row)
            other.prepare(NOW.timestamp())
            await laptop.put("one", ToDay(gateway.recipient))
            await laptop.put("not for you", ToDay(next(iter(other)).recipient))
            await laptop.put("two", ToNode(GATEWAY.public))
            await laptop.put("nor this", ToNode(RELAY.public))
            await gateway.receive(laptop.journal)
            follower = await gateway.follower()
            await follower.follow(STORE, everything)
            assert gateway.words == ["one", "two"]
            assert [one.target.kind for one in gateway.heard] == ["day", "node"]
            assert [one.roles for one in gateway.heard] == [frozenset({"client"})] * 2
            await laptop.put("three", ToDay(gateway.recipient))
            await gateway.receive(laptop.journal)
            await (await gateway.follower()).follow(STORE, everything)
            assert gateway.words == ["one", "two", "three"], "its epoch began before the start"

    anyio.run(main)


def test_the_reader_is_told_what_the_writer_may_do(tmp_path: Path) -> None:
    async def main() -> None:
        async with both(tmp_path, RELAY) as (relay, gateway):
            await relay.put("obey me", ToDay(gateway.recipient))
            await gateway.receive(relay.journal)
            await (await gateway.follower()).follow(STORE, everything)
            assert [one.roles for one in gateway.heard] == [frozenset({"exchange"})]

    anyio.run(main)


def test_what_failed_to_take_effect_is_read_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with both(tmp_path) as (laptop, gateway):
            await laptop.put("one", ToDay(gateway.recipient))
            await gateway.receive(laptop.journal)
            follower = await gateway.follower()
            gateway.fail = True
            try:
                await follower.follow(STORE, everything)
            except OSError:
                gateway.fail = False
            await follower.follow(STORE, everything)
            assert gateway.words == ["one"]

    anyio.run(main)


def test_a_payload_that_comes_late_is_read_then_and_holds_nothing_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with both(tmp_path) as (laptop, gateway):
            for word in ("one", "two", "three"):
                await laptop.put(word, ToDay(gateway.recipient))
            await gateway.receive(laptop.journal, without=[4])  # start, epoch, one, two, three
            follower = await gateway.follower()
            await follower.follow(STORE, everything)
            assert gateway.words == ["one", "three"]
            day = next(iter(gateway.days)).id
            assert follower.awaited() == {day}, "the key of the day is needed still"
            await gateway.fill(laptop.journal, 4)
            again = await gateway.follower()
            await again.follow(STORE, everything)
            assert gateway.words == ["one", "three", "two"]
            assert again.awaited() == set()

    anyio.run(main)


def test_a_payload_that_comes_late_and_cannot_be_read_keeps_no_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with both(tmp_path) as (laptop, gateway):
            nonsense = Content(encode(1), target=ToDay(gateway.recipient))
            await laptop.journal.commit([await laptop.sealer.seal(nonsense)])
            await gateway.receive(laptop.journal, without=[3])
            follower = await gateway.follower()
            await follower.follow(STORE, everything)
            assert follower.awaited()
            await gateway.fill(laptop.journal, 3)
            await follower.follow(STORE, everything)
            assert gateway.words == []
            assert follower.awaited() == set()
            assert (await gateway.follower()).awaited() == set()

    anyio.run(main)


def test_a_log_that_was_passed_over_is_read_from_there_with_epochs_that_began_before(tmp_path: Path) -> None:
    async def main() -> None:
        async with both(tmp_path) as (laptop, gateway):
            await laptop.put("known", ToDay(gateway.recipient))
            await gateway.receive(laptop.journal)
            follower = await gateway.follower()
            [head] = await gateway.journal.heads(STORE)
            rows = follower.skip(Origin(STORE, head.node, head.incarnation), head.seq)
            await gateway.journal.commit((), rows=rows)
            await laptop.put("new", ToDay(gateway.recipient))
            await gateway.receive(laptop.journal)
            await (await gateway.follower()).follow(STORE, everything)
            assert gateway.words == ["new"]

    anyio.run(main)


def test_without_its_key_nothing_of_a_day_is_read_and_nothing_else_suffers(tmp_path: Path) -> None:
    async def main() -> None:
        async with both(tmp_path) as (laptop, gateway):
            first, second, *_ = gateway.days
            await laptop.put("too late", ToDay(first.recipient))
            await laptop.put("in time", ToDay(second.recipient))
            gateway.days.erase(first.until + 3600, [])
            await gateway.receive(laptop.journal)
            follower = await gateway.follower()
            await follower.follow(STORE, everything)
            assert gateway.words == ["in time"]

    anyio.run(main)
