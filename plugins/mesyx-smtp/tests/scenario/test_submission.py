"""Mail programs that other people wrote hand mail over: swaks, msmtp, mutt and curl, over loopback."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from mesyx_smtp import mesyx_accesses

from mesyx_core.testing.context import StandIn
from mesyx_core.testing.view import MemoryView

pytestmark = pytest.mark.scenario

TEXT = "From: Alice <alice@example.org>\nTo: bob@example.net\nSubject: from here\n\n.dots\n\u00fc\n"


def against(work: Callable[[int], Awaitable[None]], **config: Any) -> list[tuple[Any, bytes]]:
    """Run a listener while `work(port)` runs; the messages that were submitted, and their bytes."""

    async def main() -> list[tuple[Any, bytes]]:
        node, view = StandIn("submission"), MemoryView(identities=("alice@example.org",))
        node.admit("alice", "secret", view)
        (provider,) = mesyx_accesses()
        model = provider.config.model_validate({"listen": "127.0.0.1:0", **config})
        async with asyncio.timeout(60), provider.open(model, node) as access:
            task = asyncio.get_running_loop().create_task(access.run())
            await node.up.wait()
            try:
                await work(node.listeners[-1].sockets[0].getsockname()[1])
            finally:
                task.cancel()
                await asyncio.wait([task])
                node.close()
        return [(each, b"".join([chunk async for chunk in each.body.read()])) for each in view.submitted]

    return uvloop.run(main())


async def run(*command: str, stdin: str = "", home: Path | None = None, fails: bool = False) -> str:
    environment = {**os.environ, "HOME": str(home)} if home else None
    pipe, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=both, env=environment)
    out, _ = await process.communicate(stdin.encode())
    said = out.decode("utf-8", "replace")
    assert (process.returncode != 0) == fails, said
    return said


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", [(), ("--tls",), ("--tls-on-connect",)])
def test_swaks_logs_in_and_sends(mechanism: str, tls: tuple[str, ...]) -> None:
    async def work(port: int) -> None:
        said = await run(
            *("swaks", "--server", f"127.0.0.1:{port}", "--auth", mechanism, "--auth-user", "alice"),
            *("--auth-password", "secret", "--from", "alice@example.org", "--to", "bob@example.net", *tls),
        )
        assert "250 2.0.0 queued as" in said

    implicit = tls == ("--tls-on-connect",)
    ((message, body),) = against(work, tls={"mode": "implicit" if implicit else "starttls"})
    assert message.recipients == ("bob@example.net",)
    assert body.startswith(b"Received: by localhost with ESMTPSA;" if tls else b"Received: by localhost with ESMTPA;")


def test_swaks_with_a_wrong_password_is_turned_away() -> None:
    async def work(port: int) -> None:
        said = await run(
            *("swaks", "--server", f"127.0.0.1:{port}", "--auth", "PLAIN", "--auth-user", "alice"),
            *("--auth-password", "wrong", "--from", "alice@example.org", "--to", "bob@example.net"),
            fails=True,
        )
        assert "535 5.7.8" in said

    assert against(work) == []


def test_swaks_may_not_send_as_somebody_else() -> None:
    async def work(port: int) -> None:
        said = await run(
            *("swaks", "--server", f"127.0.0.1:{port}", "--auth", "PLAIN", "--auth-user", "alice"),
            *("--auth-password", "secret", "--from", "bob@example.org", "--to", "bob@example.net"),
            fails=True,
        )
        assert "553 5.7.1 This log-in may not send as that address; it may send as alice@example.org" in said

    assert against(work) == []


@pytest.mark.parametrize("mechanism", ["scram-sha-256", "plain", "login"])
@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
def test_msmtp_logs_in_and_sends(tmp_path: Path, mechanism: str, tls: str) -> None:
    settings = {"off": "tls off", "starttls": "tls on\ntls_starttls on", "implicit": "tls on\ntls_starttls off"}

    async def work(port: int) -> None:
        rc = tmp_path / "msmtprc"
        rc.write_text(
            f"account default\nhost 127.0.0.1\nport {port}\nfrom alice@example.org\nuser alice\npassword secret\n"
            f"auth {mechanism}\n{settings[tls]}\ntls_certcheck off\n"
        )
        rc.chmod(0o600)
        await run("msmtp", "-C", str(rc), "-N", "success,failure", "-R", "hdrs", "bob@example.net", stdin=TEXT)

    ((message, body),) = against(work, tls={"mode": "implicit" if tls == "implicit" else "starttls"})
    assert body.endswith(b"Subject: from here\r\n\r\n.dots\r\n\xc3\xbc\r\n")
    assert message.envelope["ret"] == "HDRS"
    assert message.envelope["notify/bob@example.net"] == "SUCCESS,FAILURE"


@pytest.mark.parametrize("tls", ["starttls", "implicit", "off"])
def test_mutt_sends_with_an_attachment(tmp_path: Path, tls: str) -> None:
    attached = tmp_path / "attached.bin"
    trusted = tmp_path / "certificates"
    attached.write_bytes(bytes(range(256)) * 40)

    async def work(port: int) -> None:
        rc = tmp_path / "muttrc"
        url = f"{'smtps' if tls == 'implicit' else 'smtp'}://alice:secret@127.0.0.1:{port}"
        rc.write_text(
            f"set smtp_url={url} from=alice@example.org realname=Alice use_envelope_from copy=no\n"
            f"set ssl_starttls={'no ssl_force_tls=no' if tls == 'off' else 'yes'} ssl_verify_host=no ssl_verify_dates=no\n"
            f"set certificate_file={trusted} dsn_notify='failure,delay' dsn_return=hdrs\n"
        )
        if tls != "off":
            trusted.write_text(await certificate(port, tls == "starttls"))
        words = ("mutt", "-F", str(rc), "-s", "from mutt", "-a", str(attached), "-b", "dora@example.net", "--")
        await run(*words, "bob@example.net", stdin="hello\n", home=tmp_path)

    ((message, body),) = against(work, tls={"mode": "starttls" if tls == "off" else tls})
    assert sorted(message.recipients) == ["bob@example.net", "dora@example.net"]
    assert message.envelope["notify/dora@example.net"] == "FAILURE,DELAY"
    assert b"Subject: from mutt\r\n" in body
    assert body.count(b"\r\nMessage-ID: ") == body.count(b"\r\nDate: ") == 1


async def certificate(port: int, starttls: bool) -> str:
    """The listener's self-signed one, as mutt keeps those that its user has accepted."""
    more = ("-starttls", "smtp") if starttls else ()
    shown = await run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *more, stdin="QUIT\n")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + shown.partition(begin)[2].partition(end)[0] + end + "\n"


def test_curl_uploads(tmp_path: Path) -> None:
    file = tmp_path / "mail.eml"
    file.write_bytes(TEXT.replace("\n", "\r\n").encode())

    async def work(port: int) -> None:
        for scheme in ("smtp", "smtp"):
            await run(
                *(
                    "curl",
                    "-sSv",
                    "--url",
                    f"{scheme}://127.0.0.1:{port}",
                    "--ssl-reqd",
                    "-k",
                    "--user",
                    "alice:secret",
                ),
                *("--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.net", "--upload-file", str(file)),
            )

    submitted = against(work)
    assert len(submitted) == 2
    assert all(body.endswith(b".dots\r\n\xc3\xbc\r\n") for _, body in submitted)


def test_gsasl_logs_in_by_scram() -> None:
    async def work(port: int) -> None:
        said = await run(
            *("gsasl", "--smtp", "--no-starttls", "--connect", f"127.0.0.1:{port}", "--mechanism", "SCRAM-SHA-256"),
            *("--authentication-id", "alice", "--password", "secret", "--no-cb"),
        )
        assert "Client authentication finished" in said

    against(work)
