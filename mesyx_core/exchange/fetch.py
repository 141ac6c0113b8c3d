"""Blobs over a session: the side that lacks one asks for it in pieces, going on where an earlier session stopped."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from mesyx_core.journal import BlobAbsent, Journal
from mesyx_core.record.shape import COUNT_MAX, RecordError

from .errors import Violation
from .frames import Absent, Arrived, Ask, Piece
from .session import Session

PIECE: Final = 128 << 10
AHEAD: Final = 2
"""Pieces of one blob asked for at a time."""
AT_ONCE: Final = 4
"""Blobs fetched at a time: with the above at most 1 MiB on its way."""
PAUSE: Final = 0.1
"""Seconds between two looks at what is lacking, while entries pour in."""
MAX_ASKS: Final = 64
LOOK: Final = 1000
"""Blobs taken from the journal's list at a time."""
PATIENCE: Final = 30.0
"""Seconds without a piece after which another session may fetch the blob instead."""
LATER: Final = 30.0
"""Seconds after which it is looked again whether the disk has room."""
_MAX_REFUSED: Final = 4096


class Room(NamedTuple):
    """What may be fetched."""

    largest: int = COUNT_MAX
    """Bytes of a blob; the size that an entry names can be anything."""
    free: Callable[[], int] = lambda: COUNT_MAX
    """Bytes that may come to the disk."""


class Claims:
    """Blobs that some session is fetching, so that no other does."""

    def __init__(self) -> None:
        self._taken: dict[bytes, set[Callable[[], None]]] = {}

    def take(self, blob: bytes, wake: Callable[[], None]) -> bool:
        """Whether it is the caller's to fetch now; if not, `wake` is called once it is nobody's."""
        if blob in self._taken:
            self._taken[blob].add(wake)
            return False
        self._taken[blob] = set()
        return True

    def release(self, blob: bytes) -> None:
        for wake in self._taken.pop(blob, ()):
            wake()


