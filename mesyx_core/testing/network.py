"""A network as bad as it is told to be, and bad in the same way each time: for streams between nodes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import anyio
from anyio.abc import ByteStream

from mesyx_core.api import Context, Duplex, Peer, Physics, Provider
from mesyx_core.builtin.memory import SCHEME, MemoryConfig, Network, pair

PIECE: Final = 1400
"""Bytes that share a fate, like a packet's."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What happens to pieces of a stream. TCP lets none of this through; a broken transport does."""

    loss: float = 0.0
    """Probability that a piece vanishes."""
    duplicate: float = 0.0
    """Probability that a piece comes twice."""
    damage: float = 0.0
    """Probability that a bit of a piece flips."""
    delay: float = 0.0
    """Seconds that a piece waits at most."""
    cut: int | None = None
    """Bytes after which the stream breaks."""
    mute: int | None = None
    """Bytes after which nothing arrives any more, though all that is sent seems to leave: one way only."""


FAIR: Final = Weather()


class BadStream(ByteStream):
    """A stream whose sending side is in bad weather."""

    def __init__(
        self,
        stream: ByteStream,
        weather: Weather,
        draw: random.Random,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._stream = stream
        self._weather = weather
        self._draw = draw
        self._sleep = sleep
        self._sent = 0

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        data = bytes(item)
        for start in range(0, len(data), PIECE):
            await self._piece(data[start : start + PIECE])

    async def _piece(self, piece: bytes) -> None:
        weather, draw = self._weather, self._draw
        if weather.delay:
            await self._sleep(draw.random() * weather.delay)
        if weather.cut is not None and self._sent + len(piece) > weather.cut:
            await self._stream.send(piece[: weather.cut - self._sent])
            await anyio.aclose_forcefully(self._stream)
            raise anyio.BrokenResourceError
        self._sent += len(piece)
        if (weather.mute is not None and self._sent > weather.mute) or draw.random() < weather.loss:
            return
        if draw.random() < weather.damage:
            at = draw.randrange(len(piece))
            piece = piece[:at] + bytes([piece[at] ^ 1 << draw.randrange(8)]) + piece[at + 1 :]
        for _ in range(2 if draw.random() < weather.duplicate else 1):
            await self._stream.send(piece)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def bad_pair(seed: int, there: Weather = FAIR, back: Weather = FAIR) -> tuple[ByteStream, ByteStream]:
    """Two ends of a connection, with the weather on the way there and on the way back."""
    near, far = pair()
    draw = random.Random(seed)
    return BadStream(near, there, random.Random(draw.random())), BadStream(far, back, random.Random(draw.random()))


class BadNetwork:
    """The memory transport with weather, which can change while nodes talk. `dialled` counts connections."""

    def __init__(self, seed: int, there: Weather = FAIR, back: Weather = FAIR) -> None:
        """`there` is the weather from who dials, `back` towards it."""
        self.there = there
        self.back = back
        self.dialled = 0
        self._draw = random.Random(seed)
        self._network = Network()

    def clear_up(self) -> None:
        """Fair weather from the next connection on."""
        self.there = self.back = FAIR

    def provider(self) -> Provider:
        """The transport `memory` on this network."""
        return replace(self._network.provider(), open=self._open)

    @asynccontextmanager
    async def _open(self, config: MemoryConfig, context: Context) -> AsyncIterator[Duplex]:
        async with self._network.provider().open(config, Spoiling(self, context)) as transport:
            yield BadTransport(self, transport)

    def spoil(self, stream: ByteStream, weather: Weather) -> ByteStream:
        """One end of a connection; the weather is for what it sends."""
        return BadStream(stream, weather, random.Random(self._draw.random()))


class Spoiling:
    """What the memory transport uses of a node, with the way back in its weather."""

    def __init__(self, network: BadNetwork, context: Context) -> None:
        self._network = network
        self._context = context
        self.report = context.report

    async def accept_stream(self, stream: ByteStream, peer: Peer) -> None:
        await self._context.accept_stream(self._network.spoil(stream, self._network.back), peer)


class BadTransport:
    """Implements `api.Duplex`."""

    schemes: Final = frozenset({SCHEME})
    physics: Final = Physics(latency=0.0)

    def __init__(self, network: BadNetwork, transport: Duplex) -> None:
        self._network = network
        self._transport = transport

    @property
    def address(self) -> str:
        return self._transport.address

    async def connect(self, address: str) -> ByteStream:
        stream = await self._transport.connect(address)
        self._network.dialled += 1
        return self._network.spoil(stream, self._network.there)

    async def run(self) -> None:
        await self._transport.run()
