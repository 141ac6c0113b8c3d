"""The journal: the one door to a node's logs, blobs and rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from mesyx_core.journal.blobs import Partial, PendingBlob
from mesyx_core.journal.log import Draft, Log
from mesyx_core.record.checkpoint import Signer, Trail
from mesyx_core.record.digest import Head
from mesyx_core.record.entry import Entry, Origin

RowChange: TypeAlias = tuple[str, str, bytes | None]
"""(space, key, value); None removes."""


class Journal:
    """All of a node's stores on disk. Made by `open`; every method is for the event loop that opened it."""

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, *, url: str | None = None, durable: bool = True) -> AsyncIterator[Journal]:
        """Open or make the journal in `folder`; on leaving, what was queued is committed first.

        `url` is a SQLAlchemy database URL, by default SQLite inside the folder. Not `durable` means that a power cut
        may take the last commits (a killed process never does). Raises InUse, Unreadable.
        """
        yield cls()

    # --- stores -------------------------------------------------------------------------------------------------------

    async def stores(self) -> list[tuple[bytes, str]]:
        """(id, name) of every store held, in the order they were added."""
        raise RuntimeError

    async def add_store(self, store: bytes, name: str) -> None:
        """Hold a store from now on; a second time renames it."""
        raise RuntimeError

    async def remove_store(self, store: bytes) -> None:
        """Drop a store with its logs, manifests and blobs. Its running logs must have been ended."""
        raise RuntimeError

    async def manifests(self, store: bytes) -> list[bytes]:
        """The documents held, in the order they came."""
        raise RuntimeError

    async def put_manifest(self, store: bytes, hash: bytes, document: bytes) -> None:
        """Keep a document; harmless to repeat."""
        raise RuntimeError

    async def usage(self, store: bytes) -> int:
        """Bytes of entries and blobs that the store has here; from memory, so cheap enough to ask at every message."""
        raise RuntimeError

    # --- writing ------------------------------------------------------------------------------------------------------

    async def begin_log(
        self, store: bytes, key: Signer, manifest: bytes, incarnation: bytes, clock: Callable[[], float]
    ) -> Log:
        """A new incarnation of this node, whose start entry names earlier ones that have no end.

        `incarnation` is 16 random bytes; `clock` tells Unix seconds, for checkpoints; `manifest` is a hash.
        """
        raise RuntimeError

    async def end_log(self, log: Log) -> None:
        """Write the end entry; nothing can follow."""
        raise RuntimeError

    async def commit(self, entries: Sequence[tuple[Log, Draft]], *, rows: Sequence[RowChange] = ()) -> list[int]:
        """Make entries, their blobs and row changes durable, all or nothing; returns the entries' numbers.

        Starts at once when idle; calls that arrive meanwhile share the next transaction. Cancelling the caller does not
        take a call back. Raises CommitFailed (nothing kept), CommitUnknown (the logs are ended), LogEnded (nothing kept).
        """
        raise RuntimeError

    # --- logs ---------------------------------------------------------------------------------------------------------

    async def heads(self, store: bytes) -> list[Head]:
        """How far each log is held, in order of (node, incarnation)."""
        raise RuntimeError

    async def head(self, origin: Origin) -> Head | None:
        """How far one log is held; None when nothing of it is."""
        raise RuntimeError

    async def checkpoint(self, origin: Origin) -> bytes | None:
        """The newest checkpoint held. While a catch-up runs, it may be of a lower number than the head."""
        raise RuntimeError

    async def entries(
        self,
        origin: Origin,
        after: int,
        *,
        max_bytes: int = 1 << 20,
        max_count: int = 1000,
        payloads: bool = True,
    ) -> list[tuple[int, Entry]]:
        """Entries after number `after`, in order; at least one if there is any, then as many as the bounds allow."""
        raise RuntimeError

    async def ids(self, origin: Origin, after: int, *, max_count: int = 10_000) -> list[bytes]:
        """Ids of the entries after number `after`, in order."""
        raise RuntimeError

    async def receive(
        self,
        origin: Origin,
        after: int,
        chain: bytes,
        entries: Sequence[Entry],
        checkpoint: bytes,
        trail: Trail | None = None,
    ) -> int:
        """Take in entries of another node's log that follow (after, chain); returns the number up to which it is held.

        What is already held is passed over. The entries must end at the checkpoint, or at any place of a `trail` that
        leads to it. Ids, chain, payload hashes and signature are checked before anything is kept; whether the node may
        write to this store is the caller's to check. Raises RecordError, Diverged, CommitFailed, CommitUnknown.
        """
        raise RuntimeError

    async def missing(self, origin: Origin, after: int = 0, *, max_count: int = 1000) -> list[int]:
        """Numbers of entries after `after` whose payload is not held."""
        raise RuntimeError

    async def fill(self, origin: Origin, payloads: Sequence[tuple[int, bytes]]) -> int:
        """Add missing payloads; returns how many were new. Raises RecordError when one is not what its header names."""
        raise RuntimeError

    def on_commit(self, callback: Callable[[Origin, int], None]) -> Callable[[], None]:
        """Have `callback(origin, seq)` called in the event loop after each durable change; returns how to stop.

        Changes are own and received ones alike. `seq` is the new head; for filled payloads it is the lowest number filled.
        """
        raise RuntimeError

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def get(self, space: str, key: str) -> bytes | None:
        """The value as it was put: values are sealed by the caller."""
        raise RuntimeError

    async def put(self, space: str, changes: Mapping[str, bytes | None]) -> None:
        """All or nothing, durable on return; None removes."""
        raise RuntimeError

    async def rows(self, space: str) -> dict[str, bytes]:
        """All rows of a space, by key."""
        raise RuntimeError

    # --- blobs --------------------------------------------------------------------------------------------------------

    def new_blob(self) -> PendingBlob:
        """A blob to write, and to commit with the entry that refers to it."""
        raise RuntimeError

    async def read_blob(self, hash: bytes, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`; empty at its end. Raises BlobAbsent."""
        raise RuntimeError

    async def has_blob(self, hash: bytes) -> bool:
        """Whether it is held whole."""
        raise RuntimeError

    async def lacking(self, store: bytes, *, max_count: int = 1000) -> list[tuple[bytes, int]]:
        """(hash, size) of blobs that entries refer to and that are not held, smallest first."""
        raise RuntimeError

    async def partial(self, hash: bytes, size: int) -> Partial:
        """Receive a blob, going on where an earlier attempt stopped."""
        raise RuntimeError
