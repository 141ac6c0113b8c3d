"""What one open instance may use of the node: see `mesyx_core.api.Context`, whose promises this keeps."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ByteStream
from pydantic import JsonValue

from mesyx_core.api import Delivery, Health, Message, Misconfigured, Refused, Verdict, View
from mesyx_core.node import sockets
from mesyx_core.node.certificates import ListenerTls, listener_tls
from mesyx_core.node.clock import now
from mesyx_core.node.doors import Peer
from mesyx_core.node.faults import place
from mesyx_core.node.sockets import Bound
from mesyx_core.wire.tls import TlsSettings

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.instances import Running


class Rows:
    """Sealed small values of one instance. See `mesyx_core.api.State`."""

    def __init__(self, node: Node, space: str) -> None:
        self._node = node
        self._space = space

    async def get(self, key: str) -> bytes | None:
        return await self._node.rows.get(self._space, key)

    async def put(self, changes: Mapping[str, bytes | None]) -> None:
        await self._node.rows.put(self._space, changes)


class InstanceContext:
    """One for each instance; what it bound is closed when the instance closes."""

    def __init__(self, node: Node, instance: Running) -> None:
        self._node = node
        self._instance = instance
        self.state = Rows(node, f"instance/{instance.path}")

    @property
    def instance(self) -> str:
        return self._instance.name

    @property
    def name(self) -> str:
        return self._node.config.node.name

    def now(self) -> datetime:
        return now()

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def dial(
        self, address: str, *, tls: bool = False, via: str | None = None, bind: str | None = None
    ) -> ByteStream:
        host, port = sockets.split(address, "address")
        stream: ByteStream
        if via is not None:
            stream = await self._node.dialer(via).dial(host, port)
        else:
            stream = await sockets.dial(address, bind=bind)
        return await sockets.secure(stream, host) if tls else stream

    async def serve(self, address: str, on: Callable[[ByteStream, Peer], Awaitable[None]]) -> Bound:
        bound = self._bind(address)
        scope = self._instance.scope
        scope.start_soon(sockets.serve_streams, bound, self._node.doors, scope, on)
        return sockets.named(bound)

    async def listen(
        self, address: str, protocol: Callable[[Peer], Any], *, tls: ssl.SSLContext | None = None
    ) -> Bound:
        bound = self._bind(address)
        where = sockets.named(bound)
        for server in await sockets.serve_protocols(bound, self._node.doors, protocol, tls):
            self._instance.closers.append(server.close)
        return where

    def _bind(self, address: str) -> list[socket.socket]:
        try:
            return sockets.bind(address, self._node.handed)
        except Misconfigured as error:
            place = f"{self._node.config.file}: [{self._instance.path}]"
            raise Misconfigured(f"{place} {error.what}", error.remedy) from error

    def tls(self, settings: object) -> ListenerTls:
        if not isinstance(settings, TlsSettings):
            raise TypeError("the tls table of a config is a mesyx_core.wire.tls.TlsSettings")
        made = listener_tls(settings, self._node.home.state / "tls", self._node.config.node.name, self.now())
        self._instance.self_signed = made.own
        return made

    def deliver(self, draft: Message) -> AbstractAsyncContextManager[Delivery]:
        return self._node.intake.deliver(draft)

    async def accept(self, messages: Sequence[Message], state: Mapping[str, bytes] | None = None) -> Sequence[Verdict]:
        return await self._node.accept(messages, f"instance/{self._instance.path}", state or {})

    async def signal(self, name: str, value: JsonValue) -> None:
        """An instance speaks for no one store, so there is nobody to tell; see `AccountContext`."""

    async def login(self, name: str, proof: Callable[[bytes], bool]) -> View:
        return await self._node.logins.open(name, proof)

    def salt(self, name: str) -> bytes:
        return self._node.logins.salt(name)

    def report(self, state: Health, why: str = "") -> None:
        self._instance.report(state, why)

    async def accept_stream(self, stream: ByteStream, peer: Peer) -> None:
        if self._instance.kind != "transport":
            raise Refused("only a transport may bring streams of other nodes")
        try:
            await self._node.exchange.accept(stream, peer.welcome)
        except Exception as error:
            log.error("a session failed: %s at %s", type(error).__name__, place(error))
            await anyio.aclose_forcefully(stream)
