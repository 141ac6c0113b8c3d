"""A key that is due goes with all that it opened here, and not before nothing can be lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mesyx_core.api import Refused, Temporary
from mesyx_core.node import core, keysets, mailboxes, reencrypting, sightings
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, Host, alice_and_bob
from mesyx_core.vault.keyset import key_id
from tests.unit.node.quick import quick_passphrases
from tests.unit.node.test_reencrypting import Clock, deliver, running, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    for module in (core, keysets, mailboxes, sightings):
        monkeypatch.setattr(module, "now", turned)
    monkeypatch.setattr(reencrypting, "SLACK", 0)
    quick_passphrases(monkeypatch)
    return turned


@pytest.fixture
async def cluster(tmp_path: Path, clock: Clock) -> AsyncIterator[Cluster]:
    async with alice_and_bob(tmp_path) as made:
        await made.alice.ask("keyset.policy", store=STORE, text="daily keep 1")
        await until(lambda: same_manifest(made.alice, made.bob))
        yield made


async def same_manifest(one: Host, other: Host) -> bool:
    [here], [there] = list(running(one).stores), list(running(other).stores)
    return here.authority.heads == there.authority.heads


@asynccontextmanager
async def a_phone(cluster: Cluster) -> AsyncIterator[Host]:
    """With the short-term keys alone."""
    async with cluster.another("phone", "client", "exchange") as phone:
        offer = await phone.ask("node.invite", roles=["client", "exchange"], passphrase=PASSPHRASE)
        await cluster.alice.ask(
            "store.add_node", name=STORE, invitation=offer["invitation"], keys="short", passphrase=PASSPHRASE
        )
        await phone.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)
        yield phone


async def exists(host: Host, count: int) -> None:
    """Return once INBOX of a client shows so many."""

    async def there() -> bool:
        boxes = await running(host).stores.named(STORE).view().mailboxes(["INBOX"])
        return boxes[0].exists == count

    await until(there)


def first_day(host: Host) -> tuple[Any, str, bytes]:
    """The keyset of the first day, its own recipient, and what names that one's key."""
    node = running(host)
    store = node.stores.named(STORE)
    assert store.secrets is not None
    roster = keysets.opened(store, store.secrets)
    keyset = min((each for each in roster.keysets if each.end and roster.names.keyset(each.id).by_policy), key=_end)
    [short] = roster.short(keyset)
    return keyset, short, key_id(short)


def _end(keyset: Any) -> int:
    return int(keyset.end)


async def pass_two_days(cluster: Cluster, clock: Clock, number: int = 99) -> None:
    """So that the first day's key is due, and the gateway has said so."""
    clock.ahead += timedelta(days=2, hours=1)
    await running(cluster.bob).reencrypting.round()
    await deliver(cluster, number)
    await cluster.read(1)


async def shredded(host: Host, key: bytes) -> None:
    async def gone() -> bool:
        node = running(host)
        await node.reencrypting.round()
        await node.shredding.round()
        return key not in node.keyring.held(node.stores.named(STORE).id)

    await until(gone)


async def test_a_phone_forgets_what_is_due_and_a_laptop_does_not(cluster: Cluster, clock: Clock) -> None:
    async with a_phone(cluster) as phone:
        await deliver(cluster, 1, 2)
        await exists(phone, 2)
        keyset, _, key = first_day(phone)
        node = running(phone)
        store = node.stores.named(STORE)
        assert key in node.keyring.held(store.id)
        [index] = (node.home.state / "mailbox").glob(f"*/keyset-{keyset.id.hex()[:32]}.db")
        await pass_two_days(cluster, clock)
        await exists(phone, 3)
        await shredded(phone, key)
        await exists(phone, 1)
        assert not index.exists()
        assert not index.with_suffix(".key").exists()
        assert key in await node.sightings.given_up(store.id)
        row = next(row for row in await phone.ask("keyset.list", store=STORE) if row["id"] == keyset.id.hex())
        assert row["state"] == "shredded"
        assert [seen["place"] for each in row["keys"] for seen in each["seen"]][:1] == [sightings.SHREDDED]
        await phone.end()
        await phone.start(cluster._tasks)
        await phone.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)
        await exists(phone, 1)
        await running(phone).sharing.fetch(running(phone).stores.named(STORE))
        assert key not in running(phone).keyring.held(store.id)  # nor does the laptop bring it back
        assert len(await cluster.read(3)) == 3


