"""Headers, ids, chain, payloads, checkpoints and digests are the bytes that the vectors fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.record import checkpoint, digest, payloads
from mesyx_core.record.checkpoint import Checkpoint
from mesyx_core.record.digest import Head
from mesyx_core.record.entry import (
    Entry,
    Header,
    Kind,
    Origin,
    chain_next,
    chain_over,
    chain_start,
    check_payload,
    decode_header,
    entry_id,
)
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.nodekey import NodeKey

VECTOR: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "record" / "log.json").read_text())
KEY = NodeKey(bytes.fromhex(VECTOR["secret"]))
STORE, NODE, INCARNATION = (bytes.fromhex(VECTOR[name]) for name in ("store", "node", "incarnation"))
ORIGIN = Origin(STORE, NODE, INCARNATION)
ENTRIES = {entry["name"]: entry for entry in VECTOR["entries"]}
CHAIN = [bytes.fromhex(one) for one in VECTOR["chain"]]
IDS = [bytes.fromhex(entry["id"]) for entry in VECTOR["entries"]]
HEADS = [
    Head(bytes.fromhex(node), bytes.fromhex(incarnation), seq, bytes.fromhex(chain), ended)
    for node, incarnation, seq, chain, ended in VECTOR["heads"]
]
SIGNED = bytes.fromhex(VECTOR["checkpoint"])


@pytest.mark.parametrize("name", ENTRIES)
def test_a_header_reads_as_what_it_says_and_encodes_to_the_same(name: str) -> None:
    entry = ENTRIES[name]
    data, payload = bytes.fromhex(entry["header"]), bytes.fromhex(entry["payload"])
    header = decode_header(data)
    blobs = tuple((bytes.fromhex(hash), size) for hash, size in entry["blobs"])
    assert header[:6] == (
        entry["kind"],
        entry["epoch"],
        entry["index"],
        bytes.fromhex(entry["s"]),
        blobs,
        len(payload),
    )
    assert header.encode() == data
    assert entry_id(data).hex() == entry["id"]
    check_payload(header, payload)
    with pytest.raises(RecordError):
        check_payload(header, payload + b"\0")
    assert Entry(data, payload).weight == len(data) + len(payload)
    assert Entry(data, None).weight == len(data)


@pytest.mark.parametrize("what", VECTOR["refused"])
def test_a_header_in_any_other_form_is_refused(what: str) -> None:
    with pytest.raises(RecordError):
        decode_header(bytes.fromhex(VECTOR["refused"][what]))


def test_a_header_of_a_later_version_says_what_to_do() -> None:
    with pytest.raises(RecordError, match="update Mesyx"):
        decode_header(bytes.fromhex(VECTOR["refused"]["a later version"]))


def test_the_chain_runs_from_the_origin_through_all_ids() -> None:
    assert chain_start(ORIGIN) == CHAIN[0]
    assert [chain_next(chain, one) for chain, one in zip(CHAIN, IDS, strict=False)] == CHAIN[1:]
    assert chain_over(CHAIN[2], IDS[2:5]) == CHAIN[5]


def payload(name: str) -> bytes:
    return bytes.fromhex(ENTRIES[name]["payload"])


def test_payloads_in_clear_read_and_encode() -> None:
    start = payloads.decode_start(payload("start"))
    assert start.manifest.hex() == VECTOR["manifest"]
    assert [one.seq for one in start.earlier] == [41]
    epoch, clients = payloads.decode_epoch(payload("epoch")), payloads.decode_epoch(payload("clients"))
    assert (epoch.target.kind, len(epoch.target.id)) == ("keyset", 32)
    assert clients.target == payloads.CLIENTS
    close, end = payloads.decode_close(payload("close")), payloads.decode_end(payload("end"))
    assert close.used == 1024
    made = [one.encode() for one in (start, epoch, clients, close, end)]
    assert made == [payload(name) for name in ("start", "epoch", "clients", "close", "end")]


def test_an_epoch_for_an_unknown_kind_of_target_is_refused() -> None:
    for target in (payloads.Target("gateway", b"x" * 32), payloads.Target("clients", b"x"), payloads.Target("keyset")):  # type: ignore[arg-type]
        with pytest.raises(RecordError):
            payloads.decode_epoch(payloads.Epoch(target, b"c" * 32, b"file").encode())


def test_a_checkpoint_is_what_the_node_key_signs() -> None:
    made = Checkpoint(ORIGIN, len(IDS), CHAIN[-1], bytes.fromhex(VECTOR["manifest"]), VECTOR["time"])
    assert checkpoint.sign(KEY, made) == SIGNED
    assert checkpoint.verify(SIGNED) == checkpoint.verify(SIGNED, ORIGIN) == made


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_a_checkpoint_with_any_bit_changed_is_refused(bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RecordError):
        checkpoint.verify(bytes(changed))


def test_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(RecordError, match="another log"):
        checkpoint.verify(SIGNED, ORIGIN._replace(incarnation=b"x" * 16))


def test_a_trail_knows_the_chain_of_every_place_between_and_no_other() -> None:
    trail = checkpoint.trail(SIGNED, 3, CHAIN[3], IDS[3:])
    assert [trail.chain(seq) for seq in range(2, 10)] == [None, *CHAIN[3:], None]
    assert (trail.origin, trail.end) == (ORIGIN, len(IDS))


@pytest.mark.parametrize(
    ("after", "chain", "ids"),
    [
        (3, CHAIN[3], IDS[3:-1]),
        (3, CHAIN[2], IDS[3:]),
        (2, CHAIN[3], IDS[3:]),
        (3, CHAIN[3], [*IDS[3:-2], IDS[-1], IDS[-2]]),
        (3, CHAIN[3], [*IDS[3:-1], IDS[-1][:31]]),
    ],
)
def test_ids_that_do_not_lead_to_the_checkpoint_are_no_trail(after: int, chain: bytes, ids: list[bytes]) -> None:
    with pytest.raises(RecordError):
        checkpoint.trail(SIGNED, after, chain, ids)


def test_a_digest_is_the_same_in_any_order_and_leaves_out_whether_logs_ended() -> None:
    assert digest.digest(HEADS).hex() == VECTOR["digest"]
    assert digest.digest([head._replace(ended=not head.ended) for head in reversed(HEADS)]).hex() == VECTOR["digest"]
    assert digest.digest(HEADS[1:]) != digest.digest(HEADS)


def test_ended_logs_count_as_one_hash_a_node() -> None:
    running, ended = digest.by_node(reversed(HEADS))
    assert running == sorted(head for head in HEADS if not head.ended)
    assert {node.hex(): hash.hex() for node, hash in ended.items()} == VECTOR["ended"]


def test_a_range_splits_by_the_digits_of_its_logs_positions() -> None:
    assert {head.incarnation.hex(): digest.position(STORE, head) for head in HEADS} == VECTOR["positions"]
    parts = digest.split(STORE, HEADS)
    assert len(parts) == 16
    assert sum(count for _, count in parts) == len(HEADS)
    for number, (hash, count) in enumerate(parts):
        inside = digest.within(STORE, HEADS, f"{number:x}")
        assert (digest.digest(inside), len(inside)) == (hash, count)
        deeper = digest.split(STORE, HEADS, f"{number:x}")
        assert sum(count for _, count in deeper) == count


@given(
    st.builds(
        Header,
        st.integers(1, 0xFFFF),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.sampled_from([b"", b"s" * 32]),
        st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**50)), max_size=32).map(tuple),
        st.integers(0, 1 << 20),
        st.binary(min_size=32, max_size=32),
    )
)
def test_every_header_within_bounds_comes_back(header: Header) -> None:
    assert decode_header(header.encode()) == header


def test_kinds_keep_their_numbers() -> None:
    assert [kind.value for kind in Kind] == list(range(1, 9))
