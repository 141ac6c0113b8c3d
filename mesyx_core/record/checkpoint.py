"""Checkpoints: a node's signature over its log up to an entry. The newest covers all, so only that one is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from mesyx_core.record import shape
from mesyx_core.record.entry import Origin, chain_next
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding, labels, nodekey

VERSION: Final = 1
MAX_CHECKPOINT: Final = 512


class Signer(Protocol):
    """A node key, as far as checkpoints need it; `mesyx_core.vault.nodekey.NodeKey` is one."""

    @property
    def public(self) -> bytes: ...

    def sign(self, label: str, *values: object) -> bytes: ...


class Checkpoint(NamedTuple):
    """What is signed: that the log of `origin` has `chain` at `seq`, under `manifest`, at `time` (Unix seconds)."""

    origin: Origin
    seq: int
    chain: bytes
    manifest: bytes
    time: int

    def values(self) -> tuple[object, ...]:
        """What stands in the signature's input, and before the signature in the bytes."""
        return (VERSION, *self.origin, self.seq, self.chain, self.manifest, self.time)


def sign(key: Signer, checkpoint: Checkpoint) -> bytes:
    """The checkpoint as it is kept and sent. The key must be the origin's node's."""
    values = checkpoint.values()
    return encoding.encode([*values, key.sign(labels.CHECKPOINT, *values)])


def parse(data: bytes) -> tuple[Checkpoint, bytes]:
    """The checkpoint and its signature, which is not checked here. Raises RecordError."""
    what = "a checkpoint"
    value = shape.decode(data, what, limit=MAX_CHECKPOINT, items=10, depth=2)
    _, store, node, incarnation, seq, chain, manifest, time, signature = shape.versioned(value, what, 9)
    origin = Origin(
        shape.octets(store, what, shape.HASH),
        shape.octets(node, what, shape.KEY),
        shape.octets(incarnation, what, shape.INCARNATION),
    )
    checkpoint = Checkpoint(
        origin,
        shape.number(seq, what, shape.SEQ_MAX, 1),
        shape.octets(chain, what, shape.HASH),
        shape.octets(manifest, what, shape.HASH),
        shape.number(time, what, shape.TIME_MAX),
    )
    return checkpoint, shape.octets(signature, what, 64)


def verify(data: bytes, origin: Origin | None = None) -> Checkpoint:
    """The checkpoint, its signature checked with the key of the node it names (about 0.3 ms).

    Raises RecordError, also when it is not about `origin`, if one is given.
    """
    checkpoint, signature = parse(data)
    if origin is not None and checkpoint.origin != origin:
        raise RecordError("a checkpoint is about another log")
    if not nodekey.verify(checkpoint.origin.node, signature, labels.CHECKPOINT, *checkpoint.values()):
        raise RecordError("a checkpoint's signature is wrong")
    return checkpoint


class Trail(NamedTuple):
    """Ids that were shown to lead to a checkpoint, so that entries can be taken in batches before all are there.

    Make it with `trail`, which does the showing.
    """

    origin: Origin
    checkpoint: bytes
    after: int
    chains: tuple[bytes, ...]
    """chain[after], chain[after + 1] … chain[checkpoint's seq]."""

    @property
    def end(self) -> int:
        """The checkpoint's number."""
        return self.after + len(self.chains) - 1

    def chain(self, seq: int) -> bytes | None:
        """The signed chain at `seq`; None outside of the trail."""
        at = seq - self.after
        return self.chains[at] if 0 <= at < len(self.chains) else None


def trail(data: bytes, after: int, chain: bytes, ids: Sequence[bytes]) -> Trail:
    """Show that `ids`, which follow `chain` at `after`, end in the checkpoint `data`. Raises RecordError.

    Checks the signature and makes one hash an id: for many ids, call it in a thread.
    """
    checkpoint = verify(data)
    if checkpoint.seq != after + len(ids):
        raise RecordError("the ids offered are not as many as the checkpoint covers")
    chains = [chain]
    for one in ids:
        if len(one) != shape.HASH:
            raise RecordError("an entry's id has the wrong size")
        chains.append(chain_next(chains[-1], one))
    if chains[-1] != checkpoint.chain:
        raise RecordError("the ids offered do not lead to the checkpoint")
    return Trail(checkpoint.origin, data, after, tuple(chains))
