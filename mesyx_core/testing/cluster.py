"""Alice and Bob: real nodes in one process, on a network of their own. Bob's takes in and cannot read; Alice's can.

Whole nodes, with their journals and keys, in a folder each; only the transport is in memory, unless a test brings its
own. `tests/scenario` has the same as processes, driven by the commands that a person types.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from mesyx_core.api import Message, Provider, Receipt, Verdict, View, hookimpl
from mesyx_core.config import SectionKind
from mesyx_core.node import verbs
from mesyx_core.node.core import Node
from mesyx_core.node.home import create
from mesyx_core.node.run import serve
from mesyx_core.node.stores import Store
from mesyx_core.plugins import Registry
from mesyx_core.testing.network import BadNetwork
from mesyx_core.testing.samples import ADDRESS, mail, whole

STORE: Final = "alice"
PASSPHRASE: Final = "correct horse battery staple"
PATIENCE: Final = 20.0
PLUGIN: Final = "mine"
"""The name of the plugin that a provider under test comes in by."""

Transport: TypeAlias = tuple[Provider, Mapping[str, Any], Mapping[str, Any]]
"""A provider, the config of the side that listens, and of the side that dials."""


class Plugin:
    """What an entry point would name: hooks that declare these providers."""

    def __init__(self, **providers: Sequence[Provider]) -> None:
        """By kind of section: `Plugin(filter=[provider])`."""
        self._providers = providers

    def _of(self, kind: SectionKind) -> list[Provider]:
        return list(self._providers.get(kind, ()))

    @hookimpl
    def mesyx_ingresses(self) -> list[Provider]:
        return self._of("ingress")

    @hookimpl
    def mesyx_egresses(self) -> list[Provider]:
        return self._of("egress")

    @hookimpl
    def mesyx_transports(self) -> list[Provider]:
        return self._of("transport")

    @hookimpl
    def mesyx_cryptos(self) -> list[Provider]:
        return self._of("crypto")

    @hookimpl
    def mesyx_filters(self) -> list[Provider]:
        return self._of("filter")

    @hookimpl
    def mesyx_accesses(self) -> list[Provider]:
        return self._of("access")


def section(kind: SectionKind, name: str, use: str, config: Mapping[str, Any]) -> str:
    """A section of mesyx.toml."""
    lines = [f"\n[{kind}.{name}]", f"use = {_toml(use)}", *(f"{key} = {_toml(value)}" for key, value in config.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@dataclass
class Host:
    """One node: its folder, and the node while it runs."""

    name: str
    file: Path
    registry: Registry
    node: Node | None = None
    stop: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def state(self) -> Path:
        """Its state folder, as `create` makes it."""
        return self.file.parent / "state"

    @property
    def running(self) -> Node:
        """The node, while it runs."""
        assert self.node is not None, f"{self.name} does not run"
        return self.node

    @property
    def store(self) -> Store:
        """The first of its stores."""
        return next(iter(self.running.stores))

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """What a command would be answered."""
        async with aclosing(verbs.perform(self.running, verb, arguments)) as parts:  # type: ignore[type-var]
            return [part async for part in parts][-1]["result"]

    async def start(self, tasks: TaskGroup) -> None:
        """Run it, from its `ready` on."""
        ready, self.stop, self.ended = anyio.Event(), anyio.Event(), anyio.Event()

        def up(node: Node) -> None:
            self.node = node
            ready.set()

        async def run() -> None:
            try:
                await serve(self.file, ready=up, stop=self.stop, registry=self.registry)
            finally:
                self.node = None
                self.ended.set()

        tasks.start_soon(run)
        with anyio.fail_after(PATIENCE):
            await ready.wait()

    async def end(self) -> None:
        """Stop it as SIGTERM would."""
        self.stop.set()
        with anyio.fail_after(PATIENCE):
            await self.ended.wait()


class Cluster:
    """Alice's node is the client, Bob's the gateway; Carol's, if she is there, only exchanges."""

    def __init__(self, alice: Host, bob: Host, carol: Host | None, tasks: TaskGroup) -> None:
        self.alice = alice
        self.bob = bob
        self.carol = carol
        self._tasks = tasks

    @asynccontextmanager
    async def another(self, name: str, *roles: str) -> AsyncIterator[Host]:
        """One more node on the same network, which it listens on by its name; in no store yet."""
        file, _ = create(self.alice.file.parent.parent / name, name, roles)
        with file.open("a") as config:
            config.write(section("transport", "meet", "meet", {"listen": name}))
        host = Host(name, file, self.alice.registry)
        await host.start(self._tasks)
        try:
            yield host
        finally:
            await host.end()

    async def restart(self, host: Host) -> None:
        """Stop a node and start it again; Alice's opens her store."""
        await host.end()
        await host.start(self._tasks)
        if host is self.alice:
            await host.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)

    async def deliver(self, body: bytes, recipient: str = ADDRESS, **draft: Any) -> Verdict:
        """Let a message come in at Bob's; what is said of it."""
        message: Message = mail(b"", recipients=(), **draft)
        async with self.bob.running.intake.deliver(message) as delivery:
            verdict = await delivery.recipient(recipient)
            if verdict.word == "reject":
                return verdict
            await delivery.write(body)
            receipt: Receipt = await delivery.commit()
        return receipt.verdicts[recipient]

    @property
    def view(self) -> View:
        """Alice's store, as her programs see it."""
        return self.alice.running.stores.named(STORE).view()

    async def read(self, count: int, mailbox: str = "INBOX") -> list[bytes]:
        """The messages of one of Alice's mailboxes, once there are so many."""
        with anyio.move_on_after(PATIENCE):
            while len(found := await self._content(mailbox)) < count:  # noqa: ASYNC110 - across nodes
                await anyio.sleep(0.02)
            return found
        raise AssertionError(f"not {count} messages in {mailbox} within {PATIENCE:g} s")

    async def _content(self, mailbox: str) -> list[bytes]:
        boxes = await self.view.mailboxes([mailbox])
        if not boxes:
            return []
        everything = ((1, 2**32 - 1),)
        return [await whole(body) async for batch in self.view.content(boxes[0].id, everything) for _, body in batch]


