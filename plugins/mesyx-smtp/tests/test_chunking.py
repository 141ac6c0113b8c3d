"""CHUNKING (RFC 3030): content by BDAT, as it reads on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from mesyx_core.api import Temporary

MAIL = "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n"
READY = ["250 2.1.0 Sender OK", "250 2.1.5 Recipient OK"]
KEPT = "250 2.0.0 sealed as 4f21-7"
TAKEN = "250 2.0.0 Chunk taken"


def sent(wire: Any, text: str) -> list[str]:
    said: list[str] = wire.send(text.encode("latin-1"))
    return said


@pytest.fixture
def ready(wire: Any) -> Any:
    wire.play(wire.READY)
    return wire


def test_chunks_make_a_message_dots_and_all(ready: Any) -> None:
    body = "Subject: x\r\n\r\n.\r\n..\r\n"
    assert sent(ready, f"{MAIL}BDAT 5\r\n{body[:5]}BDAT {len(body) - 5} LAST\r\n{body[5:]}NOOP\r\n") == [
        *READY,
        TAKEN,
        KEPT,
        "250 2.0.0 OK",
    ]
    assert ready.messages == [("bob@example.net", ["alice@example.org"], body.encode())]


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_however_it_is_cut(ready: Any, step: int) -> None:
    text = f"{MAIL}BDAT 1\r\n\rbdat 3\r\n\nabBDAT 0\r\nBDAT 0 last\r\nRSET\r\n"
    said: list[str] = []
    for at in range(0, len(text), step):
        said += sent(ready, text[at : at + step])
    assert said == [*READY, TAKEN, TAKEN, TAKEN, KEPT, "250 2.0.0 OK"]
    assert ready.messages[0][2] == b"\r\nab"


def test_nothing_is_a_message_too(ready: Any) -> None:
    assert sent(ready, f"{MAIL}BDAT 0 LAST\r\n") == [*READY, KEPT]
    assert ready.messages[0][2] == b""


@pytest.mark.parametrize(
    ("first", "last", "reply"),
    [
        ("a\nb", "", "550 5.6.0 Message has CR or LF alone; lines end with CRLF"),
        ("\n", "", "550 5.6.0 Message has CR or LF alone; lines end with CRLF"),
        ("a\0", "", "550 5.6.0 Message has NUL bytes"),
    ],
)
def test_a_chunk_that_is_refused_ends_the_transaction_and_later_ones_are_drained(
    ready: Any, first: str, last: str, reply: str
) -> None:
    assert sent(ready, f"{MAIL}BDAT {len(first)}\r\n{first}BDAT 14 LAST\r\nRSET\r\nRSET\r\n\r\nNOOP\r\n") == [
        *READY,
        reply,
        "503 5.5.1 Need MAIL first",
        "250 2.0.0 OK",
    ]
    assert (ready.messages, ready.aborted) == ([], 1)


@pytest.mark.parametrize("text", ["BDAT 1\r\n\rBDAT 1 LAST\r\nx", "BDAT 1\r\n\rBDAT 0 LAST\r\n", "BDAT 2 LAST\r\na\r"])
def test_a_cr_alone_is_found_where_chunks_meet(ready: Any, text: str) -> None:
    assert sent(ready, MAIL + text)[-1] == "550 5.6.0 Message has CR or LF alone; lines end with CRLF"
    assert ready.messages == []


def test_chunks_without_a_transaction_are_drained_and_not_obeyed(ready: Any) -> None:
    assert sent(ready, "BDAT 6\r\nQUIT\r\nNOOP\r\n") == ["503 5.5.1 Need MAIL first", "250 2.0.0 OK"]
    assert sent(ready, "MAIL FROM:<>\r\nBDAT 6 LAST\r\nQUIT\r\n")[-1] == "503 5.5.1 Need RCPT first"
    gone = "MAIL FROM:<>\r\nRCPT TO:<gone@example.org>\r\nBDAT 6 LAST\r\nQUIT\r\n"
    assert sent(ready, gone)[-1] == "554 5.5.1 No valid recipients"
    assert not ready.closed


def test_data_and_rcpt_do_not_mix_with_chunks(ready: Any) -> None:
    assert sent(ready, f"{MAIL}BDAT 2\r\nabDATA\r\nRCPT TO:<b@example.org>\r\nBDAT 2 LAST\r\n\r\n") == [
        *READY,
        TAKEN,
        "503 5.5.1 Content comes by BDAT already",
        "503 5.5.1 Content comes by BDAT already",
        KEPT,
    ]
    assert ready.messages == [("bob@example.net", ["alice@example.org"], b"ab\r\n")]


def test_rset_between_chunks_forgets_them(ready: Any) -> None:
    assert sent(ready, f"{MAIL}BDAT 2\r\nabRSET\r\n{MAIL}BDAT 2 LAST\r\n\r\n")[-1] == KEPT
    assert (ready.messages[0][2], ready.aborted) == (b"\r\n", 1)


def test_too_big_is_told_before_it_is_taken_and_drained(wire_with: Any) -> None:
    wire = wire_with(size=100)
    wire.play(wire.READY)
    assert sent(wire, f"{MAIL}BDAT 60\r\n{'x' * 60}BDAT 41 LAST\r\n{'x' * 40}")[2:] == [TAKEN]
    assert wire.aborted == 1
    assert sent(wire, "xNOOP\r\n") == ["552 5.3.4 Message too big", "250 2.0.0 OK"]
    assert sent(wire, f"{MAIL}BDAT 100 LAST\r\n{'x' * 100}")[-1] == KEPT


def test_far_too_big_ends_the_connection(wire_with: Any) -> None:
    for line in ("BDAT 201 LAST", "BDAT 99999999999999999999"):
        wire = wire_with(size=100)
        wire.play(wire.READY)
        assert sent(wire, f"{MAIL}{line}\r\n")[-1] == "421 4.3.4 Message far too big, closing"
        assert wire.closed
        assert wire.aborted == 1


@pytest.mark.parametrize(
    "argument", ["", "x", "-1", "5 FIRST", "5 LAST LAST", "1e3", "999999999999999999999", "5,LAST"]
)
def test_a_size_that_cannot_be_read_ends_the_connection(ready: Any, argument: str) -> None:
    said = sent(ready, f"{MAIL}BDAT {argument}\r\nMAIL FROM:<evil@example.net>\r\n")
    assert said[2:] == ["501 5.5.4 Not BDAT SIZE [LAST], so what follows cannot be told from commands: closing"]
    assert ready.closed


def test_a_node_that_cannot_keep_it_says_so_at_the_chunk(ready: Any) -> None:
    ready.receipt = Temporary("Disk is full")
    assert sent(ready, f"{MAIL}BDAT 2 LAST\r\n\r\nNOOP\r\n")[-2:] == ["451 4.3.0 Disk is full", "250 2.0.0 OK"]


def test_mail_loops_are_cut_in_chunks_too(ready: Any) -> None:
    text = "Received: x\r\n" * 101
    said = sent(ready, f"{MAIL}BDAT 5\r\n{text[:5]}BDAT {len(text) - 5} LAST\r\n{text[5:]}")
    assert said[-1] == "554 5.4.6 Too many Received headers: a mail loop"
