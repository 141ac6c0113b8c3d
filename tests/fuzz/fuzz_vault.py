"""Hostile CBOR, sealed plaintext and manifests: their own error or a result, never anything else."""

from __future__ import annotations

import contextlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesyx_core.vault import labels, seal
from mesyx_core.vault.age import Identity
from mesyx_core.vault.encoding import EncodingError, decode, encode, labelled
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Cut, Manifest, ManifestError, Member, next_commitment, owner_public, parse, sign

LIMIT = 1 << 16
OWNER = bytes(32)
RECIPIENT = Identity.classic(b"1" * 32).recipient


def _body() -> bytes:
    public = owner_public(b"2" * 32)
    manifest = Manifest(
        owner=owner_public(OWNER),
        next_owner=next_commitment(public),
        members=(Member(public, RECIPIENT, frozenset(("accept",)), frozenset(("purge",)), ("a@x",), ("tcp://x",)),),
        keysets=(Keyset((RECIPIENT,), 1, 2), Keyset((RECIPIENT,), fallback=True)),
        closed=frozenset((bytes(32),)),
        clients=(RECIPIENT,),
        cuts=(Cut(public, bytes(16), 1, bytes(32)),),
    )
    body = decode(sign(manifest, OWNER), limit=LIMIT)[1]
    assert isinstance(body, bytes)
    return body


SEEDS: list[bytes] = [b"", _body(), encode({"kind": "mail", "body": b"text", "flags": [1, None, True, -1, 1.5]})]


def target(data: bytes) -> None:
    """Read `data` as an encoding, as what a holder of the key may have sealed, and as what an owner may have signed."""
    with contextlib.suppress(EncodingError):
        assert encode(decode(data, limit=LIMIT)) == data
    with contextlib.suppress(seal.SealError):
        seal._unpadded(data)
    with contextlib.suppress(ManifestError):
        parse(data)
    with contextlib.suppress(ManifestError):
        signature = Ed25519PrivateKey.from_private_bytes(OWNER).sign(labelled(labels.MANIFEST, 1, data))
        parse(encode([1, data, signature]))
