"""The journal: the one door to a node's logs, blobs and rows."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

import anyio
from anyio import to_thread

from mesyx_core.api import MesyxError, Refused
from mesyx_core.journal import catalogue, holdings, intake
from mesyx_core.journal.blobs import Blobs, Partial, PendingBlob, sync_folder
from mesyx_core.journal.copying import Told, copy_out
from mesyx_core.journal.database import Database, failed
from mesyx_core.journal.errors import BlobAbsent, Diverged, InUse, LogEnded
from mesyx_core.journal.log import Draft, Log, write
from mesyx_core.journal.reader import Reader
from mesyx_core.journal.state import Gone, LogState, Stores, StoreState
from mesyx_core.journal.transaction import Transaction
from mesyx_core.journal.wake import poster
from mesyx_core.journal.writer import Writer
from mesyx_core.record.checkpoint import Signer, Trail
from mesyx_core.record.digest import Head
from mesyx_core.record.entry import Entry, Kind, Origin, chain_start, check_payload, decode_header
from mesyx_core.record.payloads import MAX_EARLIER, Earlier, End, Start
from mesyx_core.record.shape import COUNT_MAX

T = TypeVar("T")
Picked: TypeAlias = list[tuple[int, Entry]]
"""Entries by number, ascending."""
RowChange: TypeAlias = tuple[str, str, bytes | None]
"""(space, key, value); None removes."""
NO_MANIFESTS: Final[Mapping[bytes, bytes]] = MappingProxyType({})
Listener: TypeAlias = Callable[[Origin, int], None]


class Journal:
    """All of a node's stores on disk. Made by `open`; every method is for the event loop that opened it."""

    def __init__(self, database: Database, blobs: Blobs, stores: Stores, next_log: int) -> None:
        self._database = database
        self._blobs = blobs
        self._stores = stores
        self._running: dict[Origin, Log] = {}
        self._begun: set[Origin] = set()
        self.grown: Final[set[Origin]] = set()
        """Logs that have grown since the journal was opened by what other nodes sent."""
        self._listeners: dict[object, Listener] = {}
        self._reader = Reader(database.readers)
        self._writer = Writer(database, blobs, stores, next_log, poster(), self._tell)

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, *, url: str | None = None, durable: bool = True) -> AsyncIterator[Journal]:
        """Open or make the journal in `folder`; on leaving, what was queued is committed first.

        `url` is a SQLAlchemy database URL, by default SQLite inside the folder. Not `durable` means that a power cut
        may take the last commits (a killed process never does). Raises InUse, Unreadable.
        """
        await anyio.Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder) as mark:
            database = Database(folder, url, durable)
            try:
                blobs, stores, next_log = await to_thread.run_sync(_load, database, folder, durable, mark.made)
                mark.make()
                journal = cls(database, blobs, stores, next_log)
                try:
                    yield journal
                finally:
                    await journal._writer.close()
            finally:
                database.close()

    # --- stores -----------------------------------------------------------------------------------------------------

    async def stores(self) -> list[tuple[bytes, str]]:
        """(id, name) of every store held, in the order they were added."""
        return [(id, state.name) for id, state in self._stores]

    async def add_store(self, store: bytes, name: str, manifests: Mapping[bytes, bytes] = NO_MANIFESTS) -> None:
        """Hold a store from now on, with these documents by hash: all or nothing. A second time renames it."""
        await self._writer.run(partial(catalogue.add_store, store=store, name=name, manifests=manifests))

    async def remove_store(self, store: bytes) -> None:
        """Drop a store with its logs, manifests and blobs. Its running logs must have been ended."""
        if any(origin.store == store and not log.ended for origin, log in self._running.items()):
            raise Refused("the store is being written to", "end its log first")
        await self._writer.run(partial(catalogue.remove_store, store=store, blobs=self._blobs))

    async def manifests(self, store: bytes) -> list[bytes]:
        """The documents held, in the order they came."""
        return await self._reader.documents(self._store(store).number)

    async def put_manifest(self, store: bytes, hash: bytes, document: bytes) -> None:
        """Keep a document; harmless to repeat."""
        await self._writer.run(partial(catalogue.put_manifest, store=store, hash=hash, document=document))

    async def usage(self, store: bytes) -> int:
        """Bytes of entries and blobs that the store has here; from memory, so cheap enough to ask at every message."""
        return self._store(store).weight

    # --- backups ----------------------------------------------------------------------------------------------------

    async def copy(self, folder: Path, told: Told) -> Path:
        """All but the blobs, in one state, as a database file in an empty folder, whatever is committed meanwhile.
        `told` is called in another thread. Raises CommitFailed, Unreadable."""
        return await to_thread.run_sync(copy_out, self._database, folder, told)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def begin_log(
        self, store: bytes, key: Signer, manifest: bytes, incarnation: bytes, clock: Callable[[], float]
    ) -> Log:
        """A new incarnation of this node, whose start entry names earlier ones that have no end.

        `incarnation` is 16 random bytes; `clock` tells Unix seconds, for checkpoints; `manifest` is a hash.
        """
        origin = Origin(store, key.public, incarnation)
        log = Log(origin, key, manifest, clock, self._stores.log)

        def work(transaction: Transaction) -> None:
            if transaction.log(origin) is not None:
                raise Diverged("the incarnation has been used before", "draw another one")
            transaction.begin(origin)
            earlier = self._unended(transaction, origin)
            for other, state in earlier:
                transaction.logs[other] = state._replace(closed=state.seq)
            named = tuple(Earlier(other.incarnation, state.seq, state.chain) for other, state in earlier)
            transaction.write(log, write(Draft(Kind.START, 0, 0, b"", Start(manifest, named).encode())))

        self._running[origin] = log
        self._begun.add(origin)
        try:
            await self._writer.run(work)
        except MesyxError:
            self._running.pop(origin, None)
            raise
        return log

    def began(self, origin: Origin) -> bool:
        """Whether this log was begun since the journal was opened: nobody else writes it."""
        return origin in self._begun

    async def end_log(self, log: Log) -> None:
        """Write the end entry; nothing can follow. Raises LogEnded."""
        log.check_running()
        written = write(Draft(Kind.END, 0, 0, b"", End().encode()))

        def work(transaction: Transaction) -> None:
            log.check_running()
            transaction.write(log, written)
            transaction.publish.append(log.end)

        await self._writer.run(work)
        self._running.pop(log.origin, None)

    async def commit(self, entries: Sequence[tuple[Log, Draft]], *, rows: Sequence[RowChange] = ()) -> list[int]:
        """Make entries, their blobs and row changes durable, all or nothing; returns the entries' numbers.

        Starts at once when idle; calls that arrive meanwhile share the next transaction. Cancelling the caller does
        not take a call back. Raises CommitFailed (nothing kept), CommitUnknown (the logs are ended), LogEnded
        (nothing kept).
        """
        written = [(log, write(draft)) for log, draft in entries]
        size = sum(one.weight for _, one in written)

        def work(transaction: Transaction) -> list[int]:
            for log, _ in written:
                log.check_running()
                state = transaction.log(log.origin)
                if state is None or state.ended:
                    raise LogEnded("this run's log is ended", "a new one begins at once")
            numbers = [transaction.write(log, one) for log, one in written]
            for space, key, value in rows:
                transaction.rows[space, key] = value
            return numbers

        return await self._writer.run(work, size, [blob for _, one in written for blob in one.blobs])

    # --- logs -------------------------------------------------------------------------------------------------------

    async def heads(self, store: bytes) -> list[Head]:
        """How far each log is held, in order of (node, incarnation)."""
        return self._stores.heads(store)

    async def head(self, origin: Origin) -> Head | None:
        """How far one log is held; None when nothing of it is."""
        state = self._stores.log(origin)
        return None if state is None else Head(*origin[1:], state.seq, state.chain, state.ended)

    async def checkpoint(self, origin: Origin) -> bytes | None:
        """The newest checkpoint held. While a catch-up runs, it may be of a lower number than the head."""
        state = self._stores.log(origin)
        return None if state is None else await self._reader.checkpoint(state.number)

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
        state = self._stores.log(origin)
        if state is None or after >= state.seq:
            return []
        return await self._reader.entries(state.number, after, max_bytes, max_count, payloads)

    async def pick(self, origin: Origin, seqs: Sequence[int]) -> list[tuple[int, Entry]]:
        """Any entries by number, ascending; those that are not held are left out. Their size is the caller's care."""
        return await self.look(origin, seqs, list)

    async def look(self, origin: Origin, seqs: Sequence[int], work: Callable[[Picked], T]) -> T:
        """What `work` makes of the entries that `pick` gives, in the thread that read them: one way there and back."""
        state = self._stores.log(origin)
        if state is None:
            return work([])
        return await self._reader.pick(state.number, sorted(set(seqs)), work)

    async def ids(self, origin: Origin, after: int, *, max_count: int = 10_000) -> list[bytes]:
        """Ids of the entries after number `after`, in order."""
        state = self._stores.log(origin)
        if state is None or after >= state.seq:
            return []
        return await self._reader.ids(state.number, after, max_count)

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
        batch = await to_thread.run_sync(intake.check, origin, after, chain, entries, checkpoint, trail)
        state = self._stores.log(origin)
        before = state.seq if state else 0
        held = await self._writer.run(partial(self._take, origin=origin, batch=batch), batch.size)
        if held > before:
            self.grown.add(origin)
        return held

    async def missing(self, origin: Origin, after: int = 0, *, max_count: int = 1000) -> list[int]:
        """Numbers of entries after `after` whose payload is not held, and wanted."""
        state = self._stores.log(origin)
        gone = self._stores.gone(origin)
        return [] if state is None else await self._reader.missing(state.number, after, max_count, gone)

    async def drop(self, origin: Origin, seqs: Iterable[int]) -> None:
        """Forget payloads, and blobs that only they refer to, on this node alone: they are not asked for again. The
        database's files hold them no longer as soon as nobody reads what was before."""
        await self._drop(origin, seqs, purged=False)

    async def purge(self, origin: Origin, seqs: Iterable[int]) -> None:
        """The same for good: whether they may be purged is the caller's to check."""
        await self._drop(origin, seqs, purged=True)

    async def _drop(self, origin: Origin, seqs: Iterable[int], purged: bool) -> None:
        state, gone = self._stores.log(origin), self._stores.gone(origin)
        known = gone.purged if purged else gone
        fresh = [] if state is None else sorted({seq for seq in seqs if 0 < seq <= state.seq and seq not in known})
        if fresh:
            work = partial(catalogue.drop, origin=origin, seqs=fresh, purged=purged, blobs=self._blobs)
            await self._writer.run(work)

    def gone(self, origin: Origin) -> Gone:
        """What was dropped and purged of a log."""
        return self._stores.gone(origin)

    async def marks(self, origin: Origin, after: int = 0, *, max_count: int = 10_000) -> list[tuple[int, int]]:
        """(number, kind) of entries after `after` that say something of others: epoch, close, reseal, purge, veto."""
        state = self._stores.log(origin)
        return [] if state is None else await self._reader.marks(state.number, after, max_count)

    def over(self, origin: Origin) -> bool:
        """Whether nothing follows in a log: it has its end, or its node has begun another and named it there."""
        state = self._stores.log(origin)
        return state is not None and (state.ended or 0 < state.seq == state.closed)

    async def fill(self, origin: Origin, payloads: Sequence[tuple[int, bytes]]) -> int:
        """Add missing payloads; returns how many were new. Raises RecordError when one is not what its header names."""
        state = self._stores.log(origin)
        wanted = dict(payloads)
        if state is None or not wanted:
            return 0
        headers = await self._reader.headers(state.number, list(wanted))
        for seq, header in headers.items():
            check_payload(decode_header(header), wanted[seq])
        gone = self._stores.gone(origin)
        found = {seq: wanted[seq] for seq in sorted(headers) if seq not in gone}
        size = sum(map(len, found.values()))
        return await self._writer.run(partial(catalogue.fill, origin=origin, payloads=found), size) if found else 0

    def on_commit(self, callback: Listener) -> Callable[[], None]:
        """Have `callback(origin, seq)` called in the event loop after each durable change; returns how to stop.

        Own and received changes alike. `seq` is the new head; when missing payloads or blobs came, it is the lowest
        number of an entry that has them.
        """
        handle = object()
        self._listeners[handle] = callback
        return lambda: self._listeners.pop(handle, None) and None

    # --- rows -------------------------------------------------------------------------------------------------------

    async def get(self, space: str, key: str) -> bytes | None:
        """The value as it was put: values are sealed by the caller."""
        return await self._reader.row(space, key)

    async def put(self, space: str, changes: Mapping[str, bytes | None]) -> None:
        """All or nothing, durable on return; None removes."""
        await self.commit((), rows=[(space, key, value) for key, value in changes.items()])

    async def rows(self, space: str) -> dict[str, bytes]:
        """All rows of a space, by key."""
        return await self._reader.rows(space)

    # --- blobs ------------------------------------------------------------------------------------------------------

    def new_blob(self) -> PendingBlob:
        """A blob to write, and to commit with the entry that refers to it. Close it when it is not committed."""
        return self._blobs.new()

    async def read_blob(self, hash: bytes, offset: int, size: int) -> bytes:
        """At most `size` bytes (and at most 1 MiB) from `offset`; empty at its end. Raises BlobAbsent."""
        return _held(await to_thread.run_sync(self._blobs.read, hash, offset, size))

    def blob(self, hash: bytes, offset: int, size: int) -> bytes:
        """As `read_blob`, for a caller in a thread of its own."""
        return _held(self._blobs.read(hash, offset, size))

    async def has_blob(self, hash: bytes) -> bool:
        """Whether it is held whole."""
        return await to_thread.run_sync(self._blobs.has, hash)

    async def lacking(
        self, store: bytes, *, max_count: int = 1000, least: int = 0, most: int = COUNT_MAX
    ) -> list[tuple[bytes, int]]:
        """(hash, size) of blobs that entries refer to and that are not held, smallest first; of such from `least` to
        `most` bytes only. The size is what an entry names; it may be false."""
        numbers = [state.number for state in self._store(store).logs.copy().values()]
        return await self._reader.lacking(numbers, max_count, least, most)

    async def partial(self, hash: bytes, size: int) -> Partial:
        """Receive a blob, going on where an earlier attempt stopped."""
        return await to_thread.run_sync(self._blobs.partial, hash, size, self._arrived)

    # ----------------------------------------------------------------------------------------------------------------

    def _store(self, store: bytes) -> StoreState:
        state = self._stores.get(store)
        if state is None:
            raise Refused("the store is not held on this node")
        return state

    def _unended(self, transaction: Transaction, origin: Origin) -> list[tuple[Origin, LogState]]:
        """Incarnations of the same node that stopped without an end, and that no start entry has named so far."""
        held = self._store(origin.store).logs
        earlier = []
        for other in sorted(held):
            state = transaction.log(other)
            if other.node != origin.node or state is None or state.ended or state.closed == state.seq:
                continue
            log = self._running.get(other)
            if log is None or log.ended:
                earlier.append((other, state))
        return earlier[:MAX_EARLIER]

    def _take(self, transaction: Transaction, origin: Origin, batch: intake.Batch) -> int:
        state = transaction.log(origin)
        held, chain = (0, chain_start(origin)) if state is None else (state.seq, state.chain)
        if batch.after > held:
            raise Diverged("entries were offered that do not follow on those held")
        if batch.end < held:
            return held
        if batch.chains[held - batch.after] != chain:
            raise Diverged("entries were offered of another branch of a log")
        new = batch.entries[held - batch.after :]
        log = self._running.get(origin)
        if new and ((state is not None and state.ended) or (log is not None and not log.ended)):
            raise Diverged("entries were offered of a log that this node writes, or that has ended")
        for one in new:
            transaction.take(origin, one, self._blobs.size)
        if batch.checkpoint is not None and batch.end and (state is None or state.proved < batch.end):
            transaction.prove(origin, batch.checkpoint)
        return batch.end

    async def _arrived(self, blob: Partial) -> None:
        await to_thread.run_sync(self._blobs.arrive, blob.hash)
        await self._writer.run(partial(catalogue.arrived, hash=blob.hash, size=blob.size))

    def _tell(self, changes: Sequence[tuple[Origin, int]]) -> None:
        first: Exception | None = None
        for origin, seq in changes:
            for listener in list(self._listeners.values()):
                try:
                    listener(origin, seq)
                except Exception as error:
                    first = first or error
        if first is not None:
            raise first  # the others have heard; the event loop shows it


