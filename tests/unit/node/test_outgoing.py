"""From a client's request to the network and back to a receipt, by real nodes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Outcome, Temporary
from mesyx_core.api.message import Kind
from mesyx_core.builtin.sink import Sink
from mesyx_core.journal import Draft, Log
from mesyx_core.journal.journal import RowChange
from mesyx_core.node import outgoing
from mesyx_core.outbox import outbox, queue, sending
from mesyx_core.outbox.jobs import WAITING
from mesyx_core.outbox.outbox import Outbox
from mesyx_core.pipeline import Content, ToDay
from mesyx_core.record.outgoing import Intent, Receipt, Recipients, Request
from tests.unit.node.world import Clock, World, make, turn, wait_for

ID, OTHER = bytes(range(16)), b"o" * 16
BOB, CAROL, DAVE = "bob@example.net", "carol@example.net", "dave@example.net"
SENT = Outcome(word="sent", reason="250 queued")
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
    monkeypatch.setattr(outgoing, "BREATH", 0.05)
    monkeypatch.setattr(Outbox, "look", 0.1)
    monkeypatch.setattr(outbox, "GRACE", 0.2)
    monkeypatch.setattr(sending, "AGAIN", 0.1)
    shutil.copytree(template, tmp_path / "world", ignore=shutil.ignore_patterns("*.sock", "lock"))
    return World(tmp_path / "world", clock)


def test_a_request_is_sent_and_its_receipt_comes_back(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB, CAROL, body=b"Subject: hi\r\n\r\nall\r\n")
            assert await world.final(ID) == {BOB: "sent", CAROL: "sent"}
            [(_, recipients, body)] = world.wire.given
            assert recipients == (BOB, CAROL)
            assert body == b"Subject: hi\r\n\r\nall\r\n"
            [intent] = await world.told(Intent)
            assert (intent.id, intent.attempt, intent.numbers) == (ID, 1, (0, 1))
            [receipt] = await world.told(Receipt)
            assert [(fate.remote, fate.attempts) for fate in receipt.fates] == [("wire", 1)] * 2
            assert await world.gateway.ask("queue.list") == []

    anyio.run(main)


def test_what_is_put_off_is_tried_again_on_the_schedule_and_only_that(world: World) -> None:
    world.wire.answers = {BOB: [LATER, LATER], CAROL: [NEVER]}

    async def attempts(count: int) -> None:
        async def look() -> bool:
            rows = await world.gateway.ask("queue.list")
            return [(row["attempts"], row["waits_for"]) for row in rows] == [(count, "its next attempt")]

        await wait_for(f"attempt {count}", look)

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB, CAROL, DAVE)
            await attempts(1)
            [row] = await world.gateway.ask("queue.list")
            assert (row["sent"], row["waiting"], row["failed"]) == (1, 1, 1)
            assert 290 < row["next"] - world.clock.seconds <= 300
            world.clock.turn(seconds=290)
            await anyio.sleep(0.3)
            assert len(world.wire.given) == 1
            world.clock.turn(seconds=11)
            await attempts(2)
            world.clock.turn(minutes=15)
            assert await world.final(ID) == {BOB: "sent", CAROL: "never", DAVE: "sent"}
            assert world.wire.sent() == [BOB, CAROL, DAVE, BOB, BOB]
            words = [fate.word for fate in await world.fates(ID) if fate.address == BOB]
            assert words == ["later", "later", "sent"]

    anyio.run(main)


def test_an_egress_that_a_person_must_mend_is_named_and_tried_all_the_same(world: World) -> None:
    world.wire.answers = {BOB: [LATER]}

    async def findings() -> list[str]:
        return [one["what"] for one in await world.gateway.ask("doctor") if one["level"] == "error"]

    async def main() -> None:
        async with world.running():
            world.wire.then = lambda: world.wire.contexts["out"].report("degraded", "no log-in: correct the password")
            await world.send(ID, BOB)
            await wait_for("the finding", findings)
            assert await findings() == ["egress.out is degraded: no log-in: correct the password"]
            [shown] = [one for one in (await world.gateway.ask("status"))["instances"] if one["use"] == "wire.mail"]
            assert (shown["state"], shown["why"]) == ("degraded", "no log-in: correct the password")
            world.wire.then = lambda: world.wire.contexts["out"].report("up")
            world.clock.turn(minutes=6)
            assert await world.final(ID) == {BOB: "sent"}
            assert await findings() == []

    anyio.run(main)


def test_the_config_sets_the_schedule(world: World) -> None:
    text = world.gateway.file.read_text()
    world.gateway.file.write_text(
        text.replace('use = "wire.mail"', 'use = "wire.mail"\nretry = ["1s", "2h"]\ngive_up = "3h"')
    )
    world.wire.answers = {BOB: [LATER] * 9}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            await wait_for("a second attempt", lambda: _is(len(world.wire.given) == 2))
            [row] = await wait_for("a row", lambda: _waits(world))
            assert 7190 < row["next"] - world.clock.seconds <= 7200
            world.clock.turn(hours=3)
            assert await world.final(ID) == {BOB: "never"}
            assert len(world.wire.given) == 2

    anyio.run(main)


def test_past_its_time_it_has_failed_and_a_report_lies_in_the_inbox(world: World) -> None:
    world.wire.answers = {BOB: [LATER] * 9}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB, CAROL, life=600)
            await wait_for("a first attempt", lambda: _waits(world))
            world.clock.turn(minutes=11)
            assert await world.final(ID) == {BOB: "never", CAROL: "sent"}
            [report] = await wait_for("a report", lambda: inbox(world))
            assert b"Subject: failed" in report
            assert BOB.encode() + b": 451 4.7.1 greylisted" in report
            assert CAROL.encode() not in report

    anyio.run(main)


def test_after_four_hours_its_sender_is_told_once_that_it_waits(world: World) -> None:
    world.wire.answers = {BOB: [LATER] * 9}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            await wait_for("a first attempt", lambda: _waits(world))
            assert await inbox(world) == []
            for count in (2, 3):
                world.clock.turn(hours=4, minutes=1)
                await wait_for("the next attempt", partial(_tried, world, count))
                [report] = await wait_for("a report", lambda: inbox(world))
                assert b"451 4.7.1 greylisted" in report

    anyio.run(main)


def test_being_sent_is_reported_where_nobody_else_will_tell(world: World) -> None:
    world.wire.answers = {BOB: [LATER, replace(SENT, relayed=True)], CAROL: [SENT]}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB, CAROL)
            await wait_for("the first attempt", lambda: _is(len(world.wire.given) == 1))
            assert await inbox(world) == []
            world.clock.turn(minutes=6)
            assert await world.final(ID) == {BOB: "sent", CAROL: "sent"}
            [report] = await wait_for("a report", lambda: inbox(world))
            assert BOB.encode() + b": 250 queued" in report
            assert CAROL.encode() not in report

    anyio.run(main)


def test_what_the_network_refuses_is_reported_at_once(world: World) -> None:
    world.wire.answers = {BOB: [NEVER]}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            assert await world.final(ID) == {BOB: "never"}
            [report] = await wait_for("a report", lambda: inbox(world))
            assert b"550 5.1.1 unknown" in report
            await world.send(OTHER, BOB, sender="")
            await world.final(OTHER)
            await anyio.sleep(0.3)
            assert len(await inbox(world)) == 1, "nobody is told who is to be told nothing"

    anyio.run(main)


def test_a_refusal_is_reported_although_its_egress_is_being_restarted(world: World) -> None:
    world.wire.answers = {BOB: [NEVER]}
    world.wire.then = lambda: world.wire.contexts["out"].report("retry", "it is being restarted")

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            assert await world.final(ID) == {BOB: "never"}
            await wait_for("a report", lambda: inbox(world))

    anyio.run(main)


def test_a_person_can_take_it_back_and_can_have_it_tried_at_once(world: World) -> None:
    world.wire.answers = {BOB: [LATER], CAROL: [LATER]}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            await world.send(OTHER, CAROL)
            await wait_for("both put off", lambda: _waits(world, 2))
            await world.ask(Request("drop", ID), Request("retry", OTHER))
            assert await world.final(ID) == {BOB: "never"}
            assert await world.final(OTHER) == {CAROL: "sent"}
            assert sorted(world.wire.sent()) == [BOB, CAROL, CAROL]
            assert await inbox(world) == [], "what one took back oneself is not reported"

    anyio.run(main)


def test_what_was_taken_back_before_it_came_is_not_sent(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await world.ask(Request("drop", ID))
            await world.send(ID, BOB)
            assert await world.final(ID) == {BOB: "never"}
            assert world.wire.given == []

    anyio.run(main)


def test_a_large_message_goes_out_as_it_was(world: World) -> None:
    body = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000

    async def main() -> None:
        async with world.running():
            day = await world.day()
            store, blobs = world.client.store, world.client.running.intake.blobs
            from mesyx_core.pipeline.body import SealedBody, Spool

            spool = Spool(blobs, lambda: 1)
            await spool.write(body)
            [sealed] = await spool.finish()
            assert isinstance(sealed, SealedBody)
            request = Request("send", ID, world.clock.seconds + 600, world.mail(BOB), sealed.ref)
            content = Content(request.pack(), target=ToDay(day.recipient), blobs=(sealed.blob,))
            await world.client.running.stores.commit([await store.sealer.seal(content)])
            spool.close()
            assert await world.final(ID) == {BOB: "sent"}
            assert world.wire.given[0][2] == body

    anyio.run(main)


def test_an_attempt_that_a_stop_interrupts_is_repeated_for_mail_and_not_for_chat(world: World) -> None:
    world.wire.hang = True

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            await world.send(OTHER, "#mesyx", kind="line", network="chat")
            await wait_for("both under way", lambda: _is(len(world.wire.given) == 2))
            await world.gateway.end()
            world.wire.hang = False
            await world.start(world.gateway)
            assert await world.final(ID) == {BOB: "sent"}
            assert await world.final(OTHER) == {"#mesyx": "never"}
            assert [fate.reason for fate in await world.fates(OTHER)] == [queue.UNSURE]
            assert sorted(world.wire.sent()) == ["#mesyx", BOB, BOB]

    anyio.run(main)


class Disk:
    """Stands before a node's commits, and fails when it is told to."""

    def __init__(self, world: World) -> None:
        self._stores = world.gateway.running.stores
        self._commit = self._stores.commit
        self._stores.commit = self.commit  # type: ignore[method-assign]
        self.full = False
        self.fills = ""
        """Space of rows after whose first change it is full."""
        self.refused = 0

    async def commit(self, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange] = ()) -> list[int]:
        if self.full:
            self.refused += 1
            raise Temporary("the disk is full")
        found = await self._commit(entries, rows)
        self.full = any(space == self.fills for space, _, _ in rows)
        return found


