"""The exchange of one node: sessions on streams, against its journal."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

import anyio
from anyio.abc import ByteStream
from pydantic import JsonValue

from mesyx_core.api import MesyxError, Refused
from mesyx_core.journal import Journal
from mesyx_core.record.entry import Origin
from mesyx_core.vault.nodekey import NodeKey

from . import link
from .compare import Log
from .connection import PACE, Connection, Pace
from .errors import InvitationRefused, NotMember
from .fetch import Room
from .frames import NONCE_SIZE, About, Hello, Join, Open
from .hub import Authorities, Hub, TakeManifest
from .invitation import Invitation
from .join import ANSWER_SECONDS, Door, OnJoined, Prepare, redeem
from .register import Register
from .rescue import Rescue, rescue
from .session import Phase, Session, Signer
from .signals import PATIENCE, Signals, Switch
from .talk import Talk, ending

ROOM: Final = Room()
_REMEMBERED: Final = 50


class PeerStatus(NamedTuple):
    """One session, for `mesyx status`."""

    store: bytes
    node: bytes
    """The peer's public key."""
    dialled: bool
    """By this node."""
    running: bool
    """Opened, manifests agreed."""
    since: float
    """Unix seconds."""
    sent: int
    """Bytes, inside TLS."""
    received: int
    waiting: int
    """Entries held here and not yet known to be durable there."""
    settled: bool
    """Compared, and all sent and acknowledged."""
    heard_all: bool
    """What the peer held when the session began is held here, too."""
    acked: Mapping[Log, int]
    """(node, incarnation) of each log to the number up to which it is durable at the peer."""
    declined: Mapping[Log, int]
    """Logs that one of the two does not take: flow.NOT_ALLOWED, flow.DIVERGED."""


class Refusal(NamedTuple):
    """A stream that was turned away, for `mesyx status`."""

    time: float
    """Unix seconds."""
    reason: str


async def _nobody(joining: object) -> None:
    raise Refused("this node takes no invitations")


