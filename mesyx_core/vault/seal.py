"""Sealing one message under its key (architecture.md, section 3): padded, deterministic, committing."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from . import labels
from .encoding import PREFIX, EncodingError, Item, encode, extent, hmac_sha256, labelled
from .padding import padded

SALT_SIZE: Final = 16
TAG_SIZE: Final = 16
KEY_SIZE: Final = 32
LARGEST: Final = 1 << 24
"""Most bytes of one sealed plaintext with its padding; anything large belongs in a blob."""
MOST_ITEMS: Final = 1 << 20
"""Most CBOR items in one sealed plaintext."""

_NONCE: Final = bytes(12)  # each key seals one message
_SEAL_INPUT: Final = PREFIX + labels.SEAL.encode() + b"\x00\x82"  # then context, then the plaintext as a byte string
_KEY_INPUT: Final = labelled(labels.KEY, bytes(KEY_SIZE))[:-KEY_SIZE]


class SealError(Exception):
    """Not sealed under this key and context, or not in the form that sealing gives."""


class Context(NamedTuple):
    """Where a message stands; bound to its ciphertext. With the padded size it is the associated data."""

    store: bytes
    node: bytes
    incarnation: bytes
    kind: int
    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, of no use here
    blobs: tuple[tuple[bytes, int], ...] = ()
    """Hash and ciphertext size of each blob that the message refers to."""


def seal(key: bytes, context: Context, plaintext: bytes, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """(s, payload) of `plaintext`, which is exactly one CBOR item; the payload is its padded size and 16 bytes.

    Raises ValueError for anything but one CBOR item [its length is not stored: nothing else could be opened again]. An
    `Item` is one by its making; other bytes are looked through.
    """
    if len(key) != KEY_SIZE:
        raise ValueError("a message key has 32 bytes")
    if type(plaintext) is not Item and extent(plaintext, items=MOST_ITEMS) != len(plaintext):
        raise ValueError("what is sealed is one CBOR item")
    filled = len(plaintext) + SALT_SIZE
    size = padded(filled)
    if size > LARGEST:
        raise ValueError("too large to be sealed in memory")
    whole = b"".join((plaintext, _salt(random), bytes(size - filled)))
    bound = _associated(context, size)
    s = _synthetic(key, bound, whole)
    return s, ChaCha20Poly1305(_aead_key(key, s)).encrypt(_NONCE, whole, bound)


def open_(key: bytes, context: Context, s: bytes, payload: bytes) -> bytes:
    """The CBOR item sealed as `payload`. Nothing is released before `s` and the padding are checked; else SealError."""
    return _unpadded(open_known(key, context, s, payload))


def open_known(key: bytes, context: Context, s: bytes, payload: bytes) -> bytes:
    """As `open_`, in less time, for what it has taken before: the item, with its salt and padding behind."""
    size = len(payload) - TAG_SIZE
    if len(s) != KEY_SIZE or size > LARGEST or padded(size) != size:
        raise SealError("not a size that sealing gives")
    bound = _associated(context, size)
    try:
        whole = ChaCha20Poly1305(_aead_key(key, s)).decrypt(_NONCE, payload, bound)
    except InvalidTag:
        raise SealError("not sealed under this key and context") from None
    if not hmac.compare_digest(_synthetic(key, bound, whole), s):
        raise SealError("sealed by someone who did not hold this key")
    return whole


def _unpadded(whole: bytes) -> bytes:
    try:
        end = extent(whole, items=MOST_ITEMS)
    except EncodingError:
        raise SealError("does not start with a CBOR item") from None
    filled = end + SALT_SIZE
    if padded(filled) != len(whole) or whole.count(0, filled) != len(whole) - filled:
        raise SealError("wrongly padded")
    return whole[:end]


def _associated(context: Context, size: int) -> bytes:
    store, node, incarnation, kind, epoch, index, blobs = context
    return encode((store, node, incarnation, kind, epoch, index, size, blobs))


def _synthetic(key: bytes, bound: bytes, whole: bytes) -> bytes:
    return hmac_sha256(key, b"".join((_SEAL_INPUT, bound, _string_head(len(whole)), whole)))


def _aead_key(key: bytes, s: bytes) -> bytes:
    return hmac_sha256(key, _KEY_INPUT + s)


def _string_head(size: int) -> bytes:
    """The CBOR head of a byte string of at least 256 bytes."""
    if size < 1 << 16:
        return b"\x59" + size.to_bytes(2, "big")
    return b"\x5a" + size.to_bytes(4, "big")


def _salt(random: Callable[[int], bytes]) -> bytes:
    salt = random(SALT_SIZE)
    if len(salt) != SALT_SIZE:
        raise ValueError("the source of randomness gave too little")
    return salt
