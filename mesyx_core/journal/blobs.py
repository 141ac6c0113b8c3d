"""Blobs: ciphertext in files named by their SHA-256. A blob has no name before it is whole and durable."""

from __future__ import annotations

from pathlib import Path


class PendingBlob:
    """A blob being written. Its file has no name until an entry that refers to it is committed; dropped, it is gone."""

    @property
    def size(self) -> int:
        """Bytes written so far."""
        raise RuntimeError

    @property
    def hash(self) -> bytes:
        """SHA-256 of what was written. Call `finish` before."""
        raise RuntimeError

    async def write(self, data: bytes) -> None:
        """Append ciphertext. Raises CommitFailed when the disk is full."""
        raise RuntimeError

    async def finish(self) -> tuple[bytes, int]:
        """No more is written. Returns (hash, size), as the sealing context wants them."""
        raise RuntimeError

    def close(self) -> None:
        """Give the blob up, unless it was committed. Harmless to repeat."""
        raise RuntimeError


class Partial:
    """A blob that is being received; what is there survives a restart."""

    @property
    def offset(self) -> int:
        """Where to go on."""
        raise RuntimeError

    async def append(self, data: bytes) -> None:
        """The next bytes. Raises RecordError beyond the blob's size, CommitFailed when the disk is full."""
        raise RuntimeError

    async def finish(self) -> None:
        """Check the hash and keep the blob, durably. Raises RecordError when it is another, and drops it."""
        raise RuntimeError

    def close(self) -> None:
        """Stop for now; what is there stays."""
        raise RuntimeError


class Blobs:
    """The folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
