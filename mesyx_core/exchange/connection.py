"""One session on one stream: reads, takes in, sends, fetches blobs and watches, each in a task of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, TaskGroup

from mesyx_core.api import MesyxError

from .compare import Log
from .ending import GONE, Over, raise_end
from .errors import LinkFailed, NotMember, Violation
from .fetch import Fetch, Serve
from .frames import (
    Absent,
    Arrived,
    Ask,
    Documents,
    End,
    Entries,
    Frame,
    Heads,
    Ids,
    Lack,
    Lacking,
    Open,
    Payloads,
    Piece,
    Ping,
    Signal,
)
from .hub import Hub
from .incoming import Incoming
from .manifests import Manifests
from .outgoing import Outgoing
from .pacing import FLOODED, Pacing
from .payloads import Give, Mend
from .session import Phase, Session

READ: Final = 64 << 10
INBOX: Final = 2
"""Frames with entries, of a MiB each, that wait for the journal."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a connection is watched; all in seconds."""

    ping: float = 20.0
    """Sent when nothing was heard for so long."""
    dead: float = 50.0
    """The peer counts as gone when nothing was heard for so long."""
    open: float = 30.0
    """Until the session runs."""


PACE: Final = Pace()


class Connection:
    """A session that was opened, and all that keeps it going. Attached to its store's hub while it runs."""

    def __init__(
        self,
        hub: Hub,
        stream: ByteStream,
        session: Session,
        peer: bytes,
        *,
        opened: Open | None,
        pace: Pace,
        monotonic: Callable[[], float],
        heard: Callable[[], None],
    ) -> None:
        """`opened` is what the client said, on the server; `heard` is called when something came from the peer."""
        self.peer = peer
        self.store = hub.store
        self.session = session
        self.since = monotonic()
        self._hub = hub
        self._stream = stream
        self._pace = pace
        self._monotonic = monotonic
        self._heard = self.since
        self._tell = heard
        self._stalled = False
        self._brought: set[Log] = set()
        self._pacing = Pacing(session, monotonic)
        self._work = anyio.Event()
        self._started = anyio.Event()
        self._scope = anyio.CancelScope()
        self._group: TaskGroup
        self._failure: MesyxError | None = None

        def limit(log: Log) -> int:
            return hub.standing().limit(log)

        self._manifests = Manifests(hub, session, peer, (opened.heads, opened.digest) if opened else ((), b""))
        self._outgoing = Outgoing(hub.journal, hub.store, session, limit)
        self._incoming = Incoming(hub.journal, hub.store, session, limit, hub.lock)
        self._fetch = Fetch(hub.journal, hub.store, session, hub.claims, hub.room, self._wake, self._blob_taken)
        self._serve = Serve(hub.journal, session)
        self._mend = Mend(hub.journal, hub.store, session, limit, self._wake)
        self._give = Give(hub.journal, hub.store, session, limit)
        self._inbox_in, self._inbox_out = anyio.create_memory_object_stream[Ids | Entries](INBOX)

    @property
    def running(self) -> bool:
        return self.session.phase is Phase.RUNNING

    @property
    def declined(self) -> dict[Log, int]:
        """Logs that this node did not take from the peer, or the peer from this node."""
        return self.session.flow.declined | self._incoming.declined

    @property
    def heard_all(self) -> bool:
        """Whether this node holds all of the store's logs that the peer held when they were compared, and may give."""
        comparison = self.session.comparison
        if not self.running or comparison is None or not comparison.done:
            return False
        limit, declined = self._hub.standing().limit, self.declined
        return all(
            log in declined or self.session.flow.held(log) >= min(seq, limit(log))
            for log, seq in comparison.theirs.items()
        )

    async def run(self) -> None:
        """Until the stream ends. Raises what ended it, unless it was the stream's plain end."""
        self._hub.attached.add(self)
        try:
            async with anyio.create_task_group() as group:
                self._scope, self._group = group.cancel_scope, group
                jobs = (self._begin, self._read, self._take_in, self._write, self._watch)
                for job in (*jobs, self._fetch_blobs, self._mending):
                    group.start_soon(self._do, job)
        finally:
            self._hub.ended(self, self.session.flow.acked)
            self._inbox_in.close()
            self._inbox_out.close()
        if self._failure is not None:
            raise self._failure

    # --- from the hub -------------------------------------------------------------------------------------------------

    def grew(self, log: Log, seq: int) -> None:
        limit = self._hub.standing().limit(log)
        if limit:
            self.session.flow.grew(log, min(seq, limit))
            self._wake()

    async def heads_changed(self) -> None:
        """Our manifests have changed: the peer is judged anew, and told."""
        standing = self._hub.standing()
        if not standing.member(self.peer) and (self.running or self.session.dialled):
            self._fail(NotMember("the peer is not a member of the store any more"))
            return
        if self.running and not standing.served(self.peer):
            self._fail(NotMember("the peer is suspended in the store"))
            return
        if self.running:
            self._tell_heads()
            self._incoming.declined.clear()
            await self._offer_again()
        elif self.session.dialled:
            self.session.compare(await self._hub.comparison())
            self._tell_heads()
        self._wake()

    async def _offer_again(self) -> None:
        """By other manifests, ours or the peer's, it may take what it has declined."""
        self.session.flow.reconsider()
        for head in self._hub.standing().valid(await self._hub.journal.heads(self._hub.store)):
            self.session.flow.grew(head[:2], head.seq)

    def blob_arrived(self, blob: bytes) -> None:
        if self._serve.arrived(blob):
            self._wake()

    def peer_holds(self, log: Log, seq: int) -> None:
        """Another session with this peer's key brought it. [Of the peer's own logs only if this session brings that one
        as well: at its other end may be a clone, which must hear of what the other one writes.]"""
        if log[0] != self.peer or log in self._brought:
            self.session.flow.holds(log, seq)

    def signal(self, frame: Signal) -> bool:
        sent = self.session.signal(frame)
        if sent:
            self._wake()
        return sent

    def start(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._group.start_soon(job)

    # --- tasks --------------------------------------------------------------------------------------------------------

    async def _do(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except Exception as error:
            self._end(_single(error))

    def _end(self, error: Exception) -> None:
        if isinstance(error, (*GONE, Over)):
            self._scope.cancel()
        elif isinstance(error, MesyxError):
            self._fail(error)
        else:  # a stranger must not take the listener down with what we did not foresee
            logger.error("a session ended in %s at %s", type(error).__name__, _place(error))
            self._fail(LinkFailed("this node failed inside; see its log"))

    async def _begin(self) -> None:
        if not self.session.dialled:
            await self._manifests.agree()
        self._wake()

    async def _read(self) -> None:
        while True:
            data = await self._stream.receive(READ)
            self._heard = self._monotonic()
            for frame in self.session.receive(data):
                await self._handle(frame)
            self._serving()
            self._compared()
            self._wake()
            self._tell()

    async def _handle(self, frame: Frame) -> None:
        match frame:
            case Ids() | Entries():
                try:
                    self._inbox_in.send_nowait(frame)
                except anyio.WouldBlock:
                    self._stalled = True
                    await self._inbox_in.send(frame)
                    self._stalled = False
                    self._heard = self._monotonic()
            case Ask():
                self._serve.asked(frame)
            case Piece() | Absent() | Arrived():
                self._fetch.answered(frame)
            case Lacking():
                self._give.asked(frame)
            case Payloads():
                self._mend.answered(frame)
            case Signal():
                if not self._hub.switch.heard(frame, self):
                    await anyio.sleep(FLOODED)
            case Heads() | Lack() | Documents():
                fresh = isinstance(frame, Heads) and frame.heads != self._manifests.theirs
                await self._manifests.take(frame)
                if fresh and self.running and self.session.flow.declined:
                    await self._offer_again()
            case End():
                raise_end(frame)
            case _:
                raise Violation(f"a frame out of order ({type(frame).__name__})")

    async def _take_in(self) -> None:
        async for frame in self._inbox_out:
            await self._incoming.take(frame)
            if isinstance(frame, Entries):
                upto = frame.after + len(frame.entries)
                log = (frame.node, frame.incarnation)
                if frame.node == self.peer:
                    self._brought.add(log)
                self._hub.peer_holds(self.peer, log, upto)
                self._fetch.wake()
                if any(payload is None for _, payload in frame.entries):
                    self._mend.wake()
            self._wake()

    async def _write(self) -> None:
        while True:
            self._work = anyio.Event()
            if not await self._send_next():
                with anyio.move_on_after(self._pacing.look):
                    await self._work.wait()

    async def _send_next(self) -> bool:
        """Whether there was anything to send."""
        turn = None
        if self.running and self._hub.standing().served(self.peer):
            if self._serve:
                await self._serve.one()
            if self._give:
                await self._give.one()
            turn = self.session.flow.next()
            if turn is not None:
                await self._outgoing.piece(*turn)
        self._pacing.let()
        data = self.session.take()
        if data:
            await self._stream.send(data)
        return bool(data) or turn is not None or bool(self._serve) or bool(self._give)

    async def _fetch_blobs(self) -> None:
        await self._started.wait()
        await self._fetch.run()

    async def _mending(self) -> None:
        await self._started.wait()
        await self._mend.run()

    async def _watch(self) -> None:
        deadline = self.since + self._pace.open
        number = 0
        step = min(self._pace.ping, self._pace.open) / 4
        while True:
            await anyio.sleep(step)
            now = self._monotonic()
            if not self.running:
                if now > deadline:
                    raise LinkFailed("the peer did not open a session in time")
            elif now - self._heard > self._pace.dead and not self._stalled:
                raise LinkFailed(f"nothing heard from the peer for {self._pace.dead:.0f} s")
            elif now - self._heard > self._pace.ping:
                number += 1
                self.session.send(Ping(number))
                self._wake()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._work.set()
        if self.running and not self._started.is_set():
            self._started.set()
            self._hub.switch.joined()

    def _serving(self) -> None:
        """A member that is suspended hears so by the manifest, before a session runs, and no more than that."""
        if self.running and not self._hub.standing().served(self.peer):
            raise NotMember("that node is suspended in the store")

    def _blob_taken(self, blob: bytes) -> None:
        self._hub.blob_arrived(blob)

    def _tell_heads(self) -> None:
        self.session.send(Heads(self._hub.standing().authority.heads))

    def _compared(self) -> None:
        flow, comparison = self.session.flow, self.session.comparison
        if flow.told and comparison is not None:
            self._hub.told(self.peer, flow.told, comparison.positions)
            flow.told.clear()
        if flow.declined:
            self._hub.declined(flow.declined)

    def _fail(self, error: MesyxError) -> None:
        self._failure = self._failure or error
        self._scope.cancel()


def _single(error: Exception) -> Exception:
    """Of several tasks that failed at once, what the peer should hear of."""
    while isinstance(error, ExceptionGroup):
        error = next((one for one in error.exceptions if isinstance(one, MesyxError)), error.exceptions[0])
    return error


def _place(error: BaseException) -> str:
    """File and line, without any value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "?"
