"""Payloads over a session: a peer passes on the headers of what it has dropped; what it lacks another may hold.

What was purged is asked for no more, and what this node has dropped itself neither: the journal leaves both out.
Several peers may be asked for the same: it is rare, and one that is slow holds up no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from mesyx_core.journal import Journal
from mesyx_core.record.entry import Origin
from mesyx_core.record.shape import RecordError

from .compare import Log
from .errors import Violation
from .frames import MAX_LACKING, Lacking, Payloads
from .session import Session

PIECE: Final = 1 << 20
"""Bytes of payloads in one frame, unless one alone has more."""
MAX_ASKS: Final = 2
"""Frames that an honest peer sends before it has its answers."""
AGAIN: Final = 300.0
"""Seconds after which a peer is asked again for what it did not hold."""


class Mend:
    """Asks one peer for the payloads that the journal lacks."""

    def __init__(
        self,
        journal: Journal,
        store: bytes,
        session: Session,
        limit: Callable[[Log], int],
        send: Callable[[], None],
    ) -> None:
        """`limit` tells up to which number entries of a log are valid; `send` is called when there is something to
        send."""
        self._journal = journal
        self._store = store
        self._session = session
        self._limit = limit
        self._send = send
        self._look = anyio.Event()
        self._absent: set[tuple[Log, int]] = set()
        self._asked: Lacking | None = None
        self._answers: tuple[MemoryObjectSendStream[Payloads], MemoryObjectReceiveStream[Payloads]]
        self._answers = anyio.create_memory_object_stream[Payloads](1)

    def wake(self) -> None:
        """The journal may lack something now."""
        self._look.set()

    def answered(self, frame: Payloads) -> None:
        """A frame from the peer. Raises Violation unless it is what was asked for."""
        asked, self._asked = self._asked, None
        seqs = tuple(seq for seq, _ in frame.payloads)
        if asked is None or frame[:2] != asked[:2] or not seqs or seqs != asked.seqs[: len(seqs)]:
            raise Violation("payloads that were not asked for")
        self._answers[0].send_nowait(frame)

    async def run(self) -> None:
        """Until cancelled."""
        with self._answers[0], self._answers[1]:
            while True:
                self._look = anyio.Event()
                lacks = False
                for head in await self._journal.heads(self._store):
                    lacks = await self._mend((head.node, head.incarnation)) or lacks
                with anyio.move_on_after(AGAIN if lacks else None) as pause:
                    await self._look.wait()
                if pause.cancelled_caught:
                    self._absent.clear()

    async def _mend(self, log: Log) -> bool:
        """Ask for what is lacking of one log; whether something of it still is."""
        origin, after = Origin(self._store, *log), 0
        while missing := await self._journal.missing(origin, after, max_count=MAX_LACKING):
            after = missing[-1]
            limit = self._limit(log)
            wanted = [seq for seq in missing if seq <= limit and (log, seq) not in self._absent]
            while wanted:
                wanted = wanted[await self._one(log, tuple(wanted)) :]
        return after > 0

    async def _one(self, log: Log, seqs: tuple[int, ...]) -> int:
        """Ask for some; how many were answered."""
        self._asked = Lacking(*log, seqs)
        self._session.send(self._asked)
        self._send()
        answer = await self._answers[1].receive()
        self._absent.update((log, seq) for seq, payload in answer.payloads if payload is None)
        found = [(seq, payload) for seq, payload in answer.payloads if payload is not None]
        try:
            await self._journal.fill(Origin(self._store, *log), found)
        except RecordError:
            raise Violation("a payload that is not the one its header names") from None
        return len(answer.payloads)


class Give:
    """Answers what one peer asks."""

    def __init__(self, journal: Journal, store: bytes, session: Session, limit: Callable[[Log], int]) -> None:
        self._journal = journal
        self._store = store
        self._session = session
        self._limit = limit
        self._asks: deque[Lacking] = deque()

    def asked(self, frame: Lacking) -> None:
        """Raises Violation when more is asked for than an honest peer would."""
        if len(self._asks) >= MAX_ASKS or not frame.seqs:
            raise Violation("too many payloads asked for at a time")
        self._asks.append(frame)

    def __bool__(self) -> bool:
        return bool(self._asks)

    async def one(self) -> None:
        """Queue the answer to the oldest ask."""
        node, incarnation, seqs = self._asks.popleft()
        limit = self._limit((node, incarnation))
        some = [seq for seq in seqs if seq <= limit]
        held = await self._journal.pick(Origin(self._store, node, incarnation), some[:64]) if some else []
        payloads = {seq: entry.payload for seq, entry in held}
        answer: list[tuple[int, bytes | None]] = []
        size = 0
        for seq in seqs[:64]:
            payload = payloads.get(seq)
            size += len(payload or b"")
            if size > PIECE and answer:
                break
            answer.append((seq, payload))
        self._session.send(Payloads(node, incarnation, tuple(answer)))
