"""What is carried to the owner key and back, and how a person reads it before signing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesyx_core.vault import age
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import (
    Cut,
    Manifest,
    ManifestError,
    Member,
    next_commitment,
    owner_public,
    parse,
    parse_unsigned,
    sign,
    unsigned,
)
from mesyx_core.vault.names import KeysetName, Names, NodeName
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.vault.proposal import Proposal, changes, proposal_file, read_proposal, read_signed, signed_file

OWNER, NEXT = bytes([1]) * 32, bytes([2]) * 32
LAPTOP, PHONE = (age.Identity.classic(bytes([number]) * 32).recipient for number in (1, 2))
GATEWAY, CLIENT = (NodeKey(bytes([number]) * 32).public for number in (1, 2))
FALLBACK, SHORT = Keyset((LAPTOP,), fallback=True), Keyset((LAPTOP, PHONE), 0, 86_400)
FIRST = Manifest(
    owner=owner_public(OWNER),
    next_owner=next_commitment(owner_public(NEXT)),
    members=(Member(CLIENT, LAPTOP, frozenset(("client",))),),
    keysets=(FALLBACK,),
    clients=(LAPTOP,),
)
SECOND = replace(
    FIRST,
    number=2,
    parents=(FIRST.hash,),
    first=FIRST.store,
    members=(*FIRST.members, Member(GATEWAY, PHONE, frozenset(("accept",)), addresses=("a@example.org",))),
)
PROPOSED = Proposal("alice", (sign(FIRST, OWNER),), SECOND)


def test_a_proposal_comes_back_from_its_file() -> None:
    assert read_proposal(proposal_file(PROPOSED)) == PROPOSED
    assert read_proposal(" \n" + proposal_file(PROPOSED) + "\n") == PROPOSED


def test_what_is_signed_is_what_was_proposed() -> None:
    document = sign(read_proposal(proposal_file(PROPOSED)).manifest, OWNER)
    assert parse(read_signed(signed_file(document))) == SECOND


def test_without_its_signature_it_is_no_document() -> None:
    assert parse_unsigned(unsigned(SECOND)) == SECOND
    with pytest.raises(ManifestError):
        parse(unsigned(SECOND))
    with pytest.raises(ManifestError):
        parse_unsigned(sign(SECOND, OWNER))


def test_it_follows_what_comes_with_it() -> None:
    stranger = replace(FIRST, time=9)
    for parents in ((), (sign(stranger, OWNER),), (sign(FIRST, OWNER), sign(stranger, OWNER)), (b"",)):
        with pytest.raises(ManifestError):
            read_proposal(proposal_file(PROPOSED._replace(parents=parents)))


@pytest.mark.parametrize("name", ["", "a" * 65, "a\nb", "a\x1b[2J"])
def test_a_name_steers_no_terminal(name: str) -> None:
    with pytest.raises(ManifestError):
        read_proposal(proposal_file(PROPOSED._replace(store=name)))


@pytest.mark.parametrize("text", ["", "alice", signed_file(sign(FIRST, OWNER)), proposal_file(PROPOSED)[:-40]])
def test_anything_else_is_no_proposal(text: str) -> None:
    with pytest.raises(ManifestError):
        read_proposal(text)


def test_a_forged_document_is_not_read() -> None:
    document = bytearray(sign(SECOND, OWNER))
    document[-1] ^= 1
    with pytest.raises(ManifestError):
        read_signed(signed_file(bytes(document)))


def test_every_change_is_said() -> None:
    names = Names(nodes={GATEWAY: NodeName("mx1")}, keysets={SHORT.id: KeysetName("week")})
    [added] = changes(FIRST, SECOND, names)
    assert added == f"adds node mx1 ({GATEWAY.hex()}): accept; addresses a@example.org"
    said = changes(
        SECOND,
        replace(
            SECOND,
            members=FIRST.members,
            keysets=(FALLBACK, SHORT),
            closed=frozenset((FALLBACK.id,)),
            clients=(PHONE,),
            cuts=(Cut(GATEWAY, bytes(16), 3, bytes(32)),),
            grace=5,
            names=b"x",
            owner=owner_public(NEXT),
            next_owner=next_commitment(owner_public(bytes(32))),
        ),
        names,
    )
    text = "\n".join(said)
    for words in (
        f"removes node mx1 ({GATEWAY.hex()})",
        "ends 1 logs of node mx1",
        f"adds keyset week ({SHORT.id.hex()[:16]}): from 1970-01-01 00:00:00Z until 1970-01-02 00:00:00Z",
        f"closes keyset {FALLBACK.id.hex()[:16]}",
        f"adds the clients' key {PHONE}",
        f"removes the clients' key {LAPTOP}",
        "owner key",
        "next owner key",
        "purges wait 5 seconds",
        "changes names",
    ):
        assert words in text
    assert changes(SECOND, replace(SECOND, time=99)) == []


def test_changed_roles_rights_and_keys_are_said() -> None:
    before = SECOND
    after = replace(
        SECOND, members=tuple(replace(each, roles=frozenset(), rights=frozenset(("purge",))) for each in SECOND.members)
    )
    assert all("no role; with the right to purge" in line for line in changes(before, after))
    moved = replace(SECOND, members=tuple(replace(each, recipient=PHONE) for each in SECOND.members))
    assert len(changes(before, moved)) == 1
