"""Replies on their way out: gathered, sent in large pieces, and never far ahead of a slow reader."""

from __future__ import annotations

from typing import Protocol

PIECE = 1 << 16


class Wire(Protocol):
    """One connection, as its session sees it. Its methods raise Closed once it has ended."""

    @property
    def local(self) -> bool:
        """The peer is on this machine."""

    @property
    def secure(self) -> bool:
        """Under TLS."""

    @property
    def upgradable(self) -> bool:
        """STARTTLS can be had, and has not been."""

    @property
    def congested(self) -> bool:
        """The peer does not read as fast as it is written to."""

    def send(self, data: bytes | memoryview) -> None:
        """Write at once."""

    async def drain(self) -> None:
        """Wait until it is not congested."""

    async def line(self) -> bytes:
        """The next line that is no command."""

    def hold(self) -> None:
        """Read nothing more before TLS; raises Closed when more than STARTTLS has come already."""

    def admitted(self) -> None:
        """Somebody has logged in: larger limits."""


class Closed(Exception):
    """The connection has ended, or must."""


class Output:
    """What a session writes to."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    @property
    def full(self) -> bool:
        """Time to flush."""
        return self._size >= PIECE

    def push(self) -> None:
        """Send all at once; for little."""
        if self._parts:
            self._wire.send(self._take())

    async def flush(self) -> None:
        """Send all, as the peer reads it."""
        if not self._parts:
            return
        data = self._take()
        if len(data) <= 2 * PIECE:
            self._wire.send(data)
            await self._wire.drain()
            return
        view = memoryview(data)
        for at in range(0, len(view), PIECE):
            self._wire.send(view[at : at + PIECE])
            if self._wire.congested:
                await self._wire.drain()

    def _take(self) -> bytes:
        parts, self._parts, self._size = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)
