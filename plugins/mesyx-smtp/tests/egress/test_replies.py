"""What a server says is read within bounds, and turned into one printable line."""

from __future__ import annotations

import pytest
from mesyx_smtp.egress.reply import LINE, LINES, REASON, TOTAL, Replies, Reply, ReplyError, clean


def read(data: bytes) -> Reply | None:
    replies = Replies()
    replies.feed(data)
    return replies.next()


def test_a_reply_of_several_lines_is_one() -> None:
    assert read(b"250-mx.example.org\r\n250-SIZE 1000\r\n250 PIPELINING\r\n") == Reply(
        250, ("mx.example.org", "SIZE 1000", "PIPELINING")
    )


def test_a_reply_may_come_byte_by_byte() -> None:
    replies = Replies()
    for byte in b"250-a\r\n250 b\r":
        replies.feed(bytes([byte]))
        assert replies.next() is None
    replies.feed(b"\n")
    assert replies.next() == Reply(250, ("a", "b"))


def test_a_code_alone_is_a_reply() -> None:
    assert read(b"354\r\n") == Reply(354, ("",))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"199 too low\r\n",
        b"600 too high\r\n",
        b"25 short\r\n",
        b"250_odd\r\n",
        b"\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 bare line feed\n",
        b"250 a\rb\r\n",
        b"250 " + b"x" * LINE + b"\r\n",
        b"250 " + b"x" * (LINE + 10),
        b"250-x\r\n" * LINES,
    ],
)
def test_what_no_server_may_say_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ReplyError):
        read(data)


def test_a_session_has_an_end_however_short_its_lines() -> None:
    replies = Replies()
    for _ in range(TOTAL // 8):
        replies.feed(b"250 ok\r\n")
        assert replies.next() == Reply(250, ("ok",))
    with pytest.raises(ReplyError):
        replies.feed(b"250 ok\r\n")


def test_an_unfinished_reply_counts_as_buffered() -> None:
    replies = Replies()
    replies.feed(b"220 go\r\n250-in")
    assert replies.next() == Reply(220, ("go",))
    assert replies.buffered
    replies.feed(b"jected\r\n")
    assert replies.next() is None
    assert replies.buffered


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        (Reply(550, ("5.1.1 no such user",)), "5.1.1", "550 5.1.1 no such user (at RCPT)"),
        (Reply(550, ("5.7.1 no", "5.7.1 really no")), "5.7.1", "550 5.7.1 no really no (at RCPT)"),
        (Reply(550, ("no", "really no")), "", "550 no really no (at RCPT)"),
        (Reply(450, ("5.1.1 of another class",)), "", "450 5.1.1 of another class (at RCPT)"),
        (Reply(421, ("",)), "", "421 (at RCPT)"),
    ],
)
def test_a_reason_has_the_reply_its_status_and_its_place(reply: Reply, status: str, reason: str) -> None:
    assert reply.status == status
    assert reply.reason("RCPT") == reason


def test_a_reason_is_one_short_printable_line() -> None:
    reply = read(b"550-5.7.1 \x1b[31mred\x07\r\n550 5.7.1 \xe2\x80\xae" + b"evil " * 300 + b"\r\n")
    assert reply is not None
    reason = reply.reason("the end of the message")
    assert len(reason) <= REASON
    assert reason.isprintable()
    assert reason.endswith("… (at the end of the message)")


def test_text_is_cut_to_size() -> None:
    assert clean("a\r\nb\tc") == "a b c"
    assert len(clean("x" * 10_000)) == REASON
