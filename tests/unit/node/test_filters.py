"""A filter that failed and waits for its restart puts mail off: it neither judges with what it has closed, nor lets
anything slip by.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core import config
from mesyx_core.api import Message, Provider, Temporary, Verdict
from mesyx_core.builtin.filter import RulesConfig
from mesyx_core.config import Section
from mesyx_core.node import home, instances
from mesyx_core.node.clock import now
from mesyx_core.node.core import Node
from mesyx_core.node.verbs import stores
from mesyx_core.plugins import Instance

ADDRESS = "alice@example.org"


class Judge:
    """Accepts everything while it is open, and fails when it is told to."""

    def __init__(self) -> None:
        self.open = True
        self.asked_closed = 0
        self.judged = 0
        self.fault = anyio.Event()

    async def judge(self, message: Message, stage: str, script: object = None) -> Verdict:
        self.judged += 1
        self.asked_closed += not self.open
        return Verdict()

    async def run(self) -> None:
        await self.fault.wait()
        raise ValueError("the filter's own fault")


class Judges:
    """Those that were opened so far."""

    def __init__(self) -> None:
        self.all: list[Judge] = []
        self.closing = anyio.Event()
        self.may_close = anyio.Event()
        self.may_close.set()
        self.broken = False

    @asynccontextmanager
    async def open(self, config: Any, context: Any) -> AsyncIterator[Judge]:
        if self.broken:
            raise Temporary("the filter's daemon is away")
        judge = Judge()
        self.all.append(judge)
        context.report("up")
        try:
            yield judge
        finally:
            judge.open = False
            self.closing.set()
            await self.may_close.wait()

    def instance(self, name: str) -> Instance:
        provider = Provider(name=name, config=RulesConfig, open=self.open)
        return Instance(Section(Path("mesyx.toml"), "filter", name, name), provider, RulesConfig())


async def refused(node: Node) -> bool:
    """Send a message; whether the sender is told to come again. Anything but that and acceptance is a failure."""
    try:
        async with node.intake.deliver(Message(kind="mail", time=now(), sender="bob@example.com")) as delivery:
            assert (await delivery.recipient(ADDRESS)).word == "accept"
            await delivery.write(b"Subject: x\r\n\r\nhello\r\n")
            verdict = (await delivery.commit()).verdicts[ADDRESS]
    except Temporary:
        return True
    assert verdict.word == "accept" or verdict.temporary
    return verdict.word != "accept"


def with_filters(folder: Path, judges: Judges, *names: str) -> Callable[[Callable[[Node], Awaitable[None]]], None]:
    """Run a check on a gateway whose filters are at work."""

    async def main(check: Callable[[Node], Awaitable[None]]) -> None:
        file, _ = home.create(folder, "mx1", ["accept", "client"])
        async with Node.opened(config.load(file)) as node:
            store = (await stores.create(node, "alice", passphrase="p"))["id"]
            await node.addresses.grant([ADDRESS], bytes.fromhex(store))
            node.instances = instances.Instances(node, [judges.instance(name) for name in names])
            assert node.tasks is not None
            await node.instances.start(node.tasks)
            with anyio.fail_after(20):
                await check(node)

    return lambda check: anyio.run(main, check)


async def entries(node: Node) -> int:
    [store] = node.stores
    return sum(head.seq for head in await node.journal.heads(store.id))


@pytest.fixture
def judges(monkeypatch: pytest.MonkeyPatch) -> Judges:
    monkeypatch.setattr(instances, "BACKOFF", (0.5,))
    return Judges()


def test_mail_is_put_off_while_a_filter_waits_for_its_restart_and_taken_again_after(
    tmp_path: Path, judges: Judges
) -> None:
    async def check(node: Node) -> None:
        assert not await refused(node)
        [first] = judges.all
        before, kept = first.judged, await entries(node)
        assert before == 1
        judges.broken = True
        first.fault.set()
        await judges.closing.wait()
        for _ in range(3):
            assert await refused(node)
            await anyio.sleep(0.01)
        assert (first.judged, first.asked_closed) == (before, 0)
        assert await entries(node) == kept  # nothing slipped by
        judges.broken = False
        while await refused(node):
            assert (first.judged, first.asked_closed) == (before, 0)
            await anyio.sleep(0.01)
        assert (first.judged, first.asked_closed) == (before, 0)
        assert judges.all[1].judged == 1
        assert await entries(node) > kept

    with_filters(tmp_path, judges, "spam")(check)


def test_a_filter_that_takes_its_time_to_close_is_not_asked_meanwhile(tmp_path: Path, judges: Judges) -> None:
    async def check(node: Node) -> None:
        judges.may_close = anyio.Event()
        [first] = judges.all
        first.fault.set()
        await judges.closing.wait()
        assert await refused(node)
        assert first.judged == 0
        judges.may_close.set()

    with_filters(tmp_path, judges, "spam")(check)


@pytest.mark.parametrize("number", [0, 1])
def test_the_filters_that_are_up_do_not_stand_in_for_one_that_is_down(
    tmp_path: Path, judges: Judges, number: int
) -> None:
    async def check(node: Node) -> None:
        kept = await entries(node)
        judges.broken = True
        judges.all[number].fault.set()
        await judges.closing.wait()
        assert await refused(node)
        assert await entries(node) == kept
        assert judges.all[number].judged == 0

    with_filters(tmp_path, judges, "first", "second")(check)


def test_a_filter_that_never_came_up_refuses_too(tmp_path: Path, judges: Judges) -> None:
    async def check(node: Node) -> None:
        node.instances.running[0].role = None
        assert await refused(node)
        with pytest.raises(Temporary, match="spam is not running"):
            node.intake.filters["spam"]

    with_filters(tmp_path, judges, "spam")(check)
