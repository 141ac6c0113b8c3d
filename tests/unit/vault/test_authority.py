"""Who may do what: the owner chain, two children of one parent, and what a thief of the owner key cannot do."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from mesyx_core.vault import age
from mesyx_core.vault.authority import Authority, UnknownParent
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Cut, Manifest, ManifestError, Member, next_commitment, owner_public, parse, sign
from mesyx_core.vault.nodekey import NodeKey

OWNER, NEXT, AFTER, THIEF = (bytes([number]) * 32 for number in (1, 2, 3, 4))
LAPTOP, PHONE, TABLET = (age.Identity.classic(bytes([number]) * 32).recipient for number in (1, 2, 3))
GATEWAY, CLIENT, OTHER = (NodeKey(bytes([number]) * 32).public for number in (1, 2, 3))
ORIGIN = (GATEWAY, bytes(16))
FALLBACK, SHORT = Keyset((LAPTOP,), fallback=True), Keyset((LAPTOP, PHONE), 0, 100)

FIRST = Manifest(
    owner=owner_public(OWNER),
    next_owner=next_commitment(owner_public(NEXT)),
    members=(Member(CLIENT, LAPTOP, frozenset(("client",))), Member(GATEWAY, PHONE, frozenset(("accept", "exchange")))),
    keysets=(FALLBACK,),
    clients=(LAPTOP,),
)


def child(*parents: Manifest, **changes: Any) -> Manifest:
    usual: dict[str, Any] = {
        "first": parents[0].store,
        "parents": tuple(parent.hash for parent in parents),
        "number": 1 + max(parent.number for parent in parents),
    }
    return dataclasses.replace(parents[0], **usual | changes)


def succeeded(*parents: Manifest, owner: bytes = NEXT, following: bytes = AFTER, **changes: Any) -> Manifest:
    commitment = next_commitment(owner_public(following))
    return child(*parents, owner=owner_public(owner), next_owner=commitment, **changes)


def signed(manifest: Manifest) -> bytes:
    keys = {owner_public(key): key for key in (OWNER, NEXT, AFTER, THIEF)}
    return sign(manifest, keys[manifest.owner])


def view(*manifests: Manifest) -> Authority:
    return Authority.of(map(signed, manifests))


def member(node: bytes, recipient: str = PHONE, *roles: str, **fields: Any) -> Member:
    return Member(node, recipient, frozenset(roles), **fields)


def test_the_first_manifest_founds_the_store() -> None:
    authority = view(FIRST)
    assert authority.store == FIRST.store
    assert authority.heads == (FIRST.hash,)
    assert authority.effective == FIRST
    assert FIRST.hash in authority
    assert authority.may(GATEWAY, "accept")
    assert not authority.may(GATEWAY, "client")
    assert not authority.may(OTHER, "exchange")
    assert authority.member(CLIENT) == FIRST.member(CLIENT)
    assert authority.member(OTHER) is None


def test_a_child_takes_effect() -> None:
    second = child(FIRST, members=(member(OTHER, TABLET, "client"),))
    authority = view(FIRST).accepts(signed(second))
    assert authority.heads == (second.hash,)
    assert authority.may(OTHER, "client")
    assert not authority.may(GATEWAY, "accept")
    assert authority.store == FIRST.store


def test_a_known_manifest_changes_nothing() -> None:
    authority = view(FIRST, child(FIRST))
    assert authority.accepts(signed(FIRST)) is authority
    assert view(FIRST, FIRST) == view(FIRST)


def test_views_are_frozen() -> None:
    before = view(FIRST)
    before.accepts(signed(child(FIRST)))
    assert before.heads == (FIRST.hash,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.store = b""  # type: ignore[misc]  # that it cannot be set is the promise


def test_a_missing_parent_is_named_as_such() -> None:
    second = child(FIRST)
    third = child(second)
    with pytest.raises(UnknownParent):
        view(FIRST).accepts(signed(third))
    with pytest.raises(UnknownParent):
        view(second)
    assert view(third, FIRST, second).heads == (third.hash,)


def test_another_store_is_refused() -> None:
    stranger = dataclasses.replace(FIRST, time=99)
    with pytest.raises(ManifestError, match="another store"):
        view(FIRST).accepts(signed(stranger))
    with pytest.raises(ManifestError):
        view(FIRST, stranger)
    with pytest.raises(ManifestError, match="another store"):
        view(FIRST).accepts(signed(child(FIRST, first=stranger.store)))
    with pytest.raises(ManifestError):
        Authority.of([])


@pytest.mark.parametrize("number", [3, 100])
def test_numbers_follow_the_parents(number: int) -> None:
    with pytest.raises(ManifestError, match="numbered"):
        view(FIRST).accepts(signed(child(FIRST, number=number)))


def test_of_two_children_what_both_allow_is_in_effect() -> None:
    one = child(
        FIRST,
        members=(
            member(GATEWAY, PHONE, "accept", "exchange", addresses=("a@x", "b@x"), dial=("tcp://1",)),
            member(CLIENT, LAPTOP, "client", rights=frozenset(("purge",))),
        ),
        keysets=(FALLBACK, SHORT),
        clients=(LAPTOP, PHONE),
        grace=5,
        cuts=(Cut(*ORIGIN, 9, bytes(32)),),
    )
    other = child(
        FIRST,
        members=(
            member(GATEWAY, PHONE, "accept", "client", addresses=("b@x", "c@x"), dial=("tcp://2",)),
            member(CLIENT, TABLET, "client"),
            member(OTHER, TABLET, "client"),
        ),
        keysets=(FALLBACK,),
        closed=frozenset((SHORT.id,)),
        clients=(LAPTOP, TABLET),
        grace=7,
        cuts=(Cut(*ORIGIN, 5, bytes(32)),),
    )
    authority = view(FIRST, one, other)
    assert authority == view(FIRST, other, one)
    effective = authority.effective
    assert authority.heads == tuple(sorted((one.hash, other.hash))) == effective.merged
    gateway = authority.member(GATEWAY)
    assert gateway is not None
    assert gateway.roles == {"accept"}
    assert gateway.addresses == ("b@x",)
    assert set(gateway.dial) == {"tcp://1", "tcp://2"}
    assert [known.node for known in effective.members] == [GATEWAY]  # nobody is added, and a changed recipient is not
    assert effective.keysets == (FALLBACK,)
    assert effective.closed == {SHORT.id}
    assert effective.clients == (LAPTOP,)
    assert effective.grace == 7
    assert effective.cuts == (Cut(*ORIGIN, 5, bytes(32)),)
    assert effective.hash == max(authority.heads)
    assert effective.store == FIRST.store


def test_a_view_of_two_is_not_signed_but_their_child_is() -> None:
    one, other = child(FIRST, time=1), child(FIRST, time=2)
    authority = view(FIRST, one, other)
    with pytest.raises(ManifestError, match="view"):
        sign(authority.effective, OWNER)
    both = dataclasses.replace(child(one, other), time=3)
    assert authority.accepts(signed(both)).effective == both


def test_three_heads_are_judged_alike_in_any_order() -> None:
    heads = [
        child(FIRST, members=(member(GATEWAY, PHONE, *roles),))
        for roles in (("accept", "exchange"), ("accept", "client"), ("accept", "reencrypt"))
    ]
    views = [view(FIRST, *order) for order in itertools.permutations(heads)]
    assert len({repr(known.effective) for known in views}) == 1
    assert len({known.effective.hash for known in views}) == 1
    assert [known.member(GATEWAY).roles for known in views] == [{"accept"}] * 6  # type: ignore[union-attr]  # a member


def test_a_cut_at_one_place_with_two_chains_lets_neither_pass() -> None:
    one = child(FIRST, cuts=(Cut(*ORIGIN, 5, b"1" * 32),))
    other = child(FIRST, cuts=(Cut(*ORIGIN, 5, b"2" * 32),))
    assert len(view(FIRST, one, other).effective.cuts) == 2


def test_a_merged_view_may_be_larger_than_a_manifest() -> None:
    ids = [frozenset((start + number).to_bytes(32, "big") for number in range(4_000)) for start in (0, 4_000)]
    dial = [tuple(f"tcp://{start + number}" for number in range(256)) for start in (0, 256)]
    one, other = (
        child(FIRST, closed=closed, members=(member(GATEWAY, PHONE, dial=urls),))
        for closed, urls in zip(ids, dial, strict=True)
    )
    assert len(view(FIRST, one, other).effective.closed) == 8_000


def test_the_committed_key_succeeds() -> None:
    second = succeeded(FIRST)
    authority = view(FIRST).accepts(signed(second))
    assert authority.effective.owner == owner_public(NEXT)
    third = succeeded(second, owner=AFTER, following=THIEF)
    assert authority.accepts(signed(third)).heads == (third.hash,)


def test_no_other_key_succeeds() -> None:
    forged = [
        succeeded(FIRST, owner=THIEF),
        succeeded(FIRST, owner=AFTER, following=THIEF),
        succeeded(child(FIRST), owner=THIEF, following=NEXT),
    ]
    for manifest in forged:
        with pytest.raises(ManifestError):
            view(FIRST, child(FIRST)).accepts(signed(manifest))
    assert parse(signed(forged[0])).owner == owner_public(THIEF)  # well formed, but of no authority


def test_a_stolen_owner_key_cannot_change_who_succeeds() -> None:
    with pytest.raises(ManifestError, match="commitment"):
        view(FIRST).accepts(signed(child(FIRST, next_owner=next_commitment(owner_public(THIEF)))))


def test_once_succeeded_a_stolen_owner_key_decides_nothing() -> None:
    theft = child(FIRST, members=(member(OTHER, TABLET, "client"),))
    rescue = succeeded(FIRST)
    later = child(theft, clients=(TABLET,))
    for order in itertools.permutations((theft, rescue)):
        authority = view(FIRST)
        for manifest in (*order, later):
            authority = authority.accepts(signed(manifest))
        assert authority.effective == rescue
        assert authority.heads == (rescue.hash,)
        assert authority.superseded == (later.hash,)
        with pytest.raises(ManifestError):
            authority.accepts(signed(child(rescue, owner=owner_public(OWNER), next_owner=FIRST.next_owner)))
        with pytest.raises(ManifestError):
            authority.accepts(signed(child(theft, rescue)))


def test_the_successor_can_take_in_both_branches() -> None:
    theft, rescue = child(FIRST, time=1), succeeded(FIRST)
    both = child(rescue, theft)
    authority = view(FIRST, theft, rescue, both)
    assert authority.heads == (both.hash,)
    assert authority.superseded == ()


def test_a_lost_laptop_does_not_lock_its_owner_out() -> None:
    """The thief removed every node but his own; the owner's key from paper restores them."""
    theft = child(FIRST, members=(member(OTHER, TABLET, "client"),), clients=(TABLET,))
    authority = view(FIRST, theft)
    assert not authority.may(GATEWAY, "accept")
    restored = authority.accepts(signed(succeeded(theft, members=FIRST.members, clients=FIRST.clients)))
    assert restored.may(GATEWAY, "accept")
    assert not restored.may(OTHER, "client")


