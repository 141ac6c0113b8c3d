"""A lost laptop, a stolen owner key, two manifests at once: the store comes back into its owner's hands."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Create, Refused
from mesyx_core.node import governing
from mesyx_core.node.core import Node
from mesyx_core.node.kit import Kit, opened, recovery_kit
from mesyx_core.node.stores import Store
from mesyx_core.record.entry import Origin
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, Host, alice_and_bob
from mesyx_core.vault import age
from mesyx_core.vault.manifest import sign
from tests.unit.node.quick import quick_passphrases

pytestmark = pytest.mark.anyio
PATIENCE = 20
FROM = ["memory://bob"]


def letter(number: int) -> bytes:
    return f"Message-ID: <{number}@example.org>\r\nSubject: {number}\r\n\r\nhello\r\n".encode()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passphrases(monkeypatch)


@pytest.fixture
async def cluster(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with alice_and_bob(tmp_path) as cluster:
        yield cluster


def at(host: Host) -> tuple[Node, Store]:
    assert host.node is not None
    [store] = host.node.stores
    return host.node, store


async def agreed(one: Host, other: Host) -> None:
    with anyio.fail_after(PATIENCE):
        while at(one)[1].authority.heads != at(other)[1].authority.heads:  # noqa: ASYNC110 - two nodes
            await anyio.sleep(0.01)


async def settled(cluster: Cluster) -> None:
    """Bob has all that Alice wrote."""
    node, store = at(cluster.alice)
    own = [head for head in await node.journal.heads(store.id) if head.node == node.key.public]
    with anyio.fail_after(PATIENCE):
        for head in own:
            await node.exchange.replicated(Origin(store.id, *head[:2]), head.seq)


async def said(host: Host) -> str:
    return "\n".join(one["what"] for one in await host.ask("doctor"))


async def taken_kit(host: Host) -> str:
    kit = (await host.ask("store.kit", name=STORE))["kit"]
    await host.ask("store.kit_taken", name=STORE)
    return str(kit)


async def restored(cluster: Cluster, host: Host, kit: str, **more: Any) -> Any:
    return await host.ask("store.restore", kits=[kit], places=FROM, passphrase=PASSPHRASE, **more)


class TestRestore:
    async def test_all_mail_comes_back_from_the_kit_and_the_gateway_alone(self, cluster: Cluster) -> None:
        kit = await taken_kit(cluster.alice)
        lost = at(cluster.alice)[0].key.public
        for number in range(3):
            assert (await cluster.deliver(letter(number))).word == "accept"
        await cluster.read(3)
        await cluster.view.change([Create(name="Work")])
        await settled(cluster)
        await cluster.alice.end()
        async with cluster.another("laptop", "client", "exchange") as laptop:
            told = await restored(cluster, laptop, kit)
            assert told["removed"] == lost.hex()
            old, cluster.alice = cluster.alice, laptop
            assert len(await cluster.read(3)) == 3
            with anyio.fail_after(PATIENCE):
                while not await cluster.view.mailboxes(["Work"]):  # noqa: ASYNC110 - as it is opened
                    await anyio.sleep(0.01)
            _, store = at(laptop)
            assert store.authority.member(lost) is None
            assert {cut.node for cut in store.manifest.cuts} == {lost}
            await agreed(laptop, cluster.bob)
            assert (await cluster.deliver(letter(9))).word == "accept"
            assert len(await cluster.read(4)) == 4
            assert not await _reads_news(old, store, at(laptop)[0])

    async def test_the_old_owner_key_decides_nothing_any_more(self, cluster: Cluster) -> None:
        kit = await taken_kit(cluster.alice)
        node, store = at(cluster.alice)
        owner, before = await governing.owner_key(node, store), store.manifest
        await cluster.alice.end()
        async with cluster.another("laptop", "client", "exchange") as laptop:
            told = await restored(cluster, laptop, kit)
            _, store = at(laptop)
            assert store.manifest.owner != before.owner
            await agreed(laptop, cluster.bob)
            theft = replace(before, number=before.number + 1, parents=(before.hash,), first=store.id, grace=0)
            bob, held = at(cluster.bob)
            await governing.take(bob, held, sign(theft, owner))
            assert held.manifest == store.manifest
            assert "signed by an owner key that was succeeded" in await said(cluster.bob)
            fresh = opened([told["kit"]], PASSPHRASE)
            assert fresh.following is not None
            assert fresh.following != opened([kit], PASSPHRASE).following

    async def test_the_new_kit_restores_as_well(self, cluster: Cluster) -> None:
        kit = await taken_kit(cluster.alice)
        await cluster.deliver(letter(1))
        await cluster.read(1)
        await cluster.alice.end()
        async with cluster.another("second", "client", "exchange") as second:
            told = await restored(cluster, second, kit)
            cluster.alice = second
            await cluster.deliver(letter(2))
            await cluster.read(2)
            await agreed(second, cluster.bob)
        async with cluster.another("third", "client", "exchange") as third:
            await restored(cluster, third, told["kit"])
            cluster.alice = third
            await cluster.read(2)

    async def test_a_kit_from_before_the_last_exchange_still_brings_its_owner_in(self, cluster: Cluster) -> None:
        """It opens neither names nor what came since; the owner, who has lost the newer kit, is not locked out."""
        kit = await taken_kit(cluster.alice)
        await cluster.alice.end()
        async with cluster.another("second", "client", "exchange") as second:
            await restored(cluster, second, kit)
            await agreed(second, cluster.bob)
        async with cluster.another("third", "client", "exchange") as third:
            await restored(cluster, third, kit)
            node, store = at(third)
            names = governing.known_names(store)
            assert names is not None
            assert {name.name for name in names.nodes.values()} == {"third"}
            assert [member.node for member in store.manifest.members if "client" in member.roles] == [node.key.public]

    async def test_which_node_is_lost_is_asked_where_it_could_be_two(self, cluster: Cluster) -> None:
        kit = await taken_kit(cluster.alice)
        async with AsyncExitStack() as stack:
            phone = await stack.enter_async_context(cluster.another("phone", "client", "exchange"))
            offer = await phone.ask("node.invite", roles=["client", "exchange"], passphrase=PASSPHRASE)
            await cluster.alice.ask("store.add_node", name=STORE, invitation=offer["invitation"])
            await agreed(cluster.alice, cluster.bob)
            laptop = await stack.enter_async_context(cluster.another("laptop", "client", "exchange"))
            with pytest.raises(Refused, match="which client is lost") as refused:
                await restored(cluster, laptop, kit)
            assert "phone" in refused.value.remedy
            told = await restored(cluster, laptop, kit, lost="phone")
            _, store = at(laptop)
            assert told["removed"] == at(phone)[0].key.public.hex()
            names = governing.known_names(store)
            assert names is not None
            assert "laptop" in {name.name for name in names.nodes.values()}

    async def test_a_wrong_passphrase_or_a_kit_of_another_store_restores_nothing(self, cluster: Cluster) -> None:
        kit = await taken_kit(cluster.alice)
        strange = recovery_kit(Kit("bob", bytes(32), bytes(range(32)), None, ()), PASSPHRASE)
        async with cluster.another("laptop", "client", "exchange") as laptop:
            with pytest.raises(Refused, match="wrong passphrase"):
                await laptop.ask("store.restore", kits=[kit], places=FROM, passphrase="another")
            with pytest.raises(Refused, match="no recovery kit"):
                await restored(cluster, laptop, "nothing")
            with pytest.raises(Refused, match="several stores"):
                await laptop.ask("store.restore", kits=[kit, strange], places=FROM, passphrase=PASSPHRASE)
            with pytest.raises(Refused, match="not a member"):
                await restored(cluster, laptop, strange)
            assert laptop.node is not None
            assert not list(laptop.node.stores)


async def _reads_news(lost: Host, store: Store, node: Node) -> bool:
    """Whether the keys on a lost laptop's disk open what is sealed from now on."""
    from mesyx_core import config
    from mesyx_core.node.core import Node as Whole

    async with Whole.opened(config.load(lost.file), plugins=False) as whole:
        held = whole.keyring.open(store.id, PASSPHRASE).keys()
    keys = {key.recipient for key in held}
    coming = [each for each in store.manifest.keysets if each.id not in store.manifest.closed]
    return bool(keys & {*store.manifest.clients, *(one for each in coming for one in each.recipients)})


