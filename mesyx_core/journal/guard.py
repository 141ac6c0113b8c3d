"""A lock that keeps SQLite from deleting a write-ahead log: when to do that is ours to say.

SQLite deletes the log when the last connection to a database is closed, once it believes to have copied all of it.
Where the log's index (-shm) could be mapped only for reading, as on a disk that failed for a moment, it takes the lock
that it does not get for "somebody reads" and goes on as if it had copied: then all that was committed since the last
copy is gone [found with SQLite 3.40; tests/faults/test_journal.py]. It deletes nothing while anybody reads, so we do:
by a lock that belongs to an open file and not to the process, so that it counts against our own connections too.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

_SHARED: Final = (0x4000_0002, 510)
"""The bytes (first, count) that every reader of an SQLite database holds (sqlite.org/fileformat2, "lock-byte page")."""
_FLOCK: Final = "hhqqi4x"


class Guard:
    """Holds the log of one database. Its descriptor must outlive all connections of this process: to close any
    descriptor of a file drops the locks that SQLite has on it."""

    def __init__(self, database: Path) -> None:
        """Makes the file, if it is not there, for its owner alone: SQLite gives its other files the same rights."""
        self._file = os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.empty = os.fstat(self._file).st_size == 0
        """Whether it was, when it was opened."""
        self.unmerged = _has_something(database.with_name(f"{database.name}-wal"))
        """Whether there was a log with something in it."""
        if self.unmerged:
            self.hold()

    def hold(self) -> None:
        """From now on. Not before the database keeps such a log: to make it do so needs a moment without readers."""
        if (set_lock := getattr(fcntl, "F_OFD_SETLK", None)) is None:
            return  # not on this system
        first, count = _SHARED
        with suppress(OSError):  # nor on this file system
            fcntl.fcntl(self._file, set_lock, struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, first, count, 0))

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _has_something(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False
