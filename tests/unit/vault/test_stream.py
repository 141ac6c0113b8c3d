"""A blob opens chunk by chunk; no chunk can be changed, moved, dropped or made the last."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.vault.padding import padded
from mesyx_core.vault.stream import (
    CHUNK,
    SEALED_CHUNK,
    BlobSealer,
    StreamError,
    blob_key,
    chunk_count,
    open_chunk,
    sealed_size,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vault" / "stream.json").read_text())
KEY = bytes.fromhex(VECTORS["key"]["key"])


def text(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def sealed(data: bytes, step: int = 1 << 20) -> bytes:
    sealer = BlobSealer(KEY)
    parts = [sealer.update(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join((*parts, sealer.finish()))


def opened(blob: bytes) -> bytes:
    count = chunk_count(len(blob))
    return b"".join(
        open_chunk(KEY, n, n == count - 1, blob[n * SEALED_CHUNK : (n + 1) * SEALED_CHUNK]) for n in range(count)
    )


@pytest.mark.parametrize("blob", VECTORS["blobs"], ids=lambda blob: str(blob["size"]))
def test_blobs_are_fixed(blob: dict[str, int | str]) -> None:
    size = int(blob["size"])
    data = sealed(text(size))
    assert len(data) == blob["sealed_size"] == sealed_size(size)
    assert sha256(data).hexdigest() == blob["sha256"]
    assert opened(data) == text(size) + bytes(padded(size) - size)


def test_the_blob_key_is_fixed() -> None:
    case = VECTORS["key"]
    random32, incarnation = bytes.fromhex(case["random"]), bytes.fromhex(case["incarnation"])
    assert blob_key(random32, incarnation, case["peer"], case["monotonic_ns"], case["counter"]) == KEY


def test_clones_with_equal_randomness_share_no_blob_key() -> None:
    base = blob_key(bytes(32), bytes(16), "a:1", 1, 1)
    assert base != blob_key(bytes(32), b"1" * 16, "a:1", 1, 1)
    assert base != blob_key(bytes(32), bytes(16), "a:2", 1, 1)
    assert base != blob_key(bytes(32), bytes(16), "a:1", 2, 1)
    assert base != blob_key(bytes(32), bytes(16), "a:1", 1, 2)
    with pytest.raises(ValueError, match="32 random bytes"):
        blob_key(bytes(31), bytes(16), "a:1", 1, 1)


@given(st.lists(st.integers(0, 70_000), max_size=6))
def test_how_the_bytes_come_makes_no_difference(sizes: list[int]) -> None:
    data = text(sum(sizes))
    sealer, at, parts = BlobSealer(KEY), 0, []
    for size in sizes:
        parts.append(sealer.update(data[at : at + size]))
        at += size
    assert sealer.size == len(data)
    assert b"".join((*parts, sealer.finish())) == sealed(data)


def test_chunks_stand_where_they_were_sealed() -> None:
    blob = sealed(text(200_000))
    chunks = [blob[at : at + SEALED_CHUNK] for at in range(0, len(blob), SEALED_CHUNK)]
    assert len(chunks) == 4
    for n, chunk in enumerate(chunks):
        for place in range(4):
            for last in (False, True):
                if (place, last) == (n, n == 3):
                    continue
                with pytest.raises(StreamError):
                    open_chunk(KEY, place, last, chunk)


def test_a_blob_cut_at_a_chunk_does_not_pass_as_whole() -> None:
    blob = sealed(text(3 * CHUNK))
    with pytest.raises(StreamError):
        opened(blob[: 2 * SEALED_CHUNK])


@pytest.mark.parametrize("size", [0, 1, 16, SEALED_CHUNK + 1])
def test_chunks_have_a_size(size: int) -> None:
    for last in (False, True):
        with pytest.raises(StreamError):
            open_chunk(KEY, 0, last, bytes(size))


def test_a_finished_blob_takes_no_more() -> None:
    sealer = BlobSealer(KEY)
    sealer.finish()
    for use in (sealer.finish, lambda: sealer.update(b"more")):
        with pytest.raises(ValueError, match="finished"):
            use()
