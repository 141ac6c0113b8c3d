"""Nodes reach each other over real HTTPS; to anybody else it is a dull web server."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from mesyx_https import mesyx_transports
from mesyx_https.config import HttpsConfig, parse
from mesyx_https.transport import Https
from mesyx_https.websocket import WebSocket
from pydantic import ValidationError

from mesyx_core.api import Permanent, Temporary
from mesyx_core.testing import StandIn, soon

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(ping: float = 25.0, **config: Any) -> AsyncIterator[tuple[Https, StandIn]]:
    async with StandIn() as host, anyio.create_task_group() as tasks:
        https = Https(HttpsConfig(listen="127.0.0.1:0", **config), host, ping=ping)
        tasks.start_soon(https.run)
        await host.up.wait()
        yield https, host
        tasks.cancel_scope.cancel()


async def read(stream: ByteStream, size: int) -> bytes:
    data = b""
    with anyio.fail_after(10):
        while len(data) < size:
            data += await stream.receive()
    return data


async def raw(https: Https, request: bytes) -> bytes:
    """What the server answers, over TLS, until it closes."""
    port = int(https.address.rpartition(":")[2].partition("/")[0])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with await anyio.connect_tcp("127.0.0.1", port, ssl_context=context, tls_standard_compatible=False) as stream:
        await stream.send(request)
        answer = b""
        with anyio.fail_after(5):
            try:
                while True:
                    answer += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return answer


@pytest.mark.parametrize("mode", ["implicit", "off"])
@pytest.mark.parametrize("path", ["", "/mesyx", "/a/b"])
async def test_bytes_pass_both_ways(mode: str, path: str) -> None:
    async with serving(tls={"mode": mode}, path=path) as (https, _):
        assert https.address.startswith("https://" if mode == "implicit" else "http://")
        data = os.urandom(300_000)
        async with await https.connect(https.address) as stream, anyio.create_task_group() as group:
            group.start_soon(stream.send, data)
            assert await read(stream, len(data)) == data


async def test_small_pieces_are_given_as_asked_for() -> None:
    async with serving() as (https, _), await https.connect(https.address) as stream:
        await stream.send(b"abcdef")
        assert [await stream.receive(4), await stream.receive(4)] == [b"abcd", b"ef"]


async def test_closing_one_end_ends_the_other() -> None:
    async with serving() as (https, host):
        stream = await https.connect(https.address)
        await stream.send(b"x")
        await read(stream, 1)
        await stream.aclose()
        with pytest.raises((anyio.ClosedResourceError, anyio.EndOfStream)):
            await stream.receive()
        assert host.taken == 1


@pytest.mark.parametrize("target", [b"/", b"/mesyx", b"/mesyx?x=1"])
async def test_a_browser_sees_a_small_neutral_answer(target: bytes) -> None:
    async with serving(path="/mesyx") as (https, host):
        answer = await raw(https, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nIt works.\n")
        assert b"esyx" not in answer
        assert not host.taken


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"EHLO x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000, b"431"),
        (
            b"GET /other HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            b"404",
        ),
    ],
)
async def test_other_requests_are_refused(request_: bytes, status: bytes) -> None:
    async with serving() as (https, host):
        assert (await raw(https, request_)).split(b" ")[1] == status
        assert not host.taken


async def test_what_is_no_websocket_after_the_upgrade_ends_it() -> None:
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with serving() as (https, _):
        assert (await raw(https, upgrade + b"\xff" * 100)).startswith(b"HTTP/1.1 101")
        assert https.address  # still serving
        async with await https.connect(https.address) as stream:
            await stream.send(b"x")
            assert await read(stream, 1) == b"x"


async def test_an_idle_peer_is_pinged_and_one_that_is_gone_is_dropped() -> None:
    async with serving(ping=0.05) as (https, host):
        stream = await https.connect(https.address)
        assert isinstance(stream, WebSocket)
        receiving = anyio.Event()

        async def receive() -> None:
            receiving.set()
            with pytest.raises((anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)):
                await stream.receive()

        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.sleep(0.5)
            assert stream.heard > 3  # pings and pongs, both ways
            await host.streams[0].aclose()


async def test_a_peer_that_stops_reading_is_dropped() -> None:
    async with serving(ping=0.05) as (https, host):
        stream = await https.connect(https.address)  # nobody receives on it, so it answers no ping
        await soon("that it is dropped", lambda: not https._open)
        assert isinstance(stream, WebSocket)
        assert stream.closed
        assert host.taken == 1


async def test_an_address_that_leads_elsewhere_is_told_as_such() -> None:
    async with serving(path="/mesyx") as (https, _):
        with pytest.raises(Temporary, match="takes no nodes at /elsewhere"):
            await https.connect(https.address.replace("/mesyx", "/elsewhere"))
        with pytest.raises(Permanent):
            await https.connect("ftp://example.org")


@pytest.mark.parametrize(
    ("address", "connect", "authority", "path"),
    [
        ("https://mx1.example.org:8443", "mx1.example.org:8443", "mx1.example.org:8443", "/"),
        ("https://example.org/mesyx", "example.org:443", "example.org", "/mesyx"),
        ("https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443", "[2001:db8::1]:8443", "/x"),
        ("http://127.0.0.1:80/", "127.0.0.1:80", "127.0.0.1", "/"),
    ],
)
async def test_addresses(address: str, connect: str, authority: str, path: str) -> None:
    target = parse(address)
    assert (target.connect, target.authority, target.path) == (connect, authority, path)


@pytest.mark.parametrize(
    "config",
    [
        {"address": "mx1.example.org"},
        {"address": "https://a/b?c"},
        {"path": "no-slash"},
        {"tls": {"mode": "starttls"}},
        {"listem": "x"},
    ],
)
async def test_a_config_that_cannot_work_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpsConfig.model_validate(config)


async def test_the_path_is_that_of_the_address_unless_told_otherwise() -> None:
    assert HttpsConfig(address="https://example.org/mesyx").taken == "/mesyx"
    assert HttpsConfig(address="https://example.org/mesyx", path="/").taken == "/"
    assert HttpsConfig().taken == "/"


async def test_the_plugin_declares_one_transport() -> None:
    (provider,) = mesyx_transports()
    async with provider.open(HttpsConfig(), StandIn()) as https:
        assert https.schemes == {"https", "http"}
        assert https.address == ""
