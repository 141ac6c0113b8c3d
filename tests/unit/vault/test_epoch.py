"""Each message has its own key, in order for the writer, anywhere for the reader, and never again for the writer."""

from __future__ import annotations

import copy
import json
import pickle
import random
from pathlib import Path

import pytest

from mesyx_core.vault import epoch
from mesyx_core.vault.epoch import LEAVES, Epoch, Exhausted, SeedReader

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "vault" / "epoch.json").read_text())
STORE, NODE, INCARNATION, SEED = (bytes.fromhex(VECTOR[name]) for name in ("store", "node", "incarnation", "seed"))


def begin(seed: bytes | bytearray = SEED) -> Epoch:
    return Epoch.begin(STORE, NODE, INCARNATION, VECTOR["number"], seed)


def held(writer: Epoch) -> set[bytes]:
    return {bytes(node) for node, _ in writer._frontier}


def test_leaves_and_commitment_are_fixed() -> None:
    assert epoch.commitment(STORE, NODE, INCARNATION, VECTOR["number"], SEED).hex() == VECTOR["commitment"]
    assert begin().commitment.hex() == VECTOR["commitment"]
    for index, key in VECTOR["leaves"].items():
        assert epoch.leaf(SEED, int(index)).hex() == key


def test_writer_and_reader_agree_on_every_key() -> None:
    writer, reader = begin(), SeedReader(SEED)
    keys = [writer.take() for _ in range(LEAVES)]
    assert keys == [(index, reader.leaf(index)) for index in range(LEAVES)]
    assert len({key for _, key in keys}) == LEAVES


def test_reader_goes_anywhere() -> None:
    reader = SeedReader(SEED)
    indexes = [*range(LEAVES), *range(0, LEAVES, 7)]
    random.Random(1).shuffle(indexes)
    for index in indexes:
        assert reader.leaf(index) == epoch.leaf(SEED, index)


def test_an_epoch_ends_after_1024_keys() -> None:
    writer = begin()
    assert [writer.take()[0] for _ in range(LEAVES)] == list(range(LEAVES))
    assert writer.left == 0
    for _ in range(2):
        with pytest.raises(Exhausted):
            writer.take()


def test_ended_early_it_holds_nothing() -> None:
    writer = begin()
    writer.take()
    writer.end()
    assert writer.left == 0
    assert not held(writer)
    with pytest.raises(Exhausted):
        writer.take()


def test_nothing_that_the_writer_holds_leads_to_a_key_it_gave() -> None:
    writer = begin()
    for index in (*range(5), *range(5, 700)):
        writer.take()
        if index % 83 == 0:
            ancestors = set()
            for depth in range(epoch.DEPTH + 1):
                reader = SeedReader(SEED)
                reader.leaf(index)
                ancestors.add(reader._path[depth])
            assert not held(writer) & ancestors
            assert len(held(writer)) <= epoch.DEPTH


def test_the_seed_is_wiped_at_once() -> None:
    seed = bytearray(SEED)
    writer = begin(seed)
    assert seed == bytes(32)
    assert SEED not in held(writer)
    assert writer.take() == (0, epoch.leaf(SEED, 0))


def test_passed_nodes_are_overwritten_not_just_dropped() -> None:
    writer = begin()
    nodes = [node for node, _ in writer._frontier]
    for _ in range(LEAVES):
        writer.take()
    assert all(node == bytes(32) for node in nodes)


def test_another_place_has_another_commitment() -> None:
    base = (STORE, NODE, INCARNATION, 1, SEED)
    others = [
        (NODE, NODE, INCARNATION, 1, SEED),
        (STORE, STORE, INCARNATION, 1, SEED),
        (STORE, NODE, bytes(16), 1, SEED),
        (STORE, NODE, INCARNATION, 2, SEED),
        (STORE, NODE, INCARNATION, 1, NODE),
    ]
    assert len({epoch.commitment(*place) for place in (base, *others)}) == 6


@pytest.mark.parametrize("index", [-1, 1024, 1 << 40])
def test_there_are_no_other_indexes(index: int) -> None:
    with pytest.raises(ValueError, match="index"):
        epoch.leaf(SEED, index)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    for use in (begin, SeedReader):
        with pytest.raises(ValueError, match="32 bytes"):
            use(bytes(size))  # type: ignore[operator]  # the two share one argument


def test_numbers_start_at_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        Epoch.begin(STORE, NODE, INCARNATION, 0, SEED)


def test_secrets_are_neither_copied_nor_shown() -> None:
    for secret in (begin(), SeedReader(SEED)):
        with pytest.raises(TypeError):
            pickle.dumps(secret)
        with pytest.raises(TypeError):
            copy.copy(secret)
        assert SEED.hex() not in repr(secret)
        assert repr(SEED) not in repr(secret)
