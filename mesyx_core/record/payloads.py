"""What stands in clear in the payloads of entries that nodes read without a key: start, epoch, close, end."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, cast

from mesyx_core.record import shape
from mesyx_core.record.entry import MAX_PAYLOAD
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding

VERSION: Final = 1
MAX_EARLIER: Final = 10_000
MAX_SEED_FILE: Final = 256 * 1024

TargetKind: TypeAlias = Literal["keyset", "clients", "node", "day"]
_TARGETS: Final = {"keyset": 32, "clients": 0, "node": 32, "day": 32}


class Target(NamedTuple):
    """Whom an epoch is sealed to: a keyset (id), the clients, a node (public key), a recipient of the day (id)."""

    kind: TargetKind
    id: bytes = b""


CLIENTS: Final = Target("clients")


class Earlier(NamedTuple):
    """An incarnation of the same node that ended without saying so, and how far the node knows it."""

    incarnation: bytes
    seq: int
    chain: bytes


class Start(NamedTuple):
    """Entry 1: the manifest in effect, and what this incarnation closes."""

    manifest: bytes
    earlier: tuple[Earlier, ...] = ()

    def encode(self) -> bytes:
        return encoding.encode([VERSION, self.manifest, [list(one) for one in self.earlier]])


class Epoch(NamedTuple):
    """An epoch's seed, sealed. Its number stands in the header."""

    target: Target
    commitment: bytes
    file: bytes
    """An age file that holds the 32-byte seed."""

    def encode(self) -> bytes:
        return encoding.encode([VERSION, list(self.target), self.commitment, self.file])


class Close(NamedTuple):
    """An epoch's end. Its number stands in the header."""

    used: int
    """How many indexes were taken, burnt ones counted."""

    def encode(self) -> bytes:
        return encoding.encode([VERSION, self.used])


class End(NamedTuple):
    """A log's end: nothing follows."""

    def encode(self) -> bytes:
        return encoding.encode([VERSION])


def decode_start(data: bytes) -> Start:
    """Raises RecordError."""
    what = "a start entry"
    value = shape.decode(data, what, limit=MAX_PAYLOAD, items=4 * MAX_EARLIER + 4, depth=4)
    _, manifest, earlier = shape.versioned(value, what, 3)
    return Start(
        shape.octets(manifest, what, shape.HASH),
        tuple(_earlier(one) for one in shape.array(earlier, what, most=MAX_EARLIER)),
    )


def _earlier(value: object) -> Earlier:
    what = "a start entry"
    incarnation, seq, chain = shape.array(value, what, 3)
    return Earlier(
        shape.octets(incarnation, what, shape.INCARNATION),
        shape.number(seq, what, shape.SEQ_MAX),
        shape.octets(chain, what, shape.HASH),
    )


def decode_epoch(data: bytes) -> Epoch:
    """Raises RecordError."""
    what = "an epoch entry"
    value = shape.decode(data, what, limit=MAX_SEED_FILE + 256, items=8, depth=3)
    _, target, commitment, file = shape.versioned(value, what, 4)
    return Epoch(
        read_target(target), shape.octets(commitment, what, shape.HASH), shape.octets(file, what, most=MAX_SEED_FILE)
    )


def read_target(value: object) -> Target:
    """As it stands in an entry. Raises RecordError."""
    what = "an epoch's target"
    kind, name = shape.array(value, what, 2)
    if type(kind) is not str or kind not in _TARGETS:
        raise RecordError(f"{what} has the wrong form")
    return Target(cast(TargetKind, kind), shape.octets(name, what, _TARGETS[kind]))


def decode_close(data: bytes) -> Close:
    """Raises RecordError."""
    what = "a close entry"
    _, used = shape.versioned(shape.decode(data, what, limit=64, items=3, depth=2), what, 2)
    return Close(shape.number(used, what, 1 << 20))


def decode_end(data: bytes) -> End:
    """Raises RecordError."""
    what = "an end entry"
    shape.versioned(shape.decode(data, what, limit=64, items=2, depth=2), what, 1)
    return End()
