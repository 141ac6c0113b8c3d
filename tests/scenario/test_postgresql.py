"""The journal in PostgreSQL keeps every promise that it keeps in SQLite."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psycopg
import pytest

from mesyx_core.api import Temporary
from mesyx_core.journal import Journal
from mesyx_core.journal.copying import copy_in
from mesyx_core.journal.errors import InUse
from tests.contract import test_journal as contract
from tests.contract.test_journal import Opener, begin, held, sealed
from tests.scenario import peers

globals().update({name: test for name, test in vars(contract).items() if name.startswith("test_")})
pytestmark = [pytest.mark.scenario, pytest.mark.anyio]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough here: what is under test is the database."""
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with peers.postgresql() as url:
        yield url


def database(server: str) -> str:
    """The URL of a new one."""
    name = f"journal{next(_numbers)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture
def opened(server: str, tmp_path: Path) -> Opener:
    """In place of the contract's own: the journal of a name, its blobs in a folder, all else in PostgreSQL."""
    urls: dict[str, str] = {}

    @asynccontextmanager
    async def opened(name: str) -> AsyncIterator[Journal]:
        if name not in urls:
            urls[name] = database(server)
        async with Journal.open(tmp_path / name, url=urls[name]) as journal:
            yield journal

    return opened


async def test_a_database_serves_one_journal_at_a_time(opened: Opener, tmp_path: Path, server: str) -> None:
    url = database(server)
    async with Journal.open(tmp_path / "one", url=url):
        with pytest.raises(InUse, match="another process"):
            async with Journal.open(tmp_path / "two", url=url):
                pass
    async with Journal.open(tmp_path / "one", url=url):
        pass


async def test_a_server_that_is_shut_down_loses_nothing_and_is_gone_on_with_when_it_is_back(
    server: str, tmp_path: Path
) -> None:
    url = database(server)
    async with Journal.open(tmp_path / "journal", url=url) as journal:
        log = await begin(journal)
        assert await journal.commit([(log, sealed(b"before"))]) == [2]
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()")
        with pytest.raises(Temporary):
            await journal.commit([(log, sealed(b"lost"))])
        while True:
            try:
                log = log if not log.ended else await begin(journal)
                await journal.commit([(log, sealed(b"after"))])
                break
            except Temporary:
                await anyio.sleep(0.1)
        payloads = [entry.payload for entry in await held(journal, log.origin)]
        assert payloads.count(b"after") == 1


async def test_a_copy_fills_another_database_and_an_empty_one_alone(
    opened: Opener, tmp_path: Path, server: str
) -> None:
    target, url = tmp_path / "copy", database(server)
    target.mkdir()
    async with opened("a") as journal:
        log = await begin(journal)
        await journal.put_manifest(contract.STORE, contract.MANIFEST, b"document")
        await journal.commit([(log, sealed(b"text", index)) for index in range(600)])
        await journal.copy(target, lambda done, of: None)
        whole = await held(journal, log.origin)
    copy_in(target, url, lambda done, of: None)
    async with Journal.open(tmp_path / "restored", url=url) as restored:
        assert await held(restored, log.origin) == whole
        await restored.put_manifest(contract.STORE, b"n" * 32, b"another")
        assert await restored.manifests(contract.STORE) == [b"document", b"another"]
    with pytest.raises(InUse, match="not empty"):
        copy_in(target, url, lambda done, of: None)
