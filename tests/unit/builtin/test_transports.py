"""The transports that come with the core move bytes both ways and say where they can be reached."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from pydantic import ValidationError

from mesyx_core.api import Duplex, Provider
from mesyx_core.builtin import mesyx_transports
from mesyx_core.builtin.tcp import TcpConfig
from mesyx_core.testing import DuplexContract, StandIn

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def provider(name: str) -> Provider:
    return next(one for one in mesyx_transports() if one.name == name)


@asynccontextmanager
async def running(one: Provider, listen: str) -> AsyncIterator[Duplex]:
    async with (
        StandIn() as host,
        one.open(one.config(listen=listen), host) as transport,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(transport.run)
        await host.up.wait()
        yield transport
        tasks.cancel_scope.cancel()


class TestMemory(DuplexContract):
    provider = provider("memory")
    config = {"listen": "mx1"}
    capabilities = frozenset({"listens", "half_close"})


class TestTcp(DuplexContract):
    provider = provider("tcp")
    config = {"listen": "127.0.0.1:0"}
    capabilities = frozenset({"listens", "half_close", "via"})


async def test_two_nodes_of_one_process_meet_by_name() -> None:
    one = provider("memory")
    async with running(one, "mx1"), running(one, "") as other:
        assert other.address == ""
        stream = await other.connect("memory://mx1")
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        await stream.aclose()


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
