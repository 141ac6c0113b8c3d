"""A journal made by migrations is the one that is made at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from mesyx_core.journal import database, migrate
from mesyx_core.journal.database import Database
from mesyx_core.journal.tables import METADATA
from mesyx_core.record.entry import Header, Kind

MIGRATIONS = Path(migrate.__file__).parent / "migrations"


def test_migrating_from_nothing_gives_the_tables_of_today(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        migrate.upgrade(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == database.HEAD
        made = inspect(connection)
        indexes = {index["name"] for table in made.get_table_names() for index in made.get_indexes(table)}
        assert {"entry_missing", "blob_lacking"} <= indexes


def test_the_head_named_in_code_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == database.HEAD


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
