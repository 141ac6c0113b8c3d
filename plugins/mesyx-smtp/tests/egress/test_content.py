"""Content goes out as it is, but for the dots that SMTP asks for, however it is cut."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesyx_smtp.data import Scanner
from mesyx_smtp.egress.content import Stuffer, Traits, inspect

from mesyx_core.api import Bytes

LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x", b"x.", b" ."]), max_size=12)


def stuffed(data: bytes, cuts: list[int]) -> bytes:
    stuffer = Stuffer()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    return b"".join(map(stuffer.feed, pieces)) + stuffer.end()


@given(LINES, st.lists(st.integers(0, 100), max_size=8))
def test_a_server_reads_what_was_to_be_sent_and_nothing_behind_it(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\r\n" for line in lines)
    scanner = Scanner(1 << 20, 100)
    read = scanner.feed(stuffed(data, cuts) + b"QUIT\r\n")
    assert scanner.ended
    assert read == data
    assert scanner.rest == b"QUIT\r\n"


def test_a_last_line_without_its_end_gets_one() -> None:
    assert stuffed(b"a\r\nb", []) == b"a\r\nb\r\n.\r\n"


def test_empty_content_is_only_its_end() -> None:
    assert stuffed(b"", []) == b".\r\n"


@pytest.mark.parametrize(
    ("data", "traits"),
    [
        (b"Subject: x\r\n\r\nhello\r\n", Traits(False, False, True)),
        (b"Subject: x\r\n\r\nh\xe9llo\r\n", Traits(True, False, True)),
        (b"Subject: \xc3\xa9\r\n\r\nhello\r\n", Traits(True, True, True)),
        (b"Subject: \xc3\xa9\r\n", Traits(True, True, True)),
        (b"\r\n\xc3\xa9\r\n", Traits(True, False, True)),
        (b"", Traits(False, False, True)),
        (b"a\nb\r\n", Traits(False, False, False)),
        (b"a\rb\r\n", Traits(False, False, False)),
        (b"a\r", Traits(False, False, False)),
        (b"a\r\r\n", Traits(False, False, False)),
        (b"a\0\r\n", Traits(False, False, False)),
        (b"x" * 65535 + b"\r\n.\r\n", Traits(False, False, True)),
        (b"x" * 65535 + b"\r" + b"x", Traits(False, False, False)),
    ],
)
def test_content_is_known_before_it_is_sent(data: bytes, traits: Traits) -> None:
    async def look() -> Traits:
        return await inspect(Bytes(data))

    assert anyio.run(look) == traits
