"""Feeds every parser inputs made from its seeds: none may raise, hang or grow.

    python tests/fuzz/run.py --inputs 100000 mime age

A target is a module `fuzz_<parser>.py`, here or in a plugin's tests/fuzz, with `target(data: bytes) -> None`, which
handles the errors that the parser promises, and `SEEDS: list[bytes]`; `TOKENS: list[bytes]`, if there, are the words of
its language. Inputs follow from the seed number, so that a failure is repeated by `run.py --seed N NAME`; the input
itself is kept in `.nox/fuzz`. The short form is test_fuzz.py beside this.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import FrameType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".nox" / "fuzz"
LONGEST = 1 << 16
SECONDS = 2
"""Of CPU, which a busy machine does not lengthen."""
GROWTH = 256 << 20
PROGRESS = 10
TOKENS = [
    b"\r\n",
    b"\r\n.\r\n",
    b"\0",
    b"\xff",
    b"{9999999999}\r\n",
    b"(" * 64,
    b'"',
    b"=?utf-8?q?",
    b"\x9f\xff",
    b"-1",
    b"\xe2\x80\xa8",
]


class Hang(BaseException):
    """Raised into a target that takes too long."""


def targets() -> dict[str, Path]:
    """Parser name to its module."""
    files = [*ROOT.glob("tests/fuzz/fuzz_*.py"), *ROOT.glob("plugins/*/tests/fuzz/fuzz_*.py")]
    return {file.stem.removeprefix("fuzz_"): file for file in sorted(files)}


class Target(NamedTuple):
    """What a module gives."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes]


def inputs(target: Target, draw: random.Random) -> Iterator[bytes]:
    """The seeds as they are, then for ever seeds with a few changes."""
    yield from target.seeds
    while True:
        data = bytearray(draw.choice(target.seeds))
        for _ in range(draw.choice((1, 1, 2, 3, 8))):
            change(data, target, draw)
        yield bytes(data[:LONGEST])


def change(data: bytearray, target: Target, draw: random.Random) -> None:
    """One change: a bit, a byte, a token, a cut, a repetition, a piece of another seed."""
    at, length = draw.randrange(len(data) + 1), min(draw.choice((1, 2, 4, 16, 256)), len(data))
    match draw.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        case 1 if at < len(data):
            data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        case 2:
            data[at:at] = draw.choice(target.tokens)
        case 3:
            del data[at : at + length]
        case 4:
            data[at:at] = data[at : at + length] * draw.choice((1, 2, 50))
        case 5:
            del data[at:]
        case _:
            other = draw.choice(target.seeds)
            start = draw.randrange(len(other) + 1)
            data[at : at + length] = other[start : start + draw.choice((4, 64, 1024))]


def hang(number: int, frame: FrameType | None) -> None:
    """Signal handler."""
    raise Hang


def load(file: Path) -> Target:
    """A target's function, seeds and tokens."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Target(module.target, list(module.SEEDS) or [b""], [*TOKENS, *getattr(module, "TOKENS", ())])


def fuzz(name: str, file: Path, count: int, seed: int) -> str | None:
    """Run one target; what is wrong with it, or None."""
    target = load(file)
    draw = random.Random(f"{name} {seed}")  # not a secret
    signal.signal(signal.SIGPROF, hang)
    began, slowest, before = time.monotonic(), 0.0, peak()
    said = began
    for number, data in zip(range(count), inputs(target, draw), strict=False):
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            target.run(data)
        except BaseException as error:  # whatever it is, it is the finding
            return f"{name}: input {number}: {kept(name, data)}: {explain(error)}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - start)
        if time.monotonic() - said > PROGRESS:
            said = time.monotonic()
            print(f"{name}: {number + 1} of {count}, slowest {slowest * 1000:.1f} ms", file=sys.stderr, flush=True)
        if number % 1000 == 0 and peak() - before > GROWTH:
            break
    if (grown := peak() - before) > GROWTH:
        return f"{name}: grew by {grown >> 20} MiB"
    taken = time.monotonic() - began
    print(
        f"{name}: {count} inputs, {count / taken:,.0f}/s, slowest {slowest * 1000:.1f} ms, grew {grown >> 20} MiB",
        flush=True,
    )
    return None


def peak() -> int:
    """The most memory this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def kept(name: str, data: bytes) -> Path:
    """The failing input, in a file."""
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    return file


def explain(error: BaseException) -> str:
    """The end of a traceback."""
    if isinstance(error, Hang):
        return f"took longer than {SECONDS} s\n" + "".join(traceback.format_tb(error.__traceback__)[-3:])
    return "".join(traceback.format_exception(error)[-4:])


def main() -> int:
    """Run all targets, or those named, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(targets())}; all of them")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(targets()):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    chosen = {name: file for name, file in targets().items() if not given.targets or name in given.targets}
    with ProcessPoolExecutor(max_workers=min(os.cpu_count() or 1, 2), max_tasks_per_child=1) as pool:
        runs = [pool.submit(fuzz, name, file, given.inputs, given.seed) for name, file in chosen.items()]
        failures = [failure for run in runs if (failure := run.result())]
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"fuzz: {len(chosen) - len(failures)} of {len(chosen)} targets hold")
    return 1 if failures or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
