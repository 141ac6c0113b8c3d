"""A second client joins: whatever fails on the way, the same command again makes it whole, and nothing is half there."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core import config
from mesyx_core.api import MesyxError, Refused, Temporary
from mesyx_core.builtin.memory import pair
from mesyx_core.exchange.register import Register
from mesyx_core.node import durable, home, keyring, verbs
from mesyx_core.node.core import Node
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.stores import Stores
from mesyx_core.vault import age

FIRST, OTHER = "the passphrase here", "the passphrase there"


async def perform(node: Node, verb: str, **arguments: Any) -> Any:
    async with aclosing(verbs.perform(node, verb, arguments)) as answers:  # type: ignore[type-var]
        return [answer async for answer in answers][-1]["result"]


class Laptops:
    """Two clients; the second can be started again and again."""

    def __init__(self, folder: Path) -> None:
        self.files = [home.create(folder / name, name, ["client", "exchange"])[0] for name in ("one", "two")]
        self.line = ""

    @asynccontextmanager
    async def both(self) -> AsyncIterator[tuple[Node, Node]]:
        first, other = (config.load(file) for file in self.files)
        async with (
            Node.opened(first) as one,
            Node.opened(other) as two,
            anyio.create_task_group() as tasks,
        ):

            async def connect(address: str) -> Any:
                here, there = pair()
                tasks.start_soon(two.exchange.accept, there)
                return here

            one.connect = connect  # type: ignore[method-assign]
            two.dial_addresses = lambda: ("memory://two",)  # type: ignore[method-assign]
            yield one, two
            tasks.cancel_scope.cancel()

    async def begin(self) -> None:
        async with self.both() as (one, two):
            await perform(one, "store.create", name="alice", passphrase=FIRST)
            invited = await perform(two, "node.invite", roles=["client", "exchange"], passphrase=OTHER)
            self.line = invited["invitation"]

    async def add(self, **more: Any) -> Any:
        async with self.both() as (one, _):
            return await perform(one, "store.add_node", name="alice", invitation=self.line, passphrase=FIRST, **more)

    async def opened(self, phrase: str = OTHER) -> Secrets:
        """What unlocking gives on the second."""
        async with self.both() as (_, two):
            two.live = True
            await perform(two, "store.unlock", name="alice", passphrase=phrase)
            [store] = two.stores
            assert store.secrets is not None
            return store.secrets


def run(folder: Path, check: Callable[[Laptops], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    real = age.encrypt_passphrase
    monkeypatch.setattr(age, "encrypt_passphrase", lambda *given, **more: real(*given, **{**more, "work": 4}))

    async def main() -> None:
        laptops = Laptops(folder)
        await laptops.begin()
        with anyio.fail_after(30):
            await check(laptops)

    anyio.run(main)


STEPS: list[tuple[Any, str]] = [
    (keyring.Keyring, "arrive"),
    (durable, "write_durably"),
    (Node, "_called"),
    (Stores, "add"),
    (Register, "spend"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_join_that_breaks_off_is_made_whole_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    owner, name = STEPS[step]

    async def check(laptops: Laptops) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, _breaking(getattr(owner, name), after))
            with pytest.raises(MesyxError):
                await laptops.add()
        told = await laptops.add()
        assert told["keys"] == "short"
        assert len((await laptops.opened()).identities) == 2
        await laptops.add()
        assert len((await laptops.opened()).identities) == 2

    run(tmp_path, check, monkeypatch)


def _breaking(real: Callable[..., Any], after: bool) -> Callable[..., Any]:
    def broken(*given: Any, **more: Any) -> Any:
        if after:
            real(*given, **more)
        raise Temporary("broken off")

    async def broken_later(*given: Any, **more: Any) -> Any:
        if after:
            await real(*given, **more)
        raise Temporary("broken off")

    return broken_later if inspect.iscoroutinefunction(real) else broken


def test_another_passphrase_opens_nothing_and_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(laptops: Laptops) -> None:
        await laptops.add()
        with pytest.raises(Refused, match="wrong passphrase"):
            await laptops.opened(FIRST)
        assert len((await laptops.opened()).identities) == 2

    run(tmp_path, check, monkeypatch)


def test_a_client_without_keys_can_be_given_some_by_another_invitation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(laptops: Laptops) -> None:
        assert (await laptops.add(keys="none"))["keys"] == "none"
        with pytest.raises(Refused, match="no private keys"):
            await laptops.opened()
        async with laptops.both() as (_, two):
            invited = await perform(two, "node.invite", roles=["client"], passphrase=OTHER)
            laptops.line = invited["invitation"]
        await laptops.add(keys="short")
        assert len((await laptops.opened()).identities) == 2
        async with laptops.both() as (_, two):
            laptops.line = (await perform(two, "node.invite", roles=["client"], passphrase=OTHER))["invitation"]
        await laptops.add(keys="all")
        got = await laptops.opened()
        assert len(got.identities) == 3
        assert got.owner is None

    run(tmp_path, check, monkeypatch)


def test_a_second_client_cannot_add_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(laptops: Laptops) -> None:
        await laptops.add(keys="all")
        await laptops.opened()
        async with laptops.both() as (one, two):
            one.dial_addresses = lambda: ("memory://one",)  # type: ignore[method-assign]
            line = (await perform(one, "node.invite", roles=["exchange"]))["invitation"]
            with pytest.raises(Refused, match="owner key"):
                await perform(two, "store.add_node", name="alice", invitation=line, passphrase=OTHER)

    run(tmp_path, check, monkeypatch)


def test_an_expired_invitation_leaves_no_key_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(laptops: Laptops) -> None:
        async with laptops.both() as (_, two):
            folder = two.home.state / "keys"
            await perform(two, "node.invite", roles=["client"], passphrase=OTHER, expires=-1)
            assert len(list(folder.iterdir())) == 2
            await perform(two, "node.invite", roles=["client"], passphrase=OTHER)
            assert len(list(folder.iterdir())) == 2

    run(tmp_path, check, monkeypatch)
