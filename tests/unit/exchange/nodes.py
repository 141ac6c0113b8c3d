"""Real nodes in one process: alice's laptop (client), mx (gateway) and more, each with a journal in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from anyio.abc import ByteStream, TaskGroup
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesyx_core.builtin.memory import pair
from mesyx_core.exchange import Exchange, Joining, Pace
from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.record.entry import Kind
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.keyset import IMPORTANCES, Keyset
from mesyx_core.vault.manifest import Cut, Manifest, Member, next_commitment, owner_public, parse, sign
from mesyx_core.vault.nodekey import NodeKey

PACE = Pace(ping=0.2, dead=0.6, open=2.0)


def fresh_owner() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes_raw()


@dataclass
class Owner:
    """Signs a store's manifests."""

    private: bytes = field(default_factory=fresh_owner)
    following: bytes = field(default_factory=fresh_owner)
    documents: list[bytes] = field(default_factory=list)
    manifest: Manifest | None = None

    def found(self, *members: Member) -> bytes:
        """Manifest 1; returns the store's id."""
        recipients = (members[0].recipient,)
        keyset = Keyset(recipients=recipients, start=None, end=None, importances=IMPORTANCES, fallback=True)
        self._sign(
            Manifest(
                owner=owner_public(self.private),
                next_owner=next_commitment(owner_public(self.following)),
                members=members,
                keysets=(keyset,),
                clients=recipients,
            )
        )
        assert self.manifest is not None
        return self.manifest.store

    def change(self, members: Sequence[Member] | None = None, cuts: Sequence[Cut] = ()) -> bytes:
        """The next manifest."""
        old = self.manifest
        assert old is not None
        return self._sign(
            replace(
                old,
                number=old.number + 1,
                parents=(old.hash,),
                first=old.store,
                members=tuple(old.members if members is None else members),
                cuts=tuple(cuts),
            )
        )

    def _sign(self, manifest: Manifest) -> bytes:
        self.manifest = manifest
        document = sign(manifest, self.private)
        self.documents.append(document)
        return document


def member(key: NodeKey, *roles: str, addresses: Sequence[str] = ()) -> Member:
    return Member(node=key.public, recipient=key.recipient, roles=frozenset(roles), addresses=tuple(addresses))


class Node:
    """A node with a real journal and exchange, and no pipeline."""

    def __init__(self, journal: Journal, key: NodeKey, pace: Pace = PACE) -> None:
        self.journal = journal
        self.key = key
        self.authorities: dict[bytes, Authority] = {}
        self.blobs: list[bytes] = []
        self.joined: list[Joining] = []
        self.clock = 1_800_000_000.0
        self.exchange = Exchange(
            journal,
            key,
            authority=self.authorities.get,
            on_manifest=self.take,
            name="node",
            on_joined=self._on_joined,
            on_blob=lambda store, blob: self.blobs.append(blob),
            now=lambda: self.clock,
            pace=pace,
        )

    async def hold(self, documents: Sequence[bytes]) -> None:
        authority = Authority.of(documents)
        await self.journal.add_store(authority.store, "alice")
        for document in documents:
            await self._keep(authority.store, document)
        self.authorities[authority.store] = authority

    async def take(self, store: bytes, document: bytes) -> None:
        authority = self.authorities[store].accepts(document)
        await self._keep(store, document)
        self.authorities[store] = authority

    async def change(self, store: bytes, document: bytes) -> None:
        """The node's own way to a newer manifest."""
        await self.take(store, document)
        await self.exchange.manifests_changed(store)

    async def _keep(self, store: bytes, document: bytes) -> None:
        await self.journal.put_manifest(store, parse(document).hash, document)

    async def _on_joined(self, joining: Joining) -> None:
        self.joined.append(joining)
        await self.hold(joining.documents)

    async def begin(self, store: bytes) -> Log:
        manifest = self.authorities[store].effective.hash
        return await self.journal.begin_log(store, self.key, manifest, os.urandom(16), lambda: self.clock)

    async def write(self, log: Log, count: int = 1, size: int = 300) -> None:
        drafts = [(log, Draft(Kind.SEALED, 1, n % 1024, os.urandom(32), os.urandom(size))) for n in range(count)]
        await self.journal.commit(drafts)

    async def write_blob(self, log: Log, data: bytes) -> bytes:
        blob = self.journal.new_blob()
        await blob.write(data)
        digest, _ = await blob.finish()
        await self.journal.commit([(log, Draft(Kind.SEALED, 1, 1, os.urandom(32), os.urandom(300), (blob,)))])
        return digest

    async def held(self, store: bytes) -> dict[tuple[bytes, bytes], tuple[int, bytes]]:
        return {head[:2]: (head.seq, head.chain) for head in await self.journal.heads(store)}


