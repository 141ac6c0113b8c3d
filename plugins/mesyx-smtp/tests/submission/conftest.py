"""A submission listener on loopback, with one store's view in memory behind it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mesyx_smtp import mesyx_accesses

from mesyx_core.testing.context import StandIn
from mesyx_core.testing.view import MemoryView


class Client:
    """The other end of a socket, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self) -> str:
        """One reply, its lines joined by |; empty at the end of the connection."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = await asyncio.wait_for(self.reader.readline(), 10)
            if not line:
                break
            lines.append(line.decode().removesuffix("\r\n"))
        return "|".join(lines)

    async def ask(self, *lines: str) -> str:
        """Send lines in one piece; what the last is answered."""
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        return (["", *[await self.says() for _ in lines]])[-1]

    async def tls(self) -> None:
        """STARTTLS, and hello again."""
        assert (await self.ask("STARTTLS"))[:3] == "220"
        await self.writer.start_tls(quiet_tls())
        await self.ask("EHLO client")

    async def mail(self, body: str, *to: str, sender: str = "alice@example.org", more: str = "") -> str:
        """Hand a message over; what its end is answered."""
        recipients = [f"RCPT TO:<{each}>" for each in to or ("bob@example.net",)]
        assert (await self.ask(f"MAIL FROM:<{sender}>{more}", *recipients))[:3] == "250"
        assert (await self.ask("DATA"))[:3] == "354"
        self.writer.write(body.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b".\r\n")
        return await self.says()


def quiet_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Desk:
    """A running listener."""

    def __init__(self, local: bool = True) -> None:
        self.node = StandIn("submission", local=local)
        self.view = MemoryView(identities=("alice@example.org", "j\u00f6rg@b\u00fccher.example"))
        self.node.admit("alice", "secret", self.view)

    @property
    def port(self) -> int:
        return int(self.node.listeners[-1].sockets[0].getsockname()[1])

    async def connect(self, **options: Any) -> Client:
        """A client that has said hello."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        assert (await client.says())[:3] == "220"
        await client.ask("EHLO client")
        return client

    async def enter(self) -> Client:
        """A client that has logged in, too."""
        client = await self.connect()
        assert await client.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==") == "235 2.7.0 Logged in"
        return client

    async def sent(self, at: int = -1) -> bytes:
        """A submitted message's bytes."""
        return b"".join([chunk async for chunk in self.view.submitted[at].body.read()])


@asynccontextmanager
async def running(*, local: bool = True, **config: Any) -> AsyncIterator[Desk]:
    """A listener while the scope is open."""
    desk = Desk(local)
    (provider,) = mesyx_accesses()
    model = provider.config.model_validate({"listen": "127.0.0.1:0", **config})
    async with provider.open(model, desk.node) as access:
        task = asyncio.get_running_loop().create_task(access.run())
        try:
            async with asyncio.timeout(10):
                await desk.node.up.wait()
            yield desk
        finally:
            task.cancel()
            await asyncio.wait([task])
            desk.node.close()


@pytest.fixture
def desk() -> Callable[..., Any]:
    return running
