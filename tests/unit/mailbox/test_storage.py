"""What becomes of an index file that cannot be read or written."""

from __future__ import annotations

import ctypes
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3._sqlite3
import sqlcipher3.dbapi2 as sqlcipher

from mesyx_core.api import Temporary
from mesyx_core.mailbox import storage
from mesyx_core.vault import age

KEEPER = age.generate(hybrid=False)


def opened(path: Path) -> storage.Database:
    return storage.open_database(path, [KEEPER.recipient], [KEEPER], os.urandom, ["CREATE TABLE t (x)"], 1)


def test_an_index_that_the_disk_does_not_give_now_stays_for_later(tmp_path: Path, monkeypatch: Any) -> None:
    database = opened(tmp_path / "index")
    with database.write() as db:
        db.execute("INSERT INTO t VALUES (1)")
    database.close()

    def fails(*_: object, **__: object) -> None:
        raise sqlcipher.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(sqlcipher, "connect", fails)
        with pytest.raises(Temporary):
            opened(tmp_path / "index")
    database = opened(tmp_path / "index")
    with database.read() as db:
        assert db.execute("SELECT x FROM t").fetchone() == (1,)
    database.close()


def test_an_index_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    opened(tmp_path / "index").close()
    (tmp_path / "index.db").write_bytes(os.urandom(16384))
    database = opened(tmp_path / "index")
    with database.read() as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    database.close()


def test_a_disk_that_fails_under_an_open_index_is_a_reason_to_try_again_later(tmp_path: Path, monkeypatch: Any) -> None:
    database = opened(tmp_path / "index")
    with database.write() as db:
        db.execute("PRAGMA max_page_count = 3")
    with pytest.raises(Temporary, match="SQLITE_FULL"), database.write() as db:
        db.execute("INSERT INTO t VALUES (randomblob(100000))")

    def fails(*_: object, **__: object) -> None:
        raise sqlcipher.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(sqlcipher, "connect", fails)
        with pytest.raises(Temporary), database.write():
            pass
        with pytest.raises(Temporary), database.read():
            pass
    with database.write() as db:
        db.execute("INSERT INTO t VALUES (1)")
    database.close()


def test_a_statement_that_is_wrong_is_not_called_a_failing_disk(tmp_path: Path) -> None:
    database = opened(tmp_path / "index")
    with pytest.raises(sqlcipher.OperationalError, match="no such table"), database.read() as db:
        db.execute("SELECT x FROM u")
    database.close()


def test_all_open_files_together_keep_no_more_of_their_pages_than_is_allowed(tmp_path: Path, monkeypatch: Any) -> None:
    """A store may have many keysets, and each has a file."""
    library = ctypes.CDLL(sqlcipher3._sqlite3.__file__)
    library.sqlite3_memory_used.restype = ctypes.c_int64
    allowed = library.sqlite3_memory_used() + (8 << 20)
    monkeypatch.setattr(storage, "_PRAGMAS", (*storage._PRAGMAS, f"PRAGMA soft_heap_limit = {allowed}"))
    databases = [opened(tmp_path / f"index{number}") for number in range(4)]
    for database in databases:
        with database.write() as db:
            db.executemany("INSERT INTO t VALUES (?)", ((os.urandom(1000),) for _ in range(5_000)))
        with database.read() as db:
            assert db.execute("SELECT sum(length(x)) FROM t").fetchone() == (5_000_000,)
    assert library.sqlite3_memory_used() < allowed + (1 << 20)
    for database in databases:
        database.close()
    with closing(sqlcipher.connect(":memory:")) as any_file:  # the limit is the process's
        any_file.execute(f"PRAGMA soft_heap_limit = {storage.CACHES}")
