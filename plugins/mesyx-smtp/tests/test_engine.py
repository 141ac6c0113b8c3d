"""SMTP as it reads on the wire. Section numbers are RFC 5321's."""

from __future__ import annotations

from typing import Any

import pytest

from mesyx_core.api import Receipt, Temporary, Verdict

EHLO = """
    S: 220 mx1 ESMTP Mesyx
    C: EHLO client
    S: 250-mx1
    S: 250-PIPELINING
    S: 250-SIZE 52428800
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-CHUNKING
    S: 250-ENHANCEDSTATUSCODES
    S: 250-STARTTLS
    S: 250 HELP
    """


def test_a_message_is_taken_in(wire: Any) -> None:
    wire.play(EHLO)
    wire.play("""
        C: MAIL FROM:<bob@example.net> SIZE=20 BODY=8BITMIME
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<alice@example.org>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 End with CRLF.CRLF
        C: Subject: hello
        C:
        C: ..dots
        C: .
        S: 250 2.0.0 sealed as 4f21-7
        C: QUIT
        S: 221 2.0.0 mx1 closing
    """)
    assert wire.messages == [("bob@example.net", ["alice@example.org"], b"Subject: hello\r\n\r\n.dots\r\n")]
    assert wire.closed


def test_commands_are_pipelined_and_answered_in_order(wire: Any) -> None:
    wire.play(EHLO)
    wire.play("""
        C: RSET
        C: MAIL FROM:<>
        C: RCPT TO:<alice@example.org>
        C: RCPT TO:<gone@example.org>
        C: RCPT TO:<late@example.org>
        C: RCPT TO:<moved@example.org>
        C: DATA
        S: 250 2.0.0 OK
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 550 5.1.1 No such address here
        S: 451 4.3.0 Mailbox is being set up
        S: 550 5.1.6 Moved elsewhere ?
        S: 354 End with CRLF.CRLF
        C: .
        C: MAIL FROM:<carol@example.net>
        C: RCPT TO:<alice@example.org>
        C: DATA
        S: 250 2.0.0 sealed as 4f21-7
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 354 End with CRLF.CRLF
        C: x
        C: .
        S: 250 2.0.0 sealed as 4f21-7
    """)
    assert wire.messages == [
        ("", ["alice@example.org"], b""),
        ("carol@example.net", ["alice@example.org"], b"x\r\n"),
    ]


def test_commands_out_of_order(wire: Any) -> None:
    wire.play("""
        S: 220 mx1 ESMTP Mesyx
        C: MAIL FROM:<bob@example.net>
        S: 503 5.5.1 Say EHLO first
        C: HELO client
        S: 250 mx1
        C: RCPT TO:<alice@example.org>
        S: 503 5.5.1 Need MAIL first
        C: DATA
        S: 503 5.5.1 Need MAIL first
        C: MAIL FROM:<bob@example.net>
        S: 250 2.1.0 Sender OK
        C: DATA
        S: 503 5.5.1 Need RCPT first
        C: MAIL FROM:<bob@example.net>
        S: 503 5.5.1 Sender already given
        C: STARTTLS
        S: 503 5.5.1 Not inside a mail transaction
        C: RCPT TO:<gone@example.org>
        S: 550 5.1.1 No such address here
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: RSET
        S: 250 2.0.0 OK
        C: DATA
        S: 503 5.5.1 Need MAIL first
    """)
    assert wire.aborted == 1


def test_rset_and_ehlo_forget_the_transaction(wire: Any) -> None:
    wire.play(wire.READY)
    for word, reply in (("RSET", "250 2.0.0 OK"), ("HELO again", "250 mx1")):
        wire.play(f"""
            C: MAIL FROM:<bob@example.net>
            C: RCPT TO:<alice@example.org>
            C: {word}
            C: RCPT TO:<alice@example.org>
            S: 250 2.1.0 Sender OK
            S: 250 2.1.5 Recipient OK
            S: {reply}
            S: 503 5.5.1 Need MAIL first
        """)
    assert wire.aborted == 2


