"""A wire that reads transcripts, and a listener on loopback with a stand-in for the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from mesyx_smtp import replies
from mesyx_smtp.engine import Engine
from mesyx_smtp.events import Aborted, Close, Content, Recipient, StartTls
from mesyx_smtp.limits import Limits

from mesyx_core.api import ACCEPT, Receipt, Temporary, Verdict
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.intake import Intake

VERDICTS = {
    "gone@example.org": Verdict(word="reject"),
    "late@example.org": Verdict(word="reject", temporary=True, reason="Mailbox is being set up"),
    "moved@example.org": Verdict(word="reject", reason="5.1.6 Moved\r\nelsewhere \u00e9"),
}


class Wire:
    """Plays transcripts against an engine. C: lines are sent, with CRLF, in one piece up to the next S: line; with a lower-case c:
    Python escapes are read and nothing is added. S: lines are all that the engine says."""

    def __init__(self, **limits: int) -> None:
        self.engine = Engine("mx1", Limits(**limits), tls=True)
        self.engine.greet()
        self.verdicts = VERDICTS
        self.receipt: Receipt | Temporary = Receipt(verdicts={"alice@example.org": ACCEPT}, trace="4f21-7")
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.aborted = 0
        self.closed = False
        self._content = b""

    def play(self, transcript: str) -> None:
        said: list[str] = []
        sent = b""
        for line in [*transcript.strip().splitlines(), "S: "]:
            side, text = line.strip()[:1], line.strip()[3:]
            if side == "S":
                if sent:
                    assert said == []
                    said = self.send(sent)
                    sent = b""
                elif not said:
                    said = self.answer()
                if text:
                    assert said[:1] == [text]
                    said = said[1:]
            elif side == "C":
                sent += text.encode("utf-8", "surrogateescape") + b"\r\n"
            else:
                sent += text.encode().decode("unicode_escape").encode("latin-1")
        assert said == []

    def send(self, data: bytes) -> list[str]:
        self.engine.feed(data)
        return self.answer()

    def answer(self) -> list[str]:
        while (event := self.engine.next()) is not None:
            self._do(event)
        said = self.engine.output().decode()
        assert said == "" or said.endswith("\r\n")
        return said.split("\r\n")[:-1]

    def _do(self, event: object) -> None:
        transaction = self.engine.transaction
        if isinstance(event, Recipient):
            self.engine.recipient(self.verdicts.get(event.address, ACCEPT))
        elif isinstance(event, Content):
            self._content += event.data
            if not event.last:
                return
            if isinstance(self.receipt, Temporary):
                self.engine.fail(replies.failure(self.receipt))
            else:
                assert transaction is not None
                assert not isinstance(self.receipt, Temporary)
                self.messages.append((transaction.sender, list(transaction.recipients), self._content))
                self.engine.kept(self.receipt)
            self._content = b""
        elif isinstance(event, Aborted):
            self.aborted += 1
            self._content = b""
        elif isinstance(event, StartTls):
            self.engine.secured()
        elif isinstance(event, Close):
            assert not self.closed
            self.closed = True

    READY = """
        S: 220 mx1 ESMTP Mesyx
        C: HELO client
        S: 250 mx1
        """
    DATA = """
        C: MAIL FROM:<bob@example.net>
        C: RCPT TO:<alice@example.org>
        C: DATA
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 354 End with CRLF.CRLF
        """


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def wire_with() -> type[Wire]:
    return Wire


# --- a listener ---------------------------------------------------------------------------------------------------------


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
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        return (["", *[await self.says() for _ in lines]])[-1]

    async def start(self) -> Client:
        assert (await self.says()).startswith("220 ")
        await self.ask("EHLO client")
        return self

    async def mail(self, body: bytes = b"Subject: x\r\n\r\nhello\r\n", to: str = "alice@example.org") -> str:
        await self.ask("MAIL FROM:<bob@example.net>", f"RCPT TO:<{to}>", "DATA")
        self.writer.write(body + b".\r\n")
        return await self.says()

    async def chunks(self, *bodies: bytes, to: str = "alice@example.org") -> list[str]:
        """One message by BDAT; what each chunk is answered."""
        await self.ask("MAIL FROM:<bob@example.net>", f"RCPT TO:<{to}>")
        for at, body in enumerate(bodies, 1):
            self.writer.write(b"BDAT %d%b\r\n%b" % (len(body), b" LAST" if at == len(bodies) else b"", body))
        return [await self.says() for _ in bodies]


class House(NamedTuple):
    """What a test of the whole plugin needs."""

    node: StandIn
    folder: Path

    @property
    def intake(self) -> Intake:
        return self.node.intake

    @asynccontextmanager
    async def serve(self, **config: Any) -> AsyncIterator[int]:
        """The port of a running ingress. It is stopped in the end, and must then have left nothing open."""
        from mesyx_smtp import mesyx_ingresses

        provider = mesyx_ingresses()[0]
        model = provider.config.model_validate({"listen": "127.0.0.1:0", **config})
        self.node.up = anyio.Event()
        async with provider.open(model, self.node) as ingress:
            task = asyncio.get_running_loop().create_task(ingress.run())
            async with asyncio.timeout(10):
                await self.node.up.wait()
            try:
                yield int(self.node.listeners[-1].sockets[0].getsockname()[1])
            finally:
                task.cancel()
                await asyncio.wait([task])
                self.node.close()
        await asyncio.sleep(0)
        assert self.intake.open == 0

    async def connect(self, port: int, **options: Any) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", port, **options))

    async def until(self, check: Callable[[Intake], bool]) -> None:
        """Wait for it, at most ten seconds."""
        async with asyncio.timeout(10):
            while True:
                if check(self.intake):
                    return
                await asyncio.sleep(0.005)


Scenario = Callable[[House], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario with a fresh house, on asyncio's own loop and on uvloop."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with asyncio.timeout(60):
                node = StandIn("mx")
                node.name = "mx1"
                node.intake.verdicts = VERDICTS
                await scenario(House(node, tmp_path))

        factory = None
        if request.param == "uvloop":
            factory = pytest.importorskip("uvloop").new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run
