"""One state of a whole database, written into another: for backups, and from one kind of database into the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.exc import SQLAlchemyError

from mesyx_core.journal.database import Database, Statements, failed, unreadable
from mesyx_core.journal.errors import CommitFailed, InUse
from mesyx_core.journal.tables import ENTRY, MANIFEST, METADATA

FILE: Final = "journal.db"
_BATCH: Final = 512

Told = Callable[[int, int], None]
"""Hears now and then how many entries are copied, and how many there are."""


def copy_out(source: Database, folder: Path, told: Told) -> Path:
    """A new SQLite database in an empty folder, whole and durable, as the source is now, whatever is written meanwhile.
    Raises CommitFailed, Unreadable."""
    target = Database(folder, None, True)
    try:
        _fill(source, target, told)
    finally:
        target.close()
    for suffix in ("-wal", "-shm"):  # all of it is in the database itself: settled
        (folder / f"{FILE}{suffix}").unlink(missing_ok=True)
    return folder / FILE


def copy_in(folder: Path, url: str, told: Told) -> None:
    """The database that `copy_out` has left in a folder, into an empty one elsewhere. Raises InUse when that is not
    empty, CommitFailed, Unreadable."""
    source, target = Database(folder, None, True), Database(folder, url, True)
    try:
        source.prepare(expected=True)
        _fill(source, target, told)
    finally:
        target.close()
        source.close()


def _fill(source: Database, target: Database, told: Told) -> None:
    target.prepare()
    try:
        with source.readers.connect() as reading, target.writer() as writing:
            whole = " ISOLATION LEVEL REPEATABLE READ" if source.dialect.name == "postgresql" else ""
            reading.exec_driver_sql(f"BEGIN{whole}")
            try:
                writing.exec_driver_sql("BEGIN")
                for table in METADATA.sorted_tables:
                    _table(reading, writing, table, Statements(target.dialect), told)
                _count_on(writing)
                writing.exec_driver_sql("COMMIT")
                target.settle(writing)
                if target.unsettled:
                    raise CommitFailed(
                        "the copy of the journal could not be finished", "see disk space, then try again"
                    )
            finally:
                reading.exec_driver_sql("ROLLBACK")
    except SQLAlchemyError as error:
        raise failed(error) from None


def _table(reading: Connection, writing: Connection, table: Table, statements: Statements, told: Told) -> None:
    try:
        if writing.execute(select(table).limit(1)).first() is not None:
            raise InUse("the database to be filled is not empty", "name an empty one")
        many = reading.execute(select(func.count()).select_from(table)).scalar_one() if table is ENTRY else 0
        rows = reading.execute(select(table).execution_options(yield_per=_BATCH))
    except SQLAlchemyError as error:
        raise unreadable(error) from None
    done = 0
    for batch in rows.partitions(_BATCH):
        statements.insert(writing, table, [tuple(row) for row in batch])
        done += len(batch)
        if many:
            told(done, many)


def _count_on(writing: Connection) -> None:
    """PostgreSQL counts keys by itself, and has counted none of those copied."""
    if writing.dialect.name == "postgresql":
        last = writing.execute(select(func.max(MANIFEST.c.number))).scalar()
        if last is not None:
            writing.exec_driver_sql("SELECT setval(pg_get_serial_sequence('manifest', 'number'), %s)", (last,))
