"""A process that uses a journal on a failing disk, over and over: every turn in a child of its own, as a start is.

`python keeper.py FOLDER SEED TURNS LONGEST` with the preloaded disk of storage.c; prints what was lost, nothing when all
is well. It imports no test, and forks instead of starting Python anew: hundreds of turns a minute.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import select
import shutil
import signal
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

import anyio
import sqlalchemy.dialects.sqlite  # noqa: F401  # not once in every child

from mesyx_core.api import MesyxError
from mesyx_core.journal import Journal

PLAN = struct.Struct("6i8x")
FOR_EVER = 2**31 - 1


class Turn(NamedTuple):
    """One start on a failing disk."""

    call: int
    code: int
    times: int
    seconds: float
    """After which it is killed,"""
    dies: bool
    """unless it kills itself before it would close the journal."""


class Disk:
    def __init__(self) -> None:
        with open(os.environ["FAULT_PLAN"], "r+b") as file:
            self._plan = mmap.mmap(file.fileno(), PLAN.size)

    def arm(self, turn: Turn) -> None:
        self._plan[:] = PLAN.pack(1, turn.call, turn.code, turn.times, 0, 0)

    def disarm(self) -> None:
        self._plan[:4] = bytes(4)


async def put(folder: Path, names: list[str], dies: bool, told: int) -> None:
    """Tells each name once it is acknowledged."""
    async with Journal.open(folder) as journal:
        for name in names:
            try:
                await journal.put("kept", {name: b"v" * 2000})
            except MesyxError:
                continue
            os.write(told, f"{name} ".encode())
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)


async def tell(folder: Path, told: int) -> None:
    async with Journal.open(folder) as journal:
        for name in await journal.rows("kept"):
            os.write(told, f"{name} ".encode())


def child(folder: Path, names: list[str] | None, dies: bool = False, seconds: float = 20) -> set[str]:
    """What a child told: the names that it put, or with None those that are there."""
    out, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            if names is None:
                anyio.run(tell, folder, told)
            else:
                anyio.run(put, folder, names, dies, told)
        finally:
            os._exit(0)
    os.close(told)
    heard, until = b"", time.monotonic() + seconds
    while True:
        left = until - time.monotonic()
        if left <= 0:
            os.kill(pid, signal.SIGKILL)
        if select.select([out], [], [], max(0.0, left) if left > 0 else None)[0]:
            more = os.read(out, 4096)
            if not more:
                break
            heard += more
    os.close(out)
    os.waitpid(pid, 0)
    return set(heard.decode().split())


def lost(disk: Disk, folder: Path, turns: list[Turn]) -> set[str]:
    """What was acknowledged and is not there after these starts, the first being after a kill on a sound disk."""
    acknowledged = child(folder, ["before"], dies=True)
    assert acknowledged
    for number, turn in enumerate(turns):
        disk.arm(turn)
        acknowledged |= child(folder, [f"{number}.{n}" for n in range(3)], turn.dies, turn.seconds)
        disk.disarm()
    gone = acknowledged - child(folder, None)
    if not gone:
        shutil.rmtree(folder)
    return gone


def drawn(draw: random.Random, longest: int) -> list[Turn]:
    return [
        Turn(
            draw.randrange(60),
            draw.choice([errno.EIO, errno.ENOSPC]),
            draw.choice([1, 1, 2, 5, 20, FOR_EVER, FOR_EVER]),
            draw.choice([20, 20, 0.01 + draw.random() / 20]),
            draw.random() < 0.3,
        )
        for _ in range(draw.randint(1, longest))
    ]


def main(folder: Path, seed: int, count: int, longest: int) -> None:
    """With 0 turns at most, one start each at the first `count` calls, failing from there on."""
    disk = Disk()
    for number in range(seed, seed + count):
        turns = drawn(random.Random(number), longest) if longest else [Turn(number, errno.EIO, FOR_EVER, 20, False)]
        gone = lost(disk, folder / str(number), turns)
        if gone:
            print(f"{number}: lost {sorted(gone)} by {turns}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
