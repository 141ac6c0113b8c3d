"""Nodes are suspended, resumed, removed and replaced, and what they write beyond that does not count."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Refused
from mesyx_core.node import governing, membership
from mesyx_core.node.core import Node
from mesyx_core.node.stores import Store
from mesyx_core.node.verbs.members import reads
from mesyx_core.record.entry import Origin, chain_next, chain_start
from mesyx_core.testing.cluster import STORE, Cluster, Host, alice_and_bob
from mesyx_core.vault.manifest import Cut
from mesyx_core.vault.names import NodeName
from tests.unit.node.quick import quick_passphrases

pytestmark = pytest.mark.anyio
PATIENCE = 20
LETTER = b"Subject: hello\r\n\r\nhello\r\n"


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


async def agreed(cluster: Cluster) -> None:
    """Both hold the same manifests."""
    with anyio.fail_after(PATIENCE):
        while at(cluster.alice)[1].authority.heads != at(cluster.bob)[1].authority.heads:  # noqa: ASYNC110 - two nodes
            await anyio.sleep(0.01)


async def said(host: Host) -> str:
    return "\n".join(one["what"] for one in await host.ask("doctor"))


async def test_a_node_is_known_by_its_own_name_to_the_stores_clients_alone(cluster: Cluster) -> None:
    _, store = at(cluster.alice)
    names = governing.known_names(store)
    assert names is not None
    assert names.node(at(cluster.bob)[0].key.public) == NodeName("bob", "none")
    await agreed(cluster)
    assert governing.known_names(at(cluster.bob)[1]) is None
    shown = await cluster.alice.ask("store.show", name=STORE)
    assert "bob" in {row["name"] for row in shown["nodes"]}


async def test_a_suspended_gateway_puts_mail_off_until_it_is_resumed(cluster: Cluster) -> None:
    assert (await cluster.deliver(LETTER)).word == "accept"
    await cluster.read(1)
    told = await cluster.alice.ask("store.suspend_node", name=STORE, member="bob")
    assert told["state"] == "suspended"
    await agreed(cluster)
    verdict = await cluster.deliver(LETTER)
    assert (verdict.word, verdict.temporary) == ("reject", True)
    assert "this node is suspended in the store" in await said(cluster.bob)
    with pytest.raises(Refused, match="suspended already"):
        await cluster.alice.ask("store.suspend_node", name=STORE, member="bob")
    await cluster.alice.ask("store.resume_node", name=STORE, member="bob")
    await agreed(cluster)
    assert (await cluster.deliver(LETTER)).word == "accept"
    await cluster.read(2)
    assert at(cluster.alice)[1].manifest.cuts == ()
    with pytest.raises(Refused, match="is not suspended"):
        await cluster.alice.ask("store.resume_node", name=STORE, member="bob")


async def test_nothing_is_served_to_a_suspended_node(cluster: Cluster) -> None:
    node, _ = at(cluster.alice)
    await cluster.alice.ask("store.suspend_node", name=STORE, member="bob")
    await agreed(cluster)
    with anyio.fail_after(PATIENCE):
        while any(peer.running for peer in node.exchange.peers()):  # noqa: ASYNC110 - the other node's doing
            await anyio.sleep(0.01)
    assert not node.exchange.peers() or not any(peer.running for peer in node.exchange.peers())


async def test_what_a_removed_node_wrote_before_stays_and_nothing_more_comes(cluster: Cluster) -> None:
    assert (await cluster.deliver(LETTER)).word == "accept"
    await cluster.read(1)
    node, store = at(cluster.alice)
    bob = at(cluster.bob)[0].key.public
    told = await cluster.alice.ask("store.remove_node", name=STORE, member=bob.hex()[:8])
    assert told["state"] == "removed"
    assert told["reads"] == []
    assert store.authority.member(bob) is None
    heads = {head[:2]: head for head in await node.journal.heads(store.id) if head.node == bob}
    assert {cut[:2]: cut.seq for cut in store.manifest.cuts} == {log: head.seq for log, head in heads.items()}
    await cluster.deliver(LETTER)  # it has not heard that it is none any more, and may never
    assert len(await cluster.read(1)) == 1
    assert [head for head in await node.journal.heads(store.id) if head.node == bob] == list(heads.values())
    await cluster.restart(cluster.alice)
    assert len(await cluster.read(1)) == 1


async def test_entries_beyond_the_cut_are_kept_aside_and_shown(cluster: Cluster) -> None:
    assert (await cluster.deliver(LETTER)).word == "accept"
    await cluster.read(1)
    node, store = at(cluster.alice)
    bob = at(cluster.bob)[0].key.public
    [head] = [head for head in await node.journal.heads(store.id) if head.node == bob]
    first = await node.journal.ids(Origin(store.id, *head[:2]), 0, max_count=1)
    end = Cut(bob, head.incarnation, 1, chain_next(chain_start(Origin(store.id, *head[:2])), first[0]))
    owner = await governing.owner_key(node, store)
    await governing.govern(node, store, partial(membership.without, member=bob, ends=[end]), owner=owner)
    assert f"{head.seq - 1} entries of bob, which was taken out, are kept aside" in await said(cluster.alice)


async def test_a_node_does_not_remove_itself(cluster: Cluster) -> None:
    own = at(cluster.alice)[0].key.public.hex()
    for verb in ("store.remove_node", "store.suspend_node"):
        with pytest.raises(Refused, match="itself"):
            await cluster.alice.ask(verb, name=STORE, member=own)
    with pytest.raises(Refused, match="is no node"):
        await cluster.alice.ask("store.remove_node", name=STORE, member="nobody")


async def test_one_node_takes_the_place_of_another_in_one_manifest(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path, carol=True) as cluster:
        assert cluster.carol is not None
        carol = at(cluster.carol)[0].key.public
        store = at(cluster.alice)[1]
        number = store.manifest.number
        offer: Any = await cluster.bob.ask("node.invite", roles=["exchange"])
        await cluster.alice.ask("store.add_node", name=STORE, invitation=offer["invitation"], replaces="carol")
        assert store.manifest.number == number + 1
        assert store.authority.member(carol) is None
        assert {cut.node for cut in store.manifest.cuts} <= {carol}
        assert (await cluster.deliver(LETTER)).word == "accept"
        await cluster.read(1)


async def test_only_a_client_that_holds_keys_is_said_to_read(cluster: Cluster) -> None:
    node, store = at(cluster.alice)
    names = governing.known_names(store)
    assert names is not None
    me = store.authority.member(node.key.public)
    assert me is not None
    kinds = {keys: len(reads(store, names.with_node(me.node, keys=keys), me)) for keys in ("all", "short", "none")}
    assert kinds == {"all": 2, "short": 1, "none": 0}
    assert len(reads(store, None, me)) == 2  # who knows
    assert reads(store, names.with_node(me.node, keys="all"), replace(me, roles=frozenset(("accept",)))) == []