class Exchange:
    """Runs sessions with other nodes. Make it while the journal is open; it needs no closing of its own."""

    def __init__(
        self,
        journal: Journal,
        key: NodeKey,
        *,
        authority: Authorities,
        on_manifest: TakeManifest,
        name: str = "",
        on_joined: OnJoined = _nobody,
        on_blob: Callable[[bytes, bytes], None] = lambda store, blob: None,
        on_branch: Callable[[bytes, Log], None] = lambda store, log: None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os.urandom,
        pace: Pace = PACE,
        room: Room = ROOM,
    ) -> None:
        """`authority` gives what is in effect for a store, None for one that is not held here.

        `on_manifest(store, document)` keeps a manifest that was checked to succeed those held: once it returns,
        `authority` gives the newer view. `on_joined` takes over a store that came with an invitation: manifests kept,
        store added; it must be harmless to repeat, and may refuse by raising. `on_blob(store, hash)` is called when a
        blob was received whole. `on_branch(store, log)` is called, maybe often, while a peer holds another branch of a
        log of this node: what is added to it will not reach that peer. `now` is Unix seconds. `room`: which blobs are
        fetched.
        """
        # glibc gives freed memory back above a threshold, and asks for it anew at every frame: up to 10 µs an entry.
        # One large block, freed, raises that threshold (mallopt(3), M_MMAP_THRESHOLD); elsewhere this does nothing.
        bytes(8 << 20)
        self.register: Final = Register(journal, key)
        """Invitations issued by this node."""
        self.refusals: Final[deque[Refusal]] = deque(maxlen=_REMEMBERED)
        self._journal = journal
        self._key = key
        self._authority = authority
        self._on_manifest = on_manifest
        self._on_blob = on_blob
        self._on_branch = on_branch
        self._now = now
        self._monotonic = monotonic
        self._random = random
        self._pace = pace
        self._room = room
        self._door = Door(key, name, self.register, authority, on_joined, now)
        self._server_context = link.server_context(key)
        self._client_context = link.client_context()
        self._hubs: dict[bytes, Hub] = {}
        self.signals: Final = Signals(key, now, monotonic, random)
        """`answers` and `hears` are handlers by the name of what they answer or hear."""
        self.signals.connect(self._switch)
        self._connections: set[Connection] = set()
        self._acks = anyio.Event()
        journal.on_commit(self._grew)

    # --- streams ------------------------------------------------------------------------------------------------------

    async def accept(self, stream: ByteStream, welcome: Callable[[], None] = lambda: None) -> None:
        """Serve a stream on which another node dialled; returns when it ends, and raises nothing: what went wrong is in
        `refusals`. The stream is closed. `welcome` is called, again and again, once a member's session runs on it."""
        try:
            await self._accept(stream, welcome)
        except MesyxError as error:
            self.refusals.append(Refusal(self._now(), error.what))

    async def dial(self, stream: ByteStream, store: bytes, node: bytes) -> None:
        """Run a session about `store` with the node of this public key, on a stream that leads to it; returns when the
        stream ends, and closes it. Raises LinkFailed, WrongNode, NotMember, PeerEnded, Violation."""
        hub = self._hub(store)
        if hub is None or not hub.standing().member(node):
            await anyio.aclose_forcefully(stream)
            raise NotMember("that node is not a member of the store")
        stream = await link.dial(stream, self._client_context, node)
        session = Session(dialled=True, server=node)
        async with ending(stream, session):
            await Talk(stream, session, self._pace.open).hear(Hello)
            session.open(self._key, store, hub.standing().authority.heads, await hub.comparison())
            await self._run(hub, stream, session, node, None)

    async def join(self, stream: ByteStream, invitation: Invitation, store: bytes, prepare: Prepare) -> About:
        """Redeem an invitation on a stream that leads to the node which issued it, and close the stream. `prepare` gets
        what the node says of itself (its recipient, the roles and mail addresses it grants), and returns what it is
        shown. Raises InvitationRefused with the reason that the
        node gave, LinkFailed, WrongNode, Violation."""
        if invitation.expired(self._now()):
            await anyio.aclose_forcefully(stream)
            raise InvitationRefused("this invitation has expired", "ask for a new one")
        stream = await link.dial(stream, self._client_context, invitation.node)
        session = Session(dialled=True, server=invitation.node)
        async with ending(stream, session):
            talk = Talk(stream, session, ANSWER_SECONDS)
            await talk.hear(Hello)
            return await redeem(talk, invitation, self._key, store, prepare)

    async def rescue(self, stream: ByteStream, store: bytes, owner: Signer, prepare: Rescue) -> bytes:
        """As the owner of a store that this node does not hold, have a member show its manifests, and present the one
        that `prepare` makes of them and of the member's key; closes the stream. The member's key. Raises what `prepare`
        raises, NotMember when that node does not know the key as the store's owner, LinkFailed, Violation.
        """
        stream, node = await link.meet(stream, self._client_context)
        session = Session(dialled=True, server=node)
        async with ending(stream, session):
            talk = Talk(stream, session, ANSWER_SECONDS)
            await talk.hear(Hello)
            await rescue(talk, store, owner, lambda documents: prepare(documents, node))
        return node

    # --- for the node -------------------------------------------------------------------------------------------------

    def peers(self) -> list[PeerStatus]:
        """All sessions, now."""
        return [
            PeerStatus(
                one.store,
                one.peer,
                one.session.dialled,
                one.running,
                self._now() - (self._monotonic() - one.since),
                one.session.sent,
                one.session.received,
                one.session.flow.waiting,
                one.running and one.session.flow.settled,
                one.heard_all,
                dict(one.session.flow.acked),
                one.declined,
            )
            for one in self._connections
        ]

    async def manifests_changed(self, store: bytes) -> None:
        """Call it after this node's own manifests of a store have changed other than by `on_manifest`."""
        hub = self._hubs.get(store)
        if hub is not None:
            await hub.announce()

    def acked(self, store: bytes, node: bytes) -> Mapping[Log, int]:
        """What is known to be durable at a node of a store, also from sessions that have ended since the start."""
        hub = self._hubs.get(store)
        known = dict(hub.acked.get(node, {})) if hub else {}
        for one in self._connections:
            if (one.store, one.peer) == (store, node):
                known.update(one.session.flow.acked)
        return known

    def forgot(self, store: bytes) -> Mapping[bytes, float]:
        """Nodes of a store, this one among them, that turned out since this start to hold less than they had said or
        written, as one does that was restored from a backup; and when, in Unix seconds."""
        hub = self._hubs.get(store)
        return dict(hub.forgot) if hub else {}

    async def replicated(self, origin: Origin, seq: int) -> bytes:
        """Wait until some peer holds a log durably up to `seq`; returns its public key."""
        log = (origin.node, origin.incarnation)
        while True:
            for one in self._connections:
                if one.store == origin.store and one.session.flow.acked.get(log, 0) >= seq:
                    return one.peer
            await self._acks.wait()

    # --- signals ------------------------------------------------------------------------------------------------------

    def ask(
        self, store: bytes, node: bytes, name: str, value: JsonValue = None, seconds: float = PATIENCE
    ) -> AsyncGenerator[JsonValue, None]:
        """Ask a member of the store, however many others are between, and get its answers as they come; at most two
        minutes. Close the iterator when no more are wanted. Raises NoAnswer, what the other node refuses with, and
        Refused for what cannot be asked."""
        return self.signals.ask(store, node, name, value, seconds)

    def tell(self, store: bytes, node: bytes, name: str, value: JsonValue = None) -> bool:
        """An event to a member of the store. It may be lost; False when it is lost already. Raises Refused for what
        cannot be said."""
        return self.signals.tell(store, node, name, value)

    def attached(self, store: bytes) -> AbstractContextManager[None]:
        """While a person's program wants to hear of events: holds a lease at the store's gateways, as `run` renews
        it."""
        return self.signals.leases.attached(store)

    def leases(self, store: bytes) -> Collection[bytes]:
        """Nodes of clients that have a program attached."""
        return self.signals.leases.of(store)

    async def run(self) -> None:
        """Renew leases, until cancelled."""
        await self.signals.leases.renew()

    def heard_of(self, store: bytes, node: bytes) -> float | None:
        """When a member was last heard of since the start, in Unix seconds: now while it is connected."""
        hub = self._hubs.get(store)
        if hub is None:
            return None
        if any(one.peer == node and one.running for one in hub.attached):
            return self._now()
        known = [one[node] for one in (hub.left, hub.switch.heard_of) if node in one]
        return max(known, default=None)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _accept(self, stream: ByteStream, welcome: Callable[[], None]) -> None:
        stream = await link.accept(stream, self._server_context)
        session = Session(dialled=False, server=self._key.public, nonce=self._random(NONCE_SIZE))
        async with ending(stream, session):
            talk = Talk(stream, session, self._pace.open)
            await talk.flush()
            asked = await talk.opening()
            if isinstance(asked, Join):
                talk.patience(ANSWER_SECONDS)
                await self._door.admit(talk, asked)
                return
            hub = self._hub(asked.store)
            if hub is None:
                raise NotMember("this node is not a member of the store")
            await self._run(hub, stream, session, asked.key, asked, welcome)

    async def _run(
        self,
        hub: Hub,
        stream: ByteStream,
        session: Session,
        peer: bytes,
        opened: Open | None,
        welcome: Callable[[], None] = lambda: None,
    ) -> None:
        def heard() -> None:
            self._heard()
            if session.phase is Phase.RUNNING:
                welcome()

        connection = Connection(
            hub, stream, session, peer, opened=opened, pace=self._pace, monotonic=self._monotonic, heard=heard
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def _hub(self, store: bytes) -> Hub | None:
        """None for a store that is not held here."""
        if self._authority(store) is None:
            self._hubs.pop(store, None)
            return None
        hub = self._hubs.get(store)
        if hub is None:
            hub = self._hubs[store] = Hub(
                store,
                self._journal,
                self._authority,
                self._on_manifest,
                self._on_blob,
                self._on_branch,
                self.signals,
                self._room,
            )
        return hub

    def _switch(self, store: bytes) -> Switch | None:
        hub = self._hub(store)
        return hub.switch if hub is not None else None

    def _grew(self, origin: Origin, seq: int) -> None:
        hub = self._hubs.get(origin.store)
        if hub is not None:
            hub.grew((origin.node, origin.incarnation), seq)

    def _heard(self) -> None:
        acks, self._acks = self._acks, anyio.Event()
        acks.set()
