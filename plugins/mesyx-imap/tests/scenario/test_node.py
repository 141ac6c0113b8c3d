"""A real client node's store over IMAP: what programs do to it, over restarts."""

from __future__ import annotations

import imaplib
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.cluster import Pair, cluster, wait_for

pytestmark = pytest.mark.scenario
_MAIL = (
    b"From: Bob <bob@example.com>\r\nSubject: number %d\r\nMessage-ID: <%d@example.com>\r\n\r\nBody %d has a zebra.\r\n"
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with cluster(tmp_path_factory.mktemp("imap")) as pair:
        yield pair


def _imap(pair: Pair) -> imaplib.IMAP4:
    connection = imaplib.IMAP4("127.0.0.1", pair.imap)
    connection.login(pair.user, pair.password)
    return connection


def _said(answer: tuple[str, Any]) -> list[bytes]:
    word, data = answer
    assert word == "OK", data
    return [line if isinstance(line, bytes) else b"".join(line) for line in data if line]


def _deliver(pair: Pair, numbers: range) -> None:
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        for n in numbers:
            smtp.sendmail("bob@example.com", pair.address, _MAIL % (n, n, n))


def _count(client: imaplib.IMAP4, name: str) -> int:
    (line,) = _said(client.status(name, "(MESSAGES)"))
    return int(line.rpartition(b" ")[2].rstrip(b")"))


def test_a_person_s_day(pair: Pair) -> None:
    _deliver(pair, range(1, 7))
    client = _imap(pair)
    wait_for("six mails", lambda: _count(client, "INBOX") == 6)
    assert _said(client.select()) == [b"6"]
    assert _said(client.search(None, "TEXT", '"zebra"')) == [b"1 2 3 4 5 6"]
    assert _said(client.search(None, "SUBJECT", '"number 3"', "FROM", "bob")) != []
    (whole, _) = _said(client.fetch("1", "(UID ENVELOPE BODYSTRUCTURE BODY[])"))
    assert b"Body 1 has a zebra." in whole

    _said(client.create("work/2026"))
    _said(client.uid("COPY", "1:2", "work/2026"))
    _said(client.uid("MOVE", "3", "Archive"))
    _said(client.store("1", "+FLAGS", "(\\Flagged keyword)"))
    _said(client.store("2", "+FLAGS", "\\Deleted"))
    assert _said(client.expunge()) == [b"3", b"2"]  # imaplib kept the one of MOVE
    assert (_count(client, "INBOX"), _count(client, "Archive"), _count(client, "work/2026")) == (4, 1, 2)

    _said(client.rename("work", "play"))
    assert _count(client, "play/2026") == 2
    sent = b"Message-ID: <own@example.org>\r\nSubject: mine\r\n\r\nhello\r\n"
    first, second = (_said(client.append("Sent", "(\\Seen)", None, sent))[0] for _ in range(2))  # type: ignore[arg-type]
    assert re.findall(rb"APPENDUID \d+ \d+", first) == re.findall(rb"APPENDUID \d+ \d+", second)
    large = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000
    _said(client.append("Drafts", "(\\Draft)", None, large))  # type: ignore[arg-type]
    assert _said(client.select("Drafts")) == [b"1"]
    got = _said(client.fetch("1", "(BODY.PEEK[])"))[0]
    assert got.endswith(large)
    got = _said(client.fetch("1", "(BODY.PEEK[TEXT]<100000.5>)"))[0]
    assert got.endswith(large.partition(b"\r\n\r\n")[2][100000:100005])
    client.logout()


def test_it_is_all_there_after_a_restart(pair: Pair, tmp_path: Path) -> None:
    before = _imap(pair)
    before.select()
    state = _said(before.uid("FETCH", "1:*", "(FLAGS)")), _said(before.list())
    before.logout()
    pair.client.stop()
    pair.client.start()
    after = _imap(pair)
    after.select()
    assert (_said(after.uid("FETCH", "1:*", "(FLAGS)")), _said(after.list())) == state
    after.logout()


def test_an_idle_session_hears_of_mail(pair: Pair) -> None:
    client = _imap(pair)
    (count,) = _said(client.select())
    client.send(b"x IDLE\r\n")
    assert client.readline().startswith(b"+")
    _deliver(pair, range(50, 51))
    client.sock.settimeout(10)
    assert client.readline() == b"* %d EXISTS\r\n" % (int(count) + 1)
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"x OK"):
        pass
    client.shutdown()