class Mark:
    """The file that is locked while a journal is open; what is in it says that there is one, whatever is missing."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.made = os.fstat(handle).st_size > 0

    def make(self) -> None:
        if self.made:
            return
        try:
            os.pwrite(self._handle, b"A journal is kept here.\n", 0)
            os.fsync(self._handle)
        except OSError as error:
            raise failed(error) from None
        self.made = True


@contextmanager
def _locked(folder: Path) -> Iterator[Mark]:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(f"the journal in {folder} is open in another process", "stop that one first") from None
        yield Mark(handle)
    finally:
        os.close(handle)


def _held(data: bytes | None) -> bytes:
    """What was read of a blob. [The exception is made here: one that comes out of a thread lasts, with all that the
    frames on its way hold, until the garbage collector comes by; and large mails arrive before their blobs.]"""
    if data is None:
        raise BlobAbsent("a blob is not held here", "it comes with the next exchange with a node that has it")
    return data


def _load(database: Database, folder: Path, durable: bool, expected: bool) -> tuple[Blobs, Stores, int]:
    database.prepare(expected)
    blobs = Blobs(folder / "blobs", durable)
    with database.writer() as connection:
        stores, next_log = holdings.load(connection, blobs)
    if durable:
        sync_folder(folder)
    return blobs, stores, next_log
