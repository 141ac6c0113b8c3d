"""The memory transport: streams between nodes of one process. For tests, and for `mesyx demo`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from pydantic import BaseModel, ConfigDict, Field

from mesyx_core.api import Context, Duplex, Peer, Permanent, Physics, Provider, Temporary

SCHEME: Final = "memory"
_CHUNK: Final = 64 << 10
_CHUNKS: Final = 4


class MemoryStream(ByteStream):
    """One end of a pair. Holds at most 256 KiB in each direction, like a socket."""

    def __init__(self, sender: MemoryObjectSendStream[bytes], receiver: MemoryObjectReceiveStream[bytes]) -> None:
        self._sender = sender
        self._receiver = receiver
        self._left = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = self._left or await self._receiver.receive()
        self._left = data[max_bytes:]
        return data[:max_bytes]

    async def send(self, item: bytes) -> None:
        for start in range(0, len(item), _CHUNK):
            await self._sender.send(bytes(item[start : start + _CHUNK]))

    async def send_eof(self) -> None:
        self._sender.close()

    async def aclose(self) -> None:
        self._sender.close()
        self._receiver.close()


def pair() -> tuple[MemoryStream, MemoryStream]:
    """Two ends of one connection."""
    here, there = anyio.create_memory_object_stream[bytes](_CHUNKS), anyio.create_memory_object_stream[bytes](_CHUNKS)
    return MemoryStream(here[0], there[1]), MemoryStream(there[0], here[1])


class MemoryPeer:
    """Implements `api.Peer`."""

    host: Final = "memory"
    port: Final = 0
    local: Final = True

    def welcome(self) -> None:
        """Nobody has to make room for it."""


class MemoryConfig(BaseModel):
    """`[transport.memory]`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str = Field("", description="Name under which other nodes of this process can dial this one.")


class Network:
    """Who listens in this process."""

    def __init__(self) -> None:
        self._listening: dict[str, Callable[[ByteStream], None]] = {}

    def provider(self) -> Provider:
        """The transport on this network."""
        summary = "Streams between nodes of one process"
        return Provider(name=SCHEME, config=MemoryConfig, open=self._open, summary=summary)

    @asynccontextmanager
    async def _open(self, config: MemoryConfig, context: Context) -> AsyncIterator[Duplex]:
        yield Memory(self._listening, config, context)


class Memory:
    """Implements `api.Duplex`."""

    schemes: Final = frozenset({SCHEME})
    physics: Final = Physics(latency=0.0)

    def __init__(
        self, listening: dict[str, Callable[[ByteStream], None]], config: MemoryConfig, context: Context
    ) -> None:
        self._listening = listening
        self._name = config.listen
        self._context = context

    @property
    def address(self) -> str:
        return f"{SCHEME}://{self._name}" if self._name else ""

    async def connect(self, address: str) -> ByteStream:
        scheme, _, name = address.partition("://")
        if scheme != SCHEME or not name:
            raise Permanent(f"{address!r} is not an address of this transport", f"write {SCHEME}://NAME")
        take = self._listening.get(name)
        if take is None:
            raise Temporary(f"nobody listens as {name} in this process")
        here, there = pair()
        take(there)
        return here

    async def run(self) -> None:
        async with anyio.create_task_group() as group:

            def take(stream: ByteStream) -> None:
                group.start_soon(self._serve, stream)

            if self._name:
                self._listening[self._name] = take
            try:
                self._context.report("up")
                await anyio.sleep_forever()
            finally:
                if self._name and self._listening.get(self._name) is take:
                    del self._listening[self._name]

    async def _serve(self, stream: ByteStream) -> None:
        async with stream:
            served: Awaitable[None] = self._context.accept_stream(stream, _peer())
            await served


def _peer() -> Peer:
    return MemoryPeer()
