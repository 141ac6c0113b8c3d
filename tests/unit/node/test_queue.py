"""`mesyx queue`, `status` and `doctor` on a client, with a real gateway beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Bytes, Locked, Message, Outcome, Refused
from mesyx_core.node import home, outgoing
from mesyx_core.node.verbs import queue
from mesyx_core.outbox.outbox import Outbox
from tests.unit.node.world import ADDRESS, GATEWAY, PHRASE, Clock, Host, World, make, turn, wait_for

BOB, CAROL = "bob@example.net", "carol@example.net"
LATER, NEVER = Outcome(word="later", reason="451 4.7.1 greylisted"), Outcome(word="never", reason="550 5.1.1 unknown")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make(folder, Clock())
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    clock = Clock()
    turn(clock, monkeypatch)
    monkeypatch.setattr(queue, "now", clock)
    monkeypatch.setattr(outgoing, "BREATH", 0.05)
    monkeypatch.setattr(Outbox, "look", 0.1)
    shutil.copytree(template, tmp_path / "world", ignore=shutil.ignore_patterns("*.sock", "lock"))
    return World(tmp_path / "world", clock)


async def submit(world: World, number: int, *to: str) -> str:
    text = f"From: {ADDRESS}\r\nMessage-ID: <{number}@example.org>\r\nBcc: {CAROL}\r\n\r\nNumber {number}.\r\n".encode()
    message = Message(kind="mail", time=world.clock(), body=Bytes(text), direction="out", sender=ADDRESS, recipients=to)
    return (await world.client.store.view().submit(message)).hex()


async def listed(world: World, id: str) -> dict[str, Any]:
    rows = await world.client.ask("queue.list", all=True)
    return next((row for row in rows if row["id"] == id), {})


async def comes_to(world: World, id: str, state: str) -> dict[str, Any]:
    async def look() -> Any:
        row = await listed(world, id)
        return row if row.get("state") == state else None

    found: dict[str, Any] = await wait_for(f"{id} {state}", look)
    return found


async def heard(world: World) -> None:
    """The gateway has published its days, and the client knows of it."""

    async def look() -> Any:
        account = world.client.store.account
        return account and await account.outbound.gateways()

    await wait_for("the gateway's days", look)


async def remedies(world: World) -> str:
    return "\n".join(finding["remedy"] for finding in await world.client.ask("doctor"))


def test_a_clients_queue_shows_whom_it_is_for_and_a_gateways_does_not(world: World) -> None:
    world.wire.answers = {CAROL: [LATER, LATER], BOB: [NEVER]}

    async def main() -> None:
        async with world.running():
            await heard(world)
            id = await submit(world, 1, BOB, CAROL)
            row = await comes_to(world, id, "later")
            bob, carol = row["recipients"]
            assert (bob["address"], bob["state"], bob["reason"]) == (BOB, "never", "550 5.1.1 unknown")
            assert (carol["address"], carol["state"], carol["attempts"]) == (CAROL, "later", 1)
            assert 200 < carol["next"] - world.clock.seconds <= 300
            assert row["gateway"] == world.gateway.running.key.public.hex()
            [gateways] = await world.gateway.ask("queue.list")
            assert (gateways["id"], "recipients" in gateways) == (id, False)
            [store] = (await world.client.ask("status"))["stores"]
            assert store["outgoing"]["waiting"] == 1
            assert store["outgoing"]["for"][0]["gateway"] == row["gateway"]
            assert await world.client.ask("queue.retry", id=id[:6]) == {"id": id, "was": id, "done": "asked"}

            async def twice() -> bool:
                return world.wire.sent().count(CAROL) == 2

            await wait_for("the second attempt", twice)
            assert (await world.client.ask("queue.drop", id=id))["done"] == "asked"
            assert [one["state"] for one in (await comes_to(world, id, "failed"))["recipients"]] == ["never", "dropped"]
            assert await world.client.ask("queue.list") == []
            assert world.wire.sent().count(BOB) == 1

    anyio.run(main)


def test_what_ids_and_nodes_mean_is_said_when_it_is_not_clear(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await heard(world)
            id = await submit(world, 1, BOB)
            me = world.client.running.key.public.hex()
            gateway = world.gateway.running.key.public.hex()
            for verb, arguments, what in (
                ("queue.retry", {"id": "xyz"}, "no submission"),
                ("queue.retry", {"id": id[:3]}, "no submission"),
                ("queue.drop", {"id": "00" * 16}, "no submission"),
                ("queue.move", {"to": gateway}, "what to move"),
                ("queue.move", {"to": gateway, "id": id, "source": gateway}, "what to move"),
                ("queue.move", {"to": me, "id": id}, "no gateway"),
                ("queue.move", {"to": "nowhere", "id": id}, "no one node"),
                ("queue.move", {"to": gateway, "source": "nowhere"}, "no one node"),
            ):
                with pytest.raises(Refused, match=what):
                    await world.client.ask(verb, **arguments)
            with pytest.raises(Refused, match="no client"):
                await world.gateway.ask("queue.retry", id=id)
            await world.client.ask("store.lock", name="alice")
            with pytest.raises(Locked):
                await world.client.ask("queue.retry", id=id)
            assert [row["state"] for row in await world.client.ask("queue.list")] == ["locked"]

    anyio.run(main)


def test_doctor_speaks_of_a_silent_gateway_after_a_day_and_of_a_message_past_its_time(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await heard(world)
            gateway = world.gateway.running.key.public.hex()[:16]
            await world.gateway.end()
            id = await submit(world, 1, BOB)
            world.clock.turn(hours=12)
            assert "queue move" not in await remedies(world)
            world.clock.turn(hours=13)
            assert f"mesyx queue move --from {gateway} --to NODE" in await remedies(world)
            world.clock.turn(days=5)
            assert f"mesyx queue retry {id[:12]}" in await remedies(world)

    anyio.run(main)


def test_doctor_says_what_is_missing_while_no_gateway_can_send(world: World) -> None:
    config = world.gateway.file.read_text()
    world.gateway.file.write_text(config[: config.index("[egress.out]")])

    async def main() -> None:
        async with world.running():
            id = await submit(world, 1, BOB)
            world.clock.turn(minutes=10)
            assert "[egress.smtp]" in await remedies(world)
            assert (await listed(world, id))["state"] == "waits"
            world.gateway.file.write_text(config)
            await world.restart(world.gateway)
            await comes_to(world, id, "sent")
            assert world.wire.sent() == [BOB]

    anyio.run(main)


def test_a_client_restored_from_a_backup_asks_for_nothing_twice(world: World) -> None:
    async def main() -> None:
        async with world.running(world.client):
            id = await submit(world, 1, BOB)
            await world.client.end()
            backup = world.copy(world.client, "backup")
            await world.start(world.client)
            await world.start(world.gateway)
            await comes_to(world, id, "sent")
            await world.client.end()
            shutil.rmtree(world.client.file.parent)
            world.client = backup
            await world.start(backup)
            await comes_to(world, id, "sent")
            await anyio.sleep(1)
            assert world.wire.sent() == [BOB]
            requests = [row for row in await world.gateway.ask("queue.list")]
            assert requests == []

    anyio.run(main)


def test_a_large_message_goes_whole_but_for_its_bcc(world: World) -> None:
    text = (
        f"From: {ADDRESS}\r\nMessage-ID: <large@example.org>\r\nBcc: {CAROL}\r\n\r\n".encode() + b"A line.\r\n" * 20_000
    )
    message = Message(
        kind="mail", time=world.clock(), body=Bytes(text), direction="out", sender=ADDRESS, recipients=(BOB,)
    )

    async def main() -> None:
        async with world.running():
            await heard(world)
            view = world.client.store.view()
            id = (await view.submit(message)).hex()
            await comes_to(world, id, "sent")
            [(_, _, body)] = world.wire.given
            assert body == text.replace(f"Bcc: {CAROL}\r\n".encode(), b"")
            [sent] = await view.mailboxes(["Sent"])
            async for [(_, copy)] in view.content(sent.id, ((1, 2**32 - 1),)):
                assert b"".join([chunk async for chunk in copy.read()]) == text

    anyio.run(main)


def test_doctor_names_the_gateway_that_can_take_over_and_it_does(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await heard(world)
            first = world.gateway.running.key.public.hex()
            other = await join(world, "gateway2")
            await world.gateway.end()
            id = await submit(world, 1, BOB)
            assert (await listed(world, id))["gateway"] == first
            world.clock.turn(hours=26)
            second = other.running.key.public.hex()
            command = f"mesyx queue move --from {first[:16]} --to {second[:16]}"

            async def named() -> bool:
                return command in await remedies(world)

            await wait_for("doctor to name the other gateway", named)
            [moved] = await world.client.ask("queue.move", source=first[:16], to=second[:16])
            assert (moved["id"], moved["recipients"], moved["may_have_been_sent"], moved["why_not"]) == (id, 1, [], "")
            await comes_to(world, id, "sent")
            await world.start(world.gateway)

            async def forgotten() -> bool:
                return not await world.gateway.ask("queue.list") and bool((await listed(world, id))["state"] == "sent")

            await wait_for("the old gateway to hear of it", forgotten)
            late = await submit(world, 2, CAROL)
            await comes_to(world, late, "sent")
            assert world.wire.sent() == [BOB, CAROL]
            await other.end()

    anyio.run(main)


async def join(world: World, name: str) -> Host:
    """One more gateway of the store, which runs."""
    file, _ = home.create(world.folder / name, name, ["accept", "exchange"])
    with file.open("a") as config:
        config.write(GATEWAY.replace('"gateway"', f'"{name}"'))
    host = world.host(name)
    await world.start(host)
    offer = await host.ask("node.invite", roles=["accept", "exchange"], addresses=[])
    await world.client.ask("store.add_node", name="alice", invitation=offer["invitation"], passphrase=PHRASE)
    return host
