"""What people see of their mail on its way out, with real nodes and a real connection to a mail server: its fate, what
waits, and how a dead gateway's work goes to another.
"""

from __future__ import annotations

import imaplib
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mesyx_smtp.testing import Sink
from mesyx_smtp.testing.sink import SILENCE

from tests.scenario.cluster import Node, Pair, client, cluster, free_port, gateway, wait_for
from tests.scenario.listing import Mailbox, shown

pytestmark = pytest.mark.scenario


def sending(sink: Sink) -> str:
    """A gateway's way out; what is put off is tried again soon."""
    return f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{sink.port}"\nretry = ["1s"]\n'


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as made:
        yield made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Pair]:
    with mailers(tmp_path_factory.mktemp("queue"), sink) as made:
        yield made


@contextmanager
def mailers(folder: Path, sink: Sink) -> Iterator[Pair]:
    """A joined pair that sends to the sink."""
    port = free_port()
    submission = f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n'
    with cluster(folder, gateway_extra=sending(sink), client_extra=submission) as pair:
        pair.client.ports["submission"] = port
        yield pair


@contextmanager
def second_gateway(folder: Path, pair: Pair, sink: Sink, *granted: str) -> Iterator[Node]:
    with ExitStack() as stack:
        other = gateway(folder / "mx2", sending(sink))
        stack.callback(other.kill)
        other.start()
        let_in(pair, other, *granted)
        yield other


def let_in(pair: Pair, other: Node, *granted: str) -> None:
    """The gateway, or one that is in already with more addresses, by an invitation."""
    addresses = (word for address in granted for word in ("--address", address))
    line = other.cli("node", "invite", "--role", "accept", "--role", "exchange", *addresses).stdout.splitlines()[-1]
    assert pair.client.passphrase is not None
    pair.client.cli("store", "add-node", pair.user, line, "--passphrase-file", pair.client.passphrase)


def submit(pair: Pair, number: int, *to: str, sender: str = "", extra: str = "") -> str:
    """The submission's id."""
    sender = sender or pair.address
    text = (
        f"From: {sender}\r\nTo: {to[0]}\r\nBcc: secret@example.com\r\nMessage-ID: <{number}@example.org>\r\n"
        f"Subject: Number {number}\r\n{extra}\r\nHello.\r\n"
    )
    with smtplib.SMTP("127.0.0.1", pair.client.ports["submission"]) as smtp:
        smtp.login(pair.user, pair.password)
        smtp.mail(sender)
        for address in to:
            smtp.rcpt(address)
        code, reply = smtp.data(text.encode())
    assert code == 250, reply
    return reply.split()[-1].decode()


def listed(node: Node, id: str) -> dict[str, Any]:
    return next((row for row in node.ask("queue.list", all=True) if row["id"] == id), {})


def fates(node: Node, id: str) -> dict[str, str]:
    return {each["address"]: each["state"] for each in listed(node, id).get("recipients", [])}


def waiting(node: Node) -> Any:
    return node.ask("status")["stores"][0]["outgoing"]["waiting"]


def key(node: Node) -> str:
    return str(node.ask("status")["key"])


def reached(sink: Sink, number: int) -> list[str]:
    """Whom the mail server has taken a message for, one word for each time."""
    mark = b"Message-ID: <%d@example.org>" % number
    taken = (one.recipients for one in list(sink.received) if mark in one.content)
    return sorted(to.partition(":")[2].split()[0] for recipients in taken for to in recipients)


def number_in_sent(pair: Pair) -> int:
    connection = imaplib.IMAP4("127.0.0.1", pair.imap)
    try:
        connection.login(pair.user, pair.password)
        return int(connection.select("Sent")[1][0] or b"0")
    finally:
        connection.logout()


