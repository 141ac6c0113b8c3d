"""AUTH as it reads on the wire (RFC 4954), and what is not taken without it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import pbkdf2_hmac, sha256
from hmac import digest
from typing import Any

import pytest
from mesyx_smtp.events import Aborted, Close, Login, Recipient, StartTls
from mesyx_smtp.limits import Limits
from mesyx_smtp.submission.engine import SubmissionEngine

from mesyx_core.api import ACCEPT
from mesyx_core.wire.sasl import make_verifier

SALT = b"0123456789abcdef"
VERIFIER = make_verifier("secret", SALT).pack()


def code(text: str) -> str:
    return b64encode(text.encode()).decode()


class Wire:
    """An engine whose log-ins are judged by one verifier; `say` gives what it answers."""

    def __init__(self, *, local: bool = True, tls: bool = True, **limits: int) -> None:
        self.engine = SubmissionEngine(
            "laptop",
            Limits(**limits),
            tls=tls,
            local=local,
            random=lambda size: b"\x07" * size,
            salt=lambda name: SALT,
            admit=lambda: True,
        )
        self.attempts: list[str] = []
        self.closed = False
        self.engine.greet()
        self.engine.output()

    def say(self, *lines: str) -> list[str]:
        self.engine.feed("".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape"))
        while (event := self.engine.next()) is not None:
            if isinstance(event, Login):
                self.attempts.append(event.attempt.name)
                if event.attempt.name == "alice" and event.attempt.proof(VERIFIER):
                    self.engine.admitted(["alice@example.org", "j\u00f6rg@b\u00fccher.example"])
                else:
                    self.engine.denied(b"535 5.7.8 Wrong name or app password\r\n")
            elif isinstance(event, Recipient):
                self.engine.recipient(ACCEPT)
            elif isinstance(event, StartTls):
                self.engine.secured()
            elif isinstance(event, Close):
                self.closed = True
            else:
                assert isinstance(event, Aborted)
        return self.engine.output().decode().split("\r\n")[:-1]


@pytest.fixture
def wire() -> Wire:
    made = Wire()
    made.say("EHLO client")
    return made


def test_what_is_offered_on_this_machine() -> None:
    assert Wire().say("EHLO client") == [
        "250-laptop",
        "250-PIPELINING",
        "250-SIZE 52428800",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-CHUNKING",
        "250-ENHANCEDSTATUSCODES",
        "250-DSN",
        "250-AUTH SCRAM-SHA-256 PLAIN LOGIN",
        "250-STARTTLS",
        "250 HELP",
    ]


def test_elsewhere_nobody_logs_in_in_clear() -> None:
    wire = Wire(local=False)
    assert not any("AUTH" in line for line in wire.say("EHLO client"))
    assert wire.say(f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}") == ["538 5.7.11 Log in under TLS only"]
    assert wire.say("MAIL FROM:<alice@example.org>") == ["530 5.7.0 Say STARTTLS and log in first"]
    assert wire.say("STARTTLS") == []
    assert any("AUTH" in line for line in wire.say("EHLO client"))
    assert wire.say("MAIL FROM:<alice@example.org>") == ["530 5.7.0 Log in first"]
    assert wire.say(f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}") == ["235 2.7.0 Logged in"]


def test_nothing_is_taken_before_log_in(wire: Wire) -> None:
    assert wire.say("MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.net>", "DATA", "BDAT 6 LAST", "QUIT") == [
        "530 5.7.0 Log in first",
        "503 5.5.1 Need MAIL first",
        "503 5.5.1 Need MAIL first",
        "503 5.5.1 Need MAIL first",
    ]


def test_plain_with_and_without_initial_response(wire: Wire) -> None:
    plain = code("\0alice\0secret")
    assert wire.say("AUTH PLAIN") == ["334 "]
    assert wire.say(plain) == ["235 2.7.0 Logged in"]
    other = Wire()
    assert other.say("EHLO client", f"auth plain {plain}", "MAIL FROM:<alice@example.org>")[-2:] == [
        "235 2.7.0 Logged in",
        "250 2.1.0 Sender OK",
    ]


def test_login_as_many_clients_speak_it(wire: Wire) -> None:
    assert wire.say("AUTH LOGIN") == ["334 VXNlcm5hbWU6"]
    assert wire.say(code("alice")) == ["334 UGFzc3dvcmQ6"]
    assert wire.say(code("secret")) == ["235 2.7.0 Logged in"]
    other = Wire()
    assert other.say("EHLO client", f"AUTH LOGIN {code('alice')}")[-1] == "334 UGFzc3dvcmQ6"
    assert other.say(code("wrong")) == ["535 5.7.8 Wrong name or app password"]


def test_scram_proves_both_sides(wire: Wire) -> None:
    (said,) = wire.say(f"AUTH SCRAM-SHA-256 {code('n,,n=alice,r=abc')}")
    first = b64decode(said[4:])
    nonce, salt, rounds = (field[2:] for field in first.split(b","))
    key = pbkdf2_hmac("sha256", b"secret", b64decode(salt), int(rounds))
    client, final = digest(key, b"Client Key", "sha256"), b"c=biws,r=" + nonce
    exchanged = b",".join((b"n=alice,r=abc", first, final))
    mask = digest(sha256(client).digest(), exchanged, "sha256")
    proof = b64encode(bytes(a ^ b for a, b in zip(client, mask, strict=True)))
    (said,) = wire.say(b64encode(final + b",p=" + proof).decode())
    assert b64decode(said[4:]) == b"v=" + b64encode(digest(digest(key, b"Server Key", "sha256"), exchanged, "sha256"))
    assert not wire.engine.known
    assert wire.say("") == ["235 2.7.0 Logged in"]
    assert wire.engine.known


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (["AUTH"], "501 5.5.4 Argument needed"),
        (["AUTH GSSAPI"], "504 5.5.4 Mechanism not offered"),
        (["AUTH SCRAM-SHA-256-PLUS"], "504 5.5.4 Mechanism not offered"),
        (["AUTH PLAIN !!!"], "501 5.5.2 Not base64"),
        (["AUTH PLAIN", "*"], "501 5.0.0 Log-in cancelled"),
        (["AUTH PLAIN", "MAIL FROM:<>"], "501 5.5.2 Not base64"),
        (["AUTH PLAIN ="], "535 5.7.8 Wrong name or app password"),
        ([f"AUTH PLAIN {code('bob' + chr(0) + 'alice' + chr(0) + 'secret')}"], "535 5.7.8 Wrong name or app password"),
        ([f"AUTH SCRAM-SHA-256 {code('p=tls-unique,,n=alice,r=a')}"], "501 5.5.2 Not what this mechanism says"),
        (
            [f"AUTH SCRAM-SHA-256 {code('n,,n=alice,r=a')}", code("c=biws,r=other,p=AAAA")],
            "501 5.5.2 Not what this mechanism says",
        ),
        (["AUTH PLAIN " + "A" * 9000], "501 5.5.2 Not base64"),
        (["AUTH PLAIN " + "A" * 13000], "500 5.5.2 Line too long"),
        (["AUTH PLAIN", "A" * 13000], "500 5.5.2 Line too long"),
        (["NOOP " + "A" * 2100], "500 5.5.2 Line too long"),
    ],
)
def test_what_is_no_log_in_is_told_and_the_next_one_works(wire: Wire, lines: list[str], reply: str) -> None:
    for line in lines:
        said = wire.say(line)
    assert said == [reply]
    assert wire.say(f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}") == ["235 2.7.0 Logged in"]


def test_one_log_in_a_connection_and_none_inside_a_message(wire: Wire) -> None:
    plain = f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}"
    wire.say(plain)
    assert wire.say(plain) == ["503 5.5.1 Logged in already"]
    assert Wire().say("HELO client", plain)[-1] == "503 5.5.1 Say EHLO first"


def test_tls_forgets_who_logged_in(wire: Wire) -> None:
    wire.say(f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}")
    assert wire.say("STARTTLS") == []
    assert wire.say("EHLO client", "MAIL FROM:<alice@example.org>")[-1] == "530 5.7.0 Log in first"


FOREIGN = "553 5.7.1 This log-in may not send as that address; it may send as alice@example.org, j?rg@b?cher.example"


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("FROM:<Alice+tag@EXAMPLE.org>", "250 2.1.0 Sender OK"),
        ("FROM:<>", "250 2.1.0 Sender OK"),
        ("FROM:<j\u00f6rg@xn--bcher-kva.example> SMTPUTF8", "250 2.1.0 Sender OK"),
        ("FROM:<alice@example.org> AUTH=<>", "250 2.1.0 Sender OK"),
        ("FROM:<alice@example.org> RET=hdrs ENVID=a+2Bb", "250 2.1.0 Sender OK"),
        ("FROM:<bob@example.org>", FOREIGN),
        ("FROM:<alice@example.org.evil.example>", FOREIGN),
        ("FROM:<alice@example.org> RET=ALL", "501 5.5.4 Bad parameter value"),
        ("FROM:<alice@example.org> ENVID=a+2bb", "501 5.5.4 Bad parameter value"),
        ("FROM:<alice@example.org> ENVID=" + "x" * 101, "501 5.5.4 Bad parameter value"),
        ("FROM:<alice@example.org> ENVID=", "501 5.5.4 Bad parameter value"),
        ("FROM:<alice@example.org> NOTIFY=NEVER", "501 5.5.4 Bad parameter value"),
        ("FROM:<alice@example.org> BODY=BINARYMIME", "555 5.5.4 Parameter not known or not offered"),
    ],
)
def test_senders(wire: Wire, argument: str, reply: str) -> None:
    wire.say(f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}")
    assert wire.say(f"MAIL {argument}") == [reply]


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("NOTIFY=NEVER", "250 2.1.5 Recipient OK"),
        ("notify=success,FAILURE,delay ORCPT=rfc822;bob@example.net", "250 2.1.5 Recipient OK"),
        ("ORCPT=utf-8;b\\x{F6}b@example.net", "250 2.1.5 Recipient OK"),
        ("NOTIFY=NEVER,SUCCESS", "501 5.5.4 Bad parameter value"),
        ("NOTIFY=", "501 5.5.4 Bad parameter value"),
        ("NOTIFY", "501 5.5.4 Bad parameter value"),
        ("NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4 Bad parameter value"),
        ("ORCPT=bob@example.net", "501 5.5.4 Bad parameter value"),
        ("ORCPT=rfc822;bob+xx", "501 5.5.4 Bad parameter value"),
        ("ORCPT=rfc822;" + "x" * 501, "501 5.5.4 Bad parameter value"),
        ("ORCPT=utf-8;b\u00f6b@example.net", "501 5.5.4 Bad parameter value"),
        ("RET=FULL", "501 5.5.4 Bad parameter value"),
        ("SIZE=5", "501 5.5.4 Bad parameter value"),
        ("X=5", "555 5.5.4 Parameter not known or not offered"),
    ],
)
def test_parameters_of_recipients(wire: Wire, parameters: str, reply: str) -> None:
    wire.say(f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}", "MAIL FROM:<alice@example.org>")
    assert wire.say(f"RCPT TO:<bob@example.net> {parameters}") == [reply]


def test_require_tls_is_offered_under_tls_only(wire: Wire) -> None:
    plain = f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'secret')}"
    wire.say(plain)
    said = wire.say("MAIL FROM:<alice@example.org> REQUIRETLS")
    assert said == ["555 5.5.4 Parameter not known or not offered"]
    wire.say("STARTTLS")
    assert "250-REQUIRETLS" in wire.say("EHLO client")
    wire.say(plain)
    assert wire.say("MAIL FROM:<alice@example.org> REQUIRETLS") == ["250 2.1.0 Sender OK"]
    assert wire.engine.transaction is not None
    assert wire.engine.transaction.envelope == {"require_tls": True}


def test_failures_are_slow_and_few(desk: Callable[..., Any]) -> None:
    import asyncio

    async def scenario() -> None:
        async with desk() as running:
            client = await running.connect()
            for _ in range(2):
                said = await client.ask(f"AUTH PLAIN {code(chr(0) + 'alice' + chr(0) + 'wrong')}")
                assert said == "535 5.7.8 Wrong name or app password"
            said = await client.ask(f"AUTH PLAIN {code(chr(0) + 'nobody' + chr(0) + 'secret')}")
            assert said == "421 4.7.0 Too many failed log-ins, closing"
            assert await client.says() == ""
            assert running.node.slept == [1, 2, 4]

    asyncio.run(scenario())
