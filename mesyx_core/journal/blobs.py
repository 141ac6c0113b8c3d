"""Blobs: ciphertext in files named by their SHA-256. A blob has no name before it is whole and durable."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from anyio import to_thread

from mesyx_core.journal.database import failed
from mesyx_core.record.shape import RecordError

_NAME: Final = 64
_NEW: Final = ".new-"
"""Begins the names of files that could not be made without one; swept at start."""
_CHUNK: Final = 1 << 20


class PendingBlob:
    """A blob being written. Its file has no name until an entry that refers to it is committed; dropped, it is gone."""

    def __init__(self, folder: Path) -> None:
        self._size = 0
        self._hasher = hashlib.sha256()
        self._hash: bytes | None = None
        self._file = -1
        self._name: Path | None = None
        self._committing = False
        self._unwanted = False
        self._file, self._name = _nameless(folder)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    @property
    def hash(self) -> bytes:
        """SHA-256 of what was written. Call `finish` before."""
        if self._hash is None:
            raise RuntimeError("the blob is not finished")
        return self._hash

    async def write(self, data: bytes) -> None:
        """Append ciphertext. Raises CommitFailed when the disk is full."""
        if self._hash is not None:
            raise RuntimeError("the blob is finished")
        await to_thread.run_sync(self._write, data)

    async def finish(self) -> tuple[bytes, int]:
        """No more is written. Returns (hash, size), as the sealing context wants them."""
        self._hash = self._hasher.digest()
        return self._hash, self._size

    async def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` of what was written; until it is committed or given up."""
        return await to_thread.run_sync(os.pread, self._file, size, offset)

    def close(self) -> None:
        """Give the blob up, unless it was committed or, while a commit of it runs, will be. Harmless to repeat."""
        if self._committing:
            self._unwanted = True
            return
        self._let_go()
        if self._name is not None:
            with suppress(OSError):
                self._name.unlink()
            self._name = None

    def __del__(self) -> None:
        self._committing = False
        self.close()

    def lend(self) -> None:
        """For the journal: a commit of it begins, which goes on even if whoever asked for it is cancelled."""
        self._committing = True

    def give_back(self) -> None:
        """For the journal: that commit is over."""
        self._committing = False
        if self._unwanted:
            self.close()

    def _write(self, data: bytes) -> None:
        with disk_errors():
            _write_all(self._file, data)
        self._hasher.update(data)
        self._size += len(data)

    def keep(self, target: Path, durable: bool) -> None:
        """For the commit thread: make it durable and named. Until `committed`, `close` takes the name away again."""
        if self._file < 0:
            raise RuntimeError("the blob was closed")
        if self._name == target:
            return
        if durable:
            os.fsync(self._file)
        if self._name is not None:
            self._name.rename(target)
        else:
            with suppress(FileExistsError):
                # With a src_dir_fd, even an unused one, os.link is linkat with AT_SYMLINK_FOLLOW.
                os.link(f"/proc/self/fd/{self._file}", target, src_dir_fd=self._file)
        self._name = target

    def committed(self) -> None:
        """For the commit thread: an entry refers to it now."""
        self._name = None
        self._let_go()

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Partial:
    """A blob that is being received; what is there survives a restart."""

    def __init__(self, path: Path, hash: bytes, size: int, arrived: Callable[[Partial], Awaitable[None]]) -> None:
        self._hash = hash
        self._size = size
        self._arrived = arrived
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._offset = min(os.fstat(self._file).st_size, size)

    @property
    def offset(self) -> int:
        """Where to go on."""
        return self._offset

    @property
    def size(self) -> int:
        """Of the whole blob."""
        return self._size

    async def append(self, data: bytes) -> None:
        """The next bytes. Raises RecordError beyond the blob's size, CommitFailed when the disk is full."""
        if self._offset + len(data) > self._size:
            raise RecordError("more of a blob was sent than it has")
        await to_thread.run_sync(self._append, data)

    async def finish(self) -> None:
        """Check the hash and keep the blob, durably. Raises RecordError when it is another, and drops it."""
        await to_thread.run_sync(self.check)
        await self._arrived(self)
        self.close()

    @property
    def hash(self) -> bytes:
        return self._hash

    def check(self) -> None:
        """For a thread: make sure that all is there and right, and durable. Raises RecordError; drops what is wrong."""
        if self._offset != self._size:
            raise RecordError("a blob is not complete")
        hasher = hashlib.sha256()
        at = 0
        while data := os.pread(self._file, _CHUNK, at):
            hasher.update(data)
            at += len(data)
        if hasher.digest() != self._hash or at != self._size:
            os.ftruncate(self._file, 0)
            self._offset = 0
            raise RecordError("a blob is not the one its entry names")
        with disk_errors():
            os.fsync(self._file)

    def close(self) -> None:
        """Stop for now; what is there stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def _append(self, data: bytes) -> None:
        with disk_errors():
            _write_all(self._file, data, self._offset)
        self._offset += len(data)


class Blobs:
    """The folder of blobs; `partial` in it holds those that are on their way."""

    def __init__(self, folder: Path, durable: bool) -> None:
        self._folder = folder
        self._arriving = folder / "partial"
        self._durable = durable
        folder.mkdir(mode=0o700, exist_ok=True)
        self._arriving.mkdir(mode=0o700, exist_ok=True)

    def new(self) -> PendingBlob:
        with disk_errors():
            return PendingBlob(self._folder)

    def has(self, hash: bytes) -> bool:
        return self._path(hash).exists()

    def size(self, hash: bytes) -> int | None:
        """None for one that is not held."""
        try:
            return self._path(hash).stat().st_size
        except OSError:
            return None

    def read(self, hash: bytes, offset: int, size: int) -> bytes | None:
        """None when it is not held."""
        try:
            with self._path(hash).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), min(size, _CHUNK), offset)
        except FileNotFoundError:
            return None

    def keep(self, blobs: Collection[PendingBlob]) -> None:
        """Name finished blobs, durably."""
        for blob in blobs:
            blob.keep(self._path(blob.hash), self._durable)
        if blobs:
            self._sync()

    def drop(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with suppress(OSError):
                path.unlink()

    def remove(self, hashes: Iterable[bytes]) -> None:
        self.drop(self._path(one) for one in hashes)

    def partial(self, hash: bytes, size: int, arrived: Callable[[Partial], Awaitable[None]]) -> Partial:
        with disk_errors():
            return Partial(self._arriving / hash.hex(), hash, size, arrived)

    def arrive(self, hash: bytes) -> None:
        """A received blob was checked: give it its name, durably."""
        with disk_errors():
            try:
                (self._arriving / hash.hex()).rename(self._path(hash))
            except FileNotFoundError:
                if not self.has(hash):
                    raise
            self._sync()

    def sweep(self, wanted: Collection[bytes], awaited: Collection[bytes]) -> set[bytes]:
        """Remove files that no entry refers to, and beginnings of blobs that none awaits; returns the hashes held."""
        held: set[bytes] = set()
        for name in _files(self._folder):
            hash = _hash_of(name)
            if hash is not None and hash in wanted:
                held.add(hash)
            elif hash is not None or name.startswith(_NEW):
                self.drop([self._folder / name])
        for name in _files(self._arriving):
            hash = _hash_of(name)
            if hash is None or hash not in awaited or hash in held:
                self.drop([self._arriving / name])
        return held

    def _path(self, hash: bytes) -> Path:
        return self._folder / hash.hex()

    def _sync(self) -> None:
        if self._durable:
            sync_folder(self._folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors() -> Iterator[None]:
    """OSError as CommitFailed."""
    try:
        yield
    except OSError as error:
        raise failed(error) from None


def _nameless(folder: Path) -> tuple[int, Path | None]:
    """A file without a name, or one with a name that is swept at start where the filesystem knows no such thing."""
    if hasattr(os, "O_TMPFILE") and os.path.exists("/proc/self/fd"):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), None
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
    name = folder / f"{_NEW}{secrets.token_hex(16)}"
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), name


def _write_all(file: int, data: bytes, offset: int | None = None) -> None:
    view = memoryview(data)
    while view:
        written = os.write(file, view) if offset is None else os.pwrite(file, view, offset)
        view = view[written:]
        offset = None if offset is None else offset + written


def _files(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return [one.name for one in found if one.is_file(follow_symlinks=False)]


def _hash_of(name: str) -> bytes | None:
    if len(name) != _NAME:
        return None
    with suppress(ValueError):
        return bytes.fromhex(name)
    return None
