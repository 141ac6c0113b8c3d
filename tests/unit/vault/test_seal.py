"""A sealed message opens under its key, in its place, unchanged, or not at all."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.vault import seal as module
from mesyx_core.vault.encoding import encode
from mesyx_core.vault.padding import padded
from mesyx_core.vault.seal import Context, SealError, open_, seal

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vault" / "seal.json").read_text())
KEY = bytes(range(32))
CONTEXT = Context(bytes(32), bytes([1]) * 32, bytes(16), 3, 1, 5)


def zeros(size: int) -> bytes:
    return bytes(size)


def context_of(case: dict[str, Any]) -> Context:
    values = case["context"]
    blobs = tuple((bytes.fromhex(name), size) for name, size in values["blobs"])
    store, node, incarnation = (bytes.fromhex(values[name]) for name in ("store", "node", "incarnation"))
    return Context(store, node, incarnation, values["kind"], values["epoch"], values["index"], blobs)


def forged(whole: bytes, key: bytes = KEY, s: bytes | None = None) -> tuple[bytes, bytes]:
    """What somebody with the message key could make of any padded plaintext."""
    bound = module._associated(CONTEXT, len(whole))
    s = s or module._synthetic(key, bound, whole)
    return s, ChaCha20Poly1305(module._aead_key(key, s)).encrypt(bytes(12), whole, bound)


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_sealing_is_fixed(case: dict[str, Any]) -> None:
    plaintext = bytes.fromhex(case["plaintext"]) + bytes(case["zeros"])
    key, salt = bytes.fromhex(case["key"]), bytes.fromhex(case["salt"])
    s, payload = seal(key, context_of(case), plaintext, lambda size: salt[:size])
    assert s.hex() == case["s"]
    assert len(payload) == case["payload_size"]
    assert sha256(payload).hexdigest() == case["payload_sha256"]
    assert payload.hex() == case.get("payload", payload.hex())
    assert open_(key, context_of(case), s, payload) == plaintext


@pytest.mark.parametrize(("size", "expected"), VECTORS["padded"])
def test_padded_sizes_are_fixed(size: int, expected: int) -> None:
    assert padded(size) == expected


@given(st.integers(0, 1 << 40))
def test_padding_is_small_and_settles(size: int) -> None:
    whole = padded(size)
    assert size <= whole <= max(256, size * 1.12)
    assert padded(whole) == whole


@given(st.binary(max_size=5_000))
def test_what_is_sealed_opens(body: bytes) -> None:
    s, payload = seal(KEY, CONTEXT, encode(body), zeros)
    assert open_(KEY, CONTEXT, s, payload) == encode(body)
    assert len(payload) == padded(len(encode(body)) + 16) + 16


def test_equal_messages_look_different() -> None:
    plaintext = encode("hello")
    one = seal(KEY, CONTEXT, plaintext, lambda size: b"1" * size)
    other = seal(KEY, CONTEXT, plaintext, lambda size: b"2" * size)
    assert one[0] != other[0]
    assert one[1] != other[1]


@pytest.mark.parametrize(
    "context",
    [
        CONTEXT._replace(store=bytes([9]) * 32),
        CONTEXT._replace(node=bytes([9]) * 32),
        CONTEXT._replace(incarnation=bytes([9]) * 16),
        CONTEXT._replace(kind=4),
        CONTEXT._replace(epoch=2),
        CONTEXT._replace(index=6),
        CONTEXT._replace(blobs=((bytes(32), 16),)),
    ],
)
def test_it_opens_in_its_place_only(context: Context) -> None:
    s, payload = seal(KEY, CONTEXT, encode("hello"), zeros)
    with pytest.raises(SealError):
        open_(KEY, context, s, payload)


def test_no_bit_can_be_changed() -> None:
    s, payload = seal(KEY, CONTEXT, encode("hello"), zeros)
    for at in range(len(payload)):
        with pytest.raises(SealError):
            open_(KEY, CONTEXT, s, payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :])
    for at in range(len(s)):
        with pytest.raises(SealError):
            open_(KEY, CONTEXT, s[:at] + bytes([s[at] ^ 1]) + s[at + 1 :], payload)
    with pytest.raises(SealError):
        open_(bytes(32), CONTEXT, s, payload)


def test_authentic_ciphertext_under_a_chosen_s_gives_nothing_away() -> None:
    whole = encode("hello") + bytes(256 - 6)
    s, payload = forged(whole, s=b"x" * 32)
    with pytest.raises(SealError, match="did not hold this key"):
        open_(KEY, CONTEXT, s, payload)


@pytest.mark.parametrize(
    "whole",
    [
        encode("hello") + bytes(16) + bytes(233) + b"\x01",  # padding that says something
        encode("hello") + bytes(16) + b"\x01" + bytes(233),
        encode("hello") + bytes(320 - 6),  # padded too far
        b"\xff" + bytes(255),  # no item
        b"\x59\x01\x00" + bytes(253),  # an item longer than the whole
        encode(bytes(245)) + bytes(9),  # no room for the random bytes
    ],
)
def test_the_form_of_the_plaintext_is_checked(whole: bytes) -> None:
    s, payload = forged(whole)
    with pytest.raises(SealError):
        open_(KEY, CONTEXT, s, payload)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 271, 273, 16 + 257, 16 + 1000])
def test_sizes_that_sealing_never_gives_are_refused(size: int) -> None:
    with pytest.raises(SealError, match="size"):
        open_(KEY, CONTEXT, bytes(32), bytes(size))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_s_has_32_bytes(size: int) -> None:
    with pytest.raises(SealError, match="size"):
        open_(KEY, CONTEXT, bytes(size), bytes(272))


def test_only_what_can_be_opened_again_is_sealed() -> None:
    for plaintext in (b"", b"\x00\x00", b"hello", b"\x9f\xff", b"\xc1\x00"):
        with pytest.raises(ValueError, match=r".+"):
            seal(KEY, CONTEXT, plaintext, zeros)
    with pytest.raises(ValueError, match="too large"):
        seal(KEY, CONTEXT, encode(bytes(module.LARGEST)), zeros)
    with pytest.raises(ValueError, match="key"):
        seal(KEY[:16], CONTEXT, encode(1), zeros)
    with pytest.raises(ValueError, match="random"):
        seal(KEY, CONTEXT, encode(1), lambda size: b"")
