"""What an open instance may use of its node: never the node itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from anyio.abc import ByteStream
from pydantic import JsonValue

from mesyx_core.api.message import Message
from mesyx_core.api.verdict import Receipt, Verdict
from mesyx_core.api.view import View

if TYPE_CHECKING:
    import ssl

Health: TypeAlias = Literal["up", "degraded", "retry", "down"]
"""Of an instance or account. "degraded": it is at work, and something that a person must mend keeps it from doing it
well."""


class State(Protocol):
    """Small values sealed under the node key, one space for each instance, account and store."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, changes: Mapping[str, bytes | None]) -> None:
        """All or nothing, durable on return; None removes."""


class Delivery(Protocol):
    """A transaction. Left without commit, nothing was kept. Up to 16 KiB of body stay in memory; above, it streams
    sealed to disk."""

    async def recipient(self, address: str) -> Verdict:
        """Whether this address is served here. A reject says why, and the address is not part of the delivery."""

    async def trace(self, header: bytes) -> None:
        """Our own trace headers (RFC 5321, section 4.4), whole lines, once and before the first write. They are not
        part of what makes two messages the same."""

    async def write(self, chunk: bytes) -> None:
        """The next bytes of the body. Raises Temporary when the disk or a limit does not allow them."""

    async def commit(self) -> Receipt:
        """Filter, seal, make durable. Raises Temporary when that is not possible now; then nothing was kept."""


class Tls(Protocol):
    """A listener's TLS settings as the config gave them."""

    @property
    def mode(self) -> Literal["off", "starttls", "implicit"]: ...

    @property
    def context(self) -> ssl.SSLContext | None:
        """Server side; None only when mode is off."""


class Peer(Protocol):
    """Who is at the other end of an accepted connection."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def local(self) -> bool:
        """On loopback or a Unix socket: plain log-in is allowed."""

    def welcome(self) -> None:
        """Whoever it is has logged in: the connection stays when the node has too many. Others make room then, those
        first that have brought least."""


class Listener(Protocol):
    """A bound address. Closing it stops new connections; those that are open get until the node's stop deadline."""

    @property
    def address(self) -> str:
        """host:port as bound, with the real port when 0 was asked for."""


class Context(Protocol):
    """Clock, randomness, sealed state, sockets, and the ways in and out. Given to `Provider.open`."""

    @property
    def instance(self) -> str:
        """The config section's name, like "mx" for [ingress.mx]."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def state(self) -> State: ...

    def now(self) -> datetime:
        """Aware, UTC."""

    def monotonic(self) -> float:
        """Seconds."""

    def random(self, n: int) -> bytes: ...

    async def sleep(self, seconds: float) -> None: ...

    async def dial(
        self, address: str, *, tls: bool = False, via: str | None = None, bind: str | None = None
    ) -> ByteStream:
        """Open a stream to host:port, by way of the named dialer if any, else from the local address `bind` if given.
        With `tls` it speaks TLS, with a certificate for the host that an authority known to the system has signed.
        Raises Temporary."""

    async def serve(self, address: str, on: Callable[[ByteStream, Peer], Awaitable[None]]) -> Listener:
        """Accept on host:port (or a socket passed in by activation) until the instance closes; one task a connection,
        each stream closed when `on` returns. The node limits connections in all and per peer. Raises Misconfigured
        when the port is in use."""

    async def listen(
        self, address: str, protocol: Callable[[Peer], object], *, tls: ssl.SSLContext | None = None
    ) -> Listener:
        """As `serve`, for engines on an asyncio.Protocol (`protocol(peer)` returns one); the same limits. With `tls`,
        TLS is spoken from the first byte, and the protocol hears of a connection once the handshake is done."""

    def tls(self, settings: object) -> Tls:
        """TLS of a listener from its config's `tls` table; makes and keeps a self-signed pair where none is given."""

    def deliver(self, draft: Message) -> AbstractAsyncContextManager[Delivery]:
        """Begin taking in one message; `draft` has all but body and recipients."""

    async def accept(self, messages: Sequence[Message], state: Mapping[str, bytes] | None = None) -> Sequence[Verdict]:
        """Take in short messages; `state` (a cursor) commits with them. Raises Temporary when one of them cannot be
        taken now: then nothing is kept, offer them again later."""

    async def signal(self, name: str, value: JsonValue) -> None:
        """An event of an account to the clients of its store that have a program attached (`View.events`): sealed,
        never logged, may be lost. An instance of the node's own speaks for no one store: it tells nobody."""

    async def login(self, name: str, proof: Callable[[bytes], bool]) -> View:
        """The view of store `name`. `proof` is tried on the verifier of each of its app passwords (see
        `mesyx_core.wire.sasl`). Raises LoginFailed, or Locked when the store is closed on this node. Slow on
        purpose after failures."""

    def salt(self, name: str) -> bytes:
        """The store's SCRAM and PBKDF2 salt; a stable false one for unknown names."""

    def report(self, state: Health, why: str = "") -> None:
        """What `mesyx status` shows of this instance, and `mesyx doctor` if it is not "up": `why` says what is the
        matter, and what to do about it. Only an egress that is "up" or "degraded" is given messages to send."""

    def accept_stream(self, stream: ByteStream, peer: Peer) -> Awaitable[None]:
        """For transports: hand a stream on which another node dialled to the exchange; returns when it ends."""


Answer: TypeAlias = AsyncIterator[JsonValue]