class Fetch:
    """Asks one peer for the blobs that the journal lacks."""

    def __init__(
        self,
        journal: Journal,
        store: bytes,
        session: Session,
        claims: Claims,
        room: Room,
        send: Callable[[], None],
        arrived: Callable[[bytes], None],
    ) -> None:
        """`send` is called when there is something to send, `arrived` when a blob is durable here."""
        self._journal = journal
        self._store = store
        self._session = session
        self._claims = claims
        self._room = room
        self._send = send
        self._arrived = arrived
        self._look = anyio.Event()
        self._absent: set[bytes] = set()
        self._false: set[tuple[bytes, int]] = set()
        """Blobs that do not have the size that some entry names; others name another."""
        self._late: set[bytes] = set()
        """Blobs that were once given up here for want of pieces: these may still come."""
        self._pieces: dict[bytes, MemoryObjectSendStream[Piece | Absent]] = {}

    def wake(self) -> None:
        """The journal may lack something now, or some session gave up a blob."""
        self._look.set()

    def answered(self, frame: Piece | Absent | Arrived) -> None:
        """A frame from the peer. Raises Violation for pieces that were not asked for."""
        if isinstance(frame, Arrived):
            self._absent.discard(frame.blob)
            self.wake()
            return
        pieces = self._pieces.get(frame.blob)
        if pieces is None and (isinstance(frame, Absent) or frame.blob in self._late):
            return  # the second word of a peer that dropped it under us, or one that was too slow
        if pieces is None:
            raise Violation("a piece of a blob that was not asked for")
        try:
            pieces.send_nowait(frame)
        except anyio.WouldBlock:
            if frame.blob not in self._late:
                raise Violation("more of a blob than was asked for") from None

    async def run(self) -> None:
        """Until cancelled."""
        slots = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as group:
            while True:
                self._look = anyio.Event()
                most = LOOK + len(self._absent)  # what the peer has not must not hide what it has
                lacking = await self._journal.lacking(self._store, max_count=most, most=self._room.largest)
                named = Counter(blob for blob, _ in lacking)
                full = False
                for blob, size in lacking:
                    if (blob, size) in self._false:
                        continue
                    if size > self._room.free():
                        full = True  # for this one and the others, which are no smaller
                        break
                    if blob not in self._absent and self._claims.take(blob, self.wake):
                        try:
                            await slots.acquire_on_behalf_of(blob)
                        except BaseException:  # the session ends: the next one must find it free
                            self._claims.release(blob)
                            raise
                        group.start_soon(self._one, blob, size, slots, named[blob] > 1)
                await anyio.sleep(PAUSE)
                if full or len(lacking) < most:  # else there may be more than listed, and nobody will wake us for it
                    with anyio.move_on_after(LATER if full else None):
                        await self._look.wait()

    async def _one(self, blob: bytes, size: int, slots: anyio.CapacityLimiter, disputed: bool) -> None:
        try:
            if await self._fetch(blob, size):
                self._arrived(blob)
            else:
                self._absent.add(blob)
        except RecordError:
            if not disputed:
                raise Violation("a blob that is not the one its hash names") from None
            self._false.add((blob, size))  # maybe it is not the peer who lies
            self.wake()
        except TimeoutError:
            self._late.add(blob)
        finally:
            self._pieces.pop(blob, None)
            self._claims.release(blob)
            slots.release_on_behalf_of(blob)
        if blob in self._late:  # whoever else waits for it is next, then we again
            await anyio.sleep(3 * PAUSE)
            self.wake()

    async def _fetch(self, blob: bytes, size: int) -> bool:
        sender, receiver = anyio.create_memory_object_stream[Piece | Absent](AHEAD)
        self._pieces[blob] = sender
        partial = await self._journal.partial(blob, size)
        asked = partial.offset
        ahead = 1  # until the peer has shown that it holds the blob
        try:
            while partial.offset < size:
                if size - partial.offset > self._room.free():
                    raise TimeoutError  # it comes later, as if its pieces were slow
                while asked < size and asked < partial.offset + ahead * PIECE:
                    self._session.send(Ask(blob, asked, min(PIECE, size - asked)))
                    asked += PIECE
                self._send()
                with anyio.fail_after(PATIENCE):
                    frame = await receiver.receive()
                if isinstance(frame, Absent):
                    return False
                if frame.offset != partial.offset and blob in self._late:  # asked for twice, as the first was so late
                    continue
                if frame.offset != partial.offset:
                    raise Violation("a piece of a blob that does not follow the one before")
                if len(frame.data) != min(PIECE, size - frame.offset):
                    raise Violation("a piece of a blob that is not as long as asked for")
                await partial.append(frame.data)
                ahead = AHEAD
            await partial.finish()
        finally:
            partial.close()
        return True


class Serve:
    """Answers what one peer asks."""

    def __init__(self, journal: Journal, session: Session) -> None:
        self._journal = journal
        self._session = session
        self._asks: deque[Ask] = deque()
        self._refused: set[bytes] = set()

    def asked(self, frame: Ask) -> None:
        """Raises Violation when more is asked for than an honest peer would."""
        if len(self._asks) >= MAX_ASKS:
            raise Violation("too many pieces asked for at a time")
        self._asks.append(frame)

    def __bool__(self) -> bool:
        return bool(self._asks)

    async def one(self) -> None:
        """Queue the answer to the oldest ask."""
        ask = self._asks.popleft()
        try:
            data = await self._journal.read_blob(ask.blob, ask.offset, ask.length)
        except BlobAbsent:
            if len(self._refused) < _MAX_REFUSED:
                self._refused.add(ask.blob)
            self._session.send(Absent(ask.blob))
        else:
            self._session.send(Piece(ask.blob, ask.offset, data))

    def arrived(self, blob: bytes) -> bool:
        """A blob is held now; whether the peer waits for it, and was told."""
        if blob not in self._refused:
            return False
        self._refused.discard(blob)
        self._session.send(Arrived(blob))
        return True
