"""What `mesyx doctor` says: one thing each, with its remedy."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

Level: TypeAlias = Literal["ok", "warning", "error"]


class Finding(TypedDict):
    """As `--json` prints it."""

    level: Level
    what: str
    remedy: str


def finding(level: Level, what: str, remedy: str) -> Finding:
    """docs/reference/messages.md names every `what`."""
    return {"level": level, "what": what, "remedy": remedy}
