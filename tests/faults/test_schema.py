"""Databases that another version of Mesyx made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import pytest

from mesyx_core.journal import Journal
from tests.faults.marks import fault
from tests.faults.trial import SMALL, arrived, complete, mail, offer, started
from tests.scenario.cluster import Pair, joined
from tests.scenario.listing import index

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]
FIRST = Path(__file__).with_name("schema-0001.sql")
"""A journal of the first schema with what one can hold, as `sqlite3 journal.db .dump` wrote it."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        pair = joined(tmp_path_factory.mktemp("schema"), stack)
        assert offer(pair, mail(0, SMALL)) == 250
        arrived(pair, 1)
        yield pair


def journal(pair: Pair) -> Path:
    return pair.gateway.folder / "state" / "journal" / "journal.db"


@fault("downgrade")
def test_a_journal_of_a_later_version_is_refused_and_left_as_it_is(pair: Pair) -> None:
    pair.gateway.stop()
    with closing(sqlite3.connect(journal(pair))) as database:
        [held] = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    started(pair.gateway).refused("made by a later version of Mesyx", "update Mesyx")
    with closing(sqlite3.connect(journal(pair))) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
        database.execute("UPDATE alembic_version SET version_num = ?", (held,))
        database.commit()
    pair.gateway.start()
    complete(pair, 1)


@fault("upgrade-journal")
def test_a_journal_of_the_first_schema_is_brought_up_to_date_with_all_that_is_in_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as old:
        old.executescript(FIRST.read_text("utf-8"))
        logs = old.execute("SELECT count(*) FROM log").fetchone()[0]
        entries = old.execute("SELECT count(*) FROM entry").fetchone()[0]
    assert logs
    assert entries

    async def read() -> tuple[int, int]:
        async with Journal.open(tmp_path) as journal:
            heads = [head for store, _ in await journal.stores() for head in await journal.heads(store)]
            assert await journal.get("kept", "row") == b"as it was"
            return len(heads), sum(head.seq for head in heads)

    assert anyio.run(read) == (logs, entries)


@fault("upgrade-index")
def test_an_index_of_another_version_is_made_anew_from_the_log(pair: Pair) -> None:
    pair.client.stop()
    for sealed in (pair.client.folder / "state").glob("mailbox/*/*.key"):
        with index(pair.client, sealed) as database:
            database.execute("PRAGMA user_version = 1")
            database.commit()
    pair.client.start()
    complete(pair, 1)
