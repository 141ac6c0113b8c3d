"""Which private keys of a store another client is given, and the age file in which they travel to it.

They go inside the join's TLS stream, sealed to a key that was made for the invitation. They are never in the log: what
stays there would outlive the shredding of a keyset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mesyx_core.api.errors import Refused
from mesyx_core.vault import age
from mesyx_core.vault.encoding import EncodingError, decode, encode
from mesyx_core.vault.manifest import Manifest

if TYPE_CHECKING:
    from mesyx_core.node.secrets import Secrets

LIMIT: Final = 128 << 10
"""Bytes of the file; a join takes no more."""
CHOICES: Final = ("all", "short", "none")
_MOST: Final = 1024
_LONGEST: Final = 256
_VERSION: Final = 1


def chosen(secrets: Secrets, manifest: Manifest, which: str) -> tuple[str, ...]:
    """Of a client's identities, in their text form, those that "short" or "all" hands over: the clients' own, those of
    keysets that end, and with "all" those of keysets that do not. Never an owner key. Raises Refused where this client
    has not got what is to be given.
    """
    lasting = {each for keyset in manifest.keysets if keyset.end is None for each in keyset.recipients}
    ending = {each for keyset in manifest.keysets for each in keyset.recipients} - lasting
    clients = set(manifest.clients)
    wanted = clients | ending | (lasting if which == "all" else set())
    held = {age.parse_identity(text).recipient: text for text in secrets.identities}
    if not clients & held.keys():
        raise Refused("this client has no key of the store's clients", "run this on another client, or --keys none")
    if which == "all" and not lasting <= held.keys():
        raise Refused("this client has not got the long-term keys itself", "add the node with --keys short")
    return tuple(text for recipient, text in held.items() if recipient in wanted)


def sealed(store: bytes, identities: tuple[str, ...], recipient: str) -> bytes:
    """The age file for whoever holds the invitation's identity. Raises Refused for a recipient that is no hybrid one:
    what is recorded today must not be opened by a quantum computer.
    """
    try:
        if age.check_recipient(recipient) != "hybrid":
            raise Refused("the inviting node asks for the keys under a weak key", "upgrade it, then invite again")
        file = age.encrypt(encode([_VERSION, store, list(identities)]), [recipient])
    except age.AgeError as error:
        raise Refused("the inviting node shows no key to send private keys to", "invite again there") from error
    if len(file) > LIMIT:
        raise Refused("the store has too many keys for one join", "add the node with --keys none")
    return file


def opened(file: bytes, store: bytes, identity: age.Identity) -> tuple[str, ...]:
    """The identities in a file that came, in their text form. Raises Refused for anything but keys for this store."""
    try:
        version, about, identities = decode(age.decrypt(file, [identity]), limit=LIMIT)
        if version != _VERSION or about != store or not isinstance(identities, list) or len(identities) > _MOST:
            raise ValueError("shape")
        if not all(isinstance(text, str) and len(text) <= _LONGEST for text in identities):
            raise ValueError("identities")
        return tuple(dict.fromkeys(age.parse_identity(text).text for text in identities))
    except (age.AgeError, EncodingError, ValueError, TypeError):
        raise Refused(
            "the private keys that came for this store are damaged", "run `mesyx store add-node` again on the client"
        ) from None
