"""How a test says which faults it shows, and how many places it tries."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

FULL = bool(os.environ.get("MESYX_FULL"))
"""The long form: every place instead of a few."""
T = TypeVar("T", bound=Callable[..., object])


def few(*cases: object) -> tuple[object, ...]:
    """All of a test's cases in the full form, else the first."""
    return cases if FULL else cases[:1]


def fault(*ids: str) -> Callable[[T], T]:
    """The test that shows what follows on these faults of tests/faults.toml."""

    def mark(test: T) -> T:
        marked: T = pytest.mark.fault(*ids)(test)
        return marked

    return mark
