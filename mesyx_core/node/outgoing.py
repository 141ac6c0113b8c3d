"""This node as a gateway's way out: puts the outbox together with the stores, the egresses and the exchange."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import anyio

from mesyx_core.api import Body, Bytes, Egress, Message
from mesyx_core.exchange.service import PeerStatus
from mesyx_core.journal import Draft, Log
from mesyx_core.journal.journal import RowChange
from mesyx_core.mailbox import submitting
from mesyx_core.node import faults
from mesyx_core.node.clock import now
from mesyx_core.node.finding import Finding, finding
from mesyx_core.node.instances import Running
from mesyx_core.outbox.days import Days
from mesyx_core.outbox.jobs import Jobs
from mesyx_core.outbox.outbox import TWICE_REMEDY, Outbox
from mesyx_core.outbox.queue import Job, Schedule
from mesyx_core.pipeline import Content, ToDay
from mesyx_core.pipeline.body import SealedBody, Spool
from mesyx_core.record import content

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

FILE: Final = "days"
FOREIGN: Final = "5.7.1 this gateway has not granted the sender's address to the store: see `mesyx store address`"
LOOK: Final = 600.0
"""Seconds that count at most between two looks at who is connected."""
BREATH: Final = 1.5
"""Seconds for which a start listens on after a session has brought everything: a clone of this node that runs answers
within that time to what this one has published."""


class Outgoing:
    """The outbox of a running node; there is none where nothing can be sent."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._sync = Sync(node)
        self._changed = anyio.Event()
        self.box: Outbox | None = None

    @property
    def wanted(self) -> bool:
        """Whether this node sends for anybody."""
        return self._node.may("accept") and bool(self._node.of("egress"))

    def refresh(self) -> None:
        """The config was read again: there may be an egress now, or one more network."""
        self._changed.set()
        if self.box is not None:
            self.box.wake()

    async def run(self) -> None:
        """Until cancelled, from the first egress on. What ends it, like a full disk, is logged; it starts again."""
        while not self.wanted:
            self._changed = anyio.Event()
            await self._changed.wait()
        await faults.again("the outbox", self._run)

    async def _run(self) -> None:
        node = self._node
        days = Days.open(node.home.state / FILE, node.key.seal_row, node.key.open_row)
        try:
            box = Outbox(node.journal, node.key, days, node.rows, node.stores.authority, NodeWays(node, self._sync))
            await box.load()
            self.box = box
            await box.run()
        finally:
            self.box = None
            days.close()

    def status(self) -> dict[str, Any] | None:
        """For `mesyx status`: counts and reasons, no addresses."""
        if self.box is None:
            return None
        jobs = list(self.box.jobs)
        return {
            "waiting": len(jobs),
            "recipients": sum(len(job.pending) + len(job.trying) for job in jobs),
            "networks": list(self.box.ways.networks()),
            "days": [datetime.fromtimestamp(day.since, UTC).date().isoformat() for day in self.box.days],
            "stopped": self.box.stopped,
            "restored": self.box.restored,
            "waits_for": sorted({self.box.waits(job) for job in jobs} - {""}),
        }

    def signs(self) -> list[str]:
        """What the other members ought to know of this node: words of `node.summary.SIGNS`."""
        if self.box is None:
            return []
        return ["twice"] if self.box.stopped else ["restored"] if self.box.restored else []

    def waiting(self, store: bytes) -> int:
        """How many messages of one store are not finished."""
        return sum(job.store == store for job in self.box.jobs) if self.box is not None else 0

    async def listing(self) -> list[dict[str, Any]]:
        """For `mesyx queue list`: what is not finished, also while the node does not run."""
        if self.box is not None:
            return [self._listed(job, self.box.waits(job)) for job in self.box.jobs]
        jobs = Jobs(self._node.rows)
        await jobs.load()
        return [self._listed(job, "the node is not running") for job in jobs]

    def _listed(self, job: Job, why: str) -> dict[str, Any]:
        words = [one.word for one in job.recipients.values()]
        held = self._node.stores.get(job.store)
        return {
            "id": job.id.hex(),
            "store": held.name if held is not None else job.store.hex()[:16],
            "network": job.network,
            "seconds": max(0, int(now().timestamp()) - job.since),
            "attempts": job.attempt,
            "sent": words.count("sent"),
            "waiting": words.count("later"),
            "failed": len(words) - words.count("sent") - words.count("later"),
            "next": job.due,
            "deadline": job.deadline,
            "waits_for": why,
        }

    def findings(self) -> list[Finding]:
        """For `mesyx doctor`."""
        found: list[Finding] = []
        box = self.box
        if box is None:
            if self.wanted and self._node.live:
                found.append(finding("error", "the outbox is not running: nothing is sent", "see the node's log"))
            return found
        if box.stopped:
            found.append(finding("error", f"{box.stopped}; nothing is sent any more", TWICE_REMEDY))
        elif box.restored:
            remedy = "nothing to do: what it had sent since was heard from the other members; said until the next start"
            found.append(finding("warning", box.restored, remedy))
        for network in sorted({job.network for job in box.jobs}):
            waiting = [job for job in box.jobs if job.network == network]
            if box.ways.egress(network) is None:
                what = f"{len(waiting)} messages wait for an egress for {network}, and none is up"
                found.append(
                    finding("error", what, "see `mesyx status` for why it is down, or add an [egress] section")
                )
        unheard = {job.store for job in box.jobs if not box.ways.in_sync(job.store)}
        if unheard:
            found.append(
                finding(
                    "warning",
                    "messages wait until a session with another member has been in sync since this start",
                    "start the client or another node of the store; they go by themselves after node.resume_after",
                )
            )
        return found


