"""The payload of an age file: 64 KiB STREAM chunks; the last, and only the last, is marked so."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .errors import HeaderError, PayloadError
from .header import derive

CHUNK: Final = 65_536
NONCE_SIZE: Final = 16

_TAG_SIZE: Final = 16
_SEALED: Final = CHUNK + _TAG_SIZE


def seal(file_key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    """Nonce and chunks."""
    cipher = ChaCha20Poly1305(derive(file_key, nonce, b"payload"))
    starts = range(0, max(len(plaintext), 1), CHUNK)
    chunks = (
        cipher.encrypt(_nonce(number, start == starts[-1]), plaintext[start : start + CHUNK], None)
        for number, start in enumerate(starts)
    )
    return b"".join((nonce, *chunks))


def open_(file_key: bytes, payload: memoryview) -> bytes:
    """The plaintext, once every chunk is authentic; raises PayloadError."""
    if len(payload) < NONCE_SIZE:
        raise HeaderError("no payload nonce")
    cipher = ChaCha20Poly1305(derive(file_key, bytes(payload[:NONCE_SIZE]), b"payload"))
    sealed = payload[NONCE_SIZE:]
    starts = range(0, max(len(sealed), 1), _SEALED)
    if len(starts) > 1 and len(sealed) - starts[-1] <= _TAG_SIZE:
        raise PayloadError("an empty last chunk")
    try:
        return b"".join(
            cipher.decrypt(_nonce(number, start == starts[-1]), sealed[start : start + _SEALED], None)
            for number, start in enumerate(starts)
        )
    except InvalidTag:
        raise PayloadError("the payload was changed, cut short or continued") from None


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")
