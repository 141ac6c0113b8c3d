"""The table of faults, which test shows each (read from the decorators, so that nothing needs to be imported), and what
came of each when it was last tried."""

from __future__ import annotations

import ast
import fcntl
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TABLE = HERE.parent / "faults.toml"
OUTCOMES = HERE / "outcomes.toml"


class Fault(NamedTuple):
    """One row."""

    id: str
    what: str
    where: str
    then: str


def faults() -> list[Fault]:
    return [Fault(**row) for row in tomllib.loads(TABLE.read_text("utf-8"))["fault"]]


def outcomes(file: Path = OUTCOMES) -> dict[str, str]:
    """By id, of each one's last full run."""
    return dict(tomllib.loads(file.read_text("utf-8"))) if file.exists() else {}


def note(came: Mapping[str, str], file: Path = OUTCOMES) -> None:
    """Beside what other runs noted of other faults."""
    if came:
        with TABLE.open() as one_at_a_time:
            fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
            every = {**outcomes(file), **came}
            lines = [f'{fault.id} = "{every[fault.id]}"' for fault in faults() if fault.id in every]
            file.write_text("# written by nox -s faults\n" + "\n".join(lines) + "\n", "utf-8")


def tests() -> Iterator[tuple[str, str]]:
    """(id, FILE::TEST) for each id that a decorator names."""
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "fault":
                        for id in decorator.args:
                            assert isinstance(id, ast.Constant)
                            yield str(id.value), f"{file.name}::{node.name}"
