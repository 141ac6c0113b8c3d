"""A stand-in for the node: an `api.Context` with real listeners on loopback and everything else in memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self, cast

import anyio
from anyio.abc import ByteStream, TaskGroup
from pydantic import JsonValue

from mesyx_core.api import (
    Delivery,
    Health,
    Listener,
    Locked,
    LoginFailed,
    Message,
    Misconfigured,
    Peer,
    Tls,
    Verdict,
    View,
)
from mesyx_core.node import sockets
from mesyx_core.node.doors import Doors
from mesyx_core.testing.clock import Clock
from mesyx_core.testing.intake import Intake
from mesyx_core.wire.sasl import make_verifier
from mesyx_core.wire.tls import TlsSettings, self_signed, server_context


@dataclass(frozen=True, slots=True)
class At:
    """A peer, or a listener's address."""

    host: str = "127.0.0.1"
    port: int = 0
    local: bool = True

    welcome: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MemoryTls:
    """TLS settings with a context."""

    mode: Literal["off", "starttls", "implicit"]
    context: ssl.SSLContext | None


class MemoryState:
    """Implements `api.State`."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def put(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value


class StandIn:
    """Implements `api.Context`. Enter it (`async with`) to have it serve streams; what it opened is closed at the end.

    Views are entered with `admit`; `intake` holds what came in and says what a node would. Without a `clock` time is
    real, but `sleep` only notes how long it was to be."""

    def __init__(self, instance: str = "test", *, local: bool = True, clock: Clock | None = None) -> None:
        self.instance = instance
        self.name = "node"
        self.state = MemoryState()
        self.intake = Intake()
        self.slept: list[float] = []
        self.reported: list[tuple[Health, str]] = []
        self.up = anyio.Event()
        """Something reported "up"."""
        self.listeners: list[asyncio.Server] = []
        self.bound: list[str] = []
        """Addresses that were bound."""
        self.dialled: list[tuple[str, str | None]] = []
        """Addresses that were dialled, and by way of whom."""
        self.streams: list[ByteStream] = []
        """What `dial` gave."""
        self.welcomed = 0
        """How often a connection was said to be somebody's who has logged in."""
        self.faults: list[Exception] = []
        """What was raised while a connection was served; a node would log its type."""
        self.signals: list[tuple[str, JsonValue]] = []
        self.taken = 0
        """Streams of other nodes that a transport brought."""
        self.locked: set[str] = set()
        """Stores whose keys are not open."""
        self._clock = clock
        self._local = local
        self._views: dict[str, tuple[View, list[bytes]]] = {}
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> bool | None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(*failure)
        finally:
            self.close()

    def admit(self, name: str, password: str, view: View) -> None:
        """Let `name` log in with `password`."""
        self._views.setdefault(name, (view, []))[1].append(make_verifier(password, self.salt(name)).pack())

    def now(self) -> datetime:
        return self._clock.now() if self._clock else datetime.now(UTC)

    def monotonic(self) -> float:
        return self._clock.monotonic() if self._clock else time.monotonic()

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self._clock:
            await self._clock.sleep(seconds)
        else:
            await anyio.lowlevel.checkpoint()

    async def dial(
        self, address: str, *, tls: bool = False, via: str | None = None, bind: str | None = None
    ) -> ByteStream:
        self.dialled.append((address, via))
        stream = await sockets.dial(address, bind=bind)
        self.streams.append(stream)
        return await sockets.secure(stream, sockets.split(address, "address")[0]) if tls else stream

    async def serve(self, address: str, on: Callable[[ByteStream, Peer], Awaitable[None]]) -> Listener:
        assert self._tasks is not None, "enter the stand-in first: async with StandIn() as context"

        async def noting(stream: ByteStream, peer: Peer) -> None:
            try:
                await on(stream, At(peer.host, peer.port, self._local, self._welcome))
            except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
            except Exception as error:
                self.faults.append(error)

        bound = sockets.bind(address)
        self._tasks.start_soon(sockets.serve_streams, bound, Doors(1000, 1000), self._tasks, noting)
        at = sockets.named(bound)
        self.bound.append(at.address)
        return at

    async def listen(
        self, address: str, protocol: Callable[[Peer], object], *, tls: ssl.SSLContext | None = None
    ) -> Listener:
        host, _, port = address.rpartition(":")
        make = cast(Callable[[], asyncio.BaseProtocol], lambda: protocol(At(local=self._local, welcome=self._welcome)))
        try:
            server = await asyncio.get_running_loop().create_server(make, host, int(port), ssl=tls)
        except OSError:
            raise Misconfigured(f"{address} is in use") from None
        self.listeners.append(server)
        at = At(host, server.sockets[0].getsockname()[1])
        self.bound.append(at.address)
        return at

    def _welcome(self) -> None:
        self.welcomed += 1

    def tls(self, settings: object) -> Tls:
        assert isinstance(settings, TlsSettings)
        if settings.mode == "off":
            return MemoryTls("off", None)
        with TemporaryDirectory() as folder:
            certificate, key = Path(folder) / "certificate", Path(folder) / "key"
            for path, pem in zip((certificate, key), self_signed("localhost", self.now()), strict=True):
                path.write_bytes(pem)
            return MemoryTls(settings.mode, server_context(certificate, key))

    def deliver(self, draft: Message) -> AbstractAsyncContextManager[Delivery]:
        return self.intake.deliver(draft)

    async def accept(self, messages: Sequence[Message], state: Mapping[str, bytes] | None = None) -> Sequence[Verdict]:
        return await self.intake.accept(messages, state, self.state.kept)

    async def signal(self, name: str, value: JsonValue) -> None:
        self.signals.append((name, value))

    async def login(self, name: str, proof: Callable[[bytes], bool]) -> View:
        view, verifiers = self._views.get(name, (None, []))
        if view is None or not any([proof(verifier) for verifier in verifiers]):
            raise LoginFailed("wrong name or app password")
        if name in self.locked:
            raise Locked(f"the store {name} is locked")
        return view

    def salt(self, name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()[:16]

    def report(self, state: Health, why: str = "") -> None:
        self.reported.append((state, why))
        if state == "up":
            self.up.set()

    async def accept_stream(self, stream: ByteStream, peer: Peer) -> None:
        """Answers as an echo does."""
        self.taken += 1
        async for data in stream:
            await stream.send(data)

    def close(self) -> None:
        """Stop listening."""
        for server in self.listeners:
            server.close()
