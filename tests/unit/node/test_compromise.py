"""A key that somebody else has: what was sealed to it is sealed anew and gone everywhere, and only then is it said so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Refused
from mesyx_core.journal import Journal
from mesyx_core.node import compromise
from mesyx_core.record.entry import Kind, Origin, decode_header
from mesyx_core.record.payloads import Target, decode_epoch
from mesyx_core.testing.cluster import STORE, Cluster, Host, alice_and_bob
from mesyx_core.vault import age

pytestmark = pytest.mark.anyio
PATIENCE = 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Three nodes: a client, a gateway, and one that only exchanges."""
    real = age.encrypt_passphrase
    monkeypatch.setattr(age, "encrypt_passphrase", lambda *given, **more: real(*given, **{**more, "work": 4}))
    monkeypatch.setattr(compromise, "PATIENCE", 2.0)
    async with alice_and_bob(tmp_path, carol=True) as cluster:
        yield cluster


def body(number: int, size: int = 10) -> bytes:
    head = f"Message-ID: <{number}@example.org>\r\nFrom: bob@example.com\r\nSubject: Number {number}\r\n"
    return f"{head}\r\n{'x' * size}\r\n".encode()


async def said(cluster: Cluster, *names: str) -> dict[str, Any]:
    [row] = await cluster.alice.ask("keyset.compromised", store=STORE, names=list(names))
    return dict(row)


async def finished(cluster: Cluster, *names: str) -> dict[str, Any]:
    with anyio.fail_after(PATIENCE):
        while not (row := await said(cluster, *names))["done"]:  # noqa: ASYNC110 - across nodes
            await anyio.sleep(0.05)
    return row


async def begin(cluster: Cluster, host: Host) -> None:
    """Start a node that was ended."""
    await host.start(cluster._tasks)


async def opened_by(host: Host, keyset: bytes) -> int:
    """Payloads on a node's disk of messages in epochs of a keyset."""
    count = 0
    async with Journal.open(host.file.parent / "state" / "journal") as journal:
        for store, _ in await journal.stores():
            for head in await journal.heads(store):
                origin = Origin(store, head.node, head.incarnation)
                entries = await journal.entries(origin, 0, max_bytes=1 << 30, max_count=1 << 20)
                headers = [(decode_header(entry.header), entry.payload) for _, entry in entries]
                epochs = {
                    header.epoch
                    for header, payload in headers
                    if header.kind == Kind.EPOCH
                    and payload
                    and decode_epoch(payload).target == Target("keyset", keyset)
                }
                count += len(epochs)
                count += sum(h.kind == Kind.SEALED and bool(payload) and h.epoch in epochs for h, payload in headers)
    return count


async def test_ends_right_though_a_node_is_off_and_says_so_only_then(cluster: Cluster) -> None:
    assert cluster.carol is not None
    offer = await cluster.carol.ask("node.invite", roles=["exchange"])
    await cluster.alice.ask("store.add_node", name=STORE, invitation=offer["invitation"])
    for number in range(6):
        await cluster.deliver(body(number, 40_000 if number == 5 else 10))
    before = sorted(await cluster.read(6))
    first = next(r for r in await cluster.alice.ask("keyset.list", store=STORE) if r["name"] == "first")
    await cluster.carol.end()
    row = await said(cluster, "first")
    assert (row["messages"], row["sealed_anew"], row["unread"], row["done"]) == (6, 6, 0, False)
    assert row["exposed_from"] <= row["exposed_until"]
    assert [each["why"] for each in row["nodes"] if each["why"] == "no answer"] == ["no answer"]
    assert sorted(await cluster.read(6)) == before
    await cluster.deliver(body(7))
    assert len(await cluster.read(7)) == 7
    await begin(cluster, cluster.carol)
    row = await finished(cluster)
    assert all(each["confirmed"] for each in row["nodes"])
    assert len(row["nodes"]) == 3
    assert (await said(cluster))["done"]
    assert len(await cluster.read(7)) == 7
    await cluster.restart(cluster.alice)
    assert len(await cluster.read(7)) == 7
    rows = {r["name"]: r for r in await cluster.alice.ask("keyset.list", store=STORE)}
    assert rows["first"]["state"] in ("closed", "current")  # the twin has taken over the name
    for host in (cluster.alice, cluster.bob, cluster.carol):
        await host.end()
        assert await opened_by(host, bytes.fromhex(first["id"])) == 0
        await begin(cluster, host)


async def test_long_term_keys_and_strangers_are_refused(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="recovery kit"):
        await said(cluster, "fallback")
    assert cluster.bob.node is not None
    [store] = cluster.bob.node.stores
    with pytest.raises(Refused, match="no private keys"):
        await cluster.bob.ask("keyset.compromised", store=store.name, names=["first"])
    assert await cluster.alice.ask("keyset.compromised", store=STORE, names=[]) == []
