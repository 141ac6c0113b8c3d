"""Clients that other people wrote speak to the server over loopback: swaks, and Postfix's smtp-source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.scenario


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode("latin-1")


async def swaks(port: int, *more: str) -> tuple[int, str]:
    return await run(
        *("swaks", "--server", f"127.0.0.1:{port}", "--from", "bob@example.net", "--to", "alice@example.org"),
        *("--helo", "client.example.net", *more),
    )


@pytest.mark.parametrize("more", [(), ("--pipeline",), ("--tls",), ("--tls", "--pipeline"), ("--protocol", "SMTP")])
def test_swaks_delivers(on_loop: Callable[..., None], more: tuple[str, ...]) -> None:
    async def scenario(house: Any) -> None:
        body = house.folder / "mail.eml"
        body.write_bytes(b"Subject: dots\n\n.\n..\n.x\n\xe9\n")
        async with house.serve() as port:
            code, said = await swaks(port, "--data", f"@{body}", *more)
            assert code == 0, said
            assert "250 2.0.0 sealed as feed-1" in said
        assert house.intake.kept[0].body.data.startswith(b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\xe9\r\n")

    on_loop(scenario)


def test_swaks_delivers_over_implicit_tls(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve(tls={"mode": "implicit"}) as port:
            code, said = await swaks(port, "--tls-on-connect")
            assert code == 0, said
        assert len(house.intake.kept) == 1

    on_loop(scenario)


def test_swaks_is_refused_at_rcpt(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            code, said = await swaks(port, "--to", "gone@example.org")
            assert code != 0
            assert "550 5.1.1 No such address here" in said
        assert house.intake.begun == 1
        assert house.intake.kept == []

    on_loop(scenario)


def test_smtp_source_delivers_a_thousand_over_fifty_connections(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            code, said = await run(
                *("smtp-source", "-d", "-s", "50", "-m", "1000", "-l", "4096", "-f", "bob@example.net"),
                *("-t", "alice@example.org", f"inet:127.0.0.1:{port}"),
            )
            assert code == 0, said
        assert len(house.intake.kept) == 1000
        assert all(kept.body.data.endswith(b"\r\n") and len(kept.body.data) > 4096 for kept in house.intake.kept)

    on_loop(scenario)


def test_smtp_source_delivers_a_large_message(on_loop: Callable[..., None]) -> None:
    async def scenario(house: Any) -> None:
        async with house.serve() as port:
            code, said = await run(
                *("smtp-source", "-m", "2", "-s", "2", "-l", "20000000", "-f", "bob@example.net"),
                *("-t", "alice@example.org", f"inet:127.0.0.1:{port}"),
            )
            assert code == 0, said
        assert [len(kept.body.data) > 19_000_000 for kept in house.intake.kept] == [True, True]

    on_loop(scenario)
