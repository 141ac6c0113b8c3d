"""The dialling side: TLS if the address says so, then the opening handshake."""

from __future__ import annotations

import base64
import hmac
import ssl
from collections.abc import Callable
from typing import Final

import anyio
import h11
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from wsproto.connection import Connection, ConnectionType
from wsproto.utilities import generate_accept_token

from mesyx_core.api import Temporary
from mesyx_https.config import Target
from mesyx_https.server import LONGEST_HEAD, VERSION
from mesyx_https.websocket import WebSocket

_READ: Final = 8 << 10


def outer_context() -> ssl.SSLContext:
    """Outer TLS hides what passes from onlookers; it is not relied on, the exchange proves the node's key inside.
    So no certificate is asked for: a node needs none that anybody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


async def upgrade(
    stream: ByteStream, target: Target, context: ssl.SSLContext, random: Callable[[int], bytes]
) -> WebSocket:
    """Make a stream that leads to the target's host a WebSocket. Raises Temporary when what answers is no node."""
    try:
        if target.tls:
            stream = await TLSStream.wrap(
                stream, hostname=target.host, ssl_context=context, server_side=False, standard_compatible=False
            )
        return await _handshake(stream, target, base64.b64encode(random(16)))
    except (ssl.SSLError, OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
        raise Temporary(f"{target.authority} broke off while it was opened ({type(error).__name__})") from None


async def _handshake(stream: ByteStream, target: Target, key: bytes) -> WebSocket:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
    headers = [
        ("Host", target.authority),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key.decode("ascii")),
        ("Sec-WebSocket-Version", VERSION.decode("ascii")),
    ]
    request = h11.Request(method="GET", target=target.path, headers=headers)
    await stream.send((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    try:
        answer = await _answer(stream, http)
    except h11.RemoteProtocolError:
        raise Temporary(f"{target.authority} does not speak HTTP", "check the address's port") from None
    accepted = b"".join(bytes(value) for name, value in answer.headers if name == b"sec-websocket-accept")
    if answer.status_code != 101 or not hmac.compare_digest(accepted, generate_accept_token(key)):
        raise Temporary(
            f"{target.authority} takes no nodes at {target.path} (status {answer.status_code})",
            "check the address's path, and that the web server passes upgrades on",
        )
    return WebSocket(stream, Connection(ConnectionType.CLIENT), http.trailing_data[0])


async def _answer(stream: ByteStream, http: h11.Connection) -> h11.Response | h11.InformationalResponse:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Response) or (
            isinstance(event, h11.InformationalResponse) and event.status_code == 101
        ):
            return event
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive(_READ))
