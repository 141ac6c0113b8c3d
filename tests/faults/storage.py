"""A disk that fails on command, under a real node."""

from __future__ import annotations

import errno
import mmap
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scenario.cluster import Node

SOURCE = Path(__file__).with_name("storage.c")
_PLAN = struct.Struct("6i8x")
FOR_EVER = 2**31 - 1


def library(folder: Path) -> Path:
    """The preloaded library, compiled there once."""
    built = folder / "storage.so"
    if not built.exists():
        command = ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(built), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
    return built


class Disk:
    """The state folder of a node as on a disk of its own, from the node's next start on."""

    def __init__(self, node: Node, folder: Path) -> None:
        path = folder / f"{node.folder.name}.plan"
        path.write_bytes(bytes(_PLAN.size))
        with path.open("r+b") as file:
            self._plan = mmap.mmap(file.fileno(), _PLAN.size)
        node.environment |= {
            "LD_PRELOAD": str(library(folder)),
            "FAULT_PLAN": str(path),
            "FAULT_ROOT": str(node.folder / "state"),
        }

    @contextmanager
    def failing(self, call: int, code: int = errno.EIO, count: int = 1) -> Iterator[Disk]:
        """From the call-th change of a file on (from 0), `count` of them fail with this errno."""
        self._plan[:] = _PLAN.pack(1, call, code, count, 0, 0)
        try:
            yield self
        finally:
            self._plan[:4] = bytes(4)

    @contextmanager
    def slow(self, milliseconds: int) -> Iterator[Disk]:
        """Every sync takes so long."""
        self._plan[:] = struct.pack("8i", 0, 0, 0, 0, 0, 0, milliseconds, 0)
        try:
            yield self
        finally:
            self._plan[:] = bytes(_PLAN.size)

    @property
    def struck(self) -> int:
        """Calls that have failed since it was last armed."""
        return int(_PLAN.unpack(self._plan[:])[5])

    @property
    def seen(self) -> int:
        """Calls seen since then."""
        return int(_PLAN.unpack(self._plan[:])[4])
