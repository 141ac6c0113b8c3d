"""The table of faults, and which test shows each: read from the decorators, so that nothing needs to be imported."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
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


def outcomes() -> dict[str, str]:
    """By id, of the last full run."""
    return dict(tomllib.loads(OUTCOMES.read_text("utf-8"))) if OUTCOMES.exists() else {}


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
