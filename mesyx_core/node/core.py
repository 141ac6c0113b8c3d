"""A node, put together once: journal, stores, plugins, the way in, and the exchange with other nodes."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import ByteStream, TaskGroup
from anyio.to_thread import run_sync

from mesyx_core import config as configuration
from mesyx_core.api import (
    Dialer,
    Duplex,
    Filter,
    Message,
    MesyxError,
    Misconfigured,
    Permanent,
    Temporary,
    Verdict,
)
from mesyx_core.config import Config
from mesyx_core.exchange.fetch import Room as Fetched
from mesyx_core.exchange.join import Joining
from mesyx_core.exchange.service import Exchange
from mesyx_core.journal import Draft, Journal, Log, PendingBlob
from mesyx_core.journal.journal import RowChange
from mesyx_core.node.accounts import Accounts
from mesyx_core.node.addresses import Addresses
from mesyx_core.node.clock import now
from mesyx_core.node.compromise import Compromise
from mesyx_core.node.doors import Doors
from mesyx_core.node.faults import single
from mesyx_core.node.home import Home
from mesyx_core.node.instances import Instances, Running
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.loans import Loans
from mesyx_core.node.logins import Logins, Open
from mesyx_core.node.mailboxes import Mailboxes
from mesyx_core.node.outgoing import Outgoing
from mesyx_core.node.peers import Peers
from mesyx_core.node.purging import Purgings
from mesyx_core.node.reencrypting import Reencrypting
from mesyx_core.node.remote import Events
from mesyx_core.node.room import Room
from mesyx_core.node.rows import SealedRows
from mesyx_core.node.secrets import passphrase
from mesyx_core.node.sharing import Sharing
from mesyx_core.node.shredding import Shredding
from mesyx_core.node.sightings import Sightings
from mesyx_core.node.stores import Stores, fit_name
from mesyx_core.node.summary import Summaries
from mesyx_core.node.systemd import NONE
from mesyx_core.node.upkeep import Upkeep
from mesyx_core.pipeline import Intake, Sealer
from mesyx_core.plugins import Instance, Registry
from mesyx_core.vault.stream import blob_key

log = logging.getLogger(__name__)

REPLICATION_SECONDS: Final = 60.0
"""With acknowledge = "replicated": after so long without a peer's word the network is told to try again. What was
sealed stays, and the copy that comes again is shown as the same message."""


class Node:
    """The composition. `opened` gives one that can work; `mesyx_core.node.run` also starts its instances."""

    def __init__(self, config: Config, journal: Journal, registry: Registry, instances: Sequence[Instance]) -> None:
        self.config = config
        self.registry = registry
        self.home = Home(config)
        self.key = self.home.key()
        self.journal = journal
        self.instances = Instances(self, instances)
        self.rows = SealedRows(journal, self.key)
        self.keyring = Keyring(self.home.state / "keys")
        self.sightings = Sightings(self.rows)
        self.stores = Stores(journal, self.key, now, os.urandom)
        self.addresses = Addresses(self.rows)
        self.logins = Logins(self.rows, self.key, self._login, anyio.sleep)
        self.handed = NONE
        """Sockets that the service manager has bound for this process."""
        self.doors = Doors(config.node.connections, config.node.peer_connections)
        self.mailboxes = Mailboxes(self)
        self.loans = Loans(self)
        self.peers = Peers(self)
        self.exchange = Exchange(
            journal,
            self.key,
            authority=self.stores.authority,
            on_manifest=self._manifest,
            name=config.node.name,
            on_joined=self._joined,
            on_blob=self.mailboxes.blob_arrived,
            on_branch=self.stores.branched,
            room=Fetched(config.node.body_limit, self.room),
        )
        self.intake = Intake(
            route=self._route,
            filters=self._filters(),
            blobs=BlobSource(journal, self.key.public),
            room=Room(
                usage=journal.usage,
                free=self._free,
                quota=config.node.store_quota,
                reserve=config.node.disk_reserve,
                monotonic=time.monotonic,
            ),
            commit=self._commit,
            limit=config.node.size_limit,
        )
        self.outgoing = Outgoing(self)
        self.summaries = Summaries(self)
        self.accounts = Accounts(self)
        self.purgings = Purgings(self)
        self.compromise = Compromise(self)
        self.reencrypting = Reencrypting(self)
        self.shredding = Shredding(self)
        self.events = Events(self)
        self.upkeep = Upkeep(self)
        self.sharing = Sharing(self)
        self.started = time.monotonic()
        self.tasks: TaskGroup | None = None
        self.owner_key: Path | None = None
        """A file with the owner key, where that is kept apart."""
        self.passphrase_file: Path | None = None
        """A file with the passphrase that the node runs with."""
        self.live = False
        """Whether its instances run, or a command merely uses its state."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, config: Config, *, plugins: bool = True, registry: Registry | None = None
    ) -> AsyncIterator[Node]:
        """Take the state lock, check all sections, open the journal, load the stores. Without `plugins` no section is
        looked at; `registry` is where they are looked for, by default among all that is installed.
        Raises Busy, Misconfigured."""
        try:
            async with cls._opened(config, plugins, registry or Registry()) as node:
                yield node
        except BaseExceptionGroup as group:
            raise single(group) from group

    @classmethod
    @asynccontextmanager
    async def _opened(cls, config: Config, plugins: bool, registry: Registry) -> AsyncIterator[Node]:
        home = Home(config)
        home.key()
        async with AsyncExitStack() as stack:
            stack.enter_context(home.lock())
            instances = registry.bind_all(config) if plugins else ()
            url = config.node.database.get_secret_value()
            journal = await stack.enter_async_context(
                Journal.open(home.state / "journal", url=None if url == "sqlite" else url)
            )
            node = cls(config, journal, registry, instances)
            await run_sync(node.keyring.finish)
            await node.stores.load()
            await node.addresses.load()
            await node.logins.load()
            await node.accounts.load()
            stack.push_async_callback(node.stores.end)
            node.tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(node.tasks.cancel_scope.cancel)
            stack.push_async_callback(node.mailboxes.close)  # before: in a cancelled scope nothing can be awaited
            yield node

    def monotonic(self) -> float:
        return time.monotonic()

    def may(self, role: str) -> bool:
        return role in self.config.node.roles

    def of(self, kind: str) -> list[Running]:
        """The instances of one kind, in the config's order."""
        return self.instances.of(kind)

    async def reload(self) -> dict[str, list[str]]:
        """Read the config again and restart only the instances that changed. Raises Misconfigured; then nothing
        changed.
        """
        fresh = configuration.load(self.config.file)
        if fresh.node != self.config.node:
            raise Misconfigured(
                f"{fresh.file}: [node] has changed", "restart the node for that; only instances can be reloaded"
            )
        self.registry.refresh()
        bound = self.registry.bind_all(fresh)
        self.config = fresh
        done = await self.instances.replace(bound)
        self.outgoing.refresh()
        self.accounts.refresh()
        return done

    # --- the way in -------------------------------------------------------------------------------------------------

    def _route(self, address: str) -> Sealer | None:
        found = self.addresses.find(address)
        store = self.stores.get(found) if found is not None else None
        member = self.stores.member(store) if store is not None else None
        if member is not None and not member.roles:  # what is suspended may come back
            raise Temporary("this node is suspended for that recipient's store")
        if store is None or not store.authority.may(self.key.public, "accept"):
            return None
        return store.sealer

    def _free(self) -> int:
        return shutil.disk_usage(self.home.state).free

    def room(self) -> int:
        """Bytes that may come to the disk until its reserve is reached; below zero when it is used."""
        return self._free() - self.config.node.disk_reserve

    def _filters(self) -> Mapping[str, Filter]:
        return FilterInstances(self)

    async def _commit(self, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange] = ()) -> list[int]:
        """What an ingress acknowledges: durable here, and on a peer as well where the config asks for that."""
        seqs = await self.stores.commit(entries, rows)
        if self.config.node.acknowledge == "replicated":
            with anyio.move_on_after(REPLICATION_SECONDS) as scope:
                for (log, _), seq in zip(entries, seqs, strict=True):
                    await self.exchange.replicated(log.origin, seq)
            if scope.cancelled_caught:
                raise Temporary("no other node has confirmed the message yet")
        return seqs

    async def accept(self, messages: Sequence[Message], space: str, state: Mapping[str, bytes]) -> Sequence[Verdict]:
        return await self.intake.accept(messages, self.rows.sealed(space, dict(state)))

    # --- log-in -----------------------------------------------------------------------------------------------------

    def _login(self, name: str) -> tuple[bytes, Open] | None:
        return next(((s.id, s.view) for s in self.stores if s.name == name and self.keyring.has(s.id)), None)

    # --- stores -----------------------------------------------------------------------------------------------------

    async def _manifest(self, store: bytes, document: bytes) -> None:
        """A newer manifest that a session brought."""
        if await self.stores.take(store, document):
            self.manifest_changed(store)

    def manifest_changed(self, store: bytes) -> None:
        """What goes by a store's manifest looks at it again."""
        self.purgings.wake()
        self.mailboxes.manifest_changed(store)
        self.peers.refresh()
        self.accounts.refresh()
        self.keys_changed()

    def keys_changed(self) -> None:
        """A store was opened, or what its manifest says of keys has changed."""
        self.upkeep.look()
        self.sharing.look()
        self.reencrypting.look()
        self.shredding.look()

    async def _joined(self, joining: Joining) -> None:
        """A client made this node a member. Harmless to repeat; refuses when an address is another store's."""
        await self.addresses.grant(list(joining.addresses), joining.store)
        if joining.keys:
            await run_sync(self.keyring.arrive, joining.store, joining.invitation.id, joining.keys)
        if self.stores.get(joining.store) is None:
            await self.stores.add(self._called(joining), joining.documents)
        else:
            for document in joining.documents:
                await self.stores.take(joining.store, document)
        self.peers.refresh()
        if self.tasks is not None and self.passphrase_file is not None and self.keyring.waits(joining.store):
            self.tasks.start_soon(self._open_joined, joining.store, self.passphrase_file)

    def _called(self, joining: Joining) -> str:
        """The person's own name for a store on a client. An operator of another node does not learn it."""
        if fit_name(joining.name) and not self.stores.taken(joining.name):
            return joining.name
        return next(iter(joining.member.addresses), joining.store.hex()[:16])

    async def _open_joined(self, store: bytes, passphrase_file: Path) -> None:
        """Open a store whose keys came just now, with the passphrase that this node runs with; else `store unlock`
        does.
        """
        held = self.stores.get(store)
        assert held is not None
        try:
            await self.mailboxes.unlock(held, await run_sync(passphrase, passphrase_file))
        except MesyxError as error:
            log.warning("a store that came stays locked: %s", error.what)

    # --- other nodes ------------------------------------------------------------------------------------------------

    async def connect(self, address: str) -> ByteStream:
        """A stream to another node by whichever transport takes its address. Raises Temporary, Permanent."""
        scheme = address.partition("://")[0]
        transports = [each for each in self.of("transport") if isinstance(each.role, Duplex)]
        for each in transports:
            if scheme in each.role.schemes:
                stream: ByteStream = await each.role.connect(address)
                return stream
        known = ", ".join(sorted(s for each in transports for s in each.role.schemes)) or "none"
        raise Permanent(
            f"no transport here speaks {scheme}://",
            f"add [transport.{scheme}] to {self.config.file.name}; it has {known}",
        )

    def dialer(self, name: str) -> Dialer:
        for each in self.of("transport"):
            if each.name == name and isinstance(each.role, Dialer):
                return each.role
        raise Misconfigured(f"via = {name!r} names no transport that dials", "add such a [transport] section")

    def dial_addresses(self) -> tuple[str, ...]:
        """Under which other nodes can reach this one."""
        roles = [each.role for each in self.of("transport")]
        return tuple(role.address for role in roles if isinstance(role, Duplex) and role.address)


class FilterInstances(Mapping[str, Filter]):
    """The filters that are up, in the config's order. One that is down refuses: what it would have judged must not
    slip by.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def __len__(self) -> int:
        return len(self._node.of("filter"))

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in self._node.of("filter"))

    def __getitem__(self, name: str) -> Filter:
        role: Filter | None = next(each.role for each in self._node.of("filter") if each.name == name)
        if role is None:
            raise Temporary(f"the filter {name} is not running")
        return role


class BlobSource:
    """New blobs, and a key for each that is never given twice."""

    def __init__(self, journal: Journal, node: bytes) -> None:
        self._journal = journal
        self._incarnation = os.urandom(16)
        self._count = 0

    def new(self) -> PendingBlob:
        return self._journal.new_blob()

    def key(self, peer: str = "") -> bytes:
        self._count += 1
        return blob_key(os.urandom(32), self._incarnation, peer, time.monotonic_ns(), self._count)
