"""An owner without any node asks a member for the store's manifests, and presents the next.

owner:  open (proves the owner key, or the next one, for this connection; holds nothing)
member: heads
owner:  lack (nothing known)
member: documents
owner:  documents (the manifest that makes a new node of the owner's a member)
member: heads, with that one among them
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesyx_core.vault.encoding import labelled
from mesyx_core.vault.manifest import ManifestError, parse

from .compare import Comparison
from .errors import Violation
from .frames import Documents, Heads, Lack
from .join import MAX_DOCUMENTS
from .session import Signer
from .talk import Talk

Rescue: TypeAlias = Callable[[Sequence[bytes], bytes], Awaitable[bytes]]


class OwnerSigner:
    """An owner key, as far as a session needs it."""

    def __init__(self, private: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, label: str, *values: Any) -> bytes:
        return self._key.sign(labelled(label, *values))


async def rescue(
    talk: Talk, store: bytes, owner: Signer, prepare: Callable[[Sequence[bytes]], Awaitable[bytes]]
) -> None:
    """Over a session on which the member has said hello. `prepare` gets all manifests that the member shows, and gives
    the one to present. Raises what it raises, NotMember, LinkFailed, Violation.
    """
    talk.session.open(owner, store, (), Comparison(store, []))
    await talk.flush()
    await talk.hear(Heads)
    await talk.say(Lack(()))
    documents: list[bytes] = []
    more = True
    while more:
        part = await talk.hear(Documents)
        documents += part.documents
        more = part.more
        if sum(map(len, documents)) > MAX_DOCUMENTS:
            raise Violation("too many manifests")
    try:
        document = await prepare(documents)
        presented = parse(document).hash
    except ManifestError as error:
        raise Violation(f"the manifests shown are none ({error})") from None
    await talk.say(Documents((document,), False))
    if presented not in (await talk.hear(Heads)).heads:
        raise Violation("the node does not take the manifest presented")
