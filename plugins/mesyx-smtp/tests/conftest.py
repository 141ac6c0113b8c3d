"""A wire that reads transcripts, and a node in memory that follows `mesyx_core.api.Context`."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mesyx_smtp import replies
from mesyx_smtp.engine import Engine
from mesyx_smtp.events import Aborted, Close, Content, Recipient, StartTls
from mesyx_smtp.limits import Limits

from mesyx_core.api import ACCEPT, Message, Receipt, Temporary, Verdict
from mesyx_core.wire.tls import TlsSettings, self_signed, server_context

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


# --- a node ---------------------------------------------------------------------------------------------------------


class Peer(NamedTuple):
    host: str
    port: int
    local: bool = True

    def welcome(self) -> None:
        pass


class Listener(NamedTuple):
    address: str
    server: asyncio.Server

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class Tls(NamedTuple):
    mode: str
    context: ssl.SSLContext | None


class Memory:
    """A Delivery that counts what happens to it."""

    def __init__(self, node: Node, draft: Message) -> None:
        self.node, self.draft = node, draft
        self.header = self.body = b""
        self.verdicts: dict[str, Verdict] = {}

    async def recipient(self, address: str) -> Verdict:
        await self.node.step("recipient")
        verdict = VERDICTS.get(address, ACCEPT)
        if verdict.word != "reject":
            self.verdicts[address] = verdict
        return verdict

    async def trace(self, header: bytes) -> None:
        assert not self.header
        assert not self.body
        self.header = header

    async def write(self, chunk: bytes) -> None:
        await self.node.step("write")
        self.body += chunk

    async def commit(self) -> Receipt:
        await self.node.step("commit")
        self.node.kept.append(self)
        return Receipt(verdicts=self.verdicts, trace=f"feed-{len(self.node.kept)}")


class Node:
    """A Context in memory on real sockets. `fail[STEP]` is raised at that step; `gate`, if set, is waited for at "commit"."""

    instance = "mx"
    name = "mx1"

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.kept: list[Memory] = []
        self.open = 0
        self.begun = 0
        self.fail: dict[str, Exception] = {}
        self.gate: asyncio.Event | None = None
        self.at_commit = asyncio.Event()
        self.closed = asyncio.Event()
        self.reports: list[tuple[str, str]] = []
        self.listeners: list[Listener] = []
        self._tls = tls

    async def step(self, name: str) -> None:
        if name in self.fail:
            raise self.fail[name]
        if name == "commit" and self.gate is not None:
            self.at_commit.set()
            await self.gate.wait()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def tls(self, settings: object) -> Tls:
        assert isinstance(settings, TlsSettings)
        return Tls(settings.mode, None if settings.mode == "off" else self._tls)

    @asynccontextmanager
    async def deliver(self, draft: Message) -> AsyncIterator[Memory]:
        await self.step("deliver")
        self.begun += 1
        self.open += 1
        try:
            yield Memory(self, draft)
        finally:
            self.open -= 1
            self.closed.set()

    async def listen(
        self, address: str, protocol: Callable[[Peer], asyncio.Protocol], *, tls: ssl.SSLContext | None = None
    ) -> Listener:
        host, _, port = address.rpartition(":")
        server = await asyncio.get_running_loop().create_server(lambda: _Late(protocol), host, int(port), ssl=tls)
        bound = server.sockets[0].getsockname()
        listener = Listener(f"{bound[0]}:{bound[1]}", server)
        self.listeners.append(listener)
        return listener

    def report(self, state: str, why: str = "") -> None:
        self.reports.append((state, why))


class _Late(asyncio.Protocol):
    """Makes the real protocol once the peer is known, and steps aside."""

    def __init__(self, protocol: Callable[[Peer], asyncio.Protocol]) -> None:
        self._make = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, port = transport.get_extra_info("peername")[:2]
        protocol = self._make(Peer(host, port))
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


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

    node: Node
    folder: Path

    @asynccontextmanager
    async def serve(self, **config: Any) -> AsyncIterator[int]:
        """The port of a running ingress. It is stopped in the end, and must then have left nothing open."""
        from mesyx_smtp import mesyx_ingresses

        provider = mesyx_ingresses()[0]
        model = provider.config.model_validate({"listen": "127.0.0.1:0", **config})
        async with provider.open(model, self.node) as ingress:
            task = asyncio.get_running_loop().create_task(ingress.run())
            while not self.node.reports:
                await asyncio.sleep(0.005)
                assert not task.done()
            try:
                yield self.node.listeners[-1].port
            finally:
                task.cancel()
                await asyncio.wait([task])
                self.node.listeners[-1].server.close()
                self.node.reports.clear()
        await asyncio.sleep(0)
        assert self.node.open == 0

    async def connect(self, port: int, **options: Any) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", port, **options))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "mx1.pem"
    path.write_bytes(b"".join(self_signed("mx1", datetime.now(UTC))))
    return path


Scenario = Callable[[House], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest, certificate: Path, tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario with a fresh house, on asyncio's own loop and on uvloop."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with asyncio.timeout(60):
                await scenario(House(Node(server_context(certificate)), tmp_path))

        factory = None
        if request.param == "uvloop":
            factory = pytest.importorskip("uvloop").new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run
