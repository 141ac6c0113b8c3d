"""A person answers their mail by submission, and the gateway sends it; as nobody else, and in any script."""

from __future__ import annotations

import imaplib
import os
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mesyx_smtp.testing import Postfix, postfix

from tests.scenario.cluster import Pair, cluster, free_port, wait_for
from tests.scenario.thunderbird import thunderbird

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

HOST = "127.0.3.1"
NOBODY = {
    "smtpd_recipient_restrictions": "check_recipient_access inline:{{nobody@example.com = 550 5.1.1 No such user}}"
}

MUTTRC = """
set folder=imap://{user}:{password}@127.0.0.1:{imap}/ spoolfile=+INBOX record=+Sent postponed=+Drafts
set smtp_url=smtp://{user}:{password}@127.0.0.1:{submission} from={address} realname=Alice use_envelope_from
set ssl_starttls=no ssl_force_tls=no fast_reply include=yes copy=yes confirmappend=no confirmcreate=no quit=yes
set move=no delete=no mark_old=no edit_headers=no abort_unmodified=no editor={editor}
push '<reply><edit-bcc>dora@example.com<enter><send-message><quit>'
"""


@contextmanager
def sending(folder: Path, smarthost: str) -> Iterator[Pair]:
    """A joined pair: the client takes mail to be sent, the gateway sends it to host:port."""
    port = free_port()
    with cluster(
        folder,
        gateway_extra=f'\n[egress.smtp]\nsmarthost = "{smarthost}"\n',
        client_extra=f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n',
    ) as pair:
        pair.client.ports["submission"] = port
        yield pair


def mutt(rc: Path) -> int:
    """Run it on a terminal of its own; its exit code."""
    ours, its = os.openpty()
    environment = {"TERM": "xterm", "HOME": str(rc.parent), "PATH": os.environ["PATH"]}
    with subprocess.Popen(["mutt", "-F", str(rc)], stdin=its, stdout=its, stderr=its, env=environment) as program:
        os.close(its)
        try:
            while os.read(ours, 4096):
                pass
        except OSError:  # what Linux says at a terminal's end
            pass
        os.close(ours)
        return program.wait(30)


def held(pair: Pair, mailbox: str) -> list[bytes]:
    """The messages of a mailbox."""
    with imaplib.IMAP4("127.0.0.1", pair.imap) as client:
        client.login(pair.user, pair.password)
        client.select(mailbox, readonly=True)
        _, found = client.fetch("1:*", "(BODY.PEEK[])")
        return [part[1] for part in found if isinstance(part, tuple)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postfix, Pair]]:
    with postfix({HOST: NOBODY}) as sink, sending(tmp_path_factory.mktemp("reply"), f"{HOST}:{sink.port}") as pair:
        yield sink, pair


def submit(pair: Pair, user: str, password: str) -> smtplib.SMTP:
    """A mail program that has logged in."""
    smtp = smtplib.SMTP("127.0.0.1", pair.client.ports["submission"])
    smtp.login(user, password)
    return smtp


def ask(pair: Pair, number: int, subject: str) -> None:
    """Somebody writes."""
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        text = (
            f"From: Bob <bob@example.com>\r\nTo: {pair.address}\r\nSubject: {subject}\r\n"
            f"Message-ID: <{number}@example.com>\r\n\r\nAt noon?\r\n"
        )
        smtp.sendmail("bob@example.com", [pair.address], text)
    wait_for("the question", lambda: [mail for mail in held(pair, "INBOX") if subject.encode() in mail])


def sent(pair: Pair, address: str, number: int = 1) -> bool:
    """Whether the client knows that so many messages have reached somebody."""
    rows = pair.client.json("queue", "list", "--all")
    states = [each["state"] for row in rows for each in row["recipients"] if each["address"] == address]
    return states == ["sent"] * number


def answers(mails: list[bytes], number: int) -> list[bytes]:
    """Those that answer a question; lines as Postfix shows them."""
    field = f"\nIn-Reply-To: <{number}@example.com>\n".encode()
    return [mail for mail in (each.replace(b"\r\n", b"\n") for each in mails) if field in mail]


def parts(mail: bytes) -> tuple[list[bytes], bytes]:
    """The fields without the trace of servers, and the body."""
    head, _, body = mail.partition(b"\n\n")
    fields = head.replace(b"\n\t", b"\0").replace(b"\n ", b"\1").split(b"\n")
    return sorted(each for each in fields if not each.startswith((b"Received:", b"Bcc:", b"Return-Path:"))), body


