"""Egress.send over real sockets, to servers that a test tells what to do, by the MX of a zone of its own."""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from mesyx_smtp import mesyx_egresses
from mesyx_smtp.egress import attempt, memory
from mesyx_smtp.testing import Connection, NameServer, Sink
from mesyx_smtp.testing.serving import free_port

from mesyx_core.api import Bytes, Egress, Message, Misconfigured, Outcome, Reports
from mesyx_core.testing.context import StandIn
from mesyx_core.wire.tls import self_signed, server_context

BODY = b"From: me@example.net\r\nSubject: hello\r\n\r\n.\r\n..\r\nhello\r\n"
HOSTS = [f"127.0.0.{n}" for n in range(1, 10)]

Send = Callable[..., Mapping[str, Outcome]]


def message(body: bytes = BODY, *, sender: str = "me@example.net", **envelope: Any) -> Message:
    return Message(kind="mail", time=datetime.now(UTC), body=Bytes(body), sender=sender, envelope=envelope)


@pytest.fixture
def port() -> int:
    """The one that all mail exchangers of a test listen on, each at an address of its own."""
    return free_port(*HOSTS)


@contextlib.contextmanager
def dns(**domains: str) -> Iterator[NameServer]:
    """Domains `NAME="HOST …"` at NAME.test, whose MX are HOST.mail.test, best first; host mxN has the address 127.0.0.N."""
    zone: dict[str, dict[str, list[str]]] = {f"mx{n}.mail.test": {"A": [f"127.0.0.{n}"]} for n in range(1, 10)}
    for name, hosts in domains.items():
        zone[f"{name}.test"] = {"MX": [f"{n} {host}.mail.test." for n, host in enumerate(hosts.split())]}
    with NameServer(zone) as server:
        yield server


