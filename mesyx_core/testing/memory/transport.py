"""A dialer that dials directly, and a stick that is a folder in memory. (The duplex one is `builtin.memory`.)"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute
from pydantic import BaseModel, ConfigDict

from mesyx_core.api import Context, Provider, Refused


class DialerConfig(BaseModel):
    """`[transport.straight]`"""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Straight:
    """Implements `api.Dialer`. An outside address is another port of loopback."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def dial(self, host: str, port: int) -> ByteStream:
        return await self._context.dial(f"{host}:{port}")

    @asynccontextmanager
    async def publish(self, local: str) -> AsyncIterator[str]:
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):

            async def handle(stream: ByteStream) -> None:
                async with stream, await self._context.dial(local) as inner, anyio.create_task_group() as both:
                    both.start_soon(_copy, stream, inner)
                    await _copy(inner, stream)
                    both.cancel_scope.cancel()

            tasks.start_soon(listener.serve, handle)
            yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
            tasks.cancel_scope.cancel()


async def _copy(here: ByteStream, there: ByteStream) -> None:
    try:
        async for data in here:
            await there.send(data)
        await there.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


@asynccontextmanager
async def open_straight(config: DialerConfig, context: Context) -> AsyncIterator[Straight]:
    """Opens the dialer."""
    yield Straight(context)


def dialer() -> Provider:
    """`straight`"""
    return Provider(name="straight", config=DialerConfig, open=open_straight, summary="Dials without any detour")


class StickConfig(BaseModel):
    """`[transport.stick]`"""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    size: int = 1 << 20
    """Bytes that fit on it."""


class Stick:
    """Implements `api.Volume`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[bytes] = []

    @property
    def free(self) -> int:
        return self._size - sum(map(len, self._kept))

    async def bundles(self) -> AsyncIterator[ByteStream]:
        for data in tuple(self._kept):
            yield Reading(data)

    @asynccontextmanager
    async def write(self, size: int) -> AsyncIterator[ByteStream]:
        if size > self.free:
            raise Refused(f"the stick has room for {self.free} bytes", "take a larger one")
        stream = Writing(size)
        yield stream
        self._kept.append(bytes(stream.data))


class Reading(ByteStream):
    """A bundle, read from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not self._data:
            raise anyio.EndOfStream
        data, self._data = self._data[:max_bytes], self._data[max_bytes:]
        return data

    async def send(self, item: bytes) -> None:
        raise Refused("a bundle on a stick is not written over")

    async def send_eof(self) -> None:
        return

    async def aclose(self) -> None:
        self._data = b""


class Writing(Reading):
    """A bundle that is being written."""

    def __init__(self, size: int) -> None:
        super().__init__(b"")
        self._size = size
        self.data = bytearray()

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if len(self.data) + len(item) > self._size:
            raise Refused("the bundle is larger than was said")
        self.data += item


class Drawer:
    """Implements `api.Simplex`: its one stick is always there."""

    def __init__(self, config: StickConfig) -> None:
        self._stick = Stick(config.size)

    async def volumes(self) -> AsyncIterator[Stick]:
        yield self._stick
        await anyio.sleep_forever()


@asynccontextmanager
async def open_drawer(config: StickConfig, context: Context) -> AsyncIterator[Drawer]:
    """Opens the drawer with an empty stick."""
    yield Drawer(config)


def stick() -> Provider:
    """`stick`"""
    return Provider(name="stick", config=StickConfig, open=open_drawer, summary="A stick in memory")