class Sync:
    """Whether this node has heard, since its start, what is known of what it did before."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._began = time.monotonic()
        self._heard: dict[bytes, float] = {}
        self._looked: dict[bytes, float] = {}
        self._waited: dict[tuple[bytes, bytes], float] = {}
        """Seconds that a member was connected without having brought all: a new session begins no new wait."""

    def __call__(self, store: bytes) -> bool:
        patience = float(self._node.config.node.resume_after)
        sessions = [peer for peer in self._node.exchange.peers() if peer.store == store]
        self._count(store, sessions)
        if any(peer.heard_all for peer in sessions):
            self._heard.setdefault(store, time.monotonic())
        if not all(peer.heard_all or self._waited.get((store, peer.node), 0.0) > patience for peer in sessions):
            return False  # what it brings may be requests that were carried out, and only then the news that they were
        if time.monotonic() - self._began > patience or self._alone(store):
            return True
        heard = self._heard.get(store)
        return heard is not None and time.monotonic() - heard >= BREATH

    def _count(self, store: bytes, sessions: Sequence[PeerStatus]) -> None:
        now = time.monotonic()
        passed = min(now - self._looked.get(store, now), LOOK)
        self._looked[store] = now
        for peer in sessions:
            if peer.heard_all:
                self._waited.pop((store, peer.node), None)
            else:
                self._waited[store, peer.node] = self._waited.get((store, peer.node), 0.0) + passed

    def _alone(self, store: bytes) -> bool:
        held = self._node.stores.get(store)
        return held is not None and all(member.node == self._node.key.public for member in held.manifest.members)


class NodeWays:
    """Implements `outbox.ways.Ways`."""

    def __init__(self, node: Node, sync: Sync) -> None:
        self._node = node
        self._sync = sync

    def now(self) -> float:
        return now().timestamp()

    def stores(self) -> Iterable[bytes]:
        me = self._node.key.public
        return [store.id for store in self._node.stores if store.authority.may(me, "accept")]

    def networks(self) -> tuple[str, ...]:
        return tuple(sorted({each.bound.provider.network for each in self._node.of("egress")}))

    def egress(self, network: str) -> Egress | None:
        able = (each for each in self._on(network) if each.health in ("up", "degraded") and each.role is not None)
        role: Egress | None = next((each.role for each in able), None)
        return role

    def schedule(self, network: str) -> Schedule:
        sending = next((each.bound.section.sending for each in self._on(network)), None)
        return Schedule() if sending is None else Schedule(tuple(map(int, sending.retry)), int(sending.give_up))

    def in_sync(self, store: bytes) -> bool:
        return self._sync(store)

    async def objection(self, store: bytes, message: Message) -> str:
        """A manifest says what its owner likes: in whose name this gateway sends, its own operator has granted."""
        if "mail" not in (message.kind, message.network):
            return ""
        head = await submitting.head_of(replace(message, kind="mail"))
        if head.fault:
            return f"5.6.0 {head.fault}"
        foreign = any(self._node.addresses.foreign(each, store) for each in submitting.senders(message, head))
        return FOREIGN if foreign else ""

    async def to_clients(self, store: bytes, data: bytes) -> tuple[Log, Draft]:
        return await self._seal(store, Content(data, target="clients"))

    async def to_day(self, store: bytes, data: bytes, recipient: str) -> tuple[Log, Draft]:
        return await self._seal(store, Content(data, target=ToDay(recipient, clients=True)))

    @asynccontextmanager
    async def letter(self, store: bytes, message: Message) -> AsyncIterator[tuple[Log, Draft]]:
        spool = Spool(self._node.intake.blobs, lambda: 1)
        try:
            async for chunk in message.body.read():
                await spool.write(chunk)
            [body] = await spool.finish()
            yield await self._seal(store, _packed(message, body))
        finally:
            spool.close()

    async def commit(self, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange] = ()) -> list[int]:
        return await self._node.stores.commit(entries, rows)

    async def _seal(self, store: bytes, content: Content) -> tuple[Log, Draft]:
        held = self._node.stores.get(store)
        assert held is not None
        return await held.sealer.seal(content)

    def _on(self, network: str) -> list[Running]:
        return [each for each in self._node.of("egress") if each.bound.provider.network == network]


def _packed(message: Message, body: Body) -> Content:
    if isinstance(body, SealedBody):
        return Content(content.pack(message, body.ref), message.importance, blobs=(body.blob,))
    assert isinstance(body, Bytes)
    return Content(content.pack(message, body.data), message.importance)