def test_small_talk(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play("""
        C: NOOP
        S: 250 2.0.0 OK
        C: noop whatever
        S: 250 2.0.0 OK
        C: HELP
        S: 214 2.0.0 https://www.rfc-editor.org/rfc/rfc5321
        C: VRFY alice
        S: 252 2.5.0 Cannot verify, but will take the message and try
        C: VRFY
        S: 501 5.5.4 Argument needed
        C: EXPN all
        S: 502 5.5.1 Not offered here
        C: AUTH PLAIN
        S: 502 5.5.1 Not offered here
        C: HELO
        S: 501 5.5.4 Argument needed
        C: RSET now
        S: 501 5.5.4 No argument allowed
        C: FOO
        S: 500 5.5.1 Unknown command
        C:
        S: 500 5.5.2 Not a command
        c: \\x80\\xff\\r\\n
        S: 500 5.5.2 Not a command
        c: NOOP\\n
        S: 500 5.5.2 Lines end with CRLF
        c: NO\\rOP\\r\\n
        S: 500 5.5.2 Lines end with CRLF
        C: NOOP
        S: 250 2.0.0 OK
    """)


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("FROM:<bob@example.net>", "250 2.1.0 Sender OK"),
        ("from: <bob@example.net> size=5", "250 2.1.0 Sender OK"),
        ('FROM:<"a b\\">"@example.net>', "250 2.1.0 Sender OK"),
        ("FROM:<@relay.example,@b:bob@example.net>", "250 2.1.0 Sender OK"),
        ("FROM:<bob@[192.0.2.1]>", "250 2.1.0 Sender OK"),
        ("FROM:<bob@[IPv6:2001:db8::1]> BODY=7bit", "250 2.1.0 Sender OK"),
        ("FROM:<SRS0=x=y=example.org=bob@example.net>", "250 2.1.0 Sender OK"),
        ("FROM:<>", "250 2.1.0 Sender OK"),
        ("FROM:bob@example.net", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<bob>", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<bob@>", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<bob@example.net", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<b b@example.net>", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<bob@example.net>SIZE=5", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<bob@@example.net>", "501 5.1.7 Bad sender address syntax"),
        ("TO:<bob@example.net>", "501 5.1.7 Bad sender address syntax"),
        ("", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<b\u00f6b@example.net>", "553 5.6.7 Addresses beyond ASCII need SMTPUTF8"),
        ("FROM:<bob@example.net> SIZE=52428801", "552 5.3.4 Message too big"),
        ("FROM:<bob@example.net> SIZE=999999999999999999999", "501 5.5.4 Bad parameter value"),
        ("FROM:<bob@example.net> SIZE=-1", "501 5.5.4 Bad parameter value"),
        ("FROM:<bob@example.net> SIZE", "501 5.5.4 Bad parameter value"),
        ("FROM:<bob@example.net> SIZE=1 SIZE=1", "501 5.5.4 Bad parameter value"),
        ("FROM:<bob@example.net> BODY=BINARYMIME", "555 5.5.4 Parameter not known or not offered"),
        ("FROM:<bob@example.net> RET=FULL", "555 5.5.4 Parameter not known or not offered"),
        ("FROM:<bob@example.net> AUTH=<>", "555 5.5.4 Parameter not known or not offered"),
        ("FROM:<bob@example.net> SMTPUTF8", "250 2.1.0 Sender OK"),
        ("FROM:<bob@example.net> SMTPUTF8=1", "501 5.5.4 Bad parameter value"),
        ("FROM:<b\u00f6b@b\u00fccher.example> smtputf8 BODY=8BITMIME", "250 2.1.0 Sender OK"),
        ('FROM:<"b \u00f6"@xn--bcher-kva.example> SMTPUTF8', "250 2.1.0 Sender OK"),
        ("FROM:<b\u00f6b@[192.0.2.1]> SMTPUTF8", "250 2.1.0 Sender OK"),
        ("FROM:<b\u00f6b@b\u00fccher..example> SMTPUTF8", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<b\u00f6b\u2028@example.net> SMTPUTF8", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<b\u202eob@example.net> SMTPUTF8", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<b\u00a0ob@example.net> SMTPUTF8", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<b\x85ob@example.net> SMTPUTF8", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<" + "\u00f6" * 160 + "@example.net> SMTPUTF8", "501 5.1.7 Bad sender address syntax"),
        ("FROM:<b\u00f6b@example.net> \u017fMTPUTF8", "501 5.5.4 Bad parameter value"),
    ],
)
def test_senders(wire: Any, argument: str, reply: str) -> None:
    wire.play(wire.READY)
    assert wire.send(b"MAIL " + argument.encode() + b"\r\n") == [reply]


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("TO:<alice+tag@example.org>", "250 2.1.5 Recipient OK"),
        ("TO:<Postmaster>", "250 2.1.5 Recipient OK"),
        ("TO:<@a,@b:alice@example.org>", "250 2.1.5 Recipient OK"),
        ("TO:<>", "501 5.1.3 Bad recipient address syntax"),
        ("TO:<alice>", "501 5.1.3 Bad recipient address syntax"),
        ("TO: alice@example.org", "501 5.1.3 Bad recipient address syntax"),
        ("FROM:<alice@example.org>", "501 5.1.3 Bad recipient address syntax"),
        ("TO:<al\u00efce@example.org>", "553 5.6.7 Addresses beyond ASCII need SMTPUTF8"),
        ("TO:<alice@example.org> NOTIFY=NEVER", "555 5.5.4 Parameter not known or not offered"),
        ("TO:<alice@example.org> =", "501 5.5.4 Bad parameter value"),
    ],
)
def test_recipients(wire: Any, argument: str, reply: str) -> None:
    wire.play(wire.READY)
    wire.send(b"MAIL FROM:<>\r\n")
    assert wire.send(b"RCPT " + argument.encode() + b"\r\n") == [reply]


