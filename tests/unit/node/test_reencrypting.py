"""Real nodes: what a policy keeps no longer goes to the long-term key by itself, and then from every other disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Locked, Refused
from mesyx_core.node import core, keysets, mailboxes, reencrypting
from mesyx_core.node.core import Node
from mesyx_core.record.entry import Kind, Origin, decode_header
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, Host, alice_and_bob
from mesyx_core.testing.samples import whole
from mesyx_core.vault import age

pytestmark = pytest.mark.anyio
PATIENCE = 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """The wall clock of all nodes."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (core, keysets, mailboxes):
        monkeypatch.setattr(module, "now", clock)
    return clock


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases that cost a thief nothing, and these tests no time."""
    real = age.encrypt_passphrase

    def encrypt(plaintext: bytes, passphrase: str, *, work: int = 0, armor: bool = False) -> bytes:
        return real(plaintext, passphrase, work=8, armor=armor)

    monkeypatch.setattr(age, "encrypt_passphrase", encrypt)


@pytest.fixture
async def cluster(tmp_path: Path, turned: Clock, cheap: None) -> AsyncIterator[Cluster]:
    async with alice_and_bob(tmp_path) as cluster:
        yield cluster


def body(number: int) -> bytes:
    head = f"Message-ID: <{number}@example.org>\r\nFrom: bob@example.com\r\nSubject: Number {number}\r\n"
    return f"{head}\r\ntext {number}\r\n".encode()


async def deliver(cluster: Cluster, *numbers: int, **draft: Any) -> None:
    for number in numbers:
        assert (await cluster.deliver(body(number), **draft)).word == "accept"


async def until(holds: Callable[[], Any]) -> Any:
    """What an asynchronous look gives, once it is true."""
    with anyio.fail_after(PATIENCE):
        while not (found := await holds()):  # noqa: ASYNC110 - across nodes
            await anyio.sleep(0.02)
    return found


def running(host: Host) -> Node:
    assert host.node is not None
    return host.node


async def held(host: Host, *kinds: Kind) -> list[tuple[Kind, bool]]:
    """Entries of these kinds on a node, and whether their payloads are there."""
    node, found = running(host), []
    for store in node.stores:
        for head in await node.journal.heads(store.id):
            entries = await node.journal.entries(Origin(store.id, head.node, head.incarnation), 0)
            headers = [(decode_header(entry.header), entry.payload is not None) for _, entry in entries]
            found += [(Kind(header.kind), there) for header, there in headers if header.kind in kinds]
    return found


async def rows(cluster: Cluster) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in await cluster.alice.ask("keyset.list", store=STORE)}


async def under(cluster: Cluster, policy: str) -> None:
    """Put the store under a policy; returns once the gateway seals by it."""
    await cluster.alice.ask("keyset.policy", store=STORE, text=policy)
    wanted = running(cluster.alice).stores.named(STORE).manifest

    async def known() -> bool:
        return any(store.manifest == wanted for store in running(cluster.bob).stores)

    await until(known)


async def test_a_retired_keyset_is_resealed_by_hand_and_its_old_seals_go_everywhere(cluster: Cluster) -> None:
    await deliver(cluster, 1, 2, 3)
    await cluster.read(3)
    with pytest.raises(Refused, match="still sealed"):
        await cluster.alice.ask("keyset.reseal", store=STORE, source="first")
    await cluster.alice.ask("keyset.retire", store=STORE, names=["first"])
    [row] = await cluster.alice.ask("keyset.reseal", store=STORE, source="first")
    assert (row["keyset"], row["to"], row["sealed"], row["running"]) == ("first", "fallback", 0, 1)
    await cluster.restart(cluster.bob)  # which closes its epochs
    await deliver(cluster, 4)
    await cluster.read(4)

    async def sealed() -> Any:
        [row] = await cluster.alice.ask("keyset.reseal", store=STORE, source="first")
        return row if row["sealed"] else None

    row = await until(sealed)
    assert (row["sealed"], row["running"], row["locked"], row["purged"], row["index_moved"]) == (1, 0, 0, 1, True)
    for host in (cluster.alice, cluster.bob):

        async def purged(host: Host = host) -> bool:
            return (Kind.EPOCH, False) in await held(host, Kind.EPOCH)

        await until(purged)
        assert [there for _, there in await held(host, Kind.RESEAL)] == [True]
    assert (await rows(cluster))["first"]["epochs"] == 0
    assert len(await cluster.read(4)) == 4
    await cluster.restart(cluster.alice)
    assert len(await cluster.read(4)) == 4


async def test_what_is_due_goes_by_itself(cluster: Cluster, turned: Clock) -> None:
    await under(cluster, "daily keep 1")
    await deliver(cluster, 1, 2)
    await cluster.read(2)
    turned.ahead += timedelta(days=2, hours=1)
    await running(cluster.bob).reencrypting.round()  # it closes its epoch, though nothing comes
    await deliver(cluster, 3)
    await cluster.read(3)

    async def resealed() -> bool:
        await running(cluster.alice).reencrypting.round()
        return len(await held(cluster.bob, Kind.RESEAL)) == 1

    await until(resealed)

    async def purged() -> bool:
        return [there for _, there in await held(cluster.bob, Kind.EPOCH)].count(False) == 1

    await until(purged)
    assert len(await cluster.read(3)) == 3
    assert {(row["sealed"], row["there"]) for row in await cluster.alice.ask("keyset.reseal", store=STORE)} == {(0, 0)}


async def test_what_no_long_term_key_opens_is_not_saved_by_schedule(cluster: Cluster, turned: Clock) -> None:
    await under(cluster, "daily keep 1 strict")
    await deliver(cluster, 1)
    await cluster.read(1)
    turned.ahead += timedelta(days=3)
    await running(cluster.bob).reencrypting.round()
    await deliver(cluster, 2)
    await cluster.read(2)
    await running(cluster.alice).reencrypting.round()
    assert await held(cluster.alice, Kind.RESEAL) == []
    due = [name for name, row in (await rows(cluster)).items() if row["state"] == "due" and row["epochs"]]
    assert len(due) == 1
    [row] = await cluster.alice.ask("keyset.reseal", store=STORE, source=due[0])
    assert row["sealed"] == 1


async def test_without_a_running_open_client_it_says_what_to_do(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="no private keys"):
        await cluster.bob.ask("keyset.reseal", store=next(iter(running(cluster.bob).stores)).name)
    await cluster.alice.ask("store.lock", name=STORE)
    with pytest.raises(Locked, match="locked"):
        await cluster.alice.ask("keyset.reseal", store=STORE)


async def test_a_phone_loses_what_is_due_and_keeps_what_is_not(
    cluster: Cluster, turned: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencrypting, "SLACK", 0)
    await under(cluster, "daily keep 1")
    async with cluster.another("phone", "client", "exchange") as phone:
        offer = await phone.ask("node.invite", roles=["client", "exchange"], passphrase=PASSPHRASE)
        await cluster.alice.ask(
            "store.add_node", name=STORE, invitation=offer["invitation"], keys="short", passphrase=PASSPHRASE
        )
        await phone.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)
        await deliver(cluster, 1, 2)
        await bodies(phone, 2)
        turned.ahead += timedelta(days=2, hours=1)
        await running(cluster.bob).reencrypting.round()
        await deliver(cluster, 3)
        await bodies(phone, 3)
        await running(phone).reencrypting.round()  # before any client with the long-term key
        await bodies(phone, 1)
        assert (await held(phone, Kind.EPOCH)).count((Kind.EPOCH, False)) == 1
        await cluster.read(3)


async def bodies(host: Host, count: int) -> None:
    """Return once so many messages can be read on a client."""

    async def there() -> bool:
        view = running(host).stores.named(STORE).view()
        boxes = await view.mailboxes(["INBOX"])
        found = [await whole(b) async for some in view.content(boxes[0].id, ((1, 1 << 31),)) for _, b in some]
        return len(found) == count

    await until(there)
