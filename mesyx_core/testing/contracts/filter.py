"""The contract of a filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final, get_args

import anyio
from pydantic import JsonValue

from mesyx_core.api import Filter, Message, MesyxError, Stage, Verdict
from mesyx_core.testing.contract import holds, lacks
from mesyx_core.testing.contracts.provider import ProviderContract
from mesyx_core.testing.samples import SECRET, line, samples, whole

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
ACTS: Final[Mapping[str, str]] = {
    "rejects": "refuses messages",
    "drops": "makes messages vanish",
    "holds": "puts messages aside",
    "rewrites": "changes messages",
    "marks": "sets importance, mailbox or flags",
    "forwards": "sends messages on",
    "replies": "answers messages",
}
REASON: Final = 200
SCRIPTS: Final[tuple[JsonValue, ...]] = ({"keep": False}, "discard;", {"\0": []}, "}{", 7, [[[[]]]])
"""Such as no filter needs to understand."""


class FilterContract(ProviderContract, defines=True):
    """`api.Filter`: judges a message in memory, for any message at any stage."""

    KNOWN = {
        **ACTS,
        "scripts": "obeys a personal script",
        "dials": "asks a program or service outside the node",
        "remembers": "may judge the same message differently the second time",
    }
    kind = "filter"
    examples: ClassVar[Mapping[str, Message]] = {}
    """For each of rejects, drops, holds, rewrites, marks, forwards and replies that is declared: a message to which it
    does so under `config`, at the stage `stage`."""
    stage: ClassVar[Stage] = "receive"
    script: ClassVar[tuple[JsonValue, Message]]
    """A personal script, and a message that is judged differently by it."""

    async def test_every_message_gets_a_verdict_at_every_stage(self) -> None:
        async with self.opened() as (role, _):
            for message in [*samples(), *self.examples.values()]:
                for stage in STAGES:
                    sound(await role.judge(message, stage), message)

    async def test_a_verdict_says_nothing_of_the_text(self) -> None:
        async with self.opened() as (role, _):
            for message in samples():
                for stage in STAGES:
                    assert SECRET not in (await role.judge(message, stage)).reason

    async def test_a_message_is_left_as_it_is(self) -> None:
        async with self.opened() as (role, _):
            for message in [*samples(), *self.examples.values()]:
                before = replace(message), await whole(message.body)
                await role.judge(message, self.stage)
                assert (message, await whole(message.body)) == before

    async def test_many_are_judged_at_once(self) -> None:
        verdicts: list[Verdict] = []

        async def judge(role: Filter, message: Message) -> None:
            verdicts.append(await role.judge(message, self.stage))

        async with self.opened() as (role, _), anyio.create_task_group() as tasks:
            for _ in range(10):
                for message in samples():
                    tasks.start_soon(judge, role, message)
        assert len(verdicts) == 10 * len(samples())

    async def test_a_judgement_may_be_given_up(self) -> None:
        async with self.opened() as (role, _):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await role.judge(samples()[0], self.stage)
            sound(await role.judge(samples()[0], self.stage), samples()[0])

    @lacks("remembers")
    async def test_the_same_message_is_judged_the_same(self) -> None:
        async with self.opened() as (role, _):
            for message in [*samples(), *self.examples.values()]:
                first = await role.judge(message, self.stage)
                assert await role.judge(message, self.stage) == first, 'declare "remembers"'

    @holds("remembers")
    async def test_what_it_remembers_survives_a_restart(self) -> None:
        """By the sealed state: a restarted node knows what it knew."""
        async with self.context() as context:
            async with self.provider.open(self.settings(), context) as role:
                for _ in range(2):
                    await role.judge(samples()[0], self.stage)
                known = await role.judge(samples()[0], self.stage)
            async with self.provider.open(self.settings(), context) as role:
                assert await role.judge(samples()[0], self.stage) == known

    async def test_it_does_what_it_declares_and_nothing_else(self) -> None:
        declared = self.capabilities & ACTS.keys()
        assert declared == self.examples.keys(), "examples has one message for each of these capabilities"
        async with self.opened() as (role, _):
            for act, message in self.examples.items():
                assert act in acts(await role.judge(message, self.stage)), f"the example does not show that it {act}"
            for message in [*samples(), *self.examples.values()]:
                for stage in STAGES:
                    done = acts(await role.judge(message, stage))
                    assert done <= declared, f"it {', '.join(done - declared)}: declare it"

    @holds("scripts")
    async def test_a_script_is_obeyed(self) -> None:
        script, message = self.script
        async with self.opened() as (role, _):
            without = await role.judge(message, self.stage)
            assert await role.judge(message, self.stage, script) != without

    @holds("scripts")
    async def test_a_script_that_makes_no_sense_is_refused_or_passed_over(self) -> None:
        async with self.opened() as (role, _):
            for script in SCRIPTS:
                try:
                    sound(await role.judge(samples()[0], self.stage, script), samples()[0])
                except MesyxError:
                    continue

    @lacks("scripts")
    async def test_a_script_changes_nothing(self) -> None:
        async with self.opened() as (role, _):
            for script in SCRIPTS:
                verdict = await role.judge(samples()[0], self.stage, script)
                assert verdict == await role.judge(samples()[0], self.stage), 'declare "scripts"'

    @holds("dials")
    async def test_it_asks_outside(self) -> None:
        async with self.opened() as (role, context):
            await role.judge(samples()[0], self.stage)
            assert context.dialled, "it dials nobody"

    @lacks("dials")
    async def test_it_asks_nobody_outside(self) -> None:
        async with self.opened() as (role, context):
            for message in samples():
                await role.judge(message, self.stage)
            assert not context.dialled, 'declare "dials"'


def acts(verdict: Verdict) -> set[str]:
    """What a verdict does, in the words of the capabilities."""
    done = {
        "rejects": verdict.word == "reject",
        "drops": verdict.word == "drop",
        "holds": verdict.word == "hold",
        "rewrites": verdict.rewritten is not None,
        "marks": bool(verdict.importance or verdict.mailbox or verdict.flags),
        "forwards": bool(verdict.forward),
        "replies": verdict.answer is not None,
    }
    return {act for act, was in done.items() if was}


def sound(verdict: Verdict, message: Message) -> None:
    """What holds for every verdict."""
    assert isinstance(verdict, Verdict)
    assert verdict.word in ("accept", "reject", "drop", "hold")
    assert line(verdict.reason, REASON), "a reason is one short line"
    assert not verdict.temporary or verdict.word == "reject", "only a reject is temporary"
    if verdict.rewritten is not None:
        assert isinstance(verdict.rewritten, Message)
        assert verdict.rewritten.recipients == message.recipients, "a filter does not change whom it is for"