class Counted(ByteStream):
    """Counts what passes, and can be cut or frozen."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.sent = 0
        self.frozen = anyio.Event()
        self.frozen.set()

    async def send(self, item: bytes) -> None:
        self.sent += len(item)
        await self.stream.send(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self.stream.receive(max_bytes)
        await self.frozen.wait()
        return data

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()

    def freeze(self) -> None:
        self.frozen = anyio.Event()


class Wire:
    """One connection between two nodes, and how it ended on the dialling side."""

    def __init__(self) -> None:
        here, there = pair()
        self.here, self.there = Counted(here), Counted(there)
        self.error: Exception | None = None
        self.ended = anyio.Event()

    async def cut(self) -> None:
        await self.here.aclose()
        await self.there.aclose()
        with anyio.fail_after(5):
            await self.ended.wait()


@dataclass
class Cluster:
    """Nodes of one store, and wires between them."""

    tasks: TaskGroup
    folder: Path
    stack: AsyncExitStack
    owner: Owner = field(default_factory=Owner)
    store: bytes = b""

    async def node(self, name: str, pace: Pace = PACE, key: NodeKey | None = None) -> Node:
        journal = await self.stack.enter_async_context(Journal.open(self.folder / name, durable=False))
        return Node(journal, key or NodeKey(os.urandom(32)), pace)

    async def two(self, pace: Pace = PACE) -> tuple[Node, Node]:
        """A laptop and a gateway, both members and holding the store."""
        laptop, gateway = await self.node("laptop", pace), await self.node("gateway", pace)
        self.store = self.owner.found(member(laptop.key, "client"), member(gateway.key, "accept", "exchange"))
        for node in (laptop, gateway):
            await node.hold(self.owner.documents)
        return laptop, gateway

    def connect(self, dialling: Node, serving: Node, key: bytes | None = None, store: bytes | None = None) -> Wire:
        """`dialling` dials `serving` about the store."""
        wire = Wire()

        async def dial() -> None:
            try:
                await dialling.exchange.dial(wire.here, store or self.store, key or serving.key.public)
            except Exception as error:
                wire.error = error
            finally:
                wire.ended.set()

        self.tasks.start_soon(serving.exchange.accept, wire.there)
        self.tasks.start_soon(dial)
        return wire

    async def settled_but(self, *nodes: Node) -> None:
        """Until every session of these nodes is settled; they may hold what is not valid for the others."""
        await until(lambda: all(n.exchange.peers() and all(p.settled for p in n.exchange.peers()) for n in nodes))

    async def settled(self, *nodes: Node) -> None:
        """Until every session of these nodes is settled and they hold the same."""

        async def same() -> bool:
            peers = [peer for node in nodes for peer in node.exchange.peers()]
            if not peers or not all(peer.settled for peer in peers):
                return False
            held = [await node.held(self.store) for node in nodes]
            return all(one == held[0] for one in held)

        await until(same)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Poll; fails after `seconds`."""
    with anyio.fail_after(seconds):
        while True:
            found = condition()
            if await found if hasattr(found, "__await__") else found:  # type: ignore[misc]
                return
            await anyio.sleep(0.005)


@asynccontextmanager
async def clustered(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster whose nodes keep their journals in `folder`."""
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        yield Cluster(tasks, folder, stack)
        tasks.cancel_scope.cancel()
