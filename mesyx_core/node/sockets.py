"""The only listening sockets of a node: limits overall and per peer are the same for every plugin."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream, TaskGroup
from anyio.streams.tls import TLSStream

from mesyx_core.api.errors import Misconfigured, Temporary
from mesyx_core.node.doors import Doors, Peer
from mesyx_core.node.faults import place
from mesyx_core.node.systemd import NONE, HandedOver

HANDSHAKE_SECONDS: Final = 20.0
_RECEIVED: Final = 128
"""Where tcp_info has tcpi_bytes_received, of eight bytes (linux/tcp.h)."""
PAUSE: Final = 0.1
"""Seconds before accepting again when the system has no more descriptors or memory for connections."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound address."""

    address: str


def split(address: str, path: str = "listen") -> tuple[str, int]:
    """host:port, [v6]:port or :port. Raises Misconfigured."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise Misconfigured(f"{path}: {address!r} is not HOST:PORT", 'write something like "127.0.0.1:8443"')
    return host.strip("[]"), int(port)


def bind(address: str, handed: HandedOver = NONE) -> list[socket.socket]:
    """Bound, listening, non-blocking sockets for every address of the host; those that were handed over are taken.
    Raises Misconfigured when that cannot be.
    """
    host, port = split(address)
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found:
            ready = handed.take(family, where)
            if ready is not None:
                sockets.append(ready)
                continue
            each = socket.socket(family, kind, protocol)
            sockets.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.setblocking(False)
            each.bind(where if port or len(sockets) == 1 else (where[0], sockets[0].getsockname()[1], *where[2:]))
            each.listen(1024)
    except OSError as error:
        for each in sockets:
            each.close()
        raise Misconfigured(f"cannot listen on {address}: {_why(error)}", _remedy(error, address)) from error
    return sockets


def _why(error: OSError) -> str:
    return {errno.EADDRINUSE: "the port is in use", errno.EACCES: "this user may not"}.get(
        error.errno or 0, error.strerror or str(error)
    )


def _remedy(error: OSError, address: str) -> str:
    port = address.rpartition(":")[2]
    if error.errno == errno.EADDRINUSE:
        return f"stop the program that has it (`ss -ltnp 'sport = :{port}'` names it), or choose another port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need CAP_NET_BIND_SERVICE or socket activation; or choose a higher port"
    return "name an address of this machine"


def named(sockets: list[socket.socket]) -> Bound:
    host, port = sockets[0].getsockname()[:2]
    return Bound(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


async def serve_streams(
    sockets: list[socket.socket], doors: Doors, tasks: TaskGroup, on: Callable[[ByteStream, Peer], Awaitable[None]]
) -> None:
    """Accept until cancelled; one task a connection. What goes wrong with one connection ends that one alone."""

    async def handle(stream: SocketStream) -> None:
        peer = _remote(stream)
        scope = anyio.CancelScope()

        def end() -> None:
            transport = getattr(stream, "_transport", None)  # else what waits to be sent would keep it open
            if transport is not None:
                transport.abort()
            scope.cancel()

        if peer is None or not doors.enter(peer, partial(brought, stream.extra(SocketAttribute.raw_socket)), end):
            await anyio.aclose_forcefully(stream)
            return
        try:
            with scope:
                prepare(stream)
                async with stream:
                    await on(stream, peer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError):
            return
        except Exception as error:
            log.error("a connection failed: %s at %s", type(error).__name__, place(error))
        finally:
            doors.leave(peer)

    try:
        async with anyio.create_task_group() as group:
            for each in sockets:
                listener = await SocketListener.from_socket(each)
                group.start_soon(_accept, listener, handle, tasks)
    finally:
        for each in sockets:  # at once: whoever starts next may want the same port
            each.close()


def brought(connection: Any) -> int:
    """Bytes that have come over a TCP connection, as the system counts them (tcp_info of tcp(7)); 0 where it does
    not."""
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED + 8)
        return int.from_bytes(told[_RECEIVED:], sys.byteorder)
    except (AttributeError, OSError):
        return 0


def prepare(stream: SocketStream) -> None:
    """No delay for small writes, and no reading ahead of who reads. [anyio reads a fresh stream without bound, until a
    `receive` first had to wait; a peer that sends faster than it is read would fill the memory.]"""
    stream.extra(SocketAttribute.raw_socket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = getattr(stream, "_transport", None)  # there is none on trio, which reads when asked
    if transport is not None and not transport.is_closing():
        transport.pause_reading()


async def _accept(
    listener: SocketListener, handle: Callable[[SocketStream], Coroutine[Any, Any, None]], tasks: TaskGroup
) -> None:
    while True:
        try:
            stream = await listener.accept()
        except OSError as error:
            log.warning("a connection could not be accepted: %s", errno.errorcode.get(error.errno or 0, "OSError"))
            await anyio.sleep(PAUSE)
        else:
            tasks.start_soon(handle, stream)


def _remote(stream: SocketStream) -> Peer | None:
    """Who connected; None when the peer has gone again already."""
    try:
        remote = stream.extra(SocketAttribute.remote_address)
    except (AttributeError, OSError, anyio.TypedAttributeLookupError):  # anyio trips over a socket that was reset
        return None
    return Peer(str(remote[0]), int(remote[1]))


async def serve_protocols(
    sockets: list[socket.socket], doors: Doors, protocol: Callable[[Peer], Any], tls: ssl.SSLContext | None
) -> list[asyncio.Server]:
    """The same for asyncio protocols, behind TLS if there is a context. The caller closes the servers."""
    loop = asyncio.get_running_loop()
    patience = HANDSHAKE_SECONDS if tls is not None else None
    return [
        await loop.create_server(
            lambda: Doorkeeper(doors, protocol), sock=each, ssl=tls, ssl_handshake_timeout=patience
        )
        for each in sockets
    ]


class Doorkeeper(asyncio.Protocol):
    """Stands in until the peer is known and let in, then hands the transport to the engine's own protocol for good."""

    def __init__(self, doors: Doors, protocol: Callable[[Peer], Any]) -> None:
        self._doors = doors
        self._make = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        remote = transport.get_extra_info("peername") or ("", 0)
        peer = Peer(str(remote[0]), int(remote[1]))
        abort: Callable[[], None] = transport.abort  # type: ignore[attr-defined]  # every stream transport has it
        if not self._doors.enter(peer, partial(brought, transport.get_extra_info("socket")), abort):
            abort()
            return
        inner = self._make(peer)
        lost = inner.connection_lost
        inside = True

        def leave(error: Exception | None) -> None:
            nonlocal inside
            if (
                inside
            ):  # of a failed STARTTLS handshake the loop tells sometimes once, sometimes never, the engine always
                inside = False
                self._doors.leave(peer)
            lost(error)

        inner.connection_lost = leave
        transport.set_protocol(inner)
        inner.connection_made(transport)


