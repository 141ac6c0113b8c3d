"""What a node says to its operator, found in the source: warnings and errors of the log, and findings of `doctor`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "mesyx_core", *sorted((ROOT / "plugins").glob("mesyx-*/src"))]
_LOGS = ("warning", "error", "critical")


def _pattern(node: ast.expr | None) -> str | None:
    """A text as the docs write it: … for what differs."""
    match node:
        case ast.Constant(value=str(text)):
            return re.sub(r"%[sdr]", "…", text)
        case ast.JoinedStr(values=values):
            return "".join(_pattern(value) or "…" for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return f"{_pattern(left) or '…'}{_pattern(right) or '…'}"
        case _:
            return None


def _said(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr=level), args=[text, *_]):
            return _pattern(text) if level in _LOGS else None
        case ast.Call(func=ast.Name(id="finding"), args=[_, text, _]):
            return _pattern(text)
        case ast.Assign(targets=[ast.Name(id="what")], value=text):
            return _pattern(text)
        case _:
            return None


def said() -> Iterator[tuple[str, str]]:
    """(text, file) of everything that is said."""
    for source in SOURCES:
        for file in sorted(source.rglob("*.py")):
            text = file.read_text()
            for node in ast.walk(ast.parse(text)):
                found = _said(node)
                if isinstance(node, ast.Assign) and "mesyx_core.node.finding import" not in text:
                    continue
                if found is not None and found.strip("… :;"):
                    yield re.sub("…+", "…", found), str(file.relative_to(ROOT))
