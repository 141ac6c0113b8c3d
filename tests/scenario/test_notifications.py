"""A sender who asks for word of success hears it from whoever is the last to know: the next server where that promises
it (DSN, RFC 3461), and else this gateway, which says that the mail was handed on (section 5.2.2).
"""

from __future__ import annotations

import email
import email.policy
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from typing import Any, cast

import pytest
from mesyx_smtp.testing import NameServer, Postfix, postfix

from tests.scenario.cluster import Pair, cluster, free_port, wait_for
from tests.scenario.listing import bodies

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

OLD, NEW = "127.0.6.1", "127.0.6.2"
HOSTS = {OLD: {"smtpd_discard_ehlo_keywords": "dsn"}, NEW: {}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postfix, Pair]]:
    zone = {"old.test": {"MX": ["10 mx.old.test."]}, "new.test": {"MX": ["10 mx.new.test."]}}
    zone |= {"mx.old.test": {"A": [OLD]}, "mx.new.test": {"A": [NEW]}}
    port = free_port()
    with ExitStack() as stack:
        mta = stack.enter_context(postfix(HOSTS))
        names = stack.enter_context(NameServer(zone))
        egress = f'hostname = "mx1.example.org"\nresolver = "{names.address}"\nport = {mta.port}'
        pair = stack.enter_context(
            cluster(
                tmp_path_factory.mktemp("notifications"),
                gateway_extra=f"\n[egress.smtp]\n{egress}\n",
                client_extra=f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n',
            )
        )
        pair.client.ports["submission"] = port
        yield mta, pair


def reports(pair: Pair) -> list[EmailMessage]:
    """What lies in INBOX, which is nothing else."""
    return [email.message_from_bytes(each, policy=email.policy.default) for each in bodies(pair)]


def test_success_is_reported_where_the_next_server_does_not_and_asked_for_where_it_does(
    place: tuple[Postfix, Pair],
) -> None:
    mta, pair = place
    to = ("wants@old.test", "wants-not@old.test", "wants@new.test")
    with smtplib.SMTP("127.0.0.1", pair.client.ports["submission"]) as smtp:
        smtp.ehlo()
        smtp.login(pair.user, pair.password)
        smtp.mail(pair.address, ["RET=HDRS", "ENVID=QQ+2B314"])
        for address in to:
            asked = "FAILURE" if "not" in address else "SUCCESS,FAILURE"
            assert smtp.rcpt(address, [f"NOTIFY={asked}", f"ORCPT=rfc822;first+2B{address}"])[0] == 250
        assert smtp.data(f"From: {pair.address}\r\nSubject: Told?\r\n\r\nWell?\r\n")[0] == 250
    [report] = wait_for("the report", lambda: reports(pair))
    wait_for("both servers' mail", lambda: len(mta.held()) == 2)
    wait_for("the receipts", lambda: pair.client.json("queue", "list") == [])
    assert len(reports(pair)) == 1

    assert report.get_content_type() == "multipart/report"
    assert report["Return-Path"] == "<>"
    status = next(part for part in report.walk() if part.get_content_type() == "message/delivery-status")
    message, recipient = cast("list[Any]", status.get_payload())
    assert message["Original-Envelope-Id"] == "QQ+314"
    assert recipient["Final-Recipient"] == "rfc822; wants@old.test"
    assert recipient["Original-Recipient"] == "rfc822; first+wants@old.test"
    assert recipient["Action"] == "relayed"
    assert recipient["Status"] == "2.0.0"
    assert recipient["Remote-MTA"] == "dns; mx.old.test"

    old, new = sorted(mta.notifications(), key=lambda asked: "envelope_id=QQ+314" in asked)
    assert old == {"dsn_orig_rcpt=rfc822;wants@old.test", "dsn_orig_rcpt=rfc822;wants-not@old.test"}
    assert new == {
        "envelope_id=QQ+314",
        "ret_flags=2",
        "notify_flags=6",
        "dsn_orig_rcpt=rfc822;first+wants@new.test",
    }
