"""A proxy on loopback between two nodes that cuts, stalls or spoils what passes, at an exact byte."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketListener

LOOPBACK: Final = "127.0.0.1"
GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of the bytes of one direction of one connection."""

    cut: int | None = None
    """After so many bytes both sides lose the connection."""
    mute: int | None = None
    """After so many bytes nothing arrives any more, and nobody is told: as if the machine had lost its power."""
    flip: int | None = None
    """A bit of this byte arrives flipped."""


FAIR: Final = Fate()


@dataclass
class Proxy:
    """Each connection takes the next pair of fates (towards the server, and back); with none left it is a fair one."""

    fates: list[tuple[Fate, Fate]] = field(default_factory=list)
    passed: list[list[int]] = field(default_factory=list)
    """Bytes towards the server and back, of each connection."""
    dark: bool = False
    """Whether everything vanishes, whatever was agreed: a network that is gone without a word."""
    port: int = 0
    inner: int = 0
    """Where the server listens."""

    async def connect(self, address: str = "") -> ByteStream:
        """What a node dials with."""
        return await anyio.connect_tcp(LOOPBACK, self.port)

    async def pass_on(self, near: ByteStream) -> None:
        there, back = self.fates.pop(0) if self.fates else (FAIR, FAIR)
        counted = [0, 0]
        self.passed.append(counted)
        far = await anyio.connect_tcp(LOOPBACK, self.inner)

        async def pump(source: ByteStream, sink: ByteStream, fate: Fate, way: int) -> None:
            try:
                while await self._piece(source, sink, fate, counted, way):
                    pass
            except GONE:
                pass
            await anyio.aclose_forcefully(source)
            if not self.dark and (fate.mute is None or counted[way] <= fate.mute):  # else nobody is told of the end
                await anyio.aclose_forcefully(sink)

        async with anyio.create_task_group() as group:
            group.start_soon(pump, near, far, there, 0)
            group.start_soon(pump, far, near, back, 1)

    async def _piece(self, source: ByteStream, sink: ByteStream, fate: Fate, counted: list[int], way: int) -> bool:
        """Whether it goes on."""
        data = bytearray(await source.receive())
        at = counted[way]
        counted[way] += len(data)
        if fate.flip is not None and 0 <= fate.flip - at < len(data):
            data[fate.flip - at] ^= 1
        if fate.cut is not None and counted[way] > fate.cut:
            await sink.send(bytes(data[: fate.cut - at]))
            return False
        if fate.mute is not None:
            del data[max(0, fate.mute - at) :]
        if data and not self.dark:
            await sink.send(bytes(data))
        return True


@asynccontextmanager
async def proxied(serve: Callable[[ByteStream], Awaitable[None]], *fates: tuple[Fate, Fate]) -> AsyncIterator[Proxy]:
    """`serve` behind a TCP port on loopback, and a proxy before it."""
    made = Proxy(list(fates))
    async with (
        await anyio.create_tcp_listener(local_host=LOOPBACK) as inner,
        await anyio.create_tcp_listener(local_host=LOOPBACK) as outer,
        anyio.create_task_group() as group,
    ):
        made.inner, made.port = _port(inner), _port(outer)
        group.start_soon(inner.serve, _quiet(serve))
        group.start_soon(outer.serve, _quiet(made.pass_on))
        yield made
        group.cancel_scope.cancel()


def _port(listener: object) -> int:
    [first, *_] = listener.listeners  # type: ignore[attr-defined]  # a MultiListener of one
    assert isinstance(first, SocketListener)
    return int(first.extra(SocketAttribute.local_port))


def _quiet(serve: Callable[[ByteStream], Awaitable[None]]) -> Callable[[ByteStream], Awaitable[None]]:
    async def handle(stream: ByteStream) -> None:
        async with stream:
            try:
                await serve(stream)
            except GONE:
                return

    return handle
