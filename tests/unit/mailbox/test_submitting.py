"""What is taken out of a message before it is sent, and what is not."""

from __future__ import annotations

import asyncio
import email
import re
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.api import Body, Bytes, Message, Refused
from mesyx_core.mailbox.submitting import Without, check, head_of, request_of


def mail(data: bytes) -> Message:
    return Message(kind="mail", time=datetime.now(UTC), body=Bytes(data))


async def whole(body: Body, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in body.read(start, stop)])


@given(
    st.binary(max_size=200),
    st.lists(st.integers(0, 200), max_size=8, unique=True),
    st.integers(0, 210),
    st.none() | st.integers(0, 210),
)
def test_a_body_without_some_places_reads_like_bytes_without_them(
    data: bytes, edges: list[int], start: int, stop: int | None
) -> None:
    edges = sorted(edge for edge in edges if edge <= len(data))
    places = tuple(zip(edges[::2], edges[1::2], strict=False))
    left = b"".join(
        data[a:b] for a, b in zip((0, *(e for _, e in places)), (*(s for s, _ in places), len(data)), strict=True)
    )
    body = Without(Bytes(data), places)
    assert body.size == len(left)
    assert asyncio.run(whole(body, start, stop)) == left[start:stop]


ODD = (
    *(b"Bcc", b"bCC", b"Resent-Bcc", b"From", b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b"\v", b"\f", b"\0", b"\x1c"),
    *("\ufeff".encode(), "\x85".encode(), b"\xa0", b"b@example.org", b"\r\n ", b"From: a@example.org\r\n", b"\r\n\r\n"),
)


@given(st.binary(max_size=2000) | st.lists(st.sampled_from(ODD), max_size=30).map(b"".join))
def test_no_program_sees_a_bcc_in_what_is_sent_however_odd_the_header(data: bytes) -> None:
    head = asyncio.run(head_of(mail(data)))
    assert all(0 <= start < end <= len(data) for start, end in head.secret)
    if head.fault:
        return
    message = replace(mail(data), recipients=("x@example.org",))
    sent = asyncio.run(whole(request_of(message, head, [(0, "x@example.org")]).body))
    header = b"" if sent.startswith(b"\r\n") else sent.partition(b"\r\n\r\n")[0]
    lines = re.split(rb"[\r\n\v\f\0]+(?![ \t])", header)
    names = {re.sub(rb"[^!-~]", b"", line.partition(b":")[0].lower()) for line in lines if b":" in line}
    assert not names & {b"bcc", b"resent-bcc"}
    python = email.message_from_bytes(header + b"\r\n\r\n")
    assert not {re.sub("[^!-~]", "", name.lower()) for name in python} & {"bcc", "resent-bcc"}


@pytest.mark.parametrize(
    "line",
    [
        b"Bcc\v: b@example.org\r\n",
        b"Bcc\f: b@example.org\r\n",
        b"Bcc\0: b@example.org\r\n",
        b"\vBcc: b@example.org\r\n",
        b"Bcc \v : b@example.org\r\n",
        b"Bcc\xa0: b@example.org\r\n",
        "\ufeffBcc: b@example.org\r\n".encode(),
        b"B cc: b@example.org\r\n",
        b"Subject: x\rBcc: b@example.org\r\n",
        b"Subject: x\nBcc: b@example.org\r\n",
        b"Subject: x\n\nBcc: b@example.org\r\n",
        b"Subject: x\fBcc: b@example.org\r\n",
        b"Bcc b@example.org\r\n",
        b": b@example.org\r\n",
    ],
)
@pytest.mark.parametrize("first", [b"", b"From: a@example.org\r\n"])
def test_a_header_in_which_a_program_may_find_another_bcc_is_refused(first: bytes, line: bytes) -> None:
    with pytest.raises(Refused, match="in different ways"):
        judge(first + line + b"From: a@example.org\r\n"[len(first) :])


def test_a_header_that_begins_with_a_fold_is_refused() -> None:
    with pytest.raises(Refused, match="in different ways"):
        judge(b" Bcc: b@example.org\r\nFrom: a@example.org\r\n")


