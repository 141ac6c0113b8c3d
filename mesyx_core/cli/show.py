"""Results for people: tables and nested values as text that a terminal can show without harm."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def plain(value: Any) -> str:
    """One value as one line. Control and direction characters, which may come from the network, are replaced."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(key)} {plain(each)}" for key, each in value.items())
    return harmless(str(value)).replace("\n", " ")


def harmless(text: str) -> str:
    """Text without characters that steer a terminal; line ends stay."""
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else "\ufffd" for c in text
    )


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = (), *, none: str = "nothing") -> str:
    """Columns wide enough for what is in them; a heading line. `none` is said when there are no rows."""
    if not rows:
        return none
    names = list(columns) or list(dict.fromkeys(key for row in rows for key in row))
    lines = [
        [name.replace("_", " ").upper() for name in names],
        *([plain(row.get(name)) for name in names] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def nested(value: Any, indent: int = 0) -> str:
    """A tree of values, lists of alike things as tables."""
    pad = " " * indent
    if isinstance(value, Mapping):
        return "\n".join(_entry(plain(key), each, indent) for key, each in value.items())
    if _is_table(value):
        return "\n".join(pad + line for line in table(value).splitlines())
    return pad + plain(value)


def _entry(key: str, value: Any, indent: int) -> str:
    name = " " * indent + key.replace("_", " ")
    if (isinstance(value, Mapping) and value) or _is_table(value):
        return f"{name}:\n{nested(value, indent + 2)}"
    return f"{name}: {plain(value)}"


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)
