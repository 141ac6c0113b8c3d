"""At open: read what is held into memory, and bring the folder of blobs in line with it."""

from __future__ import annotations

import zlib
from dataclasses import replace

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import SQLAlchemyError

from mesyx_core.journal.blobs import Blobs
from mesyx_core.journal.catalogue import hold
from mesyx_core.journal.database import unreadable
from mesyx_core.journal.state import Bits, Gone, LogState, Stores, StoreState
from mesyx_core.journal.tables import BLOB, GONE, LOG, SHIFT, STORE
from mesyx_core.record.entry import Origin


def load(connection: Connection, blobs: Blobs) -> tuple[Stores, int]:
    """The stores held, and the number that the next log gets. Raises Unreadable."""
    try:
        _sweep(connection, blobs)
        stores, next_log = read(connection)
    except SQLAlchemyError as error:
        raise unreadable(error) from None
    return stores, next_log


def read(connection: Connection) -> tuple[Stores, int]:
    """As the database has them."""
    stores = Stores()
    ids: dict[int, bytes] = {}
    for number, id, name in connection.execute(select(STORE).order_by(STORE.c.number)):
        stores.put(id, StoreState(number, name))
        ids[number] = id
    origins: dict[int, Origin] = {}
    highest = 0
    columns = [column for column in LOG.c if column.name != "checkpoint"]
    for number, store, node, incarnation, *state in connection.execute(select(*columns)):
        seq, chain, ended, proved, closed, weight = state
        log = LogState(number, seq, chain, bool(ended), proved, closed, weight)
        stores.put_log(Origin(ids[store], node, incarnation), log)
        highest = max(highest, number)
        origins[number] = Origin(ids[store], node, incarnation)
    for number, purged, bits in connection.execute(select(GONE)):
        origin = origins[number]
        found = Bits(zlib.decompress(bits))
        stores.put_gone(origin, _with(stores.gone(origin), bool(purged), found))
    return stores, highest + 1


def _sweep(connection: Connection, blobs: Blobs) -> None:
    """A crash may have come between a file and its mention in the database, either way."""
    wanted = set(connection.scalars(select(BLOB.c.hash).distinct()))
    awaited = set(connection.scalars(select(BLOB.c.hash).distinct().where(BLOB.c.held == 0)))
    held = blobs.sweep(wanted, awaited)
    for hash in held & awaited:
        size = blobs.size(hash) or 0
        for key in hold(connection, hash, size):
            _weigh(connection, key, size)
    for hash in wanted - awaited - held:
        gone = BLOB.c.hash == hash
        for key, size in connection.execute(select(BLOB.c.key, BLOB.c.size).where(gone)).all():
            _weigh(connection, key, -size)
        connection.execute(update(BLOB).where(gone).values(held=0))


def _weigh(connection: Connection, key: int, size: int) -> None:
    """Count a blob that an entry refers to for or against its log."""
    connection.execute(update(LOG).where(LOG.c.number == key >> SHIFT).values(weight=LOG.c.weight + size))


def _with(gone: Gone, purged: bool, bits: Bits) -> Gone:
    return replace(gone, purged=bits) if purged else replace(gone, dropped=bits)
