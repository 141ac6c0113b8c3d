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

from tests.scenario.cluster import Node, Pair, client, cluster, free_port, gateway, wait_for

pytestmark = pytest.mark.scenario


def sending(sink: Sink) -> str:
    """A gateway's way out; what is put off is tried again soon."""
    return f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{sink.port}"\nretry = ["1s"]\n'


@contextmanager
def mailers(folder: Path, sink: Sink) -> Iterator[Pair]:
    """A joined pair that sends to the sink."""
    port = free_port()
    submission = f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n'
    with cluster(folder, gateway_extra=sending(sink), client_extra=submission) as pair:
        pair.client.ports["submission"] = port
        yield pair


@contextmanager
def second_gateway(folder: Path, pair: Pair, sink: Sink) -> Iterator[Node]:
    with ExitStack() as stack:
        other = gateway(folder / "mx2", sending(sink))
        stack.callback(other.kill)
        other.start()
        roles = ("--role", "accept", "--role", "exchange")
        line = other.cli("node", "invite", *roles).stdout.splitlines()[-1]
        assert pair.client.passphrase is not None
        pair.client.cli("store", "add-node", pair.user, line, "--passphrase-file", pair.client.passphrase)
        yield other


def submit(pair: Pair, number: int, *to: str, extra: str = "") -> str:
    """The submission's id."""
    text = (
        f"From: {pair.address}\r\nTo: {to[0]}\r\nBcc: secret@example.com\r\nMessage-ID: <{number}@example.org>\r\n"
        f"Subject: Number {number}\r\n{extra}\r\nHello.\r\n"
    )
    with smtplib.SMTP("127.0.0.1", pair.client.ports["submission"]) as smtp:
        smtp.login(pair.user, pair.password)
        smtp.mail(pair.address)
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


def reached(sink: Sink) -> list[str]:
    """Whom the mail server has taken messages for, one word for each time."""
    return sorted(to.partition(":")[2].split()[0] for one in sink.received for to in one.recipients)


def number_in_sent(pair: Pair) -> int:
    connection = imaplib.IMAP4("127.0.0.1", pair.imap)
    try:
        connection.login(pair.user, pair.password)
        return int(connection.select("Sent")[1][0] or b"0")
    finally:
        connection.logout()


def test_a_receipt_shows_in_the_queue_and_sent_has_the_message_once(tmp_path: Path) -> None:
    with Sink() as sink, mailers(tmp_path, sink) as pair:
        id = submit(pair, 1, "bob@example.com", "carol@example.com")
        wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")
        assert fates(pair.client, id) == {"bob@example.com": "sent", "carol@example.com": "sent"}
        assert reached(sink) == ["<bob@example.com>", "<carol@example.com>"]
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


def test_with_the_gateway_off_it_waits_and_goes_when_that_is_back(tmp_path: Path) -> None:
    with Sink() as sink, mailers(tmp_path, sink) as pair:
        submit(pair, 0, "bob@example.com")
        wait_for("the first", lambda: sink.received)
        pair.gateway.stop()
        id = submit(pair, 1, "bob@example.com")
        outgoing = pair.client.ask("status")["stores"][0]["outgoing"]
        assert (outgoing["waiting"], outgoing["for"][0]["gateway"]) == (1, listed(pair.client, id)["gateway"])
        assert fates(pair.client, id) == {"bob@example.com": "asked"}
        pair.client.stop()
        pair.gateway.start()
        pair.client.start()
        wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")
        assert reached(sink) == ["<bob@example.com>"] * 2


def test_a_dead_gateways_work_goes_to_another_and_nothing_confirmed_is_sent_twice(tmp_path: Path) -> None:
    with Sink(replies={"RCPT TO:<carol": "450 4.2.1 busy"}) as sink, mailers(tmp_path, sink) as pair:
        submit(pair, 0, "bob@example.com")
        wait_for("the first", lambda: sink.received)
        id = submit(pair, 1, "bob@example.com", "carol@example.com")
        wait_for(
            "one of two", lambda: fates(pair.client, id) == {"bob@example.com": "sent", "carol@example.com": "later"}
        )
        dead = key(pair.gateway)
        pair.gateway.kill()
        with second_gateway(tmp_path, pair, sink) as other:
            sink.replies.clear()
            [moved] = pair.client.json("queue", "move", "--from", dead[:12], "--to", key(other)[:8])
            assert (moved["id"], moved["recipients"], moved["why_not"]) == (id, 1, "")
            wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")
            assert reached(sink) == ["<bob@example.com>", "<bob@example.com>", "<carol@example.com>"]
            pair.gateway.start()
            wait_for("the dead one to hear", lambda: pair.gateway.ask("queue.list") == [])
            late = submit(pair, 2, "dave@example.com")
            wait_for("the receipt", lambda: listed(pair.client, late).get("state") == "sent")
            assert reached(sink).count("<carol@example.com>") == 1
            assert reached(sink).count("<bob@example.com>") == 2
            assert waiting(pair.client) == 0


def test_doctor_names_the_move_for_a_gateway_that_is_not_heard_of(tmp_path: Path) -> None:
    with Sink() as sink, mailers(tmp_path, sink) as pair, second_gateway(tmp_path, pair, sink) as other:
        submit(pair, 0, "bob@example.com")
        wait_for("the first", lambda: sink.received)
        pair.client.stop()
        pair.gateway.kill()
        pair.client.turn("+0")
        pair.client.start()
        gone = listed(pair.client, submit(pair, 1, "bob@example.com"))["gateway"]
        other.turn("+0")
        other.stop()
        for node in (pair.client, other):
            node.turn("+26h")
        other.start()
        command = f"mesyx queue move --from {gone[:16]} --to {key(other)[:16]}"

        def named() -> bool:
            return any(command in finding["remedy"] for finding in pair.client.ask("doctor"))

        wait_for("doctor to name it", named)


def test_what_came_while_the_store_was_locked_is_known_once_it_is_open(tmp_path: Path) -> None:
    with Sink() as sink, mailers(tmp_path, sink) as pair:
        assert pair.client.passphrase is not None
        submit(pair, 0, "bob@example.com")
        wait_for("the first", lambda: sink.received)
        pair.gateway.stop()
        id = submit(pair, 1, "bob@example.com")
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
        wait_for("the message", lambda: len(sink.received) == 2)
        pair.client.cli("store", "unlock", pair.user, "--passphrase-file", pair.client.passphrase)
        wait_for("the receipt", lambda: listed(pair.client, id).get("state") == "sent")


def test_two_clients_of_one_store_see_the_same_queue(tmp_path: Path) -> None:
    with (
        Sink(replies={"RCPT TO:<carol": "550 5.1.1 unknown"}) as sink,
        mailers(tmp_path, sink) as pair,
        ExitStack() as stack,
    ):
        port = free_port()
        phone = client(tmp_path / "phone", f'listen = "127.0.0.1:{port}"\naddress = "https://127.0.0.1:{port}"\n')
        stack.callback(phone.kill)
        assert phone.passphrase is not None
        assert pair.client.passphrase is not None
        phone.start()
        words = ("node", "invite", "--role", "client", "--role", "exchange", "--passphrase-file", phone.passphrase)
        line = phone.cli(*words).stdout.splitlines()[-1]
        keys = ("--keys", "all", "--passphrase-file", pair.client.passphrase)
        pair.client.cli("store", "add-node", pair.user, line, *keys)
        id = submit(pair, 1, "bob@example.com", "carol@example.com")
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
        assert reached(sink) == ["<bob@example.com>", "<carol@example.com>"]
        assert number_in_sent(pair) == 1
