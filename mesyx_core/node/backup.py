"""A copy of all that a node is, in a folder, from which `restore` makes it again.

    journal.db     one state of the journal
    blobs/         bodies, as they are; what is there already is not copied again
    keys/          the keyring, as it is: under its passphrases
    node.age       the node's key, its config and its own certificates, sealed
    backup.json    of which node, and from when; written last

Whatever stops a backup, what was there before stays whole. The days' keys (`state/days`) are left out: what their
erasure takes must not lie in backups. The index of the mailboxes is left out as well: it is made again from the log.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mesyx_core.api.errors import Busy, Misconfigured, Refused, Temporary
from mesyx_core.node.durable import make_folder, shred, sync_folder, write_durably
from mesyx_core.node.progress import Tell
from mesyx_core.vault.encoding import EncodingError, decode, encode

VERSION: Final = 1
DATABASE: Final = "journal.db"
SEALED: Final = "node.age"
ABOUT: Final = "backup.json"
FRESH: Final = "new"
"""Folder within the backup where its next database is made."""
_OWN: Final = {DATABASE, "blobs", "keys", SEALED, ABOUT, FRESH, "lock", f"{SEALED}.new", f"{ABOUT}.new"}
"""Names in a backup's folder; the last two are what a crash may leave, and the next backup replaces."""
MOST: Final = 16 << 20
"""Bytes of what is sealed."""
KEY: Final = "node.key"
CONFIG: Final = "mesyx.toml"
BLOB: Final = re.compile(r"[0-9a-f]{64}")
"""The name of one, whole."""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """What is only in a backup's sealed file: files by their path in the node's folder, modes as the node has them."""

    config: bytes
    state: Mapping[str, bytes]
    """By path within the state folder."""

    def encode(self) -> bytes:
        return encode([VERSION, self.config, [[path, data] for path, data in sorted(self.state.items())]])


def decode_kept(data: bytes) -> Kept:
    """Raises Refused for anything that `encode` did not make, or a path that leaves the folder."""
    try:
        version, config, files = decode(data, limit=MOST)
        if version != VERSION:
            raise Refused("the backup was made by a later version of Mesyx", "update Mesyx")
        state = {_inside(path): bytes(data) for path, data in files}
        return Kept(bytes(config), state)
    except (EncodingError, ValueError, TypeError):
        raise Refused("the backup's sealed file is damaged", "take another backup") from None


def _inside(path: Any) -> str:
    parts = Path(path).parts
    if not parts or Path(path).is_absolute() or ".." in parts:
        raise ValueError("path")
    return str(path)


def collect(config: Path, state: Path) -> Kept:
    """What is to be sealed. Raises Misconfigured where it cannot be read."""
    try:
        own = [state / KEY, *sorted((state / "tls").glob("*.pem"))]
        return Kept(config.read_bytes(), {str(each.relative_to(state)): each.read_bytes() for each in own})
    except OSError as error:
        raise Misconfigured(f"{error.filename}: cannot be read ({error.strerror})", "run this as its owner") from error


def elsewhere(config: Path) -> list[str]:
    """Files that a config names and that are not in the backup."""
    named: list[str] = []

    def look(value: Any, key: str) -> None:
        if isinstance(value, dict):
            for inner, each in value.items():
                look(each, inner)
        elif isinstance(value, str) and value and (key.endswith("_file") or key in ("certificate", "key")):
            named.append(str((config.parent / value).absolute()))

    look(tomllib.loads(config.read_text("utf-8")), "")
    return sorted(set(named))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The backup's folder, made where there is none, for one backup at a time. Raises Refused, Busy, Temporary."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        strange = {each.name for each in folder.iterdir()} - _OWN
        if strange:
            raise Refused(f"{folder}: holds something else than a backup", "name a new folder, or a backup to renew")
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Busy(f"{folder}: another backup is being written there", "wait until it is done") from error
    finally:
        os.close(descriptor)


def renewable(folder: Path, node: str) -> None:
    """Raises Refused where it is another node's backup: that would be gone."""
    try:
        found = json.loads((folder / ABOUT).read_text("utf-8"))["node"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{folder / ABOUT}: cannot be read", "name a new folder, or a backup to renew") from error
    if found != node:
        raise Refused(f"{folder}: is the backup of another node", "name a folder for each node")


def cannot(path: Path, error: OSError) -> Temporary:
    if error.errno == errno.EROFS:
        return Temporary(
            f"{path}: cannot be written ({error.strerror})",
            "mount it writable; a node under systemd writes there only with `mesyx config units --writable DIR`",
        )
    return Temporary(
        f"{path}: cannot be written ({error.strerror or type(error).__name__})", "make room there, and see its rights"
    )


def copy_new(source: Path, target: Path, tell: Tell, what: str) -> set[str]:
    """Blobs that the target has not got yet, durable when this returns; the names of all that the source has. What is
    only on its way there has another kind of name, and is left."""
    target.mkdir(mode=0o700, exist_ok=True)
    found: Iterable[os.DirEntry[str]] = os.scandir(source) if source.is_dir() else ()
    files = [each for each in found if BLOB.fullmatch(each.name) and each.is_file(follow_symlinks=False)]
    for done, each in enumerate(files):
        there = target / each.name
        try:
            if not there.exists() or there.stat().st_size != each.stat().st_size:
                copy_file(Path(each.path), there)
        except FileNotFoundError:
            continue  # purged just now, and so no part of any later state
        tell(what, done + 1, len(files))
    sync_folder(target)
    return {each.name for each in files}


def copy_file(source: Path, target: Path) -> None:
    """Its content is durable when this returns; its name is the folder's matter."""
    fresh = target.with_name(f"{target.name}.new")
    with source.open("rb") as reading, open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        shutil.copyfileobj(reading, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)


def mirror(source: Path, target: Path) -> None:
    """Small files, with those of folders within: exactly what is there now. A private key that was shredded lives on in
    no backup that is renewed: it is overwritten there as well. Raises Temporary where all of them are gone at once."""
    target.mkdir(mode=0o700, exist_ok=True)
    if not source.is_dir() and any(target.iterdir()):
        raise Temporary(f"{source}: is not there, and the backup has keys", "restore them from it, or move it away")
    files = {each.relative_to(source) for each in source.rglob("*") if each.is_file()} if source.is_dir() else set()
    for path in sorted(files):
        there, data = target / path, (source / path).read_bytes()
        if not there.exists() or there.read_bytes() != data:
            make_folder(there.parent)
            write_durably(there, data)
    for each in list(target.rglob("*")):
        if each.is_file() and each.relative_to(target) not in files:
            shred(each)
    sync_folder(target)


def drop_others(folder: Path, wanted: set[str]) -> None:
    """Of what the backup has, all that the node has no more."""
    for each in list(os.scandir(folder)):
        if each.name not in wanted:
            Path(each.path).unlink(missing_ok=True)


def seal_up(folder: Path, sealed: bytes) -> None:
    write_durably(folder / SEALED, sealed)


def finish(folder: Path, about: Mapping[str, Any]) -> None:
    """From now on it is a backup."""
    write_durably(folder / ABOUT, (json.dumps(about, indent=2) + "\n").encode())


def about(folder: Path) -> dict[str, Any]:
    """What `finish` wrote. Raises Refused when it is no backup."""
    try:
        found = json.loads((folder / ABOUT).read_text("utf-8"))
        if found["version"] != VERSION:
            raise Refused(f"{folder}: the backup was made by a later version of Mesyx", "update Mesyx")
        return dict(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{folder}: is no whole backup", f"one has a file {ABOUT}; name another folder") from error
