"""One store's sealing on this node: opens and closes epochs in this node's log and seals contents into them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Protocol, TypeAlias

import anyio

from mesyx_core.api.errors import Refused, Temporary
from mesyx_core.api.message import Importance
from mesyx_core.journal import Draft, Log, PendingBlob
from mesyx_core.record import outgoing, payloads
from mesyx_core.record.entry import Kind
from mesyx_core.record.payloads import CLIENTS, Target
from mesyx_core.vault import age, epoch, seal
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.keyset import select
from mesyx_core.vault.manifest import Manifest


class ToDay(NamedTuple):
    """To a gateway's recipient of the day: what a client asks of it, for nobody else's eyes; and, with the client
    recipients, what the gateway says of that."""

    recipient: str
    clients: bool = False


class ToNode(NamedTuple):
    """To one member node alone."""

    node: bytes


Aim: TypeAlias = Target | ToDay
TargetKind: TypeAlias = Literal["message", "clients"]


class Content(NamedTuple):
    """Packed content on its way into one store's log."""

    data: bytes
    importance: Importance = "normal"
    target: TargetKind | ToDay | ToNode = "message"
    """A message goes to a keyset, an op to the client recipients."""
    blobs: tuple[PendingBlob, ...] = ()


class Commit(Protocol):
    async def __call__(self, entries: Sequence[tuple[Log, Draft]]) -> list[int]: ...


@dataclass(slots=True)
class Running:
    """An open epoch and what ends it."""

    log: Log
    epoch: epoch.Epoch
    recipients: Sequence[str]
    began: datetime
    until: datetime


class Chosen(NamedTuple):
    """A keyset, and for how long it stays the right one."""

    manifest: Manifest
    since: int
    until: int
    target: Target


class Salts:
    """Randomness for padding, drawn in one call for many messages: a call into the system costs as much as the sealing.
    [For this alone: clones of a machine may hold the same salts, and sealing stays safe; seeds they must not share.]"""

    __slots__ = ("_at", "_pool", "_random")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._pool = b""
        self._at = 0

    def take(self, n: int) -> bytes:
        """Bytes that were not given before."""
        if self._at + n > len(self._pool):
            self._pool = self._random(256 * n)
            self._at = 0
        self._at += n
        return self._pool[self._at - n : self._at]


