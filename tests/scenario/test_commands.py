"""The outside contract: the commands of the README, with real processes, from `init` to a message read over IMAP."""

from __future__ import annotations

import imaplib
import shlex
import smtplib
import subprocess
from pathlib import Path

import pytest

from tests.scenario.cluster import MESYX, Pair, cluster, wait_for

pytestmark = pytest.mark.scenario


def send(pair: Pair, text: bytes, recipient: str | None = None) -> bytes:
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        smtp.ehlo("sender.example")
        smtp.mail("bob@example.com")
        code, reply = smtp.rcpt(recipient or pair.address)
        assert code == 250, reply
        code, reply = smtp.data(text)
        assert code == 250, reply
        return reply


def imap(pair: Pair) -> imaplib.IMAP4:
    connection = imaplib.IMAP4("127.0.0.1", pair.imap)
    connection.login(pair.user, pair.password)
    return connection


def exists(pair: Pair) -> int:
    connection = imap(pair)
    try:
        return int(connection.select("INBOX")[1][0] or b"0")
    finally:
        connection.logout()


def test_a_message_goes_in_by_smtp_and_out_by_imap_on_another_node(tmp_path: Path) -> None:
    text = b"From: bob@example.com\r\nTo: alice@example.org\r\nSubject: hello\r\n\r\nIt works, Alice.\r\n"
    with cluster(tmp_path) as pair:
        reply = send(pair, text)
        assert reply.startswith(b"2.0.0 sealed as ")
        wait_for("the message at the client", lambda: exists(pair) == 1)
        connection = imap(pair)
        connection.select("INBOX")
        data = connection.fetch("1", "(BODY.PEEK[])")[1][0]
        assert isinstance(data, tuple)
        assert data[1].endswith(text)
        connection.logout()
        found = pair.client.json("trace", reply.split()[-1].decode())
        assert found["store"] == "alice"
        assert pair.client.stop() == 0
        assert pair.gateway.stop() == 0


def test_the_demo_says_how_to_read_and_send_and_imports_nothing_from_where_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "dns.py").write_text("raise RuntimeError\n")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([*MESYX, "demo"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        try:
            text = "".join(lines)
            assert "got it, opened it and serves it" in text
            (mutt,) = (shlex.split(line)[1:] for line in lines if line.startswith("mutt:"))
            options = dict(word.partition("=")[::2] for word in mutt[-1].split())
            assert options["record"] == "+Sent", "mutt would keep a copy in clear otherwise"
            with smtplib.SMTP(options["smtp_url"].rpartition("@")[2]) as smtp:
                smtp.login(*options["smtp_url"].removeprefix("smtp://").rpartition("@")[0].split(":"))
                content = "From: alice@example.org\r\nSubject: Back\r\n\r\nHello.\r\n"
                smtp.sendmail("alice@example.org", ["alice@example.org"], content)
            with imaplib.IMAP4("127.0.0.1", int(mutt[2].rpartition(":")[2].split("/")[0])) as inbox:
                inbox.login(*mutt[2].removeprefix("imap://").rpartition("@")[0].split(":"))
                wait_for("it to come back in", lambda: inbox.select("INBOX")[1] == [b"2"])
        finally:
            demo.terminate()
        assert demo.wait(30) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["dns.py"], "nothing of it stays"
