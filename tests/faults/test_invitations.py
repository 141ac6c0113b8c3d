"""Invitations that were stolen, used again, outlived, or answered with a lie. Each is refused with a reason for both."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mesyx_core.exchange import InvitationRefused, WrongNode
from mesyx_core.exchange.invitation import LIFETIME, proof
from mesyx_core.vault.nodekey import NodeKey
from tests.faults.marks import fault
from tests.unit.exchange.guests import Guests
from tests.unit.exchange.nodes import Owner, clustered, member

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def guests(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Guests]:
    async with clustered(tmp_path) as cluster:
        laptop, gateway = await cluster.node("laptop"), await cluster.node("gateway")
        cluster.store = cluster.owner.found(member(laptop.key, "client"))
        await laptop.hold(cluster.owner.documents)
        yield Guests(cluster, laptop, gateway, member)


@fault("invitation-expired")
async def test_an_expired_one_is_refused_by_the_server(guests: Guests) -> None:
    invited = await guests.invite()
    guests.gateway.clock += LIFETIME
    with pytest.raises(InvitationRefused, match=r"expired on 20\d\d-"):
        await guests.join(invited)
    assert "expired" in guests.gateway.exchange.refusals[-1].reason
    assert not guests.about  # nothing was signed for it


@fault("invitation-stolen")
async def test_the_owner_of_a_stolen_one_learns_that_somebody_was_faster(guests: Guests) -> None:
    """The thief brings a store of his own; the gateway's operator sees which, and the owner gets no further."""
    invited = await guests.invite("alice@example.org")
    thief = await guests.cluster.node("thief")
    owner, store = guests.cluster.owner, guests.cluster.store
    guests.cluster.owner = Owner()
    guests.cluster.store = guests.cluster.owner.found(member(thief.key, "client"))
    await guests.join(invited, by=thief, addresses=["alice@example.org"])
    [issued] = await guests.gateway.exchange.register.all()
    assert (issued.client, issued.store) == (thief.key.public, guests.cluster.store)
    guests.cluster.owner, guests.cluster.store = owner, store
    with pytest.raises(InvitationRefused, match="used already: ask for a new one"):
        await guests.join(invited)
    assert "used already" in guests.gateway.exchange.refusals[-1].reason
    assert len(guests.gateway.joined) == 1


@fault("invitation-replayed")
async def test_a_used_one_is_refused_for_another_store(guests: Guests) -> None:
    invited = await guests.invite()
    await guests.join(invited)
    with pytest.raises(InvitationRefused, match="used already"):
        await guests.join(invited, store=b"\1" * 32)


@fault("invitation-withdrawn")
async def test_a_withdrawn_one_is_refused(guests: Guests) -> None:
    invited = await guests.invite()
    await guests.gateway.exchange.register.withdraw(invited.id)
    with pytest.raises(InvitationRefused, match="no such invitation"):
        await guests.join(invited)


@fault("invitation-imposter")
async def test_another_node_cannot_redeem_it_in_the_inviters_place(guests: Guests) -> None:
    invited = await guests.invite()
    guests.gateway = await guests.cluster.node("imposter")
    with pytest.raises(WrongNode):
        await guests.join(invited)


@fault("invitation-lying-addresses")
async def test_addresses_that_were_not_granted_are_refused(guests: Guests) -> None:
    invited = await guests.invite("alice@example.org")
    with pytest.raises(InvitationRefused, match="does not grant"):
        await guests.join(invited, addresses=["root@example.org"])
    assert not guests.gateway.joined


@fault("invitation-lying-roles")
async def test_roles_that_were_not_offered_are_refused(guests: Guests) -> None:
    with pytest.raises(InvitationRefused, match="does not offer"):
        await guests.join(await guests.invite(), roles=frozenset({"accept", "client"}))


@fault("invitation-without-secret")
async def test_who_knows_only_the_id_is_refused(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    invited = await guests.invite()
    monkeypatch.setattr("mesyx_core.exchange.join.proof", lambda secret, *values: proof(b"\0" * 16, *values))
    with pytest.raises(InvitationRefused, match="proof"):
        await guests.join(invited)
    assert not guests.gateway.joined


@fault("invitation-unwanted-keys")
async def test_private_keys_for_one_who_is_no_client_are_refused(guests: Guests) -> None:
    guests.keys = b"sealed", "alice"
    with pytest.raises(InvitationRefused, match="no client"):
        await guests.join(await guests.invite(keys="age1pq1"))
    assert not guests.gateway.joined


@fault("invitation-lying-manifest")
@pytest.mark.parametrize("lie", ["other-recipient", "other-store", "not-by-a-member"])
async def test_a_manifest_that_lies_is_refused_and_the_invitation_stays_good(guests: Guests, lie: str) -> None:
    gateway, owner = guests.gateway, guests.cluster.owner
    invited = await guests.invite()
    good, before = list(owner.documents), owner.manifest
    assert before is not None
    gatekeeper = member(gateway.key, "accept")
    if lie == "other-recipient":
        owner.change([*before.members, replace(gatekeeper, recipient=NodeKey(os.urandom(32)).recipient)])
        refuse = "does not name this node as it is"
    elif lie == "not-by-a-member":
        owner.change([gatekeeper])
        refuse = "does not name the node that presents it"
    else:
        owner.__init__()  # type: ignore[misc]
        owner.found(member(guests.laptop.key, "client"), gatekeeper)
        refuse = "of another store"
    with pytest.raises(InvitationRefused, match=refuse):
        await guests.join(invited)
    assert not gateway.joined
    [issued] = await gateway.exchange.register.all()
    assert not issued.spent
    owner.documents, owner.manifest = good, before
    if lie != "other-store":
        await guests.join(invited)
        assert len(gateway.joined) == 1
