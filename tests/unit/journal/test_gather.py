"""When a commit begins: at once after a lone call, a moment later while calls come together."""

from __future__ import annotations

import queue
import time
from typing import Any

import pytest

from mesyx_core.journal import writer
from mesyx_core.journal.writer import Job, Writer


def gathering(last: int) -> Writer:
    made = Writer.__new__(Writer)  # without its thread: only the queue is looked at
    made._queue = queue.SimpleQueue()
    made._last = last
    return made


def job() -> Job[Any]:
    made: Job[Any] = Job.__new__(Job)
    made.size = 1
    return made


def test_a_lone_call_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(writer, "QUIET_SECONDS", 60.0)
    made = gathering(last=1)
    made._queue.put(job())
    group, going = made._gather()
    assert (len(group), going) == (1, True)
    assert made._last == 1


def test_as_many_as_came_last_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(writer, "QUIET_SECONDS", 60.0)
    made = gathering(last=3)
    for _ in range(4):
        made._queue.put(job())
    group, _ = made._gather()
    assert len(group) == 4
    assert made._last == 4


def test_fewer_wait_no_longer_than_their_moment() -> None:
    made = gathering(last=9)
    for _ in range(3):
        made._queue.put(job())
    began = time.monotonic()
    group, _ = made._gather()
    assert len(group) == 3
    assert made._last == 3
    assert time.monotonic() - began < 5


def test_the_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(writer, "QUIET_SECONDS", 60.0)
    made = gathering(last=9)
    made._queue.put(job())
    made._queue.put(None)
    group, going = made._gather()
    assert (len(group), going) == (1, False)
