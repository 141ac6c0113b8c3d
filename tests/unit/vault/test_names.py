"""What people call nodes and keysets is sealed to the clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mesyx_core.vault import age
from mesyx_core.vault.encoding import encode
from mesyx_core.vault.names import KeysetName, Names, NamesError, NodeName, decode_names, encode_names, open_, seal
from mesyx_core.vault.nodekey import NodeKey

LAPTOP, PHONE = NodeKey(b"1" * 32).public, NodeKey(b"2" * 32).public
WEEK, MONTH = b"w" * 32, b"m" * 32
NAMES = Names(
    {LAPTOP: NodeName("laptop", "all"), PHONE: NodeName("phone", "short")},
    {WEEK: KeysetName("2026-W48", 1_800_000_000, True), MONTH: KeysetName("taxes")},
    "weekly keep 4",
    12,
)


def test_names_come_back_as_they_were() -> None:
    own = age.generate()
    assert open_(seal(NAMES, [own.recipient]), [own]) == NAMES
    assert open_(b"", []) == Names()


def test_their_encoding_is_fixed() -> None:
    vector = Path(__file__).parents[2] / "vectors" / "vault" / "names-1.cbor"
    assert decode_names(vector.read_bytes()) == NAMES
    assert encode_names(NAMES) == vector.read_bytes()


def test_who_has_no_key_of_the_clients_learns_nothing() -> None:
    with pytest.raises(NamesError):
        open_(seal(NAMES, [age.generate().recipient]), [age.generate()])


def test_what_was_never_named_has_no_name_and_gets_no_keys() -> None:
    assert Names().node(LAPTOP) == NodeName("", "none")
    assert Names().keyset(WEEK) == KeysetName("", None, False)


def test_changes_leave_the_rest_alone() -> None:
    changed = NAMES.with_node(PHONE, keys="all").with_keysets({MONTH: KeysetName("2026 taxes")})
    assert changed.node(PHONE) == NodeName("phone", "all")
    assert changed.keyset(MONTH).name == "2026 taxes"
    assert changed.keyset(WEEK) == NAMES.keyset(WEEK)
    left = changed.only([LAPTOP], [WEEK])
    assert (set(left.nodes), set(left.keysets), left.policy) == ({LAPTOP}, {WEEK}, "weekly keep 4")


@pytest.mark.parametrize(
    "names",
    [
        Names({b"short": NodeName()}),
        Names({LAPTOP: NodeName("a\nb")}),
        Names({LAPTOP: NodeName("x" * 65)}),
        Names({LAPTOP: NodeName("x", "every")}),  # type: ignore[arg-type]  # as another program might
        Names(keysets={b"short": KeysetName()}),
        Names(keysets={WEEK: KeysetName(expires=-1)}),
        Names(policy="x" * 1001),
        Names(ahead=401),
    ],
)
def test_what_would_not_be_read_back_is_not_written(names: Names) -> None:
    with pytest.raises(NamesError):
        encode_names(names)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [2, [], [], "", 8],
        [1, [], [], "", True],
        [1, [[LAPTOP, "laptop"]], [], "", 8],
        [1, [[LAPTOP, "laptop", "all"], [LAPTOP, "twin", "all"]], [], "", 8],
        [1, [], [[WEEK, "w", True, False]], "", 8],
        [1, [], [[MONTH, "m", None, False], [WEEK, "w", None, 0]], "", 8],
        [1, [], [[WEEK, "w", None, False], [MONTH, "m", None, False]], "", 8],
    ],
)
def test_any_other_form_is_refused(value: Any) -> None:
    with pytest.raises(NamesError):
        decode_names(encode(value))


def test_names_too_long_for_a_manifest_are_refused() -> None:
    many = Names(keysets={number.to_bytes(32, "big"): KeysetName("x" * 64) for number in range(4096)})
    with pytest.raises(NamesError, match="too many"):
        seal(many, [age.generate().recipient])