def test_addresses_beyond_ascii_are_taken_from_who_asked_for_smtputf8(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play("""
        C: MAIL FROM:<b\u00f6b@example.net> SMTPUTF8
        C: RCPT TO:<j\u00f6rg@b\u00fccher.example>
        C: RCPT TO:<j\u00f6rg@b\u00fc_cher.example>
        c: RCPT TO:<j\\xf6rg@example.org>\\r\\n
        C: DATA
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 501 5.1.3 Bad recipient address syntax
        S: 501 5.1.3 Bad recipient address syntax
        S: 354 End with CRLF.CRLF
        C: Subject: \u00fc
        C: .
        S: 250 2.0.0 sealed as 4f21-7
    """)
    assert wire.messages == [
        ("b\u00f6b@example.net", ["j\u00f6rg@b\u00fccher.example"], "Subject: \u00fc\r\n".encode())
    ]


def test_too_many_recipients_are_told_to_come_in_another_message(wire_with: Any) -> None:
    wire = wire_with(recipients=2)
    wire.play(wire.READY)
    wire.play("""
        C: MAIL FROM:<>
        C: RCPT TO:<a@example.org>
        C: RCPT TO:<b@example.org>
        C: RCPT TO:<a@example.org>
        C: RCPT TO:<c@example.org>
        C: DATA
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 250 2.1.5 Recipient OK
        S: 250 2.1.5 Recipient OK
        S: 452 4.5.3 Too many recipients in one message
        S: 354 End with CRLF.CRLF
        C: .
        S: 250 2.0.0 sealed as 4f21-7
    """)
    assert wire.messages[0][1] == ["a@example.org", "b@example.org"]


@pytest.mark.parametrize(
    "smuggled",
    [
        "\\n.\\n",
        "\\n.\\r\\n",
        "\\r.\\r",
        "\\r.\\r\\n",
        "\\r\\n.\\n",
        "\\r\\n.\\r",
        "\\r\\r\\n.\\r\\r\\n",
        "\\r\\n\\0.\\r\\n",
        "\\n\\n.\\r\\n",
    ],
)
def test_what_other_servers_may_take_for_the_end_refuses_the_whole_message(wire: Any, smuggled: str) -> None:
    wire.play(wire.READY)
    wire.play(wire.DATA)
    reason = "Message has NUL bytes" if "\\0" in smuggled else "Message has CR or LF alone; lines end with CRLF"
    wire.play(f"""
        c: one{smuggled}MAIL FROM:<evil@example.net>\\r\\nRCPT TO:<alice@example.org>\\r\\nDATA\\r\\ntwo
        c: \\r\\n.\\r\\n
        S: 550 5.6.0 {reason}
        C: NOOP
        S: 250 2.0.0 OK
    """)
    assert wire.messages == []
    assert wire.aborted == 1


def test_a_refused_message_is_followed_by_a_good_one(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play(wire.DATA)
    wire.play("""
        c: a\\nb\\r\\n.\\r\\n
        S: 550 5.6.0 Message has CR or LF alone; lines end with CRLF
    """)
    wire.play(wire.DATA)
    wire.play("""
        c: a\\r\\n.\\r\\n
        S: 250 2.0.0 sealed as 4f21-7
    """)
    assert [body for _, _, body in wire.messages] == [b"a\r\n"]


def test_lines_of_content_have_no_limit_and_8_bit_passes_unannounced(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play(wire.DATA)
    line = b"\xff" * 1_000_000 + b"\r\n"
    assert wire.send(line + b".\r\n") == ["250 2.0.0 sealed as 4f21-7"]
    assert wire.messages[0][2] == line


def test_a_message_over_the_announced_size_is_refused_while_it_streams(wire_with: Any) -> None:
    wire = wire_with(size=100)
    wire.play(wire.READY)
    wire.play(wire.DATA)
    assert wire.send(b"x" * 101) == []
    assert wire.aborted == 1
    assert wire.send(b"\r\n.\r\n") == ["552 5.3.4 Message too big"]
    wire.play(wire.DATA)
    assert wire.send(b"x" * 98 + b"\r\n.\r\n") == ["250 2.0.0 sealed as 4f21-7"]


def test_a_message_without_end_ends_the_connection(wire_with: Any) -> None:
    wire = wire_with(size=100)
    wire.play(wire.READY)
    wire.play(wire.DATA)
    assert wire.send(b"x" * 150) == []
    assert wire.send(b"x" * 60) == ["421 4.3.4 Message far too big, closing"]
    assert wire.closed


def test_a_mail_loop_is_cut(wire: Any) -> None:
    wire.play(wire.READY)
    for count, reply in (
        (100, "250 2.0.0 sealed as 4f21-7"),
        (101, "554 5.4.6 Too many Received headers: a mail loop"),
    ):
        wire.play(wire.DATA)
        text = b"received: from a by b\r\n" * count + b"\r\n" + b"Received: in the body\r\n" * 50 + b".\r\n"
        said = []
        for at in range(0, len(text), 7):
            said += wire.send(text[at : at + 7])
        assert said == [reply]


def test_content_sent_before_the_354_is_not_taken_for_commands(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play("""
        C: MAIL FROM:<bob@example.net>
        C: RCPT TO:<alice@example.org>
        C: DATA
        C: RSET
        C: .
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 554 5.5.0 Sent content before the reply to DATA
    """)
    assert wire.closed
    assert wire.messages == []


def test_plaintext_behind_starttls_ends_the_connection(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play("""
        C: STARTTLS
        C: MAIL FROM:<evil@example.net>
        S: 554 5.5.0 Sent more before the reply to STARTTLS
    """)
    assert wire.closed


def test_tls_forgets_what_was_said_before(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play("""
        C: STARTTLS now
        S: 501 5.5.4 No argument allowed
        c: STARTTLS\\r\\n
    """)
    wire.play("""
        C: MAIL FROM:<bob@example.net>
        S: 503 5.5.1 Say EHLO first
        C: EHLO client
        S: 250-mx1
        S: 250-PIPELINING
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-CHUNKING
        S: 250-ENHANCEDSTATUSCODES
        S: 250 HELP
        C: STARTTLS
        S: 503 5.5.1 TLS is on already
    """)


def test_errors_are_counted_and_a_kept_message_forgives_them(wire_with: Any) -> None:
    wire = wire_with(errors=3)
    wire.play(wire.READY)
    wire.play("""
        C: FOO
        C: FOO
        S: 500 5.5.1 Unknown command
        S: 500 5.5.1 Unknown command
    """)
    wire.play(wire.DATA)
    wire.play("""
        C: .
        S: 250 2.0.0 sealed as 4f21-7
        C: FOO
        C: FOO
        C: FOO
        C: FOO
        S: 500 5.5.1 Unknown command
        S: 500 5.5.1 Unknown command
        S: 421 4.7.0 Too many errors, closing
    """)
    assert wire.closed


def test_addresses_cannot_be_harvested_without_end(wire_with: Any) -> None:
    wire = wire_with(errors=3)
    wire.play(wire.READY)
    wire.play("""
        C: MAIL FROM:<>
        C: RCPT TO:<gone@example.org>
        C: RCPT TO:<gone@example.org>
        C: RCPT TO:<gone@example.org>
        C: RCPT TO:<alice@example.org>
        S: 250 2.1.0 Sender OK
        S: 550 5.1.1 No such address here
        S: 550 5.1.1 No such address here
        S: 421 4.7.0 Too many errors, closing
    """)
    assert wire.closed


def test_idle_talk_is_limited(wire_with: Any) -> None:
    wire = wire_with(idle=5, errors=3)
    wire.play(wire.READY)
    said = wire.send(b"NOOP\r\n" * 100)
    assert said == ["250 2.0.0 OK"] * 6 + ["421 4.7.0 Too many errors, closing"]


def test_a_browser_is_shown_the_door(wire: Any) -> None:
    wire.play("""
        S: 220 mx1 ESMTP Mesyx
        C: POST / HTTP/1.1
        C: HELO browser
        S: 554 5.5.0 This is SMTP
    """)
    assert wire.closed


def test_a_command_line_has_a_limit(wire: Any) -> None:
    wire.play(wire.READY)
    assert wire.send(b"NOOP " + b"x" * 2043 + b"\r\n") == ["250 2.0.0 OK"]
    assert wire.send(b"NOOP " + b"x" * 2044 + b"\r\n") == ["500 5.5.2 Line too long"]
    assert wire.send(b"x" * 100_000) == ["500 5.5.2 Line too long"]
    assert wire.engine.buffered == 0
    assert wire.send(b"\r\nNOOP\r\n") == ["250 2.0.0 OK"]


@pytest.mark.parametrize(
    ("receipt", "reply"),
    [
        (Receipt(verdicts={"a": Verdict(word="drop")}, trace="7"), "250 2.0.0 sealed as 7"),
        (Receipt(verdicts={"a": Verdict(word="reject"), "b": Verdict()}, trace="7"), "250 2.0.0 sealed as 7"),
        (Receipt(verdicts={"a": Verdict(word="reject")}), "550 5.7.1 Message refused"),
        (Receipt(verdicts={"a": Verdict(word="reject", reason="No cats")}), "550 5.7.1 No cats"),
        (Receipt(verdicts={"a": Verdict(word="reject", reason="4.1.1 No")}), "550 5.7.1 4.1.1 No"),
        (
            Receipt(verdicts={"a": Verdict(word="reject"), "b": Verdict(word="reject", temporary=True, reason="Wait")}),
            "451 4.7.1 Wait",
        ),
        (Receipt(), "550 5.7.1 Message refused"),
        (Temporary("Disk is full"), "451 4.3.0 Disk is full"),
    ],
)
def test_what_became_of_a_message_is_told(wire: Any, receipt: Receipt | Temporary, reply: str) -> None:
    wire.receipt = receipt
    wire.play(wire.READY)
    wire.play(wire.DATA)
    assert wire.send(b".\r\n") == [reply]
    assert wire.send(b"NOOP\r\n") == ["250 2.0.0 OK"]


def test_a_node_that_stops_finishes_the_message_and_says_so(wire: Any) -> None:
    wire.play(wire.READY)
    wire.play(wire.DATA)
    wire.engine.shutdown()
    assert wire.send(b"x\r\n") == []
    assert wire.send(b".\r\nMAIL FROM:<>\r\n") == ["250 2.0.0 sealed as 4f21-7", "421 4.3.2 Shutting down"]
    assert wire.closed


def test_silence_is_told(wire: Any) -> None:
    wire.play(wire.READY)
    wire.engine.timeout()
    assert wire.answer() == ["421 4.4.2 Timed out, closing"]
    assert wire.closed
