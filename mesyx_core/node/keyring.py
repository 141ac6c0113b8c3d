"""A client's key files, all of them age files: nothing is in clear, and what opens them is a passphrase.

STORE.age        the owner key, unless it is kept elsewhere, and the keyring identity of the store; under the passphrase
STORE.keys/      the store's private keys, sealed to the keyring identity: see `keyfolder`
STORE.ways/      other ways to unlock it: see `ways`
STORE.kit        its recovery kit, under the passphrase, until somebody has taken it
ID.invitation    the identity that an invitation to become a client asks keys for, under the passphrase
STORE.arrived    private keys that another client sent, sealed to that identity; unlocking makes them the store's
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from mesyx_core.api.errors import Refused, Temporary
from mesyx_core.node import durable, handover
from mesyx_core.node.keyfolder import KeyFolder
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.ways import Kind, Way, WayFolder, sealed
from mesyx_core.vault import age
from mesyx_core.vault.encoding import EncodingError, decode, encode
from mesyx_core.vault.keyset import key_id

log = logging.getLogger(__name__)

LIMIT: Final = 1 << 20
WORK: Final = 18
"""log2 of the scrypt rounds: about a second for us, and for each guess of a thief."""


class _Opened(NamedTuple):
    """What the passphrase gives."""

    owner: bytes | None
    identity: age.Identity | None
    """The keyring identity; None in what the first releases wrote, which held the keys itself."""
    keys: tuple[str, ...] = ()


class Keyring:
    """The folder of sealed secrets of a client node. For any thread."""

    def __init__(self, folder: Path, work: int = WORK) -> None:
        self.folder = folder
        self._work = work
        self._changing = threading.Lock()

    def has(self, store: bytes) -> bool:
        return self._file(store).exists() or self.waits(store)

    def waits(self, store: bytes) -> bool:
        """Whether private keys have come that nobody has opened yet."""
        return self._arrived(store).exists()

    @contextmanager
    def still(self) -> Iterator[Path]:
        """The folder, which nobody changes meanwhile, and where nothing is half done. Raises Temporary."""
        with self._changing:
            self._finish()
            yield self.folder

    def finish(self) -> None:
        """Do what a crash kept from being done: what was to be destroyed is. Raises Temporary."""
        with self._changing:
            self._finish()

    # --- the keys of a store ----------------------------------------------------------------------------------------

    def save(self, store: bytes, secrets: Secrets, phrase: str) -> None:
        """Keep an owner key, and add private keys. Durable on return; never in clear on the disk, not even for a
        moment. Raises Refused when there are keys under another passphrase, Temporary.
        """
        with self._changing:
            known = self._read(store, phrase) if self._file(store).exists() else _Opened(None, None)
            self._keep(store, known, secrets, phrase)

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

    def open_by(self, store: bytes, identity: str) -> Secrets:
        """By the keyring identity, which some other way than the passphrase gave: all but the owner key. Raises Refused
        where it is another store's.
        """
        with self._changing:
            folder = self._keys(store)
            key = age.parse_identity(identity)
            if folder.recipient != key.recipient:
                raise Refused("this opens another store's keys", "see `mesyx store way list STORE`")
            return Secrets(None, folder.open(key))

    def held(self, store: bytes) -> frozenset[bytes]:
        """Which private keys are here, by `key_id` of their recipients; no passphrase is needed."""
        return self._keys(store).held()

    def damaged(self, store: bytes) -> frozenset[bytes]:
        """Which private keys were here and cannot be opened."""
        return self._keys(store).damaged()

    def add(self, store: bytes, identities: Iterable[str]) -> frozenset[bytes]:
        """Add private keys, durable on return; ids of those that were not here. No passphrase is needed. Raises Refused
        for what is no identity and where the store was not unlocked since it is here, Temporary.
        """
        try:
            keys = [age.parse_identity(text) for text in identities]
        except age.AgeError:
            raise Refused("this is no private key", "it begins with AGE-SECRET-KEY-") from None
        with self._changing:
            return _add(self._keys(store), keys)

    def destroy(self, store: bytes, recipients: Iterable[str]) -> frozenset[bytes]:
        """Destroy the private keys of these recipients, durable on return; ids of those that were here. Raises
        Temporary, and then the next start or call goes on with it.
        """
        with self._changing:
            self._finish()
            folder = self._keys(store)
            with _on_disk(folder.path):
                return folder.destroy(key_id(recipient) for recipient in recipients)

    # --- ways to unlock it besides the passphrase -------------------------------------------------------------------

    def ways(self, store: bytes) -> list[Way]:
        return WayFolder(self._ways(store)).all()

    def add_way(self, store: bytes, phrase: str, kind: Kind, recipient: str, label: str) -> Way:
        """Seal the keyring identity to one more recipient, durable on return. Raises as `open` does, and Refused where
        nothing can be sealed to it.
        """
        with self._changing:
            self._open(store, phrase)  # so that what an earlier release wrote has a keyring identity
            identity = self._read(store, phrase).identity
            if identity is None:
                raise Temporary("the store's keys could not be rewritten", "make room on that disk, then try again")
            with _on_disk(self._ways(store)):
                return WayFolder(self._ways(store)).add(kind, recipient, label, sealed(identity, recipient))

    def remove_way(self, store: bytes, id: str) -> None:
        """Harmless when there is none."""
        with self._changing, _on_disk(self._ways(store)):
            WayFolder(self._ways(store)).remove(id)

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
        file = age.encrypt_passphrase(identity.text.encode("ascii"), phrase, work=self._work)
        with self._changing:
            self._write(self._invitation(invitation), file)
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
        opener = self._invitation(invitation)
        if held is not None and not opener.exists():  # taken in already: only what is left over has to go
            self._remove(self._arrived(store))
            return held
        brought = handover.opened(file, store, _identity(opener, phrase))
        if held is None:
            self._keep(store, _Opened(None, None), Secrets(None, brought), phrase)
        else:
            _add(self._keys(store), [age.parse_identity(text) for text in brought])
        # The invitation's key goes first: what came is nothing without it, and the next start knows what that means.
        self._remove(opener)
        self._remove(self._arrived(store))
        return Secrets(held.owner if held is not None else None, ((held.identities if held else ()) + brought))

    def _sent(self, path: Path) -> tuple[bytes, bytes]:
        """Of keys that came: the invitation's id, and the file."""
        try:
            version, invitation, file = decode(path.read_bytes(), limit=LIMIT)
        except (OSError, EncodingError, ValueError, TypeError) as error:
            raise Refused(f"{path}: the keys that came cannot be read", "invite this node again") from error
        if version != 1 or not isinstance(invitation, bytes) or not isinstance(file, bytes):
            raise Refused(f"{path}: keys of a newer mesyx", "upgrade this node")
        return invitation, file

    # --- what is under the passphrase -------------------------------------------------------------------------------

    def _open(self, store: bytes, phrase: str) -> Secrets:
        known = self._read(store, phrase)
        if known.identity is None:
            try:
                self._keep(store, known, Secrets(known.owner, known.keys), phrase)
            except Temporary as error:
                log.warning("the private keys of a store stay in the form of an earlier release: %s", error.what)
            return Secrets(known.owner, known.keys)
        folder = self._keys(store)
        try:
            self._finish()
            with _on_disk(folder.path):
                folder.name(known.identity.recipient)
        except Temporary as error:
            log.warning("the private keys of a store can be read, and not be changed: %s", error.what)
        return Secrets(known.owner, folder.open(known.identity))

    def _keep(self, store: bytes, known: _Opened, secrets: Secrets, phrase: str) -> None:
        """The keys first, then what opens them, then what lets others be added: whenever this is cut off, what was
        there before still opens.
        """
        self._finish()
        fresh = known.identity is None
        identity = known.identity or age.generate()
        folder = self._keys(store)
        keys = [age.parse_identity(text) for text in (*known.keys, *secrets.identities)]
        with _on_disk(folder.path):
            folder.add(keys, identity.recipient, anew=fresh)
        if fresh or known.owner != secrets.owner:
            value = encode([2, secrets.owner, identity.text])
            self._write(self._file(store), age.encrypt_passphrase(value, phrase, work=self._work))
        with _on_disk(folder.path):
            folder.name(identity.recipient)

    def _read(self, store: bytes, phrase: str) -> _Opened:
        file = self._file(store)
        try:
            version, owner, rest = decode(age.decrypt_passphrase(file.read_bytes(), phrase), limit=LIMIT)
            if version == 1:
                return _Opened(owner, None, tuple(rest))
            if version == 2:
                return _Opened(owner, age.parse_identity(rest))
        except OSError as error:
            raise Refused(f"{file}: the store's keys cannot be read", "restore them from the recovery kit") from error
        except age.NoMatch as error:
            raise Refused(
                "wrong passphrase for this store's keys", "give the passphrase that the store was created with"
            ) from error
        except (age.AgeError, EncodingError, ValueError, TypeError) as error:
            raise Refused(f"{file}: the store's keys are damaged", "restore them from the recovery kit") from error
        raise Refused(f"{file}: keys of a newer mesyx", "upgrade this node")

    # --- files ------------------------------------------------------------------------------------------------------

    def _file(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.age"

    def _keys(self, store: bytes) -> KeyFolder:
        return KeyFolder(self.folder / f"{store.hex()}.keys")

    def _ways(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.ways"

    def _kit(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.kit"

    def _arrived(self, store: bytes) -> Path:
        return self.folder / f"{store.hex()}.arrived"

    def _invitation(self, invitation: bytes) -> Path:
        return self.folder / f"{invitation.hex()}.invitation"

    def _finish(self) -> None:
        with _on_disk(self.folder):
            durable.finish(self.folder)
            for folder in (*self.folder.glob("*.keys"), *self.folder.glob("*.ways")):
                durable.finish(folder)

    def _write(self, path: Path, data: bytes) -> None:
        with _on_disk(path):
            durable.make_folder(self.folder)
            durable.replace_and_shred(path, data)

    def _remove(self, path: Path) -> None:
        with _on_disk(path):
            durable.destroy([path])


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Says which file could not be written."""
    try:
        yield
    except OSError as error:
        raise Temporary(
            f"{path}: cannot be written ({error.strerror or type(error).__name__})",
            "make room on that disk, and mount it writable",
        ) from error


def _add(folder: KeyFolder, keys: Iterable[age.Identity]) -> frozenset[bytes]:
    with _on_disk(folder.path):
        recipient = folder.recipient
        if not recipient:
            raise Refused("no more private keys can be kept for this store yet", "unlock it once on this node")
        return folder.add(keys, recipient)


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
