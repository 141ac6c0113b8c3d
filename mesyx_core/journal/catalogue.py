"""The rare changes: stores, manifests, payloads and blobs that come late. Each is one part of a transaction."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, or_, select, update

from mesyx_core.api import Refused
from mesyx_core.journal.blobs import Blobs
from mesyx_core.journal.state import Gone, StoreState
from mesyx_core.journal.tables import BLOB, ENTRY, GONE, LOG, MANIFEST, MARK, SHIFT, STORE
from mesyx_core.journal.transaction import Transaction
from mesyx_core.record.entry import Origin
from mesyx_core.record.shape import SEQ_MAX

_TOGETHER: Final = 500


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
            _run(connection, delete(MARK).where(_of(MARK, number)))
            _run(connection, delete(GONE).where(GONE.c.log == number))
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
        gone = transaction.gone.get(origin) or transaction.stores.gone(origin)
        for seq, payload in payloads.items():
            if seq in gone:
                continue
            there = and_(ENTRY.c.key == (state.number << SHIFT | seq), ENTRY.c.payload.is_(None))
            if connection.execute(update(ENTRY).where(there).values(payload=payload)).rowcount:
                added += len(payload)
        now = transaction.logs[origin]
        transaction.logs[origin] = now._replace(weight=now.weight + added)

    transaction.steps.append(step)
    return len(payloads)


def drop(transaction: Transaction, origin: Origin, seqs: Sequence[int], purged: bool, blobs: Blobs) -> None:
    """Forget the payloads of entries that are held, and the blobs that no other entry refers to. What was dropped here
    may be purged later; what was purged stays so."""
    state = transaction.log(origin)
    if state is None or not seqs:
        return
    transaction.logs[origin] = state
    transaction.wiping = True
    gone: list[bytes] = []
    number = state.number

    def step(connection: Connection) -> None:
        freed = 0
        for at in range(0, len(seqs), _TOGETHER):
            keys = [number << SHIFT | seq for seq in seqs[at : at + _TOGETHER]]
            there = and_(ENTRY.c.key.in_(keys), ENTRY.c.payload.is_not(None))
            size = select(func.coalesce(func.sum(func.length(ENTRY.c.payload)), 0)).where(there)
            freed += int(connection.execute(size).scalar_one())
            _run(connection, update(ENTRY).where(there).values(payload=None))
            refs = BLOB.c.key.in_(keys)
            for hash, length, held in connection.execute(
                select(BLOB.c.hash, BLOB.c.size, BLOB.c.held).where(refs)
            ).all():
                gone.append(hash)
                freed += length if held else 0
            _run(connection, delete(BLOB).where(refs))
        for at in range(0, len(gone), _TOGETHER):
            some = gone[at : at + _TOGETHER]
            still = set(connection.scalars(select(BLOB.c.hash).where(BLOB.c.hash.in_(some))))
            gone[at : at + _TOGETHER] = [hash if hash not in still else b"" for hash in some]
        now = transaction.logs[origin]
        transaction.logs[origin] = now._replace(weight=now.weight - freed)
        known = transaction.gone.get(origin) or transaction.stores.gone(origin)
        fresh = (
            Gone(known.dropped.without(seqs), known.purged.with_(seqs))
            if purged
            else replace(known, dropped=known.dropped.with_(seq for seq in seqs if seq not in known.purged))
        )
        transaction.gone[origin] = fresh
        for which, bits in enumerate((fresh.dropped, fresh.purged)):
            _run(connection, delete(GONE).where(GONE.c.log == number, GONE.c.purged == which))
            if bits.octets:
                packed = zlib.compress(bits.octets)
                _run(connection, insert(GONE).values(log=number, purged=which, bits=packed))

    transaction.steps.append(step)
    transaction.publish.append(lambda: transaction.stores.put_gone(origin, transaction.gone[origin]))
    transaction.publish.append(lambda: blobs.remove(hash for hash in gone if hash))


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
