"""Reseal, purge and veto entries are the bytes that the vectors fix, and name what there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.record import marks
from mesyx_core.record.entry import MAX_PAYLOAD, Origin
from mesyx_core.record.marks import MAX_LOGS, MAX_NAMED, Named, Purge, Reseal, Run, Veto
from mesyx_core.record.payloads import MAX_SEED_FILE, Target
from mesyx_core.record.shape import SEQ_MAX, RecordError
from mesyx_core.vault.manifest import owner_public

VECTOR: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "record" / "marks.json").read_text())
NODE, INCARNATION, KEYSET, FILE = (bytes.fromhex(VECTOR[name]) for name in ("node", "incarnation", "keyset", "file"))
PAYLOADS = {name: bytes.fromhex(payload) for name, payload in VECTOR["payloads"].items()}
DECODE: dict[str, Callable[[bytes], Any]] = {
    "reseal": marks.decode_reseal,
    "purge": marks.decode_purge,
    "veto": marks.decode_veto,
}
REFUSED = [(kind, what) for kind, refused in VECTOR["refused"].items() for what in refused]


def test_reseal_and_veto_are_what_the_vectors_say() -> None:
    reseal = Reseal(NODE, INCARNATION, 7, Target("keyset", KEYSET), FILE)
    assert reseal.encode() == PAYLOADS["reseal"]
    assert marks.decode_reseal(PAYLOADS["reseal"]) == reseal
    veto = Veto(NODE, INCARNATION, 12)
    assert veto.encode() == PAYLOADS["veto"]
    assert marks.decode_veto(PAYLOADS["veto"]) == veto


@pytest.mark.parametrize(("when", "name"), [("once", "purge once"), ("grace", "purge after the grace")])
def test_a_purge_names_entries_by_number_and_proves_that_it_knows_them(when: marks.When, name: str) -> None:
    entries = []
    for log in VECTOR["named"]:
        named = Named(NODE, b"", b"", tuple(Run(*run) for run in log["runs"]))
        ids = [bytes.fromhex(id) for id in log["ids"]]
        assert marks.ids_digest(ids).hex() == log["digest"]
        origin = Origin(b"s" * 32, NODE, bytes.fromhex(log["incarnation"]))
        entries.append((origin, list(zip(named.seqs, ids, strict=True))))
    [purge] = marks.purges(when, reversed(entries))
    assert purge.encode() == PAYLOADS[name]
    assert marks.decode_purge(PAYLOADS[name]) == purge
    assert [list(one.seqs)[-1] for one in purge.named] == [one.last for one in purge.named]


def test_the_owner_signs_what_is_named_for_one_store() -> None:
    owner, store = bytes.fromhex(VECTOR["owner"]), bytes.fromhex(VECTOR["store"])
    once = marks.decode_purge(PAYLOADS["purge once"])
    signed = once.signed(store, owner)
    assert signed.encode() == PAYLOADS["purge of the owner"]
    assert marks.decode_purge(PAYLOADS["purge of the owner"]) == signed
    public = owner_public(owner)
    assert signed.is_owners(store, public)
    assert not once.is_owners(store, public)
    assert not signed.is_owners(bytes(32), public)
    assert not signed._replace(when="grace").is_owners(store, public)
    assert not signed._replace(named=signed.named[:1]).is_owners(store, public)
    assert not signed.is_owners(store, owner_public(bytes(32)))


@pytest.mark.parametrize(("kind", "what"), REFUSED)
def test_any_other_form_is_refused(kind: str, what: str) -> None:
    with pytest.raises(RecordError):
        DECODE[kind](bytes.fromhex(VECTOR["refused"][kind][what]))


def test_a_file_larger_than_any_seed_needs_is_refused() -> None:
    with pytest.raises(RecordError):
        marks.decode_reseal(Reseal(NODE, INCARNATION, 1, Target("clients"), bytes(MAX_SEED_FILE + 1)).encode())


def test_more_than_one_purge_can_name_is_named_by_several() -> None:
    origins = [Origin(b"s" * 32, bytes([log]) * 32, b"i" * 16) for log in range(2)]
    numbered = [(seq, bytes(32)) for seq in range(1, MAX_NAMED)]
    found = marks.purges("once", [(origin, numbered) for origin in origins])
    assert [sum(run.length for one in purge.named for run in one.runs) for purge in found] == [
        MAX_NAMED,
        MAX_NAMED - 2,
    ]
    many = [(Origin(b"s" * 32, NODE, log.to_bytes(16, "big")), [(SEQ_MAX, bytes(32))]) for log in range(MAX_LOGS + 1)]
    assert [len(purge.named) for purge in marks.purges("once", many)] == [MAX_LOGS, 1]


def test_the_most_scattered_purge_fits_an_entry() -> None:
    numbered = [(SEQ_MAX - 2 * at, bytes(32)) for at in range(MAX_NAMED)]
    [purge] = marks.purges("once", [(Origin(b"s" * 32, NODE, INCARNATION), numbered)])
    assert marks.decode_purge(purge.encode()) == purge
    assert len(purge.encode()) <= MAX_PAYLOAD


@given(st.sets(st.integers(1, 500), min_size=1))
def test_runs_hold_exactly_the_numbers_that_were_given(seqs: set[int]) -> None:
    named = Named(NODE, INCARNATION, b"d" * 32, marks.runs(sorted(seqs)))
    assert list(named.seqs) == sorted(seqs)
    assert marks.decode_purge(Purge("grace", (named,)).encode()).named == (named,)
