"""One `mesyx` command in a process of its own, killed before or after something that it does."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

KILLED = 137


class Ended(NamedTuple):
    code: int
    out: str
    error: str


def start(words: list[str], out: Path, kill: tuple[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Run `mesyx WORDS`; `kill` is ("before" or "after", "module:name")."""
    with out.open("wb") as said, out.with_suffix(".error").open("wb") as complaint:
        given = json.dumps([words, kill])
        return subprocess.Popen([sys.executable, "-P", __file__, given], stdout=said, stderr=complaint)


def ended(process: subprocess.Popen[bytes], out: Path) -> Ended:
    return Ended(process.wait(60), out.read_text(), out.with_suffix(".error").read_text())


def command(words: list[str], out: Path, kill: tuple[str, str] | None = None) -> Ended:
    return ended(start(words, out, kill), out)


def main(words: list[str], kill: tuple[str, str] | None) -> int:
    from mesyx_core.cli.app import run
    from mesyx_core.vault import age

    real = age.encrypt_passphrase
    age.encrypt_passphrase = lambda *given, **options: real(*given, **{**options, "work": 4})
    if kill is not None:
        _arm(*kill)
    return run(words)


def _arm(when: str, what: str) -> None:
    module, _, name = what.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, last = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, last, _mortal(getattr(owner, last), when))


def _mortal(real: Callable[..., Any], when: str) -> Callable[..., Any]:
    def die() -> None:
        os._exit(KILLED)  # nothing is flushed, no finally runs

    def called(*given: Any, **options: Any) -> Any:
        if when == "before":
            die()
        result = real(*given, **options)
        die()
        return result

    async def awaited(*given: Any, **options: Any) -> Any:
        if when == "before":
            die()
        result = await real(*given, **options)
        die()
        return result

    return awaited if inspect.iscoroutinefunction(real) else called


if __name__ == "__main__":
    sys.exit(main(*json.loads(sys.argv[1])))
