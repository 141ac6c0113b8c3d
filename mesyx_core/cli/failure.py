"""What a person reads when something fails: one line, and for our own faults the file that says where it happened."""

from __future__ import annotations

import errno
import os
import tempfile
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from mesyx_core.api.errors import MesyxError
from mesyx_core.cli import exits
from mesyx_core.cli.command import Settings
from mesyx_core.cli.show import harmless

LOG = "faults.log"
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Of these it is known where they are even if not at which file: in the node's own folder."""
_ELSEWHERE: Final = "name a path whose folders are there and can be written"
_OWNER: Final = "run this as the user who owns it, or name another path"
_ROOM: Final = "make room on that disk"
REMEDIES: Final = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), _OWNER),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG), _ELSEWHERE),
    errno.EROFS: "mount that disk writable, or name another path",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    errno.EIO: "see what the system's log says of that disk; stopping here gives up nothing that was acknowledged",
}
"""What the system may refuse of a file, and what a person does about it: that is no fault of ours."""


def report(error: BaseException, settings: Settings) -> int:
    """Say what went wrong; the exit code for it."""
    leaves = list(_leaves(error))
    ours = [leaf for leaf in leaves if isinstance(leaf, MesyxError)]
    if ours:
        click.echo(f"mesyx: {harmless(str(ours[0]))}", err=True)
        return exits.code(ours[0])
    first = leaves[0]
    if isinstance(first, OSError) and first.errno in REMEDIES and (first.filename or first.errno in _DISK):
        name = harmless(os.fsdecode(first.filename or settings.config.absolute().parent))
        click.echo(f"mesyx: {name}: {first.strerror}: {REMEDIES[first.errno]}", err=True)
        return exits.FAILED
    if isinstance(first, KeyboardInterrupt):
        return exits.INTERRUPTED
    log = _log(leaves, settings)
    where = f"; where it happened is in {log}" if log else ""
    click.echo(f"mesyx: a fault of Mesyx itself ({_place(first)}){where}", err=True)
    return exits.INTERNAL


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    at = next((f for f in reversed(frames) if "mesyx" in f.filename), frames[-1] if frames else None)
    return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}" if at else type(error).__name__


def _log(errors: list[BaseException], settings: Settings) -> Path | None:
    """Append types and places, never values: an exception's words may hold somebody's message."""
    lines = [datetime.now(UTC).isoformat(timespec="seconds")]
    for error in errors:
        lines.append(type(error).__qualname__)
        lines += [f"  {f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    for folder in (settings.config.absolute().parent / "state", Path(tempfile.gettempdir()) / f"mesyx-{os.getuid()}"):
        try:
            if folder.name != "state":
                folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        except OSError:
            continue
        with os.fdopen(handle, "a", encoding="utf-8") as log:
            log.write("\n".join(lines) + "\n")
        return folder / LOG
    return None
