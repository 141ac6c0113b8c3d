"""Entries of other nodes: all that can be checked before the log is looked at, in a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mesyx_core.record.checkpoint import Trail, parse, verify
from mesyx_core.record.entry import Entry, Kind, Origin, chain_next, chain_start, check_payload, decode_header, entry_id
from mesyx_core.record.shape import RecordError


class Taken(NamedTuple):
    """An entry whose payload, if there is one, is what its header names."""

    kind: int
    header: bytes
    id: bytes
    payload: bytes | None
    blobs: dict[bytes, int]


class Batch(NamedTuple):
    """Entries that their node signed, in order."""

    after: int
    entries: list[Taken]
    chains: list[bytes]
    """chain[after], then the chain at each entry."""
    checkpoint: bytes | None
    """That of the last entry, if there is one."""
    size: int

    @property
    def end(self) -> int:
        return self.after + len(self.entries)


def check(
    origin: Origin, after: int, chain: bytes, entries: Sequence[Entry], checkpoint: bytes, trail: Trail | None
) -> Batch:
    """Raises RecordError when anything is not what it claims to be."""
    if after == 0 and chain != chain_start(origin):
        raise RecordError("a log does not begin where it must")
    taken: list[Taken] = []
    chains = [chain]
    size = 0
    for entry in entries:
        one = _take(entry, after + len(taken) + 1)
        taken.append(one)
        chains.append(chain_next(chains[-1], one.id))
        size += len(one.header) + len(one.payload or b"")
    if any(one.kind == Kind.END for one in taken[:-1]):
        raise RecordError("a log goes on after its end")
    end = _signed(origin, after + len(taken), chains[-1], checkpoint, trail)
    return Batch(after, taken, chains, checkpoint if end else None, size)


def _take(entry: Entry, seq: int) -> Taken:
    header = decode_header(entry.header)
    if (header.kind == Kind.START) != (seq == 1):
        raise RecordError("a log has a start entry in the wrong place, or none")
    if entry.payload is not None:
        check_payload(header, entry.payload)
    return Taken(header.kind, entry.header, entry_id(entry.header), entry.payload, dict(header.blobs))


def _signed(origin: Origin, seq: int, chain: bytes, checkpoint: bytes, trail: Trail | None) -> bool:
    """Whether the batch ends at the checkpoint, rather than on the way to it."""
    if trail is None:
        signed = verify(checkpoint, origin)
        if (signed.seq, signed.chain) != (seq, chain):
            raise RecordError("entries do not lead to their checkpoint")
        return True
    shown, _ = parse(trail.checkpoint)
    if trail.checkpoint != checkpoint or shown.origin != origin or trail.chain(seq) != chain:
        raise RecordError("entries are not on the way to their checkpoint")
    return seq == shown.seq