class TestSuccession:
    async def test_the_key_on_paper_takes_the_owners_place(self, cluster: Cluster) -> None:
        kit = await taken_kit(cluster.alice)
        node, store = at(cluster.alice)
        before = store.manifest
        told = await cluster.alice.ask("store.succeed", name=STORE, kits=[kit], passphrase=PASSPHRASE)
        assert store.manifest.owner != before.owner
        assert store.manifest.members == before.members
        with pytest.raises(Refused, match="nobody has taken the recovery kit"):
            await cluster.alice.ask("store.succeed", name=STORE, kits=[kit], passphrase=PASSPHRASE)
        await cluster.alice.ask("store.kit_taken", name=STORE)
        with pytest.raises(Refused, match="does not have the next owner key"):
            await cluster.alice.ask("store.succeed", name=STORE, kits=[kit], passphrase=PASSPHRASE)
        owner = await governing.owner_key(node, store)
        await governing.govern(node, store, lambda manifest: replace(manifest, grace=1), owner=owner)
        await cluster.alice.ask("store.succeed", name=STORE, kits=[told["kit"]], passphrase=PASSPHRASE)
        await agreed(cluster.alice, cluster.bob)
        await cluster.restart(cluster.alice)
        node, store = at(cluster.alice)
        assert await governing.owner_key(node, store)  # what unlocking gives is the owner's

    async def test_a_kit_of_another_store_does_not_succeed(self, cluster: Cluster) -> None:
        await taken_kit(cluster.alice)
        strange = recovery_kit(Kit("bob", bytes(32), bytes(range(32)), bytes(range(1, 33)), ()), PASSPHRASE)
        with pytest.raises(Refused, match="another store"):
            await cluster.alice.ask("store.succeed", name=STORE, kits=[strange], passphrase=PASSPHRASE)


