"""A message's body on its way in: small ones in memory, larger ones sealed to disk chunk by chunk, one blob for each
store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from mesyx_core.api.message import Body, Bytes, Scalar
from mesyx_core.journal import PendingBlob
from mesyx_core.record.content import BlobRef
from mesyx_core.vault.stream import CHUNK, SEALED_CHUNK, BlobSealer, chunk_count, open_chunk

INLINE: Final = 16 * 1024
"""Bodies up to this size go into the entry itself."""
BATCH: Final = 256 * 1024
"""Plaintext gathered in memory before it is sealed and written."""


class Blobs(Protocol):
    """Where sealed bodies go, and what keys they are sealed with."""

    def new(self) -> PendingBlob: ...

    def key(self, peer: str = "") -> bytes:
        """A key for one blob, never given twice; not even by two copies of a machine that draw the same randomness,
        as long as they speak with different peers.
        """


class SealedBody:
    """A body that was streamed into a pending blob; readable while the delivery lasts."""

    def __init__(self, blob: PendingBlob, key: bytes, size: int) -> None:
        self.blob = blob
        self.key = key
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    @property
    def ref(self) -> BlobRef:
        return BlobRef(self.blob.hash, self._size, self.key)

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        end = self._size if stop is None else min(stop, self._size)
        last = chunk_count(self.blob.size) - 1
        for number in range(start // CHUNK, -(-end // CHUNK) if end > start else 0):
            sealed = await self.blob.read(number * SEALED_CHUNK, SEALED_CHUNK)
            plain = open_chunk(self.key, number, number == last, sealed)
            yield plain[max(0, start - number * CHUNK) : end - number * CHUNK]


class Spool:
    """Takes a body in. Up to INLINE it stays in memory; what is larger goes, sealed, to as many blobs as there are
    stores.
    """

    def __init__(
        self, blobs: Blobs, stores: Callable[[], int], envelope: Mapping[str, Scalar] = MappingProxyType({})
    ) -> None:
        """`stores`: how many there are; `envelope` may name the peer that the bytes come from."""
        self._blobs = blobs
        self._envelope = envelope
        self._stores = stores
        self._buffer = bytearray()
        self._sinks: list[tuple[PendingBlob, BlobSealer, bytes]] = []
        self.size = 0

    async def write(self, chunk: bytes) -> None:
        self._buffer += chunk
        self.size += len(chunk)
        if len(self._buffer) > INLINE and (not self._sinks or len(self._buffer) >= BATCH):
            if not self._sinks:
                self._begin()
            await self._flush()

    def _begin(self) -> None:
        peer = " ".join(str(self._envelope.get(name, "")) for name in ("peer", "port"))
        for _ in range(self._stores()):
            key = self._blobs.key(peer)
            self._sinks.append((self._blobs.new(), BlobSealer(key), key))

    async def _flush(self) -> None:
        plain, self._buffer = bytes(self._buffer), bytearray()
        for blob, sealer, _ in self._sinks:
            await blob.write(sealer.update(plain))

    async def finish(self) -> Sequence[Body]:
        """One body for each store; the same one for all when it is in memory."""
        if not self._sinks:
            return [Bytes(bytes(self._buffer))] * self._stores()
        await self._flush()
        bodies = []
        for blob, sealer, key in self._sinks:
            await blob.write(sealer.finish())
            await blob.finish()
            bodies.append(SealedBody(blob, key, self.size))
        return bodies

    def close(self) -> None:
        """Give up what was not committed."""
        for blob, _, _ in self._sinks:
            blob.close()
        self._sinks.clear()
        self._buffer.clear()
