"""A client's private keys at rest: one passphrase-sealed age file for each store. Nothing of it is on any other
node.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesyx_core.api.errors import Misconfigured, Refused
from mesyx_core.vault import age
from mesyx_core.vault.encoding import EncodingError, decode, encode

LIMIT: Final = 1 << 20
WORK: Final = 18
"""log2 of the scrypt rounds: about a second for us, and for each guess of a thief."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What unlocking one store gives."""

    owner: bytes | None
    """The owner's private key; None where it is kept elsewhere."""
    identities: tuple[str, ...]
    """age identities in their text form."""

    def keys(self) -> list[age.Identity]:
        return [age.parse_identity(text) for text in self.identities]


def passphrase(file: Path) -> str:
    """A passphrase file's first line. Raises Misconfigured."""
    try:
        with file.open("r", encoding="utf-8") as stream:
            line = stream.readline(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{file}: the passphrase cannot be read", "name a text file; its first line is the passphrase"
        ) from error
    if not line:
        raise Misconfigured(f"{file}: the first line is empty", "write the passphrase on the first line")
    return line


class Keyring:
    """The folder of sealed secrets of a client node."""

    def __init__(self, folder: Path, work: int = WORK) -> None:
        self.folder = folder
        self._work = work

    def _file(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.age"

    def has(self, store: bytes) -> bool:
        return self._file(store).exists()

    def save(self, store: bytes, secrets: Secrets, phrase: str) -> None:
        """Durable on return; never in clear on the disk, not even for a moment."""
        value = encode([1, secrets.owner, list(secrets.identities)])
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self.folder.parent)
        write_durably(self._file(store), age.encrypt_passphrase(value, phrase, work=self._work))

    def open(self, store: bytes, phrase: str) -> Secrets:
        """Takes about a second of one core, on purpose. Raises Refused for a wrong passphrase or a damaged file."""
        file = self._file(store)
        try:
            value = decode(age.decrypt_passphrase(file.read_bytes(), phrase), limit=LIMIT)
            version, owner, identities = value
        except OSError as error:
            raise Refused(f"{file}: the store's keys cannot be read", "restore them from the recovery kit") from error
        except age.NoMatch as error:
            raise Refused(
                "wrong passphrase for this store's keys", "give the passphrase that the store was created with"
            ) from error
        except (age.AgeError, EncodingError, ValueError, TypeError) as error:
            raise Refused(f"{file}: the store's keys are damaged", "restore them from the recovery kit") from error
        if version != 1:
            raise Refused(f"{file}: keys of a newer mesyx", "upgrade this node")
        return Secrets(owner, tuple(identities))


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
