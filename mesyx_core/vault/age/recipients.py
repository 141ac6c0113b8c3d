"""Wrapping a file key: X25519, mlkem768x25519 (HPKE) and scrypt stanzas."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from . import base64
from .errors import AgeError, HeaderError
from .header import WRAPPED_SIZE, Stanza, argument, derive

X25519: Final = b"X25519"
HYBRID: Final = b"mlkem768x25519"
SCRYPT: Final = b"scrypt"

SEED_SIZE: Final = 32
CLASSIC_SIZE: Final = 32
MLKEM_SIZE: Final = 1_184
HYBRID_SIZE: Final = MLKEM_SIZE + CLASSIC_SIZE
SALT_SIZE: Final = 16

_ENCAPSULATED_SIZE: Final = 1_088 + 32
_CLASSIC_INFO: Final = b"age-encryption.org/v1/X25519"
_HYBRID_INFO: Final = b"age-encryption.org/mlkem768x25519"
_SCRYPT_SALT: Final = b"age-encryption.org/v1/scrypt"
_SUITE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_NONCE: Final = bytes(12)  # a wrapping key is used once
_LOW_255_BITS: Final = (1 << 255) - 1  # X25519 ignores the highest bit
_PRIME: Final = (1 << 255) - 19
_LOW_ORDER: Final = frozenset(
    (
        0,
        1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        _PRIME - 1,
        _PRIME,
        _PRIME + 1,
    )
)
_WORK: Final = re.compile(rb"[1-9][0-9]?")


class ClassicKey:
    """The private half of an age1… recipient."""

    type = X25519

    def __init__(self, secret: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.public: Final = self._key.public_key().public_bytes_raw()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, or None if the stanza is for another; HeaderError if it is malformed."""
        share = argument(_sole(stanza), CLASSIC_SIZE)
        _check_body(stanza)
        if is_low_order(share):
            raise HeaderError("a share of low order")
        shared = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        return _open(derive(shared, share + self.public, _CLASSIC_INFO), stanza.body)


class HybridKey:
    """The private half of an age1pq… recipient: an X-Wing seed, expanded into both keys with SHAKE256."""

    type = HYBRID

    def __init__(self, seed: bytes) -> None:
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        classic = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._key = hpke.MLKEM768X25519PrivateKey(mlkem, classic)
        self.public: Final = mlkem.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, or None if the stanza is for another; HeaderError if it is malformed."""
        encapsulated = argument(_sole(stanza), _ENCAPSULATED_SIZE)
        _check_body(stanza)
        if is_low_order(encapsulated[-CLASSIC_SIZE:]):
            raise HeaderError("a share of low order")
        try:
            return _SUITE.decrypt(encapsulated + stanza.body, self._key, _HYBRID_INFO)
        except (InvalidTag, ValueError):
            return None


def wrap_classic(file_key: bytes, recipient: bytes, ephemeral: bytes) -> Stanza:
    """The stanza for an X25519 public key; `ephemeral` is 32 fresh random bytes."""
    key = X25519PrivateKey.from_private_bytes(ephemeral)
    share = key.public_key().public_bytes_raw()
    shared = key.exchange(classic_public(recipient))
    wrapping = derive(shared, share + recipient, _CLASSIC_INFO)
    return Stanza(X25519, (base64.encode(share),), _close(wrapping, file_key))


def wrap_hybrid(file_key: bytes, recipient: bytes) -> Stanza:
    """The stanza for a hybrid public key. Its randomness is the library's own."""
    sealed = _SUITE.encrypt(file_key, hybrid_public(recipient), _HYBRID_INFO)
    return Stanza(HYBRID, (base64.encode(sealed[:_ENCAPSULATED_SIZE]),), sealed[_ENCAPSULATED_SIZE:])


def wrap_scrypt(file_key: bytes, passphrase: str, salt: bytes, work: int) -> Stanza:
    """The stanza for a passphrase; `work` is the binary logarithm of the cost."""
    key = _stretch(passphrase, salt, work)
    return Stanza(SCRYPT, (base64.encode(salt), str(work).encode()), _close(key, file_key))


def unwrap_scrypt(stanza: Stanza, passphrase: str, max_work: int) -> bytes | None:
    """The file key, or None for another passphrase; HeaderError if malformed or dearer than `max_work`."""
    if len(stanza.arguments) != 2:
        raise HeaderError("a stanza with the wrong number of arguments")
    salt = argument(stanza.arguments[0], SALT_SIZE)
    _check_body(stanza)
    if not _WORK.fullmatch(stanza.arguments[1]) or int(stanza.arguments[1]) > max_work:
        raise HeaderError("a work factor that is malformed or too high")
    return _open(_stretch(passphrase, salt, int(stanza.arguments[1])), stanza.body)


@lru_cache(maxsize=256)
def hybrid_public(data: bytes) -> hpke.MLKEM768X25519PublicKey:
    """The two public keys of a hybrid recipient; AgeError if they are none."""
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(data[:MLKEM_SIZE])
        return hpke.MLKEM768X25519PublicKey(mlkem, classic_public(data[MLKEM_SIZE:]))
    except ValueError:
        raise AgeError("not a hybrid recipient") from None


def classic_public(data: bytes) -> X25519PublicKey:
    """An X25519 public key; AgeError for the few that give every sender the same secret."""
    if len(data) != CLASSIC_SIZE or is_low_order(data):
        raise AgeError("not an X25519 recipient")
    return X25519PublicKey.from_public_bytes(data)


def is_low_order(point: bytes) -> bool:
    """Whether an X25519 public key of 32 bytes makes an all-zero secret with any private key (RFC 7748, 6.1)."""
    return int.from_bytes(point, "little") & _LOW_255_BITS in _LOW_ORDER


def _stretch(passphrase: str, salt: bytes, work: int) -> bytes:
    try:
        return Scrypt(salt=_SCRYPT_SALT + salt, length=32, n=1 << work, r=8, p=1).derive(passphrase.encode())
    except MemoryError:
        raise AgeError("this work factor takes more memory than there is") from None


def _sole(stanza: Stanza) -> bytes:
    if len(stanza.arguments) != 1:
        raise HeaderError("a stanza with the wrong number of arguments")
    return stanza.arguments[0]


def _check_body(stanza: Stanza) -> None:
    # Before it is opened: a longer file key could open under two keys at once.
    if len(stanza.body) != WRAPPED_SIZE:
        raise HeaderError("a wrapped file key of the wrong size")


def _close(wrapping: bytes, file_key: bytes) -> bytes:
    return ChaCha20Poly1305(wrapping).encrypt(_NONCE, file_key, None)


def _open(wrapping: bytes, body: bytes) -> bytes | None:
    try:
        return ChaCha20Poly1305(wrapping).decrypt(_NONCE, body, None)
    except InvalidTag:
        return None
