"""Python imports this by itself where PYTHONPATH names its folder. A node then writes down every second how much of its
memory is in use, which nobody can see from outside: what it has freed once may still be its own, and hide a leak.

The page caches of the two SQLite libraries are told apart from the rest: they have bounds of their own.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import threading

BLOCK = 64
"""Bytes of a small object, about: Python tells how many there are."""


class Heap(ctypes.Structure):
    """mallinfo2(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def pages() -> int:
    """Bytes that SQLite uses."""
    used = 0
    for name in ("_sqlite3", "sqlcipher3._sqlite3"):
        if name in sys.modules:
            library = ctypes.CDLL(sys.modules[name].__file__)
            library.sqlite3_memory_used.restype = ctypes.c_int64
            used += library.sqlite3_memory_used()
    return used


def watch(file: str) -> None:
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Heap
    while True:
        select.select([], [], [], 1)  # the one wait that a turned clock does not touch
        heap, cached = library.mallinfo2(), pages()
        rest = heap.uordblks + heap.hblkhd - cached + BLOCK * sys.getallocatedblocks()
        with open(f"{file}.new", "w") as new:
            new.write(f"{rest} {cached}")
        os.replace(f"{file}.new", file)


if "MESYX_USAGE" in os.environ:
    threading.Thread(target=watch, args=(os.environ["MESYX_USAGE"],), daemon=True).start()
