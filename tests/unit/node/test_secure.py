"""`Context.dial(tls=True)`: TLS to a server whose certificate is verified, or nothing."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from mesyx_core.api import Temporary
from mesyx_core.node import sockets
from mesyx_core.testing.context import StandIn
from mesyx_core.wire.tls import self_signed

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def echo(folder: Path, name: str) -> AsyncIterator[int]:
    """A TLS server for `name`; its port. Its certificate is in folder/pem."""
    certificate, key = self_signed(name, datetime.now(UTC))
    (folder / "pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = int(plain.extra(SocketAttribute.local_port))

    async def serve(stream: ByteStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(TLSListener(plain, context).serve, serve)
        yield port
        tasks.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This system trusts the test's own certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
    sockets._verifying.cache_clear()


async def test_it_speaks_tls_to_a_server_that_can_show_who_it_is(tmp_path: Path) -> None:
    async with echo(tmp_path, "localhost") as port, await StandIn().dial(f"localhost:{port}", tls=True) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"


async def test_a_certificate_for_another_name_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with echo(tmp_path, "elsewhere.test") as port:
        with pytest.raises(Temporary, match=r"no TLS with localhost .*localhost"):
            await StandIn().dial(f"localhost:{port}", tls=True)


async def test_one_that_nobody_known_has_signed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with echo(tmp_path, "localhost") as port:
        monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
        sockets._verifying.cache_clear()
        with pytest.raises(Temporary, match=r"self.signed"):
            await StandIn().dial(f"localhost:{port}", tls=True)