def test_a_receipt_shows_in_the_queue_and_sent_has_the_message_once(pair: Pair, sink: Sink) -> None:
    id = submit(pair, 1, "bob@example.com", "carol@example.com")
    wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")
    assert fates(pair.client, id) == {"bob@example.com": "sent", "carol@example.com": "sent"}
    assert reached(sink, 1) == ["<bob@example.com>", "<carol@example.com>"]
    assert b"secret@example.com" not in sink.received[0].content
    assert waiting(pair.client) == 0
    assert "nothing waits" in pair.client.cli("queue", "list").stdout
    assert "bob@example.com" in pair.client.cli("queue", "list", "--all").stdout
    connection = imaplib.IMAP4("127.0.0.1", pair.imap)
    connection.login(pair.user, pair.password)
    connection.append("Sent", "(\\Seen)", "", b"Message-ID: <1@example.org>\r\n\r\nas the program files it\r\n")
    assert connection.select("Sent")[1] == [b"1"]
    assert b"secret@example.com" in repr(connection.fetch("1", "(BODY.PEEK[])")).encode()
    connection.logout()
    assert pair.gateway.json("queue", "list") == []


def test_with_the_gateway_off_it_waits_and_goes_when_that_is_back(pair: Pair, sink: Sink) -> None:
    pair.gateway.stop()
    id = submit(pair, 2, "bob@example.com")
    outgoing = pair.client.ask("status")["stores"][0]["outgoing"]
    assert (outgoing["waiting"], outgoing["for"][0]["gateway"]) == (1, listed(pair.client, id)["gateway"])
    assert fates(pair.client, id) == {"bob@example.com": "asked"}
    pair.client.stop()
    pair.gateway.start()
    pair.client.start()
    wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")
    assert reached(sink, 2) == ["<bob@example.com>"]


def test_what_came_while_the_store_was_locked_is_known_once_it_is_open(pair: Pair, sink: Sink) -> None:
    assert pair.client.passphrase is not None
    pair.gateway.stop()
    id = submit(pair, 3, "bob@example.com")
    pair.client.cli("store", "lock", pair.user)
    assert [row["state"] for row in pair.client.ask("queue.list")] == ["locked"]
    with smtplib.SMTP("127.0.0.1", pair.client.ports["submission"]) as smtp:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            smtp.login(pair.user, pair.password)
        assert refused.value.smtp_code == 454
    done = pair.client.cli("queue", "drop", id[:8], check=False)
    assert done.returncode != 0
    assert "locked" in done.stderr
    pair.gateway.start()
    wait_for("the message", lambda: reached(sink, 3))
    pair.client.cli("store", "unlock", pair.user, "--passphrase-file", pair.client.passphrase)
    wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")


def test_two_clients_of_one_store_see_the_same_queue(tmp_path: Path, pair: Pair, sink: Sink) -> None:
    port = free_port()
    phone = client(tmp_path / "phone", f'listen = "127.0.0.1:{port}"\naddress = "https://127.0.0.1:{port}"\n')
    assert phone.passphrase is not None
    assert pair.client.passphrase is not None
    with ExitStack() as stack:
        stack.callback(sink.replies.clear)
        stack.callback(phone.kill)
        sink.replies["RCPT TO:<carol"] = "550 5.1.1 unknown"
        phone.start()
        words = ("node", "invite", "--role", "client", "--role", "exchange", "--passphrase-file", phone.passphrase)
        line = phone.cli(*words).stdout.splitlines()[-1]
        keys = ("--keys", "all", "--passphrase-file", pair.client.passphrase)
        pair.client.cli("store", "add-node", pair.user, line, *keys)
        before = number_in_sent(pair)
        id = submit(pair, 4, "bob@example.com", "carol@example.com")
        wait_for("the receipts", lambda: listed(pair.client, id).get("state") == "failed")
        wait_for("the other client", lambda: listed(phone, id).get("state") == "failed")
        ours, theirs = listed(pair.client, id), listed(phone, id)
        assert ours["recipients"] == theirs["recipients"]
        assert [each["state"] for each in ours["recipients"]] == ["sent", "never"]
        sink.replies.clear()
        again = phone.json("queue", "retry", id[:10])
        assert again["done"] == "submitted anew"
        for node in (phone, pair.client):
            wait_for("the new one", lambda node=node: listed(node, again["id"]).get("state") == "sent")
        assert reached(sink, 4) == ["<bob@example.com>", "<carol@example.com>"]
        assert number_in_sent(pair) == before + 1


