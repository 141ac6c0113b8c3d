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
from mesyx_smtp.testing import Sink

from tests.scenario.cluster import Pair, cluster, free_port, wait_for

pytestmark = pytest.mark.scenario

MUTTRC = """
set folder=imap://{user}:{password}@127.0.0.1:{imap}/ spoolfile=+INBOX record=+Sent postponed=+Drafts
set smtp_url=smtp://{user}:{password}@127.0.0.1:{submission} from={address} realname=Alice use_envelope_from
set ssl_starttls=no ssl_force_tls=no fast_reply include=yes copy=yes confirmappend=no confirmcreate=no quit=yes
set move=no delete=no mark_old=no edit_headers=no abort_unmodified=no editor={editor}
push '<reply><edit-bcc>dora@example.com<enter><send-message><quit>'
"""


@contextmanager
def sending(folder: Path, sink: Sink) -> Iterator[Pair]:
    """A joined pair: the client takes mail to be sent, the gateway sends it to the sink."""
    port = free_port()
    with cluster(
        folder,
        gateway_extra=f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{sink.port}"\n',
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
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sink, Pair]]:
    with Sink() as sink, sending(tmp_path_factory.mktemp("reply"), sink) as pair:
        yield sink, pair


def submit(pair: Pair, user: str, password: str) -> smtplib.SMTP:
    """A mail program that has logged in."""
    smtp = smtplib.SMTP("127.0.0.1", pair.client.ports["submission"])
    smtp.login(user, password)
    return smtp


def test_a_reply_from_mutt_reaches_the_other_side_and_stands_once_in_sent(
    place: tuple[Sink, Pair], tmp_path: Path
) -> None:
    sink, pair = place
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        question = "From: Bob <bob@example.com>\r\nSubject: Lunch?\r\nMessage-ID: <1@example.com>\r\n\r\nAt noon?\r\n"
        smtp.sendmail("bob@example.com", [pair.address], question)
    wait_for("the question", lambda: held(pair, "INBOX"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "At one." >> "$1"\n')
    editor.chmod(0o755)
    rc = tmp_path / "muttrc"
    names = {"user": pair.user, "password": pair.password, "address": pair.address, "editor": editor}
    rc.write_text(MUTTRC.format(**names, **pair.client.ports))
    assert mutt(rc) == 0
    (received,) = wait_for("the reply", lambda: sink.received)
    assert received.mail.startswith(f"MAIL FROM:<{pair.address}>")
    assert sorted(received.recipients) == ["RCPT TO:<bob@example.com>", "RCPT TO:<dora@example.com>"]
    assert b"\r\nIn-Reply-To: <1@example.com>\r\n" in received.content
    assert b"> At noon?\r\n" in received.content
    assert b"At one.\r\n" in received.content
    assert b"dora" not in received.content
    (copy,) = held(pair, "Sent")
    assert b"\r\nAt one.\r\n" in copy


def test_a_log_in_for_one_address_sends_as_no_other(place: tuple[Sink, Pair]) -> None:
    _, pair = place
    words = ("login", "add", pair.user, "--label", "shop", "--identity", "alice+shop@example.org")
    password = pair.client.cli(*words).stdout.splitlines()[-1].split()[-1]
    with submit(pair, pair.user, password) as smtp:
        assert smtp.mail("alice@example.com")[0] == 553
        assert smtp.mail("alice+shop@example.org")[0] == 250


def test_mail_in_another_script_comes_in_and_goes_out(place: tuple[Sink, Pair]) -> None:
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
    before = len(sink.received)
    with submit(pair, pair.user, pair.password) as smtp:
        text = "From: j\u00f6rg@b\u00fccher.example\r\nSubject: Re: Gr\u00fc\u00dfe\r\n\r\nHallo\r\n".encode()
        smtp.command_encoding = "utf-8"
        smtp.sendmail("j\u00f6rg@b\u00fccher.example", ["zo\u00eb@example.com"], text, ["SMTPUTF8", "BODY=8BITMIME"])
    received = wait_for("the answer", lambda: sink.received[before:])[0]
    assert " SMTPUTF8" in received.mail
    assert received.recipients == ["RCPT TO:<zo\u00eb@example.com>"]
    assert "Subject: Re: Gr\u00fc\u00dfe\r\n".encode() in received.content


def test_a_locked_store_takes_mail_later_and_calls_no_password_wrong(place: tuple[Sink, Pair]) -> None:
    _, pair = place
    pair.client.cli("store", "lock", pair.user)
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        submit(pair, pair.user, pair.password)
    assert refused.value.smtp_code == 454