class TestTwoManifests:
    async def test_they_are_shown_and_merged(self, cluster: Cluster) -> None:
        node, store = at(cluster.alice)
        owner, parent = await governing.owner_key(node, store), store.manifest
        with pytest.raises(Refused, match="one newest"):
            await cluster.alice.ask("store.merge", name=STORE)
        for grace in (5, 9):
            child = replace(parent, number=parent.number + 1, parents=(parent.hash,), first=store.id, grace=grace)
            await governing.take(node, store, sign(child, owner))
        assert "signed 2 manifests side by side" in await said(cluster.alice)
        await cluster.alice.ask("store.merge", name=STORE)
        assert store.manifest.grace == 9
        assert len(store.authority.heads) == 1
        assert "side by side" not in await said(cluster.alice)
        names = governing.known_names(store)
        assert names is not None
        assert "bob" in {each.name for each in names.nodes.values()}
        await agreed(cluster.alice, cluster.bob)


class TestFreeze:
    async def test_a_manifest_that_is_held_back_is_noticed(self, cluster: Cluster) -> None:
        """Bob has a newer one, does not show it, and writes on."""
        await cluster.deliver(letter(1))
        await cluster.read(1)
        assert "was not shown" not in await said(cluster.alice)
        node, store = at(cluster.alice)
        parent, owner = store.manifest, await governing.owner_key(node, store)
        newer = replace(parent, number=parent.number + 1, parents=(parent.hash,), first=store.id, grace=1)
        bob, held = at(cluster.bob)
        await bob.stores.take(held.id, sign(newer, owner))
        await cluster.deliver(letter(2))
        await cluster.read(2)
        assert store.manifest == parent
        assert "another member goes by a manifest that this node was not shown" in await said(cluster.alice)


class TestKit:
    def test_it_opens_again_with_all_that_is_in_it(self) -> None:
        key = age.generate().text
        kit = Kit("alice", bytes(32), bytes(range(32)), bytes(range(1, 33)), (key,), ("https://a:1", "tcp://b:2"))
        assert opened([recovery_kit(kit, "phrase")], "phrase") == kit
        fewer = kit._replace(following=None, identities=(age.generate().text,), owner=bytes(range(2, 34)))
        both = opened([recovery_kit(fewer, "phrase"), recovery_kit(kit, "phrase")], "phrase")
        assert both == kit._replace(owner=fewer.owner, identities=(*fewer.identities, key))


class TestRemovedClient:
    async def test_the_keys_that_it_had_open_nothing_new(self, cluster: Cluster) -> None:
        await taken_kit(cluster.alice)
        await cluster.deliver(letter(1))
        async with cluster.another("phone", "client", "exchange") as phone:
            offer = await phone.ask("node.invite", roles=["client", "exchange"], passphrase=PASSPHRASE)
            await cluster.alice.ask("store.add_node", name=STORE, invitation=offer["invitation"])
            await phone.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)
            _, store = at(cluster.alice)
            had = at(phone)[1].secrets
            assert had is not None
            keys = had.keys()
            recipients = {key.recipient for key in keys}
            assert recipients & set(store.manifest.clients)
            with pytest.raises(Refused, match="passphrase"):  # a new kit is to be under it
                await cluster.alice.ask("store.remove_node", name=STORE, member="phone")
            assert store.authority.member(at(phone)[0].key.public) is not None
            told = await cluster.alice.ask(
                "store.remove_node", name=STORE, member="phone", by={"passphrase": PASSPHRASE}
            )
            assert len(told["reads"]) == 1
            assert told["exchanged"] == 2
            coming = [each for each in store.manifest.keysets if each.id not in store.manifest.closed]
            used = {*store.manifest.clients, *(one for each in coming for one in each.recipients)}
            assert not recipients & used
            kit = opened([told["kit"]], PASSPHRASE)
            assert kit.following is None
            assert set(store.manifest.clients) <= {age.parse_identity(text).recipient for text in kit.identities}
        await cluster.deliver(letter(2))
        await cluster.read(2)
        await cluster.restart(cluster.alice)
        await cluster.read(2)

    async def test_keys_are_kept_where_that_is_asked_for(self, cluster: Cluster) -> None:
        await taken_kit(cluster.alice)
        async with cluster.another("phone", "client", "exchange") as phone:
            offer = await phone.ask("node.invite", roles=["client", "exchange"], passphrase=PASSPHRASE)
            await cluster.alice.ask("store.add_node", name=STORE, invitation=offer["invitation"])
            before = at(cluster.alice)[1].manifest
            told = await cluster.alice.ask("store.remove_node", name=STORE, member="phone", keep_keys=True)
            assert "kit" not in told
            after = at(cluster.alice)[1].manifest
            assert (after.keysets, after.closed, after.clients) == (before.keysets, before.closed, before.clients)