def test_two_heads_of_the_successor_are_merged_too() -> None:
    one, other = succeeded(FIRST, time=1), succeeded(child(FIRST), time=2)
    authority = view(FIRST, child(FIRST), one, other)
    assert set(authority.heads) == {one.hash, other.hash}


def test_the_child_of_both_has_what_either_added_and_nothing_that_either_took_away() -> None:
    second = child(FIRST, keysets=(FALLBACK, SHORT), clients=(LAPTOP, PHONE))
    new = Keyset((TABLET,), 0, 50)
    one = child(
        second,
        members=(*FIRST.members, member(OTHER, TABLET, "client")),
        keysets=(FALLBACK, SHORT, new),
        clients=(LAPTOP,),
    )
    other = child(second, members=FIRST.members[:1], closed=frozenset((SHORT.id,)), clients=(LAPTOP, PHONE, TABLET))
    for order in itertools.permutations((one, other)):
        joined = view(FIRST, second, *order).joined
        assert {each.node for each in joined.members} == {FIRST.members[0].node, OTHER}
        assert {keyset.id for keyset in joined.keysets} == {FALLBACK.id, SHORT.id, new.id}
        assert joined.closed == {SHORT.id}
        assert set(joined.clients) == {LAPTOP, TABLET}


def test_of_what_both_changed_the_child_of_both_has_what_both_allow() -> None:
    one = child(FIRST, members=(member(GATEWAY, PHONE, "accept", "reencrypt"), member(OTHER, TABLET, "client")))
    other = child(FIRST, members=(member(GATEWAY, PHONE, "accept", "client"), member(OTHER, TABLET, "exchange")))
    joined = view(FIRST, one, other).joined
    assert {each.node: each.roles for each in joined.members} == {GATEWAY: {"accept"}, OTHER: set()}


def test_one_head_is_its_own_child_of_all() -> None:
    assert view(FIRST, child(FIRST)).joined == view(FIRST, child(FIRST)).effective
