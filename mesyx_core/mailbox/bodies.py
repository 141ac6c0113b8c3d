"""Bodies that lie in blobs: fetched, opened and handed on chunk by chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from mesyx_core.api import Temporary
from mesyx_core.journal import Journal
from mesyx_core.record.content import BlobRef
from mesyx_core.vault.stream import CHUNK, SEALED_CHUNK, StreamError, chunk_count, open_chunk, sealed_size


class BodyDamaged(Temporary):
    """A blob is not what was sealed."""


@dataclass(frozen=True, slots=True)
class BlobBody:
    """A Body whose chunks are read when they are wanted."""

    journal: Journal
    ref: BlobRef

    @property
    def size(self) -> int:
        return self.ref.size

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """As api.Body. Raises BlobAbsent, BodyDamaged."""
        start, stop, _ = slice(start, stop).indices(self.ref.size)
        if start >= stop:
            return
        for number in range(start // CHUNK, (stop - 1) // CHUNK + 1):
            sealed = await self.journal.read_blob(self.ref.hash, number * SEALED_CHUNK, SEALED_CHUNK)
            begin = number * CHUNK
            yield self._chunk(number, sealed)[max(start - begin, 0) : stop - begin]

    def chunks(self) -> Iterator[bytes]:
        """All of it, for a caller in a thread of its own. Raises BlobAbsent, BodyDamaged."""
        left = self.ref.size
        for number in range(-(-left // CHUNK)):
            sealed = self.journal.blob(self.ref.hash, number * SEALED_CHUNK, SEALED_CHUNK)
            yield self._chunk(number, sealed)[:left]
            left -= CHUNK

    async def whole(self) -> bytes:
        """All of it at once."""
        return b"".join([chunk async for chunk in self.read()])

    def _chunk(self, number: int, sealed: bytes) -> bytes:
        try:
            return open_chunk(self.ref.key, number, number == chunk_count(sealed_size(self.ref.size)) - 1, sealed)
        except StreamError:
            raise BodyDamaged("a message's blob is not what was sealed") from None
