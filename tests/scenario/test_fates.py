"""One message to ten recipients, each with a fate of its own, from a person's mail program to real Postfix servers:
what can be sent is sent once, what cannot comes back as a report, and the queue says what became of each.
"""

from __future__ import annotations

import email
import email.policy
import smtplib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from mesyx_smtp.testing import Greylist, NameServer, Postfix, postfix
from mesyx_smtp.testing.serving import free_port as free_everywhere

from mesyx_core.wire.tls import self_signed
from tests.scenario.cluster import Pair, cluster, free_port, wait_for
from tests.scenario.listing import bodies, shown
from tests.scenario.readers import mutt

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

HOST = "127.0.2."
REFUSED = "check_recipient_access static:{550 5.1.1 No such user}"
FATES: dict[str, dict[str, str]] = {
    "sent": {},
    "rcpt": {"smtpd_recipient_restrictions": REFUSED},
    "data": {"smtpd_data_restrictions": "check_client_access static:{554 5.7.1 Not from you}"},
    "grey": {},
    "down": {},
    "clear": {"smtpd_tls_security_level": "none"},
    "quota": {"smtpd_recipient_restrictions": "check_recipient_access static:{452 4.2.2 Mailbox full}"},
    "slow": {"smtpd_recipient_restrictions": "sleep 60"},
}
"""What each server does; `null` and `none` are domains that have none."""
EVERYBODY = (*FATES, "null", "none")
AT_ONCE = {"rcpt": "5.1.1", "data": "5.7.1", "clear": "5.7.10", "null": "5.1.10", "none": "5.4.4"}
"""Refused for good at the first attempt, with this status (RFC 3463)."""
AT_LAST = {"down": "4.4.1", "quota": "4.2.2", "slow": "4.4.2"}
"""Given up when their time is over."""


class World(NamedTuple):
    """Nodes of ours, servers of others."""

    pair: Pair
    sink: Postfix


@contextmanager
def servers(stack: ExitStack) -> Iterator[tuple[Postfix, str]]:
    """The ten domains' servers; the gateway's config to reach them."""
    greylisting = {"smtpd_recipient_restrictions": stack.enter_context(Greylist().running())}
    options = {**FATES, "grey": greylisting}
    address = {name: f"{HOST}{n}" for n, name in enumerate(options, 1)}
    zone = {f"{name}.test": {"MX": [f"10 mx-{name}.mail.test."]} for name in options}
    zone |= {f"mx-{name}.mail.test": {"A": [where]} for name, where in address.items()}
    zone |= {"null.test": {"MX": ["0 ."]}, "none.test": {"TXT": ["no mail here"]}}
    pem = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "test.pem"
    pem.parent.chmod(0o755)
    certificate, key = self_signed("*.mail.test", datetime.now(UTC))
    pem.write_bytes(key + certificate)
    port = free_everywhere(*address.values())
    served = {address[name]: each for name, each in options.items() if name != "down"}
    sink = stack.enter_context(postfix(served, certificate=pem, port=port))
    names = stack.enter_context(NameServer(zone))
    yield (
        sink,
        f'\n[egress.smtp]\nhostname = "mx1.example.org"\nresolver = "{names.address}"\nport = {port}\ntls = "required"\n'
        f'tls_ca = "{pem}"\nretry = ["2s"]\ngive_up = "25s"\ntimeouts.command = 3\n',
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    port = free_port()
    with ExitStack() as stack:
        sink, egress = stack.enter_context(servers(stack))
        submission = f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n'
        pair = stack.enter_context(
            cluster(tmp_path_factory.mktemp("fates"), gateway_extra=egress, client_extra=submission)
        )
        pair.client.ports["submission"] = port
        yield World(pair, sink)


@pytest.fixture(scope="module")
def sent(world: World) -> str:
    """The submission's id, once all is over."""
    pair = world.pair
    with smtplib.SMTP("127.0.0.1", pair.client.ports["submission"]) as smtp:
        smtp.ehlo()
        smtp.login(pair.user, pair.password)
        smtp.mail(pair.address)
        for name in EVERYBODY:
            assert smtp.rcpt(f"u@{name}.test")[0] == 250
        text = (
            f"From: {pair.address}\r\nTo: many\r\nSubject: Fates\r\nMessage-ID: <fates@example.org>\r\n\r\nWhose?\r\n"
        )
        code, reply = smtp.data(text)
        assert code == 250
    failed = len(AT_ONCE) + len(AT_LAST)
    wait_for("all reports", lambda: len(failures(pair)) == failed, 120, 1)
    return reply.split()[-1].decode()


def reports(pair: Pair) -> list[EmailMessage]:
    """The delivery reports in INBOX."""
    found = [email.message_from_bytes(each, policy=email.policy.default) for each in bodies(pair)]
    return [each for each in found if isinstance(each, EmailMessage) and each.get_content_type() == "multipart/report"]


def failures(pair: Pair) -> dict[str, EmailMessage]:
    """Of each recipient in them, the fields about it (RFC 3464, section 2.3)."""
    found: dict[str, EmailMessage] = {}
    for report in reports(pair):
        assert report.get_param("report-type") == "delivery-status"
        status = next(part for part in report.walk() if part.get_content_type() == "message/delivery-status")
        for fields in cast("list[Any]", status.get_payload())[1:]:
            recipient = fields["Final-Recipient"].partition(";")[2].strip()
            assert recipient not in found, f"two reports for {recipient}"
            found[recipient] = fields
    return found


def test_what_can_be_sent_is_sent_once(world: World, sent: str) -> None:
    held = [mail for mail in world.sink.held() if b"Subject: Fates" in mail]
    assert len(held) == 2
    for name in ("sent", "grey"):
        (one,) = (mail for mail in held if f"for <u@{name}.test>".encode() in mail)
        assert b"Whose?" in one
        ours = one.partition(b"\n\n")[0].split(b"Received:")[2:]
        assert not any(b"127.0.0.1" in field for field in ours), "where a person sent from is nobody's business"


@pytest.mark.parametrize(("name", "status"), [*AT_ONCE.items(), *AT_LAST.items()])
def test_what_cannot_comes_back_with_the_reason(world: World, sent: str, name: str, status: str) -> None:
    fields = failures(world.pair)[f"u@{name}.test"]
    assert fields["Action"] == "failed"
    reported = str(fields["Status"]).split(".")
    assert reported[1:] == status.split(".")[1:]
    assert reported[0] == "5" or name in AT_LAST


def test_the_client_knows_what_became_of_each(world: World, sent: str) -> None:
    (row,) = (row for row in world.pair.client.json("queue", "list", "--all") if row["id"] == sent)
    words = {one["address"]: one["state"] for one in row["recipients"]}
    expected = {f"u@{name}.test": "sent" if name in ("sent", "grey") else "never" for name in EVERYBODY}
    assert words == expected


def test_nothing_waits_any_more_and_the_message_is_in_sent_once(world: World, sent: str) -> None:
    assert world.pair.client.json("queue", "list") == []
    assert world.pair.gateway.json("queue", "list") == []
    assert len(shown(world.pair)["Sent"].messages) == 1


def test_mutt_shows_a_report_as_what_it_is(world: World, sent: str, tmp_path: Path) -> None:
    pair = world.pair
    with mutt(tmp_path, pair.imap, pair.user, pair.password) as reader:
        reader.press("1", "Enter")
        reader.press("Enter")
        screen = reader.shows("u@")
        assert "said: 550 5.1.1" in screen
        assert "Type: message/delivery-status" in screen
        assert "Undelivered mail" in screen
        reader.press("i")
        reader.quit()
