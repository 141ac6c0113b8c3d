"""One `mesyx` command in a process of its own, killed before or after something that it does."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

KILLED = 137
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["mesyx_core.cli.app", "mesyx_core.cli.store", "mesyx_core.node.core"])


class Ended(NamedTuple):
    code: int | None
    out: str
    error: str


def start(words: list[str], out: Path, kill: tuple[str, str] | None = None) -> Any:
    """Run `mesyx WORDS`; `kill` is ("before" or "after", "module:name")."""
    process = _CONTEXT.Process(target=_work, args=(words, str(out), kill))
    process.start()
    return process


def ended(process: Any, out: Path) -> Ended:
    process.join(60)
    return Ended(process.exitcode, out.read_text(), out.with_suffix(".error").read_text())


def command(words: list[str], out: Path, kill: tuple[str, str] | None = None) -> Ended:
    return ended(start(words, out, kill), out)


def _work(words: list[str], out: str, kill: tuple[str, str] | None) -> None:
    for number, path in ((1, Path(out)), (2, Path(out).with_suffix(".error"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 - for its whole life
    from mesyx_core.cli.app import run
    from mesyx_core.vault import age

    real = age.encrypt_passphrase
    age.encrypt_passphrase = lambda *given, **options: real(*given, **{**options, "work": 4})
    if kill is not None:
        _arm(*kill)
    code = run(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
