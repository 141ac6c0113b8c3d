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
from typing import Literal, cast

import anyio
from anyio.abc import ByteStream
from pydantic import JsonValue

from mesyx_core.api import (
    Delivery,
    Health,
    Listener,
    LoginFailed,
    Message,
    Misconfigured,
    Peer,
    Refused,
    Temporary,
    Tls,
    Verdict,
    View,
)
from mesyx_core.wire.sasl import make_verifier
from mesyx_core.wire.tls import TlsSettings, self_signed, server_context


@dataclass(frozen=True, slots=True)
class At:
    """A peer, or a listener's address."""

    host: str = "127.0.0.1"
    port: int = 0
    local: bool = True

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
    """Implements `api.Context`. Views are entered with `admit`; `sleep` only notes how long it was to be."""

    def __init__(self, instance: str = "test", *, local: bool = True) -> None:
        self.instance = instance
        self.name = "node"
        self.state = MemoryState()
        self.slept: list[float] = []
        self.reported: list[tuple[Health, str]] = []
        self.up = anyio.Event()
        """Something reported "up"."""
        self.listeners: list[asyncio.Server] = []
        self._local = local
        self._views: dict[str, tuple[View, list[bytes]]] = {}

    def admit(self, name: str, password: str, view: View) -> None:
        """Let `name` log in with `password`."""
        self._views.setdefault(name, (view, []))[1].append(make_verifier(password, self.salt(name)).pack())

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    async def dial(
        self, address: str, *, tls: bool = False, via: str | None = None, bind: str | None = None
    ) -> ByteStream:
        host, _, port = address.rpartition(":")
        try:
            return await anyio.connect_tcp(host.strip("[]"), int(port), local_host=bind)
        except OSError:
            raise Temporary(f"cannot reach {address}") from None

    async def serve(self, address: str, on: Callable[[ByteStream, Peer], Awaitable[None]]) -> Listener:
        raise Refused("this stand-in has protocols only")

    async def listen(
        self, address: str, protocol: Callable[[Peer], object], *, tls: ssl.SSLContext | None = None
    ) -> Listener:
        host, _, port = address.rpartition(":")
        make = cast(Callable[[], asyncio.BaseProtocol], lambda: protocol(At(local=self._local)))
        try:
            server = await asyncio.get_running_loop().create_server(make, host, int(port), ssl=tls)
        except OSError:
            raise Misconfigured(f"{address} is in use") from None
        self.listeners.append(server)
        return At(host, server.sockets[0].getsockname()[1])

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
        raise Refused("this stand-in takes nothing in")

    async def accept(self, messages: Sequence[Message], state: Mapping[str, bytes] | None = None) -> Sequence[Verdict]:
        raise Refused("this stand-in takes nothing in")

    async def signal(self, name: str, value: JsonValue) -> None:
        return None

    async def login(self, name: str, proof: Callable[[bytes], bool]) -> View:
        view, verifiers = self._views.get(name, (None, []))
        if view is None or not any([proof(verifier) for verifier in verifiers]):
            raise LoginFailed("wrong name or app password")
        return view

    def salt(self, name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()[:16]

    def report(self, state: Health, why: str = "") -> None:
        self.reported.append((state, why))
        if state == "up":
            self.up.set()

    async def accept_stream(self, stream: ByteStream, peer: Peer) -> None:
        raise Refused("this stand-in has no other nodes")

    def close(self) -> None:
        """Stop listening."""
        for server in self.listeners:
            server.close()
