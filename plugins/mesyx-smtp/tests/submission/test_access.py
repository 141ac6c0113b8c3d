"""Submission on real sockets: what is handed over reaches the view completed, private, and only then is it acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from mesyx_smtp.config import SubmissionConfig
from pydantic import ValidationError

from mesyx_core.api import Locked, Refused, Temporary

from .conftest import quiet_tls

MAIL = "From: Alice <alice@example.org>\nTo: bob@example.net\nSubject: hello\n\ntext\n"


def test_a_message_is_submitted_with_what_it_lacks(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk() as running:
            client = await running.enter()
            said = await client.mail(MAIL, "bob@example.net", "carol@example.net")
            assert re.fullmatch(r"250 2\.0\.0 queued as [0-9a-f]{32}", said)
            (message,) = running.view.submitted
            assert (message.kind, message.direction, message.sender) == ("mail", "out", "alice@example.org")
            assert message.recipients == ("bob@example.net", "carol@example.net")
            assert re.fullmatch(
                rb"Received: by localhost with ESMTPA;\r\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n"
                rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n"
                rb"Message-ID: <[0-9a-f]{32}@example\.org>\r\n"
                rb"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\ntext\r\n",
                await running.sent(),
            )
            assert (await running.sent())[: int(message.envelope["trace"])].count(b"\r\n") == 2
            assert "127.0.0.1" not in repr(message)

    asyncio.run(scenario())


def test_what_is_there_is_left_alone(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk(hostname="mail.example.org") as running:
            client = await running.enter()
            mail = f"date: Sun, 22 Nov 2026 18:00:00 +0100\nMessage-Id : <a@b>\nBcc: dora@example.net\n{MAIL}"
            assert (await client.mail(mail, "dora@example.net"))[:3] == "250"
            received, _, rest = (await running.sent()).partition(b" +0000\r\n")
            assert received.startswith(b"Received: by mail.example.org with ESMTPA;")
            assert rest == mail.replace("\n", "\r\n").encode()

    asyncio.run(scenario())


@pytest.mark.parametrize("implicit", [False, True])
def test_under_tls(desk: Callable[..., Any], implicit: bool) -> None:
    async def scenario() -> None:
        async with desk(local=False, tls={"mode": "implicit" if implicit else "starttls"}) as running:
            client = await running.connect(**({"ssl": quiet_tls()} if implicit else {}))
            if not implicit:
                assert await client.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==") == "538 5.7.11 Log in under TLS only"
                await client.tls()
            assert await client.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==") == "235 2.7.0 Logged in"
            assert (await client.mail(MAIL))[:3] == "250"
            assert (await running.sent()).startswith(b"Received: by localhost with ESMTPSA;\r\n")

    asyncio.run(scenario())


def test_parameters_reach_the_envelope(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk() as running:
            client = await running.enter()
            await client.ask(
                "MAIL FROM:<alice@example.org> RET=hdrs ENVID=QQ314159",
                "RCPT TO:<bob@example.net> NOTIFY=never",
                "RCPT TO:<carol@example.net> NOTIFY=SUCCESS,delay ORCPT=rfc822;c+2Bx@example.net",
            )
            assert (await client.ask("DATA"))[:3] == "354"
            assert (await client.ask(MAIL.replace("\n", "\r\n") + "."))[:3] == "250"
            envelope = dict(running.view.submitted[0].envelope)
            assert envelope.pop("trace")
            assert envelope == {
                "reverse_path": "alice@example.org",
                "eight_bit": False,
                "ret": "HDRS",
                "envid": "QQ314159",
                "notify/bob@example.net": "NEVER",
                "notify/carol@example.net": "SUCCESS,DELAY",
                "orcpt/carol@example.net": "rfc822;c+2Bx@example.net",
            }

    asyncio.run(scenario())


def test_smtputf8_is_kept_where_it_is_needed(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk() as running:
            client = await running.enter()
            assert (await client.mail(MAIL, more=" SMTPUTF8"))[:3] == "250"
            assert "smtputf8" not in running.view.submitted[-1].envelope
            assert (await client.mail(MAIL, "b\u00f6b@example.net", more=" SMTPUTF8"))[:3] == "250"
            assert running.view.submitted[-1].envelope["smtputf8"] is True
            mail = MAIL.replace("alice@example.org", "j\u00f6rg@b\u00fccher.example")
            said = await client.mail(mail, sender="J\u00d6RG@xn--bcher-kva.example", more=" SMTPUTF8")
            assert said[:3] == "250"
            assert running.view.submitted[-1].envelope["smtputf8"] is True
            assert b"@xn--bcher-kva.example>\r\n" in await running.sent()
            assert (await running.sent()).startswith(b"Received: by localhost with UTF8SMTPA;")

    asyncio.run(scenario())


def test_chunks_are_submitted(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk() as running:
            client = await running.enter()
            await client.ask("MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.net>")
            body = MAIL.replace("\n", "\r\n")
            client.writer.write(f"BDAT 7\r\n{body[:7]}BDAT {len(body) - 7} LAST\r\n{body[7:]}".encode())
            assert await client.says() == "250 2.0.0 Chunk taken"
            assert (await client.says()).startswith("250 2.0.0 queued as ")
            assert (await running.sent()).endswith(b"\r\n\r\ntext\r\n")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (Refused("this log-in may not send as that address"), "550 5.7.1 this log-in may not send as that address"),
        (Refused("no gateway", "invite one"), "550 5.7.1 no gateway: invite one"),
        (Temporary("Disk is full"), "451 4.3.0 Disk is full"),
        (Locked("the store is locked"), "454 4.7.0 the store is locked"),
        (ValueError("secret"), "451 4.3.0 Internal error, try again later"),
    ],
)
def test_what_is_not_kept_is_not_acknowledged(
    desk: Callable[..., Any], error: Exception, reply: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with desk() as running:
            running.view.fails = error
            client = await running.enter()
            assert await client.mail(MAIL) == reply
            running.view.fails = None
            assert (await client.mail(MAIL))[:3] == "250"

    asyncio.run(scenario())
    assert "secret" not in caplog.text


def test_somebody_elses_from_is_refused(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk() as running:
            client = await running.enter()
            said = await client.mail(MAIL.replace("alice@", "bob@"))
            assert said.startswith("550 5.7.1 this log-in may not send as that address")
            assert running.view.submitted == []

    asyncio.run(scenario())


def test_a_locked_store_is_not_called_a_wrong_password(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk() as running:

            async def locked(name: str, proof: object) -> None:
                raise Locked("the store is locked", "`mesyx store unlock alice` opens it")

            running.node.login = locked
            client = await running.connect()
            said = await client.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==")
            assert said == "454 4.7.0 the store is locked: `mesyx store unlock alice` opens it"

    asyncio.run(scenario())


def test_a_recipient_needs_a_domain(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk() as running:
            client = await running.enter()
            said = await client.ask("MAIL FROM:<alice@example.org>", "RCPT TO:<postmaster>")
            assert said == "550 5.1.3 A recipient needs a domain: LOCAL@DOMAIN"

    asyncio.run(scenario())


def test_memory_is_bounded_over_all_connections(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk(memory="1MiB", size="1MiB") as running:
            first, second = await running.enter(), await running.enter()
            for client in (first, second):
                await client.ask("MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.net>", "DATA")
            first.writer.write(b"x" * 700_000)
            await asyncio.sleep(0.1)
            second.writer.write(b"x" * 700_000 + b"\r\n.\r\n")
            assert await second.says() == "452 4.3.1 Too many messages are being handed over just now"
            first.writer.transport.abort()
            await asyncio.sleep(0.1)
            body = MAIL + "x" * 700_000 + "\n"
            assert (await second.mail(body))[:3] == "250"

    asyncio.run(scenario())


def test_strangers_may_not_stay(desk: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with desk(timeouts={"login": 0.3, "command": 60}) as running:
            member = await running.enter()
            stranger = await running.connect()
            said = asyncio.ensure_future(stranger.says())
            while not said.done():
                stranger.writer.write(b"N")
                await asyncio.wait([said], timeout=0.05)
            assert await said == "421 4.4.2 Timed out, closing"
            assert await stranger.says() == ""
            assert (await member.mail(MAIL))[:3] == "250"

    asyncio.run(scenario())


@pytest.mark.parametrize("listen", ["0.0.0.0:587", "[::]:587", "mail.example.org:587"])
def test_passwords_never_cross_a_network_in_clear(listen: str) -> None:
    with pytest.raises(ValidationError, match="in clear"):
        SubmissionConfig.model_validate({"listen": listen, "tls": {"mode": "off"}})
    assert SubmissionConfig.model_validate({"listen": listen}).tls.mode == "starttls"