def test_a_dead_gateways_work_goes_to_another_and_nothing_confirmed_is_sent_twice(
    tmp_path: Path, pair: Pair, sink: Sink
) -> None:
    sink.replies["RCPT TO:<carol"] = "450 4.2.1 busy"
    id = submit(pair, 5, "bob@example.com", "carol@example.com")
    wait_for("one of two", lambda: fates(pair.client, id) == {"bob@example.com": "sent", "carol@example.com": "later"})
    dead = key(pair.gateway)
    pair.gateway.kill()
    with second_gateway(tmp_path, pair, sink) as other:
        sink.replies.clear()
        [moved] = pair.client.json("queue", "move", "--from", dead[:12], "--to", key(other)[:8])
        assert (moved["id"], moved["recipients"], moved["why_not"]) == (id, 1, "")
        wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")
        assert reached(sink, 5) == ["<bob@example.com>", "<carol@example.com>"]
        pair.gateway.start()
        wait_for("the dead one to hear", lambda: pair.gateway.ask("queue.list") == [])
        late = submit(pair, 6, "dave@example.com")
        wait_for("the receipt", lambda: listed(pair.client, late).get("state") == "sent")
        assert reached(sink, 5) == ["<bob@example.com>", "<carol@example.com>"]


def arrive(port: int, pair: Pair, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        text = f"From: bob@example.com\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.com>\r\n\r\nHello.\r\n"
        smtp.sendmail("bob@example.com", [pair.address], text)


@pytest.mark.timeout(300)
def test_of_two_gateways_one_dies_for_good_and_doctor_names_the_move_to_the_other(tmp_path: Path) -> None:
    shop = "shop@example.org"
    with (
        Sink(replies={"RCPT TO:<carol": "450 4.7.1 greylisted"}) as sink,
        mailers(tmp_path, sink) as pair,
        second_gateway(tmp_path, pair, sink, pair.address, shop) as dying,
    ):
        arrive(pair.smtp, pair, "first")
        arrive(dying.ports["smtp"], pair, "second")
        wait_for("what both took in", lambda: len(shown(pair).get("INBOX", Mailbox(0, {})).messages) == 2)
        pair.client.stop()
        pair.client.turn("+0")
        pair.client.start()
        partly = submit(pair, 7, "bob@example.com", "carol@example.com", sender=shop)
        wait_for(
            "one of two",
            lambda: fates(pair.client, partly) == {"bob@example.com": "sent", "carol@example.com": "later"},
        )
        assert listed(pair.client, partly)["gateway"] == key(dying), "by the one that is granted the sender's address"
        sink.replies["."] = SILENCE
        halfway = submit(pair, 8, "dave@example.com", sender=shop)
        wait_for("a transmission", lambda: reached(sink, 8))
        wait_for("the intent", lambda: maybe(pair.client, halfway) == ["dave@example.com"])
        dead = key(dying)
        dying.kill()
        del sink.replies["."], sink.replies["RCPT TO:<carol"]
        let_in(pair, pair.gateway, shop)

        pair.gateway.stop()
        for node in (pair.client, pair.gateway):
            node.turn("+26h")
        pair.gateway.start()
        command = f"mesyx queue move --from {dead[:16]} --to {key(pair.gateway)[:16]}"
        remedy = wait_for("doctor to name it", lambda: remedies(pair.client, command))[0]
        words = remedy[remedy.index("queue move") :].split()
        told = {row["id"]: row for row in pair.client.json(*words)}
        assert {id: row["recipients"] for id, row in told.items()} == {partly: 1, halfway: 1}
        assert told[halfway]["may_have_been_sent"] == ["dave@example.com"]
        assert not told[partly]["may_have_been_sent"]
        for id in (partly, halfway):
            wait_for("the receipt", lambda id=id: listed(pair.client, id).get("state") == "sent")
        assert reached(sink, 7) == ["<bob@example.com>", "<carol@example.com>"]
        assert reached(sink, 8) == ["<dave@example.com>"] * 2
        assert not remedies(pair.client, "mesyx queue move")
        assert number_in_sent(pair) == 2


def maybe(node: Node, id: str) -> list[str]:
    """Whom it may have reached."""
    return [each["address"] for each in listed(node, id).get("recipients", []) if each["may_have_been_sent"]]


def remedies(node: Node, command: str) -> list[str]:
    """What doctor names of it."""
    return [found["remedy"] for found in node.ask("doctor") if command in found["remedy"]]