@pytest.fixture(params=["asyncio", "uvloop"])
def house(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Runs `work(egress, context)` with an egress of this config."""

    def run(work: Callable[..., Any], **config: Any) -> Any:
        provider = mesyx_egresses()[0]
        config.setdefault("hostname", "node.example.net")
        model = provider.config.model_validate(config)

        async def main() -> Any:
            context = StandIn("out")
            with anyio.fail_after(30):
                async with provider.open(model, context) as egress:
                    return await work(egress, context)

        return anyio.run(main, backend_options={"use_uvloop": request.param == "uvloop"})

    return run


@pytest.fixture
def send(house: Callable[..., Any]) -> Send:
    """One message, sent once; the outcomes."""

    def once(what: Message, *recipients: str, **config: Any) -> Mapping[str, Outcome]:
        async def work(egress: Egress, context: StandIn) -> Mapping[str, Outcome]:
            outcomes = await egress.send(what, recipients)
            assert list(outcomes) == list(recipients)
            assert all(len(each.reason) <= 300 and each.reason.isprintable() for each in outcomes.values())
            return outcomes

        result: Mapping[str, Outcome] = house(work, **config)
        return result

    return once


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for *.mail.test with its key."""
    path = tmp_path_factory.mktemp("tls") / "test.pem"
    path.write_bytes(b"".join(self_signed("*.mail.test", datetime.now(UTC))))
    return path


@pytest.fixture(scope="session")
def tls(pem: Path) -> ssl.SSLContext:
    return server_context(pem)


def test_a_message_goes_to_its_mail_exchanger_byte_for_byte(send: Send, port: int) -> None:
    with dns(one="mx2") as names, Sink("127.0.0.2", port) as sink:
        outcomes = send(message(), "alice@one.test", resolver=names.address, port=port)
    assert outcomes["alice@one.test"] == Outcome(
        word="sent", reason="250 2.0.0 kept", remote="mx2.mail.test [127.0.0.2]"
    )
    (received,) = sink.received
    assert received.content == BODY
    assert received.hello == "EHLO node.example.net"
    assert received.mail == f"MAIL FROM:<me@example.net> SIZE={len(BODY)}"
    assert received.recipients == ["RCPT TO:<alice@one.test>"]


def test_the_egress_is_what_the_core_asks_for(house: Callable[..., Any]) -> None:
    async def work(egress: object, context: StandIn) -> bool:
        return isinstance(egress, Reports)

    assert house(work, smarthost="127.0.0.1:1")


def test_recipients_of_one_server_share_a_connection(send: Send, port: int) -> None:
    to = ["a@one.test", "b@one.test", "c@two.test", "d@ONE.test"]
    with dns(one="mx2", two="mx2") as names, Sink("127.0.0.2", port) as sink:
        outcomes = send(message(), *to, resolver=names.address, port=port)
    assert {each.word for each in outcomes.values()} == {"sent"}
    assert sink.connections == 1
    assert [sorted(each.recipients) for each in sink.received] == [sorted(f"RCPT TO:<{each}>" for each in to)]


def test_more_recipients_than_a_server_must_take_are_several_transactions(send: Send, port: int) -> None:
    to = [f"u{n}@one.test" for n in range(250)]
    with dns(one="mx2") as names, Sink("127.0.0.2", port) as sink:
        outcomes = send(message(), *to, resolver=names.address, port=port)
    assert {each.word for each in outcomes.values()} == {"sent"}
    assert sink.connections == 1
    assert [len(each.recipients) for each in sink.received] == [100, 100, 50]


def test_a_large_message_goes_out_whole(send: Send, port: int) -> None:
    body = b"Subject: large\r\n\r\n" + b"".join(b".%d\r\n" % n for n in range(300_000))
    with dns(one="mx2") as names, Sink("127.0.0.2", port) as sink:
        assert send(message(body), "a@one.test", resolver=names.address, port=port)["a@one.test"].word == "sent"
    assert sink.received[0].content == body


# --- routes -----------------------------------------------------------------------------------------------------------


def test_a_domain_without_mx_gets_its_mail_at_its_address(send: Send, port: int) -> None:
    with NameServer({"one.test": {"A": ["127.0.0.2"]}}) as names, Sink("127.0.0.2", port):
        outcomes = send(message(), "a@one.test", resolver=names.address, port=port)
    assert outcomes["a@one.test"].remote == "one.test [127.0.0.2]"


def test_an_address_literal_needs_no_dns(send: Send, port: int) -> None:
    with Sink("127.0.0.2", port) as sink:
        outcomes = send(message(), "a@[127.0.0.2]", resolver="127.0.0.1:1", port=port)
    assert outcomes["a@[127.0.0.2]"].word == "sent"
    assert sink.received[0].recipients == ["RCPT TO:<a@[127.0.0.2]>"]


def test_a_domain_beyond_ascii_is_asked_for_in_a_labels(send: Send, port: int) -> None:
    with NameServer({"xn--exmple-cua.test": {"A": ["127.0.0.2"]}}) as names, Sink("127.0.0.2", port) as sink:
        outcomes = send(message(), "a@exämple.test", resolver=names.address, port=port)
    assert outcomes["a@exämple.test"].word == "sent"
    assert sink.received[0].recipients == ["RCPT TO:<a@xn--exmple-cua.test>"]


@pytest.mark.parametrize(
    ("zone", "word", "status"),
    [
        ({}, "never", "5.1.2"),
        ({"one.test": {"MX": ["0 ."]}}, "never", "5.1.10"),
        ({"one.test": {"TXT": ["x"]}}, "never", "5.4.4"),
        ({"one.test": {"MX": ["1 gone.test."]}}, "never", "5.4.4"),
        ({"one.test": {"MX": ["1 mx.test."]}, "mx.test": {"A": ["0.0.0.0", "224.0.0.1"]}}, "never", "5.4.4"),
        ({"one.test": {"MX": ["1 \\027[31mevil.test."]}}, "never", "5.4.4"),
        ({"one.test": {"MX": ["1 node.example.net."]}}, "never", "5.4.6"),
        ({"one.test": {"MX": ["5 Node.Example.Net.", "7 spare.test."]}}, "never", "5.4.6"),
        ({"one.test": {"MX": ["1 broken.test."]}}, "later", "4.4.3"),
        ({"one.test": {"MX": ["1 broken.test.", "2 gone.test."]}}, "later", "4.4.3"),
    ],
)
def test_what_dns_says_decides(send: Send, zone: dict[str, dict[str, list[str]]], word: str, status: str) -> None:
    with NameServer(zone, failing=["broken.test"]) as names:
        outcome = send(message(), "a@one.test", resolver=names.address)["a@one.test"]
    assert outcome.word == word
    assert outcome.reason.startswith(status + " ")


def test_dns_that_fails_is_asked_again_later(send: Send) -> None:
    with NameServer({}, failing=["one.test"]) as names:
        outcome = send(message(), "a@one.test", resolver=names.address)["a@one.test"]
    assert outcome.word == "later"
    assert outcome.reason.startswith("4.4.3 ")


def test_dns_that_is_silent_is_asked_again_later(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesyx_smtp.egress.route.SECONDS", 0.5)
    with NameServer({}, silent=["one.test"]) as names:
        outcome = send(message(), "a@one.test", resolver=names.address)["a@one.test"]
    assert outcome.word == "later"
    assert outcome.reason.startswith("4.4.3 ")


def test_an_answer_too_large_for_udp_comes_by_tcp(send: Send, port: int) -> None:
    zone = {"one.test": {"MX": [f"{n} gone{n:0>50}.test." for n in range(1, 60)] + ["0 mx2.mail.test."]}}
    with NameServer({**zone, "mx2.mail.test": {"A": ["127.0.0.2"]}}) as names, Sink("127.0.0.2", port):
        assert send(message(), "a@one.test", resolver=names.address, port=port)["a@one.test"].word == "sent"
    assert ("tcp", "one.test", "MX") in names.asked


def test_a_spare_mail_exchanger_sends_only_to_better_ones(send: Send, port: int) -> None:
    zone = {
        "one.test": {"MX": ["5 mx2.mail.test.", "10 node.example.net.", "20 mx3.mail.test."]},
        "mx2.mail.test": {"A": ["127.0.0.2"]},
    }
    with NameServer(zone) as names, Sink("127.0.0.2", port, replies={"": "421 busy"}), Sink("127.0.0.3", port) as spare:
        outcome = send(message(), "a@one.test", resolver=names.address, port=port)["a@one.test"]
    assert outcome.word == "later"
    assert spare.connections == 0


def test_equal_mail_exchangers_share_the_load(house: Callable[..., Any], port: int) -> None:
    zone = {
        "one.test": {"MX": ["5 mx2.mail.test.", "5 mx3.mail.test."]},
        "mx2.mail.test": {"A": ["127.0.0.2"]},
        "mx3.mail.test": {"A": ["127.0.0.3"]},
    }

    async def work(egress: Egress, context: StandIn) -> None:
        for _ in range(40):
            assert (await egress.send(message(), ["a@one.test"]))["a@one.test"].word == "sent"

    with NameServer(zone) as names, Sink("127.0.0.2", port) as first, Sink("127.0.0.3", port) as second:
        house(work, resolver=names.address, port=port)
    assert first.connections + second.connections == 40
    assert min(first.connections, second.connections) > 4


def test_the_next_server_is_asked_where_one_is_down_or_busy(send: Send, port: int) -> None:
    with (
        dns(one="mx2 mx3 mx4 mx5") as names,
        Sink("127.0.0.3", port, replies={"": "554 5.7.1 not you"}),
        Sink(
            "127.0.0.4", port, replies={"RCPT TO:<b": "450 4.2.0 greylisted", "RCPT TO:<c": "550 5.1.1 gone"}
        ) as third,
        Sink("127.0.0.5", port) as last,
    ):
        outcomes = send(message(), "a@one.test", "b@one.test", "c@one.test", resolver=names.address, port=port)
    assert [outcomes[each].word for each in ("a@one.test", "b@one.test", "c@one.test")] == ["sent", "sent", "never"]
    assert third.received[0].recipients == ["RCPT TO:<a@one.test>"]
    assert last.received[0].recipients == ["RCPT TO:<b@one.test>"]
    assert outcomes["c@one.test"] == Outcome(
        word="never", reason="550 5.1.1 gone (at RCPT)", remote="mx4.mail.test [127.0.0.4]"
    )


def test_a_word_of_a_server_is_told_rather_than_that_another_is_down(send: Send, port: int) -> None:
    with dns(one="mx2 mx3") as names, Sink("127.0.0.2", port, replies={"RCPT": "450 4.2.0 greylisted"}):
        outcome = send(message(), "a@one.test", resolver=names.address, port=port)["a@one.test"]
    assert outcome == Outcome(word="later", reason="450 4.2.0 greylisted (at RCPT)", remote="mx2.mail.test [127.0.0.2]")


def test_eight_addresses_are_enough(house: Callable[..., Any], port: int) -> None:
    zone = {"one.test": {"A": [f"127.0.0.{n}" for n in range(100, 120)]}}
    dialled: list[str] = []

    async def work(egress: Any, context: StandIn) -> None:
        dial = context.dial

        async def noted(address: str, **more: Any) -> Any:
            dialled.append(address)
            return await dial(address, **more)

        context.dial = noted  # type: ignore[method-assign]
        outcome = (await egress.send(message(), ["a@one.test"]))["a@one.test"]
        assert outcome.word == "later"
        assert outcome.reason.startswith("4.4.1 cannot reach 127.0.0.1")

    with NameServer(zone) as names:
        house(work, resolver=names.address, port=port)
    assert len(dialled) == attempt.ADDRESSES == 8


@pytest.mark.parametrize(
    "to", ["alice", "a@", "@one.test", "a b@one.test", "a@one..test", "a@[x]", "a\r\nRSET@one.test", "a>@one.test"]
)
def test_no_address_can_end_a_command(send: Send, to: str) -> None:
    outcome = send(message(), to, resolver="127.0.0.1:1")[to]
    assert outcome.word == "never"
    assert outcome.reason.startswith("5.1.3 ")


@pytest.mark.parametrize("body", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"x\r\n.\nMAIL FROM:<x>\r\n"])
def test_content_in_which_servers_could_see_two_messages_is_never_sent(send: Send, body: bytes) -> None:
    outcome = send(message(body), "a@one.test", resolver="127.0.0.1:1")["a@one.test"]
    assert outcome.word == "never"
    assert outcome.reason.startswith("5.6.0 ")


def test_a_sender_that_is_no_address_is_told(send: Send) -> None:
    outcome = send(message(sender="me"), "a@one.test", resolver="127.0.0.1:1")["a@one.test"]
    assert outcome.reason.startswith("5.1.7 ")


def test_a_server_that_turns_out_to_be_this_node_gets_nothing(send: Send, port: int) -> None:
    with dns(one="mx2") as names, Sink("127.0.0.2", port, name="node.example.net") as sink:
        outcome = send(message(), "a@one.test", resolver=names.address, port=port)["a@one.test"]
    assert outcome.word == "never"
    assert outcome.reason.startswith("5.4.6 ")
    assert sink.received == []


# --- what the message asks for ------------------------------------------------------------------------------------------


def test_the_envelope_decides_about_the_reverse_path_and_reports(send: Send, port: int) -> None:
    asked: dict[str, Any] = {
        "reverse_path": "bounces@example.net",
        "ret": "FULL",
        "envid": "e1",
        "notify/a@one.test": "FAILURE",
        "orcpt/a@one.test": "rfc822;list@one.test",
    }
    with dns(one="mx2") as names, Sink("127.0.0.2", port) as sink:
        send(message(**asked), "a@one.test", resolver=names.address, port=port)
    assert sink.received[0].mail == f"MAIL FROM:<bounces@example.net> SIZE={len(BODY)} RET=FULL ENVID=e1"
    assert sink.received[0].recipients == ["RCPT TO:<a@one.test> NOTIFY=FAILURE ORCPT=rfc822;list@one.test"]


def test_eight_bit_and_utf8_are_announced_where_they_are_needed(send: Send, port: int) -> None:
    body = "Subject: é\r\n\r\né\r\n".encode()
    with dns(one="mx2") as names, Sink("127.0.0.2", port) as sink:
        send(message(body, smtputf8=True), "ü@one.test", resolver=names.address, port=port)
    assert sink.received[0].mail.endswith("BODY=8BITMIME SMTPUTF8")
    assert sink.received[0].recipients == ["RCPT TO:<ü@one.test>"]


def test_a_message_that_needs_smtputf8_and_cannot_have_it_is_never_sent(send: Send, port: int) -> None:
    body = "Subject: é\r\n\r\nx\r\n".encode()
    with dns(one="mx2") as names, Sink("127.0.0.2", port, extensions=["8BITMIME"]):
        outcome = send(message(body, smtputf8=True), "a@one.test", resolver=names.address, port=port)["a@one.test"]
    assert outcome.word == "never"
    assert outcome.reason.startswith("5.6.7 ")


def test_a_message_larger_than_the_server_takes_is_not_begun(send: Send, port: int) -> None:
    with dns(one="mx2") as names, Sink("127.0.0.2", port, extensions=["SIZE 10"]) as sink:
        outcome = send(message(), "a@one.test", resolver=names.address, port=port)["a@one.test"]
    assert outcome.word == "never"
    assert outcome.reason.startswith("5.3.4 ")
    assert not any(each.startswith("MAIL") for each in sink.commands)


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_tls_is_used_where_it_is_offered(send: Send, port: int, tls: ssl.SSLContext) -> None:
    with dns(one="mx2") as names, Sink("127.0.0.2", port, tls=tls) as sink:
        assert send(message(), "a@one.test", resolver=names.address, port=port)["a@one.test"].word == "sent"
    assert sink.received[0].secure
    assert [each for each in sink.commands if each.startswith("EHLO")] == ["EHLO node.example.net"] * 2


def test_required_tls_is_verified_for_the_mail_exchanger_s_name(
    send: Send, port: int, tls: ssl.SSLContext, pem: Path
) -> None:
    zone = {
        "one.test": {"MX": ["5 mx2.mail.test."]},
        "two.test": {"MX": ["5 mx.elsewhere.net."]},
        "mx2.mail.test": {"A": ["127.0.0.2"]},
        "mx.elsewhere.net": {"A": ["127.0.0.3"]},
    }
    with NameServer(zone) as names, Sink("127.0.0.2", port, tls=tls), Sink("127.0.0.3", port, tls=tls) as other:
        config = {"resolver": names.address, "port": port, "tls": "required"}
        outcomes = send(message(), "a@one.test", "b@two.test", **config, tls_ca=pem)
        assert outcomes["a@one.test"].word == "sent"
        assert outcomes["b@two.test"].word == "later"
        assert outcomes["b@two.test"].reason.startswith("4.7.5 TLS failed: certificate not trusted: ")
        untrusted = send(message(), "a@one.test", **config)["a@one.test"]
        assert untrusted.word == "later"
    assert other.received == []


@pytest.mark.parametrize("where", ["config", "message"])
def test_mail_that_requires_tls_never_goes_where_there_is_none(send: Send, port: int, where: str) -> None:
    with dns(one="mx2") as names, Sink("127.0.0.2", port) as sink:
        outcome = send(
            message(require_tls=where == "message"),
            "a@one.test",
            resolver=names.address,
            port=port,
            **({"tls": "required"} if where == "config" else {}),
        )["a@one.test"]
    assert outcome.word == "never"
    assert outcome.reason.startswith("5.7.10 ")
    assert not any(each.startswith("MAIL") for each in sink.commands)


def test_a_server_whose_tls_is_broken_gets_its_mail_in_clear_at_a_later_attempt(
    house: Callable[..., Any], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(connection: Connection) -> None:
        connection.say("220 mx2.mail.test")
        connection.hear()
        connection.say("250-mx2.mail.test\r\n250 STARTTLS")
        if connection.hear() == "STARTTLS":
            connection.say("220 go")
            return
        for reply in ("250 ok", "250 ok", "354 go"):
            connection.say(reply)
            connection.hear() if reply != "354 go" else connection.content()
        connection.say("250 2.0.0 kept in clear")

    async def work(egress: Any, context: StandIn) -> None:
        to = ["a@one.test"]
        first = (await egress.send(message(), to))["a@one.test"]
        assert first.word == "later"
        assert first.reason.startswith("4.7.5 TLS failed: ")
        soon = (await egress.send(message(), to))["a@one.test"]
        assert soon.word == "later"
        monkeypatch.setattr(memory, "GRACE", 0.0)
        later = (await egress.send(message(), to))["a@one.test"]
        assert later.reason == "250 2.0.0 kept in clear"
        required = (await egress.send(message(require_tls=True), to))["a@one.test"]
        assert required.word == "later"

    with dns(one="mx2") as names, Sink("127.0.0.2", port, script=broken):
        house(work, resolver=names.address, port=port)


def test_a_server_that_will_not_begin_tls_is_one_whose_tls_is_broken(
    house: Callable[..., Any], port: int, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    async def work(egress: Any, context: StandIn) -> list[Outcome]:
        first = (await egress.send(message(), ["a@one.test"]))["a@one.test"]
        monkeypatch.setattr(memory, "GRACE", 0.0)
        return [first, (await egress.send(message(), ["a@one.test"]))["a@one.test"]]

    refusing = {"STARTTLS": "454 4.7.0 TLS not available"}
    with dns(one="mx2") as names, Sink("127.0.0.2", port, tls=tls, replies=refusing):
        first, second = house(work, resolver=names.address, port=port)
    assert first.word == "later"
    assert first.reason == "454 4.7.0 TLS not available (at STARTTLS)"
    assert second.word == "sent"


# --- this node ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "system", "said"),
    [
        ("gate.example.net", "host.example.org", "gate.example.net"),
        ("gate", "host.example.org", "host.example.org"),
        ("gate", "localhost", "[127.0.0.77]"),
        ("gate", "localhost.localdomain", "[127.0.0.77]"),
    ],
)
def test_a_node_says_who_it_is_and_comes_from_where_it_was_told(
    house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, node: str, system: str, said: str
) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: system)

    async def work(egress: Any, context: StandIn) -> None:
        context.name = node
        assert (await egress.send(message(), ["a@one.test"]))["a@one.test"].word == "sent"

    with Sink() as sink:
        house(work, smarthost=f"127.0.0.1:{sink.port}", hostname="", bind="127.0.0.77")
    assert sink.received[0].hello == f"EHLO {said}"
    assert sink.peers == ["127.0.0.77"]


def test_a_dialer_is_given_the_smarthost_s_name(house: Callable[..., Any]) -> None:
    async def work(egress: Any, context: StandIn) -> list[tuple[str, str | None]]:
        await egress.send(message(), ["a@one.test"])
        return context.dialled

    with Sink() as sink:
        where = f"localhost:{sink.port}"
        assert house(work, smarthost=where, via="tor") == [(where, "tor")]


def test_no_more_connections_are_open_than_allowed(house: Callable[..., Any], port: int) -> None:
    most = now = 0

    def slow(connection: Connection) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        time.sleep(0.2)
        now -= 1
        connection.say("421 enough")

    async def work(egress: Any, context: StandIn) -> Mapping[str, Outcome]:
        outcomes: Mapping[str, Outcome] = await egress.send(message(), [f"u@[127.0.0.{n}]" for n in range(2, 8)])
        return outcomes

    with contextlib.ExitStack() as stack:
        for n in range(2, 8):
            stack.enter_context(Sink(f"127.0.0.{n}", port, script=slow))
        outcomes = house(work, resolver="127.0.0.1:1", port=port, connections=2)
    assert {each.reason for each in outcomes.values()} == {"421 enough"}
    assert most == 2


# --- a smarthost --------------------------------------------------------------------------------------------------------


def test_all_mail_goes_through_the_smarthost(send: Send) -> None:
    with Sink() as sink:
        outcomes = send(message(), "a@one.test", "b@two.test", smarthost=f"127.0.0.1:{sink.port}")
    assert {each.word for each in outcomes.values()} == {"sent"}
    assert sink.connections == 1
    assert outcomes["a@one.test"].remote == "127.0.0.1"


@pytest.mark.parametrize("mode", ["required", "implicit"])
def test_a_password_goes_over_verified_tls_only(
    house: Callable[..., Any], tls: ssl.SSLContext, tmp_path: Path, mode: str
) -> None:
    pem = tmp_path / "localhost.pem"
    pem.write_bytes(b"".join(self_signed("localhost", datetime.now(UTC))))
    own = server_context(pem)

    def relay(connection: Connection) -> None:
        if mode == "implicit":
            connection.secure(own)
        connection.say("220 relay")
        if mode == "required":
            assert connection.hear().startswith("EHLO")
            connection.say("250-relay\r\n250-AUTH PLAIN\r\n250 STARTTLS")
            assert connection.hear() == "STARTTLS"
            connection.say("220 go")
            connection.secure(own)
        assert connection.hear().startswith("EHLO")
        connection.say("250-relay\r\n250 AUTH PLAIN")
        auth = connection.hear()
        connection.say("235 ok" if auth == "AUTH PLAIN AG1lAHNlY3JldA==" else "535 5.7.8 wrong")
        connection.hear()
        connection.say("550 5.7.1 seen")
        connection.wait()

    async def work(egress: Any, context: StandIn) -> tuple[Outcome, list[Any]]:
        return (await egress.send(message(), ["a@one.test"]))["a@one.test"], context.reported

    with Sink(script=relay) as sink:
        config = {"smarthost": f"localhost:{sink.port}", "username": "me", "tls": mode}
        outcome, _ = house(work, **config, password="secret", tls_ca=pem)
        assert outcome == Outcome(word="never", reason="550 5.7.1 seen (at MAIL)", remote="localhost")
        outcome, reported = house(work, **config, password="wrong", tls_ca=pem)
        assert outcome.reason.startswith("4.7.8 cannot log in: 535 5.7.8 wrong")
        remedy = "correct username and password in [egress.out], then mesyx reload"
        assert reported == [("degraded", f"localhost does not let this node log in: {remedy}")]
        outcome, _ = house(work, **config, password="secret")
        assert outcome.reason.startswith("4.7.5 TLS failed: certificate not trusted")


@pytest.mark.parametrize(
    "config",
    [
        {"smarthost": "relay.example.org:x"},
        {"smarthost": "relay:587", "username": "me"},
        {"username": "me", "password": "x"},
        {"smarthost": "relay:587", "username": "me", "password": "x", "tls": "opportunistic"},
        {"tls": "implicit"},
        {"resolver": "dns.example.org"},
        {"bind": "here"},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"write|give|name"):
        mesyx_egresses()[0].config.model_validate(config)


def test_certificates_that_cannot_be_read_are_named(house: Callable[..., Any], tmp_path: Path) -> None:
    async def work(egress: object, context: StandIn) -> None:
        raise AssertionError("it must not open")

    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(Misconfigured, match=re.escape(str(tmp_path / "ca.pem"))):
        house(work, smarthost="relay:587", tls_ca=tmp_path / "ca.pem")


# --- hostile and broken servers -------------------------------------------------------------------------------------------


def drip(connection: Connection) -> None:
    connection.say(b"220-")
    while True:
        connection.say(b"x")
        time.sleep(0.05)


def endless_line(connection: Connection) -> None:
    while True:
        connection.say(b"x" * 65536)


def endless_reply(connection: Connection) -> None:
    while True:
        connection.say(b"220-hello\r\n" * 1000)


def injected(connection: Connection) -> None:
    connection.say("220 mx")
    connection.hear()
    connection.say("250-mx\r\n250 STARTTLS")
    connection.hear()
    connection.say("220 go\r\n250-mx\r\n250 AUTH PLAIN")
    connection.wait()


def eager(connection: Connection) -> None:
    connection.say("220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 kept")
    connection.wait()


def silent(connection: Connection) -> None:
    connection.wait()


def gone(connection: Connection) -> None:
    connection.say("220 mx")


@pytest.mark.parametrize("script", [drip, endless_line, endless_reply, injected, eager, silent, gone])
def test_a_hostile_server_costs_little_and_wins_nothing(
    send: Send, port: int, script: Callable[[Connection], None]
) -> None:
    began = time.monotonic()
    with dns(one="mx2") as names, Sink("127.0.0.2", port, script=script):
        outcome = send(
            message(), "a@one.test", resolver=names.address, port=port, timeouts={"greeting": 0.5, "command": 0.5}
        )["a@one.test"]
    assert outcome.word == "later"
    assert re.match(r"4\.\d\.\d ", outcome.reason)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({".": "hang up"}, "(may have been delivered)"),
        ({".": ""}, "(may have been delivered)"),
        ({"DATA": "hang up"}, "connection lost at DATA"),
        ({"DATA": ""}, "timed out at DATA"),
        ({"RCPT": ""}, "timed out at a command"),
    ],
)
def test_a_server_that_falls_silent_is_asked_again_later(
    send: Send, port: int, reply: dict[str, str], words: str
) -> None:
    with dns(one="mx2 mx3") as names, Sink("127.0.0.2", port, replies=reply), Sink("127.0.0.3", port) as spare:
        times = {"command": 0.5, "data": 0.5, "end": 0.5}
        outcome = send(message(), "a@one.test", resolver=names.address, port=port, timeouts=times)["a@one.test"]
    if "may have been" in words:
        assert outcome.word == "later"
        assert outcome.reason.endswith(words)
        assert spare.connections == 0  # it could come twice
    else:
        assert outcome.word == "sent"
        assert spare.connections == 1


