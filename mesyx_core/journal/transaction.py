"""What one transaction will change: collected in memory first, then written in few statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, bindparam, delete, update

from mesyx_core.api import Refused
from mesyx_core.journal.blobs import PendingBlob
from mesyx_core.journal.database import Statements
from mesyx_core.journal.errors import Diverged
from mesyx_core.journal.intake import Taken
from mesyx_core.journal.log import Log, Written
from mesyx_core.journal.state import Gone, LogState, Stores
from mesyx_core.journal.tables import BLOB, ENTRY, LOG, MARK, MARKED, ROW, SHIFT
from mesyx_core.record.entry import Kind, Origin, chain_next, chain_start
from mesyx_core.record.shape import SEQ_MAX


class Sql:
    """The statements of a transaction, as text for its dialect."""

    def __init__(self, statements: Statements) -> None:
        self.insert = statements.insert
        self.put_row = statements.upsert(ROW)
        self.drop_row = statements.text(
            delete(ROW).where(ROW.c.space == bindparam("space_"), ROW.c.key == bindparam("key_"))
        )
        changing = ("seq", "chain", "ended", "proved", "closed", "weight")
        there = LOG.c.number == bindparam("number_")
        values: dict[str, Any] = {name: bindparam(f"{name}_") for name in changing}
        self.move_log = statements.text(update(LOG).where(there).values(values))
        self.sign_log = statements.text(update(LOG).where(there).values(values | {"checkpoint": bindparam("signed_")}))


class Transaction:
    """Works on a copy of the states it touches; those are published only once it is durable."""

    def __init__(self, stores: Stores, next_log: int) -> None:
        self.stores = stores
        self.next_log = next_log
        self.next_store = 1 + max((held.number for _, held in stores), default=0)
        self.logs: dict[Origin, LogState] = {}
        self.fresh: set[Origin] = set()
        self.checkpoints: dict[Origin, bytes] = {}
        self.signing: dict[Origin, Log] = {}
        self.entries: list[tuple[int, bytes, bytes | None]] = []
        self.marks: list[tuple[int, int]] = []
        self.refs: list[tuple[bytes, int, int, int]] = []
        self.blobs: list[PendingBlob] = []
        self.rows: dict[tuple[str, str], bytes | None] = {}
        self.gone: dict[Origin, Gone] = {}
        self.steps: list[Callable[[Connection], None]] = []
        """Rare changes, which write for themselves."""
        self.weighty = False
        """Whether nothing must be lost with a damaged write-ahead log either: it is merged at once."""
        self.wiping = False
        """Whether something is dropped that must not stay in the write-ahead log."""
        self.publish: list[Callable[[], None]] = []
        """What else to do, in the commit thread, once it is durable."""
        self.changed: dict[Origin, int] = {}
        """What to tell the listeners: the new heads,"""
        self.filled: list[tuple[Origin, int]] = []
        """and the lowest number of those that were completed."""

    def log(self, origin: Origin) -> LogState | None:
        """The log as this transaction leaves it."""
        return self.logs.get(origin) or self.stores.log(origin)

    def begin(self, origin: Origin) -> LogState:
        """A log that is not held yet. Raises Refused for a store that is not held."""
        held = self.stores.get(origin.store)
        if held is None:
            raise Refused("the store is not held on this node")
        state = LogState(self.next_log, 0, chain_start(origin))
        self.next_log += 1
        self.logs[origin] = state
        self.fresh.add(origin)
        return state

    def write(self, log: Log, written: Written) -> int:
        """Number and chain an own entry; returns its number."""
        origin = log.origin
        state = self.log(origin)
        if state is None or state.ended:
            raise Diverged("the log is not one that can go on")
        self._add(origin, state, written.kind, written.header, written.id, written.payload, written.weight)
        if written.blobs:
            self.blobs.extend(written.blobs)
            key = state.number << SHIFT | (state.seq + 1)
            self.refs.extend({(blob.hash, key, blob.size, 1) for blob in written.blobs})
        self.signing[origin] = log
        return state.seq + 1

    def take(self, origin: Origin, taken: Taken, held: Callable[[bytes], int | None]) -> None:
        """Add a received entry, whose place in the log was checked. `held` gives a blob's size, if it is here: one that
        is not weighs nothing, whatever size the entry names."""
        state = self.log(origin) or self.begin(origin)
        sizes = {hash: held(hash) for hash in taken.blobs}
        weight = len(taken.header) + len(taken.payload or b"") + sum(size or 0 for size in sizes.values())
        self._add(origin, state, taken.kind, taken.header, taken.id, taken.payload, weight)
        key = state.number << SHIFT | (state.seq + 1)
        for hash, named in taken.blobs.items():
            size = sizes[hash]
            self.refs.append((hash, key, named, 0) if size is None else (hash, key, size, 1))

    def prove(self, origin: Origin, checkpoint: bytes) -> None:
        """Keep a checkpoint of the log's last entry."""
        state = self.log(origin)
        if state is not None:
            self.logs[origin] = state._replace(proved=state.seq)
            self.checkpoints[origin] = checkpoint
            self.changed.setdefault(origin, state.seq)

    def _add(
        self, origin: Origin, state: LogState, kind: int, header: bytes, id: bytes, payload: bytes | None, weight: int
    ) -> None:
        seq = state.seq + 1
        if seq > SEQ_MAX:
            raise Diverged("a log is full")
        self.entries.append((state.number << SHIFT | seq, header, payload))
        if kind in MARKED:
            self.marks.append((state.number << SHIFT | seq, kind))
        number, _, chain, _, proved, closed, before = state
        self.logs[origin] = LogState(
            number, seq, chain_next(chain, id), kind == Kind.END, proved, closed, before + weight
        )
        self.changed[origin] = seq

    def sign(self) -> None:
        """One checkpoint for each own log that grew."""
        for origin, log in self.signing.items():
            state = self.logs[origin]
            self.prove(origin, log.checkpoint(state.seq, state.chain))

    @property
    def news(self) -> list[tuple[Origin, int]]:
        return [*self.changed.items(), *self.filled]

    @property
    def empty(self) -> bool:
        return not (self.logs or self.rows or self.steps)

    @property
    def size(self) -> int:
        """Roughly what it adds to the write-ahead log, in bytes."""
        rows = sum(len(value or b"") for value in self.rows.values())
        return 8192 + rows + sum(600 + len(header) + len(payload or b"") for _, header, payload in self.entries)

    def flush(self, connection: Connection, sql: Sql) -> None:
        """Write all of it."""
        run = connection.exec_driver_sql
        while self.steps:  # each may know the transaction: kept in it, they would keep all of its entries
            self.steps.pop(0)(connection)
        new = []
        for origin, state in self.logs.items():
            values = (state.seq, state.chain, int(state.ended), state.proved, state.closed, state.weight)
            signed = self.checkpoints.get(origin)
            if origin in self.fresh:
                store = self.stores.get(origin.store)
                if store is None:
                    raise Refused("the store is not held on this node")
                new.append((state.number, store.number, origin.node, origin.incarnation, *values, signed))
            elif signed is not None:
                run(sql.sign_log, (*values, signed, state.number))
            else:
                run(sql.move_log, (*values, state.number))
        sql.insert(connection, LOG, new)
        sql.insert(connection, ENTRY, self.entries)
        sql.insert(connection, MARK, self.marks)
        sql.insert(connection, BLOB, self.refs)
        for (space, key), value in self.rows.items():
            if value is None:
                run(sql.drop_row, (space, key))
            else:
                run(sql.put_row, (space, key, value))

    def settle(self) -> None:
        """It is durable: publish the states."""
        for origin, state in self.logs.items():
            self.stores.put_log(origin, state)
        for blob in self.blobs:
            blob.committed()
        for call in self.publish:
            call()
