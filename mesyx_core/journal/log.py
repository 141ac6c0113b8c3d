"""What a node writes: drafts, which its running log numbers, chains and signs at commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from mesyx_core.api import Permanent
from mesyx_core.journal.blobs import PendingBlob
from mesyx_core.journal.errors import LogEnded
from mesyx_core.journal.state import LogState
from mesyx_core.record.checkpoint import Checkpoint, Signer, sign
from mesyx_core.record.entry import MAX_BLOBS, MAX_PAYLOAD, Header, Origin, entry_id


class Draft(NamedTuple):
    """An entry before it has its number."""

    kind: int
    epoch: int
    index: int  # type: ignore[assignment]  # as in record.entry.Header
    s: bytes
    payload: bytes
    blobs: tuple[PendingBlob, ...] = ()
    """Finished ones, in the order of the sealing context."""


class Written(NamedTuple):
    """A draft with its header made: all that does not depend on its number."""

    kind: int
    header: bytes
    id: bytes
    payload: bytes
    blobs: tuple[PendingBlob, ...]

    @property
    def weight(self) -> int:
        blobs = sum([blob.size for blob in self.blobs]) if self.blobs else 0
        return len(self.header) + len(self.payload) + blobs


def write(draft: Draft) -> Written:
    """Make a draft's header and id."""
    kind, epoch, number, s, payload, blobs = draft
    if len(payload) > MAX_PAYLOAD:
        raise Permanent("an entry's payload is larger than 1 MiB")
    if len(blobs) > MAX_BLOBS:
        raise Permanent("an entry refers to too many blobs")
    refs = tuple((blob.hash, blob.size) for blob in blobs)
    header = Header(kind, epoch, number, s, refs, len(payload), hashlib.sha256(payload).digest()).encode()
    return Written(kind, header, entry_id(header), payload, blobs)


class Log:
    """This node's running incarnation in one store. Begin it with `Journal.begin_log`."""

    __slots__ = ("_clock", "_ended", "_key", "_manifest", "_origin", "_state")

    def __init__(
        self,
        origin: Origin,
        key: Signer,
        manifest: bytes,
        clock: Callable[[], float],
        state: Callable[[Origin], LogState | None],
    ) -> None:
        self._origin = origin
        self._key = key
        self._manifest = manifest
        self._clock = clock
        self._state = state
        self._ended = False

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def seq(self) -> int:
        """Number of the last durable entry; 0 before the first."""
        state = self._state(self._origin)
        return 0 if state is None else state.seq

    @property
    def chain(self) -> bytes:
        """The chain at `seq`."""
        state = self._state(self._origin)
        return b"" if state is None else state.chain

    @property
    def ended(self) -> bool:
        """It takes no more entries: after `Journal.end_log` or a CommitUnknown."""
        return self._ended

    def cite(self, manifest: bytes) -> None:
        """Checkpoints from the next on are made under the manifest of this hash."""
        self._manifest = manifest

    def check_running(self) -> None:
        """Raises LogEnded."""
        if self._ended:
            raise LogEnded("this run's log is ended", "a new one begins at once")

    def end(self) -> None:
        """For the journal: take no more."""
        self._ended = True

    def checkpoint(self, seq: int, chain: bytes) -> bytes:
        """Sign the log up to an entry."""
        time = max(0, int(self._clock()))
        return sign(self._key, Checkpoint(self._origin, seq, chain, self._manifest, time))
