"""The transport itself: listens, dials, and watches all of its WebSockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from mesyx_core.api import Context, Duplex, Peer, Permanent, Physics, Temporary
from mesyx_https.client import outer_context, upgrade
from mesyx_https.config import HttpsConfig, parse
from mesyx_https.server import handshake
from mesyx_https.websocket import WebSocket

OPEN_SECONDS: Final = 20.0
"""For TLS and the opening handshake, on either side."""
PING_SECONDS: Final = 25.0
"""nginx closes what was silent for 60 s (proxy_read_timeout)."""
DEAD_PINGS: Final = 3
"""So many pings without any answer, and the peer counts as gone."""
_EVERYWHERE: Final = ("0.0.0.0", "[::]", "")  # noqa: S104 - recognized, not bound


@asynccontextmanager
async def open_https(config: HttpsConfig, context: Context) -> AsyncIterator[Duplex]:
    """The transport, not listening yet."""
    yield Https(config, context)


class Https:
    """Implements `api.Duplex`."""

    schemes: Final = frozenset({"https", "http"})
    physics: Final = Physics(latency=0.1)

    def __init__(self, config: HttpsConfig, context: Context, *, ping: float = PING_SECONDS) -> None:
        self._config = config
        self._context = context
        self._bound = config.listen
        self._outer = outer_context()
        self._tls = context.tls(config.tls) if config.listen and config.tls.mode != "off" else None
        self._ping = ping
        self._open: dict[WebSocket, tuple[int, int]] = {}
        """Each with what was heard of it at the last look, and how many looks ago that changed."""

    @property
    def address(self) -> str:
        """As configured, else where it listens; empty when that is no address to dial."""
        if self._config.address or self._bound.rpartition(":")[0] in _EVERYWHERE:
            return self._config.address
        path = self._config.taken
        return f"{'https' if self._tls else 'http'}://{self._bound}{path if path != '/' else ''}"

    async def connect(self, address: str) -> ByteStream:
        try:
            target = parse(address)
        except ValueError as error:
            raise Permanent(f"the address {address!r} {error}") from None
        stream = await self._context.dial(target.connect, via=self._config.via)
        try:
            with anyio.fail_after(OPEN_SECONDS):
                socket = await upgrade(stream, target, self._outer, self._context.random)
        except TimeoutError:
            await anyio.aclose_forcefully(stream)
            raise Temporary(f"{target.authority} does not answer") from None
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        self._open[socket] = (0, 0)
        return socket

    async def run(self) -> None:
        if self._config.listen:
            listener = await self._context.serve(self._config.listen, self._serve)
            self._bound = listener.address
        self._context.report("up")
        while True:
            await anyio.sleep(self._ping)
            async with anyio.create_task_group() as group:
                for socket in tuple(self._open):
                    group.start_soon(self._look, socket)

    async def _serve(self, stream: ByteStream, peer: Peer) -> None:
        with anyio.move_on_after(OPEN_SECONDS) as opening:
            if self._tls is not None and self._tls.context is not None:
                stream = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=self._tls.context, standard_compatible=False
                )
            taken = await handshake(stream, self._config.taken)
        if opening.cancelled_caught or taken is None:
            return
        socket = WebSocket(stream, taken.engine, taken.first)
        self._open[socket] = (0, 0)
        try:
            await self._context.accept_stream(socket, peer)
        finally:
            self._open.pop(socket, None)
            with anyio.CancelScope(shield=True):
                await socket.aclose()

    async def _look(self, socket: WebSocket) -> None:
        """Ping one that was silent; drop one that does not answer, or that is closed."""
        heard, silent = self._open[socket]
        if socket.heard != heard:
            self._open[socket] = (socket.heard, 0)
            return
        try:
            with anyio.fail_after(self._ping):
                if silent >= DEAD_PINGS or socket.closed:
                    self._open.pop(socket, None)
                    await anyio.aclose_forcefully(socket)
                else:
                    self._open[socket] = (heard, silent + 1)
                    await socket.ping()
        except (TimeoutError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._open.pop(socket, None)
            await anyio.aclose_forcefully(socket)
