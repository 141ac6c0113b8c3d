"""A node's key: one 32-byte secret, from which signing key, age identity and state key are derived by label."""

from __future__ import annotations

import hmac
from functools import cached_property
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from . import labels
from .age import Identity
from .encoding import encode, labelled, mac

SECRET_SIZE: Final = 32
PUBLIC_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
_TAG_SIZE: Final = 16
_SYNTHETIC_SIZE: Final = 32
_NONCE: Final = bytes(12)  # each row has its own key

# Ed25519 points of order 1, 2, 4 and 8, with their non-canonical encodings. A library that checks signatures without
# the cofactor takes one signature under them for many messages (Chalkias, Garillot, Nikolaenko, 2020, section 2).
_PRIME: Final = (1 << 255) - 19
_EIGHTH: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER: Final = frozenset(
    (y | sign << 255).to_bytes(32, "little")
    for y in (0, 1, _PRIME - 1, _PRIME, _PRIME + 1, _EIGHTH, _PRIME - _EIGHTH)
    for sign in (0, 1)
)


class StateError(Exception):
    """A row of node state that was not sealed by this node at this place."""


class NodeKey:
    """The private side of a node. Signs, opens what is sealed to the node, and seals the node's own rows."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_SIZE:
            raise ValueError("a node key has 32 bytes")
        self._signer = Ed25519PrivateKey.from_private_bytes(mac(secret, labels.NODE_SIGN))
        self._age_seed = mac(secret, labels.NODE_AGE)
        self._state = mac(secret, labels.NODE_STATE)
        self.public: Final = self._signer.public_key().public_bytes_raw()

    @cached_property
    def identity(self) -> Identity:
        """The node's hybrid age identity."""
        return Identity.hybrid(self._age_seed)

    @property
    def recipient(self) -> str:
        """What others seal to this node with: age1pq…"""
        return self.identity.recipient

    @property
    def signer(self) -> Ed25519PrivateKey:
        """The signing key itself, for the TLS certificate that shows it."""
        return self._signer

    def sign(self, label: str, *values: Any) -> bytes:
        """Ed25519 over the labelled values, 64 bytes."""
        return self._signer.sign(labelled(label, *values))

    def seal_row(self, space: str, key: str, value: bytes) -> bytes:
        """`value` sealed for its place; equal values at one place give equal bytes [needs no randomness, as a restored
        or cloned machine would repeat it]."""
        place = encode((space, key))
        synthetic = mac(self._state, labels.STATE, space, key, value)
        return synthetic + self._row_cipher(synthetic).encrypt(_NONCE, value, place)

    def open_row(self, space: str, key: str, sealed: bytes) -> bytes:
        """The value that `seal_row` was given for this place; raises StateError."""
        if len(sealed) < _SYNTHETIC_SIZE + _TAG_SIZE:
            raise StateError("cut short")
        synthetic, ciphertext = sealed[:_SYNTHETIC_SIZE], sealed[_SYNTHETIC_SIZE:]
        try:
            value = self._row_cipher(synthetic).decrypt(_NONCE, ciphertext, encode((space, key)))
        except InvalidTag:
            raise StateError("not sealed by this node at this place") from None
        if not hmac.compare_digest(mac(self._state, labels.STATE, space, key, value), synthetic):
            raise StateError("not sealed by this node at this place")
        return value

    def _row_cipher(self, synthetic: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(mac(self._state, labels.STATE_KEY, synthetic))

    def __repr__(self) -> str:
        return f"<NodeKey {self.public.hex()[:8]}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a node key is not stored but as its secret")


def is_public_key(public: Any) -> bool:
    """Whether these 32 bytes can be a node's or owner's key: not one of the few points anybody can sign for."""
    return type(public) is bytes and len(public) == PUBLIC_SIZE and public not in _SMALL_ORDER


def verify(public: bytes, signature: bytes, label: str, *values: Any) -> bool:
    """Whether the node or owner with this public key signed these labelled values. False for any malformed input."""
    if not is_public_key(public) or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, labelled(label, *values))
    except (InvalidSignature, ValueError):
        return False
    return True
