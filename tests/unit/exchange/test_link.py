"""TLS between nodes: 1.3 only, the key is what counts, no trace of it on disk."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import anyio
import pytest

from mesyx_core.builtin.memory import pair
from mesyx_core.exchange import LinkFailed, WrongNode, link
from mesyx_core.vault.nodekey import NodeKey

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def both(key: NodeKey, expected: bytes, context: ssl.SSLContext | None = None) -> bytes:
    here, there = pair()
    heard = b""

    async def serve() -> None:
        nonlocal heard
        try:
            stream = await link.accept(there, link.server_context(key))
            heard = await stream.receive()
        except (LinkFailed, anyio.EndOfStream, anyio.BrokenResourceError):
            return

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        stream = await link.dial(here, context or link.client_context(), expected)
        await stream.send(b"hello")
    return heard


async def test_a_node_is_known_by_its_key() -> None:
    key = NodeKey(os.urandom(32))
    assert await both(key, key.public) == b"hello"


async def test_any_other_key_is_refused() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await both(NodeKey(os.urandom(32)), NodeKey(os.urandom(32)).public)
    assert caught.group_contains(WrongNode)


async def test_one_who_does_not_finish_is_not_waited_for() -> None:
    here, _there = pair()
    with pytest.raises(LinkFailed, match="in time"):
        await link.accept(here, link.server_context(NodeKey(os.urandom(32))), seconds=0.05)


def test_a_node_always_shows_the_same_leaf_and_no_name() -> None:
    key = NodeKey(bytes(32))
    leaf = link.certificate(key.signer)
    assert leaf == link.certificate(key.signer)
    assert leaf.subject.rfc4514_string() == "CN=node"


def test_the_key_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    real = os.unlink

    def unlink(path: str) -> None:
        written.append(Path(path).read_bytes())
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    link.server_context(NodeKey(bytes(32)))
    assert b"ENCRYPTED PRIVATE KEY" in written[0]
    assert not list(tmp_path.iterdir())
