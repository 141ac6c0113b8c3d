"""A process that dies at any one of its file operations."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mesyx_core.node import durable


class Crash(Exception):
    pass


def crashing(patch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Fail at the system's `number`-th file operation and all after it; how many were asked for."""
    count = [0]

    def failing(real: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **options: object) -> object:
            count[0] += 1
            if count[0] >= number:
                raise Crash
            return real(*given, **options)

        return call

    for owner, name in ((os, "fsync"), (os, "open"), (os, "link"), (Path, "rename"), (Path, "unlink")):
        patch.setattr(owner, name, failing(getattr(owner, name)))
    patch.setattr(durable.write_durably, "__defaults__", (0o600, os.fsync))
    patch.setattr(durable.sync_folder, "__defaults__", (os.fsync,))
    return count
