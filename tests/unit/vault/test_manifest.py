"""A manifest has one form, one hash, and its owner's signature."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.vault import age, labels
from mesyx_core.vault.encoding import decode, encode, labelled
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Cut, Manifest, ManifestError, Member, next_commitment, owner_public, parse, sign
from mesyx_core.vault.nodekey import NodeKey

FOLDER = Path(__file__).parents[2] / "vectors" / "vault"
VECTOR = json.loads((FOLDER / "manifest.json").read_text())
DOCUMENTS = [(FOLDER / f"manifest-{number}.cbor").read_bytes() for number in (1, 2, 3)]
OWNERS = [bytes.fromhex(owner) for owner in VECTOR["owners"]]
OWNER, NEXT = OWNERS[:2]
LAPTOP, PHONE = (age.Identity.classic(bytes([number]) * 32).recipient for number in (1, 3))
NODE = NodeKey(bytes(32))


def plain(**changes: Any) -> Manifest:
    return dataclasses.replace(
        Manifest(owner=owner_public(OWNER), next_owner=next_commitment(owner_public(NEXT)), time=17), **changes
    )


def resigned(document: bytes, place: int, value: Any, owner: bytes = OWNER) -> bytes:
    """The document with one value of its body replaced, signed anew by whoever."""
    version, body, _ = decode(document, limit=1 << 20)
    values = decode(body, limit=1 << 20)
    values[place] = value
    return signed(encode(values), owner, version)


def signed(body: bytes, owner: bytes = OWNER, version: int = 1) -> bytes:
    signature = Ed25519PrivateKey.from_private_bytes(owner).sign(labelled(labels.MANIFEST, version, body))
    return encode([version, body, signature])


def test_documents_are_fixed() -> None:
    for document, expected, owner in zip(DOCUMENTS, VECTOR["hashes"], (OWNER, OWNER, NEXT), strict=True):
        manifest = parse(document)
        assert manifest.hash.hex() == expected
        assert manifest.store.hex() == VECTOR["store"]
        assert sign(manifest, owner) == document
    assert [next_commitment(owner_public(owner)).hex() for owner in OWNERS] == VECTOR["commitments"]


def test_a_document_says_what_was_signed() -> None:
    manifest = parse(DOCUMENTS[1])
    one, two = sorted(bytes.fromhex(node) for node in VECTOR["nodes"])
    assert [member.node for member in manifest.members] == [one, two]
    server = manifest.member(bytes.fromhex(VECTOR["nodes"][1]))
    assert server is not None
    assert server.roles == {"accept", "exchange"}
    assert server.addresses == ("alice@example.org",)
    assert server.dial == ("https://mx1.example.org:8443", "tcp://192.0.2.1:9")
    assert [keyset.fallback for keyset in manifest.keysets].count(True) == 1
    assert manifest.closed == {bytes([5]) * 32}
    assert set(manifest.clients) == {LAPTOP, PHONE}
    assert manifest.cuts == (Cut(bytes.fromhex(VECTOR["nodes"][0]), bytes(range(16)), 17, bytes([6]) * 32),)
    assert (manifest.number, manifest.names, manifest.grace) == (2, b"names", 0)
    assert manifest.member(bytes(32)) is None


def test_the_order_of_members_and_keysets_does_not_matter() -> None:
    members = [Member(NodeKey(bytes([number]) * 32).public, LAPTOP) for number in range(4)]
    keysets = [Keyset((LAPTOP,), number, 100) for number in range(4)]
    one = plain(members=tuple(members), keysets=tuple(keysets), clients=(LAPTOP, PHONE))
    other = plain(members=tuple(members[::-1]), keysets=tuple(keysets[::-1]), clients=(PHONE, LAPTOP, PHONE))
    assert one == other
    assert sign(one, OWNER) == sign(other, OWNER)


def test_long_term_recipients_are_written_once() -> None:
    recipient = age.Identity.hybrid(bytes(32)).recipient
    keysets = tuple(Keyset((recipient,), number, number + 1) for number in range(50))
    member = Member(NODE.public, recipient)
    assert len(sign(plain(keysets=keysets, clients=(recipient,), members=(member,)), OWNER)) < 5_000


def test_only_the_owner_signs() -> None:
    with pytest.raises(ManifestError, match="owner"):
        sign(plain(), NEXT)
    for document in DOCUMENTS:
        version, body, signature = decode(document, limit=1 << 20)
        with pytest.raises(ManifestError, match="signed"):
            parse(encode([version, body, bytes([signature[0] ^ 1]) + signature[1:]]))
        with pytest.raises(ManifestError, match="signed"):
            parse(signed(body, owner=b"x" * 32))


def test_no_byte_can_be_changed_and_no_end_cut() -> None:
    for document in DOCUMENTS:
        for at in range(len(document)):
            with pytest.raises(ManifestError):
                parse(document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :])
            with pytest.raises(ManifestError):
                parse(document[:at])


FIRST, OWNER_AT, NEXT_AT, NUMBER, PARENTS, TIME, TABLE, MEMBERS, KEYSETS, CLOSED, CLIENTS, CUTS, NAMES, GRACE = range(
    14
)
SMALL_ORDER = (1).to_bytes(32, "little")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (FIRST, None),
        (FIRST, b""),
        (FIRST, bytes(31)),
        (OWNER_AT, SMALL_ORDER),
        (OWNER_AT, "x" * 32),
        (NEXT_AT, b""),
        (NEXT_AT, next_commitment(owner_public(OWNER))),
        (NUMBER, 0),
        (NUMBER, 1),
        (NUMBER, 1 << 63),
        (NUMBER, 2.0),
        (NUMBER, True),
        (PARENTS, []),
        (PARENTS, [bytes(31)]),
        (PARENTS, [bytes(32), bytes(32)]),
        (PARENTS, [bytes([1]) * 32, bytes(32)]),
        (PARENTS, [bytes([number]) * 32 for number in range(17)]),
        (PARENTS, 5),
        (TIME, -1),
        (TIME, 1.5),
        (TABLE, []),
        (TABLE, {}),
        (TABLE, [LAPTOP]),
        (TABLE, ["age1", "age2", "age3"]),
        (TABLE, [1, 2, 3]),
        (TABLE, sorted([LAPTOP, PHONE, age.Identity.classic(bytes(32)).recipient, NODE.recipient])),
        (MEMBERS, None),
        (MEMBERS, [[]]),
        (MEMBERS, [[NODE.public, 0, ["king"], [], [], []]]),
        (MEMBERS, [[NODE.public, 0, [], [""], [], []]]),
        (MEMBERS, [[NODE.public, 0, [], ["a\nb"], [], []]]),
        (MEMBERS, [[NODE.public, 0, [], [], ["a"] * 2, []]]),
        (MEMBERS, [[NODE.public, 0, [], [], [f"{number}" for number in range(257)], []]]),
        (MEMBERS, [[NODE.public, 0, [], [], ["x" * 513], []]]),
        (MEMBERS, [[NODE.public, 0, [], [], [b"x"], []]]),
        (MEMBERS, [[NODE.public, 99, [], [], [], []]]),
        (MEMBERS, [[NODE.public, -1, [], [], [], []]]),
        (MEMBERS, [[NODE.public, 0, [], [], [], []]] * 2),
        (MEMBERS, [[NODE.public, 0, ["accept", "accept"], [], [], []]]),
        (MEMBERS, [[SMALL_ORDER, 0, [], [], [], []]]),
        (KEYSETS, [[[0], 5, 5, ["low"], False]]),
        (KEYSETS, [[["x"], 5, 6, ["low"], False]]),
        (KEYSETS, [[]]),
        (KEYSETS, [5]),
        (KEYSETS, "abc"),
        (CLOSED, [bytes(31)]),
        (CLOSED, [bytes([2]) * 32, bytes([1]) * 32]),
        (CLOSED, [[]]),
        (CLIENTS, [1, 0]),
        (CLIENTS, [0, 0]),
        (CLIENTS, [None]),
        (CUTS, [[NODE.public, bytes(16), 1]]),
        (CUTS, [[NODE.public, bytes(15), 1, bytes(32)]]),
        (CUTS, [[NODE.public, bytes(16), -1, bytes(32)]]),
        (CUTS, [[NODE.public, bytes(16), 1, bytes(31)]]),
        (CUTS, [[NODE.public, bytes(16), 1, bytes(32)]] * 2),
        (NAMES, "x"),
        (NAMES, bytes((1 << 18) + 1)),
        (GRACE, -1),
        (GRACE, None),
    ],
)
def test_even_the_owner_cannot_sign_nonsense(place: int, value: Any) -> None:
    with pytest.raises(ManifestError):
        parse(resigned(DOCUMENTS[1], place, value))


def test_another_version_is_not_guessed_at() -> None:
    body = decode(DOCUMENTS[0], limit=1 << 20)[1]
    with pytest.raises(ManifestError, match="version"):
        parse(signed(body, version=2))


def test_a_first_manifest_names_no_store() -> None:
    for place, value in ((FIRST, bytes(32)), (NUMBER, 2), (PARENTS, [bytes(32)])):
        with pytest.raises(ManifestError):
            parse(resigned(DOCUMENTS[0], place, value))


def test_size_is_bounded() -> None:
    with pytest.raises(ManifestError):
        parse(DOCUMENTS[1], limit=len(DOCUMENTS[1]) - 1)
    assert parse(DOCUMENTS[1], limit=len(DOCUMENTS[1]))
    with pytest.raises(ManifestError):
        sign(plain(closed=frozenset(number.to_bytes(32, "big") for number in range(4_097))), OWNER)


def test_what_others_would_refuse_is_not_signed() -> None:
    closed = [frozenset(number.to_bytes(32, "big") for number in range(4_096))]
    cuts = tuple(Cut(NODE.public, bytes(16), number, bytes(32)) for number in range(16_384))
    with pytest.raises(ManifestError):
        sign(plain(closed=closed[0], cuts=cuts), OWNER)  # over 1 MiB


@given(st.binary(max_size=200))
def test_garbage_is_a_manifest_error(data: bytes) -> None:
    for document in (data, signed(data), signed(encode([data] * 14))):
        with pytest.raises(ManifestError):
            parse(document)
