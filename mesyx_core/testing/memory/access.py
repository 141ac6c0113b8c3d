"""An access for tests: a protocol of a few lines over a socket, to read a store and to submit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import BaseModel, ConfigDict

from mesyx_core.api import Bytes, Context, Locked, LoginFailed, Message, MesyxError, Peer, Provider, View
from mesyx_core.testing.samples import whole
from mesyx_core.wire.sasl import plain_proof

LINE: Final = 1024
LARGEST: Final = 16 << 20
ALL: Final = ((1, 2**32 - 1),)


class DeskConfig(BaseModel):
    """`[access.desk]`"""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    listen: str = "127.0.0.1:0"
    """Address to listen on, host:port."""


class Desk:
    """Implements `api.Access`. A program says `NAME PASSWORD`, is told `ok`, `no` or `later`, then says `read` or
    `send RECIPIENT SIZE`; sizes come before what is sent or read, in either direction."""

    def __init__(self, config: DeskConfig, context: Context) -> None:
        self._config = config
        self._context = context

    async def run(self) -> None:
        listener = await self._context.serve(self._config.listen, self._serve)
        self._context.report("up", f"listening on {listener.address}")
        await anyio.sleep_forever()

    async def _serve(self, stream: ByteStream, peer: Peer) -> None:
        try:
            await self._talk(stream, peer)
        except (anyio.IncompleteRead, anyio.DelimiterNotFound):
            return  # gone, or no program of ours

    async def _talk(self, stream: ByteStream, peer: Peer) -> None:
        if not peer.local:
            return await stream.send(b"no\n")
        lines = BufferedByteReceiveStream(stream)
        try:
            view = await self._login((await lines.receive_until(b"\n", LINE)).decode("utf-8", "replace"))
        except LoginFailed:
            return await stream.send(b"no\n")
        except Locked:
            return await stream.send(b"later\n")
        peer.welcome()
        await stream.send(b"ok\n")
        order = (await lines.receive_until(b"\n", LINE)).decode("utf-8", "replace").split()
        if order == ["read"]:
            await self._read(stream, view)
        elif len(order) == 3 and order[0] == "send" and order[2].isdecimal() and int(order[2]) <= LARGEST:
            body = Bytes(await lines.receive_exactly(int(order[2])))
            await self._send(stream, view, order[1], body)

    async def _send(self, stream: ByteStream, view: View, recipient: str, body: Bytes) -> None:
        now, sender = self._context.now(), view.identities[0]
        message = Message(kind="mail", time=now, direction="out", sender=sender, recipients=(recipient,), body=body)
        try:
            await view.submit(message)
        except MesyxError:
            await stream.send(b"no\n")
        else:
            await stream.send(b"ok\n")

    async def _login(self, line: str) -> View:
        name, _, password = line.partition(" ")
        return await self._context.login(name, plain_proof(password))

    async def _read(self, stream: ByteStream, view: View) -> None:
        (inbox,) = await view.mailboxes(["INBOX"])
        async for batch in view.content(inbox.id, ALL):
            for _, body in batch:
                await stream.send(b"%d\n" % body.size + await whole(body))
        await stream.send(b"end\n")


@asynccontextmanager
async def open_desk(config: DeskConfig, context: Context) -> AsyncIterator[Desk]:
    """Opens the access, not listening yet."""
    yield Desk(config, context)


def access() -> Provider:
    """`desk`"""
    return Provider(name="desk", config=DeskConfig, open=open_desk, summary="Reads and submits by a few lines")
