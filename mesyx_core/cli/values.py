"""Values as people write them on the command line."""

from __future__ import annotations

import re
from typing import Any, Final

import click

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
ROLES: Final = ("accept", "exchange", "client", "reencrypt")


class Duration(click.ParamType[int]):
    """A number and a unit, like 7d or 12h, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds, at least one and at most ten years."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhdw])", str(value))
        seconds = int(found[1]) * UNITS[found[2]] if found else 0
        if not 1 <= seconds <= 10 * 365 * UNITS["d"]:
            self.fail(f"{value!r} is no duration; write a number and s, m, h, d or w, like 7d", param, ctx)
        return seconds


class Address(click.ParamType[str]):
    """A mail address, or @domain for all of a domain."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address as given; only its form is checked, not whether it exists."""
        if not re.fullmatch(r"[^@\s]{0,64}@[^@\s]{1,255}", str(value)):
            self.fail(f"{value!r} is no address; write it like alice@example.org", param, ctx)
        return str(value)


class Name(click.ParamType[str]):
    """The name of a store, node or log-in."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Letters, digits, `_`, `.` and `-`, at most 63."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", str(value)):
            self.fail(f"{value!r} is no name; use letters, digits, _, . and -, at most 63", param, ctx)
        return str(value)
