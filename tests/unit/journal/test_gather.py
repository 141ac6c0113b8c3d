"""When a commit begins: at once after a lone call, a moment later while calls come together."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import Any

import pytest

from mesyx_core.journal import writer
from mesyx_core.journal.writer import Job, Writer


def gathering(last: int) -> Writer:
    made = Writer.__new__(Writer)  # without its thread: only the queue is looked at
    made._jobs = deque()
    made._woken = queue.SimpleQueue()
    made._wanted = 0
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
    made._add(job())
    group, going = made._gather()
    assert (len(group), going) == (1, True)
    assert made._last == 1


def test_as_many_as_came_last_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(writer, "QUIET_SECONDS", 60.0)
    made = gathering(last=3)
    for _ in range(4):
        made._add(job())
    group, _ = made._gather()
    assert len(group) == 4
    assert made._last == 4


def test_fewer_wait_no_longer_than_their_moment() -> None:
    made = gathering(last=9)
    for _ in range(3):
        made._add(job())
    began = time.monotonic()
    group, _ = made._gather()
    assert len(group) == 3
    assert made._last == 3
    assert time.monotonic() - began < 5


def test_the_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(writer, "QUIET_SECONDS", 60.0)
    made = gathering(last=9)
    made._add(job())
    made._end()
    group, going = made._gather()
    assert (len(group), going) == (1, False)


def test_a_group_is_taken_as_soon_as_the_last_of_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(writer, "QUIET_SECONDS", 60.0)
    made = gathering(last=3)
    groups: list[list[Job[Any]]] = []
    thread = threading.Thread(target=lambda: groups.append(made._gather()[0]), daemon=True)
    thread.start()
    for _ in range(3):
        made._add(job())
        time.sleep(0.01)
    thread.join(10)
    assert [len(group) for group in groups] == [3]


def test_no_call_is_forgotten_however_they_come() -> None:
    made = gathering(last=1)
    taken: list[Job[Any]] = []

    def take() -> None:
        going = True
        while going:
            group, going = made._gather()
            taken.extend(group)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    jobs = [job() for _ in range(5000)]
    for n, one in enumerate(jobs):
        made._add(one)
        if n % 97 == 0:
            time.sleep(0.0005)
    made._end()
    thread.join(30)
    assert taken == jobs
