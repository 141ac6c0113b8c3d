"""Blobs: content above the inline limit, padded and sealed in 64 KiB STREAM chunks as an age payload is.

Chunk n has the nonce n (11 bytes, big endian) ‖ 1 if it is the last, else 0. A blob has a key of its own, which stands
in the plaintext of the one entry that refers to it, beside the true size: zeros up to the padded size follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from . import labels
from .encoding import mac
from .padding import padded

CHUNK: Final = 65_536
TAG_SIZE: Final = 16
SEALED_CHUNK: Final = CHUNK + TAG_SIZE


class StreamError(Exception):
    """A chunk that is not what was sealed at this place under this key."""


class BlobSealer:
    """Seals one blob as its bytes come; the concatenation of all that is returned is the blob."""

    __slots__ = ("_aead", "_count", "_finished", "_pending", "size")

    size: int
    """Plain bytes taken so far, without padding."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._pending = bytearray()
        self._count = 0
        self._finished = False
        self.size = 0

    def update(self, chunk: bytes) -> bytes:
        """Take more plaintext of any length; gives the ciphertext of the chunks that it completes, often none."""
        self._check_open()
        self.size += len(chunk)
        self._pending += chunk
        return b"".join(self._full_chunks())

    def finish(self) -> bytes:
        """Pad, and give the rest of the ciphertext. Nothing can be added afterwards."""
        self._check_open()
        self._finished = True
        missing = padded(self.size) - self.size
        out: list[bytes] = []
        while missing > CHUNK:
            self._pending += bytes(CHUNK)
            missing -= CHUNK
            out += self._full_chunks()
        self._pending += bytes(missing)
        out += self._full_chunks()
        out.append(self._seal(bytes(self._pending), last=True))
        self._pending[:] = bytes(len(self._pending))
        return b"".join(out)

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("the blob is finished")

    def _full_chunks(self) -> Iterator[bytes]:
        # One byte more than a chunk must be there: the last chunk is sealed otherwise, and only finish() knows it.
        pending, at = self._pending, 0
        while len(pending) - at > CHUNK:
            yield self._seal(bytes(pending[at : at + CHUNK]), last=False)
            at += CHUNK
        del pending[:at]

    def _seal(self, chunk: bytes, *, last: bool) -> bytes:
        sealed = self._aead.encrypt(nonce(self._count, last), chunk, None)
        self._count += 1
        return sealed


def open_chunk(key: bytes, n: int, last: bool, data: bytes) -> bytes:
    """The plaintext of chunk `n` (from 0); raises StreamError. The caller cuts at the true size."""
    if not TAG_SIZE < len(data) <= SEALED_CHUNK or (not last and len(data) != SEALED_CHUNK):
        raise StreamError("not the size of a chunk")
    try:
        return ChaCha20Poly1305(key).decrypt(nonce(n, last), data, None)
    except InvalidTag:
        raise StreamError("not what was sealed here") from None


def nonce(n: int, last: bool) -> bytes:
    """The nonce of chunk `n`, 12 bytes."""
    return n.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def sealed_size(size: int) -> int:
    """How large the blob of `size` plain bytes is."""
    whole = padded(size)
    return whole + TAG_SIZE * -(-whole // CHUNK)


def chunk_count(sealed: int) -> int:
    """How many chunks a blob of `sealed` bytes has; the last may be shorter than SEALED_CHUNK."""
    return -(-sealed // SEALED_CHUNK)


def blob_key(random32: bytes, incarnation: bytes, peer: str, monotonic_ns: int, counter: int) -> bytes:
    """A key that two clones of one machine with equal randomness still do not share, 32 bytes.

    `peer` is the address and port that the content comes from; `counter` counts the blobs of this incarnation.
    """
    if len(random32) != 32:
        raise ValueError("a blob key is drawn from 32 random bytes")
    return mac(random32, labels.BLOB, incarnation, peer, monotonic_ns, counter)
