"""Which logs differ between two nodes, in few bytes: digests of ranges, split in 16 where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from mesyx_core.record.digest import Head, digest, position

from .errors import Violation
from .frames import MAX_DEPTH, Equal, Frame, Logs, Ranges, Same

LISTED: Final = 16
"""A range with so few logs is listed rather than split: a log takes about 90 bytes, a digest 34."""

Log: TypeAlias = tuple[bytes, bytes]
"""(node, incarnation), within one store."""


class Comparison:
    """One side's logs at one moment. What the peer turns out to have of them gathers in `found`."""

    def __init__(self, store: bytes, heads: Iterable[Head]) -> None:
        self._placed = sorted((position(store, head), head) for head in heads)
        self.found: dict[Log, int] = {}
        """Log to the number up to which the peer has it; 0 for not at all. Taken out by the caller."""
        self.forked: set[Log] = set()
        """Logs of which the peer holds another branch."""
        self.theirs: dict[Log, int] = {}
        """How far the peer holds the logs that differ, as it listed them."""
        self._open: set[str] = {""}

    @property
    def positions(self) -> dict[Log, int]:
        """Each log and how far it is held."""
        return {head[:2]: head.seq for _, head in self._placed}

    def digest(self) -> bytes:
        return digest(head for _, head in self._placed)

    @property
    def done(self) -> bool:
        """Whether the peer has said how far it holds everything that differs."""
        return not self._open

    def begin(self, theirs: bytes) -> list[Frame]:
        """The answer to the digest over all logs of the peer."""
        if theirs == self.digest():
            self._all_known("")
            return [Same()]
        return [self._narrow("")]

    def answer(self, frame: Same | Ranges | Equal | Logs) -> list[Frame]:
        """What to say to a frame of the comparison."""
        match frame:
            case Same():
                self._all_known("")
                return []
            case Equal(prefix, parts):
                self._open.discard(prefix)
                for part in range(16):
                    if parts >> part & 1:
                        self._all_known(f"{prefix}{part:x}")
                    else:
                        self._open.add(f"{prefix}{part:x}")
                return []
            case Ranges(prefix, digests):
                self._open.discard(prefix)
                return self._compare(prefix, digests)
            case Logs():
                return self._list(frame)

    def _within(self, prefix: str) -> list[Head]:
        return [head for place, head in self._placed if place.startswith(prefix)]

    def _parts(self, prefix: str) -> list[list[Head]]:
        parts: list[list[Head]] = [[] for _ in range(16)]
        for place, head in self._placed:
            if place.startswith(prefix):
                parts[int(place[len(prefix)], 16)].append(head)
        return parts

    def _narrow(self, prefix: str) -> Frame:
        self._open.add(prefix)
        mine = self._within(prefix)
        if len(mine) <= LISTED or len(prefix) >= MAX_DEPTH:
            return _logs(prefix, mine, answer=True)
        return Ranges(prefix, tuple(digest(part) for part in self._parts(prefix)))

    def _compare(self, prefix: str, digests: Sequence[bytes]) -> list[Frame]:
        if len(digests) != 16 or len(prefix) >= MAX_DEPTH:
            raise Violation("a range in other than sixteen parts")
        equal = 0
        frames: list[Frame] = []
        for part, (mine, theirs) in enumerate(zip(self._parts(prefix), digests, strict=True)):
            if digest(mine) == theirs:
                equal |= 1 << part
                self._know(mine)
            else:
                frames.append(self._narrow(f"{prefix}{part:x}"))
        return [Equal(prefix, equal), *frames]

    def _list(self, frame: Logs) -> list[Frame]:
        self._open.discard(frame.prefix)
        theirs = {(node, incarnation): (seq, chain) for node, incarnation, seq, chain in frame.logs}
        self.theirs.update((log, seq) for log, (seq, _) in theirs.items())
        mine = self._within(frame.prefix)
        for head in mine:
            seq, chain = theirs.get(head[:2], (0, b""))
            self.found[head[:2]] = seq
            if seq == head.seq and chain != head.chain:
                self.forked.add(head[:2])
        return [_logs(frame.prefix, mine, answer=False)] if frame.answer else []

    def _all_known(self, prefix: str) -> None:
        self._open.discard(prefix)
        self._know(self._within(prefix))

    def _know(self, heads: Iterable[Head]) -> None:
        self.found.update((head[:2], head.seq) for head in heads)


def _logs(prefix: str, heads: Iterable[Head], *, answer: bool) -> Logs:
    return Logs(prefix, tuple((head.node, head.incarnation, head.seq, head.chain) for head in heads), answer)
