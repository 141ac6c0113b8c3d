"""A gateway that sends and the client that asks it to, real nodes in one process, with a clock that can be turned."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from anyio.abc import TaskGroup
from pydantic import BaseModel, ConfigDict

from mesyx_core.api import Bytes, Context, Egress, Message, Outcome, Provider, Temporary
from mesyx_core.journal import Journal
from mesyx_core.node import core, home, mailboxes, outgoing
from mesyx_core.pipeline import Content, ToDay
from mesyx_core.plugins import Registry
from mesyx_core.record import content, payloads
from mesyx_core.record import outgoing as record
from mesyx_core.record.entry import Kind, Origin, decode_header
from mesyx_core.record.outgoing import Day, Fate, Receipt, Recipients, Request
from mesyx_core.testing.cluster import Host, Plugin
from mesyx_core.vault import age, seal
from mesyx_core.vault.epoch import SeedReader

PHRASE = "a passphrase"
ADDRESS = "alice@example.org"
PATIENCE = 20
GIVE_UP = 5 * 86_400
T = TypeVar("T")


class Clock:
    """The wall clock of both nodes. It runs, from wherever it was turned to."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def turn(self, **span: float) -> None:
        self._ahead += timedelta(**span)

    @property
    def seconds(self) -> int:
        return int(self().timestamp())


class NoConfig(BaseModel):
    """`[egress.out]`"""

    model_config = ConfigDict(extra="forbid")


class Wire:
    """A network that does as told. Its egress implements `api.Egress` and `api.Reports`."""

    def __init__(self) -> None:
        self.given: list[tuple[Message, tuple[str, ...], bytes]] = []
        self.contexts: dict[str, Context] = {}
        """Of each open egress, by its name."""
        self.answers: dict[str, list[Outcome]] = {}
        """By address, one for each attempt; without any left it is sent."""
        self.hang = False
        """Whether it takes what it is given and never answers."""
        self.broken = False
        """Whether it cannot be opened."""
        self.then: Callable[[], None] = lambda: None
        """Called when it was given something, before it answers."""

    def sent(self) -> list[str]:
        """Every address that it was given, as often as it was."""
        return [address for _, recipients, _ in self.given for address in recipients]

    def provider(self, name: str, network: str) -> Provider:
        return Provider(name=name, config=NoConfig, open=self._open, network=network)

    @asynccontextmanager
    async def _open(self, config: NoConfig, context: Context) -> AsyncIterator[Egress]:
        if self.broken:
            raise Temporary("the network is down")
        self.contexts[context.instance] = context
        yield self

    async def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        body = b"".join([chunk async for chunk in message.body.read()])
        self.given.append((message, tuple(recipients), body))
        self.then()
        if self.hang:
            await anyio.sleep_forever()
        return {each: self._answer(each) for each in recipients}

    def _answer(self, address: str) -> Outcome:
        left = self.answers.get(address, [])
        return left.pop(0) if left else Outcome(word="sent", remote="wire")

    async def report(self, message: Message, outcomes: Mapping[str, Outcome]) -> Message | None:
        if not message.sender:
            return None
        lines = [f"{address}: {outcome.reason}\r\n" for address, outcome in outcomes.items()]
        head = "From: postmaster@example.org\r\nMessage-ID: <report@example.org>\r\nSubject: failed\r\n\r\n"
        return replace(message, direction="in", sender="", body=Bytes("".join([head, *lines]).encode()))