def test_a_reply_from_mutt_reaches_the_other_side_and_stands_once_in_sent(
    place: tuple[Postfix, Pair], tmp_path: Path
) -> None:
    sink, pair = place
    ask(pair, 1, "Lunch?")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "At one." >> "$1"\n')
    editor.chmod(0o755)
    rc = tmp_path / "muttrc"
    names = {"user": pair.user, "password": pair.password, "address": pair.address, "editor": editor}
    rc.write_text(MUTTRC.format(**names, **pair.client.ports))
    assert mutt(rc) == 0
    wait_for("the receipts", lambda: sent(pair, "bob@example.com") and sent(pair, "dora@example.com"))
    assert sink.envelopes() == [(pair.address, ["bob@example.com", "dora@example.com"])]
    (received,) = answers(sink.held(), 1)
    assert b"\n> At noon?\n" in received
    assert b"\nAt one.\n" in received
    assert b"dora" not in received.partition(b"\nFrom:")[2]
    (copy,) = answers(held(pair, "Sent"), 1)
    assert parts(copy) == parts(received)


def test_a_reply_from_thunderbird_too_and_it_shows_a_report_as_what_it_is(
    place: tuple[Postfix, Pair], tmp_path: Path
) -> None:
    sink, pair = place
    before = len(held(pair, "Sent")), len(sink.held())
    ask(pair, 2, "Dinner?")
    with thunderbird(tmp_path, pair) as program:
        program.open("Inbox")
        program.read("Dinner?", "At noon?")
        program.reply("> At noon?", "At eight.")
        wait_for("the receipt", lambda: sent(pair, "bob@example.com", before[1] + 1))
        (received,) = answers(sink.held(), 2)
        assert b"\n> At noon?\nAt eight.\n" in received
        assert sink.envelopes()[-1] == (pair.address, ["bob@example.com"])
        assert (len(held(pair, "Sent")), len(sink.held())) == (before[0] + 1, before[1] + 1)
        (copy,) = answers(held(pair, "Sent"), 2)
        assert parts(copy) == parts(received)
        program.open("Sent")
        program.until("one more", lambda: program.rows() == before[0] + 1)
        with submit(pair, pair.user, pair.password) as smtp:
            smtp.sendmail(pair.address, ["nobody@example.com"], f"From: {pair.address}\r\nSubject: Hm\r\n\r\nHm\r\n")
        program.open("Inbox")
        report = program.read("Undelivered", "550 5.1.1")
        assert "nobody@example.com" in report
        assert program.windows() == ["Inbox - alice@example.org - Mozilla Thunderbird"]


def test_a_log_in_for_one_address_sends_as_no_other(place: tuple[Postfix, Pair]) -> None:
    _, pair = place
    words = ("login", "add", pair.user, "--label", "shop", "--identity", "alice+shop@example.org")
    password = pair.client.cli(*words).stdout.splitlines()[-1].split()[-1]
    with submit(pair, pair.user, password) as smtp:
        assert smtp.mail("alice@example.com")[0] == 553
        assert smtp.mail("alice+shop@example.org")[0] == 250


def test_mail_in_another_script_comes_in_and_goes_out(place: tuple[Postfix, Pair]) -> None:
    sink, pair = place
    assert pair.client.passphrase is not None
    invite = ("node", "invite", "--role", "accept", "--role", "exchange", "--address", "j\u00f6rg@b\u00fccher.example")
    line = pair.gateway.cli(*invite).stdout.splitlines()[-1]
    pair.client.cli("store", "add-node", pair.user, line, "--passphrase-file", pair.client.passphrase)
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        text = "From: Zo\u00eb <zo\u00eb@example.com>\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nHallo\r\n".encode()
        smtp.ehlo()
        smtp.command_encoding = "utf-8"
        smtp.sendmail("zo\u00eb@example.com", ["J\u00f6rg@xn--bcher-kva.example"], text, ["SMTPUTF8", "BODY=8BITMIME"])
    wait_for("the mail", lambda: [each for each in held(pair, "INBOX") if "Gr\u00fc\u00dfe".encode() in each])
    before = len(sink.held())
    with submit(pair, pair.user, pair.password) as smtp:
        text = "From: j\u00f6rg@b\u00fccher.example\r\nSubject: Re: Gr\u00fc\u00dfe\r\n\r\nHallo\r\n".encode()
        smtp.command_encoding = "utf-8"
        smtp.sendmail("j\u00f6rg@b\u00fccher.example", ["zo\u00eb@example.com"], text, ["SMTPUTF8", "BODY=8BITMIME"])
    (received,) = wait_for("the answer", lambda: sink.held()[before:])
    assert b" with UTF8SMTP" in received.partition(b"\nReceived:")[0]
    assert sink.envelopes()[-1] == ("j\u00f6rg@b\u00fccher.example", ["zo\u00eb@example.com"])
    assert "Subject: Re: Gr\u00fc\u00dfe\n".encode() in received


def test_a_locked_store_takes_mail_later_and_calls_no_password_wrong(place: tuple[Postfix, Pair]) -> None:
    _, pair = place
    pair.client.cli("store", "lock", pair.user)
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        submit(pair, pair.user, pair.password)
    assert refused.value.smtp_code == 454
