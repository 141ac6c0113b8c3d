"""The outside contract: the commands of the README, with real processes, from `init` to a message read over IMAP."""

from __future__ import annotations

import imaplib
import smtplib
from pathlib import Path

import pytest

from tests.scenario.cluster import Pair, cluster, wait_for

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
