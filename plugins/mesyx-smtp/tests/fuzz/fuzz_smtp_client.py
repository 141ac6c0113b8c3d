"""Hostile SMTP servers: whatever they say and however it is cut, every recipient gets one fate, all that the client says is whole
lines, and nobody is called served whose message was not sent to its end."""

from __future__ import annotations

from typing import Literal

from mesyx_smtp.egress.address import parse
from mesyx_smtp.egress.auth import Login
from mesyx_smtp.egress.client import Client, Close, Content, Mail, StartTls, Terms
from mesyx_smtp.egress.reply import REASON

EHLO = b"220 mx ESMTP\r\n|250-mx\r\n250-PIPELINING\r\n250-SIZE 9999\r\n250-DSN\r\n250 8BITMIME\r\n|"
TLS = b"220 mx\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|250-mx\r\n250-SMTPUTF8\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n|"

SEEDS: list[bytes] = [
    b"\x00" + EHLO + b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n|354 go\r\n|250 2.0.0 kept\r\n|",
    b"\x00"
    + EHLO
    + b"250 ok\r\n|250 ok\r\n452 4.5.3 too many\r\n|354 go\r\n|250 ok\r\n|250 ok\r\n|250 ok\r\n250 ok\r\n|",
    b"\x01" + EHLO + b"421 4.3.2 bye\r\n",
    b"\x02" + TLS + b"334 cj1uLHM9c2FsdCxpPTQwOTY=\r\n|235 ok\r\n|",
    b"\x03" + TLS + b"235 2.7.0 ok\r\n|250 ok\r\n|250 ok\r\n250 ok\r\n|354\r\n|250-a\r\n250 b\r\n|",
    b"\x04220 mx\r\n|502 no\r\n|250 mx\r\n|250 ok\r\n|251 ok\r\n|252 ok\r\n|354 go\r\n|451 4.3.0 later\r\n|",
    b"\x05220-\r\n220-x\r\n220 \xff\xfe\r\n|250 node.example.net\r\n|",
    b"\x00220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",
]

TOKENS: list[bytes] = [b"|", b"\r\n", b"250 ", b"250-", b"354 ", b"421 ", b"550 5.1.1 ", b"STARTTLS", b"334 ", b"220 "]

RECIPIENTS = {each: parse(each) for each in ("alice@example.org", "bob@exämple.org")}


def target(data: bytes) -> None:
    """The first byte says how the session is to be held; "|" is where one packet ends."""
    way = data[0] if data else 0
    levels: tuple[Literal["may", "must", "on", "off"], ...] = ("may", "must", "on", "off")
    terms = Terms(
        hello="node.example.net",
        tls=levels[way & 3],
        login=Login("me", "secret", b"n" * 18) if way & 2 else None,
        ourselves=frozenset({"node.example.net"}),
    )
    client = Client(
        terms, Mail(sender=parse("me@example.net"), recipients=RECIPIENTS, size=100, eight_bit=bool(way & 4))
    )
    ended = False
    for packet in data[1:].split(b"|"):
        client.feed(packet)
        ended = _answer(client, ended)
    client.lost("4.4.2 connection lost")
    assert client.next() == Close()
    assert client.fates.keys() == RECIPIENTS.keys()
    for fate in client.fates.values():
        assert fate.reason.isprintable()
        assert 0 < len(fate.reason) <= REASON + 60
        assert ended or fate.word not in ("sent", "unsure")


def _answer(client: Client, ended: bool) -> bool:
    while True:
        event = client.next()
        said = client.output()
        assert said == b"" or said.endswith(b"\r\n")
        assert said.count(b"\r") == said.count(b"\n") == said.count(b"\r\n")
        assert client.secure or b"AUTH" not in said
        if isinstance(event, StartTls):
            client.secured()
        elif isinstance(event, Content):
            client.ending(b".\r\n")
            ended = True
        else:
            return ended
