"""Commands out of octets: literals, limits, and any split."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st
from mesyx_imap.limits import Ceiling, Limits
from mesyx_imap.reader import Command, Event, Fault, Go, Reader

from mesyx_core.wire.limits import Budget

from .transcript import Stage, play

_LIMITS = Limits(stranger=Ceiling(line=50, literal=10, literals=2))


def _read(data: bytes, *, known: bool = False, limits: Limits = _LIMITS) -> list[Event]:
    reader = Reader(limits, Budget(limits.held))
    if known:
        reader.admit()
    reader.feed(data)
    events = []
    while (event := reader.next()) is not None:
        events.append(event)
    return events


def test_a_plain_command() -> None:
    assert _read(b"a1 noop\r\nb uid fetch 1 FLAGS\r\n") == [
        Command(b"a1", b"NOOP", [b""], []),
        Command(b"b", b"UID FETCH", [b" 1 FLAGS"], []),
    ]


def test_literals_stand_between_text_runs() -> None:
    command = Command(b"a", b"LOGIN", [b" ", b" ", b""], [b"us\r\ner", b""])
    assert _read(b"a LOGIN {6}\r\nus\r\ner {0}\r\n\r\n") == [Go(), Go(), command]
    assert _read(b"a LOGIN {6+}\r\nus\r\ner {0+}\r\n\r\n") == [command]


@given(st.lists(st.integers(0, 60)))
def test_any_split_reads_the_same(cuts: list[int]) -> None:
    data = b"a LOGIN {5+}\r\nalice {6}\r\nsecret\r\nb NOOP\r\nnonsense\r\nc LOGIN {99+}\r\n"
    reader = Reader(_LIMITS, Budget(0))
    events: list[Event] = []
    edges = sorted({0, len(data), *cuts})
    for start, stop in itertools.pairwise(edges):
        reader.feed(data[start:stop])
        while (event := reader.next()) is not None:
            events.append(event)
    assert events == _read(data)


def test_strangers_cannot_fill_memory() -> None:
    assert _read(b"a LOGIN " + b"x" * 51) == [Fault(b"*", b"BAD Line too long")]
    assert _read(b"a LOGIN {11}\r\n") == [Fault(b"a", b"NO [TOOBIG] Literal too large", fatal=True)]
    assert _read(b"a LOGIN {11+}\r\n") == [Fault(b"a", b"NO [TOOBIG] Literal too large", fatal=True)]
    many = b"a LOGIN {1+}\r\nx {1+}\r\nx {1+}\r\n"
    assert _read(many) == [Fault(b"a", b"BAD Too many literals", fatal=True)]
    assert _read(b"a APPEND INBOX {11}\r\n") == [Fault(b"a", b"NO [TOOBIG] Literal too large", fatal=True)]
    sums = b"a LOGIN " + b"x" * 30 + b"{1+}\r\nx" + b"y" * 30 + b"\r\n"
    assert _read(sums) == [Fault(b"a", b"BAD Line too long")]


def test_only_the_message_of_an_append_may_be_large() -> None:
    limits = Limits()
    big = limits.person.literal + 1
    assert _read(b"a APPEND INBOX {%d}\r\n" % big, known=True) == [Go()]
    assert _read(b'a APPEND "IN BOX" (\\Seen) {%d}\r\n' % big, known=True) == [Go()]
    assert _read(b"a APPEND {5}\r\nINBOX {%d}\r\n" % big, known=True) == [Go(), Go()]
    refused = Fault(b"a", b"NO [TOOBIG] Literal too large")
    assert _read(b"a APPEND {%d}\r\n" % big, known=True) == [refused]
    assert _read(b"a APPEND INBOX {1+}\r\nx {%d}\r\n" % big, known=True) == [refused]
    assert _read(b"a SEARCH TEXT {%d}\r\n" % big, known=True) == [refused]


def test_bare_line_feeds_are_no_line_ends() -> None:
    assert _read(b"a NOOP\r\r\nb NOOP\r\n") == [
        Fault(b"*", b"BAD Lines end with CRLF"),
        Command(b"b", b"NOOP", [b""], []),
    ]


def test_what_is_no_command() -> None:
    for line in (b"", b"a", b"+ x", b"a  NOOP", b"\xff NOOP", b"a (", b"* OK"):
        assert _read(line + b"\r\n") == [Fault(b"*", b"BAD Not a command")]


def test_a_connection_that_speaks_no_imap_is_closed() -> None:
    async def run() -> None:
        stage = Stage(limits=Limits(bad=3))
        line = await stage.open(user=False)
        came = await line.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nmore\r\n")
        assert came.endswith(b"* BYE Too many commands that are not IMAP\r\n")
        assert line.closed
        stage.close()

    asyncio.run(run())


def test_lists_are_bounded() -> None:
    flags = " ".join(["x"] * 600)
    play(f"C: a APPEND INBOX ({flags}) {{1+}}\nC: x\nS: a BAD List too long")
    play(f"C: a APPEND INBOX ({'x' * 300}) {{1+}}\nC: x\nS: a BAD Flag too long")
    play(f'C: a LIST "" {"*a" * 20}\nS: a NO [LIMIT] Too many wildcards in a pattern')