def test_every_form_of_bcc_is_left_out_and_nothing_else() -> None:
    kept = b"From: a@example.org\r\nX-Bcc: stays\r\n"
    out = b"BCC: b@example.org,\r\n\tc@example.org\r\nBcc \t: d@example.org\r\nResent-Bcc: e@example.org\r\nbcc:\r\n"
    out += b"bcc:\r\n \r\n\t f@example.org\r\n"
    rest = b"Subject: Bcc: in a subject\r\n\r\nBcc: in the body\r\n"

    async def sent() -> bytes:
        body = Bytes(kept + out + rest)
        message = Message(kind="mail", time=datetime.now(UTC), body=body, recipients=("x@example.org", "y@example.org"))
        request = request_of(message, await head_of(message), [(1, "y@example.org")])
        assert request.recipients == ("y@example.org",)
        return b"".join([chunk async for chunk in request.body.read()])

    assert asyncio.run(sent()) == kept + rest


def test_what_is_no_mail_has_no_header() -> None:
    line = Message(kind="line", time=datetime.now(UTC), body=Bytes(b"Bcc: said\r\n\r\n"))
    assert asyncio.run(head_of(line)).secret == ()


def judge(head: bytes) -> None:
    message = replace(mail(head + b"\r\ntext\r\n"), sender="a@example.org", recipients=("x@example.net",))
    check(message, asyncio.run(head_of(message)), {"a@example.org"})


@pytest.mark.parametrize(
    "header",
    [
        b"From: a@example.org boss@example.net\r\n",
        b"From: <a@example.org> <boss@example.net>\r\n",
        b"From: boss@example.net <a@example.org>\r\n",
        b"From: boss @ example.net\r\n <a@example.org>\r\n",
        b"From: a@example.org (, boss@example.net\r\n",
        b"From: a@example.org (boss@example.net)\r\n",
        b'From: a@example.org, "boss@example.net\r\n',
        b"From: a@example.org, boss@example.net\r\n",
        b"From: a@example.org\r\nFROM : boss@example.net\r\n",
        b"From: a@example.org\r\nSender: boss@example.net\r\n",
        b"From: a@example.org\r\nResent-From: The Boss <boss@example.net>\r\n",
        b"From: a@example.org\r\nResent-Sender: boss@example.net\r\n",
    ],
)
def test_nobody_is_named_as_sender_in_whatever_way_a_program_may_read_it(header: bytes) -> None:
    with pytest.raises(Refused):
        judge(header)


@pytest.mark.parametrize(
    "header",
    [
        b'From: "A (at work), a@home" <a@example.org>\r\n',
        b"From: A Person <A+lists@Example.org> (a comment)\r\nSender: a@example.org\r\n",
        b"From: a@example.org <a@example.org>\r\n",
        b"From: us: a@example.org, A <a@example.org>;\r\n",
        b"From: =?utf-8?q?J=C3=BCrgen?=\r\n <a@example.org>\r\nReply-To: other@example.net\r\n",
    ],
)
def test_a_person_is_named_in_all_the_ways_that_programs_write(header: bytes) -> None:
    judge(header)


@pytest.mark.parametrize("size", [60_000, 1_000_000])
@pytest.mark.parametrize("name", [b"From", b"To", b"Message-ID", b"Bcc"])
def test_a_long_header_is_read_quickly(name: bytes, size: int) -> None:
    for part in (b"a", b"@", b'\\"', b"(", b" ", b'"', b"a@", b"\r\n\t", b"\r\n%b: " % name, b";", b"<", b","):
        began = time.process_time()
        asyncio.run(head_of(mail(name + b": " + part * (size // len(part)) + b"\r\n\r\n")))
        assert time.process_time() - began < 2, part


def test_who_a_mail_is_from_is_not_looked_for_in_ever_so_much() -> None:
    judge(b"From: " + b"a@example.org, " * 4000 + b"a@example.org\r\n")
    with pytest.raises(Refused, match="64 KiB"):
        judge(b"From: " + b"a@example.org, " * 5000 + b"a@example.org\r\n")
