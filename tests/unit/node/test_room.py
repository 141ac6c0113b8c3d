"""What is on its way in counts against quota and disk as if it had come."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.lowlevel

from mesyx_core.api import Message, Temporary
from mesyx_core.journal import Journal, PendingBlob
from mesyx_core.node.room import Room
from mesyx_core.pipeline import Intake, Sealer
from tests.unit.pipeline.kit import GATEWAY, authority

MIB = 1 << 20


class Disk:
    """A disk and a store on it."""

    def __init__(self, *, quota: int = 1 << 40, reserve: int = 0) -> None:
        self.used: dict[bytes, int] = {}
        self.free = 100 * MIB
        self.now = 0.0
        self.looks = 0
        self.room = Room(usage=self._usage, free=self._look, quota=quota, reserve=reserve, monotonic=lambda: self.now)

    async def _usage(self, store: bytes) -> int:
        return self.used.get(store, 0)

    def _look(self) -> int:
        self.looks += 1
        return self.free

    def takes(self, store: bytes, size: int, *, first: bool = True) -> bool:
        try:
            anyio.run(lambda: self.room.take(store, size, first=first))
        except Temporary:
            return False
        return True


def test_bodies_on_their_way_fill_the_quota_together() -> None:
    disk = Disk(quota=10 * MIB)
    disk.used[b"a"] = 2 * MIB
    assert [disk.takes(b"a", 3 * MIB) for _ in range(3)] == [True, True, False]
    assert disk.takes(b"b", 3 * MIB)
    disk.room.give_back(b"a", 3 * MIB)
    assert disk.takes(b"a", 3 * MIB)


def test_bodies_of_all_stores_leave_the_reserve_together_however_rarely_the_disk_is_looked_at() -> None:
    disk = Disk(reserve=40 * MIB)
    assert [disk.takes(bytes([n]), 25 * MIB) for n in range(4)] == [True, True, False, False]
    assert disk.looks == 1


def test_what_was_written_meanwhile_is_not_counted_twice() -> None:
    disk = Disk(reserve=40 * MIB)
    assert disk.takes(b"a", 32 * MIB)
    disk.free -= 32 * MIB
    disk.now += 1
    assert disk.takes(b"a", 20 * MIB, first=False)
    assert not disk.takes(b"a", 20 * MIB, first=False)
    disk.now += 1
    disk.room.give_back(b"a", 52 * MIB)
    assert disk.takes(b"b", 25 * MIB)


def test_a_question_takes_nothing() -> None:
    disk = Disk(quota=MIB)
    assert all(disk.takes(b"a", 0, first=False) for _ in range(5))
    assert disk.takes(b"a", MIB)


class Source:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def new(self) -> PendingBlob:
        return self._journal.new_blob()

    def key(self, peer: str = "") -> bytes:
        return os.urandom(32)


async def many_at_once(folder: Path, quota: int, count: int, size: int) -> tuple[int, int]:
    """How many of so many mails were kept, and what they take; each comes in pieces, all at the same time."""
    held, kept = authority(), 0
    async with Journal.open(folder) as journal:
        await journal.add_store(held.store, "a")
        sealer = Sealer(
            held.store,
            begin=lambda: journal.begin_log(
                held.store, GATEWAY, held.effective.hash, os.urandom(16), lambda: 1_800_000_000.0
            ),
            authority=lambda: held,
            commit=journal.commit,
            now=lambda: datetime.now(UTC),
            random=os.urandom,
        )
        room = Room(usage=journal.usage, free=lambda: 1 << 40, quota=quota, reserve=0, monotonic=lambda: 0.0)
        way = Intake(
            route=lambda address: sealer,
            filters={},
            blobs=Source(journal),
            room=room,
            commit=lambda entries, rows=(): journal.commit(entries, rows=rows),
            limit=1 << 30,
        )

        async def one() -> None:
            nonlocal kept
            try:
                async with way.deliver(Message(kind="mail", time=datetime.now(UTC))) as delivery:
                    await delivery.recipient("alice@example.org")
                    for _ in range(size >> 16):
                        await delivery.write(bytes(1 << 16))
                        await anyio.lowlevel.checkpoint()
                    await delivery.commit()
                    kept += 1
            except Temporary:
                pass

        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(one)
        return kept, await journal.usage(held.store)


def test_mails_that_come_at_once_do_not_pass_a_quota_that_each_alone_respects(tmp_path: Path) -> None:
    kept, used = anyio.run(many_at_once, tmp_path, 6 * MIB, 10, 2 * MIB)
    assert used <= 6 * MIB
    assert kept <= 2


def test_mails_that_fit_are_all_kept(tmp_path: Path) -> None:
    kept, used = anyio.run(many_at_once, tmp_path, 30 * MIB, 10, 2 * MIB)
    assert kept == 10
    assert used >= 20 * MIB