class Sealer:
    """Seals for one store. An epoch's seed is in the log, durable, before anything is sealed in it: a commit that
    fails later burns
    an index and never leaves entries without their seed."""

    def __init__(
        self,
        store: bytes,
        *,
        begin: Callable[[], Awaitable[Log]],
        authority: Callable[[], Authority],
        commit: Commit,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self.store = store
        self.log: Log | None = None
        """This node's incarnation; begun when there is something to write."""
        self._begin = begin
        self._authority = authority
        self._commit = commit
        self._now = now
        self._random = random
        self._salts = Salts(random)
        self._chosen: dict[Importance, Chosen] = {}
        self._running: dict[Aim, Running] = {}
        self._closing: dict[int, Draft] = {}
        """By number, the close entries of ended epochs that are not durable yet."""
        self._opening = anyio.Lock()
        self._number = 0
        self._last_began = 0

    async def seal(self, content: Content) -> tuple[Log, Draft]:
        """The entry's draft and the log it is sealed for, to be committed at once. Its index is burnt whatever
        becomes of it.
        """
        now = self._now()
        running = await self._epoch(self._aim(content, now), now)
        index, key = running.epoch.take()
        blobs = tuple([(blob.hash, blob.size) for blob in content.blobs])
        context = seal.Context(*running.log.origin, Kind.SEALED, running.epoch.number, index, blobs)
        synthetic, payload = seal.seal(key, context, content.data, self._salts.take)
        return running.log, Draft(Kind.SEALED, running.epoch.number, index, synthetic, payload, content.blobs)

    async def mark(self, kind: Kind, payload: bytes) -> tuple[Log, Draft]:
        """An entry in clear that says something of others, for this node's log."""
        async with self._opening:
            if self.log is None:
                self.log = await self._begin()
            return self.log, Draft(kind, 0, 0, b"", payload)

    def abandon(self) -> None:
        """The incarnation is over, whatever it has on disk; what comes next begins another, with epochs of its own."""
        self.log = None
        self._running.clear()
        self._closing.clear()
        self._number = 0

    async def tidy(self) -> None:
        """Close the epochs whose time is over, though nothing more is to be sealed: their keys are forgotten, and
        clients can re-encrypt them."""
        async with self._opening:
            now = self._now()
            for aim, running in list(self._running.items()):
                if now >= running.until:
                    self._end(aim)
            if self.log is not None and self._closing:
                await self._write(self.log, [])

    async def close(self) -> None:
        """Close all open epochs, before the log ends."""
        async with self._opening:
            for aim in list(self._running):
                self._end(aim)
            if self.log is not None and self._closing:
                await self._write(self.log, [])

    def _aim(self, content: Content, now: datetime) -> Aim:
        if isinstance(content.target, ToDay):
            return content.target
        if isinstance(content.target, ToNode):
            return Target("node", content.target.node)
        if content.target == "clients":
            return CLIENTS
        return self._keyset(content.importance, int(now.timestamp()))

    def _keyset(self, importance: Importance, now: int) -> Target:
        """The choice holds until any keyset begins or ends, the manifest changes, or the clock goes back."""
        manifest = self._authority().effective
        known = self._chosen.get(importance)
        if known is not None and known.manifest is manifest and known.since <= now < known.until:
            return known.target
        chosen = select(manifest.keysets, now, importance, manifest.closed, last_epoch=self._last_began)
        if chosen is None:
            raise Temporary(
                "no keyset of the store is open for this message", "add one on a client with `mesyx keyset add`"
            )
        turns = [time for keyset in manifest.keysets for time in (keyset.start, keyset.end) if time and time > now]
        target = Target("keyset", chosen.id)
        self._chosen[importance] = Chosen(manifest, now, min(turns, default=now + epoch.LIFETIME), target)
        return target

    def _recipients(self, aim: Aim) -> Sequence[str]:
        manifest = self._authority().effective
        if isinstance(aim, ToDay):
            return (*manifest.clients, aim.recipient) if aim.clients else (aim.recipient,)
        if aim.kind == "clients":
            return manifest.clients
        if aim.kind == "node":
            member = next((m for m in manifest.members if m.node == aim.id), None)
            if member is None:
                raise Refused("that node is no member of the store", "see `mesyx store show NAME` for those that are")
            return (member.recipient,)
        return next(k.recipients for k in manifest.keysets if k.id == aim.id)

    def _usable(self, aim: Aim, now: datetime) -> Running | None:
        running = self._running.get(aim)
        if running is None or not running.epoch.left or not running.began <= now < running.until:
            return None
        if not _fixed(aim) and running.recipients != self._recipients(aim):
            return None  # a keyset never changes, but these: who was taken out must not read on to the epoch's end
        return running

    async def _epoch(self, aim: Aim, now: datetime) -> Running:
        running = self._usable(aim, now)
        if running is not None:
            return running
        async with self._opening:
            return self._usable(aim, self._now()) or await self._open(aim)

    async def _open(self, aim: Aim) -> Running:
        """Close what ran for this target, draw a seed and make it durable, sealed."""
        if self.log is None:
            self.log = await self._begin()
        log, now = self.log, self._now()
        if aim in self._running:
            self._end(aim)
        self._number += 1
        seed = bytearray(self._random(epoch.SEED_SIZE))
        recipients = self._recipients(aim)
        sealed = age.encrypt(bytes(seed), recipients)
        opened = epoch.Epoch.begin(*log.origin, self._number, seed)
        shown = payloads.Epoch(_target(aim), opened.commitment, sealed)
        await self._write(log, [Draft(Kind.EPOCH, self._number, 0, opened.commitment, shown.encode())])
        running = Running(log, opened, recipients, now, self._until(aim, now))
        if log is self.log:
            self._running[aim] = running
            self._last_began = max(self._last_began, int(now.timestamp()))
        return running

    def _until(self, aim: Aim, now: datetime) -> datetime:
        until = now + timedelta(seconds=epoch.LIFETIME)
        if isinstance(aim, Target) and aim.kind == "keyset":
            end = next(k.end for k in self._authority().effective.keysets if k.id == aim.id)
            if end is not None:
                until = min(until, datetime.fromtimestamp(end, tz=now.tzinfo))
        return until

    def _end(self, aim: Aim) -> None:
        """Forget an epoch's keys. Its close entry goes with the next commit, and if that fails with the one after."""
        ended = self._running.pop(aim).epoch
        used = epoch.LEAVES - ended.left
        ended.end()
        self._closing[ended.number] = Draft(Kind.CLOSE, ended.number, 0, b"", payloads.Close(used).encode())

    async def _write(self, log: Log, drafts: Sequence[Draft]) -> None:
        closing = list(self._closing.values())
        await self._commit([(log, draft) for draft in (*closing, *drafts)])
        if log is self.log:
            for draft in closing:
                self._closing.pop(draft.epoch, None)


def _target(aim: Aim) -> Target:
    """As an epoch entry shows it."""
    return Target("day", outgoing.day_id(aim.recipient)) if isinstance(aim, ToDay) else aim


def _fixed(aim: Aim) -> bool:
    """Whether its recipients can never change."""
    return not aim.clients if isinstance(aim, ToDay) else aim.kind == "keyset"
