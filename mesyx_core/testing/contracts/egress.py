"""The contract of an egress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

import anyio

from mesyx_core.api import Message, Outcome, Reports
from mesyx_core.testing.contract import MISSING, holds, lacks, yours
from mesyx_core.testing.contracts.provider import ProviderContract
from mesyx_core.testing.samples import SECRET, TEXT, line, mail, samples, whole

Fate: TypeAlias = Literal["sent", "later", "never"]
REASON: Final = 500
ALICE, BOB, CAROL = "alice@example.net", "bob@example.net", "carol@example.net"


@dataclass
class Network:
    """The far end, as a certification plays it."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """What the egress must be told to reach it."""
    received: list[tuple[str, bytes]] = field(default_factory=list)
    """Recipient and body of all that it took."""


class ReportsContract(ProviderContract, defines=True):
    """`api.Reports`: the network's own word for what became of a message."""

    KNOWN = {"reports": "composes its network's reports to senders (api.Reports)"}
    kind = "egress"

    def message(self, *recipients: str, body: bytes = TEXT) -> Message:
        """What is sent; a network that is not mail has its own."""
        return mail(body, direction="out", sender="alice@example.org", recipients=recipients)

    @holds("reports")
    async def test_a_report_tells_who_did_not_get_it_and_why(self) -> None:
        failures = {
            BOB: Outcome(word="never", reason="550 no such user", remote="mx.example.net"),
            CAROL: Outcome(word="later", reason="nobody answered"),
        }
        async with self.opened() as (role, _):
            assert isinstance(role, Reports)
            report = await role.report(self.message(ALICE, BOB, CAROL), failures)
        assert isinstance(report, Message)
        assert report.direction == "in"
        assert report.sender == "", "nobody answers a report"
        text = (await whole(report.body)).decode("utf-8", "replace")
        assert BOB in text
        assert CAROL in text
        assert "no such user" in text

    @holds("reports")
    async def test_a_report_can_be_made_of_every_message(self) -> None:
        outcomes = (
            Outcome(word="never", reason="refused"),
            Outcome(word="later", reason="nobody answered"),
            Outcome(word="sent", remote="mx.example.net", relayed=True),
        )
        async with self.opened() as (role, _):
            for message in samples():
                for outcome in outcomes if message.kind == self.message().kind else ():
                    made = await role.report(replace(message, direction="out", recipients=(BOB,)), {BOB: outcome})
                    assert made is None or isinstance(made, Message)

    @holds("reports")
    async def test_a_report_reaches_nobody(self) -> None:
        async with self.opened() as (role, context):
            await role.report(self.message(BOB), {BOB: Outcome(word="never", reason="refused")})
            assert context.dialled == []
            assert context.intake.kept == []

    @lacks("reports")
    async def test_it_does_not_claim_to_report(self) -> None:
        async with self.opened() as (role, _):
            assert not isinstance(role, Reports), 'it has report(): declare "reports"'


