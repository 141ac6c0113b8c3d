"""The client as transcripts: what it says to a server, and what becomes of each recipient."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from mesyx_smtp.egress.address import parse
from mesyx_smtp.egress.auth import Login
from mesyx_smtp.egress.client import Client, Close, Content, Fate, Mail, StartTls, Terms

from mesyx_core.wire.sasl import Scram, make_verifier

ALL = "250-mx\nS: 250-PIPELINING\nS: 250-SIZE 1000\nS: 250-8BITMIME\nS: 250-SMTPUTF8\nS: 250 DSN"
SOME = "250-mx\nS: 250 PIPELINING"
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"


class Play:
    """S: lines are what the server says, C: all that the client then says. "C: CONTENT" stands for the content and its
    end, "C: TLS" for the handshake, "C: CLOSE" for the end."""

    def __init__(self, *recipients: str, terms: dict[str, Any] | None = None, **mail: Any) -> None:
        recipients = recipients or (ALICE,)
        sender = mail.pop("sender", "me@example.net")
        self.client = Client(
            Terms(hello="node.example.net", **(terms or {})),
            Mail(
                sender=parse(sender) if sender else None,
                recipients={each: parse(each) for each in recipients},
                size=mail.pop("size", 100),
                **mail,
            ),
        )

    def run(self, transcript: str) -> dict[str, Fate]:
        said = self._said()
        assert said == [], "the server speaks first"
        heard = ""
        for line in [*(line.strip() for line in transcript.strip().splitlines()), "S: "]:
            if line.startswith("S: "):
                assert said == []
                heard += line[3:] + "\r\n"
                continue
            if heard:
                self.client.feed(heard.encode())
                said, heard = self._said(), ""
            assert said[:1] == [line[3:]]
            said = said[1:]
        return self.client.fates

    def _said(self) -> list[str]:
        said: list[str] = []
        while True:
            event = self.client.next()
            said += self.client.output().decode().split("\r\n")[:-1]
            if isinstance(event, StartTls):
                said.append("TLS")
                self.client.secured()
            elif isinstance(event, Content):
                said.append("CONTENT")
                self.client.ending(b"")
            elif isinstance(event, Close):
                return [*said, "CLOSE"]
            else:
                return said


def test_one_message_to_one_recipient() -> None:
    fates = Play().run(
        """
        S: 220 mx ESMTP
        C: EHLO node.example.net
        S: 250 mx
        C: MAIL FROM:<me@example.net>
        S: 250 ok
        C: RCPT TO:<alice@example.org>
        S: 250 ok
        C: DATA
        S: 354 go
        C: CONTENT
        S: 250 2.0.0 queued as 7
        C: QUIT
        C: CLOSE
        """
    )
    assert fates == {ALICE: Fate("sent", "250 2.0.0 queued as 7")}


def test_an_old_server_is_greeted_with_helo() -> None:
    fates = Play().run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 502 what
        C: HELO node.example.net
        S: 250 mx
        C: MAIL FROM:<me@example.net>
        S: 250 ok
        C: RCPT TO:<alice@example.org>
        S: 250 ok
        C: DATA
        S: 354 go
        C: CONTENT
        S: 250 ok
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE].word == "sent"


def test_recipients_are_pipelined_and_each_has_its_own_fate() -> None:
    fates = Play(ALICE, BOB, CAROL).run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        C: RCPT TO:<bob@example.org>
        C: RCPT TO:<carol@example.org>
        S: 250 ok
        S: 250 ok
        S: 550 5.1.1 no bob
        S: 450 4.2.0 greylisted
        C: DATA
        S: 354 go
        C: CONTENT
        S: 250 2.0.0 kept
        C: QUIT
        C: CLOSE
        """
    )
    assert fates == {
        ALICE: Fate("sent", "250 2.0.0 kept"),
        BOB: Fate("never", "550 5.1.1 no bob (at RCPT)"),
        CAROL: Fate("soft", "450 4.2.0 greylisted (at RCPT)"),
    }


