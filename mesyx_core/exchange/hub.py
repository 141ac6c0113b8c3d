"""What all sessions of one store on this node share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol
from weakref import WeakValueDictionary

import anyio

from mesyx_core.journal import Journal
from mesyx_core.record.entry import Origin
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import ManifestError, parse

from .compare import Comparison, Log
from .errors import NotMember, Violation
from .fetch import Claims, Room
from .flow import DIVERGED
from .relay import Way
from .signals import Signals, Switch
from .standing import Standing

Authorities = Callable[[bytes], Authority | None]
TakeManifest = Callable[[bytes, bytes], Awaitable[None]]


class Attached(Way, Protocol):
    """A session's connection, as the hub needs it."""

    def grew(self, log: Log, seq: int) -> None: ...

    async def heads_changed(self) -> None: ...

    def blob_arrived(self, blob: bytes) -> None: ...

    def peer_holds(self, log: Log, seq: int) -> None: ...


class Hub:
    """One store's sessions."""

    def __init__(
        self,
        store: bytes,
        journal: Journal,
        authority: Authorities,
        on_manifest: TakeManifest,
        on_blob: Callable[[bytes, bytes], None],
        on_branch: Callable[[bytes, Log], None],
        signals: Signals,
        room: Room,
    ) -> None:
        self.store: Final = store
        self.journal: Final = journal
        self.claims: Final = Claims()
        self.room: Final = room
        self.attached: Final[set[Attached]] = set()
        self.now: Final = signals.now
        self._own: Final = signals.key.public
        self.switch: Final = Switch(store, signals, self.standing, self.attached)
        self.acked: Final[dict[bytes, dict[Log, int]]] = {}
        """By node, what is known to be durable there, also after its session has ended."""
        self.forgot: Final[dict[bytes, float]] = {}
        """By node, when it last turned out to hold less than it had said or, of this node itself, than it had written;
        Unix seconds."""
        self.left: Final[dict[bytes, float]] = {}
        """By node, when its last session ended; Unix seconds."""
        self._authority = authority
        self._on_manifest = on_manifest
        self._on_blob = on_blob
        self._on_branch = on_branch
        self._standing: Standing | None = None
        self._documents: dict[bytes, bytes] = {}
        self._taking = anyio.Lock()
        self._locks: WeakValueDictionary[Log, anyio.Lock] = WeakValueDictionary()

    def standing(self) -> Standing:
        """Raises NotMember when this node does not hold the store (any more)."""
        authority = self._authority(self.store)
        if authority is None:
            raise NotMember("this node does not hold the store")
        if self._standing is None or self._standing.authority is not authority:
            self._standing = Standing(authority)
        return self._standing

    async def comparison(self) -> Comparison:
        """Of all that is held and valid, now."""
        return Comparison(self.store, self.standing().valid(await self.journal.heads(self.store)))

    def lock(self, log: Log) -> anyio.Lock:
        """Held while entries of this log are taken in."""
        lock = self._locks.get(log)
        if lock is None:
            lock = self._locks[log] = anyio.Lock()
        return lock

    # --- manifests ----------------------------------------------------------------------------------------------------

    async def documents(self) -> dict[bytes, bytes]:
        """All manifests held by hash, parents first."""
        held = await self.journal.manifests(self.store)
        if len(held) != len(self._documents):
            manifests = sorted(((parse(document), document) for document in held), key=lambda one: one[0].number)
            self._documents = {manifest.hash: document for manifest, document in manifests}
        return self._documents

    async def take(self, document: bytes) -> bool:
        """Keep a manifest that succeeds those held; False if it is held already. Raises Violation."""
        async with self._taking:
            authority = self.standing().authority
            try:
                if authority.accepts(document) is authority:
                    return False
            except ManifestError as error:
                raise Violation(f"the peer presented a manifest that cannot be taken ({error})") from None
            await self._on_manifest(self.store, document)
            return True

    async def announce(self) -> None:
        """The manifests' heads have changed: tell every peer, and judge them anew."""
        for one in tuple(self.attached):
            await one.heads_changed()

    # --- news ---------------------------------------------------------------------------------------------------------

    def grew(self, log: Log, seq: int) -> None:
        """The journal has this log up to `seq`."""
        if self._authority(self.store) is None:  # the store is being dropped
            return
        if log[0] == self._own and not self.journal.began(Origin(self.store, *log)):
            self.forgot[self._own] = self.now()
        for one in self.attached:
            one.grew(log, seq)

    def blob_arrived(self, blob: bytes) -> None:
        """The journal holds this blob whole."""
        self._on_blob(self.store, blob)
        for one in self.attached:
            one.blob_arrived(blob)

    def told(self, peer: bytes, positions: Mapping[Log, int], held: Mapping[Log, int]) -> None:
        """A comparison has found how far a peer holds logs that are held here so far. It may have forgotten what it had
        said to hold, as when it was restored from a backup: then it is not believed any longer."""
        known = self.acked.get(peer, {})
        less = {log: seq for log, seq in positions.items() if seq < min(known.get(log, 0), held.get(log, 0))}
        if less:
            known.update(less)
            self.forgot[peer] = self.now()

    def declined(self, logs: Mapping[Log, int]) -> None:
        """A peer does not take these logs, and why. Of a log of this node's it may hold another branch."""
        for log, reason in logs.items():
            if log[0] == self._own and reason == DIVERGED:
                self._on_branch(self.store, log)

    def ended(self, one: Attached, acked: Mapping[Log, int]) -> None:
        """A session has ended in which this was known to be durable at the peer. A newer session knows better."""
        self.attached.discard(one)
        self.left[one.peer] = self.now()
        if not any(other.peer == one.peer for other in self.attached):
            self.acked.setdefault(one.peer, {}).update(acked)

    def peer_holds(self, peer: bytes, log: Log, seq: int) -> None:
        """Several sessions with one peer know the same of it."""
        for one in self.attached:
            if one.peer == peer:
                one.peer_holds(log, seq)