async def test_a_key_stays_while_a_gateway_could_still_seal_to_it(cluster: Cluster, clock: Clock) -> None:
    await deliver(cluster, 1)
    await cluster.read(1)
    keyset, _, key = first_day(cluster.alice)
    await cluster.bob.end()
    node = running(cluster.alice)
    store = node.stores.named(STORE)
    clock.ahead += timedelta(days=2, hours=1)
    await node.shredding.round()
    assert key in node.keyring.held(store.id)  # nobody bears its clock out
    clock.ahead += timedelta(days=-1)
    look = await cluster.alice.ask("keyset.shred", store=STORE, name=keyset.id.hex(), look=True)
    assert any(one.startswith("bob has not ") for one in look["against"])
    with pytest.raises(Refused, match=r"still needed.*bob has not"):
        await cluster.alice.ask("keyset.shred", store=STORE, name=keyset.id.hex())
    assert key in node.keyring.held(store.id)
    done = await cluster.alice.ask("keyset.shred", store=STORE, name=keyset.id.hex(), insist=True)
    assert done["keys"] == [key.hex()]
    assert not done["lost_for_all"]
    assert key not in node.keyring.held(store.id)
    with pytest.raises(Refused, match="no private key is here"):
        await cluster.alice.ask("keyset.shred", store=STORE, name=keyset.id.hex(), insist=True)


async def test_what_waits_for_long_is_told(cluster: Cluster, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    await deliver(cluster, 1)
    await cluster.read(1)
    await pass_two_days(cluster, clock)
    node = running(cluster.alice)

    async def silent(*given: Any) -> bool:
        return False

    monkeypatch.setattr(node.shredding, "_done", silent)
    await node.reencrypting.round()
    assert await node.shredding.findings() == []
    clock.ahead += timedelta(days=8)
    await deliver(cluster, 2)
    await cluster.read(3)

    async def told() -> bool:
        return any("is due to be destroyed and waits" in one["what"] for one in await node.shredding.findings())

    await until(told)


async def test_what_was_cut_off_is_done_in_the_next_round(
    cluster: Cluster, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(cluster, 1)
    await cluster.read(1)
    _, _, key = first_day(cluster.alice)
    await pass_two_days(cluster, clock)
    node = running(cluster.alice)
    with monkeypatch.context() as patch:

        async def fails(*given: Any) -> None:
            raise Temporary("the disk failed")

        patch.setattr(node.mailboxes, "destroy_keys", fails)

        async def tried() -> bool:
            await node.reencrypting.round()
            await node.shredding.round()
            return key in await node.sightings.given_up(node.stores.named(STORE).id)

        await until(tried)
        assert key in node.keyring.held(node.stores.named(STORE).id)
    await shredded(cluster.alice, key)
    assert len(await cluster.read(2)) == 2


async def test_messages_come_back_with_their_key(cluster: Cluster, clock: Clock) -> None:
    async with a_phone(cluster) as phone:
        await deliver(cluster, 1)
        await exists(phone, 1)
        keyset, short, key = first_day(phone)
        node = running(phone)
        store = node.stores.named(STORE)
        assert store.secrets is not None
        mine = store.secrets.keys()
        text = next(each.text for each in mine if each.recipient == short)
        await phone.ask("keyset.shred", store=STORE, name=keyset.id.hex(), insist=True)
        await exists(phone, 0)
        assert await node.mailboxes.add_keys(store, [text]) == {key}
        await exists(phone, 1)
        assert await contents(phone) == 1
        assert key not in await node.sightings.given_up(store.id)


async def contents(host: Host) -> int:
    async def some() -> int:
        view = running(host).stores.named(STORE).view()
        boxes = await view.mailboxes(["INBOX"])
        return sum([len(batch) async for batch in view.content(boxes[0].id, ((1, 1 << 31),))])

    return int(await until(some))


async def test_what_another_key_opens_stays_where_it_is(cluster: Cluster, clock: Clock) -> None:
    await deliver(cluster, 1)
    await cluster.read(1)
    keyset, _, key = first_day(cluster.alice)
    await cluster.alice.ask("keyset.shred", store=STORE, name=keyset.id.hex(), insist=True)
    node = running(cluster.alice)
    assert key not in node.keyring.held(node.stores.named(STORE).id)
    assert len(await cluster.read(1)) == 1


async def test_mail_under_a_strict_keyset_ends_with_its_key(cluster: Cluster, clock: Clock) -> None:
    await cluster.alice.ask("keyset.policy", store=STORE, text="daily keep 0 strict")
    await until(lambda: same_manifest(cluster.alice, cluster.bob))
    await deliver(cluster, 1)
    await exists(cluster.alice, 1)
    store = running(cluster.alice).stores.named(STORE)
    assert store.secrets is not None
    roster = keysets.opened(store, store.secrets)
    keyset = min((each for each in roster.keysets if roster.strict(each)), key=_end)
    [own] = keyset.recipients
    await pass_two_days(cluster, clock)
    await shredded(cluster.alice, key_id(own))
    await exists(cluster.alice, 1)
    assert b"text 99" in (await cluster.read(1))[0]