def test_no_message_is_begun_when_nobody_is_taken() -> None:
    fates = Play(ALICE, BOB).run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        C: RCPT TO:<bob@example.org>
        S: 250 ok
        S: 550 5.1.1 no
        S: 550 5.1.1 no
        C: QUIT
        C: CLOSE
        """
    )
    assert {fate.word for fate in fates.values()} == {"never"}


@pytest.mark.parametrize(
    ("reply", "word"), [("451 4.3.0 busy", "soft"), ("554 5.7.1 no", "never"), ("250 odd", "soft"), ("421 bye", "soft")]
)
def test_refused_at_data(reply: str, word: str) -> None:
    fates = Play().run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        S: 250 ok
        S: 250 ok
        C: DATA
        S: {reply}
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE].word == word


@pytest.mark.parametrize(("reply", "word"), [("452 4.3.1 disk full", "soft"), ("554 5.7.1 spam", "never")])
def test_refused_after_the_dot(reply: str, word: str) -> None:
    fates = Play().run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        S: 250 ok
        S: 250 ok
        C: DATA
        S: 354 go
        C: CONTENT
        S: {reply}
        C: QUIT
        C: CLOSE
        """
    )
    assert fates == {ALICE: Fate(word, f"{reply} (at the end of the message)")}  # type: ignore[arg-type]


def test_mail_refused_is_refused_for_all() -> None:
    fates = Play(ALICE, BOB).run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        C: RCPT TO:<bob@example.org>
        S: 553 5.1.8 unknown sender
        S: 503 5.5.1 MAIL first
        S: 503 5.5.1 MAIL first
        C: QUIT
        C: CLOSE
        """
    )
    assert fates == dict.fromkeys((ALICE, BOB), Fate("never", "553 5.1.8 unknown sender (at MAIL)"))


@pytest.mark.parametrize(("reply", "word"), [("421 4.3.2 busy", "soft"), ("554 5.7.1 go away", "unfit")])
def test_a_server_may_refuse_the_whole_session(reply: str, word: str) -> None:
    fates = Play().run(f"S: {reply}\nC: QUIT\nC: CLOSE")
    assert fates[ALICE].word == word


def test_too_many_recipients_are_told_in_a_second_transaction() -> None:
    fates = Play(ALICE, BOB).run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        C: RCPT TO:<bob@example.org>
        S: 250 ok
        S: 250 ok
        S: 452 4.5.3 too many recipients
        C: DATA
        S: 354 go
        C: CONTENT
        S: 250 first
        C: RSET
        S: 250 ok
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<bob@example.org>
        S: 250 ok
        S: 250 ok
        C: DATA
        S: 354 go
        C: CONTENT
        S: 250 second
        C: QUIT
        C: CLOSE
        """
    )
    assert fates == {ALICE: Fate("sent", "250 first"), BOB: Fate("sent", "250 second")}


def test_a_full_mailbox_is_not_too_many_recipients() -> None:
    fates = Play(ALICE, BOB).run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        C: RCPT TO:<bob@example.org>
        S: 250 ok
        S: 250 ok
        S: 452 4.2.2 mailbox full
        C: DATA
        S: 354 go
        C: CONTENT
        S: 250 ok
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[BOB] == Fate("soft", "452 4.2.2 mailbox full (at RCPT)")


def test_what_the_server_offers_is_used() -> None:
    play = Play(
        ALICE,
        "ünï@exämple.org",
        sender="",
        eight_bit=True,
        ret="HDRS",
        envid="abc+2B",
        notify={ALICE: "success,failure"},
        orcpt={ALICE: "rfc822;a+2Bb@example.org"},
    )
    play.run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {ALL}
        C: MAIL FROM:<> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=abc+2B
        C: RCPT TO:<alice@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@example.org
        C: RCPT TO:<ünï@exämple.org>
        """
    )


@pytest.mark.parametrize(
    ("offered", "notify", "relayed"),
    [("", "SUCCESS", True), ("", "failure,success", True), ("DSN", "SUCCESS", False), ("", "FAILURE", False)],
)
def test_who_waits_for_word_of_success_is_owed_it_where_the_server_gives_none(
    offered: str, notify: str, relayed: bool
) -> None:
    words = f" NOTIFY={notify}" if offered else ""
    fates = Play(notify={ALICE: notify}).run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: 250-mx
        S: 250 {offered or "HELP"}
        C: MAIL FROM:<me@example.net>
        S: 250 ok
        C: RCPT TO:<alice@example.org>{words}
        S: 250 ok
        C: DATA
        S: 354 go on
        C: CONTENT
        S: 250 2.0.0 queued
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE] == Fate("sent", "250 2.0.0 queued", relayed)


def test_dsn_words_that_could_be_commands_are_left_out() -> None:
    Play(envid="a b\r\nRSET", notify={ALICE: "NEVER,FAILURE"}, orcpt={ALICE: "rfc822;a b"}, ret="ALL").run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250-mx
        S: 250 DSN
        C: MAIL FROM:<me@example.net>
        S: 250 ok
        C: RCPT TO:<alice@example.org>
        """
    )


