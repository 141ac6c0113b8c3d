"""What the outbox needs of the node it works in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from mesyx_core.api import Egress, Message
from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.journal.journal import RowChange
from mesyx_core.outbox.queue import Schedule
from mesyx_core.record.content import BlobRef
from mesyx_core.vault.stream import CHUNK, SEALED_CHUNK, chunk_count, open_chunk, sealed_size


class Ways(Protocol):
    """Clock, stores, egresses, and the way into the log."""

    def now(self) -> float:
        """Unix seconds."""

    def stores(self) -> Iterable[bytes]:
        """Those for which this node is a gateway."""

    def networks(self) -> tuple[str, ...]:
        """On which it sends."""

    def egress(self, network: str) -> Egress | None:
        """Whoever sends on a network; None while nobody can."""

    def schedule(self, network: str) -> Schedule: ...

    def in_sync(self, store: bytes) -> bool:
        """Whether this node has heard what its own earlier runs and the other members have written: before that it must
        not send."""

    async def objection(self, store: bytes, message: Message) -> str:
        """Why a message may not go out for a store, as when it is in the name of another's; empty when it may."""

    async def to_clients(self, store: bytes, data: bytes) -> tuple[Log, Draft]:
        """Sealed to the store's clients."""

    async def to_day(self, store: bytes, data: bytes, recipient: str) -> tuple[Log, Draft]:
        """Sealed to the store's clients and a recipient of the day."""

    def letter(self, store: bytes, message: Message) -> AbstractAsyncContextManager[tuple[Log, Draft]]:
        """A message for the person whose store it is, sealed as any other, to be committed inside the scope."""

    async def commit(self, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange] = ()) -> list[int]:
        """Raises Temporary; then nothing was kept."""


class BlobBody:
    """A message's body in a blob that the journal holds. Implements `api.Body`."""

    def __init__(self, journal: Journal, ref: BlobRef) -> None:
        self._journal = journal
        self._ref = ref

    @property
    def size(self) -> int:
        return self._ref.size

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        end = self.size if stop is None else min(stop, self.size)
        last = chunk_count(sealed_size(self.size)) - 1
        for number in range(start // CHUNK, -(-end // CHUNK) if end > start else 0):
            sealed = await self._journal.read_blob(self._ref.hash, number * SEALED_CHUNK, SEALED_CHUNK)
            plain = open_chunk(self._ref.key, number, number == last, sealed)
            yield plain[max(0, start - number * CHUNK) : end - number * CHUNK]
