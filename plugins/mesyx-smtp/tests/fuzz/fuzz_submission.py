"""Hostile mail programs: whatever they send and however it is cut, nobody is let in without the password, and nothing is
taken from who is not in.
"""

from __future__ import annotations

from base64 import b64encode

from mesyx_smtp.events import Content, Event, Login, Recipient, StartTls
from mesyx_smtp.limits import Limits
from mesyx_smtp.submission.completing import header, missing
from mesyx_smtp.submission.engine import LONG_LINE, SubmissionEngine

from mesyx_core.api import ACCEPT, Receipt
from mesyx_core.mime import parse_date
from mesyx_core.wire.sasl import make_verifier

SALT = b"0123456789abcdef"
VERIFIER = make_verifier("secret", SALT, iterations=1).pack()  # so that the time is spent on parsing
IN = b"EHLO a\r\nAUTH PLAIN " + b64encode(b"\0alice\0secret") + b"\r\n"
NOW = parse_date(b"Sun, 22 Nov 2026 18:00:00 +0000")

SEEDS: list[bytes] = [
    b"\xff" + IN + b"MAIL FROM:<alice@example.org> RET=HDRS ENVID=a+2Bb AUTH=<>\r\n"
    b"RCPT TO:<bob@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bb@example.net\r\nDATA\r\n",
    b"\x05"
    + IN
    + b"MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<b\xc3\xb6b@x.example> ORCPT=utf-8;b\xc3\xb6b@x.example NOTIFY=NEVER\r\n"
    b"BDAT 12\r\nSubject: x\r\nBDAT 2 LAST\r\n\r\n",
    b"\x20EHLO a\r\nAUTH LOGIN\r\n" + b64encode(b"alice") + b"\r\n" + b64encode(b"secret") + b"\r\nMAIL FROM:<x@y>\r\n",
    b"\x20EHLO a\r\nAUTH SCRAM-SHA-256 "
    + b64encode(b"n,,n=alice,r=abc")
    + b"\r\nYz1iaXdzLHI9YWJj\r\n*\r\nAUTH PLAIN =\r\n",
    b"\x10EHLO a\r\nAUTH PLAIN\r\n*\r\nMAIL FROM:<alice@example.org>\r\nSTARTTLS\r\nAUTH X\r\nAUTH\r\nRSET\r\nQUIT\r\n",
]
TOKENS: list[bytes] = [
    b"AUTH ",
    b"PLAIN",
    b"LOGIN",
    b"SCRAM-SHA-256",
    b" NOTIFY=",
    b" ORCPT=",
    b"+2B",
    b"rfc822;",
    b"=",
]


def target(data: bytes) -> None:
    """The first byte says how the rest is cut, and whether it is spoken on this machine."""
    step = 1 + (data[0] if data else 0)
    engine = SubmissionEngine(
        "laptop",
        Limits(size=4096, errors=50, idle=500),
        tls=True,
        local=step % 2 == 0,
        random=bytes,
        salt=lambda name: SALT,
        admit=lambda: True,
    )
    engine.greet()
    content: list[bytes] = []
    for at in range(1, len(data), step):
        engine.feed(data[at : at + step])
        while (event := engine.next()) is not None:
            _answer(engine, event, content)
        said = engine.output()
        assert said.isascii()
        assert said.count(b"\r") == said.count(b"\n") == said.count(b"\r\n")
        assert engine.buffered <= LONG_LINE + step


def _answer(engine: SubmissionEngine, event: Event, content: list[bytes]) -> None:
    if isinstance(event, Login):
        if event.attempt.name == "alice" and event.attempt.proof(VERIFIER):
            engine.admitted(["alice@example.org"])
        else:
            engine.denied(b"535 5.7.8 Wrong\r\n")
    elif isinstance(event, Recipient):
        assert engine.known
        engine.recipient(ACCEPT)
    elif isinstance(event, Content):
        assert engine.known
        assert engine.transaction is not None
        assert engine.transaction.sender.lower() in ("", "alice@example.org") or "+" in engine.transaction.sender
        content.append(event.data)
        if event.last:
            _complete(b"".join(content))
            content.clear()
            engine.kept(Receipt(verdicts={"a": ACCEPT}, trace="1"))
    elif isinstance(event, StartTls):
        if engine.buffered:
            engine.insecure()
        else:
            engine.secured()
    else:
        content.clear()


def _complete(body: bytes) -> None:
    assert NOW is not None
    head = header(body)
    added = missing(head, "alice@example.org", NOW, bytes)
    assert missing(added + head, "alice@example.org", NOW, bytes) == b""
