"""Ids first: how a log's backlog is shown to lead to its checkpoint before its entries come in pieces.

Only every 64th place of the chain (and the first 64) are remembered, so that a million entries take two megabytes;
pieces end at such places. Where 64 entries are too many for one piece, their ids are sent again, and lead to a place
shown before.
"""

from __future__ import annotations

from typing import Final

from mesyx_core.record.checkpoint import Trail, verify
from mesyx_core.record.entry import Origin, chain_next
from mesyx_core.record.shape import RecordError

from .errors import Violation

STEP: Final = 64


class Places(Trail):
    """A trail of which only some places are known: those in `chains_at`, in ascending order."""

    chains_at: dict[int, bytes]

    @classmethod
    def of(cls, origin: Origin, checkpoint: bytes, after: int, chains_at: dict[int, bytes]) -> Places:
        made = cls(origin, checkpoint, after, ())
        made.chains_at = chains_at
        return made

    @property
    def end(self) -> int:
        return next(reversed(self.chains_at), self.after)

    def chain(self, seq: int) -> bytes | None:
        return self.chains_at.get(seq)

    def pass_by(self, seq: int) -> None:
        """Places up to `seq` are needed no more."""
        while self.chains_at and (place := next(iter(self.chains_at))) <= seq:
            del self.chains_at[place]


class Walk:
    """Takes in the ids of one log, and tells in the end which places of its chain they have shown."""

    def __init__(self, origin: Origin, after: int, chain: bytes) -> None:
        """The log is held up to `after`, where its chain is `chain`."""
        self._origin = origin
        self._start = after
        self.at = after
        self._chain = chain
        self._places: dict[int, bytes] = {}

    def take(self, ids: bytes) -> None:
        """The next ids. Raises Violation when they are no whole number of ids."""
        if len(ids) % 32:
            raise Violation("ids of a wrong length")
        at, chain = self.at, self._chain
        for offset in range(0, len(ids), 32):
            chain = chain_next(chain, ids[offset : offset + 32])
            at += 1
            if at % STEP == 0 or at - self._start <= STEP:
                self._places[at] = chain
        self.at, self._chain = at, chain

    def rejoin(self, places: Places) -> Places:
        """The trail with the places in between added, when these ids lead to one of its places. Raises Violation."""
        if places.chain(self.at) != self._chain:
            raise Violation("ids that lead to no place shown before")
        return Places.of(
            self._origin, places.checkpoint, self._start, dict(sorted((places.chains_at | self._places).items()))
        )

    def end(self, checkpoint: bytes) -> Places | None:
        """The trail that was shown; None when it does not lead to the checkpoint, because what is held here is another
        branch. Raises RecordError for a checkpoint that was not made by the log's node."""
        signed = verify(checkpoint, self._origin)
        if signed.seq != self.at:
            raise RecordError("the ids offered are not as many as the checkpoint covers")
        if signed.chain != self._chain:
            return None
        self._places[self.at] = self._chain
        return Places.of(self._origin, checkpoint, self._start, self._places)
