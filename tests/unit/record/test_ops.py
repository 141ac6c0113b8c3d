"""Ops as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.record import ops
from mesyx_core.record.ops import Batch, DotSpan, FlagOp, Off, Op, OpsError, Span
from mesyx_core.vault import encoding

_ORIGINS = [(bytes([n]) * 32, bytes([n]) * 16) for n in range(3)]
_REF = st.tuples(st.sampled_from(_ORIGINS), st.integers(1, 5000)).map(lambda at: (*at[0], at[1]))
_SPANS = st.lists(_REF, max_size=20).map(ops.spans)
_DOT = st.builds(ops.Dot, st.just(_ORIGINS[0][0]), st.just(_ORIGINS[0][1]), st.integers(1, 99), st.integers(1, 9))
_DOTS = st.lists(_DOT, max_size=9).map(ops.dot_spans)
_FLAG = st.text("abc\\$", min_size=1, max_size=5)
_ID = st.binary(min_size=16, max_size=16)
_NAME = st.text("aé/ ", min_size=1, max_size=9)
_OP: st.SearchStrategy[Op] = st.one_of(
    st.builds(
        ops.FlagOp,
        _SPANS,
        st.frozensets(_FLAG),
        st.lists(st.builds(ops.Off, _FLAG, st.booleans(), _DOTS), max_size=3).map(tuple),
        st.one_of(st.just(b""), _ID),
    ),
    st.builds(
        ops.FileOp,
        _SPANS,
        st.frozensets(_ID),
        st.lists(st.builds(ops.Off, _ID, st.booleans(), _DOTS), max_size=3).map(tuple),
    ),
    st.builds(ops.CreateOp, _NAME),
    st.builds(ops.NameOp, _ID, _NAME, _DOTS),
    st.builds(ops.DropOp, _ID),
    st.builds(ops.SubscribeOp, _NAME, st.booleans(), st.booleans(), _DOTS),
)
_BATCH = st.builds(Batch, st.integers(0, ops.MAX_CLOCK - 1), st.lists(_OP, max_size=5).map(tuple))


@given(_BATCH)
def test_what_is_written_is_read_back(batch: Batch) -> None:
    assert ops.decode(ops.encode(batch)) == batch


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(OpsError):
        ops.decode(data)


@given(_BATCH, st.integers(0), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_reads_as_another_batch(batch: Batch, at: int, byte: int) -> None:
    data = bytearray(ops.encode(batch))
    data[at % len(data)] = byte
    try:
        ops.decode(bytes(data))
    except OpsError:
        return


def test_an_op_on_ten_thousand_messages_in_a_row_is_small() -> None:
    node, incarnation = _ORIGINS[0]
    entries = ops.spans((node, incarnation, seq) for seq in range(1, 10_001))
    assert entries == (Span(node, incarnation, 1, 10_000),)
    assert len(ops.encode(Batch(0, (FlagOp(entries, frozenset(("\\Seen",))),)))) < 100


def test_no_batch_names_more_than_it_may() -> None:
    node, incarnation = _ORIGINS[0]
    for length, fits in ((ops.MAX_REACH, True), (ops.MAX_REACH + 1, False)):
        data = ops.encode(Batch(0, (FlagOp((Span(node, incarnation, 1, length),)),)))
        if fits:
            ops.decode(data)
            continue
        with pytest.raises(OpsError):
            ops.decode(data)
    half = Span(node, incarnation, 1, ops.MAX_REACH // 2 + 1)
    twice = FlagOp((half,), frozenset(), (Off("a", False, (DotSpan(half, 1),)),))
    with pytest.raises(OpsError):
        ops.decode(ops.encode(Batch(0, (twice,))))


@pytest.mark.parametrize("flag", ["", "a b", "a\r\n", "ü", "x" * 256])
def test_a_flag_is_printable_and_short(flag: str) -> None:
    with pytest.raises(OpsError):
        ops.decode(ops.encode(Batch(0, (FlagOp((), frozenset((flag,))),))))


def test_a_later_version_is_refused() -> None:
    with pytest.raises(OpsError):
        ops.decode(encoding.encode([2, 0, [], []]))
