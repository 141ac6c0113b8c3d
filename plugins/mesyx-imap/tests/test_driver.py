"""The connection itself: TLS, time, slow readers, and the end."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import uvloop
from mesyx_imap import access
from mesyx_imap.access import ImapSettings, open_imap
from mesyx_imap.limits import Limits
from mesyx_imap.session import Session

from mesyx_core.api import Changed, Context, Locked, View
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.view import MemoryView

from .transcript import MAIL


class Client:
    """A socket to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes, until: bytes = b"") -> bytes:
        """Send a command tagged `t`, and give everything up to its tagged reply."""
        self.writer.write(b"t " + data + b"\r\n")
        return await self.until(until or b"\r\nt ", start=b"\r\n")

    async def until(self, mark: bytes, start: bytes = b"") -> bytes:
        heard = start
        while mark not in heard or not heard.endswith(b"\r\n"):
            chunk = await asyncio.wait_for(self.reader.read(1 << 16), 5)
            if not chunk:
                break
            heard += chunk
        return heard


class Server:
    def __init__(self, context: StandIn, role: access.Imap, view: MemoryView) -> None:
        self.context, self.role, self.view = context, role, view
        self.port = 0

    async def connect(self, **options: object) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port, **options))  # type: ignore[arg-type] # TLS


@asynccontextmanager
async def server(mode: str = "starttls", local: bool = True) -> AsyncIterator[Server]:
    context, view = StandIn(local=local), MemoryView()
    context.admit("alice", "secret", view)
    settings = ImapSettings.model_validate({"listen": "127.0.0.1:0", "tls": {"mode": mode}})
    async with open_imap(settings, context) as role:
        running = asyncio.create_task(role.run())
        await context.up.wait()
        made = Server(context, role, view)
        made.port = int(context.reported[0][1].rpartition(":")[2])
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            context.close()


def on_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        uvloop.run(test())  # type: ignore[arg-type] # a coroutine

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def _trusting() -> ssl.SSLContext:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return trusting


def test_the_memory_stand_ins_keep_the_api() -> None:
    context: Context = StandIn()
    view: View = MemoryView()
    assert context.name
    assert view.store


@on_a_loop
async def test_starttls_then_log_in() -> None:
    async with server(local=False) as made:
        client = await made.connect()
        assert b"STARTTLS LOGINDISABLED" in await client.until(b"* OK")
        assert b"t OK" in await client.say(b"STARTTLS")
        await client.writer.start_tls(_trusting())
        came = await client.say(b"CAPABILITY")
        assert b"STARTTLS" not in came
        assert b"AUTH=PLAIN" in came
        assert b"t OK" in await client.say(b"LOGIN alice secret")
        client.writer.close()


@on_a_loop
async def test_plaintext_behind_starttls_closes_the_connection() -> None:
    async with server(local=False) as made:
        client = await made.connect()
        await client.until(b"* OK")
        client.writer.write(b"a STARTTLS\r\nb NOOP\r\n")
        assert await asyncio.wait_for(client.reader.read(), 5) == b""


@on_a_loop
async def test_implicit_tls() -> None:
    async with server("implicit", local=False) as made:
        client = await made.connect(ssl=_trusting())
        assert b"AUTH=PLAIN" in await client.until(b"* OK")
        assert b"t OK" in await client.say(b"LOGIN alice secret")
        client.writer.close()


@on_a_loop
async def test_a_handshake_that_fails_harms_nobody() -> None:
    async with server("implicit") as made:
        broken = await made.connect()
        broken.writer.write(b"a LOGIN alice secret\r\n")
        await asyncio.wait_for(broken.reader.read(), 5)
        client = await made.connect(ssl=_trusting())
        assert b"AUTH=PLAIN" in await client.until(b"* OK")
        client.writer.close()


