"""Lines are bounded, end only at CRLF, and come out the same however the bytes were split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.wire.lines import BareLineFeed, LineError, Lines, LineTooLong


def taken(lines: Lines) -> list[object]:
    out: list[object] = []
    while True:
        try:
            line = lines.line()
        except LineError as error:
            out.append(type(error))
            continue
        if line is None:
            return out
        out.append(line)


def test_lines_come_without_their_crlf() -> None:
    lines = Lines(100)
    lines.feed(b"EHLO a\r\n\r\nNO")
    assert taken(lines) == [b"EHLO a", b""]
    lines.feed(b"OP\r\n")
    assert taken(lines) == [b"NOOP"]


def test_a_line_of_exactly_the_limit_passes_and_one_more_does_not() -> None:
    lines = Lines(5)
    lines.feed(b"12345\r\n123456\r\nok\r\n")
    assert taken(lines) == [b"12345", LineTooLong, b"ok"]


def test_an_endless_line_is_told_once_and_held_never() -> None:
    lines = Lines(10)
    told = []
    for _ in range(100):
        lines.feed(b"x" * 1000)
        told += taken(lines)
        assert lines.size <= 1000
    lines.feed(b"\r\nnext\r\n")
    assert told + taken(lines) == [LineTooLong, b"next"]


@pytest.mark.parametrize("bare", [b"a\n", b"\n", b"a\rb\r\n", b"a\r\r\n"])
def test_bare_cr_and_lf_are_refused_and_consumed(bare: bytes) -> None:
    lines = Lines(100)
    lines.feed(bare + b"next\r\n")
    assert taken(lines) == [BareLineFeed, b"next"]


def test_a_literal_is_taken_raw_between_lines() -> None:
    lines = Lines(100)
    lines.feed(b"APPEND {5}\r\na\nb\rc rest\r\n")
    assert lines.line() == b"APPEND {5}"
    assert lines.raw(5) == b"a\nb\rc"
    assert lines.line() == b" rest"
    assert lines.raw(5) == b""


def test_clear_tells_how_much_was_buffered() -> None:
    lines = Lines(100)
    lines.feed(b"STARTTLS\r\nEHLO evil\r\n")
    assert lines.line() == b"STARTTLS"
    assert lines.clear() == len(b"EHLO evil\r\n")
    assert lines.line() is None


@given(st.lists(st.sampled_from([b"a", b"bb", b"\r", b"\n", b"\r\n", b"c" * 9]), max_size=30), st.data())
def test_splits_do_not_matter(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces) + b"\r\n"
    at_once, split = Lines(8), Lines(8)
    at_once.feed(whole)
    out: list[object] = []
    at = 0
    while at < len(whole):
        step = data.draw(st.integers(1, 5))
        split.feed(whole[at : at + step])
        out += taken(split)
        at += step
    assert out == taken(at_once)
