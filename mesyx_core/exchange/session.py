"""One end of a conversation about one store: who says what when. No I/O, no clock.

    server: hello (nonce)
    client: open (key, signature over the nonce, store, manifests' heads, digest)       or join (an invitation's id)
    server: [lack, documents …] then same, or the comparison                              about; present; joined
    both:   comparison; ids, entries, have; blobs; pings; live entries for as long as the stream lasts

In sync that is one round trip after the server's first word, and under 300 bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, Final, Protocol

from mesyx_core.vault import labels
from mesyx_core.vault.nodekey import verify

from .compare import Comparison
from .errors import Violation
from .flow import DIVERGED, Flow
from .frames import (
    MAX_FRAME,
    NONCE_SIZE,
    VERSION,
    VERSIONS,
    About,
    Absent,
    Arrived,
    Ask,
    Decline,
    Documents,
    End,
    Entries,
    Equal,
    Frame,
    Have,
    Heads,
    Hello,
    Ids,
    Join,
    Joined,
    Lack,
    Lacking,
    Logs,
    Open,
    Payloads,
    Piece,
    Ping,
    Pong,
    Present,
    Ranges,
    Same,
    Signal,
    Splitter,
    Want,
    pack,
)

MAX_QUEUED: Final = 4 << 20
"""Bytes that wait to be sent before the peer counts as one that does not read."""
MAX_SIGNALS: Final = 512 << 10
"""Bytes of signals that wait to be sent; what comes on top of them is lost."""


class Signer(Protocol):
    """A node key, as far as a session needs it."""

    @property
    def public(self) -> bytes: ...

    def sign(self, label: str, *values: Any) -> bytes: ...


class Phase(Enum):
    """Where a session stands; it decides which frames are in order."""

    GREETING = auto()
    """The client waits for the server's nonce."""
    OPENING = auto()
    """The server waits for open or join."""
    MANIFESTS = auto()
    """Until both hold the same manifests."""
    RUNNING = auto()
    JOINING = auto()
    ENDED = auto()


_COMPARING: Final = (Same, Ranges, Logs)
"""With one of these the server says that both hold the same manifests."""
_MANIFESTS: Final = frozenset({Heads, Lack, Documents, Ping, Pong, End})
_IN_ORDER: Final[dict[Phase, frozenset[type[Any]]]] = {
    Phase.GREETING: frozenset({Hello, End}),
    Phase.OPENING: frozenset({Open, Join, End}),
    Phase.MANIFESTS: _MANIFESTS,
    Phase.RUNNING: _MANIFESTS
    | {Ranges, Equal, Logs, Same, Ids, Entries, Have, Want, Decline, Ask, Piece, Absent, Arrived, Signal}
    | {Lacking, Payloads},
    Phase.JOINING: frozenset({About, Documents, Present, Joined, Ping, Pong, End}),
    Phase.ENDED: frozenset(),
}