def test_nothing_is_sent_before_its_intent_is_on_the_disk(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await world.day()
            disk = Disk(world)
            disk.fills = WAITING
            await world.send(ID, BOB)
            await wait_for("two refusals", lambda: _is(disk.refused >= 2))
            assert world.wire.given == []
            disk.full, disk.fills = False, ""
            assert await world.final(ID) == {BOB: "sent"}
            assert world.wire.sent() == [BOB]

    anyio.run(main)


def test_a_receipt_that_the_disk_does_not_take_is_written_when_it_does_and_nothing_sent_again(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await world.day()
            disk = Disk(world)

            def full() -> None:
                disk.full = True

            world.wire.then = full
            await world.send(ID, BOB)
            await wait_for("refusals", lambda: _is(disk.refused >= 3))
            assert await world.told(Receipt) == []
            disk.full = False
            assert await world.final(ID) == {BOB: "sent"}
            assert world.wire.sent() == [BOB]

    anyio.run(main)


def test_what_was_in_the_queue_waits_for_a_session_after_a_start(world: World) -> None:
    world.wire.answers = {BOB: [LATER]}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            await wait_for("put off", lambda: _waits(world))
            await world.client.end()
            await world.gateway.end()
            world.clock.turn(hours=1)
            await world.start(world.gateway)
            await anyio.sleep(0.5)
            assert len(world.wire.given) == 1
            [row] = await world.gateway.ask("queue.list")
            assert row["waits_for"].startswith("a session with another member")
            assert any("in sync since this start" in one["what"] for one in await world.gateway.ask("doctor"))
            await world.start(world.client)
            assert await world.final(ID) == {BOB: "sent"}

    anyio.run(main)


def test_nobody_waits_for_a_session_longer_than_the_config_says(world: World) -> None:
    text = world.gateway.file.read_text()
    world.gateway.file.write_text(text.replace("[node]", '[node]\nresume_after = "1s"', 1))
    world.wire.answers = {BOB: [LATER]}

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            await wait_for("put off", lambda: _waits(world))
            await world.client.end()
            await world.gateway.end()
            world.clock.turn(hours=1)
            await world.start(world.gateway)
            await wait_for("a second attempt", lambda: _is(len(world.wire.given) == 2))

    anyio.run(main)


def test_with_no_egress_up_it_waits_and_the_operator_is_told(world: World) -> None:
    world.wire.broken = True

    async def main() -> None:
        async with world.running():
            await world.send(ID, BOB)
            await wait_for("a reason", lambda: _waits(world, 1, "an egress for mail that is up"))
            said = [one["what"] for one in await world.gateway.ask("doctor") if one["level"] == "error"]
            assert "1 messages wait for an egress for mail, and none is up" in said
            status = (await world.gateway.ask("status"))["outbox"]
            assert (status["waiting"], status["recipients"], status["networks"]) == (1, 1, ["chat", "mail"])
            world.wire.broken = False
            assert await world.final(ID) == {BOB: "sent"}

    anyio.run(main)


def test_days_are_published_ahead_and_a_new_one_every_day(world: World) -> None:
    async def newest() -> Recipients:
        return max(await world.told(Recipients), key=lambda told: told.time)

    async def main() -> None:
        async with world.running():
            await world.day()
            first = await newest()
            assert len(first.days) == 4
            assert first.days[0].since <= world.clock.seconds < first.days[0].until
            assert first.networks == ("chat", "mail")
            world.clock.turn(seconds=first.days[0].until + 2 * 3600 - world.clock.seconds)

            async def moved() -> bool:
                return first.days[0] not in (await newest()).days

            await wait_for("the next days", moved)
            assert [day for day in (await newest()).days if day in first.days] == list(first.days[1:])
            assert len((await newest()).days) == 4

    anyio.run(main)


def test_a_clock_that_was_wrong_for_a_while_has_not_said_the_last_word(world: World) -> None:
    async def main() -> None:
        async with world.running():
            before = await world.day()
            world.clock.turn(days=20_000)
            await wait_for("days in another time", world.day)
            world.clock.turn(days=-20_000)
            await world.restart(world.gateway)
            await wait_for("days of now", lambda: _other(world, before.id))
            await world.send(ID, BOB)
            assert await world.final(ID) == {BOB: "sent"}

    anyio.run(main)


def test_the_key_of_a_day_stays_while_something_waits_for_it_and_five_days_at_most(world: World) -> None:
    world.wire.answers = {BOB: [LATER] * 99}

    async def main() -> None:
        async with world.running():
            day = await world.send(ID, BOB, life=20 * 86_400)
            await wait_for("put off", lambda: _waits(world))
            box = world.gateway.running.outgoing.box
            assert box is not None
            world.clock.turn(days=3)
            await anyio.sleep(0.5)
            assert day.id in box.days
            world.clock.turn(days=3)
            fates = await world.final(ID)
            assert fates[BOB] in ("never", "again")
            await wait_for("the key's end", lambda: _is(day.id not in box.days))

    anyio.run(main)


def test_who_asks_too_late_is_told_by_the_days_that_are_left(world: World) -> None:
    async def main() -> None:
        async with world.running():
            day = await world.day()
            world.clock.turn(days=2)

            async def gone() -> bool:
                newest = max(await world.told(Recipients), key=lambda told: told.time)
                return day not in newest.days

            await wait_for("the day's end", gone)
            await world.ask(Request("send", ID, world.clock.seconds + 600, world.mail(BOB), b"x"), day=day)
            await world.send(OTHER, CAROL)
            assert await world.final(OTHER) == {CAROL: "sent"}
            assert world.wire.sent() == [CAROL]

    anyio.run(main)


def test_only_clients_are_obeyed(world: World) -> None:
    async def main() -> None:
        async with world.running():
            day = await world.day()
            gateway = world.gateway.store.sealer
            request = Request("send", ID, world.clock.seconds + 600, world.mail(BOB), b"x")
            sealed = [
                await gateway.seal(Content(request.pack(), target=ToDay(day.recipient))),
                await gateway.seal(Content(request.pack(), target="clients")),
            ]
            await world.gateway.running.stores.commit(sealed)
            await world.restart(world.gateway)
            await world.send(OTHER, CAROL)
            assert await world.final(OTHER) == {CAROL: "sent"}
            assert world.wire.sent() == [CAROL]

    anyio.run(main)


@pytest.mark.parametrize("kind", ["mail", "post"])
@pytest.mark.parametrize(
    ("sender", "body"),
    [
        ("mallory@example.com", b""),
        ("bob@example.com", b""),
        ("alice@example.org", b"From: bob@example.com\r\n\r\nas if I were Bob\r\n"),
        ("", b"From: postmaster@example.com\r\n\r\nas if I were the operator\r\n"),
        ("alice@example.org", b"From: alice@example.org\r\nSender: bob@example.com\r\n\r\n"),
        ("alice@example.org", b"From: bob@example.com <alice@example.org>\r\n\r\n"),
    ],
)
def test_no_client_can_have_a_gateway_send_in_the_name_of_another_store(
    world: World, kind: Kind, sender: str, body: bytes
) -> None:
    async def main() -> None:
        async with world.running():
            await world.gateway.running.addresses.grant(["bob@example.com"], b"b" * 32)
            message = replace(world.mail(DAVE), kind=kind, sender=sender)
            await world.ask(Request("send", ID, world.clock.seconds + 600, message, body))
            assert await world.final(ID) == {DAVE: "never"}
            [fate] = await world.fates(ID)
            assert "granted" in fate.reason
            await world.send(OTHER, CAROL)
            assert await world.final(OTHER) == {CAROL: "sent"}
            assert world.wire.sent() == [CAROL]

    anyio.run(main)


def test_the_memory_egress_remembers_and_answers_as_told(tmp_path: Path) -> None:
    sink = Sink()
    provider = sink.provider()
    message = World(tmp_path, Clock()).mail(BOB)

    async def main() -> None:
        async with provider.open(provider.config(answers=("later", "sent")), None) as egress:
            words = [(await egress.send(message, [BOB]))[BOB].word for _ in range(3)]
        assert words == ["later", "sent", "sent"]

    anyio.run(main)
    assert [(given.recipients, given.body) for given in sink.given] == [((BOB,), b"Subject: x\r\n\r\ntext\r\n")] * 3


async def _is(found: bool) -> bool:
    return found


async def _other(world: World, day: bytes) -> bool:
    return (await world.day()).id != day


async def _tried(world: World, count: int) -> bool:
    return len(world.wire.given) == count


async def _waits(world: World, count: int = 1, why: str = "its next attempt") -> Any:
    """The gateway's queue, once so many wait for that."""
    rows = await world.gateway.ask("queue.list")
    return rows if [row["waits_for"] for row in rows] == [why] * count else None


async def inbox(world: World) -> list[bytes]:
    view = world.client.store.view()
    [box] = await view.mailboxes(["INBOX"])
    return [
        b"".join([chunk async for chunk in body.read()])
        async for batch in view.content(box.id, ((1, 2**32 - 1),))
        for _, body in batch
    ]
