"""Small files that are whole or not there, and are gone when they are gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


def write_durably(path: Path, data: bytes, mode: int = 0o600, sync: Callable[[int], None] = os.fsync) -> None:
    """Replace a small file: after a crash it is the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        sync(descriptor)
    fresh.rename(path)
    sync_folder(path.parent, sync)


def sync_folder(path: Path, sync: Callable[[int], None] = os.fsync) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(folder)
    finally:
        os.close(folder)


def make_folder(path: Path) -> None:
    """A folder, and those above it that are missing: nobody else can read them, whatever the umask. Durable."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def replace_and_shred(path: Path, data: bytes) -> None:
    """As `write_durably`; what the file held before is overwritten on the disk. A crash may leave `path.old`, for
    `finish`.
    """
    old = path.with_name(path.name + ".old")
    with suppress(OSError):  # there was none; or the file system knows no links, and then only the name goes
        os.link(path, old)
    write_durably(path, data)
    if old.exists():
        shred(old)


def destroy(paths: Iterable[Path]) -> None:
    """These files are gone, overwritten on the disk; those that are not there are. Once it has begun, a crash leaves
    them without their names, and `finish` does the rest.
    """
    gone = [path.rename(path.with_name(path.name + ".gone")) for path in paths if path.exists()]
    for folder in {path.parent for path in gone}:
        sync_folder(folder)
    for path in gone:
        shred(path)


def shred(path: Path) -> None:
    """Overwrite a file in place, then take its name away; durable on return.

    A disk that writes elsewhere instead, as solid-state ones and copying file systems do, may keep the old blocks for a
    while: what was in them must have been sealed.
    """
    with path.open("r+b", buffering=0) as file:
        file.write(os.urandom(os.fstat(file.fileno()).st_size))
        os.fsync(file.fileno())
    path.unlink()
    sync_folder(path.parent)


def finish(folder: Path) -> None:
    """Do what a crash kept from being done in a folder: nothing half written, replaced or destroyed stays."""
    for path in sorted(folder.glob("*")):
        if path.suffix in (".new", ".gone"):
            shred(path)
        elif path.suffix == ".old":
            _finish_replacing(path)


def _finish_replacing(old: Path) -> None:
    current = old.with_suffix("")
    if current.exists() and not current.samefile(old):
        shred(old)
        return
    if not current.exists():
        os.link(old, current)
    old.unlink()
    sync_folder(old.parent)