@asynccontextmanager
async def alice_and_bob(
    folder: Path,
    *,
    transport: Transport | None = None,
    plugin: Plugin | None = None,
    alice: str = "",
    bob: str = "",
    carol: bool = False,
    network: BadNetwork | None = None,
) -> AsyncIterator[Cluster]:
    """A joined cluster in `folder`. `alice` and `bob` are further sections of their configs; in these, `mine` is the
    name of `plugin`. Nodes meet on `network`, a fair one by default, or by the `transport` under test."""
    memory = (network or BadNetwork(0)).provider()
    beside = {"meet": Plugin(transport=[transport[0] if transport else memory]), PLUGIN: plugin or Plugin(filter=[])}
    listening = transport[1] if transport else {"listen": "bob"}
    dialling = transport[2] if transport else {}
    async with AsyncExitStack() as stack:
        hosts = [
            _host(folder, "bob", ("accept", "exchange"), section("transport", "meet", "meet", listening) + bob, beside),
            _host(
                folder, "alice", ("client", "exchange"), section("transport", "meet", "meet", dialling) + alice, beside
            ),
        ]
        if carol:
            listens = section("transport", "meet", "meet", {"listen": "carol"})
            hosts.append(_host(folder, "carol", ("exchange",), listens, beside))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for host in hosts:
            await host.start(tasks)
            stack.push_async_callback(host.end)
        cluster = Cluster(hosts[1], hosts[0], hosts[2] if carol else None, tasks)
        await _join(cluster)
        yield cluster


def _host(folder: Path, name: str, roles: Sequence[str], sections: str, beside: Mapping[str, object]) -> Host:
    file, _ = create(folder / name, name, roles)
    with file.open("a") as config:
        config.write(sections)
    return Host(name, file, Registry(beside=beside))


async def _join(cluster: Cluster) -> None:
    """As a person would: a store, and invitations from the others."""
    await cluster.alice.ask("store.create", name=STORE, passphrase=PASSPHRASE)
    offer = await cluster.bob.ask("node.invite", roles=["accept", "exchange"], addresses=[ADDRESS])
    await cluster.alice.ask("store.add_node", name=STORE, invitation=offer["invitation"])
    if cluster.carol is not None:
        offer = await cluster.carol.ask("node.invite", roles=["exchange"])
        await cluster.alice.ask("store.add_node", name=STORE, invitation=offer["invitation"])
