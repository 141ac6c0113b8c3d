"""What the journal keeps in memory of each store and log: enough to number, chain, compare and account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mesyx_core.record.digest import Head
from mesyx_core.record.entry import Origin


class LogState(NamedTuple):
    """A log as of the last durable change. Replaced whole, so that any thread may look at it."""

    number: int
    """Of its row; the upper part of its entries' keys."""
    seq: int
    chain: bytes
    ended: bool = False
    proved: int = 0
    """Number of the checkpoint held."""
    closed: int = 0
    """The number at which a later start entry of its node named it."""
    weight: int = 0
    """Bytes of its entries and blobs."""


@dataclass(frozen=True, slots=True)
class Bits:
    """A set of entries of one log. Replaced whole, so that any thread may look at it."""

    octets: bytes = b""

    def __contains__(self, seq: object) -> bool:
        return isinstance(seq, int) and seq >> 3 < len(self.octets) and bool(self.octets[seq >> 3] >> (seq & 7) & 1)

    def with_(self, seqs: Iterable[int]) -> Bits:
        """These as well."""
        made = bytearray(self.octets)
        for seq in seqs:
            if seq >> 3 >= len(made):
                made.extend(bytes((seq >> 3) + 1 - len(made)))
            made[seq >> 3] |= 1 << (seq & 7)
        return Bits(bytes(made))

    def without(self, seqs: Iterable[int]) -> Bits:
        """Not these."""
        made = bytearray(self.octets)
        for seq in seqs:
            if seq >> 3 < len(made):
                made[seq >> 3] &= ~(1 << (seq & 7))
        return Bits(bytes(made))


@dataclass(frozen=True, slots=True)
class Gone:
    """Payloads of a log that nobody here asks for again."""

    dropped: Bits = Bits()
    """By this node alone: others may hold them, and keep them."""
    purged: Bits = Bits()
    """Everywhere, and for ever."""

    def __contains__(self, seq: object) -> bool:
        return seq in self.purged or seq in self.dropped


@dataclass(slots=True)
class StoreState:
    """A store held, and its logs."""

    number: int
    name: str
    logs: dict[Origin, LogState] = field(default_factory=dict)
    gone: dict[Origin, Gone] = field(default_factory=dict)
    weight: int = 0


class Stores:
    """All stores held. Changed by the commit thread only, and only after a change is durable."""

    def __init__(self) -> None:
        self._stores: dict[bytes, StoreState] = {}

    def __iter__(self) -> Iterator[tuple[bytes, StoreState]]:
        return iter(list(self._stores.items()))

    def replace(self, stores: Stores) -> None:
        """Hold what another object holds: what was read anew."""
        self._stores = stores._stores

    def get(self, store: bytes) -> StoreState | None:
        return self._stores.get(store)

    def put(self, store: bytes, state: StoreState) -> None:
        self._stores[store] = state

    def drop(self, store: bytes) -> None:
        self._stores.pop(store, None)

    def log(self, origin: Origin) -> LogState | None:
        held = self._stores.get(origin.store)
        return None if held is None else held.logs.get(origin)

    def put_log(self, origin: Origin, state: LogState) -> None:
        held = self._stores.get(origin.store)
        if held is not None:
            before = held.logs.get(origin)
            held.weight += state.weight - (0 if before is None else before.weight)
            held.logs[origin] = state

    def gone(self, origin: Origin) -> Gone:
        """What is gone of a log."""
        held = self._stores.get(origin.store)
        return Gone() if held is None else held.gone.get(origin, Gone())

    def put_gone(self, origin: Origin, gone: Gone) -> None:
        held = self._stores.get(origin.store)
        if held is not None:
            held.gone[origin] = gone

    def heads(self, store: bytes) -> list[Head]:
        held = self._stores.get(store)
        if held is None:
            return []
        logs = sorted(held.logs.copy().items())
        return [Head(origin.node, origin.incarnation, log.seq, log.chain, log.ended) for origin, log in logs]