def test_a_server_that_stops_reading_is_given_up_and_its_last_word_told(send: Send, port: int) -> None:
    def full(connection: Connection) -> None:
        connection.say("220 mx")
        for reply in ("250 mx", "250 ok", "250 ok", "354 go"):
            connection.hear()
            connection.say(reply)
        connection.say("552 5.2.2 that is too much")
        time.sleep(3)

    body = b"Subject: large\r\n\r\n" + b"x" * 78 * 400_000 + b"\r\n"
    with dns(one="mx2") as names, Sink("127.0.0.2", port, script=full):
        outcome = send(message(body), "a@one.test", resolver=names.address, port=port, timeouts={"block": 0.5})[
            "a@one.test"
        ]
    assert outcome.word == "never"
    assert outcome.reason == "552 5.2.2 that is too much (at the end of the message)"


def test_a_body_that_cannot_be_read_ends_nothing_half(house: Callable[..., Any], port: int) -> None:
    class Broken:
        size = 100
        reads = 0

        async def read(self, start: int = 0, stop: int | None = None) -> Any:
            self.reads += 1
            yield b"Subject: x\r\n\r\n"
            if self.reads > 1:
                raise OSError("the disk is gone")

    async def work(egress: Any, context: StandIn) -> Outcome:
        broken = Message(kind="mail", time=datetime.now(UTC), body=Broken(), sender="me@example.net")
        outcome: Outcome = (await egress.send(broken, ["a@one.test"]))["a@one.test"]
        return outcome

    with dns(one="mx2") as names, Sink("127.0.0.2", port) as sink:
        outcome = house(work, resolver=names.address, port=port)
    assert outcome == Outcome(word="later", reason="4.3.0 internal error")
    assert sink.received == []


def test_one_slow_server_holds_up_no_other(send: Send, port: int) -> None:
    began = functools.partial(time.monotonic)
    start = began()
    with (
        dns(one="mx2", two="mx3") as names,
        Sink("127.0.0.2", port, replies={"": ""}),
        Sink("127.0.0.3", port) as other,
    ):
        outcomes = send(
            message(), "a@one.test", "b@two.test", resolver=names.address, port=port, timeouts={"greeting": 1}
        )
    assert outcomes["a@one.test"].word == "later"
    assert outcomes["b@two.test"].word == "sent"
    assert other.connections == 1
    assert began() - start < 5
