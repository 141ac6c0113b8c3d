"""The database under the journal: connections, schema, statements made once, and what an error means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.sql import ClauseElement

from mesyx_core.api import Misconfigured
from mesyx_core.journal.errors import CommitFailed, InUse, Unreadable
from mesyx_core.journal.guard import Guard
from mesyx_core.journal.tables import METADATA

HEAD: Final = "0002"
"""The newest migration; a fresh database is made at once and stamped with it."""
READERS: Final = 4
_LOCK: Final = 0x6D65737978  # "mesyx"
"""The lock in PostgreSQL of the one node that writes to a database, held by its writing connection."""
_PSYCOPG: Final = "pip install 'mesyx[postgresql]'"
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}\Z")
_CHUNKS: Final = (128, 64, 32, 16, 8, 4, 2, 1)
"""Rows of one INSERT: a statement a row would hand the interpreter over to other threads once a row."""


class Database:
    """One connection that writes, for one thread, and a few that read."""

    def __init__(self, folder: Path, url: str | None, durable: bool) -> None:
        self._url = _location(folder, url)
        backend = self._url.get_backend_name()
        self._durable = durable
        self._guard = Guard(Path(self._url.database)) if backend == "sqlite" and self._url.database else None
        self.readers = self._engine(reading=True)
        self._writers = self._engine(reading=False)

    @property
    def dialect(self) -> Dialect:
        return self._writers.dialect

    def writer(self) -> Connection:
        """A connection that takes BEGIN and COMMIT as given, and can write: on trouble with a file SQLite opens
        it for reading only. Raises Unreadable, CommitFailed."""
        connection = None
        try:
            connection = self._writers.connect()
            if self.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
                connection.exec_driver_sql("ROLLBACK")
            elif not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LOCK})").scalar():
                connection.close()
                raise InUse("the journal's database is open in another process", "give each node a database of its own")
        except SQLAlchemyError as error:
            self.readers.dispose()  # they share what SQLite could open for reading only, as long as one is open
            with suppress(SQLAlchemyError):
                if connection is not None:
                    connection.invalidate()
                    connection.close()
            raise unreadable(error) from None
        return connection

    def prepare(self, expected: bool = False) -> None:
        """Make the schema, or bring it up to date. Where one is `expected` none is made: an empty journal would make
        strangers of all its stores. Raises Unreadable."""
        if self._guard is not None and self._guard.empty and (expected or self._guard.unmerged):
            raise self._gone()  # SQLite would delete the write-ahead log of a database that is empty
        try:
            with self._writers.connect() as connection:
                self._prepare(connection, expected)
        except SQLAlchemyError as error:
            raise unreadable(error) from None
        if self._guard is not None:
            self._guard.hold()

    def merge(self, connection: Connection) -> None:
        """Copy the write-ahead log into the database as far as readers allow; a failure only means later."""
        if self.dialect.name == "sqlite":
            with suppress(SQLAlchemyError):
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def wipe(self, connection: Connection) -> bool:
        """Copy all of the write-ahead log and empty it, so that it holds nothing either of what was dropped; False when
        somebody is reading: then it is to be tried again."""
        if self.dialect.name != "sqlite":
            return True
        try:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            try:
                found = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.exec_driver_sql("PRAGMA busy_timeout = 10000")
        except SQLAlchemyError:
            return False
        return found is not None and found[0] == 0

    def settle(self, connection: Connection) -> None:
        """At the end, copy all of the write-ahead log, and empty it."""
        if self.dialect.name == "sqlite":
            self.readers.dispose()
            with suppress(SQLAlchemyError):
                connection.exec_driver_sql("PRAGMA busy_timeout = 0")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def unsettled(self) -> bool:
        """Whether there is a write-ahead log with something in it."""
        if self.dialect.name != "sqlite" or not self._url.database:
            return False
        log = Path(f"{self._url.database}-wal")
        return log.exists() and log.stat().st_size > 0

    def close(self) -> None:
        """Once every connection is closed."""
        self.readers.dispose()
        self._writers.dispose()
        if self._guard is not None:
            self._guard.close()

    def _gone(self) -> Unreadable:
        return Unreadable(
            f"the journal that was kept in {self._url.database} is not there any more",
            "restore it from a backup; to start empty and fetch from peers, move its folder away",
        )

    def _prepare(self, connection: Connection, expected: bool) -> None:
        if not inspect(connection).has_table("alembic_version"):
            if expected:
                raise self._gone()
            connection.exec_driver_sql("BEGIN")
            METADATA.create_all(connection)
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
            connection.exec_driver_sql("COMMIT")
            return
        held = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if held == HEAD:
            return
        if not isinstance(held, str) or held > HEAD:
            raise Unreadable("the journal was made by a later version of Mesyx", "update Mesyx on this node")
        from mesyx_core.journal.migrate import upgrade  # Alembic costs 12 MB, so only when needed

        upgrade(connection)

    def _engine(self, *, reading: bool) -> Engine:
        pool: dict[str, Any] = (
            {"poolclass": QueuePool, "pool_size": READERS, "max_overflow": 0} if reading else {"poolclass": NullPool}
        )
        local = self._url.get_backend_name() == "sqlite"
        engine = create_engine(
            self._url,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args={"check_same_thread": False, "timeout": 10} if local else {},
            **({} if local else {"paramstyle": "format"}),
            **pool,
        )
        if local:
            event.listen(engine, "connect", lambda raw, _: self._set_up(raw, reading))
        elif not self._durable and not reading:
            event.listen(engine, "connect", lambda raw, _: raw.execute("SET synchronous_commit = off"))
        return engine

    def _set_up(self, raw: Any, reading: bool) -> None:
        if reading:
            settings = ["query_only = ON"]
        else:
            settings = [
                "journal_mode = WAL",
                f"synchronous = {'FULL' if self._durable else 'NORMAL'}",
                "wal_autocheckpoint = 16384",  # the writer does it sooner, between commits
                "journal_size_limit = 67108864",
                "cache_size = -8192",
                "secure_delete = ON",  # what is dropped or purged is to be gone
            ]
        for setting in settings:
            raw.execute(f"PRAGMA {setting}")


def _location(folder: Path, url: str | None) -> URL:
    """Where the journal of a folder is. Raises Misconfigured."""
    found = make_url(url or f"sqlite:///{folder / 'journal.db'}")
    backend = found.get_backend_name()
    if backend == "postgresql":
        if find_spec("psycopg") is None:
            raise Misconfigured("the journal is to be in PostgreSQL, and psycopg is not installed", _PSYCOPG)
        return found.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise Misconfigured(f"no journal can be kept in {backend}", 'write database = "sqlite" or a postgresql:// URL')
    return found


class Statements:
    """SQL text made once from Core statements, for rows that come as tuples in column order."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._inserts: dict[tuple[str, int], str] = {}

    def text(self, statement: ClauseElement) -> str:
        """SQL of a statement whose parameters are given by position, in the order they stand in it."""
        return str(statement.compile(dialect=self._dialect))

    def insert(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows in as few statements as their number allows."""
        at = 0
        for size in _CHUNKS:
            while len(rows) - at >= size:
                flat = tuple(value for row in rows[at : at + size] for value in row)
                connection.exec_driver_sql(self._insert(table, size), flat)
                at += size

    def _insert(self, table: Table, size: int) -> str:
        found = self._inserts.get((table.name, size))
        if found is None:
            values = [{c.name: bindparam(f"{c.name}_{n}", type_=c.type) for c in table.c} for n in range(size)]
            found = self._inserts[(table.name, size)] = self.text(insert(table).values(values))
        return found

    def upsert(self, table: Table) -> str:
        """Insert a row, or replace the one of the same primary key."""
        make: Any = postgresql.insert if self._dialect.name == "postgresql" else sqlite.insert
        statement = make(table).values({c.name: bindparam(c.name, type_=c.type) for c in table.c})
        keys = [c.name for c in table.primary_key]
        new = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        return self.text(statement.on_conflict_do_update(index_elements=keys, set_=new))


def unreadable(error: SQLAlchemyError) -> Unreadable | CommitFailed:
    """What a failure to read means. Never repeats the statement or its values."""
    name = _code(error)
    if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA", "SQLITE_ERROR") or name.startswith(
        "SQLITE_CORRUPT"
    ):
        return Unreadable(
            f"the journal's database is damaged ({name})",
            "restore it from a backup, or start empty and fetch from peers",
        )
    return CommitFailed(f"the journal's database cannot be read now ({name})", "see disk space, rights and connection")


def failed(error: BaseException) -> CommitFailed:
    """A change that was not kept."""
    if isinstance(error, OSError):
        return CommitFailed(f"the disk did not take it ({error.strerror or type(error).__name__})", "see disk space")
    name = _code(error)
    if name == "SQLITE_FULL":
        return CommitFailed("the disk is full", "free some space")
    return CommitFailed(f"the database did not take it ({name})", "see disk space and the database's own log")


def surely_undone(error: BaseException) -> bool:
    """Whether a COMMIT that raised `error` has kept nothing, for certain.

    SQLite writes last the frame that makes a transaction valid; when a write failed, that frame is not whole. When a
    sync failed it may be, and a crash could bring it back.
    """
    code = _code(error)
    if _SQLSTATE.match(code):  # PostgreSQL itself says that it did not; a connection that breaks says nothing
        return not code.startswith(("08", "57P"))
    return code in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_BUSY")


def spoilt(error: BaseException) -> bool:
    """Whether the connection is of no use after `error`: a file that SQLite could not open for writing it opens for
    reading, and stays with that until the last connection to it is closed."""
    return _code(error).startswith(("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN"))


def _code(error: BaseException) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(origin, "sqlite_errorname", None) or getattr(origin, "sqlstate", None)
    return name if isinstance(name, str) else type(origin).__name__
