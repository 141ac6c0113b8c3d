"""The transports that come with the core move bytes both ways and say where they can be reached."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, TaskGroup
from pydantic import ValidationError

from mesyx_core.api import Duplex, Permanent, Provider, Temporary
from mesyx_core.builtin import mesyx_transports
from mesyx_core.builtin.tcp import TcpConfig
from mesyx_core.testing.context import At, StandIn

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Host(StandIn):
    """Serves streams on loopback and echoes."""

    def __init__(self, tasks: TaskGroup) -> None:
        super().__init__()
        self.tasks = tasks
        self.up = anyio.Event()

    async def serve(self, address: str, on: Callable[[ByteStream, Any], Awaitable[None]]) -> At:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.tasks.start_soon(listener.serve, lambda stream: on(stream, At()))
        return At(port=listener.extra(SocketAttribute.local_port))

    async def accept_stream(self, stream: ByteStream, peer: Any) -> None:
        async for data in stream:
            await stream.send(data)

    def report(self, state: Any, why: str = "") -> None:
        self.up.set()


def provider(name: str) -> Provider:
    return next(one for one in mesyx_transports() if one.name == name)


@asynccontextmanager
async def running(one: Provider, listen: str) -> AsyncIterator[Duplex]:
    async with anyio.create_task_group() as tasks:
        host = Host(tasks)
        async with one.open(one.config(listen=listen), host) as transport:
            tasks.start_soon(transport.run)
            await host.up.wait()
            yield transport
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("name", "listen"), [("memory", "mx1"), ("tcp", "127.0.0.1:0")])
async def test_bytes_pass_both_ways(name: str, listen: str) -> None:
    async with running(provider(name), listen) as transport:
        assert transport.address.startswith(f"{name}://")
        data = os.urandom(1 << 20)
        stream = await transport.connect(transport.address)
        heard = b""
        async with anyio.create_task_group() as group:
            group.start_soon(stream.send, data)
            while len(heard) < len(data):
                heard += await stream.receive()
        assert heard == data
        await stream.aclose()


async def test_two_nodes_of_one_process_meet_by_name() -> None:
    one = provider("memory")
    async with running(one, "mx1"), running(one, "") as other:
        assert other.address == ""
        stream = await other.connect("memory://mx1")
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        await stream.aclose()


async def test_where_nobody_listens_is_temporary_and_nonsense_is_not() -> None:
    async with running(provider("memory"), "") as memory, running(provider("tcp"), "") as tcp:
        with pytest.raises(Temporary):
            await memory.connect("memory://nobody")
        for transport in (memory, tcp):
            for address in ("", "https://example.org", "tcp://", "tcp://host", "memory://"):
                with pytest.raises(Permanent):
                    await transport.connect(address)


async def test_a_wildcard_is_no_address_to_dial() -> None:
    one = provider("tcp")
    async with one.open(TcpConfig(listen="0.0.0.0:7440"), StandIn()) as transport:
        assert transport.address == ""
    outside = TcpConfig(listen="0.0.0.0:7440", address="tcp://mx1.example.org:7440")
    async with one.open(outside, StandIn()) as transport:
        assert transport.address == "tcp://mx1.example.org:7440"


@pytest.mark.parametrize("address", ["mx1.example.org", "tcp://mx1.example.org", "https://x:1", "tcp://x:notaport"])
async def test_an_address_that_cannot_be_dialled_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        TcpConfig(address=address)
