"""One secret, three keys that know nothing of each other."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mesyx_core.vault import age
from mesyx_core.vault.nodekey import _SMALL_ORDER, NodeKey, StateError, is_public_key, verify

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vault" / "node.json").read_text())
KEY, OTHER = NodeKey(bytes(32)), NodeKey(b"1" * 32)


@pytest.mark.parametrize("case", VECTORS)
def test_what_derives_from_a_secret_is_fixed(case: dict[str, Any]) -> None:
    key = NodeKey(bytes.fromhex(case["secret"]))
    assert key.public.hex() == case["public"]
    assert key.identity == age.Identity.hybrid(bytes.fromhex(case["age_seed"]))
    assert key.sign(case["signed"]["label"], *case["signed"]["values"]).hex() == case["signed"]["signature"]
    row = case["row"]
    assert key.seal_row(row["space"], row["key"], bytes.fromhex(row["value"])).hex() == row["sealed"]


def test_what_is_sealed_to_a_node_it_opens() -> None:
    file = age.encrypt(b"seed", [KEY.recipient])
    assert age.decrypt(file, [KEY.identity]) == b"seed"
    with pytest.raises(age.NoMatch):
        age.decrypt(file, [OTHER.identity])


def test_signatures_hold_for_key_label_and_values() -> None:
    signature = KEY.sign("log/checkpoint", 1, b"a")
    assert verify(KEY.public, signature, "log/checkpoint", 1, b"a")
    assert not verify(OTHER.public, signature, "log/checkpoint", 1, b"a")
    assert not verify(KEY.public, signature, "exchange/auth", 1, b"a")
    assert not verify(KEY.public, signature, "log/checkpoint", 1, "a")
    assert not verify(KEY.public, signature, "log/checkpoint", [1, b"a"])
    assert not verify(KEY.public, signature[:-1], "log/checkpoint", 1, b"a")
    assert not verify(KEY.public[:-1], signature, "log/checkpoint", 1, b"a")
    assert not verify(b"", b"", "log/checkpoint")


def test_no_key_that_anybody_can_sign_for_is_a_key() -> None:
    assert len(_SMALL_ORDER) == 14
    identity = (1).to_bytes(32, "little")
    forged = identity + bytes(32)  # R is the neutral point, S is zero
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"anything")  # the library takes it
    for public in _SMALL_ORDER:
        assert not is_public_key(public)
        assert not verify(public, forged, "log/checkpoint", 1)
    assert is_public_key(KEY.public)
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(KEY.public).verify(forged, b"anything")


def test_rows_open_in_their_place_only() -> None:
    sealed = KEY.seal_row("outbox", "1", b"value")
    assert b"value" not in sealed
    assert KEY.open_row("outbox", "1", sealed) == b"value"
    for key, space, name in ((OTHER, "outbox", "1"), (KEY, "account", "1"), (KEY, "outbox", "2"), (KEY, "outbox1", "")):
        with pytest.raises(StateError):
            key.open_row(space, name, sealed)


def test_no_bit_of_a_row_can_be_changed() -> None:
    sealed = KEY.seal_row("outbox", "1", b"value")
    for at in range(len(sealed)):
        with pytest.raises(StateError):
            KEY.open_row("outbox", "1", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    for size in range(len(sealed)):
        with pytest.raises(StateError):
            KEY.open_row("outbox", "1", sealed[:size])


def test_different_rows_have_different_keys() -> None:
    one, other = KEY.seal_row("outbox", "1", bytes(32)), KEY.seal_row("outbox", "2", bytes(32))
    assert one[:32] != other[:32]
    assert one[32:64] != other[32:64]


def test_the_secret_is_neither_copied_nor_shown() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    assert "000000" not in repr(KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        NodeKey(bytes(31))
