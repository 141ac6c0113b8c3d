"""A version of Mesyx to come, whose journal has another schema: rows that say when they came, logs of a colour."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mesyx_core.journal import database, migrate

NEXT = '''
"""What a migration may do: new tables, new columns, a table made anew, and values that follow from others."""

import sqlalchemy as sa
from alembic import op

revision = "@next"
down_revision = "@head"


def upgrade() -> None:
    op.create_table("colour", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    op.bulk_insert(sa.table("colour", sa.column("id"), sa.column("name")), [{"id": 7, "name": "green"}])
    with op.batch_alter_table("log", recreate="always") as log:
        log.add_column(sa.Column("colour", sa.Integer, nullable=False, server_default="7"))
    with op.batch_alter_table("entry", recreate="always") as entry:
        entry.add_column(sa.Column("came", sa.BigInteger, nullable=True))
    with op.batch_alter_table("row", recreate="always", table_kwargs={"sqlite_with_rowid": False}) as row:
        row.add_column(sa.Column("came", sa.BigInteger, nullable=False, server_default="0"))
    op.execute('UPDATE "row" SET came = length(value)')
'''
FAILING = NEXT + '    op.execute("INSERT INTO colour (id) VALUES (7)")\n'


def update(monkeypatch: pytest.MonkeyPatch, folder: Path, migration: str = NEXT) -> None:
    """From now on, this is that version."""
    number = f"{int(database.HEAD) + 1:04}"
    shutil.copytree(migrate.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    code = migration.replace("@next", number).replace("@head", database.HEAD)
    (folder / "versions" / f"{number}_next.py").write_text(code)
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)
    monkeypatch.setattr(database, "HEAD", number)
