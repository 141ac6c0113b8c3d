"""A WebSocket (RFC 6455) as a byte stream: binary messages, whose borders mean nothing."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import ByteStream
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

READ: Final = 64 << 10
WRITE: Final = 64 << 10
"""Bytes of one message; a proxy may buffer a whole one."""
_CLOSE_SECONDS: Final = 1.0


class WebSocket(ByteStream):
    """Over a stream on which the opening handshake is done. `heard` is for whoever watches it."""

    def __init__(self, stream: ByteStream, engine: Connection, first: bytes = b"") -> None:
        """`first` are bytes that came with the handshake."""
        self._stream = stream
        self._engine = engine
        self._sending = anyio.Lock()
        self._ready: deque[bytes] = deque()
        self._ended = False
        self.heard = 0
        """Grows with whatever comes, pongs too."""
        self.closed = False
        if first:
            self._feed(first)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while not self._ready:
            if self._ended:
                raise anyio.EndOfStream
            replies = self._feed(await self._stream.receive(READ))
            if replies:
                await self._put(replies)
        data = self._ready.popleft()
        if len(data) > max_bytes:
            self._ready.appendleft(data[max_bytes:])
        return data[:max_bytes]

    async def send(self, item: bytes) -> None:
        for start in range(0, len(item), WRITE):
            async with self._sending:
                await self._stream.send(self._pack(BytesMessage(bytes(item[start : start + WRITE]))))

    async def ping(self) -> None:
        """Ask for a sign of life; keeps proxies from closing an idle connection."""
        await self._put(self._pack(Ping(b"")))

    async def send_eof(self) -> None:
        await self._goodbye()

    async def aclose(self) -> None:
        self.closed = True
        try:
            with (
                anyio.move_on_after(_CLOSE_SECONDS),
                suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.BusyResourceError),
            ):
                await self._goodbye()
        finally:
            await self._stream.aclose()

    async def _goodbye(self) -> None:
        if not self._ended:
            self._ended = True
            await self._put(self._pack(CloseConnection(CloseReason.NORMAL_CLOSURE)))

    async def _put(self, data: bytes) -> None:
        async with self._sending:
            await self._stream.send(data)

    def _pack(self, event: BytesMessage | Ping | Pong | CloseConnection) -> bytes:
        try:
            return self._engine.send(event)
        except LocalProtocolError:  # closed by either side
            raise anyio.ClosedResourceError from None

    def _feed(self, data: bytes) -> bytes:
        """Take in bytes; returns what is to be said to them. Raises BrokenResourceError for what is no WebSocket."""
        self.heard += 1
        replies = b""
        try:
            self._engine.receive_data(data)
            for event in self._engine.events():
                replies += self._take(event)
        except RemoteProtocolError:
            raise anyio.BrokenResourceError from None
        return replies

    def _take(self, event: object) -> bytes:
        match event:
            case BytesMessage():
                if event.data:
                    self._ready.append(bytes(event.data))
            case Ping():
                return self._pack(event.response())
            case CloseConnection():
                if not self._ended:
                    self._ended = True
                    return self._pack(event.response())
            case TextMessage():
                self._ended = True
                return self._pack(CloseConnection(CloseReason.UNSUPPORTED_DATA))
        return b""
