"""The plugin on real sockets: deliveries are kept or dropped as a whole, and no peer can hold it up."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from mesyx_core.api import Misconfigured, Temporary


def quiet_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_a_message_is_delivered_with_its_envelope_and_trace(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(hostname="mx.example.org") as port:
            client = await (await house.connect(port)).start()
            assert await client.mail() == "250 2.0.0 sealed as feed-1"
            assert await client.ask("QUIT") == "221 2.0.0 mx.example.org closing"
            assert await client.says() == ""
        (kept,) = house.intake.kept
        assert kept.body.data == b"Subject: x\r\n\r\nhello\r\n"
        assert re.fullmatch(
            rb"Return-Path: <bob@example.net>\r\n"
            rb"Received: from client \(\[127\.0\.0\.1\]\)\r\n"
            rb"\tby mx\.example\.org with ESMTP\r\n\tfor <alice@example\.org>;\r\n"
            rb"\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n",
            house.intake.traces[0],
        )
        assert (kept.kind, kept.sender, kept.direction) == ("mail", "bob@example.net", "in")
        assert kept.envelope["peer"] == "127.0.0.1"
        assert kept.envelope["hello"] == "client"

    on_loop(scenario)


def test_several_recipients_are_not_shown_to_one_another(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            await client.ask("MAIL FROM:<>", "RCPT TO:<alice@example.org>")
            assert await client.mail(to="bob@example.org") == "250 2.0.0 sealed as feed-1"
        (kept,) = house.intake.kept
        assert b"example.org" not in house.intake.traces[0]
        assert list(kept.recipients) == ["alice@example.org", "bob@example.org"]

    on_loop(scenario)


def test_hello_cannot_forge_a_header(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            await client.ask("HELO a) by evil (b")
            await client.mail()
        assert b"from unknown ([127.0.0.1])" in house.intake.traces[0]

    on_loop(scenario)


@pytest.mark.parametrize("step", ["deliver", "recipient", "write", "commit"])
@pytest.mark.parametrize("error", [Temporary("Disk is full"), Misconfigured("No such thing"), ValueError("secret")])
def test_an_error_at_any_step_is_answered_and_the_session_goes_on(
    on_loop: Callable[..., None], step: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            house.intake.fail[step] = error
            if step in ("deliver", "recipient"):
                reply = await client.ask("MAIL FROM:<>", "RCPT TO:<alice@example.org>")
                assert await client.ask("DATA") == "554 5.5.1 No valid recipients"
            else:
                reply = await client.mail()
            code = {"write": "452 4.3.1", "commit": "451 4.3.0"}.get(step, "451 4.3.0")
            if isinstance(error, Temporary):
                assert reply == f"{code} Disk is full"
            elif isinstance(error, Misconfigured):
                assert reply == "554 5.3.0 No such thing"
            else:
                assert reply == "451 4.3.0 Internal error, try again later"
            house.intake.fail.clear()
            await client.ask("RSET")
            assert await client.mail() == "250 2.0.0 sealed as feed-1"

    on_loop(scenario)
    assert "secret" not in caplog.text
    assert ("ValueError" in caplog.text) == isinstance(error, ValueError)


def test_a_write_that_fails_early_does_not_wait_for_the_end_to_let_go(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            await client.ask("MAIL FROM:<>", "RCPT TO:<alice@example.org>", "DATA")
            house.intake.fail["write"] = Temporary("Disk is full")
            client.writer.write(b"x" * 100_000)
            await house.until(lambda intake: intake.open == 0)
            client.writer.write(b"x" * 100_000 + b"\r\n.\r\n")
            assert await client.says() == "452 4.3.1 Disk is full"

    on_loop(scenario)


def test_chunks_are_delivered_and_a_write_that_fails_is_told_at_its_chunk(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            body = b"Subject: x\r\n\r\n" + b"x" * 1_000_000 + b"\r\n"
            assert await client.chunks(body[:100], body[100:]) == [
                "250 2.0.0 Chunk taken",
                "250 2.0.0 sealed as feed-1",
            ]
            house.intake.fail["write"] = Temporary("Disk is full")
            assert await client.chunks(body, body) == ["452 4.3.1 Disk is full", "503 5.5.1 Need MAIL first"]
            assert house.intake.open == 0
        (kept,) = house.intake.kept
        assert kept.body.data == body

    on_loop(scenario)


def test_a_message_beyond_ascii_is_traced_as_such(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            await client.ask("MAIL FROM:<b\u00f6b@example.net> SMTPUTF8", "RCPT TO:<j\u00f6@example.org>", "DATA")
            assert await client.ask("Subject: \u00fc\r\n\r\n.") == "250 2.0.0 sealed as feed-1"
        (kept,) = house.intake.kept
        assert b" with UTF8SMTP\r\n\tfor <j\xc3\xb6@example.org>" in house.intake.traces[0]
        assert kept.envelope["smtputf8"] is True
        assert kept.sender == "b\u00f6b@example.net"

    on_loop(scenario)


@pytest.mark.parametrize("implicit", [False, True])
def test_tls(on_loop: Callable[..., None], implicit: bool) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(tls={"mode": "implicit" if implicit else "starttls"}) as port:
            if implicit:
                client = await house.connect(port, ssl=quiet_tls())
                await client.start()
            else:
                client = await (await house.connect(port)).start()
                assert await client.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
                await client.writer.start_tls(quiet_tls())
                assert "STARTTLS" not in await client.ask("EHLO client")
            body = b"x" * 3_000_000 + b"\r\n"
            assert await client.mail(body) == "250 2.0.0 sealed as feed-1"
            assert await client.ask("QUIT") == "221 2.0.0 mx1 closing"
        (kept,) = house.intake.kept
        assert kept.body.data == body
        assert b" with ESMTPS\r\n" in house.intake.traces[0]
        assert str(kept.envelope["tls"]).startswith("TLSv1.3 ")

    on_loop(scenario)


def test_plaintext_injected_behind_starttls_is_never_obeyed(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            assert await client.ask("STARTTLS\r\nNOOP") == "554 5.5.0 Sent more before the reply to STARTTLS"
            assert await client.says() == ""

    on_loop(scenario)


def test_a_failed_handshake_leaves_nothing_behind(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(connections_per_peer=1, timeouts={"tls": 0.2}) as port:
            for garbage in (b"MAIL FROM:<>\r\n" * 10, b""):
                client = await (await house.connect(port)).start()
                assert await client.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
                client.writer.write(garbage)
                await asyncio.wait_for(client.reader.read(), 10)
                client.writer.close()
                await asyncio.sleep(0.05)
            await (await house.connect(port)).start()

    on_loop(scenario)


def test_limits_on_connections(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(connections_per_peer=2) as port:
            first = await (await house.connect(port)).start()
            await (await house.connect(port)).start()
            third = await house.connect(port)
            assert await third.says() == "421 4.7.0 Too many connections"
            assert await third.says() == ""
            await first.ask("QUIT")
            assert await first.says() == ""
            await asyncio.sleep(0.05)
            await (await house.connect(port)).start()

    on_loop(scenario)


def test_a_rate_if_asked_for(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(messages_per_second=0.001, messages_burst=2) as port:
            client = await (await house.connect(port)).start()
            await client.mail()
            await client.mail()
            assert await client.ask("MAIL FROM:<>") == "450 4.7.1 Too many messages from you just now"

    on_loop(scenario)


def test_silence_ends_a_connection(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(timeouts={"command": 0.2, "data": 0.1}) as port:
            idle = await (await house.connect(port)).start()
            sending = await (await house.connect(port)).start()
            await sending.ask("MAIL FROM:<>", "RCPT TO:<alice@example.org>", "DATA")
            for client in (idle, sending):
                assert await client.says() == "421 4.4.2 Timed out, closing"
                assert await client.says() == ""

    on_loop(scenario)


def test_a_command_that_trickles_in_does_not_count_as_talk(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(timeouts={"command": 0.2, "data": 0.1}) as port:
            client = await (await house.connect(port)).start()
            said = asyncio.ensure_future(client.says())
            for _ in range(100):
                client.writer.write(b"x")
                await asyncio.wait([said], timeout=0.01)
                if said.done():
                    break
            assert await said == "421 4.4.2 Timed out, closing"

    on_loop(scenario)


def test_the_nodes_own_slowness_is_not_the_peers_silence(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        house.intake.gate = anyio.Event()
        async with house.serve(timeouts={"command": 0.1, "data": 0.1}) as port:
            client = await (await house.connect(port)).start()
            sent = asyncio.ensure_future(client.mail())
            await asyncio.sleep(0.5)
            house.intake.gate.set()
            assert await sent == "250 2.0.0 sealed as feed-1"

    on_loop(scenario)


def test_a_peer_that_does_not_read_is_not_read_from_and_then_cut(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(timeouts={"command": 0.5, "data": 0.5}, errors=10_000_000) as port:
            client = await (await house.connect(port)).start()
            client.reader._transport.pause_reading()
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(10):
                    while True:
                        client.writer.write(b"EHLO x\r\n" * 10_000)
                        await client.writer.drain()
            assert client.writer.transport.is_closing() or client.writer.transport.get_write_buffer_size() > 0

    on_loop(scenario)


def test_a_hang_up_before_the_end_keeps_nothing(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            await client.ask("MAIL FROM:<>", "RCPT TO:<alice@example.org>", "DATA")
            client.writer.write(b"half a mess")
            await house.until(lambda intake: intake.open == 1)
            client.writer.close()
            await house.until(lambda intake: intake.open == 0)
        assert house.intake.kept == []

    on_loop(scenario)


def test_a_hang_up_during_the_commit_does_not_undo_it(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        house.intake.gate = anyio.Event()
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            sent = asyncio.ensure_future(client.mail())
            await house.intake.at_commit.wait()
            sent.cancel()
            client.writer.transport.abort()
            await asyncio.sleep(0.05)
            house.intake.gate.set()
            await house.until(lambda intake: len(intake.kept) == 1 and intake.open == 0)

    on_loop(scenario)


def test_a_stop_tells_the_idle_and_lets_a_commit_finish(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        house.intake.gate = anyio.Event()
        async with house.serve() as port:
            idle = await (await house.connect(port)).start()
            client = await (await house.connect(port)).start()
            sent = asyncio.ensure_future(client.mail())
            await house.intake.at_commit.wait()
            asyncio.get_running_loop().call_later(0.1, house.intake.gate.set)
        assert await idle.says() == "421 4.3.2 Shutting down"
        assert await sent == "250 2.0.0 sealed as feed-1"
        assert await client.says() == "421 4.3.2 Shutting down"
        assert await client.says() == ""

    on_loop(scenario)


def test_pipelined_messages_in_one_packet_all_arrive(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            client = await (await house.connect(port)).start()
            await client.ask("MAIL FROM:<>", "RCPT TO:<alice@example.org>", "DATA")
            for _ in range(20):
                client.writer.write(b"x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
                assert (await client.says())[:3] == "250"
                assert [(await client.says())[:3] for _ in range(3)] == ["250", "250", "354"]
            client.writer.close()
        assert len(house.intake.kept) == 20

    on_loop(scenario)
