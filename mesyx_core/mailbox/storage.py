"""SQLCipher files: a random raw key, sealed beside the file; WAL; nothing of what is in them ever outside of them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import sqlcipher3.dbapi2 as sqlcipher

from mesyx_core.api import Locked, Temporary
from mesyx_core.journal.guard import Guard
from mesyx_core.vault import age

CACHES: Final = 128 << 20
"""Bytes that all open files together may keep of their pages; when there are more, they put new ones in place of old
ones. (The limit is the process's; the journal's SQLite is another library.)"""
_PRAGMAS: Final = (
    f"PRAGMA soft_heap_limit = {CACHES}",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -8000",
    "PRAGMA wal_autocheckpoint = 8000",
    "PRAGMA journal_size_limit = 4194304",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA busy_timeout = 60000",
)
_READERS: Final = 4


class Cursor(Protocol):
    """The part of a DB-API cursor in use."""

    @property
    def lastrowid(self) -> int: ...

    def fetchall(self) -> list[Any]: ...

    def fetchone(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """The part of a DB-API connection in use; transactions are begun and ended by hand."""

    def execute(self, sql: str, parameters: Sequence[object] = ...) -> Cursor: ...

    def executemany(self, sql: str, parameters: Any) -> Cursor: ...

    def close(self) -> None: ...


class Database:
    """One open file: a connection that writes, under a lock, and up to four that read. For use from any thread."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self._closed = False
        self._writing = threading.Lock()
        self._places = threading.BoundedSemaphore(_READERS)
        self._idle: list[Connection] = []
        self._spoilt = 0
        """How often connections were given up because of the disk."""
        self._guard = Guard(path)
        try:
            self._writer: Connection | None = self._connect()
        except BaseException:
            self._guard.close()
            raise
        self._guard.hold()

    def _connect(self) -> Connection:
        made: Connection = sqlcipher.connect(
            str(self._path), isolation_level=None, check_same_thread=False, cached_statements=256
        )
        made.execute(f"PRAGMA key = \"x'{self._key.hex()}'\"")
        for pragma in _PRAGMAS:
            made.execute(pragma)
        return made

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed and durable on a clean exit, otherwise nothing of it is kept. Raises Locked, and
        Temporary when the disk fails."""
        with self._writing, _told():
            self._check()
            db = self._writer = self._writer or self._connect()
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlcipher.Error):
                    db.execute("ROLLBACK")
                if isinstance(error, sqlcipher.OperationalError):
                    self._give_up(db)
                raise

    def _give_up(self, writer: Connection) -> None:
        """Go on with other connections: a file that SQLite could not open for writing it opens for reading, and stays
        with that until the last connection to it is closed."""
        self._spoilt += 1
        self._writer = None
        with contextlib.suppress(sqlcipher.Error):
            writer.close()
            while self._idle:
                self._idle.pop().close()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One state of the file, whatever is written meanwhile. Raises Locked, and Temporary when the disk fails."""
        with self._places, _told():
            self._check()
            try:
                db = self._idle.pop()
            except IndexError:
                db = self._connect()
            fit, spoilt = False, self._spoilt
            try:
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    db.execute("COMMIT")
                    fit = spoilt == self._spoilt
            finally:
                if self._closed or not fit:  # nothing good comes of it any more
                    db.close()
                else:
                    self._idle.append(db)

    @contextlib.contextmanager
    def beside(self, other: Database) -> Iterator[Connection]:
        """A transaction that reads another file as well, as `other`; it ends as that of `write` does. Its connection is
        given up afterwards, with all that it has cached."""
        with self._writing:
            self._check()
            other._check()
            db = self._connect()
            try:
                db.execute("ATTACH DATABASE ? AS other KEY \"x'" + other._key.hex() + "'\"", (str(other._path),))
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlcipher.Error):
                        db.execute("ROLLBACK")
                    raise
            finally:
                db.close()

    def check(self) -> list[str]:
        """What is wrong with the file, if anything."""
        with self.read() as db:
            found = [row[0] for row in db.execute("PRAGMA integrity_check")]
            found += [row[0] for row in db.execute("PRAGMA cipher_integrity_check")]
        return [text for text in found if text != "ok"]

    def close(self) -> None:
        """Close every connection, those in use as soon as they are not; whoever comes after finds the store locked."""
        self._closed, self._key = True, b""
        with self._writing:
            while self._idle:
                self._idle.pop().close()
            if self._writer is not None:
                with contextlib.suppress(sqlcipher.Error):
                    self._writer.execute("PRAGMA busy_timeout = 0")
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._writer.close()
            self._guard.close()

    def _check(self) -> None:
        if self._closed:
            raise Locked("the mailboxes of this store are closed", "mesyx store unlock, then log in again")


def open_database(
    path: Path,
    recipients: Sequence[str],
    identities: Sequence[age.Identity],
    random: Callable[[int], bytes],
    schema: Sequence[str],
    version: int,
) -> Database:
    """Open PATH.db with the key in PATH.key, or make both.

    A file that cannot be read with its key, or is of another version, is replaced by an empty one: all of it can be had
    from the log again. Raises Locked when no identity opens the key, Temporary when the disk fails: then what is there
    stays.
    """
    file, sealed = path.with_suffix(".db"), path.with_suffix(".key")
    key = _unseal(sealed, identities) if sealed.exists() else None
    if key is not None and file.exists():
        database = _existing(file, key, version)
        if database is not None:
            return database
    destroy(path)
    key = random(32)
    _write_durably(sealed, age.encrypt(key, recipients))
    database = Database(file, key)
    with database.write() as db:
        for statement in schema:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {version}")
    _sync_folder(path.parent)
    return database


def destroy(path: Path) -> None:
    """Remove a file and its key, durably; the key first, without which the rest is noise."""
    key = path.with_suffix(".key")
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(key, os.O_WRONLY)  # in place: the blocks that it lies in, where the disk allows that
        try:
            os.pwrite(handle, bytes(os.fstat(handle).st_size), 0)
            os.fsync(handle)
        finally:
            os.close(handle)
        key.unlink()
        _sync_folder(path.parent)
    for suffix in (".db-wal", ".db-shm", ".db"):
        path.with_suffix(suffix).unlink(missing_ok=True)
    _sync_folder(path.parent)


def _existing(file: Path, key: bytes, version: int) -> Database | None:
    try:
        database = Database(file, key)
    except sqlcipher.OperationalError as error:
        raise _failing(error) from None
    except sqlcipher.DatabaseError:
        return None
    try:
        with database.read() as db:
            if db.execute("PRAGMA user_version").fetchone()[0] == version:
                return database
    except Temporary:
        database.close()
        raise
    except sqlcipher.DatabaseError:
        pass
    database.close()
    return None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What SQLite says of the disk, as our own error; what it says of a statement stays a fault of ours."""
    try:
        yield
    except sqlcipher.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR":
            raise
        raise _failing(error) from None


def _failing(error: Exception) -> Temporary:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return Temporary(f"the index of the mailboxes cannot be used now ({name})", "see disk space, rights and the disk")


def _unseal(sealed: Path, identities: Sequence[age.Identity]) -> bytes | None:
    try:
        key = age.decrypt(sealed.read_bytes(), identities)
    except age.NoMatch:
        raise Locked("the index is sealed to a key that is not open here", "mesyx store unlock") from None
    except age.AgeError:
        return None  # torn or foreign: the index is made anew
    return key if len(key) == 32 else None


def _write_durably(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
