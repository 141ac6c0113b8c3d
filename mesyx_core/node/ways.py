"""Ways to unlock a store besides its passphrase: its keyring identity, sealed to another recipient each.

The passphrase alone opens the owner key; these open the private keys, which is to read. A way is what holds the other
half: a file with an age identity, a key that an age plugin reaches, or the desktop's keyring.

STORE.ways/ID.age      the keyring identity, an age file
STORE.ways/ID.way      what kind, and whose recipient: "KIND RECIPIENT LABEL", in clear
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, cast, get_args

from mesyx_core.api.errors import Refused
from mesyx_core.node import ageplugin, durable
from mesyx_core.node.ageplugin import Person
from mesyx_core.vault import age
from mesyx_core.vault.keyset import key_id

Kind: TypeAlias = Literal["identity", "plugin", "desktop"]
SEALED: Final = ".age"
TOLD: Final = ".way"
LIMIT: Final = 64 << 10
LABEL: Final = 64


class Way(NamedTuple):
    """One way."""

    id: str
    """The first 16 hex digits of its recipient's name."""
    kind: Kind
    recipient: str
    label: str
    """For people."""
    file: bytes
    """The keyring identity, sealed to the recipient."""


def kind_of(recipient: str) -> Kind:
    """Of a recipient that somebody gave. Raises Refused."""
    try:
        age.check_recipient(recipient)
        return "identity"
    except age.AgeError:
        pass
    try:
        age.recipient_plugin(recipient)
        return "plugin"
    except age.AgeError:
        raise Refused("this is no age recipient", "it is a line age1…, as age-keygen or a plugin prints it") from None


def sealed(identity: age.Identity, recipient: str) -> bytes:
    """The keyring identity for a recipient's owner. Raises Refused."""
    text = f"{identity.text}\n".encode("ascii")
    try:
        if kind_of(recipient) == "plugin":
            return ageplugin.seal(text, recipient)
        return age.encrypt(text, [recipient])
    except age.AgeError as error:
        raise Refused("nothing can be sealed to this recipient", "see whether it was copied whole") from error


def opened(ways: Sequence[Way], lines: Sequence[str], person: Person | None = None) -> str:
    """The keyring identity, by the identities on these lines: stock ones or a plugin's. Raises Refused where none of
    them opens any way.
    """
    native = [age.parse_identity(line) for line in lines if not line.startswith("AGE-PLUGIN-")]
    for way in ways:
        mine = [each for each in native if each.recipient == way.recipient]
        if mine:
            return _text(age.decrypt(way.file, mine))
    for line in lines:
        for way in ways:
            if line.startswith("AGE-PLUGIN-") and way.kind == "plugin" and _fits(line, way):
                try:
                    return _text(ageplugin.open_(way.file, line, person))
                except age.NoMatch:
                    continue
    raise Refused("none of these keys is a way to unlock this store", "see `mesyx store way list STORE`")


def _fits(identity: str, way: Way) -> bool:
    return age.identity_plugin(identity) == age.recipient_plugin(way.recipient)


def _text(plaintext: bytes) -> str:
    return age.parse_identity(plaintext.decode("ascii").strip()).text


class WayFolder:
    """Of one store. Raises OSError where the disk fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Way]:
        """Those that are whole, by label."""
        found = [self._read(path) for path in self.path.glob(f"*{TOLD}")]
        return sorted((way for way in found if way is not None), key=lambda way: (way.label, way.id))

    def add(self, kind: Kind, recipient: str, label: str, file: bytes) -> Way:
        """Durable on return; in the place of one with the same recipient."""
        id = key_id(recipient).hex()[:16]
        durable.make_folder(self.path)
        durable.replace_and_shred(self.path / f"{id}{SEALED}", file)
        durable.write_durably(self.path / f"{id}{TOLD}", f"{kind} {recipient} {label}\n".encode())
        return Way(id, kind, recipient, label, file)

    def remove(self, id: str) -> None:
        """Gone, and overwritten on the disk."""
        durable.destroy([self.path / f"{id}{SEALED}", self.path / f"{id}{TOLD}"])

    def _read(self, path: Path) -> Way | None:
        try:
            kind, recipient, label = path.read_text("utf-8")[:LIMIT].rstrip("\n").split(" ", 2)
            file = path.with_suffix(SEALED).read_bytes()
        except (OSError, ValueError):
            return None
        return Way(path.stem, cast(Kind, kind), recipient, label, file) if kind in get_args(Kind) else None
