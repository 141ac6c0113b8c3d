"""The listening side: a small web server, on one path of which nodes are taken."""

from __future__ import annotations

from typing import Final, NamedTuple

import h11
from anyio.abc import ByteStream
from wsproto.connection import Connection, ConnectionType
from wsproto.utilities import generate_accept_token

LONGEST_HEAD: Final = 8 << 10
_READ: Final = 8 << 10
NEUTRAL: Final = b"It works.\n"
VERSION: Final = b"13"


class Taken(NamedTuple):
    """A peer that asked for a WebSocket on the right path."""

    engine: Connection
    first: bytes
    """What it sent after the handshake."""


async def handshake(stream: ByteStream, path: str) -> Taken | None:
    """Read one request and answer it: with an upgrade where it asks for one on `path`, else with a few neutral bytes.
    None when there is nothing more to do. Raises what the stream raises."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
    try:
        request = await _request(stream, http)
    except h11.RemoteProtocolError as error:
        await _answer(stream, http, error.error_status_hint, b"")
        return None
    if request is None:
        return None
    key = _wanted(request, path)
    if key is not None:
        return await _upgrade(stream, http, key)
    if request.method not in (b"GET", b"HEAD"):
        await _answer(stream, http, 405, b"")
    elif _path(request) in (path, "/"):
        await _answer(stream, http, 200, NEUTRAL)
    else:
        await _answer(stream, http, 404, b"")
    return None


async def _request(stream: ByteStream, http: h11.Connection) -> h11.Request | None:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        try:
            http.receive_data(await stream.receive(_READ))
        except EOFError:
            return None


def _path(request: h11.Request) -> str:
    return request.target.split(b"?")[0].decode("ascii", "replace")


def _wanted(request: h11.Request, path: str) -> bytes | None:
    """The key of a proper opening handshake on `path` (RFC 6455, section 4.2.1), or None."""
    headers = {bytes(name): bytes(value) for name, value in request.headers}
    asked = (
        request.method == b"GET"
        and _path(request) == path
        and _lists(headers.get(b"upgrade", b""), b"websocket")
        and _lists(headers.get(b"connection", b""), b"upgrade")
        and headers.get(b"sec-websocket-version") == VERSION
    )
    key = headers.get(b"sec-websocket-key", b"")
    return key if asked and len(key) == 24 else None


def _lists(value: bytes, word: bytes) -> bool:
    return word in (part.strip().lower() for part in value.split(b","))


async def _upgrade(stream: ByteStream, http: h11.Connection, key: bytes) -> Taken:
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", generate_accept_token(key).decode("ascii")),
    ]
    await stream.send(http.send(h11.InformationalResponse(status_code=101, headers=headers)) or b"")
    return Taken(Connection(ConnectionType.SERVER), http.trailing_data[0])


async def _answer(stream: ByteStream, http: h11.Connection, status: int, body: bytes) -> None:
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    try:
        parts = (
            http.send(h11.Response(status_code=status, headers=headers)),
            http.send(h11.Data(data=body)),
            http.send(h11.EndOfMessage()),
        )
    except h11.LocalProtocolError:
        return
    await stream.send(b"".join(part for part in parts if part))
