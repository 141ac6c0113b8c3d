"""A journal made by migrations is the one that is made at once."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from mesyx_core.journal import CommitFailed, database, migrate
from mesyx_core.journal.database import Database
from mesyx_core.journal.tables import METADATA
from mesyx_core.record.entry import Header, Kind
from tests.contract.later import NEXT, update

DYING = NEXT + "    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n"
"""Before it is committed."""


def test_migrating_from_nothing_gives_the_tables_of_today(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        migrate.upgrade(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == database.HEAD
    with closing(sqlite3.connect(tmp_path / "b.db")) as at_once:
        for table in METADATA.sorted_tables:
            at_once.execute(str(CreateTable(table).compile(dialect=engine.dialect)))
            for index in table.indexes:
                at_once.execute(str(CreateIndex(index).compile(dialect=engine.dialect)))
    assert kinds(tmp_path / "a.db") == kinds(tmp_path / "b.db")


def kinds(file: Path) -> dict[str, tuple[bool, str]]:
    """What a comparison by SQLAlchemy does not see: tables without row numbers, and of what an index is a part."""
    with closing(sqlite3.connect(file)) as found:
        rows = found.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL AND name != 'alembic_version'")
        return {name: ("WITHOUT ROWID" in sql, sql.partition(" WHERE ")[2].strip()) for name, sql in rows}


def test_the_head_named_in_code_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_current_head() == database.HEAD


def test_an_older_database_is_migrated_at_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    place = Database(tmp_path, None, True)
    place.prepare()
    with place.writer() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    monkeypatch.setattr(migrate, "upgrade", lambda connection: ran.append("upgrade"))
    place.prepare()
    assert ran == ["upgrade"]
    place.close()


def test_marks_are_made_of_the_entries_that_are_there(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}", isolation_level="AUTOCOMMIT")
    kinds = [Kind.START, Kind.EPOCH, Kind.SEALED, Kind.CLOSE, Kind.PURGE]
    with engine.connect() as connection:
        migrate.upgrade(connection, "0001")
        for seq, kind in enumerate(kinds, 1):
            header = Header(kind, 1, 0, b"", (), 1, b"h" * 32).encode()
            connection.exec_driver_sql("INSERT INTO entry (key, header) VALUES (?, ?)", (1 << 40 | seq, header))
        migrate.upgrade(connection)
        found = connection.exec_driver_sql("SELECT key & 0xff, kind FROM mark ORDER BY key").fetchall()
    assert [tuple(row) for row in found] == [(2, Kind.EPOCH), (4, Kind.CLOSE), (5, Kind.PURGE)]


def test_tables_that_a_migration_makes_anew_keep_what_makes_them_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Database(tmp_path, None, True)
    place.prepare()
    before = kinds(tmp_path / "journal.db")
    update(monkeypatch, tmp_path / "migrations")
    place.prepare()
    place.close()
    after = kinds(tmp_path / "journal.db")
    assert after.pop("colour") == (False, "")
    assert after == before


def test_a_disk_that_is_full_amid_a_migration_is_named_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Database(tmp_path, None, True)
    place.prepare()
    before = kinds(tmp_path / "journal.db")
    full = '    op.execute("PRAGMA max_page_count = 40")\n    op.execute("INSERT INTO colour (name) VALUES (zeroblob(1000000))")\n'
    update(monkeypatch, tmp_path / "migrations", NEXT + full)
    with pytest.raises(CommitFailed, match="SQLITE_FULL") as refused:
        place.prepare()
    assert refused.value.remedy.startswith("see disk space")
    place.close()
    assert kinds(tmp_path / "journal.db") == before


def test_a_migration_that_is_killed_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Database(tmp_path, None, True)
    place.prepare()
    place.close()
    before = kinds(tmp_path / "journal.db")
    child = os.fork()
    if not child:
        try:
            update(monkeypatch, tmp_path / "dying", DYING)
            Database(tmp_path, None, True).prepare()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert kinds(tmp_path / "journal.db") == before
    update(monkeypatch, tmp_path / "migrations")
    place = Database(tmp_path, None, True)
    place.prepare()
    place.close()
    assert kinds(tmp_path / "journal.db") == {**before, "colour": (False, "")}