def test_an_ascii_local_part_needs_no_smtputf8() -> None:
    Play("alice@exämple.org").run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250 mx
        C: MAIL FROM:<me@example.net>
        S: 250 ok
        C: RCPT TO:<alice@xn--exmple-cua.org>
        """
    )


def test_who_needs_smtputf8_is_unfit_where_it_is_not_offered() -> None:
    play = Play(ALICE, "ünï@example.org")
    fates = play.run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        C: MAIL FROM:<me@example.net>
        C: RCPT TO:<alice@example.org>
        """
    )
    assert fates["ünï@example.org"].word == "unfit"
    assert fates["ünï@example.org"].reason.startswith("5.6.7 ")


@pytest.mark.parametrize(
    ("mail", "status", "word"),
    [
        ({"utf8_header": True}, "5.6.7", "unfit"),
        ({"sender": "mé@example.net"}, "5.6.7", "unfit"),
        ({"eight_bit": True}, "5.6.3", "unfit"),
        ({"size": 1001}, "5.3.4", "never"),
    ],
)
def test_a_message_that_the_server_cannot_take_is_not_offered(mail: dict[str, Any], status: str, word: str) -> None:
    fates = Play(**mail).run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250-mx
        S: 250 SIZE 1000
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE].word == word
    assert fates[ALICE].reason.startswith(status + " ")


# --- TLS ------------------------------------------------------------------------------------------------------------------


def test_tls_is_begun_where_offered_and_the_server_greeted_again() -> None:
    play = Play()
    play.run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250-mx
        S: 250-SIZE 5
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        C: TLS
        C: EHLO node.example.net
        S: 250 mx
        C: MAIL FROM:<me@example.net>
        """
    )
    assert play.client.secure


def test_replies_that_come_with_the_one_to_starttls_are_not_believed() -> None:
    fates = Play().run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250-mx
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        S: 250 mx
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE].word == "soft"
    assert "between STARTTLS and TLS" in fates[ALICE].reason


def test_replies_that_come_before_they_were_asked_for_are_not_believed() -> None:
    fates = Play().run(
        f"""
        S: 220 mx
        C: EHLO node.example.net
        S: {SOME}
        S: 250 sender ok
        S: 250 recipient ok
        S: 354 go
        S: 250 kept
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE].word == "soft"


def test_a_server_without_tls_is_unfit_where_tls_is_required() -> None:
    fates = Play(terms={"tls": "must"}).run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250 mx
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE].word == "unfit"
    assert fates[ALICE].reason.startswith("5.7.10 ")


def test_requiretls_is_passed_on_over_tls() -> None:
    Play(require_tls=True, terms={"tls": "on"}).run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250-mx
        S: 250 REQUIRETLS
        C: MAIL FROM:<me@example.net> REQUIRETLS
        """
    )


def test_a_server_that_does_not_promise_tls_onwards_is_unfit_where_that_is_asked_for() -> None:
    fates = Play(require_tls=True, terms={"tls": "on"}).run(
        """
        S: 220 mx
        C: EHLO node.example.net
        S: 250 mx
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE].word == "unfit"
    assert fates[ALICE].reason.startswith("5.7.30 ")


def test_a_server_that_is_ourselves_gets_no_mail() -> None:
    fates = Play(terms={"ourselves": frozenset({"node.example.net"})}).run(
        """
        S: 220 hello
        C: EHLO node.example.net
        S: 250 Node.Example.Net at your service
        C: QUIT
        C: CLOSE
        """
    )
    assert fates[ALICE] == Fate("never", "5.4.6 mail loop: the server for this address is this node itself")


# --- log-in ---------------------------------------------------------------------------------------------------------------

LOGIN = Login("me", "secret", b"n" * 18)


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def logging_in(offered: str, rest: str, *, tls: str = "on") -> Play:
    play = Play(terms={"tls": tls, "login": LOGIN})
    play.run(f"S: 220 mx\nC: EHLO node.example.net\nS: 250-mx\nS: 250 {offered}\n{rest}")
    return play


def test_plain() -> None:
    logging_in(
        "AUTH LOGIN PLAIN",
        f"C: AUTH PLAIN {b64(chr(0) + 'me' + chr(0) + 'secret')}\nS: 235 2.7.0 ok\nC: MAIL FROM:<me@example.net>",
    )


def test_login() -> None:
    logging_in(
        "AUTH LOGIN",
        f"""C: AUTH LOGIN
        S: 334 {b64("Username:")}
        C: {b64("me")}
        S: 334 {b64("Password:")}
        C: {b64("secret")}
        S: 235 2.7.0 ok
        C: MAIL FROM:<me@example.net>""",
    )


