"""What a node writes: drafts, which its running log numbers, chains and signs at commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mesyx_core.journal.blobs import PendingBlob
from mesyx_core.record.checkpoint import Signer
from mesyx_core.record.entry import Origin


class Draft(NamedTuple):
    """An entry before it has its number."""

    kind: int
    epoch: int
    index: int  # type: ignore[assignment]  # as in record.entry.Header
    s: bytes
    payload: bytes
    blobs: tuple[PendingBlob, ...] = ()
    """Finished ones, in the order of the sealing context."""


class Log:
    """This node's running incarnation in one store. Begin it with `Journal.begin_log`."""

    __slots__ = ("_clock", "_failed", "_key", "_manifest", "_origin", "_position")

    def __init__(
        self,
        origin: Origin,
        key: Signer,
        manifest: bytes,
        clock: Callable[[], float],
        position: Callable[[], tuple[int, bytes]],
    ) -> None:
        self._origin = origin
        self._key = key
        self._manifest = manifest
        self._clock = clock
        self._position = position
        self._failed = False

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def seq(self) -> int:
        """Number of the last durable entry."""
        return self._position()[0]

    @property
    def chain(self) -> bytes:
        """The chain at `seq`."""
        return self._position()[1]

    @property
    def ended(self) -> bool:
        """It takes no more entries: after `Journal.end_log` or a CommitUnknown."""
        return self._failed

    def cite(self, manifest: bytes) -> None:
        """Checkpoints from the next on are made under the manifest of this hash."""
        self._manifest = manifest