def _hasty(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    monkeypatch.setattr(access, "Limits", lambda append: Limits(append=append, **limits))  # type: ignore[arg-type]


def test_strangers_have_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    _hasty(monkeypatch, login_time=0.2)

    async def run() -> None:
        async with server() as made:
            client = await made.connect()
            client.writer.write(b"a NOOP\r\nb NO")
            came = await asyncio.wait_for(client.reader.read(), 5)
            assert came.endswith(b"a OK Nothing done\r\n* BYE Idle for too long\r\n")

    uvloop.run(run())


def test_half_a_command_and_an_idle_session_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _hasty(monkeypatch, idle_time=0.6, read_time=0.2)

    async def run() -> None:
        async with server() as made:
            for last, least in ((b"b APPEND INBOX {9}\r\nabc", 0.15), (b"b IDLE\r\n", 0.5)):
                client = await made.connect()
                await client.until(b"* OK")
                await client.say(b"LOGIN alice secret")
                before = asyncio.get_running_loop().time()
                client.writer.write(last)
                assert (await asyncio.wait_for(client.reader.read(), 5)).endswith(b"* BYE Idle for too long\r\n")
                assert asyncio.get_running_loop().time() - before >= least

    uvloop.run(run())


def test_a_slow_reader_holds_little_memory_and_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    _hasty(monkeypatch, read_time=0.4)

    async def run() -> None:
        async with server() as made:
            for _ in range(60):
                made.view.add(MAIL + b"x" * 499_998 + b"\r\n")
            client = await made.connect(limit=1 << 12)
            await client.until(b"* OK")
            await client.say(b"LOGIN alice secret")
            await client.say(b"EXAMINE INBOX")
            client.writer.write(b"t FETCH 1:* BODY[]\r\n")
            (connection,) = made.role._connections
            most = 0
            for _ in range(20):
                await asyncio.sleep(0.01)
                assert connection._transport is not None
                most = max(most, connection._transport.get_write_buffer_size())
            assert 0 < most < 1 << 20
            await asyncio.sleep(1)
            assert not made.role._connections

    uvloop.run(run())


@on_a_loop
async def test_a_large_fetch_arrives_whole() -> None:
    async with server() as made:
        for number in range(300):
            made.view.add(MAIL + b"%d" % number * 20_000)
        client = await made.connect()
        await client.until(b"* OK")
        await client.say(b"LOGIN alice secret")
        await client.say(b"SELECT INBOX")
        came = await client.say(b"FETCH 1:* (BODY.PEEK[])", until=b"\r\nt OK")
        for number in range(300):
            body = MAIL + b"%d" % number * 20_000
            assert b"* %d FETCH (BODY[] {%d}\r\n%b)\r\n" % (number + 1, len(body), body) in came
        client.writer.close()


@on_a_loop
async def test_pipelined_commands_are_answered_in_order() -> None:
    async with server() as made:
        client = await made.connect()
        await client.until(b"* OK")
        client.writer.write(b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc NOOP\r\nt LOGOUT\r\n")
        came = await client.until(b"\r\nt OK")
        assert [line[:4] for line in came.split(b"\r\n") if line[1:2] == b" " and line[:1] != b"*"] == [
            b"a OK",
            b"b OK",
            b"c OK",
            b"t OK",
        ]


@on_a_loop
async def test_a_stop_says_bye_even_to_those_who_idle() -> None:
    async with server() as made:
        clients = [await made.connect() for _ in range(2)]
        for client in clients:
            await client.until(b"* OK")
            await client.say(b"LOGIN alice secret")
        clients[0].writer.write(b"a IDLE\r\n")
        await clients[0].until(b"+ Idling")
        for connection in tuple(made.role._connections):
            connection.stop()
        for client in clients:
            assert await asyncio.wait_for(client.reader.read(), 5) == b"* BYE Server is stopping\r\n"
        await asyncio.sleep(0.05)
        assert not made.role._connections


@on_a_loop
async def test_recent_marks_are_kept_sealed() -> None:
    async with server() as made:
        made.view.add(MAIL)
        client = await made.connect()
        await client.until(b"* OK")
        await client.say(b"LOGIN alice secret")
        await client.say(b"SELECT INBOX")
        await client.say(b"LOGOUT")
        await asyncio.sleep(0.05)
        assert list(made.context.state.kept) == [f"recent/{made.view.owner.hex()}"]


@pytest.mark.parametrize("idle", [True, False])
def test_when_the_store_is_locked_a_session_ends_and_says_why(idle: bool) -> None:
    async def run() -> None:
        async with server() as at:
            locked = asyncio.Event()

            async def changes(since: int) -> AsyncIterator[Sequence[Changed]]:
                await locked.wait()
                raise Locked("closed")
                yield []

            at.view.changes = changes  # type: ignore[method-assign]
            client = await at.connect()
            await client.until(b"Mesyx\r\n")
            await client.say(b"LOGIN alice secret")
            await client.say(b"SELECT INBOX")
            if idle:
                await client.say(b"IDLE", until=b"+ ")
            locked.set()
            assert b"* BYE The store was locked\r\n" in await client.until(b"never")

    uvloop.run(run())


@on_a_loop
async def test_a_connection_that_has_ended_leaves_nothing_in_memory() -> None:
    """At once, not when the garbage collector comes by: a session knows all UIDs of its mailbox."""
    async with server() as made:
        gc.collect()
        gc.disable()
        try:
            for ending in (b"LOGOUT", b"UNSELECT", b""):
                client = await made.connect()
                await client.until(b"* OK")
                for words in (b"LOGIN alice secret", b"SELECT INBOX", b"NOOP"):
                    assert b"t OK" in await client.say(words)
                if ending:
                    await client.say(ending)
                client.writer.close()
                await client.writer.wait_closed()
            for _ in range(500):
                if not any(isinstance(one, Session) for one in gc.get_objects()):
                    break
                await asyncio.sleep(0.01)
            else:
                raise AssertionError("a session is still in memory")
        finally:
            gc.enable()
