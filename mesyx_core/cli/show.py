"""Results for people: tables and nested values as text that a terminal can show without harm."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final


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
    steering = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join("\ufffd" if c != "\n" and unicodedata.category(c) in steering else c for c in text)


def moment(seconds: float) -> str:
    """A Unix time in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def amount(octets: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if octets < 1024:
            return f"{octets:.3g} {unit}" if octets < 1000 else f"{octets:.0f} {unit}"
        octets /= 1024
    return f"{octets:.3g} TiB"


SHOWN: Final[Mapping[str, Callable[[float], str]]] = {
    **dict.fromkeys(
        (
            "expires",
            "from",
            "until",
            "kept_until",
            "open_until",
            "time",
            "since",
            "heard",
            "claimed",
            "next",
            "deadline",
        ),
        moment,
    ),
    **dict.fromkeys(("seconds", "age"), span),
    **dict.fromkeys(("bytes", "size", "disk_free"), amount),
}
"""Keys whose numbers people read more easily in another form."""


def shown(key: str, value: Any) -> str:
    """A value under its key."""
    if key in SHOWN and isinstance(value, int | float) and not isinstance(value, bool):
        return SHOWN[key](value)
    return plain(value)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = (), *, none: str = "nothing") -> str:
    """Columns wide enough for what is in them; a heading line. `none` is said when there are no rows."""
    if not rows:
        return none
    names = list(columns) or list(dict.fromkeys(key for row in rows for key in row))
    heading = [name.replace("_", " ").upper() for name in names]
    lines = [heading, *([shown(name, row.get(name)) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def nested(value: Any, indent: int = 0) -> str:
    """A tree of values; lists of flat records as tables, of deeper ones as one block each."""
    pad = " " * indent
    if isinstance(value, Mapping):
        return "\n".join(_entry(key, each, indent) for key, each in value.items())
    if _are_records(value):
        if any(_is_deep(each) for row in value for each in row.values()):
            blocks = (nested(row, indent + 2) for row in value)
            return "\n".join(f"{pad}- {block[indent + 2 :]}" for block in blocks)
        return "\n".join(pad + line for line in table(value).splitlines())
    return pad + plain(value)


def _entry(key: str, value: Any, indent: int) -> str:
    name = " " * indent + plain(key).replace("_", " ")
    if _is_deep(value):
        return f"{name}:\n{nested(value, indent + 2)}"
    return f"{name}: {shown(key, value)}"


def _is_deep(value: Any) -> bool:
    return (isinstance(value, Mapping) and bool(value)) or _are_records(value)


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)
