"""A store with one keyset, and a log that keeps drafts in memory: enough to watch the pipeline seal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mesyx_core.api import Temporary
from mesyx_core.pipeline import Sealer
from mesyx_core.record import payloads
from mesyx_core.record.content import Content, unpack
from mesyx_core.record.entry import Kind, Origin
from mesyx_core.vault import age, seal
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.epoch import SeedReader
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Manifest, Member, next_commitment, owner_public, sign
from mesyx_core.vault.nodekey import NodeKey

GATEWAY = NodeKey(b"g" * 32)
READER = age.generate(random=lambda n: b"r" * n)
CLIENT = age.generate(random=lambda n: b"c" * n)
OWNER = b"o" * 32


def authority(
    *keysets: Keyset, closed: frozenset[bytes] = frozenset(), clients: tuple[str, ...] = (CLIENT.recipient,)
) -> Authority:
    manifest = Manifest(
        owner=owner_public(OWNER),
        next_owner=next_commitment(owner_public(b"n" * 32)),
        members=(Member(GATEWAY.public, GATEWAY.recipient, frozenset({"accept", "exchange"})),),
        keysets=keysets or (Keyset((READER.recipient,), fallback=True),),
        clients=clients,
        closed=closed,
    )
    return Authority.of([sign(manifest, OWNER)])


@dataclass
class FakeLog:
    """What `Sealer` needs of a log."""

    origin: Origin
    seq: int = 0


@dataclass
class Blob:
    """A pending blob in memory."""

    data: bytearray = field(default_factory=bytearray)
    closed: bool = False

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    async def write(self, data: bytes) -> None:
        self.data += data

    async def finish(self) -> tuple[bytes, int]:
        return self.hash, self.size

    async def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def close(self) -> None:
        self.closed = True


class Disk:
    """Commits that are kept in memory, or fail when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        self.entries: list[tuple[FakeLog, Any]] = []
        self.commits = 0
        self.fail = 0
        self.begun = 0
        self.made: list[Blob] = []
        self.peers: list[str] = []
        self.authority = authority()
        self.drawn = 0

    def sealer(self) -> Sealer:
        return Sealer(
            self.authority.store,
            begin=self._begin,
            authority=lambda: self.authority,
            commit=self.commit,
            now=lambda: self.now,
            random=self.random,
        )

    def random(self, n: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_128(str(self.drawn).encode()).digest(n)

    async def _begin(self) -> Any:
        self.begun += 1
        return FakeLog(Origin(self.authority.store, GATEWAY.public, bytes([self.begun]) * 16))

    async def commit(self, entries: Sequence[tuple[Any, Any]], rows: Sequence[Any] = ()) -> list[int]:
        self.commits += 1
        if self.fail:
            self.fail -= 1
            raise Temporary("the disk is full")
        seqs = []
        for log, draft in entries:
            log.seq += 1
            seqs.append(log.seq)
            self.entries.append((log, draft))
        return seqs

    # blobs
    def new(self) -> Any:
        self.made.append(Blob())
        return self.made[-1]

    def key(self, peer: str = "") -> bytes:
        self.peers.append(peer)
        return self.random(32)

    def later(self, **span: int) -> None:
        self.now += timedelta(**span)

    def of(self, kind: Kind) -> list[Any]:
        return [draft for _, draft in self.entries if draft.kind == kind]

    def opened(self) -> list[Content]:
        """Every sealed entry, opened as a client would: by the epoch entry before it."""
        seeds: dict[tuple[Origin, int], SeedReader] = {}
        found = []
        for log, draft in self.entries:
            if draft.kind == Kind.EPOCH:
                epoch = payloads.decode_epoch(draft.payload)
                identity = CLIENT if epoch.target.kind == "clients" else READER
                seeds[log.origin, draft.epoch] = SeedReader(age.decrypt(epoch.file, [identity]))
            if draft.kind == Kind.SEALED:
                blobs = tuple((b.hash, b.size) for b in draft.blobs)
                context = seal.Context(*log.origin, kind=Kind.SEALED, epoch=draft.epoch, index=draft.index, blobs=blobs)
                key = seeds[log.origin, draft.epoch].leaf(draft.index)
                found.append(unpack(seal.open_(key, context, draft.s, draft.payload)))
        return found