class EgressContract(ReportsContract, defines=True):
    """`api.Egress`: one attempt, and an outcome for every recipient that is no better than the truth."""

    KNOWN = {
        "partial": "recipients of one message can have different fates",
        "later": "the network can ask to be tried again later",
        "large": "sends bodies of a megabyte",
    }
    kind = "egress"

    @yours()
    def network(self, fates: Mapping[str, Fate]) -> AbstractAsyncContextManager[Network]:
        """A far end that treats recipients so, and takes for all others; gone when the scope is left."""
        raise MISSING

    async def _send(self, fates: Mapping[str, Fate], *recipients: str) -> tuple[Mapping[str, Outcome], Network]:
        async with self.network(fates) as far, self.opened(**far.config) as (role, _):
            return await attempt(role, self.message(*recipients), recipients), far

    async def test_a_message_arrives_whole(self) -> None:
        outcomes, far = await self._send({}, BOB)
        assert outcomes[BOB].word == "sent", outcomes[BOB].reason
        assert far.received == [(BOB, TEXT)]

    async def test_every_recipient_gets_it_once(self) -> None:
        outcomes, far = await self._send({}, ALICE, BOB, CAROL)
        assert [outcomes[each].word for each in (ALICE, BOB, CAROL)] == ["sent"] * 3
        assert sorted(far.received) == [(each, TEXT) for each in (ALICE, BOB, CAROL)]

    async def test_only_those_asked_for_get_it(self) -> None:
        """What was sent before is not sent again with what was not."""
        async with self.network({}) as far, self.opened(**far.config) as (role, _):
            await attempt(role, self.message(ALICE, BOB, CAROL), (BOB,))
        assert far.received == [(BOB, TEXT)]

    async def test_what_the_network_refuses_for_good_is_never_sent(self) -> None:
        outcomes, far = await self._send({BOB: "never"}, BOB)
        assert outcomes[BOB].word == "never"
        assert outcomes[BOB].reason, "people are told why"
        assert far.received == []

    @holds("later")
    async def test_what_the_network_puts_off_is_for_later(self) -> None:
        outcomes, far = await self._send({BOB: "later"}, BOB)
        assert outcomes[BOB].word == "later"
        assert outcomes[BOB].reason
        assert far.received == []

    @lacks("later")
    async def test_the_network_puts_nothing_off(self) -> None:
        outcomes, _ = await self._send({BOB: "later"}, BOB)
        assert outcomes[BOB].word != "later", 'declare "later"'

    @holds("partial")
    async def test_each_recipient_has_a_fate_of_its_own(self) -> None:
        fates: dict[str, Fate] = {ALICE: "sent", BOB: "never"}
        outcomes, far = await self._send(fates, ALICE, BOB)
        assert {address: outcome.word for address, outcome in outcomes.items()} == fates
        assert far.received == [(ALICE, TEXT)]

    @lacks("partial")
    async def test_all_recipients_share_one_fate(self) -> None:
        outcomes, _ = await self._send({ALICE: "sent", BOB: "never"}, ALICE, BOB)
        assert len({outcome.word for outcome in outcomes.values()}) == 1, 'declare "partial"'

    async def test_a_network_that_is_away_means_later(self) -> None:
        async with self.network({}) as far:
            config = far.config
        async with self.opened(**config) as (role, _):
            outcomes = await attempt(role, self.message(ALICE, BOB), (ALICE, BOB))
        assert {outcome.word for outcome in outcomes.values()} == {"later"}
        assert far.received == []

    async def test_to_nobody_is_nothing(self) -> None:
        outcomes, far = await self._send({})
        assert outcomes == {}
        assert far.received == []

    async def test_several_are_sent_at_once(self) -> None:
        async with self.network({}) as far, self.opened(**far.config) as (role, _):
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(attempt, role, self.message(ALICE, BOB), (ALICE, BOB))
        assert sorted(far.received) == sorted([(ALICE, TEXT), (BOB, TEXT)] * 5)

    async def test_an_attempt_may_be_given_up(self) -> None:
        async with self.network({}) as far, self.opened(**far.config) as (role, _):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await role.send(self.message(BOB), (BOB,))
            assert (await attempt(role, self.message(CAROL), (CAROL,)))[CAROL].word == "sent"

    async def test_the_message_is_left_as_it_is(self) -> None:
        message = self.message(BOB)
        async with self.network({}) as far, self.opened(**far.config) as (role, _):
            await attempt(role, message, (BOB,))
        assert message == self.message(BOB)
        assert await whole(message.body) == TEXT

    @holds("large")
    async def test_a_large_message_arrives_whole(self) -> None:
        assert await self._large() == "sent"

    @lacks("large")
    async def test_a_large_message_is_refused(self) -> None:
        assert await self._large() == "never", 'declare "large"'

    async def _large(self) -> str:
        body = TEXT + (b"x" * 70 + b"\r\n") * 16_000
        async with self.network({}) as far, self.opened(**far.config) as (role, _):
            outcomes = await attempt(role, self.message(BOB, body=body), (BOB,))
        assert far.received == ([(BOB, body)] if outcomes[BOB].word == "sent" else [])
        return outcomes[BOB].word


async def attempt(role: Any, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
    """One attempt, with what holds for every outcome."""
    outcomes: Mapping[str, Outcome] = await role.send(message, recipients)
    assert outcomes.keys() == set(recipients), "an outcome for every recipient that was asked for, and no other"
    for outcome in outcomes.values():
        assert isinstance(outcome, Outcome)
        assert outcome.word in ("sent", "later", "never")
        assert line(outcome.reason, REASON), "a reason is one short line"
        assert SECRET not in outcome.reason, "a reason does not repeat the message"
        assert outcome.after is None or (outcome.word == "later" and outcome.after >= 0)
    return outcomes
