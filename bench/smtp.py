"""The SMTP server alone: engine and sockets, with a node that keeps nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import uvloop
from mesyx_smtp import mesyx_ingresses

from mesyx_core.api import ACCEPT, Message, Receipt, Verdict
from mesyx_core.testing.context import StandIn


class Nothing:
    """A Delivery into nowhere."""

    def __init__(self) -> None:
        self.size = 0

    async def recipient(self, address: str) -> Verdict:
        return ACCEPT

    async def trace(self, header: bytes) -> None:
        self.size += len(header)

    async def write(self, chunk: bytes) -> None:
        self.size += len(chunk)

    async def commit(self) -> Receipt:
        await asyncio.sleep(0)  # a real one waits for the disk
        return Receipt(verdicts={"all": ACCEPT}, trace="none")


class Node(StandIn):
    """Takes in everything."""

    @asynccontextmanager
    async def deliver(self, draft: Message) -> AsyncIterator[Nothing]:
        yield Nothing()


class Figure(NamedTuple):
    """One run."""

    connections: int
    messages: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


async def measure(connections: int, messages: int, size: int) -> Figure:
    """Send by smtp-source, over connections that are kept."""
    provider = mesyx_ingresses()[0]
    node = Node()
    config = provider.config.model_validate({"listen": "127.0.0.1:0", "tls": {"mode": "off"}})
    async with provider.open(config, node) as ingress:
        serving = asyncio.ensure_future(ingress.run())
        await asyncio.sleep(0.2)
        port = node.listeners[0].sockets[0].getsockname()[1]
        begun = time.monotonic()
        source = await asyncio.create_subprocess_exec(
            *("smtp-source", "-d", "-s", str(connections), "-m", str(messages), "-l", str(size)),
            *("-f", "bob@example.net", "-t", "alice@example.org", f"inet:127.0.0.1:{port}"),
        )
        if await source.wait():
            raise SystemExit("smtp-source failed")
        seconds = time.monotonic() - begun
        serving.cancel()
        await asyncio.wait([serving])
        node.close()
    return Figure(connections, messages, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="*", default=[10, 50])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    figures = []
    for connections in options.connections:
        with asyncio.Runner(loop_factory=loop) as runner:
            figures.append(runner.run(measure(connections, options.messages, options.size)))
    if options.json:
        print(json.dumps([{"connections": f.connections, "messages_per_second": round(f.rate)} for f in figures]))
        return
    for figure in figures:
        print(f"{figure.connections:4} connections  {figure.rate:8,.0f} messages/s of {options.size} bytes")


if __name__ == "__main__":
    main()
