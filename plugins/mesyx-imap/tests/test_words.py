"""The smallest pieces: names, sets, arguments, values."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesyx_imap import format, names, ranges
from mesyx_imap.errors import Bad, Failure, No
from mesyx_imap.parser import Cursor


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_names_survive_modified_utf7(name: str) -> None:
    name = "x" + name  # so that it is not INBOX
    raw = names.encode(name)
    assert raw.isascii()
    assert names.decode(raw) == name


def test_names_as_the_rfc_has_them() -> None:
    assert names.encode("~peter/mail/台北/日本語") == b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"
    assert names.decode(b"inbox/Sub") == "INBOX/Sub"
    for raw in (b"&", b"a&b", b"&A-", b"&!!-", b"\xc3\xa4", b"x" * 1001):
        with pytest.raises(No):
            names.decode(raw)


def test_patterns() -> None:
    assert names.pattern("", "*").fullmatch("a/b")
    assert not names.pattern("", "%").fullmatch("a/b")
    assert names.pattern("", "%/b").fullmatch("a/b")
    assert names.pattern("a", "*%*").fullmatch("a/b/c")
    assert names.pattern("", "InBoX").fullmatch("INBOX")
    assert not names.pattern("", "a.b").fullmatch("axb")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1), st.integers(1, 50))
def test_resolved_sets_hold_the_same_numbers(asked: list[tuple[int, int]], top: int) -> None:
    wanted = {n for a, b in asked for n in range(min(a or top, b or top), max(a or top, b or top) + 1)}
    found = ranges.resolve(asked, top)
    assert {n for low, high in found for n in range(low, high + 1)} == wanted
    assert all(first[1] + 1 < second[0] for first, second in itertools.pairwise(found))
    assert ranges.collect(sorted(wanted)) == found


def test_sets_are_refused_when_they_are_none() -> None:
    for raw in (b"", b"0", b"1,", b"1:", b"*:*:*", b"4294967296", b"1," * 30000 + b"1", b"01"):
        with pytest.raises(Bad):
            ranges.parse(raw)
    assert ranges.parse(b"4294967295,*:3") == [(4294967295, 4294967295), (0, 3)]


def test_uids_are_written_in_the_order_given() -> None:
    assert ranges.text([1, 2, 3, 9, 5, 6]) == b"1:3,9,5:6"


def test_date_times() -> None:
    moment = datetime(2026, 2, 1, 9, 5, 7, tzinfo=UTC)
    assert format.date_time(moment) == b'" 1-Feb-2026 09:05:07 +0000"'
    assert Cursor([b'" 1-Feb-2026 10:05:07 +0100"']).date_time() == moment
    for raw in (b'"32-Feb-2026 10:05:07 +0100"', b'" 1-Feb-2026 25:05:07 +0100"', b'" 1-Feb-2026 10:05:07 +9900"'):
        with pytest.raises(Bad):
            Cursor([raw]).date_time()


def test_strings() -> None:
    assert format.string(b'a "b" \\') == b'"a \\"b\\" \\\\"'
    assert format.string(b"a\r\nb") == b"{4}\r\na\r\nb"
    assert format.string("ä".encode()) == b"{2}\r\n\xc3\xa4"
    assert format.nstring(None) == b"NIL"
    assert [format.astring(raw) for raw in (b"abc", b"", b"a b", b"nil", b"a]")] == [
        b"abc", b'""', b'"a b"', b'"nil"', b"a]",
    ]  # fmt: skip


@given(st.binary(max_size=40).filter(lambda raw: not set(raw) & set(b"\r\n\0")))
def test_what_is_quoted_is_read_back(raw: bytes) -> None:
    shown = format.string(raw)
    if shown[:1] == b'"':
        assert Cursor([shown]).string() == raw


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4))
def test_arguments_never_fail_otherwise(texts: list[bytes]) -> None:
    readers = (
        "atom",
        "astring",
        "number",
        "sequence",
        "mailbox",
        "pattern",
        "flag",
        "date",
        "date_time",
        "name",
        "end",
    )
    for reader in readers:
        try:
            getattr(Cursor(texts, [b"x"] * (len(texts) - 1)), reader)()
        except Failure:
            continue
