"""A client's key files, all of them age files: nothing is in clear, and what opens them is a passphrase.

STORE.age        the store's private keys, under the passphrase
STORE.kit        its recovery kit, under the passphrase, until somebody has taken it
ID.invitation    the identity that an invitation to become a client asks keys for, under the passphrase
STORE.arrived    private keys that another client sent, sealed to that identity; unlocking turns the two into STORE.age
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio.to_thread import run_sync

from mesyx_core.api.errors import Misconfigured, Refused, Temporary
from mesyx_core.node import handover
from mesyx_core.vault import age
from mesyx_core.vault.encoding import EncodingError, decode, encode

log = logging.getLogger(__name__)

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


async def given(passphrase_file: str | None, typed: str | None) -> str:
    """The passphrase that came with a command. Raises Refused when none did, Misconfigured."""
    if passphrase_file is not None:
        return await run_sync(passphrase, Path(passphrase_file))
    if not typed:
        raise Refused("a store's private keys are under a passphrase", "give --passphrase-file FILE")
    return typed


class Keyring:
    """The folder of sealed secrets of a client node."""

    def __init__(self, folder: Path, work: int = WORK) -> None:
        self.folder = folder
        self._work = work
        self._changing = threading.Lock()

    def _file(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.age"

    def _kit(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.kit"

    def _arrived(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.arrived"

    def _invitation(self, invitation: bytes) -> Path:
        return self.folder / f"{invitation.hex()}.invitation"

    def has(self, store: bytes) -> bool:
        return self._file(store).exists() or self.waits(store)

    def waits(self, store: bytes) -> bool:
        """Whether private keys have come that nobody has opened yet."""
        return self._arrived(store).exists()

    def save(self, store: bytes, secrets: Secrets, phrase: str) -> None:
        """Durable on return; never in clear on the disk, not even for a moment. Raises Temporary."""
        with self._changing:
            self._save(store, secrets, phrase)

    def open(self, store: bytes, phrase: str) -> Secrets:
        """Takes about a second of one core, on purpose. Keys that have come from another client become this one's.
        Raises Refused for a wrong passphrase or a damaged file, Temporary where keys that came cannot be kept.
        """
        with self._changing:
            held = self._open(store, phrase) if self._file(store).exists() or not self.waits(store) else None
            if not self.waits(store):
                assert held is not None
                return held
            try:
                return self._take_in(store, held, phrase)
            except (Refused, Temporary) as error:
                if held is None:
                    raise
                log.warning("private keys that came for a store stay closed: %s", error.what)
                return held

    # --- the recovery kit, from when a store is made until somebody has it ------------------------------------------

    def keep_kit(self, store: bytes, kit: str) -> None:
        """Durable on return."""
        with self._changing:
            self._write(self._kit(store), kit.encode("ascii"))

    def kit(self, store: bytes) -> str | None:
        """The recovery kit that nobody has taken yet; it is sealed as it is."""
        try:
            return self._kit(store).read_text("ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{self._kit(store)}: the recovery kit cannot be read", "restore it from a backup") from error

    def kit_taken(self, store: bytes) -> None:
        """Forget it; harmless when there is none."""
        with self._changing:
            self._remove(self._kit(store))

    # --- keys from another client -----------------------------------------------------------------------------------

    def invite(self, invitation: bytes, phrase: str) -> str:
        """A new identity for the keys that an invitation may bring, durable under the passphrase; its recipient."""
        identity = age.generate()
        sealed = age.encrypt_passphrase(identity.text.encode("ascii"), phrase, work=self._work)
        with self._changing:
            self._write(self._invitation(invitation), sealed)
        return identity.recipient

    def arrive(self, store: bytes, invitation: bytes, file: bytes) -> None:
        """Keep the keys that came, as they are. Durable on return, harmless to repeat. Raises Refused when nothing here
        could open them.
        """
        with self._changing:
            if not self._invitation(invitation).exists():
                if self._file(store).exists():  # another try of what has long been taken in
                    return
                raise Refused("this node has lost the key of its invitation", "invite it again")
            self._write(self._arrived(store), encode([1, invitation, file]))

    def forget(self, invitation: bytes) -> None:
        """The invitation is void. Keys that came by it and wait are left alone; harmless when there is none."""
        with self._changing:
            try:
                waiting = [self._sent(file)[0] for file in self.folder.glob("*.arrived")]
            except Refused:  # who knows what it waits for
                return
            if invitation not in waiting:
                self._remove(self._invitation(invitation))

    def _take_in(self, store: bytes, held: Secrets | None, phrase: str) -> Secrets:
        invitation, file = self._sent(self._arrived(store))
        sealed = self._invitation(invitation)
        if held is not None and not sealed.exists():  # taken in already: only what is left over has to go
            self._remove(self._arrived(store))
            return held
        brought = handover.opened(file, store, _identity(sealed, phrase))
        known = held or Secrets(None, ())
        secrets = Secrets(known.owner, tuple(dict.fromkeys((*known.identities, *brought))))
        self._save(store, secrets, phrase)
        # The invitation's key goes first: what came is nothing without it, and the next start knows what that means.
        self._remove(sealed)
        self._remove(self._arrived(store))
        return secrets

    def _sent(self, path: Path) -> tuple[bytes, bytes]:
        """Of keys that came: the invitation's id, and the file."""
        try:
            version, invitation, file = decode(path.read_bytes(), limit=LIMIT)
        except (OSError, EncodingError, ValueError, TypeError) as error:
            raise Refused(f"{path}: the keys that came cannot be read", "invite this node again") from error
        if version != 1 or not isinstance(invitation, bytes) or not isinstance(file, bytes):
            raise Refused(f"{path}: keys of a newer mesyx", "upgrade this node")
        return invitation, file

    # --- files ------------------------------------------------------------------------------------------------------

    def _write(self, path: Path, data: bytes) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self.folder.parent)
            write_durably(path, data)
        except OSError as error:
            raise Temporary(
                f"{path}: cannot be written ({error.strerror or type(error).__name__})",
                "make room on that disk, and mount it writable",
            ) from error

    def _remove(self, path: Path) -> None:
        if path.exists():
            path.unlink()
            sync_folder(self.folder)

    def _save(self, store: bytes, secrets: Secrets, phrase: str) -> None:
        value = encode([1, secrets.owner, list(secrets.identities)])
        self._write(self._file(store), age.encrypt_passphrase(value, phrase, work=self._work))

    def _open(self, store: bytes, phrase: str) -> Secrets:
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


def _identity(path: Path, phrase: str) -> age.Identity:
    """The identity of an invitation. Takes about a second. Raises Refused."""
    try:
        return age.parse_identity(age.decrypt_passphrase(path.read_bytes(), phrase).decode("ascii"))
    except age.NoMatch as error:
        raise Refused(
            "wrong passphrase for the keys that came for this store", "give the one that `mesyx node invite` was given"
        ) from error
    except (OSError, age.AgeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: the key of the invitation cannot be read", "invite this node again") from error


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
