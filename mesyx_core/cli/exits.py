"""Exit codes, all of them, and which error leads to which."""

from __future__ import annotations

from typing import Final

OK: Final = 0
"""Done."""
FAILED: Final = 1
"""Refused or failed; the message says why. Trying again unchanged cannot help. `doctor`: something is wrong."""
USAGE: Final = 2
"""The command line makes no sense; `--help` shows how it is written."""
CONFIG: Final = 3
"""mesyx.toml cannot be run: unknown key, bad value, missing plugin, port in use. Nothing was started."""
UNAVAILABLE: Final = 4
"""The node does not answer, another process holds its state, or the store is locked here."""
TEMPORARY: Final = 5
"""Not now: a peer is away or a limit is reached. Trying again later can help."""
INTERNAL: Final = 70
"""A fault of Mesyx itself; the message names the file that says where it happened."""
INTERRUPTED: Final = 130
"""Stopped by Ctrl-C."""


def code(error: Exception) -> int:
    """The exit code for one of our own errors."""
    from mesyx_core.api.errors import Busy, Locked, Misconfigured, Temporary

    by_type = ((Misconfigured, CONFIG), (Locked, UNAVAILABLE), (Busy, UNAVAILABLE), (Temporary, TEMPORARY))
    return next((exit_code for kind, exit_code in by_type if isinstance(error, kind)), FAILED)
