"""A listener, its limits towards strangers, and its sessions; and the ingress, which is one that takes in from all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from mesyx_core.api import Context, Peer, Tls
from mesyx_core.wire.limits import Buckets, Connections
from mesyx_smtp import replies
from mesyx_smtp.config import IngressConfig, ServerConfig
from mesyx_smtp.engine import Engine, always
from mesyx_smtp.session import Session

GRACE = 5.0
"""Seconds that messages under way get when the instance stops."""


class Server:
    """One section of the config that listens for SMTP."""

    def __init__(self, config: ServerConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.hostname = config.hostname or context.name
        self.tls: Tls = context.tls(config.tls)
        self.implicit = self.tls.mode == "implicit"
        self.limits = config.limits
        self._connections = Connections(config.connections, config.connections_per_peer)
        self._buckets = (
            Buckets(config.messages_per_second, config.messages_burst, context.monotonic)
            if config.messages_per_second is not None
            else None
        )
        self._sessions: set[Session] = set()
        self._stopping = False
        self._empty = anyio.Event()

    async def run(self) -> None:
        """Serve until cancelled; then messages under way get `GRACE`, all others are told 421."""
        self._stopping = False
        first = self.tls.context if self.implicit else None
        listener = await self.context.listen(self.config.listen, self.session, tls=first)
        self.context.report("up", f"listening on {listener.address}")
        try:
            await anyio.sleep_forever()
        finally:
            await self._stop()

    def session(self, peer: Peer) -> Session:
        """A fresh session for a connection from `peer`."""
        engine = Engine(self.hostname, self.limits, tls=self.tls.mode == "starttls", admit=self.admit(peer))
        return Session(self, peer, engine)

    def admit(self, peer: Peer) -> Callable[[], bool]:
        """Whether one more message may begin now."""
        if self._buckets is None:
            return always
        bucket = self._buckets.of
        return lambda: bucket(peer.host).take()

    def enter(self, session: Session) -> bytes | None:
        """Count a new connection; if there are enough, how it is turned away."""
        if self._stopping:
            return replies.SHUTDOWN
        if not self._connections.enter(session.peer.host):
            return replies.TOO_MANY_CONNECTIONS
        self._sessions.add(session)
        return None

    def leave(self, session: Session) -> None:
        """The connection is over, and its task done. May be called again."""
        if session not in self._sessions:
            return
        self._sessions.remove(session)
        self._connections.leave(session.peer.host)
        if self._stopping and not self._sessions:
            self._empty.set()

    async def _stop(self) -> None:
        self._stopping = True
        self._empty = anyio.Event()
        for session in list(self._sessions):
            session.shutdown()
        if self._sessions:
            with anyio.move_on_after(GRACE, shield=True):
                await self._empty.wait()
        for session in list(self._sessions):
            session.abort()


@asynccontextmanager
async def open_ingress(config: IngressConfig, context: Context) -> AsyncIterator[Server]:
    """`Provider.open`."""
    yield Server(config, context)
