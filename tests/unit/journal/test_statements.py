"""The statements of the hot paths are ones that PostgreSQL takes too, with values by position."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite

from mesyx_core.journal.database import Statements
from mesyx_core.journal.tables import ENTRY, ROW
from mesyx_core.journal.transaction import Sql


def test_statements_are_made_for_either_database() -> None:
    for dialect, mark in ((sqlite.dialect(), "?"), (postgresql.dialect(paramstyle="format"), "%s")):
        statements = Statements(dialect)
        sql = Sql(statements)
        assert sql.put_row.count(mark) == 3
        assert "ON CONFLICT (space, " in sql.put_row
        assert sql.drop_row.count(mark) == 2
        assert (sql.move_log.count(mark), sql.sign_log.count(mark)) == (7, 8)
        assert statements.upsert(ROW) == sql.put_row


class Recorder:
    def __init__(self) -> None:
        self.ran: list[tuple[int, int]] = []

    def exec_driver_sql(self, statement: str, values: tuple[object, ...]) -> None:
        self.ran.append((statement.count("?"), len(values)))


def test_many_rows_go_in_few_statements() -> None:
    recorder = Recorder()
    rows = [(n, b"header", b"payload") for n in range(128 + 32 + 8 + 3)]
    Statements(sqlite.dialect()).insert(recorder, ENTRY, rows)  # type: ignore[arg-type]  # all of a connection it needs
    assert recorder.ran == [(3 * n, 3 * n) for n in (128, 32, 8, 2, 1)]
