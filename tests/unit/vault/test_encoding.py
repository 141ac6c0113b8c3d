"""One value, one encoding, and nothing that is not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.vault import labels
from mesyx_core.vault.encoding import EncodingError, decode, digest, encode, extent, labelled, mac

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vault" / "encoding.json").read_text())
LIMIT = 1 << 20

scalars = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text() | st.floats()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=8), max_leaves=20
)


def plain(entry: dict[str, Any]) -> Any:
    return bytes.fromhex(entry["value_hex"]) if "value_hex" in entry else entry["value"]


@pytest.mark.parametrize("entry", VECTORS["values"], ids=lambda entry: entry["cbor"])
def test_values_have_their_one_encoding(entry: dict[str, Any]) -> None:
    assert encode(plain(entry)).hex() == entry["cbor"]
    assert decode(bytes.fromhex(entry["cbor"]), limit=LIMIT) == plain(entry)


@pytest.mark.parametrize("name", VECTORS["refused"])
def test_any_other_form_is_refused(name: str) -> None:
    with pytest.raises(EncodingError):
        decode(bytes.fromhex(VECTORS["refused"][name]), limit=LIMIT)


def test_label_and_values_make_one_input() -> None:
    case = VECTORS["labelled"]
    key, label, given_values = bytes.fromhex(case["key"]), case["label"], case["values"]
    assert labelled(label, *given_values).hex() == case["input"]
    assert digest(label, *given_values).hex() == case["sha256"]
    assert mac(key, label, *given_values).hex() == case["hmac"]


def test_no_two_labels_are_alike() -> None:
    texts = [value for name, value in vars(labels).items() if name.isupper()]
    assert len(texts) == len(set(texts))
    assert all(text.isascii() and "\0" not in text for text in texts)


@given(values)
def test_what_is_encoded_comes_back(value: Any) -> None:
    data = encode(value)
    assert extent(data) == len(data)
    assert encode(decode(data, limit=LIMIT)) == data


@given(st.binary(max_size=64))
def test_hostile_bytes_end_in_a_value_or_the_one_error(data: bytes) -> None:
    try:
        value = decode(data, limit=64)
    except EncodingError:
        return
    assert encode(value) == data


def test_bounds_hold() -> None:
    with pytest.raises(EncodingError):
        decode(encode(bytes(100)), limit=100)
    assert decode(b"\x81" * 4 + b"\x80", limit=9, depth=5) == [[[[[]]]]]
    with pytest.raises(EncodingError):
        decode(b"\x81" * 4 + b"\x80", limit=9, depth=4)
    assert decode(encode([0] * 9), limit=99, items=10) == [0] * 9
    with pytest.raises(EncodingError):
        decode(encode([0] * 10), limit=99, items=10)


def test_deep_and_wide_input_costs_nothing_but_an_error() -> None:
    for hostile in (b"\x81" * LIMIT, b"\xa1" * LIMIT, b"\x9a\x00\x10\x00\x00" + b"\x80" * (LIMIT - 5)):
        with pytest.raises(EncodingError):
            decode(hostile, limit=LIMIT)
