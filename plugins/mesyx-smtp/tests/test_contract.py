"""The ingress is certified: nothing is acknowledged that was not kept."""

from __future__ import annotations

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from mesyx_smtp import mesyx_ingresses

from mesyx_core.testing import IngressContract, Offer, StandIn


class TestMx(IngressContract):
    provider = mesyx_ingresses()[0]
    config = {"listen": "127.0.0.1:0"}
    capabilities = frozenset({"listens", "mail", "recipients", "large"})

    async def offer(self, context: StandIn, offer: Offer) -> bool:
        host, _, port = context.bound[0].rpartition(":")
        stuffed = offer.body.replace(b"\r\n.", b"\r\n..")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            lines = BufferedByteReceiveStream(stream)

            async def ask(said: bytes) -> bytes:
                await stream.send(said)
                while (line := await lines.receive_until(b"\r\n", 1000))[3:4] == b"-":
                    pass
                return line[:3]

            await ask(b"")
            await ask(b"EHLO client\r\n")
            await ask(f"MAIL FROM:<{offer.sender}>\r\n".encode())
            if await ask(f"RCPT TO:<{offer.recipient}>\r\n".encode()) != b"250" or await ask(b"DATA\r\n") != b"354":
                return False
            return await ask(stuffed + b".\r\n") == b"250"
