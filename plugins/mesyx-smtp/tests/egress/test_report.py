"""Delivery status notifications: who gets one, and that programs can read it."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import anyio
import pytest
from mesyx_smtp.egress.report import compose
from mesyx_smtp.egress.sender import Egress

from mesyx_core import mime
from mesyx_core.api import Bytes, Message, Outcome

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BODY = b"From: Me <me@example.net>\r\nSubject: hello\r\nMessage-ID: <1@example.net>\r\n\r\nthe text\r\n"
GONE = Outcome(word="never", reason="550 5.1.1 no such user (at RCPT)", remote="mx.example.org [192.0.2.1]")
DONE = Outcome(word="sent", reason="250 2.0.0 queued", remote="mx.example.org [192.0.2.1]", relayed=True)
LATE = Outcome(word="later", reason="4.4.1 cannot reach 192.0.2.1:25: no answer", remote="mx.example.org [192.0.2.1]")


def composed(failures: Mapping[str, Outcome], body: bytes = BODY, **envelope: Any) -> Message | None:
    sender = envelope.pop("sender", "me@example.net")
    message = Message(kind="mail", time=NOW, body=Bytes(body), sender=sender, envelope=envelope)

    async def compose_one() -> Message | None:
        return await compose(message, failures, host="node.example.net", now=NOW, token="f00")

    return anyio.run(compose_one)


def content(report: Message) -> bytes:
    async def read() -> bytes:
        return b"".join([chunk async for chunk in report.body.read()])

    return anyio.run(read)


def parsed(report: Message | None) -> EmailMessage:
    assert report is not None
    message = email.message_from_bytes(content(report), policy=email.policy.SMTPUTF8)
    assert isinstance(message, EmailMessage)
    return message


def blocks(report: Message | None) -> list[dict[str, str]]:
    """Fields of the delivery-status part, one dict a block."""
    assert report is not None
    _, _, machine, *_ = content(report).decode().split("\r\n--=_f00")
    return [
        dict(re.findall(r"^([A-Za-z-]+): (.+)$", block.replace("\r\n", "\n"), re.MULTILINE))
        for block in machine.partition("\r\n\r\n")[2].split("\r\n\r\n")
    ]


def test_a_failure_is_told_to_people_and_programs() -> None:
    report = composed({"alice@example.org": GONE})
    assert report is not None
    assert (report.sender, report.recipients, report.direction, report.network_id) == (
        "",
        ("me@example.net",),
        "in",
        "f00@node.example.net",
    )
    assert report.envelope == {"reverse_path": ""}
    message = parsed(report)
    assert message["From"] == "Mail delivery <MAILER-DAEMON@node.example.net>"
    assert message["To"] == "me@example.net"
    assert message["Subject"] == "Undelivered mail returned to sender"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<1@example.net>"
    assert message["Return-Path"] == "<>"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    human, _, header = message.iter_parts()
    assert (
        "<alice@example.org>\r\n    mx.example.org [192.0.2.1] said: 550 5.1.1 no such user (at RCPT)"
        in human.get_content()
    )
    whole, recipient = blocks(report)
    assert whole == {"Reporting-MTA": "dns; node.example.net", "Arrival-Date": "Sun, 22 Nov 2026 12:00:00 +0000"}
    assert recipient == {
        "Final-Recipient": "rfc822; alice@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.org",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user (at RCPT)",
        "Last-Attempt-Date": "Sun, 22 Nov 2026 12:00:00 +0000",
    }
    assert header.get_content_type() == "text/rfc822-headers"
    assert header.get_payload() == BODY.partition(b"\r\n\r\n")[0].decode() + "\r\n"
    assert content(report).isascii()


def test_a_delay_is_no_failure() -> None:
    report = composed({"alice@example.org": LATE}, ret="FULL")
    message = parsed(report)
    assert message["Subject"] == "Delayed mail, still being tried"
    human, _, header = message.iter_parts()
    assert "tried again by itself" in human.get_content()
    assert blocks(report)[1]["Action"] == "delayed"
    assert blocks(report)[1]["Status"] == "4.4.1"
    assert blocks(report)[1]["Diagnostic-Code"].startswith("x-mesyx; 4.4.1 ")
    assert header.get_content_type() == "text/rfc822-headers"


def test_handing_on_to_a_server_that_tells_nothing_is_reported_as_that() -> None:
    notify: dict[str, Any] = {f"notify/{each}@example.org": "SUCCESS,FAILURE" for each in ("alice", "bob")}
    report = composed({"alice@example.org": DONE}, ret="FULL", **notify)
    message = parsed(report)
    assert message["Subject"] == "Mail handed on, without word of its delivery"
    human, _, header = message.iter_parts()
    assert "does not tell when it delivers" in human.get_content()
    assert blocks(report)[1]["Action"] == "relayed"
    assert blocks(report)[1]["Status"] == "2.0.0"
    assert blocks(report)[1]["Remote-MTA"] == "dns; mx.example.org"
    assert header.get_content_type() == "text/rfc822-headers"
    both = composed({"alice@example.org": DONE, "bob@example.org": GONE}, **notify)
    assert parsed(both)["Subject"] == "Undelivered mail returned to sender"
    assert [block["Action"] for block in blocks(both)[1:]] == ["relayed", "failed"]


def test_the_whole_message_comes_back_if_that_was_asked_for() -> None:
    body = BODY + "é\r\n".encode() * 50_000
    report = composed({"alice@example.org": GONE}, body=body, ret="FULL")
    assert report is not None
    whole = content(report)
    assert len(whole) == report.body.size
    assert body in whole
    tree = mime.index(whole)
    assert [part.subtype for part in tree.parts] == [b"plain", b"delivery-status", b"rfc822"]

    async def read(start: int, stop: int | None) -> bytes:
        return b"".join([chunk async for chunk in report.body.read(start, stop)])

    size = len(whole)
    for start, stop in ((0, 10), (100, 3000), (size - 20, None), (size - 20, size - 10), (size, None), (5, 5)):
        assert anyio.run(read, start, stop) == whole[start:stop]


def test_dsn_parameters_come_back() -> None:
    asked: dict[str, Any] = {"envid": "QQ+2B314", "orcpt/alice@example.org": "rfc822;list+2B1@example.org"}
    whole, recipient = blocks(composed({"alice@example.org": GONE}, **asked))
    assert whole["Original-Envelope-Id"] == "QQ+314"
    assert recipient["Original-Recipient"] == "rfc822; list+1@example.org"


@pytest.mark.parametrize(
    ("notify", "outcome", "told"),
    [
        (None, GONE, True),
        (None, LATE, True),
        ("NEVER", GONE, False),
        ("SUCCESS", GONE, False),
        ("FAILURE", GONE, True),
        ("FAILURE", LATE, False),
        ("success,delay", LATE, True),
        (None, DONE, False),
        ("FAILURE,DELAY", DONE, False),
        ("failure,success", DONE, True),
        ("SUCCESS", replace(DONE, relayed=False), False),
    ],
)
def test_notify_decides_who_is_told(notify: str | None, outcome: Outcome, told: bool) -> None:
    envelope: dict[str, Any] = {} if notify is None else {"notify/alice@example.org": notify}
    assert (composed({"alice@example.org": outcome}, **envelope) is not None) is told


@pytest.mark.parametrize("envelope", [{"reverse_path": ""}, {"sender": ""}])
def test_nothing_is_told_about_a_report(envelope: dict[str, Any]) -> None:
    assert composed({"alice@example.org": GONE}, **envelope) is None


def test_addresses_beyond_ascii_take_the_form_of_rfc_6533() -> None:
    report = composed({"ünï@exämple.org": GONE}, body="Subject: é\r\n\r\nx\r\n".encode())
    message = parsed(report)
    _, machine, header = message.iter_parts()
    assert machine.get_content_type() == "message/global-delivery-status"
    assert header.get_content_type() == "message/global-headers"
    assert report is not None
    assert "Final-Recipient: utf-8; ünï@exämple.org\r\n".encode() in content(report)


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("550 5.1.1 x", "5.1.1"),
        ("550 x", "5.0.0"),
        ("450 4.2.0 x", "4.2.0"),
        ("5.1.10 null", "5.1.10"),
        ("given up after 5 days", "5.0.0"),
    ],
)
def test_the_status_is_the_server_s_or_implied(reason: str, status: str) -> None:
    assert blocks(composed({"alice@example.org": Outcome(word="never", reason=reason)}))[1]["Status"] == status


@pytest.mark.parametrize("evil", ["x\r\nBcc: all@example.org", "x\r\n\r\n--=_f00--\r\n", "\x1b[2J\u2028x"])
def test_no_one_s_words_become_fields(evil: str) -> None:
    report = composed(
        {"alice@example.org": Outcome(word="never", reason="550 " + evil, remote=evil)},
        body=b"Message-ID: <1@x>\n" + evil.encode() + b"\r\n\r\n",
        **{"envid": evil, "orcpt/alice@example.org": f"rfc822;{evil}", "reverse_path": f"me{evil}@example.net"},
    )
    assert report is not None
    top = content(report).partition(b"\r\n\r\n")[0].decode()
    names = [line.partition(":")[0] for line in top.split("\r\n") if not line.startswith("\t")]
    assert "Bcc" not in names
    assert "\x1b" not in top
    assert len(blocks(report)) == 2
    assert "Bcc" not in blocks(report)[1]


def test_an_egress_reports_in_its_own_name() -> None:
    from mesyx_smtp.egress.config import EgressConfig

    from mesyx_core.testing.context import StandIn

    async def report() -> Message | None:
        egress = Egress(EgressConfig(smarthost="relay:587", hostname="gate.example.net"), StandIn("out"), None)
        return await egress.report(
            Message(kind="mail", time=NOW, body=Bytes(BODY), sender="me@example.net"), {"alice@example.org": GONE}
        )

    assert parsed(anyio.run(report))["From"] == "Mail delivery <MAILER-DAEMON@gate.example.net>"
