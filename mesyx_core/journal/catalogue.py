"""The rare changes: stores, manifests, payloads and blobs that come late. Each is one part of a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, or_, select, update

from mesyx_core.api import Refused
from mesyx_core.journal.blobs import Blobs
from mesyx_core.journal.state import StoreState
from mesyx_core.journal.tables import BLOB, ENTRY, LOG, MANIFEST, SHIFT, STORE
from mesyx_core.journal.transaction import Transaction
from mesyx_core.record.entry import Origin
from mesyx_core.record.shape import SEQ_MAX


def add_store(transaction: Transaction, store: bytes, name: str, manifests: Mapping[bytes, bytes]) -> None:
    """Hold a store with its manifests, or rename it."""
    held = transaction.stores.get(store)
    if held is not None:
        transaction.steps.append(
            lambda connection: _run(connection, update(STORE).where(STORE.c.id == store).values(name=name))
        )
        transaction.publish.append(partial(setattr, held, "name", name))
        for hash, document in manifests.items():
            put_manifest(transaction, store, hash, document)
        return

    transaction.weighty = True  # a gateway that forgot its store would bounce all mail
    number = transaction.next_store
    transaction.next_store += 1
    transaction.steps.append(
        lambda connection: _run(connection, insert(STORE).values(number=number, id=store, name=name))
    )
    transaction.publish.append(partial(transaction.stores.put, store, StoreState(number, name)))
    for hash, document in manifests.items():
        _keep_manifest(transaction, number, hash, document)


def put_manifest(transaction: Transaction, store: bytes, hash: bytes, document: bytes) -> None:
    """Keep a manifest's document, once."""
    _keep_manifest(transaction, _held(transaction, store).number, hash, document)


def _keep_manifest(transaction: Transaction, number: int, hash: bytes, document: bytes) -> None:
    def step(connection: Connection) -> None:
        same = select(MANIFEST.c.number).where(MANIFEST.c.store == number, MANIFEST.c.hash == hash)
        if connection.execute(same).first() is None:
            _run(connection, insert(MANIFEST).values(store=number, hash=hash, document=document))

    transaction.steps.append(step)


def remove_store(transaction: Transaction, store: bytes, blobs: Blobs) -> None:
    """Drop a store and all that is in it."""
    held = _held(transaction, store)
    gone: list[bytes] = []

    def step(connection: Connection) -> None:
        numbers = [state.number for state in held.logs.values()]
        for number in numbers:
            _run(connection, delete(ENTRY).where(_of(ENTRY, number)))
        refs = or_(*(_of(BLOB, number) for number in numbers)) if numbers else None
        if refs is not None:
            gone.extend(connection.scalars(select(BLOB.c.hash).where(refs)))
            _run(connection, delete(BLOB).where(refs))
        _run(connection, delete(LOG).where(LOG.c.store == held.number))
        _run(connection, delete(MANIFEST).where(MANIFEST.c.store == held.number))
        _run(connection, delete(STORE).where(STORE.c.number == held.number))

    transaction.steps.append(step)
    transaction.publish.append(partial(transaction.stores.drop, store))
    transaction.publish.append(partial(blobs.remove, gone))


def fill(transaction: Transaction, origin: Origin, payloads: Mapping[int, bytes]) -> int:
    """Add payloads that were checked against their headers; those that came meanwhile are passed over."""
    state = transaction.log(origin)
    if state is None:
        raise Refused("the store is not held on this node")
    transaction.logs[origin] = state
    transaction.filled.append((origin, min(payloads)))

    def step(connection: Connection) -> None:
        added = 0
        for seq, payload in payloads.items():
            there = and_(ENTRY.c.key == (state.number << SHIFT | seq), ENTRY.c.payload.is_(None))
            if connection.execute(update(ENTRY).where(there).values(payload=payload)).rowcount:
                added += len(payload)
        now = transaction.logs[origin]
        transaction.logs[origin] = now._replace(weight=now.weight + added)

    transaction.steps.append(step)
    return len(payloads)


def arrived(transaction: Transaction, hash: bytes, size: int) -> None:
    """A blob that entries refer to is held now, and has this size."""

    def step(connection: Connection) -> None:
        origins = {log.number: origin for _, held in transaction.stores for origin, log in held.logs.items()}
        lowest: dict[int, int] = {}
        for key in hold(connection, hash, size):
            origin = origins.get(key >> SHIFT)
            state = transaction.log(origin) if origin is not None else None
            if origin is not None and state is not None:
                transaction.logs[origin] = state._replace(weight=state.weight + size)
                lowest.setdefault(key >> SHIFT, key & SEQ_MAX)
        transaction.filled.extend((origins[log], seq) for log, seq in lowest.items())

    transaction.steps.append(step)


def hold(connection: Connection, hash: bytes, size: int) -> list[int]:
    """Write down that a blob is held, and its size, whatever the entries named; gives the keys of those entries for
    which that is new."""
    lacked = and_(BLOB.c.hash == hash, BLOB.c.held == 0)
    keys = list(connection.scalars(select(BLOB.c.key).where(lacked).order_by(BLOB.c.key)))
    _run(connection, update(BLOB).where(lacked).values(held=1, size=size))
    return keys


def _held(transaction: Transaction, store: bytes) -> StoreState:
    held = transaction.stores.get(store)
    if held is None:
        raise Refused("the store is not held on this node")
    return held


def _of(table: Table, number: int) -> ColumnElement[bool]:
    return and_(table.c.key >= number << SHIFT, table.c.key < (number + 1) << SHIFT)


def _run(connection: Connection, statement: Any) -> None:
    connection.execute(statement)
