"""The private keys of one store, a file each, sealed to one identity of theirs: what is held is known without it, and
more can be laid there without it; nothing can be opened without it.

recipient    the public part of that identity
ID.age       one private key, an age identity in an age file; ID names it: the labelled hash of its recipient
ID.damaged   one that could not be opened, kept for whoever can mend it
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mesyx_core.node import durable
from mesyx_core.vault import age
from mesyx_core.vault.keyset import key_id

log = logging.getLogger(__name__)

SEALED: Final = ".age"
DAMAGED: Final = ".damaged"
LIMIT: Final = 16 << 10


class KeyFolder:
    """For one thread at a time. Raises OSError where the disk fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def recipient(self) -> str:
        """What keys are sealed to; empty while nobody has unlocked the store since the folder was made."""
        try:
            return (self.path / "recipient").read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return ""

    def held(self) -> frozenset[bytes]:
        """Ids of the keys that are here."""
        return frozenset(_ids(self.path, SEALED))

    def damaged(self) -> frozenset[bytes]:
        """Ids of keys that were here and cannot be opened."""
        return frozenset(_ids(self.path, DAMAGED)) - self.held()

    def name(self, recipient: str) -> None:
        """Say what keys are sealed to from now on."""
        if self.recipient != recipient:
            durable.make_folder(self.path)
            durable.write_durably(self.path / "recipient", f"{recipient}\n".encode("ascii"))

    def add(self, identities: Iterable[age.Identity], recipient: str, *, anew: bool = False) -> frozenset[bytes]:
        """Lay keys there, sealed to this recipient, durable on return; ids of those that were not there. `anew`: also
        those that are there, sealed to another one.
        """
        fresh = {key_id(identity.recipient): identity for identity in identities}
        known = frozenset() if anew else self.held()
        durable.make_folder(self.path)
        for id, identity in fresh.items():
            if id not in known:
                durable.write_durably(self._file(id), age.encrypt(f"{identity.text}\n".encode("ascii"), [recipient]))
        return frozenset(fresh) - known

    def destroy(self, ids: Iterable[bytes]) -> frozenset[bytes]:
        """Overwrite these keys and remove them, durable on return; those that were here."""
        wanted = frozenset(ids)
        here = wanted & (self.held() | self.damaged())
        durable.destroy(path for id in here for path in (self._file(id), self._file(id).with_suffix(DAMAGED)))
        return here

    def open(self, identity: age.Identity) -> tuple[str, ...]:
        """All keys in their text form. One that is damaged is set aside and closes no other."""
        found = ((id, self._opened(id, identity)) for id in sorted(self.held()))
        return tuple(text for _, text in found if text is not None)

    def _opened(self, id: bytes, identity: age.Identity) -> str | None:
        file = self._file(id)
        try:
            with file.open("rb") as stream:
                key = age.parse_identity(age.decrypt(stream.read(LIMIT), [identity]).decode("ascii").strip())
            if key_id(key.recipient) != id:
                raise age.AgeError("another key")
        except OSError as error:
            log.warning("%s: a private key cannot be read (%s)", file, error.strerror or type(error).__name__)
            return None
        except (age.AgeError, UnicodeDecodeError):
            log.warning("%s: a private key is damaged; it is set aside", file)
            file.rename(file.with_suffix(DAMAGED))
            return None
        return key.text

    def _file(self, id: bytes) -> Path:
        return self.path / f"{id.hex()}{SEALED}"


def _ids(folder: Path, suffix: str) -> Iterable[bytes]:
    for path in folder.glob(f"*{suffix}"):
        try:
            yield bytes.fromhex(path.stem)
        except ValueError:
            continue
