"""A person answers their mail: mutt reads it from the client, replies by submission, and the gateway sends it."""

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


def test_a_reply_from_mutt_reaches_the_other_side_and_stands_once_in_sent(tmp_path: Path) -> None:
    with Sink() as sink, sending(tmp_path, sink) as pair:
        with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
            question = (
                "From: Bob <bob@example.com>\r\nSubject: Lunch?\r\nMessage-ID: <1@example.com>\r\n\r\nAt noon?\r\n"
            )
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
