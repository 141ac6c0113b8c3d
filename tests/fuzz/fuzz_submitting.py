"""Hostile headers of mail that is to be sent: refused, or no program finds a Bcc in what is left of them."""

from __future__ import annotations

import asyncio
import email
import re
from datetime import UTC, datetime

from mesyx_core.api import Bytes, Message
from mesyx_core.mailbox.submitting import head_of, request_of, senders

SEEDS: list[bytes] = [
    b"From: Ann <ann@example.org>\r\nTo: b@example.org\r\nBcc: c@example.org,\r\n d@example.org\r\n\r\nBcc: text\r\n",
    b'From: a@x, "b@y" <c@z> (d@w)\r\nSender: e@v\r\nResent-From: f@u\r\nResent-Bcc : g@t\r\nMessage-ID: <1@x>\r\n\r\n',
    b"Subject: x\r\nBcc\x0b: a@x\r\nbCC:\r\n \r\n\t b@y\r\nFrom: a@x\r\n",
    "\ufeffBcc: a@x\r\nX\x85Bcc: b@y\r\nFrom: j\u00f6rg@x\r\n\r\n".encode(),
    b"Subject: x\nBcc: a@x\n\nFrom: a@x\r\n\r\n",
]
TOKENS: list[bytes] = [
    *(b"Bcc", b"Resent-Bcc", b"From", b"Sender", b":", b"@", b'"', b"(", b"<", b"\r\n", b"\r", b"\n", b"\r\n "),
    *(b"\x0b", b"\x0c", b"\0", b"\xa0", b"\xc2\x85", b"\x1c", b"\t"),
]
_ODD = re.compile(r"[^!-~]")


def target(data: bytes) -> None:
    """What can be seen of its name decides what a field is, whatever stands around it."""
    message = Message(kind="mail", time=datetime.now(UTC), body=Bytes(data), recipients=("b@example.org",))
    left = asyncio.run(_sent(message))
    if left is None:
        return
    header = b"" if left.startswith(b"\r\n") else left.partition(b"\r\n\r\n")[0]
    seen = {_ODD.sub("", name.lower()) for name in email.message_from_bytes(header + b"\r\n\r\n")}
    assert not seen & {"bcc", "resent-bcc"}


async def _sent(message: Message) -> bytes | None:
    head = await head_of(message)
    if head.fault:
        return None
    assert all(senders(message, head))
    body = request_of(message, head, [(0, "b@example.org")]).body
    return b"".join([chunk async for chunk in body.read()])
