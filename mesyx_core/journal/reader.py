"""What is read from the database, in threads; every call is one short look."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import BindParameter, Connection, Engine, bindparam, select, text
from sqlalchemy.exc import SQLAlchemyError

from mesyx_core.journal.database import READERS, Statements, unreadable
from mesyx_core.journal.tables import BLOB, ENTRY, LOG, MANIFEST, MARK, ROW, SHIFT
from mesyx_core.record.entry import Entry, entry_id

T = TypeVar("T")
_SEQ: Final = (1 << SHIFT) - 1

_PICK: Final[list[BindParameter[int]]] = [bindparam(f"key{n}") for n in range(64)]
"""One statement for up to so many keys."""


class Reader:
    """Reads for the event loop; at most as many at once as there are connections."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limiter = CapacityLimiter(READERS)
        make = Statements(engine.dialect).text
        span = (ENTRY.c.key > bindparam("after"), ENTRY.c.key <= bindparam("last"))
        columns = (ENTRY.c.key, ENTRY.c.header, ENTRY.c.payload)
        self._entries = make(select(*columns).where(*span).order_by(ENTRY.c.key))
        self._headers = make(select(*columns[:2]).where(*span).order_by(ENTRY.c.key))
        self._pick = make(select(*columns).where(ENTRY.c.key.in_(_PICK)).order_by(ENTRY.c.key))
        self._row = make(select(ROW.c.value).where(ROW.c.space == bindparam("space"), ROW.c.key == bindparam("key")))
        self._rows = make(select(ROW.c.key, ROW.c.value).where(ROW.c.space == bindparam("space")))
        self._checkpoint = make(select(LOG.c.checkpoint).where(LOG.c.number == bindparam("number")))
        documents = select(MANIFEST.c.document).where(MANIFEST.c.store == bindparam("store"))
        self._documents = make(documents.order_by(MANIFEST.c.number))

    async def entries(self, log: int, after: int, max_bytes: int, most: int, payloads: bool) -> list[tuple[int, Entry]]:
        def read(connection: Connection) -> list[tuple[int, Entry]]:
            statement = self._entries if payloads else self._headers
            found: list[tuple[int, Entry]] = []
            left = max_bytes
            rows = connection.exec_driver_sql(statement, _span(log, after, most))
            for key, header, *payload in rows:
                entry = Entry(header, payload[0] if payload else None)
                left -= entry.weight
                if left < 0 and found:
                    break
                found.append((key & _SEQ, entry))
            rows.close()
            return found

        return await self._run(read)

    async def pick(self, log: int, seqs: Sequence[int], then: Callable[[list[tuple[int, Entry]]], T]) -> T:
        def read(connection: Connection) -> list[tuple[int, Entry]]:
            found: list[tuple[int, Entry]] = []
            for at in range(0, len(seqs), len(_PICK)):
                keys = [log << SHIFT | seq for seq in seqs[at : at + len(_PICK)] if 0 < seq <= _SEQ]
                keys += [-1] * (len(_PICK) - len(keys))
                rows = connection.exec_driver_sql(self._pick, tuple(keys))
                found.extend((key & _SEQ, Entry(header, payload)) for key, header, payload in rows)
            return found

        # The connection is given back before anything is made of what was read.
        return await to_thread.run_sync(lambda: then(self._call(read)), limiter=self._limiter)

    async def ids(self, log: int, after: int, most: int) -> list[bytes]:
        def read(connection: Connection) -> list[bytes]:
            rows = connection.exec_driver_sql(self._headers, _span(log, after, most))
            return [entry_id(header) for _, header in rows]

        return await self._run(read)

    async def missing(self, log: int, after: int, most: int, gone: Container[int] = ()) -> list[int]:
        def read(connection: Connection) -> list[int]:
            first, last = _span(log, after, _SEQ)
            span = (ENTRY.c.key > first, ENTRY.c.key <= last, ENTRY.c.payload.is_(None))
            rows = connection.execute(select(ENTRY.c.key).where(*span).order_by(ENTRY.c.key))
            found = list(islice((key & _SEQ for (key,) in rows if key & _SEQ not in gone), most))
            rows.close()
            return found

        return await self._run(read)

    async def marks(self, log: int, after: int, most: int) -> list[tuple[int, int]]:
        def read(connection: Connection) -> list[tuple[int, int]]:
            first, last = _span(log, after, _SEQ)
            wanted = select(MARK.c.key, MARK.c.kind).where(MARK.c.key > first, MARK.c.key <= last)
            return [(key & _SEQ, kind) for key, kind in connection.execute(wanted.order_by(MARK.c.key).limit(most))]

        return await self._run(read)

    async def headers(self, log: int, seqs: Sequence[int]) -> dict[int, bytes]:
        """The headers of those whose payload is missing."""

        def read(connection: Connection) -> dict[int, bytes]:
            keys = [log << SHIFT | seq for seq in seqs]
            wanted = select(ENTRY.c.key, ENTRY.c.header).where(ENTRY.c.key.in_(keys), ENTRY.c.payload.is_(None))
            return {key & _SEQ: header for key, header in connection.execute(wanted)}

        return await self._run(read)

    async def checkpoint(self, log: int) -> bytes | None:
        return await self._scalar(self._checkpoint, (log,))

    async def documents(self, store: int) -> list[bytes]:
        return await self._run(
            lambda connection: [document for (document,) in connection.exec_driver_sql(self._documents, (store,))]
        )

    async def row(self, space: str, key: str) -> bytes | None:
        return await self._scalar(self._row, (space, key))

    async def rows(self, space: str) -> dict[str, bytes]:
        return await self._run(
            lambda connection: {key: value for key, value in connection.exec_driver_sql(self._rows, (space,))}
        )

    async def lacking(self, logs: Sequence[int], count: int, least: int, most: int) -> list[tuple[bytes, int]]:
        def read(connection: Connection) -> list[tuple[int, bytes]]:
            wanted = frozenset(logs)
            named = select(BLOB.c.hash, BLOB.c.key, BLOB.c.size).where(text("held = 0"))
            found = connection.execute(named.where(BLOB.c.size.between(least, most)))
            return sorted({(size, hash) for hash, key, size in found if key >> SHIFT in wanted})[:count]

        return [(hash, size) for size, hash in await self._run(read)]

    async def _scalar(self, statement: str, values: tuple[Any, ...]) -> bytes | None:
        def read(connection: Connection) -> bytes | None:
            row = connection.exec_driver_sql(statement, values).fetchone()
            return None if row is None else row[0]

        return await self._run(read)

    async def _run(self, read: Callable[[Connection], T]) -> T:
        return await to_thread.run_sync(self._call, read, limiter=self._limiter)

    def _call(self, read: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return read(connection)
        except SQLAlchemyError as error:
            raise unreadable(error) from None


def _span(log: int, after: int, most: int) -> tuple[int, int]:
    """The keys of the `most` entries that follow a number: above the first, up to the second."""
    first = max(0, after)
    return log << SHIFT | first, log << SHIFT | min(_SEQ, first + most)
