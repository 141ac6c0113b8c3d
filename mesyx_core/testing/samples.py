"""Messages of every kind and shape, to try a plugin with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from mesyx_core.api import Body, Bytes, Message

TIME: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECRET: Final = "xyzzy-7f3a"
"""A word of each sample's text that must show up nowhere else."""
ADDRESS: Final = "alice@example.org"
TEXT: Final = (
    "From: Bob <bob@example.com>\r\nTo: alice@example.org\r\nSubject: Lunch " + SECRET + "\r\n"
    "Message-ID: <contract@example.com>\r\n\r\nAt noon in the Café? " + SECRET + "\r\n.\r\n..\r\n"
).encode()


def mail(body: bytes = TEXT, **over: Any) -> Message:
    """A mail from bob to alice, as an MX would hear it; any field can be given."""
    common = {
        "kind": "mail",
        "time": TIME,
        "body": Bytes(body),
        "sender": "bob@example.com",
        "recipients": (ADDRESS,),
        "network_id": "contract@example.com",
    }
    return Message(**{**common, **over})


def samples() -> list[Message]:
    """Ordinary ones, and such as only a stranger sends."""
    secret = SECRET.encode()
    return [
        mail(),
        mail(b""),
        mail(b"\r\n"),
        mail(b"no header at all " + secret),
        mail(b"Subject: " + b"=?utf-8?q?" * 100 + secret + b"\r\n\r\n"),
        mail(b"Subject: \xff\xfe" + secret + b"\r\n\r\n\x00\x80\xff" + secret),
        mail(b"Subject: x\r\n" * 1000 + b"\r\n" + secret),
        mail(b"Subject: large\r\n\r\n" + (secret + b" " * 60 + b"\r\n") * 20_000),
        mail(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 200 + secret),
        mail(sender="", envelope={"return_path": ""}),
        mail(sender="\u202eevil@example.com", recipients=("alice+tag@example.org",)),
        mail(direction="out", sender=ADDRESS, recipients=("bob@example.com",)),
        mail(importance="high", mailbox="Junk", flags=frozenset({"\\Flagged", "$x"})),
        Message(kind="line", time=TIME, network="irc", conversation="#x", sender="bob", body=Bytes(b"hello " + secret)),
        Message(kind="event", time=TIME, network="irc", conversation="#x", sender="bob", tags={"event": "JOIN"}),
        Message(kind="post", time=TIME, network="feed", sender="bob", body=Bytes(secret * 1000)),
    ]


async def whole(body: Body) -> bytes:
    """All of a body."""
    return b"".join([chunk async for chunk in body.read()])


def line(text: str, longest: int) -> bool:
    """Whether it is one line that can be told to a network and shown on a terminal."""
    return len(text) <= longest and (text.isprintable() or not text)
