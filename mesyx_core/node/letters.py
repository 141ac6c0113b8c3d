"""Mail as files that other programs read: Maildir, and mbox (RFC 4155; mboxrd, whose quoting can be undone)."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from mesyx_core.node.durable import make_folder

FLAGS: Final = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
"""In the order of Maildir's letters."""
STATUS: Final = {"\\Answered": "A", "\\Flagged": "F", "\\Draft": "T", "\\Deleted": "D"}
"""The same in an mbox's X-Status, for what Status does not say."""
_FROM: Final = re.compile(rb"^(>*From )", re.MULTILINE)
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_RESERVED: Final = frozenset(("cur", "new", "tmp", ".", "..", ""))
_LONGEST: Final = 200
"""Bytes of a file's name; most file systems take 255."""


class Letters(Protocol):
    """Where the letters of one mailbox go."""

    def add(self, data: bytes, time: datetime, flags: Collection[str]) -> None:
        """One message, as it came. Raises OSError."""

    def close(self) -> None:
        """All of them are durable."""


def place(mailbox: str) -> Path:
    """A mailbox's name as a path that stays below where it is put."""
    parts = [re.sub(r"[\x00-\x1f\x7f/]", "_", part) for part in mailbox.split("/")]
    return Path(*map(_part, parts))


def _part(part: str) -> str:
    part = part.encode()[:_LONGEST].decode(errors="ignore")
    return f"{part}_" if part in _RESERVED or part.startswith(".") or part.endswith(".mbox") else part


def distinct(path: Path, taken: set[str]) -> Path:
    """This path, or one beside it where another mailbox has it, in any case of letters."""
    found, number = path, 1
    while str(found).casefold() in taken:
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    taken.add(str(found).casefold())
    return found


def plain(data: bytes) -> bytes:
    """Lines as files have them; a message with other line ends among its CRLFs is left as it is."""
    return data if _BARE.search(data) else data.replace(b"\r\n", b"\n")


class Maildir:
    """https://cr.yp.to/proto/maildir.html; one within another for mailboxes within others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        for name in ("tmp", "new", "cur"):
            make_folder(folder / name)

    def add(self, data: bytes, time: datetime, flags: Collection[str]) -> None:
        self._count += 1
        name = f"{int(time.timestamp())}.{self._count:07}.mesyx"
        letters = "".join(letter for flag, letter in FLAGS.items() if flag in flags)
        path = self._folder / "tmp" / name
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(plain(data))
            file.flush()
            os.fsync(file.fileno())
        os.utime(path, (time.timestamp(), time.timestamp()))
        path.rename(self._folder / "cur" / f"{name}:2,{letters}")

    def close(self) -> None:
        _sync(self._folder / "cur")


class Mbox:
    """One file; flags as most programs read them, in Status and X-Status, above the message's own header."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._path = path
        self._file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")  # noqa: SIM115  # `close` does

    def add(self, data: bytes, time: datetime, flags: Collection[str]) -> None:
        text = _FROM.sub(rb">\1", plain(data))
        more = "".join(letter for flag, letter in STATUS.items() if flag in flags)
        status = ("Status: RO\n" if "\\Seen" in flags else "Status: O\n") + (f"X-Status: {more}\n" if more else "")
        head = f"From MAILER-DAEMON {time.astimezone(UTC):%a %b %d %H:%M:%S %Y}\n{status}"
        self._file.write(head.encode() + text + (b"\n" if text.endswith(b"\n") else b"\n\n"))

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        _sync(self._path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
