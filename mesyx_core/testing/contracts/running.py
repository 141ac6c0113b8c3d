"""What holds for every role that runs: it says when it is up, and stops when it is told."""

from __future__ import annotations

import socket
from typing import ClassVar

import anyio

from mesyx_core.api import Misconfigured
from mesyx_core.testing.contract import STOP_SECONDS, holds, lacks, refused
from mesyx_core.testing.contracts.provider import ProviderContract


class RunningContract(ProviderContract, defines=True):
    """Ingresses, accesses and duplex transports."""

    async def test_it_says_when_it_is_up(self) -> None:
        async with self.running() as (_, context):
            assert context.reported[-1][0] == "up"

    async def test_it_runs_until_it_is_told_to_stop(self) -> None:
        ended = anyio.Event()
        async with self.opened() as (role, context), anyio.create_task_group() as tasks:

            async def run() -> None:
                await role.run()
                ended.set()

            tasks.start_soon(run)
            await context.up.wait()
            await anyio.sleep(0.1)
            assert not ended.is_set(), "run() returned by itself"
            tasks.cancel_scope.cancel()

    async def test_it_stops_in_time(self) -> None:
        with anyio.fail_after(STOP_SECONDS):
            async with self.running():
                pass

    async def test_it_starts_again(self) -> None:
        for _ in range(2):
            async with self.running() as (_, context):
                assert context.reported[-1][0] == "up"


class ListeningContract(RunningContract, defines=True):
    """Of those that run: whether they listen on this node's sockets."""

    KNOWN = {"listens": "binds an address of this node"}
    listen: ClassVar[str] = "listen"
    """The config key with the address to bind."""

    @holds("listens")
    async def test_it_binds_what_the_config_says(self) -> None:
        async with self.running() as (_, context):
            assert context.bound, "it bound nothing"
            assert all(address.rpartition(":")[2] != "0" for address in context.bound)

    @holds("listens")
    async def test_a_port_in_use_is_a_fault_of_the_config(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            async with self.opened(**{self.listen: address}) as (role, _):
                with refused(Misconfigured):
                    await role.run()

    @holds("listens")
    async def test_who_connects_and_leaves_disturbs_nobody(self) -> None:
        async with self.running() as (_, context):
            host, _, port = context.bound[0].rpartition(":")
            for said in (b"", b"\x00\xff\r\n", b"GET / HTTP/1.0\r\n\r\n", b"a" * 100_000):
                try:
                    async with await anyio.connect_tcp(host, int(port)) as stream:
                        await stream.send(said)
                except (OSError, anyio.BrokenResourceError):
                    continue  # turned away: its right
            async with await anyio.connect_tcp(host, int(port)):
                assert context.reported[-1][0] == "up"
            assert context.faults == [], "what strangers say is no fault of the plugin"

    @holds("listens")
    async def test_it_stops_while_somebody_is_connected(self) -> None:
        with anyio.fail_after(STOP_SECONDS + 1):
            async with self.running() as (_, context):
                host, _, port = context.bound[0].rpartition(":")
                stream = await anyio.connect_tcp(host, int(port))
            await stream.aclose()

    @lacks("listens")
    async def test_it_binds_nothing(self) -> None:
        async with self.running() as (_, context):
            assert not context.bound, 'declare "listens"'
