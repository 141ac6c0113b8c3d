"""A node serves a store only to its members, and takes only what members wrote."""

from __future__ import annotations

import os
from typing import Any

import pytest

from mesyx_core.exchange import NotMember, WrongNode
from mesyx_core.exchange.flow import NOT_ALLOWED
from mesyx_core.record.entry import chain_start
from mesyx_core.vault.manifest import Cut

pytestmark = pytest.mark.anyio


async def three(cluster: Any, as_member: Any) -> tuple[Any, Any, Any]:
    """Laptop, gateway, and a phone that the gateway's manifest does not have."""
    laptop, gateway = await cluster.two()
    phone = await cluster.node("phone")
    cluster.owner.change([*cluster.owner.manifest.members, as_member(phone.key, "client")])
    await phone.hold(cluster.owner.documents)
    return laptop, gateway, phone


async def test_a_stranger_is_refused_and_told_no_more(cluster: Any, as_member: Any) -> None:
    _laptop, gateway = await cluster.two()
    stranger = await cluster.node("stranger")
    await stranger.hold(cluster.owner.documents)
    wire = cluster.connect(stranger, gateway)
    await wire.ended.wait()
    assert isinstance(wire.error, NotMember)
    assert "not a member" in gateway.exchange.refusals[-1].reason


async def test_an_unknown_store_is_refused_in_the_same_words(cluster: Any, as_member: Any) -> None:
    _laptop, gateway = await cluster.two()
    stranger = await cluster.node("stranger")
    await stranger.hold(cluster.owner.documents)
    wires = [cluster.connect(stranger, gateway)]
    await wires[0].ended.wait()
    gateway.authorities.clear()
    wires.append(cluster.connect(stranger, gateway))
    await wires[1].ended.wait()
    assert str(wires[0].error) == str(wires[1].error)


async def test_another_node_at_the_address_is_noticed(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    imposter = await cluster.node("imposter")
    wire = cluster.connect(laptop, imposter, key=gateway.key.public)
    await wire.ended.wait()
    assert isinstance(wire.error, WrongNode)


async def test_a_newer_manifest_is_taken_from_whoever_presents_it(cluster: Any, as_member: Any) -> None:
    _laptop, gateway, phone = await three(cluster, as_member)
    log = await phone.begin(cluster.store)
    cluster.connect(phone, gateway)
    await cluster.settled(phone, gateway)
    assert gateway.authorities[cluster.store].member(phone.key.public)
    assert (await gateway.journal.head(log.origin)).seq == 1


async def test_a_newer_manifest_reaches_the_dialling_side_too(cluster: Any, as_member: Any) -> None:
    laptop, gateway, phone = await three(cluster, as_member)
    await gateway.take(cluster.store, cluster.owner.documents[-1])
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    assert laptop.authorities[cluster.store].member(phone.key.public)


async def test_a_live_change_reaches_the_peer_and_the_new_members_log_follows(
    cluster: Any, as_member: Any, wait_until: Any
) -> None:
    laptop, gateway, phone = await three(cluster, as_member)
    log = await phone.begin(cluster.store)
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    cluster.connect(phone, gateway)
    await cluster.settled(laptop, gateway, phone)
    assert (await laptop.journal.head(log.origin)).seq == 1


async def test_a_removed_node_is_put_out_of_a_running_session(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    wire = cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    newer = cluster.owner.change([m for m in cluster.owner.manifest.members if m.node != laptop.key.public])
    await gateway.change(cluster.store, newer)
    await wire.ended.wait()
    assert isinstance(wire.error, NotMember)


async def test_of_a_removed_node_what_lies_within_its_cut_is_taken(cluster: Any, as_member: Any) -> None:
    laptop, gateway, phone = await three(cluster, as_member)
    for node in (laptop, gateway):
        await node.take(cluster.store, cluster.owner.documents[-1])
    log = await phone.begin(cluster.store)
    await phone.write(log, 9)
    late = await phone.begin(cluster.store)  # begun after the cut
    wire = cluster.connect(phone, gateway)
    await cluster.settled(phone, gateway)
    await wire.cut()
    members = [m for m in cluster.owner.manifest.members if m.node != phone.key.public]
    newer = cluster.owner.change(members, [Cut(log.origin.node, log.origin.incarnation, 10, log.chain)])
    for node in (laptop, gateway):
        await node.take(cluster.store, newer)
    cluster.connect(laptop, gateway)
    await cluster.settled_but(laptop, gateway)
    assert (await laptop.journal.head(log.origin)).seq == 10
    assert await laptop.journal.head(late.origin) is None


async def test_entries_of_a_node_that_is_no_member_are_declined(
    cluster: Any, as_member: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, gateway = await cluster.two()
    outsider = await cluster.node("outsider")
    await outsider.hold(cluster.owner.documents)
    log = await outsider.begin(cluster.store)
    # A gateway that vouches for a log of a node which the manifest does not know.
    held = await outsider.journal.entries(log.origin, 0)
    checkpoint = await outsider.journal.checkpoint(log.origin)
    await gateway.journal.receive(log.origin, 0, chain_start(log.origin), [entry for _, entry in held], checkpoint)
    monkeypatch.setattr("mesyx_core.exchange.standing.Standing.valid", lambda self, heads: list(heads))
    gateway.exchange._hub(cluster.store).standing().limit = lambda log: 1 << 62
    cluster.connect(laptop, gateway)
    await wait_until(lambda: laptop.exchange.peers() and laptop.exchange.peers()[0].declined)
    assert set(laptop.exchange.peers()[0].declined.values()) == {NOT_ALLOWED}
    assert await laptop.journal.head(log.origin) is None


async def test_two_branches_of_one_log_are_declined_and_the_rest_goes_on(
    cluster: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, gateway = await cluster.two()
    run = os.urandom(16)
    manifest = gateway.authorities[cluster.store].effective.hash
    twin = await cluster.node("twin")
    await twin.hold(cluster.owner.documents)
    for node in (gateway, twin):  # a cloned gateway: same key, same incarnation, other entries
        log = await node.journal.begin_log(cluster.store, gateway.key, manifest, run, lambda: 1_800_000_000)
        await node.write(log, 3)
    held = await twin.journal.entries(log.origin, 0)
    await laptop.journal.receive(
        log.origin, 0, chain_start(log.origin), [e for _, e in held], await twin.journal.checkpoint(log.origin)
    )
    other = await gateway.begin(cluster.store)
    cluster.connect(laptop, gateway)
    await wait_until(lambda: laptop.journal.head(other.origin))
    await gateway.write(log := (await gateway.begin(cluster.store)), 2)
    await wait_until(lambda: laptop.journal.head(log.origin))
    assert log.origin[1:] not in laptop.exchange.peers()[0].declined
    assert (gateway.key.public, run) in laptop.exchange.peers()[0].declined
