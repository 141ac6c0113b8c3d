"""Recipients of the day: ahead of time, on the disk before they are told of, and gone for good when they are done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesyx_core.outbox import days as module
from mesyx_core.outbox.days import LENGTH, SLACK, SLOT, SLOTS, Days
from mesyx_core.record.outgoing import day_id
from mesyx_core.vault import age
from mesyx_core.vault.nodekey import NodeKey

KEY = NodeKey(b"k" * 32)
MIDNIGHT = 20_779 * LENGTH
NOON = MIDNIGHT + LENGTH // 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "days"


def opened(file: Path, key: NodeKey = KEY) -> Days:
    return Days.open(file, key.seal_row, key.open_row)


@pytest.fixture
def days(file: Path) -> Iterator[Days]:
    found = opened(file)
    yield found
    found.close()


def test_there_are_today_and_three_days_ahead(days: Days) -> None:
    assert days.prepare(NOON)
    assert [(day.since, day.until) for day in days] == [
        (MIDNIGHT + n * LENGTH, MIDNIGHT + (n + 1) * LENGTH) for n in range(4)
    ]
    assert not days.prepare(NOON + 1)
    assert days.today(NOON) == next(iter(days))


def test_each_day_one_more_is_made(days: Days) -> None:
    days.prepare(NOON)
    before = list(days)
    assert days.prepare(NOON + LENGTH)
    assert list(days)[:4] == before
    assert len(list(days)) == 5


def test_a_day_opens_what_is_sealed_to_its_recipient_also_after_a_start(file: Path, days: Days) -> None:
    days.prepare(NOON)
    day = next(iter(days))
    assert day.id == day_id(day.recipient)
    sealed = age.encrypt(b"request", [day.recipient])
    again = opened(file)
    identity = again.identity(day.id)
    assert list(again) == list(days)
    assert identity is not None
    assert age.decrypt(sealed, [identity]) == b"request"


def test_a_day_that_is_over_goes_when_nothing_waits_for_it(days: Days) -> None:
    days.prepare(NOON)
    first, second, *_ = days
    assert days.erase(first.until + SLACK - 1, []) == []
    assert days.erase(first.until + SLACK, [second.id]) == [first]
    assert first.id not in days
    assert days.identity(first.id) is None


def test_a_day_that_something_waits_for_stays_five_days_and_no_longer(days: Days) -> None:
    days.prepare(NOON)
    first = next(iter(days))
    assert days.erase(first.until + 5 * LENGTH - 1, [day.id for day in days]) == []
    assert not days.overdue(first, first.until + 5 * LENGTH - 1)
    assert days.overdue(first, first.until + 5 * LENGTH)
    assert days.erase(first.until + 5 * LENGTH, [day.id for day in days]) == [first]


def test_an_erased_key_is_overwritten_where_it_stood(file: Path, days: Days) -> None:
    days.prepare(NOON)
    first, *rest = days
    place = os.stat(file)
    before = file.read_bytes()
    sealed = before[:SLOT].rstrip(b"\0")
    days.erase(first.until + SLACK, [])
    after = file.read_bytes()
    assert first.id not in after
    assert after[:SLOT] == bytes(SLOT)
    assert sealed[-64:] not in after
    assert after[SLOT:] == before[SLOT:]
    assert (os.stat(file).st_ino, os.stat(file).st_size) == (place.st_ino, SLOT * SLOTS)
    assert list(opened(file)) == rest


def test_every_write_is_on_the_disk_before_the_call_returns(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    write, sync = os.pwrite, os.fsync

    def pwrite(handle: int, data: bytes, at: int) -> int:
        said.append("write")
        return write(handle, data, at)

    def fsync(handle: int) -> None:
        said.append("sync")
        sync(handle)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "fsync", fsync)
    days.prepare(NOON)
    days.erase(NOON + 2 * LENGTH, [])
    assert said == ["write", "sync"] * 6


def test_a_private_half_stands_sealed(file: Path, days: Days) -> None:
    days.prepare(NOON)
    assert list(opened(file, NodeKey(b"x" * 32))) == []
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_slot_that_was_cut_off_in_writing_is_no_day(file: Path, days: Days) -> None:
    days.prepare(NOON)
    data = bytearray(file.read_bytes())
    data[100:SLOT] = bytes(SLOT - 100)
    file.write_bytes(data)
    again = opened(file)
    assert list(again) == list(days)[1:]
    again.prepare(NOON)
    assert len(list(again)) == 4
    file.write_bytes(os.urandom(SLOT * SLOTS))
    assert list(opened(file)) == []


def test_a_clock_that_wanders_fills_no_file(days: Days) -> None:
    for year in range(40):
        days.prepare(NOON + year * 365 * LENGTH)
    days.prepare(NOON)
    assert days.today(NOON) is not None
    assert len(list(days)) <= module.SLOTS