class Session:
    """Feed it bytes and handle the frames that it yields; take from it what is to be sent.

    What a session settles by itself (the comparison, the flow of entries, pings) is not yielded.
    """

    def __init__(self, *, dialled: bool, server: bytes, nonce: bytes = b"") -> None:
        """`server` is the accepting node's public key; `nonce` is 16 random bytes, for the accepting side."""
        self.dialled = dialled
        self.phase = Phase.GREETING if dialled else Phase.OPENING
        self.flow = Flow()
        self.comparison: Comparison | None = None
        self.ended: End | None = None
        """The peer's last word."""
        self.sent = 0
        """Bytes taken."""
        self.received = 0
        self._server = server
        self._nonce = nonce
        self._splitter = Splitter()
        self._out: list[bytes] = []
        self._queued = 0
        self._signals: deque[bytes] = deque()
        self._signalled = 0
        if not dialled:
            if len(nonce) != NONCE_SIZE:
                raise ValueError("a nonce has 16 bytes")
            self.send(Hello(VERSIONS, nonce))

    # --- bytes --------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete and that are for the caller. Raises Violation."""
        self.received += len(data)
        for frame in self._splitter.feed(data):
            if self.dialled and self.phase is Phase.MANIFESTS and isinstance(frame, _COMPARING):
                self.phase = Phase.RUNNING
            if type(frame) not in _IN_ORDER[self.phase]:
                raise Violation(f"a frame out of order ({type(frame).__name__})")
            if not self._settle(frame):
                yield frame

    def send(self, frame: Frame) -> None:
        """Queue a frame. Raises Violation when the peer has not read for megabytes."""
        data = pack(frame)
        self._out.append(data)
        self._queued += len(data)
        if self._queued > MAX_QUEUED:
            raise Violation("the peer asks and does not read")

    def signal(self, frame: Signal) -> bool:
        """Queue a signal, behind all else; False when it is lost because too many wait."""
        if self.phase is not Phase.RUNNING or self._signalled + len(frame.sealed) > MAX_SIGNALS:
            return False
        data = pack(frame)
        self._signals.append(data)
        self._signalled += len(data)
        return True

    @property
    def signal_size(self) -> int:
        """Bytes of the signal whose turn it is; 0 when none waits."""
        return len(self._signals[0]) if self._signals else 0

    def let_signal(self) -> None:
        """The signal whose turn it is goes out with what is taken next."""
        data = self._signals.popleft()
        self._signalled -= len(data)
        self._out.append(data)

    def take(self) -> bytes:
        """All that is to be sent now."""
        data = b"".join(self._out)
        self._out.clear()
        self._queued = 0
        self.sent += len(data)
        return data

    # --- opening ------------------------------------------------------------------------------------------------------

    def open(self, key: Signer, store: bytes, heads: tuple[bytes, ...], comparison: Comparison) -> None:
        """The client's first word, once it has the server's Hello."""
        self.compare(comparison)
        signature = key.sign(labels.AUTH, self._server, self._nonce, key.public, store)
        self.send(Open(VERSION, key.public, signature, store, heads, comparison.digest()))
        self._enter(Phase.MANIFESTS)

    def join(self, key: Signer, store: bytes, invitation: bytes) -> None:
        """The client's first word, if it was invited."""
        signature = key.sign(labels.AUTH, self._server, self._nonce, key.public, store)
        self.send(Join(VERSION, key.public, signature, store, invitation))
        self._enter(Phase.JOINING)

    def run(self, comparison: Comparison, theirs: bytes) -> None:
        """The server's answer to an open, once both hold the same manifests; `theirs` is the client's digest."""
        self.compare(comparison)
        self._enter(Phase.RUNNING)
        for frame in comparison.begin(theirs):
            self.send(frame)
        self._learn()

    def compare(self, comparison: Comparison) -> None:
        """What is compared, from now on; nothing was sent of it yet."""
        self.comparison = comparison
        self.flow = Flow()
        self.flow.begin(comparison.positions)

    def end(self, code: int, reason: str) -> None:
        """Our last word."""
        if self.phase is not Phase.ENDED:
            self.phase = Phase.ENDED
            self._out.append(pack(End(code, reason)))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._splitter.limit = MAX_FRAME

    def _settle(self, frame: Frame) -> bool:
        """Whether the frame needed no caller."""
        match frame:
            case Hello(versions, nonce):
                if VERSION not in versions:
                    raise Violation("the peer speaks no version of the protocol that this node knows")
                self._nonce = nonce
                return False
            case Open() | Join():
                self._authenticate(frame)
                return False
            case Ping(number):
                self.send(Pong(number))
            case Pong():
                pass
            case Same() | Ranges() | Equal() | Logs():
                self._compare(frame)
            case Have(node, incarnation, seq):
                self.flow.holds((node, incarnation), seq)
            case Want(node, incarnation, seq):
                self.flow.rewind((node, incarnation), seq)
            case Decline(node, incarnation, reason):
                self.flow.decline((node, incarnation), reason)
            case End():
                self.ended = frame
                self.phase = Phase.ENDED
                return False
            case _:
                return False
        return True

    def _authenticate(self, frame: Open | Join) -> None:
        if frame.version not in VERSIONS:
            raise Violation("the peer chose a version of the protocol that was not offered")
        if not verify(frame.key, frame.signature, labels.AUTH, self._server, self._nonce, frame.key, frame.store):
            raise Violation("the peer did not prove its key")
        self._enter(Phase.JOINING if isinstance(frame, Join) else Phase.MANIFESTS)

    def _compare(self, frame: Same | Ranges | Equal | Logs) -> None:
        if self.comparison is None:
            raise Violation("a comparison that was not begun")
        for answer in self.comparison.answer(frame):
            self.send(answer)
        self._learn()

    def _learn(self) -> None:
        if self.comparison is not None and self.comparison.found:
            self.flow.found(self.comparison.found)
            self.comparison.found.clear()
        if self.comparison is not None and self.comparison.forked:
            for log in self.comparison.forked:
                self.flow.decline(log, DIVERGED)
            self.comparison.forked.clear()
