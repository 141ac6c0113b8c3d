"""A purge acts only where its writer may, on what it names, and once it is its time; then for ever."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from mesyx_core.journal import Journal
from mesyx_core.node.purging import Purging
from mesyx_core.node.rows import SealedRows
from mesyx_core.record.checkpoint import parse
from mesyx_core.record.entry import Kind, Origin, chain_start, decode_header, entry_id
from mesyx_core.record.marks import Purge, Reseal, Veto, When, purges
from mesyx_core.record.payloads import Target
from mesyx_core.vault import age, manifest
from mesyx_core.vault.keyset import Keyset
from tests.unit.mailbox.rig import Rig, Writing, mail

Play: TypeAlias = Callable[[Callable[["Scene"], Coroutine[Any, Any, None]]], None]
OWNER = b"o" * 32
GRACE = 1000


class Scene:
    """A store with two closed epochs of three mails, and a node that judges purges by a clock of its own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.now = 10_000
        self.told: list[int] = []
        self.govern(grace=GRACE)

    def govern(self, **changes: Any) -> None:
        current = self.rig.authority.effective
        child = replace(current, number=current.number + 1, parents=(current.hash,), first=self.rig.store, **changes)
        self.rig.authority = self.rig.authority.accepts(manifest.sign(child, OWNER))

    async def begin(self) -> None:
        self.mx = await self.rig.node("mx")
        for epoch in range(2):
            await self.mx.mail([mail(3 * epoch + number) for number in range(3)])
            await self.mx.close()
        self.laptop, self.phone = await self.rig.node("laptop"), await self.rig.node("phone")
        self.purging = self.judge(self.rig.journal)

    def judge(self, journal: Journal) -> Purging:
        async def told(origin: Origin, seqs: Sequence[int]) -> None:
            self.told += seqs

        rows = SealedRows(journal, self.rig.secrets["mx"])
        return Purging(journal, self.rig.store, lambda: self.rig.authority, rows, lambda: self.now, told)

    async def reseal(self, writer: Writing, keyset: Keyset | None = None) -> None:
        keyset = keyset or self.rig.lasting
        for number in (1, 2):
            file = age.encrypt(os.urandom(32), keyset.recipients)
            payload = Reseal(*self.mx.log.origin[1:], number, Target("keyset", keyset.id), file).encode()
            await writer.marks([(Kind.RESEAL, payload)])

    async def of(self, writing: Writing, *kinds: Kind) -> list[tuple[int, bytes]]:
        found = await self.rig.journal.entries(writing.log.origin, 0)
        return [(seq, entry_id(entry.header)) for seq, entry in found if decode_header(entry.header).kind in kinds]

    async def purge(
        self, writer: Writing, named: Iterable[tuple[int, bytes]], when: When = "once", of: Writing | None = None
    ) -> None:
        [purge] = purges(when, [((of or self.mx).log.origin, list(named))])
        await self.write(writer, purge)

    async def write(self, writer: Writing, purge: Purge) -> None:
        await writer.marks([(Kind.PURGE, purge.encode())])

    async def gone(self, of: Writing | None = None) -> list[int]:
        await self.purging.look()
        found = await self.rig.journal.entries((of or self.mx).log.origin, 0)
        return [seq for seq, entry in found if entry.payload is None]

    def why(self) -> list[str]:
        return [one.why for one in self.purging.waiting()]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(scene: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            rig = Rig(tmp_path)
            async with asyncio.timeout(60), rig.open():
                found = Scene(rig)
                await found.begin()
                await scene(found)

        asyncio.run(whole())

    return run


def test_old_seals_go_at_once_when_others_have_taken_their_place(play: Play) -> None:
    async def scene(s: Scene) -> None:
        seals = await s.of(s.mx, Kind.EPOCH)
        await s.purge(s.laptop, seals)
        assert (await s.gone(), s.why()) == ([], ["grace"])  # nothing else opens them
        await s.reseal(s.laptop)
        assert await s.gone() == s.told == [seq for seq, _ in seals]
        assert s.why() == []

    play(scene)


def test_a_seal_that_goes_with_the_same_purge_takes_no_place(play: Play) -> None:
    async def scene(s: Scene) -> None:
        await s.reseal(s.laptop)
        named = [
            (s.mx.log.origin, await s.of(s.mx, Kind.EPOCH)),
            (s.laptop.log.origin, await s.of(s.laptop, Kind.RESEAL)),
        ]
        [purge] = purges("once", named)
        await s.write(s.laptop, purge)
        assert (await s.gone(), await s.gone(s.laptop), s.why()) == ([], [], ["grace"])

    play(scene)


def test_the_newer_of_two_seals_stays(play: Play) -> None:
    async def scene(s: Scene) -> None:
        await s.reseal(s.laptop)
        await s.purge(s.laptop, await s.of(s.mx, Kind.EPOCH))
        await s.purge(s.laptop, await s.of(s.laptop, Kind.RESEAL), of=s.laptop)
        assert len(await s.gone()) == 2
        assert (await s.gone(s.laptop), s.why()) == ([], ["grace"])

    play(scene)


@pytest.mark.parametrize("when", ["once", "grace"])
def test_messages_go_after_the_grace_as_this_nodes_clock_counts_it(play: Play, when: When) -> None:
    async def scene(s: Scene) -> None:
        await s.purge(s.laptop, (await s.of(s.mx, Kind.SEALED))[:2], when)
        s.now += 500
        assert await s.gone() == []
        s.now += GRACE - 1
        s.purging = s.judge(s.rig.journal)  # a start forgets nothing
        assert await s.gone() == []
        s.now += 1
        assert await s.gone() == [seq for seq, _ in (await s.of(s.mx, Kind.SEALED))[:2]]

    play(scene)


def test_a_client_may_veto_within_the_grace_and_an_accept_node_may_not(play: Play) -> None:
    async def scene(s: Scene) -> None:
        for wanted, vetoer in zip((await s.of(s.mx, Kind.SEALED))[:2], (s.phone, s.mx), strict=True):
            await s.purge(s.laptop, [wanted])
            veto = Veto(*s.laptop.log.origin[1:], s.laptop.log.seq)
            await vetoer.marks([(Kind.VETO, veto.encode())])
        await s.gone()
        s.now += GRACE
        assert await s.gone() == [(await s.of(s.mx, Kind.SEALED))[1][0]]
        assert s.why() == ["vetoed"]

    play(scene)


@pytest.mark.parametrize("who", ["phone", "mx", "relay", "mx2"])
def test_who_has_no_right_purges_nothing_ever(play: Play, who: str) -> None:
    async def scene(s: Scene) -> None:
        writer = {"phone": s.phone, "mx": s.mx}.get(who) or await s.rig.node(who)
        await s.reseal(s.laptop)
        await s.purge(writer, await s.of(s.mx, Kind.EPOCH))
        await s.purge(writer, await s.of(s.mx, Kind.SEALED), "grace")
        await s.gone()
        s.now += 10 * GRACE
        assert await s.gone() == []
        assert len(s.why()) == 2

    play(scene)


def test_a_right_for_one_keyset_takes_nothing_from_those_who_read_by_another(play: Play) -> None:
    async def scene(s: Scene) -> None:
        members = s.rig.authority.effective.members
        only = frozenset({f"purge:{s.rig.keyset.id.hex()}"})
        phone = s.rig.secrets["phone"].public
        s.govern(members=tuple(replace(m, rights=only) if m.node == phone else m for m in members))
        await s.reseal(s.phone)
        await s.purge(s.phone, await s.of(s.mx, Kind.EPOCH))
        await s.purge(s.phone, await s.of(s.mx, Kind.SEALED))
        await s.gone()
        s.now += GRACE
        assert await s.gone() == []
        both = only | {f"purge:{s.rig.lasting.id.hex()}"}
        s.govern(members=tuple(replace(m, rights=both) if m.node == phone else m for m in members))
        await s.gone()
        s.now += GRACE
        assert len(await s.gone()) == 8

    play(scene)


def test_a_junk_seal_of_a_node_that_may_write_none_takes_no_ones_place(play: Play) -> None:
    async def scene(s: Scene) -> None:
        await s.reseal(s.mx)
        await s.purge(s.laptop, await s.of(s.mx, Kind.EPOCH))
        assert (await s.gone(), s.why()) == ([], ["grace"])

    play(scene)


def test_what_a_purge_names_must_be_there_as_it_is_named(play: Play) -> None:
    async def scene(s: Scene) -> None:
        sealed = await s.of(s.mx, Kind.SEALED)
        await s.purge(s.laptop, [(seq, os.urandom(32)) for seq, _ in sealed])
        tomorrow = [(seq, os.urandom(32)) for seq in range(s.mx.log.seq + 1, s.mx.log.seq + 4)]
        await s.purge(s.laptop, tomorrow)
        await s.gone()
        assert sorted(s.why()) == ["what it names has not come yet", "what it names is not what is here"]
        s.now += GRACE
        await s.mx.mail([mail(number) for number in range(90, 96)])
        await s.gone()
        s.now += GRACE
        assert await s.gone() == []

    play(scene)


def test_entries_that_say_something_are_never_purged(play: Play) -> None:
    async def scene(s: Scene) -> None:
        await s.purge(s.laptop, await s.of(s.mx, *Kind))
        await s.gone()
        s.now += GRACE
        assert await s.gone() == []
        [purge] = purges("once", [(s.mx.log.origin, await s.of(s.mx, *Kind))])
        await s.write(s.laptop, purge.signed(s.rig.store, OWNER))  # not even by the owner
        assert await s.gone() == [seq for seq, _ in await s.of(s.mx, Kind.EPOCH, Kind.SEALED)]

    play(scene)


def test_the_owners_purge_acts_at_once_and_nobody_can_veto_it(play: Play) -> None:
    async def scene(s: Scene) -> None:
        sealed = await s.of(s.mx, Kind.SEALED)
        [purge] = purges("once", [(s.mx.log.origin, sealed)])
        await s.write(s.phone, purge.signed(s.rig.store, b"x" * 32))
        assert await s.gone() == []
        await s.write(s.phone, purge.signed(s.rig.store, OWNER))
        await s.phone.marks([(Kind.VETO, Veto(*s.phone.log.origin[1:], s.phone.log.seq).encode())])
        assert await s.gone() == [seq for seq, _ in sealed]

    play(scene)


def test_a_request_to_a_gateway_is_its_writers_to_purge_and_no_other_clients(play: Play) -> None:
    async def scene(s: Scene) -> None:
        day = age.Identity.hybrid(b"d" * 32)
        target = Target("day", b"d" * 32)
        for _ in range(2):
            await s.phone.write(target, [b"\x01"], recipients=(day.recipient,))
        mine, other = await s.of(s.phone, Kind.SEALED)
        await s.purge(s.laptop, [other], of=s.phone)
        await s.purge(s.phone, [mine], of=s.phone)
        assert await s.gone(s.phone) == [mine[0]]

    play(scene)


def test_no_backup_brings_back_what_was_purged(play: Play, tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        journal, origin = s.rig.journal, s.mx.log.origin
        before = await journal.entries(origin, 0)
        checkpoint = await journal.checkpoint(origin) or b""
        start = parse(checkpoint)[0]
        await s.reseal(s.laptop)
        await s.purge(s.laptop, await s.of(s.mx, Kind.EPOCH))
        gone = await s.gone()
        # A node that was put back to before hears of the purge again, with the same end.
        async with Journal.open(tmp_path / "backup", durable=False) as restored:
            await restored.add_store(s.rig.store, "alice")
            entries = [entry for _, entry in before]
            assert start.seq == len(entries)
            await restored.receive(origin, 0, chain_start(origin), entries, checkpoint)
            laptop = s.laptop.log.origin
            found = [entry for _, entry in await journal.entries(laptop, 0)]
            await restored.receive(laptop, 0, chain_start(laptop), found, await journal.checkpoint(laptop) or b"")
            await s.judge(restored).look()
            assert [seq for seq, entry in await restored.entries(origin, 0) if entry.payload is None] == gone
            # And nothing that an old stick holds comes back to a node that purged it.
            payloads = [(seq, entry.payload) for seq, entry in before if entry.payload is not None]
            assert await restored.fill(origin, payloads) == 0
            assert await restored.missing(origin) == []

    play(scene)