class World:
    """The two hosts, what the gateway sent, and the time. More hosts can be made of copies."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock
        self.wire = Wire()
        self.registry = Registry(
            beside={"wire": Plugin(egress=[self.wire.provider("mail", "mail"), self.wire.provider("chat", "chat")])}
        )
        self.gateway = self.host("gateway")
        self.client = self.host("client")
        self.tasks: TaskGroup

    def host(self, name: str) -> Host:
        return Host(name, self.folder / name / "mesyx.toml", self.registry)

    def copy(self, host: Host, name: str, sections: Callable[[str], str] = lambda text: text) -> Host:
        """Another host with the same state, as a backup or a clone has it. Stop it first, or copy as a thief does."""
        other = self.folder / name
        shutil.copytree(host.file.parent, other, ignore=shutil.ignore_patterns("*.sock", "lock"))
        made = self.host(name)
        made.file.write_text(sections(made.file.read_text()))
        return made

    def configure(self, host: Host, text: str) -> None:
        with host.file.open("a") as file:
            file.write(text)

    @asynccontextmanager
    async def running(self, *hosts: Host) -> AsyncIterator[None]:
        """These hosts run, by default both; the client's store is open."""
        async with anyio.create_task_group() as self.tasks:
            for host in hosts or (self.gateway, self.client):
                await self.start(host)
            yield
            for host in (self.client, self.gateway, *hosts):
                if host.node is not None:
                    await host.end()

    async def start(self, host: Host) -> None:
        await host.start(self.tasks)
        if "client" in host.running.config.node.roles and list(host.running.stores):
            await host.ask("store.unlock", name="alice", passphrase=PHRASE)

    async def restart(self, host: Host) -> None:
        await host.end()
        await self.start(host)

    # --- the client's side --------------------------------------------------------------------------------------------

    async def told(self, kind: type[T]) -> list[T]:
        """Everything of one kind that the client can read, in the order of the logs."""
        node = self.client.running
        secrets = self.client.store.secrets
        assert secrets is not None
        opened = await everything(node.journal, self.client.store.id, secrets.keys())
        found = [record.decode(one) for one in opened]
        return [one for one in found if isinstance(one, kind)]

    async def fates(self, id: bytes) -> list[Fate]:
        """All that the gateway has said of a submission."""
        return [fate for one in await self.told(Receipt) if one.id == id for fate in one.fates]

    async def day(self) -> Day:
        """What the client seals to now."""

        async def look() -> Day | None:
            newest = max(await self.told(Recipients), key=lambda told: told.time, default=None)
            days = newest.days if newest is not None else ()
            return next((day for day in days if day.since <= self.clock.seconds < day.until), None)

        found: Day = await wait_for("a recipient of the day", look)
        return found

    async def ask(self, *requests: Request, day: Day | None = None) -> Day:
        """Seal requests as a client does."""
        day = day or await self.day()
        store = self.client.store
        sealed = [await store.sealer.seal(Content(request.pack(), target=ToDay(day.recipient))) for request in requests]
        await self.client.running.stores.commit(sealed)
        return day

    def mail(self, *recipients: str, body: bytes = b"Subject: x\r\n\r\ntext\r\n", **fields: Any) -> Message:
        given = {"network_id": f"<{id(recipients)}@example.org>", "sender": ADDRESS, "direction": "out", **fields}
        return Message(
            kind=given.pop("kind", "mail"), time=self.clock(), body=Bytes(body), recipients=recipients, **given
        )

    async def send(self, id: bytes, *recipients: str, life: int = GIVE_UP, **fields: Any) -> Day:
        message = self.mail(*recipients, **fields)
        assert isinstance(message.body, Bytes)
        return await self.ask(Request("send", id, self.clock.seconds + life, message, message.body.data))

    async def final(self, id: bytes) -> dict[str, str]:
        """Each recipient's last word, once the gateway has said the final one."""

        async def look() -> Mapping[str, str] | None:
            receipts = [one for one in await self.told(Receipt) if one.id == id]
            said = [fate for one in receipts for fate in one.fates]
            said.sort(key=lambda fate: fate.word != "later")  # a node's runs are in no order
            return {fate.address: fate.word for fate in said} if any(one.final for one in receipts) else None

        found: dict[str, str] = await wait_for("a final receipt", look)
        return found


async def wait_for(what: str, look: Callable[[], Any]) -> Any:
    with anyio.move_on_after(PATIENCE):
        while True:
            found = await look()
            if found:
                return found
            await anyio.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


async def everything(journal: Journal, store: bytes, identities: Iterable[age.Identity]) -> list[content.Content]:
    """All that these identities open in a store's logs: what a client does, and what a thief would."""
    found: list[content.Content] = []
    keys = list(identities)
    for head in await journal.heads(store):
        origin = Origin(store, head.node, head.incarnation)
        seeds: dict[int, SeedReader] = {}
        for _, entry in await journal.entries(origin, 0, max_bytes=64 << 20, max_count=100_000):
            header = decode_header(entry.header)
            if entry.payload is None:
                continue
            if header.kind == Kind.EPOCH:
                try:
                    seeds[header.epoch] = SeedReader(age.decrypt(payloads.decode_epoch(entry.payload).file, keys))
                except age.NoMatch:
                    continue
            elif header.kind == Kind.SEALED and header.epoch in seeds:
                context = seal.Context(*origin, header.kind, header.epoch, header.index, header.blobs)
                found.append(
                    content.unpack(seal.open_(seeds[header.epoch].leaf(header.index), context, header.s, entry.payload))
                )
    return found


GATEWAY = """
[transport.memory]
listen = "gateway"

[egress.out]
use = "wire.mail"

[egress.chat]
use = "wire.chat"
"""
CLIENT = """
[transport.memory]
listen = "client"
"""


def make(folder: Path, clock: Clock) -> None:
    """Two nodes that have joined, stopped."""
    for name, roles, sections in (
        ("gateway", ["accept", "exchange"], GATEWAY),
        ("client", ["client", "exchange"], CLIENT),
    ):
        file, _ = home.create(folder / name, name, roles)
        with file.open("a") as config:
            config.write(sections)
    world = World(folder, clock)

    async def main() -> None:
        async with world.running():
            await world.client.ask("store.create", name="alice", passphrase=PHRASE)
            offer = await world.gateway.ask("node.invite", roles=["accept", "exchange"], addresses=[ADDRESS])
            await world.client.ask("store.add_node", name="alice", invitation=offer["invitation"], passphrase=PHRASE)

    anyio.run(main)


def turn(clock: Clock, patch: pytest.MonkeyPatch) -> None:
    """Have nodes that are made from now on ask this clock."""
    for module in (core, mailboxes, outgoing):
        patch.setattr(module, "now", clock)
