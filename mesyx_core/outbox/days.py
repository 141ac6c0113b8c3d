"""A gateway's recipients of the day: their private halves, in a file whose slots are overwritten in place.

[Not rows of the database: what a database deletes stays in its write-ahead log and in its free pages. What a file
system does with a place that is written over is its own affair: docs/explanation/outgoing.md says which residues
stay.]"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from mesyx_core.record.outgoing import Day, day_id
from mesyx_core.vault import encoding
from mesyx_core.vault.age import Identity
from mesyx_core.vault.encoding import EncodingError
from mesyx_core.vault.nodekey import StateError

LENGTH: Final = 86_400
AHEAD: Final = 3
"""Days whose recipients are published before they begin."""
SLACK: Final = 3_600
"""Seconds by which a client's clock may be wrong: no key goes earlier after its day's end."""
LATEST: Final = 5 * LENGTH
"""After its day's end a key is erased, whatever still waits for it."""
SLOT: Final = 512
SLOTS: Final = 32
_VERSION: Final = 1
_SPACE: Final = "days"
_SEED: Final = 32

SealRow = Callable[[str, str, bytes], bytes]


class Kept(NamedTuple):
    """A day with the place where its private half lies."""

    day: Day
    identity: Identity
    slot: int


class Days:
    """All days whose private halves this gateway holds. Every change is on the disk when its call returns."""

    def __init__(self, handle: int, seal: SealRow, open_: SealRow, random: Callable[[int], bytes]) -> None:
        self._handle = handle
        self._seal = seal
        self._random = random
        self._kept: dict[bytes, Kept] = {kept.day.id: kept for kept in _read(handle, open_)}

    @classmethod
    def open(cls, file: Path, seal: SealRow, open_: SealRow, random: Callable[[int], bytes] = os.urandom) -> Days:
        """`seal(space, key, value)` and `open_` are the node key's, for rows. Raises OSError."""
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(handle).st_size < SLOT * SLOTS:
            _write(handle, 0, bytes(SLOT * SLOTS))
            _sync_folder(file.parent)
        return cls(handle, seal, open_, random)

    def close(self) -> None:
        self._kept.clear()
        os.close(self._handle)

    def __iter__(self) -> Iterator[Day]:
        """By the time at which they end."""
        return iter(sorted((kept.day for kept in self._kept.values()), key=lambda day: day.until))

    def __contains__(self, id: object) -> bool:
        return id in self._kept

    def get(self, id: bytes) -> Day | None:
        kept = self._kept.get(id)
        return None if kept is None else kept.day

    def identity(self, id: bytes) -> Identity | None:
        """The private half; None when it was erased or is another node's."""
        kept = self._kept.get(id)
        return None if kept is None else kept.identity

    def today(self, now: float) -> Day | None:
        """The one for what this gateway says of its own accord."""
        return next((day for day in self if day.since <= now < day.until), None)

    def prepare(self, now: float) -> bool:
        """Make what is lacking of today and the days ahead; whether anything was."""
        first = int(now) // LENGTH * LENGTH
        there = {day.since for day in self}
        lacking = [start for start in range(first, first + (AHEAD + 1) * LENGTH, LENGTH) if start not in there]
        for start in lacking:
            self._make(start)
        return bool(lacking)

    def overdue(self, day: Day, now: float) -> bool:
        """Whether its key has to go, whatever still waits for it."""
        return now >= day.until + LATEST

    def erase(self, now: float, needed: Collection[bytes]) -> list[Day]:
        """Overwrite the keys of days that are over: those that nothing in `needed` waits for, and any that ended five
        days ago. Returns what was erased."""
        gone = [
            kept for kept in self._kept.values() if now >= kept.day.until + (LATEST if kept.day.id in needed else SLACK)
        ]
        for kept in gone:
            _write(self._handle, kept.slot, bytes(SLOT))
            del self._kept[kept.day.id]
        return [kept.day for kept in gone]

    def _make(self, start: int) -> None:
        seed = self._random(_SEED)
        identity = Identity.hybrid(seed)
        day = Day(day_id(identity.recipient), identity.recipient, start, start + LENGTH)
        slot = self._room(start)
        sealed = self._seal(_SPACE, day.id.hex(), seed)
        record = encoding.encode([_VERSION, day.id, day.since, day.until, sealed])
        _write(self._handle, slot, record.ljust(SLOT, b"\0"))
        self._kept[day.id] = Kept(day, identity, slot)

    def _room(self, start: int) -> int:
        """A free slot. There are enough for all days that are ever kept, but for a clock that wanders: then the day
        farthest away gives up its own."""
        taken = {kept.slot for kept in self._kept.values()}
        free = next((n for n in range(SLOTS) if n not in taken), None)
        if free is not None:
            return free
        farthest = max(self._kept.values(), key=lambda kept: abs(kept.day.since - start))
        del self._kept[farthest.day.id]
        return farthest.slot


def _read(handle: int, open_: SealRow) -> Iterator[Kept]:
    """What was cut off in writing was never published, and is no day."""
    for slot in range(SLOTS):
        data = os.pread(handle, SLOT, slot * SLOT)
        with suppress(EncodingError, StateError, ValueError, TypeError):
            version, id, since, until, sealed = encoding.decode(data[: encoding.extent(data)], limit=SLOT)
            if version != _VERSION:
                continue
            identity = Identity.hybrid(open_(_SPACE, id.hex(), sealed))
            if day_id(identity.recipient) == id:
                yield Kept(Day(id, identity.recipient, since, until), identity, slot)


def _write(handle: int, slot: int, data: bytes) -> None:
    """In place, and on the disk on return."""
    at = slot * SLOT
    while data:
        done = os.pwrite(handle, data, at)
        data, at = data[done:], at + done
    os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
