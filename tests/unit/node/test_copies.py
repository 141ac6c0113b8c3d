"""A gateway whose state somebody has a copy of: a thief the day after, a backup that is restored, a clone that runs."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from mesyx_core.api import Outcome
from mesyx_core.node import outgoing
from mesyx_core.outbox.days import SLOT
from mesyx_core.outbox.outbox import Outbox
from mesyx_core.pipeline import Content, ToDay
from mesyx_core.pipeline.body import SealedBody, Spool
from mesyx_core.record.outgoing import Request
from tests.unit.node.loot import Loot
from tests.unit.node.world import Clock, World, make, turn, wait_for

ID, OTHER, THIRD, LAST = (bytes([n]) * 16 for n in range(1, 5))
BOB, CAROL, DAVE, ERIN = (f"{name}@example.net" for name in ("bob", "carol", "dave", "erin"))
LATER = Outcome(word="later", reason="451 4.7.1 greylisted for bob@example.net")
TEXT = b"Subject: the plan\r\n\r\nmeet me at the old pier\r\n"
LARGE = b"Subject: a picture\r\n\r\n" + b"the old pier by night\r\n" * 3000


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make(folder, Clock())
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    clock = Clock()
    turn(clock, monkeypatch)
    monkeypatch.setattr(Outbox, "look", 0.1)
    shutil.copytree(template, tmp_path / "world", ignore=shutil.ignore_patterns("*.sock", "lock"))
    return World(tmp_path / "world", clock)


async def send_large(world: World, id: bytes, recipient: str) -> None:
    """A request whose body lies in a blob."""
    day = await world.day()
    spool = Spool(world.client.running.intake.blobs, lambda: 1)
    await spool.write(LARGE)
    [body] = await spool.finish()
    assert isinstance(body, SealedBody)
    request = Request("send", id, world.clock.seconds + 86_400, world.mail(recipient), body.ref)
    content = Content(request.pack(), target=ToDay(day.recipient), blobs=(body.blob,))
    await world.client.running.stores.commit([await world.client.store.sealer.seal(content)])
    spool.close()


def test_who_seizes_the_gateway_the_day_after_reads_nothing_of_what_it_sent(world: World, tmp_path: Path) -> None:
    world.wire.answers = {CAROL: [LATER], ERIN: [Outcome(word="never", reason="550 no erin here")]}
    needles = [b"the old pier", *(name.encode() for name in (BOB, CAROL, DAVE, ERIN)), b"no erin here"]

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB, CAROL, ERIN, body=TEXT)
            await send_large(world, OTHER, DAVE)
            assert await world.final(OTHER) == {DAVE: "sent"}
            await wait_for("what was put off", lambda: _attempts(world, 1))
            keys = (world.gateway.state / "days").read_bytes()
            store = world.gateway.store.id
            same_day = Loot(world.gateway.file.parent, tmp_path / "the same day")
            assert {one.id for one in await same_day.opened(store)} == {ID, OTHER}, "or this test would see nothing"

            world.clock.turn(minutes=6)
            assert await world.final(ID) == {BOB: "sent", CAROL: "sent", ERIN: "never"}
            box = world.gateway.running.outgoing.box
            assert box is not None
            first = next(iter(box.days))
            world.clock.turn(days=1, hours=2)
            await wait_for("the end of the day's key", lambda: _is(first.id not in box.days))
            running = Loot(world.gateway.file.parent, tmp_path / "while it runs")
            await world.gateway.end()
            stopped = Loot(world.gateway.file.parent, tmp_path / "stopped")

            sealed = keys[:SLOT].rstrip(b"\0")[-80:]  # the first slot's private half, as it stood on the disk
            for loot in (running, stopped):
                assert await loot.opened(store) == []
                for path, data in loot.files().items():
                    assert sealed not in data, path
                    assert [needle for needle in needles if needle in data] == [], path
            assert any(sealed in data for data in same_day.files().values())

    anyio.run(main)


def test_a_gateway_restored_from_a_backup_sends_nothing_that_was_sent_since(world: World, tmp_path: Path) -> None:
    world.wire.answers = {CAROL: [LATER]}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB, CAROL)
            await wait_for("what was put off", lambda: _attempts(world, 1))
            shutil.copytree(world.gateway.state, tmp_path / "backup", ignore=shutil.ignore_patterns("*.sock", "lock"))

            await world.send(OTHER, DAVE)
            assert await world.final(OTHER) == {DAVE: "sent"}
            world.clock.turn(minutes=6)
            assert await world.final(ID) == {BOB: "sent", CAROL: "sent"}
            world.clock.turn(hours=1)
            await world.client.end()
            await world.gateway.end()
            before = sorted(world.wire.sent())

            shutil.rmtree(world.gateway.state)
            shutil.copytree(tmp_path / "backup", world.gateway.state)
            await world.start(world.gateway)
            [row] = await world.gateway.ask("queue.list")
            assert row["waiting"] == 1, "the backup still means to send it"
            await world.start(world.client)
            await world.send(LAST, ERIN)
            assert await world.final(LAST) == {ERIN: "sent"}
            await wait_for("an empty queue", lambda: _empty(world))
            assert sorted(world.wire.sent()) == sorted([*before, ERIN])
            assert sorted(before) == sorted([BOB, CAROL, CAROL, DAVE])

            for host in (world.gateway, world.client):
                said = " ".join(one["what"] for one in await host.ask("doctor"))
                assert "restored from a backup" in said, host
            assert (await world.gateway.ask("status"))["outbox"]["restored"]
            await world.restart(world.gateway)
            await world.send(THIRD, BOB)
            assert await world.final(THIRD) == {BOB: "sent"}

    anyio.run(main)


def test_a_session_that_comes_late_brings_no_second_copy(world: World, tmp_path: Path) -> None:
    """Requests that were carried out, and the news that they were, come in one session, in any order."""
    text = world.gateway.file.read_text()
    world.gateway.file.write_text(text.replace("[node]", '[node]\nresume_after = "1s"', 1))

    async def main() -> None:
        async with world.running():
            await world.day()
            await world.gateway.end()
            shutil.copytree(world.gateway.state, tmp_path / "backup", ignore=shutil.ignore_patterns("*.sock", "lock"))
            await world.start(world.gateway)
            for number in range(20):
                await world.send(bytes([100 + number]) * 16, f"{number}@example.net")
            for number in range(20):
                await world.final(bytes([100 + number]) * 16)
            before = sorted(world.wire.sent())
            await world.client.end()
            await world.gateway.end()

            shutil.rmtree(world.gateway.state)
            shutil.copytree(tmp_path / "backup", world.gateway.state)
            await world.start(world.gateway)
            await anyio.sleep(1.5)
            await world.start(world.client)
            await world.send(LAST, ERIN)
            assert await world.final(LAST) == {ERIN: "sent"}
            assert sorted(world.wire.sent()) == sorted([*before, ERIN])

    anyio.run(main)


def test_a_clone_and_its_original_send_nothing_twice_and_say_so(world: World) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(world.running())
            await world.send(ID, BOB)
            assert await world.final(ID) == {BOB: "sent"}
            clone = world.copy(world.gateway, "clone", lambda text: text.replace('"gateway"', '"clone"'))
            await world.start(clone)
            stack.push_async_callback(clone.end)
            await wait_for("both in session", lambda: _sessions(world, 2))
            await world.send(OTHER, CAROL)
            await anyio.sleep(outgoing.BREATH + 1)
            assert world.wire.sent().count(BOB) == 1
            assert world.wire.sent().count(CAROL) <= 1
            findings = [one for host in (world.gateway, clone) for one in await host.ask("doctor")]
            assert any("in use twice" in one["what"] and "mesyx init" in one["remedy"] for one in findings)
            assert any("in use twice" in one["what"] for one in await world.client.ask("doctor"))

            await clone.end()
            await world.restart(world.gateway)
            assert await world.final(OTHER) == {CAROL: "sent"}
            assert world.wire.sent().count(CAROL) == 1
            await world.send(LAST, ERIN)
            assert await world.final(LAST) == {ERIN: "sent"}
            assert world.wire.sent().count(ERIN) == 1
            assert not (await world.gateway.ask("status"))["outbox"]["stopped"]

    anyio.run(main)


async def _is(found: bool) -> bool:
    return found


async def _empty(world: World) -> bool:
    return not await world.gateway.ask("queue.list")


async def _attempts(world: World, count: int) -> bool:
    rows = await world.gateway.ask("queue.list")
    return [(row["attempts"], row["waits_for"]) for row in rows] == [(count, "its next attempt")]


async def _sessions(world: World, count: int) -> bool:
    peers = world.client.running.exchange.peers()
    return sum(peer.heard_all for peer in peers) == count
