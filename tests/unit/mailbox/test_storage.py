"""What becomes of an index file that cannot be read or written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
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
