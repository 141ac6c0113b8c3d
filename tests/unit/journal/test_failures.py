"""What a journal does when the disk, the database or another process is in its way."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.exc import OperationalError

from mesyx_core.api import Permanent
from mesyx_core.journal import CommitFailed, CommitUnknown, Draft, InUse, Journal, Log, LogEnded, Unreadable
from mesyx_core.record.entry import Origin
from mesyx_core.record.payloads import Earlier, decode_start
from mesyx_core.vault.nodekey import NodeKey

pytestmark = pytest.mark.anyio
STORE = b"s" * 32
KEY = NodeKey(b"a" * 32)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def begin(journal: Journal) -> Log:
    await journal.add_store(STORE, "alice")
    return await journal.begin_log(STORE, KEY, b"m" * 32, os.urandom(16), lambda: 0)


def sealed(payload: bytes, *blobs: Any) -> Draft:
    return Draft(3, 1, 0, b"s" * 32, payload, blobs)


@contextmanager
def full_disk(room: int, folder: Path) -> Iterator[None]:
    """No file grows beyond the largest there is and `room` bytes more."""
    largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class FailingCommit:
    """A connection whose next COMMIT reports `code`, after or instead of doing its work."""

    def __init__(self, connection: Any, code: str, kept: bool) -> None:
        self._connection = connection
        self._code = code
        self._kept = kept
        self._armed = True

    def exec_driver_sql(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT" and self._armed:
            self._armed = False
            if self._kept:
                self._connection.exec_driver_sql(statement)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = self._code
            raise OperationalError(None, None, error)
        return self._connection.exec_driver_sql(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def arm(journal: Journal, code: str, *, kept: bool) -> None:
    journal._writer._connection = FailingCommit(  # type: ignore[assignment]  # all of it that is used
        journal._writer._connection, code, kept
    )


async def test_a_full_disk_keeps_nothing_and_the_next_commit_works(tmp_path: Path) -> None:
    secret = b"a secret that no error may repeat" * 40_000
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        await journal.commit([(log, sealed(b"before"))])
        with full_disk(100_000, tmp_path), pytest.raises(CommitFailed) as failure:
            await journal.commit([(log, sealed(secret[: 1 << 20]))], rows=[("space", "key", secret)])
        assert "secret" not in repr(failure.value) + repr(failure.value.__context__)
        assert not log.ended
        assert await journal.get("space", "key") is None
        assert await journal.commit([(log, sealed(b"after"))]) == [3]
    async with Journal.open(tmp_path) as journal:
        assert [entry.payload for _, entry in await journal.entries(log.origin, 1)] == [b"before", b"after"]


async def test_a_full_disk_under_many_fails_only_those_that_do_not_fit(tmp_path: Path) -> None:
    kept: list[bytes] = []
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)

        async def commit(payload: bytes) -> None:
            try:
                await journal.commit([(log, sealed(payload))])
            except CommitFailed:
                return
            kept.append(payload)

        with full_disk(500_000, tmp_path):
            async with anyio.create_task_group() as group:
                for number in range(40):
                    group.start_soon(commit, b"%d" % number if number % 2 else bytes(1_000_000))
        await journal.commit([(log, sealed(b"after"))])
    assert sorted(kept) == sorted(b"%d" % number for number in range(1, 40, 2))
    async with Journal.open(tmp_path) as journal:
        found = [entry.payload for _, entry in await journal.entries(log.origin, 1, max_bytes=1 << 30)]
        assert sorted(filter(None, found)) == sorted([*kept, b"after"])


async def test_a_blob_that_does_not_fit_fails_alone(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        blob = journal.new_blob()
        with full_disk(100_000, tmp_path), pytest.raises(CommitFailed):
            await blob.write(bytes(2 << 20))
        blob.close()
        await journal.commit([(log, sealed(b"after"))])


async def test_a_blob_can_be_committed_again_after_a_failure(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        blobs = [journal.new_blob(), journal.new_blob()]
        for number, blob in enumerate(blobs):
            await blob.write(b"%d" % number * 1000)
            await blob.finish()
        for blob in blobs:
            arm(journal, "SQLITE_FULL", kept=False)
            with pytest.raises(CommitFailed):
                await journal.commit([(log, sealed(b"x", blob))])
        await journal.commit([(log, sealed(b"x", blobs[0]))])
        for blob in blobs:
            blob.close()
        assert await journal.has_blob(blobs[0].hash)
        assert not await journal.has_blob(blobs[1].hash)


@pytest.mark.parametrize("kept", [True, False])
async def test_an_unknown_outcome_ends_the_log_and_a_new_one_begins(tmp_path: Path, kept: bool) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        await journal.commit([(log, sealed(b"sure"))])
        blob = journal.new_blob()
        await blob.write(b"blob")
        await blob.finish()
        arm(journal, "SQLITE_IOERR_FSYNC", kept=kept)
        with pytest.raises(CommitUnknown):
            await journal.commit([(log, sealed(b"perhaps", blob))])
        assert log.ended
        with pytest.raises(LogEnded):
            await journal.commit([(log, sealed(b"more"))])
        second = await begin(journal)
        first = decode_start((await journal.entries(second.origin, 0))[0][1].payload or b"").earlier
        assert first == (Earlier(log.origin.incarnation, 3 if kept else 2, log.chain),)
        assert log.seq == len(await journal.entries(log.origin, 0))
    async with Journal.open(tmp_path) as journal:
        assert await journal.has_blob(blob.hash) is kept
        assert [head.seq for head in await journal.heads(STORE) if head.incarnation == log.origin.incarnation] == [
            3 if kept else 2
        ]


async def test_a_second_opening_is_refused(tmp_path: Path) -> None:
    async with Journal.open(tmp_path):
        with pytest.raises(InUse, match="open in another process"):
            async with Journal.open(tmp_path):
                pass
    async with Journal.open(tmp_path):
        pass


async def test_a_damaged_database_is_named_as_such(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        await journal.commit([(log, sealed(os.urandom(3000))) for _ in range(100)])
    database = tmp_path / "journal.db"
    whole = database.read_bytes()
    for damaged in (b"no database at all" * 500, whole[:100] + bytes(4000) + whole[4100:], whole[:5000]):
        database.write_bytes(damaged)
        with pytest.raises(Unreadable, match="damaged"):
            async with Journal.open(tmp_path):
                pass
    database.write_bytes(whole)
    async with Journal.open(tmp_path) as journal:
        assert len(await journal.stores()) == 1


async def test_damage_found_later_is_named_as_such(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        await journal.commit([(log, sealed(os.urandom(3000))) for _ in range(300)])
    database = tmp_path / "journal.db"
    whole = database.read_bytes()
    database.write_bytes(whole[:100_000] + os.urandom(len(whole) - 100_000))
    with pytest.raises(Unreadable, match="damaged"):
        async with Journal.open(tmp_path) as journal:
            await journal.entries(log.origin, 0, max_bytes=1 << 30)


async def test_a_later_version_is_refused(tmp_path: Path) -> None:
    async with Journal.open(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "journal.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unreadable, match="later version"):
        async with Journal.open(tmp_path):
            pass


async def test_a_closed_journal_commits_no_more(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
    with pytest.raises(CommitFailed):
        await journal.commit([(log, sealed(b"late"))])


async def test_a_cancelled_caller_does_not_take_its_call_back(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.commit([(log, sealed(b"x"))])
        await journal.commit([(log, sealed(b"y"))])
        assert [entry.payload for _, entry in await journal.entries(log.origin, 1)] == [b"x", b"y"]


async def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    async with Journal.open(folder) as journal:
        await begin(journal)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o077 for path in folder.rglob("*")} == {0}


async def test_a_listener_that_fails_keeps_no_other_from_hearing(tmp_path: Path) -> None:
    heard: list[int] = []
    shown: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: shown.append(type(context["exception"]).__name__)
    )

    def failing(origin: Origin, seq: int) -> None:
        raise KeyError(seq)

    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        journal.on_commit(failing)
        journal.on_commit(lambda _, seq: heard.append(seq))
        await journal.commit([(log, sealed(b"x"))])
        await anyio.lowlevel.checkpoint()
    assert heard == [2]
    assert shown == ["KeyError"]


async def test_what_others_would_refuse_is_not_written(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        blobs = [journal.new_blob() for _ in range(33)]
        for blob in blobs:
            await blob.finish()
        for draft in (sealed(b"x", *blobs), sealed(bytes((1 << 20) + 1))):
            with pytest.raises(Permanent):
                await journal.commit([(log, draft)])
        assert log.seq == 1


class SlowCommit:
    """A connection whose COMMITs take a moment."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def exec_driver_sql(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            time.sleep(0.2)
        return self._connection.exec_driver_sql(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("nameless", [True, False])
async def test_who_is_cancelled_while_committing_takes_no_blob_from_its_entry(
    tmp_path: Path, nameless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        blob = journal.new_blob()
        await blob.write(b"data")
        hash, _ = await blob.finish()
        journal._writer._connection = SlowCommit(journal._writer._connection)  # type: ignore[assignment]
        with anyio.move_on_after(0.1) as scope:
            try:
                await journal.commit([(log, sealed(b"x", blob))])
            finally:
                blob.close()
        assert scope.cancelled_caught
    async with Journal.open(tmp_path) as journal:
        assert [entry.payload for _, entry in await journal.entries(log.origin, 1)] == [b"x"]
        assert await journal.read_blob(hash, 0, 10) == b"data"


async def test_a_blob_that_was_given_up_while_its_commit_failed_is_gone(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        blob = journal.new_blob()
        await blob.write(b"data")
        await blob.finish()
        arm(journal, "SQLITE_FULL", kept=False)
        committing = asyncio.ensure_future(journal.commit([(log, sealed(b"x", blob))]))
        await asyncio.sleep(0)
        blob.close()
        with pytest.raises(CommitFailed):
            await committing
        assert [path for path in (tmp_path / "blobs").iterdir() if path.is_file()] == []


async def test_while_the_database_cannot_be_opened_commits_fail_and_then_work_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Journal.open(tmp_path) as journal:
        log = await begin(journal)
        arm(journal, "SQLITE_IOERR_FSYNC", kept=True)

        def away() -> Any:
            raise Unreadable("the database is away")

        with monkeypatch.context() as patch:
            patch.setattr(journal._writer._database, "writer", away)
            journal._writer._connection.close()
            for _ in range(3):
                with pytest.raises(CommitFailed), anyio.fail_after(5):
                    await journal.put("space", {"key": b"value"})
        assert await journal.commit([(log, sealed(b"after"))]) == [2]


async def test_a_store_comes_with_its_manifests_or_not_at_all(tmp_path: Path) -> None:
    """A store without one could not be opened again."""
    manifests = {b"1" * 32: b"first", b"2" * 32: b"second"}
    async with Journal.open(tmp_path) as journal:
        arm(journal, "SQLITE_FULL", kept=False)
        with pytest.raises(CommitFailed):
            await journal.add_store(STORE, "alice", manifests)
        assert await journal.stores() == []
        await journal.add_store(STORE, "alice", manifests)
        await journal.add_store(STORE, "alice", manifests)
    async with Journal.open(tmp_path) as journal:
        assert await journal.manifests(STORE) == [b"first", b"second"]


@pytest.mark.parametrize("empty", [False, True])
async def test_a_journal_whose_database_is_gone_is_not_made_anew(tmp_path: Path, empty: bool) -> None:
    async with Journal.open(tmp_path) as journal:
        await journal.put("space", {"key": b"value"})
    kept = (tmp_path / "journal.db").read_bytes()
    (tmp_path / "journal.db").unlink()
    if empty:
        (tmp_path / "journal.db").touch()
    for _ in range(2):
        with pytest.raises(Unreadable, match="not there any more"):
            async with Journal.open(tmp_path):
                pass
    (tmp_path / "journal.db").write_bytes(kept)
    async with Journal.open(tmp_path) as journal:
        assert await journal.get("space", "key") == b"value"


async def test_the_write_ahead_log_is_not_deleted_before_it_is_merged(tmp_path: Path) -> None:
    """Even by a connection that could be the last: SQLite's own check lets itself be deceived."""
    async with Journal.open(tmp_path) as journal:
        await journal.put("space", {"key": b"value"})
        other = sqlite3.connect(tmp_path / "journal.db")
        assert other.execute("SELECT count(*) FROM row").fetchone() == (1,)
        journal._writer._connection.close()
        journal._writer._database.readers.dispose()
        other.close()
        assert (tmp_path / "journal.db-wal").stat().st_size > 0
        journal._writer._connection = journal._writer._database.writer()
        assert await journal.get("space", "key") == b"value"
    assert (tmp_path / "journal.db-wal").stat().st_size == 0


async def test_a_first_start_that_was_killed_before_there_was_a_schema_is_made_good(tmp_path: Path) -> None:
    for name in ("lock", "journal.db"):
        (tmp_path / name).touch()
    async with Journal.open(tmp_path) as journal:
        await journal.put("space", {"key": b"value"})


async def test_a_store_outlives_the_loss_of_the_write_ahead_log(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "first") as journal:
        await journal.add_store(STORE, "alice", {b"h" * 32: b"document"})
        await journal.put("space", {"key": b"value"})
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "journal.db").write_bytes((tmp_path / "first" / "journal.db").read_bytes())
    async with Journal.open(tmp_path / "second") as journal:
        assert await journal.stores() == [(STORE, "alice")]
        assert await journal.manifests(STORE) == [b"document"]