def _unreached(error: BaseException) -> str:
    """In a few words; anyio wraps what the system said, one error for each address that was tried."""
    causes = [error.__cause__, *getattr(error.__cause__, "exceptions", ())]
    said = next((e for e in causes if isinstance(e, OSError)), error)
    if isinstance(said, ConnectionRefusedError):
        return "nothing listens there"
    return getattr(said, "strerror", None) or "no answer"


async def dial(address: str, deadline: float = 30, *, bind: str | None = None) -> SocketStream:
    """Open a TCP stream, from the local address `bind` if given. Raises Temporary."""
    host, port = split(address, "address")
    try:
        with anyio.fail_after(deadline):
            stream = await anyio.connect_tcp(host, port, local_host=bind)
    except (OSError, TimeoutError) as error:
        raise Temporary(
            f"cannot reach {address} ({_unreached(error)})", "check the address, and that its node runs"
        ) from error
    prepare(stream)
    return stream


async def secure(stream: ByteStream, host: str, deadline: float = 30) -> ByteStream:
    """TLS over an open stream, with a certificate for `host` that an authority known to this system has signed.
    Raises Temporary; then the stream is closed."""
    try:
        with anyio.fail_after(deadline):
            return await TLSStream.wrap(stream, server_side=False, hostname=host, ssl_context=_verifying())
    except (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        await anyio.aclose_forcefully(stream)
        why = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "no answer"
        raise Temporary(
            f"no TLS with {host} ({why})", "check that the address is right and its certificate is valid for this name"
        ) from error


@cache
def _verifying() -> ssl.SSLContext:
    return ssl.create_default_context()
