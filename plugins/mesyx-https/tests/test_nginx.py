"""A node behind a real nginx, with the settings that README.md tells."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream
from mesyx_https.config import HttpsConfig
from mesyx_https.transport import Https

from mesyx_core.api import Temporary
from mesyx_core.testing import StandIn

pytestmark = [pytest.mark.anyio, pytest.mark.scenario]

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def nginx(folder: Path, port: int, node: str) -> subprocess.Popen[bytes]:
    """The location block of README.md, its port put in."""
    found = re.search(r"# nginx\n(.*?)\n\n", README.read_text(), re.DOTALL)
    assert found is not None
    location = found.group(1).replace("127.0.0.1:8443", node)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port};\n{location}\n}} }}\n"
    )
    return subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_nodes_meet_through_nginx(tmp_path: Path) -> None:
    port = free_port()
    config = HttpsConfig.model_validate(
        {"listen": "127.0.0.1:0", "address": "https://www.example.org/mesyx", "tls": {"mode": "off"}}
    )
    async with StandIn() as host, anyio.create_task_group() as tasks:
        https = Https(config, host)
        tasks.start_soon(https.run)
        await host.up.wait()
        with nginx(tmp_path, port, https._bound) as server:
            try:
                stream = await connect(https, f"http://127.0.0.1:{port}/mesyx")
                data, heard = os.urandom(2 << 20), b""
                async with anyio.create_task_group() as group:
                    group.start_soon(stream.send, data)
                    with anyio.fail_after(20):
                        while len(heard) < len(data):
                            heard += await stream.receive()
                assert heard == data
                await stream.aclose()
            finally:
                server.terminate()
        tasks.cancel_scope.cancel()


async def connect(https: Https, address: str) -> ByteStream:
    """Once nginx is up."""
    for _ in range(100):
        try:
            return await https.connect(address)
        except (OSError, Temporary):
            await anyio.sleep(0.05)
    raise AssertionError("nginx did not start")
