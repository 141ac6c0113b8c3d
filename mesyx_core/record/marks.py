"""What an entry says in clear of others: that an epoch's seed is sealed once more, that ciphertext is to be dropped,
and that it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesyx_core.record import shape
from mesyx_core.record.entry import MAX_PAYLOAD, Origin
from mesyx_core.record.payloads import MAX_SEED_FILE, Target, read_target
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding, labels
from mesyx_core.vault.nodekey import verify

VERSION: Final = 1
MAX_LOGS: Final = 4096
"""Logs that one purge names entries of."""
MAX_RUNS: Final = 65_536
"""Runs of entries that it names in all, and"""
MAX_NAMED: Final = 65_536
"""the entries in them: whoever judges it looks at the header of each."""

SIGNATURE: Final = 64

When: TypeAlias = Literal["once", "grace"]
_WHEN: Final[tuple[When, ...]] = ("once", "grace")


class Reseal(NamedTuple):
    """The seed of an epoch of some log, sealed to another target as well. It is the one that the epoch committed to, or
    nothing: whoever opens the file checks that."""

    node: bytes
    incarnation: bytes
    number: int
    target: Target
    file: bytes
    """An age file that holds the 32-byte seed."""

    def encode(self) -> bytes:
        return encoding.encode([VERSION, self.node, self.incarnation, self.number, list(self.target), self.file])


class Run(NamedTuple):
    """Entries `first` to `first + length - 1` of a log."""

    first: int
    length: int


class Named(NamedTuple):
    """Entries of one log, in order, and the digest of their ids (`ids_digest`): it can be made only of entries that
    there are, so nobody drops today what others will write tomorrow."""

    node: bytes
    incarnation: bytes
    digest: bytes
    runs: tuple[Run, ...]

    @property
    def seqs(self) -> Iterator[int]:
        """Their numbers, ascending."""
        return (seq for first, length in self.runs for seq in range(first, first + length))

    @property
    def last(self) -> int:
        """The highest of them."""
        first, length = self.runs[-1]
        return first + length - 1


class Purge(NamedTuple):
    """The payloads of these entries, and the blobs that nothing else refers to, are to be dropped by every node: once
    it has this, where that may be, or after the store's grace, within which any client may veto."""

    when: When
    named: tuple[Named, ...]
    proof: bytes = b""
    """The owner's signature, 64 bytes; empty where a node acts by its own right."""

    def encode(self) -> bytes:
        return encoding.encode([VERSION, *self._values(), self.proof])

    def _values(self) -> list[Any]:
        named = [[n.node, n.incarnation, n.digest, [number for run in n.runs for number in run]] for n in self.named]
        return [_WHEN.index(self.when), named]

    def signed(self, store: bytes, owner: bytes) -> Purge:
        """The same, as its store's owner wants it; `owner` is the private key."""
        key = Ed25519PrivateKey.from_private_bytes(owner)
        return self._replace(proof=key.sign(encoding.labelled(labels.OWNER_PURGE, store, *self._values())))

    def is_owners(self, store: bytes, owner: bytes) -> bool:
        """Whether this owner, named by the public key, has signed it."""
        return bool(self.proof) and verify(owner, self.proof, labels.OWNER_PURGE, store, *self._values())


class Veto(NamedTuple):
    """The purge in this entry of some log is not to be."""

    node: bytes
    incarnation: bytes
    seq: int

    def encode(self) -> bytes:
        return encoding.encode([VERSION, self.node, self.incarnation, self.seq])


def decode_reseal(data: bytes) -> Reseal:
    """Raises RecordError."""
    what = "a reseal entry"
    value = shape.decode(data, what, limit=MAX_SEED_FILE + 256, items=10, depth=3)
    _, node, incarnation, number, target, file = shape.versioned(value, what, 6)
    return Reseal(
        *_log(node, incarnation, what),
        shape.number(number, what, least=1),
        read_target(target),
        shape.octets(file, what, most=MAX_SEED_FILE),
    )


def decode_purge(data: bytes) -> Purge:
    """Raises RecordError."""
    what = "a purge entry"
    value = shape.decode(data, what, limit=MAX_PAYLOAD, items=5 * MAX_LOGS + 2 * MAX_RUNS + 5, depth=5)
    _, when, named, proof = shape.versioned(value, what, 4)
    if proof != b"":
        shape.octets(proof, what, SIGNATURE)
    purge = Purge(
        _WHEN[shape.number(when, what, len(_WHEN) - 1)],
        tuple(_named(one, what) for one in shape.array(named, what, most=MAX_LOGS)),
        proof,
    )
    logs = [one[:2] for one in purge.named]
    if not logs or logs != sorted(set(logs)):
        raise RecordError(f"{what} has the wrong form")
    if sum(run.length for one in purge.named for run in one.runs) > MAX_NAMED:
        raise RecordError(f"{what} names too many entries")
    return purge


def decode_veto(data: bytes) -> Veto:
    """Raises RecordError."""
    what = "a veto entry"
    _, node, incarnation, seq = shape.versioned(shape.decode(data, what, limit=128, items=5, depth=2), what, 4)
    return Veto(*_log(node, incarnation, what), shape.number(seq, what, shape.SEQ_MAX, 1))


def purges(when: When, entries: Iterable[tuple[Origin, Sequence[tuple[int, bytes]]]]) -> list[Purge]:
    """The purges that name these entries, given as (number, id) by log: as few as their bounds allow."""
    found: list[list[Named]] = [[]]
    left = MAX_NAMED
    for origin, numbered in sorted(entries):
        rest = sorted(numbered)
        while rest:
            some, rest = rest[:left], rest[left:]
            digest = ids_digest(id for _, id in some)
            found[-1].append(Named(origin.node, origin.incarnation, digest, runs([seq for seq, _ in some])))
            left -= len(some)
            if not left or len(found[-1]) == MAX_LOGS:
                found.append([])
                left = MAX_NAMED
    return [Purge(when, tuple(named)) for named in found if named]


def runs(seqs: Iterable[int]) -> tuple[Run, ...]:
    """Ascending numbers, as runs."""
    found: list[Run] = []
    for seq in seqs:
        if found and seq == found[-1].first + found[-1].length:
            found[-1] = Run(found[-1].first, found[-1].length + 1)
        else:
            found.append(Run(seq, 1))
    return tuple(found)


def ids_digest(ids: Iterable[bytes]) -> bytes:
    """Over the ids of the entries that a purge names of one log, in order."""
    return encoding.digest(labels.PURGE, b"".join(ids))


def _named(value: Any, what: str) -> Named:
    node, incarnation, digest, numbers = shape.array(value, what, 4)
    flat = shape.array(numbers, what, most=2 * MAX_RUNS)
    if not flat or len(flat) % 2:
        raise RecordError(f"{what} has the wrong form")
    found: list[Run] = []
    end = 0
    for first, length in zip(flat[::2], flat[1::2], strict=True):
        run = Run(shape.number(first, what, shape.SEQ_MAX, end + 1), shape.number(length, what, MAX_NAMED, 1))
        end = run.first + run.length  # what follows at once would belong to the same run
        found.append(run)
    if end > shape.SEQ_MAX + 1:
        raise RecordError(f"{what} has the wrong form")
    return Named(*_log(node, incarnation, what), shape.octets(digest, what, shape.HASH), tuple(found))


def _log(node: Any, incarnation: Any, what: str) -> tuple[bytes, bytes]:
    return shape.octets(node, what, shape.KEY), shape.octets(incarnation, what, shape.INCARNATION)