def scram_play() -> tuple[Play, Scram, bytes]:
    play = logging_in("AUTH PLAIN SCRAM-SHA-256", f"C: AUTH SCRAM-SHA-256 {b64('n,,n=me,r=' + b64(LOGIN.nonce))}")
    server = Scram(b"s" * 18)
    first = server.challenge(b"n,,n=me,r=" + b64(LOGIN.nonce).encode(), lambda _: b"salt" * 4)
    play.client.feed(f"334 {b64(first)}\r\n".encode())
    play.client.next()
    return play, server, base64.b64decode(play.client.output())


def test_scram_proves_the_password_both_ways() -> None:
    play, server, final = scram_play()
    assert server.respond(final)(make_verifier("secret", b"salt" * 4).pack())
    play.client.feed(f"334 {b64(server.success())}\r\n".encode())
    play.client.next()
    assert play.client.output() == b"\r\n"
    play.client.feed(b"235 2.7.0 ok\r\n")
    play.client.next()
    assert play.client.output() == b"MAIL FROM:<me@example.net>\r\n"


@pytest.mark.parametrize("says", [b"235 2.7.0 welcome\r\n", b"334 " + b64("v=AAAA").encode() + b"\r\n"])
def test_a_server_that_does_not_know_the_password_gets_no_mail(says: bytes) -> None:
    play, _, _ = scram_play()
    play.client.feed(says)
    assert play.client.next() == Close()
    assert play.client.fates[ALICE].word == "soft"
    assert play.client.login_refused


@pytest.mark.parametrize(
    "challenge", ["r=other,s=c2FsdA==,i=4096", "r={n}x,s=c2FsdA==,i=1", "r={n}x,s=c2FsdA==,i=99999999", "x"]
)
def test_a_malformed_scram_challenge_ends_the_session(challenge: str) -> None:
    play = logging_in("AUTH SCRAM-SHA-256", f"C: AUTH SCRAM-SHA-256 {b64('n,,n=me,r=' + b64(LOGIN.nonce))}")
    play.client.feed(f"334 {b64(challenge.format(n=b64(LOGIN.nonce)))}\r\n".encode())
    assert play.client.next() == Close()
    assert play.client.fates[ALICE].word == "soft"


def test_a_password_that_is_refused_is_no_fault_of_the_recipient() -> None:
    play = logging_in(
        "AUTH PLAIN",
        f"""C: AUTH PLAIN {b64(chr(0) + "me" + chr(0) + "secret")}
        S: 535 5.7.8 wrong
        C: QUIT
        C: CLOSE""",
    )
    assert play.client.fates[ALICE] == Fate("soft", "4.7.8 cannot log in: 535 5.7.8 wrong (at AUTH)")
    assert play.client.login_refused


def test_the_password_is_never_said_in_clear() -> None:
    logging_in("AUTH PLAIN", "C: QUIT\nC: CLOSE", tls="may")


# --- connections that end ---------------------------------------------------------------------------------------------------

UP_TO_DATA = f"""
    S: 220 mx
    C: EHLO node.example.net
    S: {SOME}
    C: MAIL FROM:<me@example.net>
    C: RCPT TO:<alice@example.org>
    C: RCPT TO:<bob@example.org>
    S: 250 ok
    S: 250 ok
    S: 550 5.1.1 no
    C: DATA
    """


def test_a_connection_lost_after_the_dot_may_have_delivered() -> None:
    play = Play(ALICE, BOB)
    play.run(UP_TO_DATA + "S: 354 go\nC: CONTENT")
    play.client.lost("4.4.2 connection lost")
    assert play.client.fates[ALICE] == Fate("unsure", "4.4.2 connection lost (may have been delivered)")
    assert play.client.fates[BOB].word == "never"


def test_a_connection_lost_before_the_dot_has_not() -> None:
    play = Play(ALICE, BOB)
    play.run(UP_TO_DATA)
    play.client.feed(b"354 go\r\n")
    assert isinstance(play.client.next(), Content)
    play.client.lost("4.4.2 connection lost")
    assert play.client.fates[ALICE] == Fate("soft", "4.4.2 connection lost")


def test_a_yes_before_the_dot_is_none() -> None:
    play = Play(ALICE, BOB)
    play.run(UP_TO_DATA)
    play.client.feed(b"354 go\r\n250 delivered already\r\n")
    assert isinstance(play.client.next(), Content)
    play.client.next()
    assert play.client.fates[ALICE].word == "soft"
