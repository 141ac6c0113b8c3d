"""Message keys of one epoch: 1,024 leaves of a binary tree under one random seed (architecture.md, section 3).

The writer can only go forward and forgets what it has passed; the reader, who holds the seed, goes anywhere.
"""

from __future__ import annotations

from typing import Final, NoReturn

from . import labels
from .encoding import digest, hmac_sha256, labelled

DEPTH: Final = 10
LEAVES: Final = 1 << DEPTH
SEED_SIZE: Final = 32
LIFETIME: Final = 86_400
"""An epoch ends after this many seconds at the latest."""

# Child = HMAC(parent, tree, bit); the two inputs never change.
_STEP: Final = (labelled(labels.TREE, 0), labelled(labels.TREE, 1))


class Exhausted(Exception):
    """All 1,024 keys of this epoch are used or burnt; begin another."""


class Epoch:
    """The writer's side: gives each message key once, in order, and keeps only what lies to the right."""

    __slots__ = ("_frontier", "_next", "commitment", "number")

    number: int
    commitment: bytes

    def __init__(self, number: int, commitment: bytes, frontier: list[tuple[bytearray, int]]) -> None:
        self.number = number
        self.commitment = commitment
        self._frontier = frontier
        self._next = 0

    @classmethod
    def begin(cls, store: bytes, node: bytes, incarnation: bytes, number: int, seed: bytes | bytearray) -> Epoch:
        """A fresh epoch. Expands the seed at once and keeps no copy; a bytearray is overwritten, so seal it before."""
        committed = commitment(store, node, incarnation, number, seed)
        left, right = (bytearray(_child(seed, bit)) for bit in (0, 1))
        if isinstance(seed, bytearray):
            _wipe(seed)
        return cls(number, committed, [(right, DEPTH - 1), (left, DEPTH - 1)])

    @property
    def left(self) -> int:
        """How many keys remain."""
        return LEAVES - self._next

    def take(self) -> tuple[int, bytes]:
        """The next index and its key. The index is burnt, whatever becomes of the message. Raises Exhausted."""
        if not self._frontier:
            raise Exhausted
        node, height = self._frontier.pop()
        while height:
            height -= 1
            self._frontier.append((bytearray(_child(node, 1)), height))
            child = bytearray(_child(node, 0))
            _wipe(node)
            node = child
        index, key = self._next, bytes(node)
        _wipe(node)
        self._next += 1
        return index, key

    def end(self) -> None:
        """Forget every remaining key."""
        while self._frontier:
            _wipe(self._frontier.pop()[0])
        self._next = LEAVES

    def __repr__(self) -> str:
        return f"<Epoch {self.number}, {self.left} left>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an epoch exists in one memory only")


class SeedReader:
    """The reader's side: any key of an epoch; remembers the path it last walked, so that neighbours cost two hashes."""

    __slots__ = ("_last", "_path")

    def __init__(self, seed: bytes) -> None:
        _check_seed(seed)
        self._path = [bytes(seed)]
        self._last = 0

    def leaf(self, index: int) -> bytes:
        """The key of message `index`, 32 bytes."""
        _check_index(index)
        path = self._path
        shared = min(DEPTH - (index ^ self._last).bit_length(), len(path) - 1)
        del path[shared + 1 :]
        for level in range(DEPTH - 1 - shared, -1, -1):
            path.append(hmac_sha256(path[-1], _STEP[index >> level & 1]))
        self._last = index
        return path[-1]

    def __repr__(self) -> str:
        return "<SeedReader>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a seed is not stored in clear")


def leaf(seed: bytes, index: int) -> bytes:
    """The key of message `index` of the epoch with this seed, 32 bytes."""
    return SeedReader(seed).leaf(index)


def commitment(store: bytes, node: bytes, incarnation: bytes, number: int, seed: bytes | bytearray) -> bytes:
    """What an epoch entry shows of its seed, and what every later seal of that seed is checked against."""
    _check_seed(seed)
    if number < 1:
        raise ValueError("epochs are numbered from 1")
    return digest(labels.COMMIT, store, node, incarnation, number, bytes(seed))


def _child(parent: bytes | bytearray, bit: int) -> bytes:
    return hmac_sha256(parent, _STEP[bit])


def _wipe(secret: bytearray) -> None:
    secret[:] = bytes(len(secret))


def _check_seed(seed: bytes | bytearray) -> None:
    if len(seed) != SEED_SIZE:
        raise ValueError("a seed has 32 bytes")


def _check_index(index: int) -> None:
    if not 0 <= index < LEAVES:
        raise ValueError("an epoch has indexes 0 to 1023")
