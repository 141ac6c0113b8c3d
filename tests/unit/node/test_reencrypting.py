"""Real nodes: what a policy keeps no longer goes to the long-term key by itself, and then from every other disk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Locked, Refused
from mesyx_core.journal import Journal
from mesyx_core.node import core, keysets, mailboxes, reencrypting
from mesyx_core.node.core import Node
from mesyx_core.record.entry import Entry, Kind, Origin, decode_header
from mesyx_core.record.marks import decode_reseal
from mesyx_core.record.payloads import decode_epoch
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, Host, alice_and_bob
from mesyx_core.testing.samples import whole
from mesyx_core.vault import age
from mesyx_core.vault.roster import Roster

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
            origin = Origin(store.id, head.node, head.incarnation)
            marked = [seq for seq, kind in await node.journal.marks(origin) if kind in kinds]
            entries = await node.journal.pick(origin, marked)
            headers = [(decode_header(entry.header), entry.payload is not None) for _, entry in entries]
            found += [(Kind(header.kind), there) for header, there in headers]
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
    assert {row["sealed"] for row in await cluster.alice.ask("keyset.reseal", store=STORE)} == {0}


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


PERIODS = 5
"""Days of the short form; MESYX_FULL makes it two years of 104 weeks with 3,000 mails."""
FULL = bool(os.environ.get("MESYX_FULL"))


@pytest.mark.timeout(3600 if FULL else 120)
async def test_over_the_years_a_phone_reads_its_window_and_a_laptop_all(
    cluster: Cluster, turned: Clock, tmp_path: Path
) -> None:
    word, days, periods, each = ("weekly", 7, 104, 29) if FULL else ("daily", 1, PERIODS, 2)
    await cluster.alice.ask("keyset.policy", store=STORE, text=f"{word} keep 1")
    async with cluster.another("phone", "client", "exchange") as phone:
        offer = await phone.ask("node.invite", roles=["client", "exchange"], passphrase=PASSPHRASE)
        await cluster.alice.ask(
            "store.add_node", name=STORE, invitation=offer["invitation"], keys="short", passphrase=PASSPHRASE
        )
        await phone.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)
        for period in range(periods):
            await deliver(cluster, *range(period * each, period * each + each))
            if period % 10 < 2:
                await cluster.read((period + 1) * each)
            await running(cluster.alice).upkeep.round()
            await shared(cluster, phone)
            turned.ahead += timedelta(days=days)
            await running(cluster.bob).reencrypting.round()

            async def settled(count: int = period + 1) -> bool:
                for host in (cluster.alice, phone):
                    await running(host).reencrypting.round()
                found = await held(phone, Kind.EPOCH, Kind.RESEAL)
                return found.count((Kind.EPOCH, False)) >= count - 2 and found.count((Kind.RESEAL, True)) >= count - 2

            await until(settled)
        assert len(await cluster.read(periods * each)) == periods * each
        secrets = running(phone).stores.named(STORE).secrets
        assert secrets is not None
        identities, file = secrets.keys(), phone.file
    # A thief with the phone's disk and all keys that are on it.
    opened: set[int] = set()
    async with Journal.open(file.parent / "state" / "journal") as journal:
        for store, _ in await journal.stores():
            for head in await journal.heads(store):
                origin = Origin(store, head.node, head.incarnation)
                for _, entry in await journal.entries(origin, 0, max_bytes=1 << 30, max_count=1 << 20):
                    opened |= _opens(origin, entry, identities)
    reading = {number for number in opened if number}
    assert reading <= {periods, periods - 1, periods - 2}
    assert periods in reading


def _opens(origin: Origin, entry: Entry, identities: Sequence[age.Identity]) -> set[int]:
    """The epoch of a gateway's that an entry gives these keys, if any: one for each period."""
    header = decode_header(entry.header)
    if entry.payload is None or header.kind not in (Kind.EPOCH, Kind.RESEAL):
        return set()
    if header.kind == Kind.EPOCH:
        epoch = decode_epoch(entry.payload)
        number, file, target = header.epoch, epoch.file, epoch.target
    else:
        reseal = decode_reseal(entry.payload)
        number, file, target = reseal.number, reseal.file, reseal.target
    if target.kind != "keyset":
        return set()
    try:
        age.decrypt(file, identities)
    except age.NoMatch:
        return set()
    return {number}


async def shared(cluster: Cluster, phone: Host) -> None:
    """Return once the phone has the keys of all coming periods."""

    async def there() -> bool:
        [ours], theirs = running(cluster.alice).stores, running(phone).stores.named(STORE)
        identities = theirs.secrets.keys() if theirs.secrets is not None else ()
        roster = Roster.of(ours.manifest, identities)
        have = {identity.recipient for identity in identities}
        named, now = roster.names.keyset, keysets.clock()
        kept = [each for each in roster.keysets if named(each.id).by_policy and not roster.due(each, now)]
        return theirs.manifest == ours.manifest and all(have.intersection(roster.short(each)) for each in kept)

    await until(there)
