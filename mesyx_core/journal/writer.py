"""Group commit: one thread takes whatever has been asked for since it last committed, and makes it durable at once."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeAlias, TypeVar

import anyio
from sqlalchemy.exc import SQLAlchemyError

from mesyx_core.api import MesyxError
from mesyx_core.journal import holdings
from mesyx_core.journal.blobs import Blobs, PendingBlob
from mesyx_core.journal.database import Database, Statements, failed, spoilt, surely_undone
from mesyx_core.journal.errors import CommitFailed, CommitUnknown
from mesyx_core.journal.state import Stores
from mesyx_core.journal.transaction import Sql, Transaction
from mesyx_core.journal.wake import Post, Signal, signaller
from mesyx_core.record.entry import Origin

T = TypeVar("T")
Changes: TypeAlias = Sequence[tuple[Origin, int]]

GROUP: Final = 4096
"""Calls, and"""
GROUP_BYTES: Final = 32 << 20
"""bytes of one transaction at most, unless one call alone has more."""
GATHER_SECONDS: Final = 0.005
"""A group waits so long at most,"""
QUIET_SECONDS: Final = 0.001
"""and no longer than it takes until nothing comes for so long."""
WAL_BYTES: Final = 4 << 20
"""After so much, the write-ahead log is copied into the database, once those who wait have their answer."""


class Job(Generic[T]):
    """One call: `work` says what to change; it raises before it changes anything in the transaction, or not at all."""

    __slots__ = ("blobs", "done", "error", "result", "size", "work")

    def __init__(self, work: Callable[[Transaction], T], size: int, blobs: Sequence[PendingBlob], done: Signal) -> None:
        self.work = work
        self.size = size
        self.blobs = blobs
        """Those that it commits: nobody else may close them meanwhile."""
        self.done = done
        self.result: T | None = None
        self.error: BaseException | None = None


class Writer:
    """The commit thread, which owns the one connection that writes."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        stores: Stores,
        next_log: int,
        post: Post,
        tell: Callable[[Changes], None],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._stores = stores
        self._next_log = next_log
        self._post = post
        self._signal = signaller()
        self._tell = tell
        self._connection = database.writer()
        self._sql = Sql(Statements(database.dialect))
        self._unmerged = 0
        self._wiping = False
        """Whether the write-ahead log still holds what was dropped."""
        self._last = 1
        """How many calls the last group had."""
        self._stale = False
        """After a commit of unknown outcome: what is in memory may not be what is in the database."""
        self._jobs: deque[Job[Any] | None] = deque()
        """What was asked for, in order; None at the end."""
        self._wanted = 0
        """How many calls the thread sleeps for, and"""
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        """what wakes it."""
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Transaction], T], size: int = 0, blobs: Sequence[PendingBlob] = ()) -> T:
        """Have `work` done in the next transaction, which names `blobs`; returns what it returned, once durable."""
        if self._closed:
            raise CommitFailed("the journal is closed")
        job = Job(work, size, blobs, self._signal())
        for blob in blobs:
            blob.lend()
        self._add(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[return-value]  # set whenever there is no error

    async def close(self) -> None:
        """Commit what was asked for, then stop."""
        self._closed = True
        self._end()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join)

    def _add(self, job: Job[Any]) -> None:
        self._jobs.append(job)
        if len(self._jobs) == self._wanted:
            self._woken.put(None)

    def _end(self) -> None:
        self._jobs.append(None)
        self._woken.put(None)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            group, going = self._gather()
            if group:
                self._commit(group)
                self._merge()
        self._database.settle(self._connection)
        with suppress(SQLAlchemyError):
            self._connection.close()

    def _gather(self) -> tuple[list[Job[Any]], bool]:
        """What was asked for. After a lone call none is waited for; while calls come together, the group waits a moment
        for as many as came last, since a commit costs as much for one as for twenty."""
        self._wait()
        group: list[Job[Any]] = []
        size = 0
        while self._jobs and len(group) < GROUP and size < GROUP_BYTES:
            job = self._jobs.popleft()
            if job is None:
                return group, False
            group.append(job)
            size += job.size
        self._last = len(group)
        return group, True

    def _wait(self) -> None:
        """Until there are calls, and as many as came last or a moment has passed."""
        while not self._jobs:
            self._sleep(1, None)
        until = time.monotonic() + GATHER_SECONDS
        there, wanted = len(self._jobs), min(self._last, GROUP)
        while there < wanted and self._jobs[-1] is not None and (left := until - time.monotonic()) > 0:
            woken = self._sleep(wanted, min(left, QUIET_SECONDS))
            before, there = there, len(self._jobs)
            if there == before and not woken:
                return

    def _sleep(self, wanted: int, seconds: float | None) -> bool:
        """Until so many calls are there, or the time is over: then False. [Woken once a group: once a call, both
        threads would pass the interpreter's lock to and fro all the time.]"""
        self._wanted = wanted
        try:
            if len(self._jobs) < wanted:  # looked at after `_wanted` is set: a call that comes now sees it and wakes us
                self._woken.get(timeout=seconds)
        except queue.Empty:
            return False
        finally:
            self._wanted = 0
        return True

    def _commit(self, group: list[Job[Any]]) -> None:
        """One transaction for the group. If it fails, each call gets one of its own, so that none fails for another."""
        if (self._connection.closed or self._stale) and not self._refresh(group):
            return
        transaction = Transaction(self._stores, self._next_log)
        working = [job for job in group if self._work(job, transaction)]
        changes: Changes = ()
        try:
            self._write(transaction)
            changes = transaction.news
        except CommitUnknown as error:
            for log in transaction.signing.values():
                log.end()
            for job in working:
                job.error = CommitUnknown(error.what, error.remedy)
        except BaseException as error:
            if len(working) > 1:
                self._answer([job for job in group if job not in working], ())
                for job in working:
                    self._commit([job])
                return
            for job in working:
                job.error = error
        self._answer(group, changes)

    def _work(self, job: Job[Any], transaction: Transaction) -> bool:
        try:
            job.result = job.work(transaction)
        except BaseException as error:
            job.error = error
            return False
        return True

    def _write(self, transaction: Transaction) -> None:
        if transaction.empty:
            return
        try:
            self._blobs.keep(transaction.blobs)
        except OSError as error:
            raise failed(error) from None
        try:
            transaction.sign()
            self._connection.exec_driver_sql("BEGIN")
            transaction.flush(self._connection, self._sql)
        except BaseException as error:
            self._roll_back(error)
            if isinstance(error, SQLAlchemyError):
                raise failed(error) from None
            raise
        self._finish(transaction)

    def _finish(self, transaction: Transaction) -> None:
        try:
            self._connection.exec_driver_sql("COMMIT")
        except SQLAlchemyError as error:
            undone = surely_undone(error)
            self._roll_back(error)
            if undone:
                raise failed(error) from None
            self._stale = True
            for blob in transaction.blobs:
                blob.committed()  # perhaps; the next start sweeps it if not
            raise CommitUnknown("the disk failed while committing", "see the disk's health") from None
        self._next_log = transaction.next_log
        self._unmerged += WAL_BYTES if transaction.weighty else transaction.size
        self._wiping = self._wiping or transaction.wiping
        transaction.settle()

    def _refresh(self, group: list[Job[Any]]) -> bool:
        """Connect again, and read again how far the logs are. If even that fails, the group does."""
        try:
            if self._connection.closed:
                self._connection = self._database.writer()
            stores, self._next_log = holdings.read(self._connection)
        except MesyxError as error:
            for job in group:
                job.error = CommitFailed(error.what, error.remedy)
            self._answer(group, ())
            return False
        except SQLAlchemyError as error:
            self._roll_back(error)
            for job in group:
                job.error = failed(error)
            self._answer(group, ())
            return False
        self._stores.replace(stores)
        self._stale = False
        return True

    def _roll_back(self, error: BaseException) -> None:
        """Back to a connection without a transaction, by a new one if need be. Where there is none to be had, the next
        transaction fails and tries again: the thread must outlive any trouble of the disk.
        """
        self._unmerged = WAL_BYTES  # a full disk may take more once the write-ahead log can begin anew
        try:
            self._connection.exec_driver_sql("ROLLBACK")
            if not spoilt(error):
                return
        except SQLAlchemyError:
            pass
        with suppress(SQLAlchemyError):
            self._connection.invalidate()
            self._connection.close()
        self._database.readers.dispose()  # those in use are closed once they are not
        with suppress(MesyxError):
            self._connection = self._database.writer()

    def _answer(self, jobs: list[Job[Any]], changes: Changes) -> None:
        def answer() -> None:
            for job in jobs:
                for blob in job.blobs:
                    blob.give_back()
                job.done.set()
            if changes:
                self._tell(changes)

        self._post(answer)

    def _merge(self) -> None:
        if self._wiping and self._database.wipe(self._connection):
            self._wiping, self._unmerged = False, 0
        if self._unmerged >= WAL_BYTES:
            self._unmerged = 0
            self._database.merge(self._connection)
