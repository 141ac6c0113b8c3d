"""A contract holds a plugin to what it declares, and lets nobody bend it unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pydantic import BaseModel

from mesyx_core import testing
from mesyx_core.api import Context, Message, Stage, Verdict
from mesyx_core.testing import Contract, FilterContract, IngressContract, mail
from mesyx_core.testing.contract import holds, lacks
from mesyx_core.testing.memory import PostOffice, filter_

EXAMPLES = {"rejects": mail(sender="reject@words.example")}
CONTRACTS = [
    kind for name in testing.__all__ if name.endswith("Contract") and (kind := getattr(testing, name)) is not Contract
]


def run(certification: type[Contract], test: str) -> None:
    getattr(certification(), test)()


def test_only_what_applies_is_collected() -> None:
    class Trial(FilterContract):
        provider = filter_()
        capabilities = frozenset({"rejects"})
        examples = EXAMPLES

    assert callable(Trial.test_a_script_changes_nothing)
    assert Trial.test_a_script_is_obeyed is None


def test_what_is_declared_must_hold() -> None:
    class Trial(FilterContract):
        provider = filter_()
        capabilities = frozenset({"rejects", "dials", "answers"})
        examples = EXAMPLES
        question = ("box", None)

    for test in ("test_it_asks_outside", "test_a_question_is_answered"):
        with pytest.raises(AssertionError):
            run(Trial, test)


def test_what_is_not_declared_must_not_be_claimed() -> None:
    class Trial(FilterContract):
        provider = filter_()
        capabilities = frozenset({"rejects"})
        examples = {"rejects": mail(sender="reject@words.example"), "drops": mail(sender="drop@words.example")}

    with pytest.raises(AssertionError):
        run(Trial, "test_it_does_what_it_declares_and_nothing_else")


def test_a_test_of_the_contract_cannot_be_overridden() -> None:
    with pytest.raises(TypeError, match="overrides test_a_message_is_left_as_it_is"):

        class Trial(FilterContract):
            provider = filter_()

            async def test_a_message_is_left_as_it_is(self) -> None:
                return


def test_a_known_failure_must_fail_and_may_be_tested_otherwise() -> None:
    seen: list[str] = []

    class Broken(FilterContract):
        provider = filter_()
        capabilities = frozenset({"dials"})
        expected_failures = {"test_it_asks_outside": "its service is built in"}

        async def test_it_asks_outside(self) -> None:
            seen.append("instead")

    run(Broken, "test_it_asks_outside")
    assert seen == ["instead"]

    class Sound(FilterContract):
        provider = filter_()
        expected_failures = {"test_it_asks_nobody_outside": "thought to"}

    with pytest.raises(AssertionError, match=r"holds, though it is expected to fail \(thought to\)"):
        run(Sound, "test_it_asks_nobody_outside")


@pytest.mark.parametrize(
    "expected", [{"test_no_such": "why"}, {"test_it_asks_nobody_outside": ""}, {"test_it_asks_outside": "not declared"}]
)
def test_a_known_failure_names_a_test_that_applies_and_a_reason(expected: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="is no test that applies, or has no reason"):
        type("Trial", (FilterContract,), {"provider": filter_(), "expected_failures": expected})


def test_an_unknown_capability_is_refused() -> None:
    with pytest.raises(TypeError, match="no such capability: flies; there are"):
        type("Trial", (FilterContract,), {"provider": filter_(), "capabilities": frozenset({"flies"})})


def test_the_networks_side_must_be_written() -> None:
    with pytest.raises(TypeError, match=r"Trial: write offer\(\): Let the network say this"):
        type("Trial", (IngressContract,), {"provider": PostOffice().ingress()})


class Loud:
    """Tells what it read."""

    async def judge(self, message: Message, stage: Stage, script: object = None) -> Verdict:
        data = b"".join([chunk async for chunk in message.body.read()])
        return Verdict(word="reject", reason=data[:400].decode("latin-1"))


@asynccontextmanager
async def open_loud(config: BaseModel, context: Context) -> AsyncIterator[Loud]:
    yield Loud()


def test_a_filter_that_misbehaves_is_found_out() -> None:
    class Trial(FilterContract):
        provider = replace(filter_(), open=open_loud)
        capabilities = frozenset({"rejects"})
        examples = EXAMPLES

    for test in ("test_a_verdict_says_nothing_of_the_text", "test_every_message_gets_a_verdict_at_every_stage"):
        with pytest.raises(AssertionError):
            run(Trial, test)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_capability_is_tested_both_ways(contract: type[Contract]) -> None:
    declared = {word for test in contract.tests.values() for word in getattr(test, "declared", ())}
    undeclared = {word for test in contract.tests.values() for word in getattr(test, "undeclared", ())}
    both = {"rejects", "drops", "holds", "rewrites", "marks", "forwards", "replies"}  # by one test, over all of them
    assert contract.KNOWN.keys() - both <= declared
    assert contract.KNOWN.keys() - both <= undeclared
    assert declared | undeclared <= contract.KNOWN.keys()


def test_the_marks_are_of_one_test_alone() -> None:
    @holds("a")
    @lacks("b")
    async def test(self: object) -> None:
        return

    assert (test.declared, test.undeclared) == ({"a"}, {"b"})  # type: ignore[attr-defined]
