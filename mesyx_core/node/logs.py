"""The log on stderr: for people, for systemd's journal, or a line of JSON a record. Never with content: our own
messages name types and places only."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: "
_PRIORITY: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
"""As syslog has them (sd-daemon(3))."""


class Text(logging.Formatter):
    """A line for people. Without tracebacks, which a library may add: an exception's words may quote a message."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        record.asctime = self.formatTime(record)
        return self.formatMessage(record) + record.getMessage().replace("\n", " ")


class Json(logging.Formatter):
    """`time` (UTC, RFC 3339), `level`, `logger`, `message`."""

    def format(self, record: logging.LogRecord) -> str:
        value = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(value, ensure_ascii=False)


class Journal(logging.Formatter):
    """For systemd's journal, which has a time of its own and takes the priority from the line."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.name}: {record.getMessage()}".replace("\n", " ")
        return f"<{_PRIORITY.get(record.levelname, 6)}>{line}"


def configure(form: Literal["text", "json"] = "text", environment: Mapping[str, str] = os.environ) -> None:
    """Log to stderr in this form; a second call changes it."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(Json())
    elif environment.get("JOURNAL_STREAM"):
        handler.setFormatter(Journal())
    else:
        handler.setFormatter(Text())
    logging.raiseExceptions = False  # it would print the arguments of a record that it cannot write
    root = logging.getLogger()
    for other in list(root.handlers):
        if getattr(other, "mesyx", False):
            root.removeHandler(other)
    handler.mesyx = True  # type: ignore[attr-defined]  # ours, not a test's
    root.addHandler(handler)
    root.setLevel(logging.INFO)
