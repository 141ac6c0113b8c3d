"""The contract of an ingress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import anyio

from mesyx_core.api import Message, Temporary, Verdict
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.contract import MISSING, holds, lacks, soon, yours
from mesyx_core.testing.contracts.running import ListeningContract
from mesyx_core.testing.samples import ADDRESS, TEXT, line, whole

GONE: Final = "gone@example.org"
FULL: Final = Temporary("the disk is full")


@dataclass(frozen=True)
class Offer:
    """What somebody on the network says, and to whom."""

    body: bytes = TEXT
    sender: str = "bob@example.com"
    recipient: str = ADDRESS


class IngressContract(ListeningContract, defines=True):
    """`api.Ingress`: nothing is acknowledged to the network that was not kept, and nothing is kept twice."""

    KNOWN = {
        "mail": "takes in by Context.deliver",
        "lines": "takes in by Context.accept",
        "cursor": "keeps its place in the network's history beside what it took in",
        "recipients": "the network names recipients, who may be unknown here",
        "large": "takes bodies of a megabyte, in pieces",
    }
    kind = "ingress"
    text = TEXT
    """What `offer` is given to say by default; a network that has only lines gives one."""

    @yours()
    async def offer(self, context: StandIn, offer: Offer) -> bool:
        """Let the network say this to the running ingress once; whether it was acknowledged. An ingress that fetches is
        done with its round when this returns."""
        raise MISSING

    def _offer(self, number: int = 0) -> Offer:
        return Offer(body=self.text + (b"%d\r\n" % number if number else b""))

    async def test_it_takes_in_one_way_or_the_other(self) -> None:
        assert self.capabilities & {"mail", "lines"}, 'declare "mail" or "lines"'

    async def test_a_message_arrives_whole(self) -> None:
        offer = self._offer()
        async with self.running() as (_, context):
            assert await self.offer(context, offer)
            (message,) = context.intake.kept
            assert await whole(message.body) == offer.body
            sound(message)

    async def test_nothing_is_acknowledged_before_it_is_durable(self) -> None:
        answers: list[bool] = []
        async with self.running() as (_, context), anyio.create_task_group() as tasks:

            async def offer() -> None:
                answers.append(await self.offer(context, self._offer()))

            context.intake.gate = anyio.Event()
            tasks.start_soon(offer)
            await context.intake.at_commit.wait()
            await anyio.sleep(0.1)
            assert answers == [], "it was acknowledged before commit() returned"
            context.intake.gate.set()
            await soon("the acknowledgement", lambda: answers)
            assert answers == [True]

    async def test_what_cannot_be_kept_is_not_acknowledged(self) -> None:
        async with self.running() as (_, context):
            for step in ("deliver", "write", "commit", "accept"):
                context.intake.fail = {step: FULL}
                if await self.offer(context, self._offer()):
                    assert context.intake.kept, f"acknowledged, though {step} failed"
                    context.intake.kept.clear()
            context.intake.fail = {}
            assert await self.offer(context, self._offer(1)), "it serves no more after a failure"
            bodies = [await whole(message.body) for message in context.intake.kept]
            assert bodies.count(self._offer(1).body) == 1

    async def test_a_fault_of_the_node_is_not_acknowledged(self) -> None:
        async with self.running() as (_, context):
            context.intake.fail = dict.fromkeys(("commit", "accept"), RuntimeError())
            assert not await self.offer(context, self._offer())
            assert not context.intake.kept

    @holds("mail")
    async def test_what_a_filter_rejects_is_refused(self) -> None:
        async with self.running() as (_, context):
            context.intake.word = Verdict(word="reject", reason="not here")
            assert not await self.offer(context, self._offer())

    @holds("mail")
    async def test_what_a_filter_drops_or_holds_is_acknowledged(self) -> None:
        async with self.running() as (_, context):
            for number, word in enumerate((Verdict(word="drop"), Verdict(word="hold")), 1):
                context.intake.word = word
                assert await self.offer(context, self._offer(number))

    @holds("mail")
    async def test_it_delivers(self) -> None:
        async with self.running() as (_, context):
            assert await self.offer(context, self._offer())
            assert context.intake.begun

    @lacks("mail")
    async def test_it_delivers_nothing(self) -> None:
        async with self.running() as (_, context):
            await self.offer(context, self._offer())
            assert not context.intake.begun, 'declare "mail"'

    @holds("lines")
    async def test_it_accepts(self) -> None:
        async with self.running() as (_, context):
            assert await self.offer(context, self._offer())
            assert context.intake.accepted

    @lacks("lines")
    async def test_it_accepts_nothing(self) -> None:
        async with self.running() as (_, context):
            await self.offer(context, self._offer())
            assert not context.intake.accepted, 'declare "lines"'

    @holds("cursor")
    async def test_its_place_is_kept_with_what_it_took_in(self) -> None:
        async with self.running() as (_, context):
            assert not context.state.kept
            assert await self.offer(context, self._offer())
            before = dict(context.state.kept)
            assert before, "no state came with the message"
            context.intake.fail = dict.fromkeys(("commit", "accept"), FULL)
            assert not await self.offer(context, self._offer(1))
            assert context.state.kept == before, "its place moved past what was not kept"

    @lacks("cursor")
    async def test_it_keeps_no_place(self) -> None:
        async with self.running() as (_, context):
            await self.offer(context, self._offer())
            assert not context.state.kept, 'declare "cursor"'

    @holds("recipients")
    async def test_an_unknown_recipient_is_refused(self) -> None:
        async with self.running() as (_, context):
            assert not await self.offer(context, Offer(self.text, recipient=GONE))
            assert not context.intake.kept

    @holds("recipients")
    async def test_a_recipient_is_told_as_the_network_gave_it(self) -> None:
        async with self.running() as (_, context):
            assert await self.offer(context, Offer(self.text, recipient="Alice+Tag@example.org"))
            assert context.intake.kept[0].recipients == ("Alice+Tag@example.org",)

    @lacks("recipients")
    async def test_nobody_on_the_network_chooses_recipients(self) -> None:
        async with self.running() as (_, context):
            for recipient in (ADDRESS, GONE):
                await self.offer(context, Offer(self.text, recipient=recipient))
            assert len({message.recipients for message in context.intake.kept}) <= 1, 'declare "recipients"'

    @holds("large")
    async def test_a_large_message_is_written_in_pieces(self) -> None:
        body = self.text + (b"x" * 70 + b"\r\n") * 16_000
        async with self.running() as (_, context):
            assert await self.offer(context, Offer(body))
            assert await whole(context.intake.kept[0].body) == body
            assert context.intake.longest < len(body) // 2, "it holds whole messages in memory"

    @lacks("large")
    async def test_a_large_message_is_refused_or_cut_by_the_network(self) -> None:
        body = self.text + (b"x" * 70 + b"\r\n") * 16_000
        async with self.running() as (_, context):
            if await self.offer(context, Offer(body)):
                assert await whole(context.intake.kept[0].body) != body, 'declare "large"'

    async def test_many_at_once_are_each_kept_once(self) -> None:
        answers: list[bool] = []
        async with self.running() as (_, context):

            async def offer(number: int) -> None:
                answers.append(await self.offer(context, self._offer(number)))

            async with anyio.create_task_group() as tasks:
                for number in range(1, 21):
                    tasks.start_soon(offer, number)
            bodies = [await whole(message.body) for message in context.intake.kept]
            assert answers == [True] * 20
            assert sorted(bodies) == sorted(self._offer(number).body for number in range(1, 21))
            await soon("every delivery is left", lambda: not context.intake.open)


def sound(message: Message) -> None:
    """What holds for every message that comes in."""
    assert message.kind in ("mail", "line", "event", "post")
    assert message.direction == "in"
    assert message.time.tzinfo is not None, "time is aware"
    assert message.network
    for text in (message.sender, message.network_id, message.conversation, *message.recipients):
        assert line(text, 4096), "names of the network are single lines"
