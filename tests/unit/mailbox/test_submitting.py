"""What is taken out of a message before it is sent, and what is not."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.api import Bytes, Message, Refused
from mesyx_core.mailbox.submitting import Without, check, head_of, request_of


def mail(data: bytes) -> Message:
    return Message(kind="mail", time=datetime.now(UTC), body=Bytes(data))


async def whole(body: Without, start: int = 0, stop: int | None = None) -> bytes:
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


@given(st.binary(max_size=2000))
def test_no_header_is_too_odd_to_be_looked_into(data: bytes) -> None:
    head = asyncio.run(head_of(mail(data)))
    assert all(0 <= start < end <= len(data) for start, end in head.secret)


def test_every_form_of_bcc_is_left_out_and_nothing_else() -> None:
    kept = b"From: a@example.org\r\nX-Bcc: stays\r\n"
    out = b"BCC: b@example.org,\r\n\tc@example.org\r\nBcc : d@example.org\r\nResent-Bcc: e@example.org\r\nbcc:\r\n"
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


def test_a_long_header_that_names_a_sender_is_read_quickly() -> None:
    for part in (b"a", b"@", b'\\"', b"(", b" ", b'"', b"a@"):
        began = time.perf_counter()
        asyncio.run(head_of(mail(b"From: " + part * (100_000 // len(part)) + b"\r\n\r\n")))
        assert time.perf_counter() - began < 3
