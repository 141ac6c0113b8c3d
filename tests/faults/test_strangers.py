"""Slow, endless and countless strangers at every port of real nodes: memory stays bounded and everybody else is served."""

from __future__ import annotations

import base64
import os
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.faults.marks import FULL, fault
from tests.scenario.cluster import Node, Pair, cluster, wait_for
from tests.scenario.listing import exists, imap

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]

MIB = 1 << 20
HTTPS_SECONDS = 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """SMTP gives up on a silent peer after two seconds."""
    timeouts = "\n[ingress.mx.timeouts]\ncommand = 2\ndata = 2\n"
    with cluster(tmp_path_factory.mktemp("strangers"), gateway_extra=timeouts) as made:
        send(made, "warm")
        yield made


def send(pair: Pair, text: str, source: str = "127.0.0.2") -> None:
    """A mail from somebody else, and it arrives."""
    before = exists(pair)
    with smtplib.SMTP("127.0.0.1", pair.smtp, source_address=(source, 0), timeout=20) as smtp:
        smtp.sendmail("bob@example.net", [pair.address], f"Message-ID: <{text}@example.net>\r\n\r\n{text}\r\n")

    wait_for("the mail", lambda: exists(pair) > before)


def stranger(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10, (source, 0))


def ended(stream: socket.socket, seconds: float) -> bytes:
    """What is said until the end, which comes within so many seconds."""
    heard, until = b"", time.monotonic() + seconds
    while True:
        stream.settimeout(max(0.01, until - time.monotonic()))
        try:
            data = stream.recv(65536)
        except ConnectionError:
            return heard
        if not data:
            return heard
        heard += data


def pour(stream: socket.socket, piece: bytes, most: int) -> int:
    """Send until somebody stops it; how much went."""
    sent = 0
    stream.settimeout(5)
    with suppress(OSError):
        while sent < most:
            sent += stream.send(piece)
    return sent


@contextmanager
def bounded(node: Node, growth: int) -> Iterator[None]:
    before = node.rss()
    yield
    assert node.rss() - before < growth, (before, node.rss())


def greeted(pair: Pair) -> socket.socket:
    stream = stranger(pair.smtp)
    assert stream.recv(1000).startswith(b"220")
    return stream


def ask(stream: socket.socket, line: bytes, code: bytes) -> None:
    stream.sendall(line + b"\r\n")
    assert stream.recv(4000).startswith(code)


# --- SMTP -------------------------------------------------------------------------------------------------------------


@fault("smtp-byte-a-second")
def test_a_command_that_trickles_in_does_not_hold_a_connection(pair: Pair) -> None:
    with greeted(pair) as stream:
        began = time.monotonic()
        with suppress(OSError):
            for byte in b"EHLO " + b"x" * 50:
                stream.sendall(bytes([byte]))
                time.sleep(0.25)
                if time.monotonic() - began > 6:
                    break
        assert b"421" in ended(stream, 3)
        assert time.monotonic() - began < 8
    send(pair, "after-trickle")


@fault("smtp-endless-line")
def test_a_command_without_end_fills_no_memory(pair: Pair) -> None:
    with greeted(pair) as stream, bounded(pair.gateway, 16 * MIB):
        pour(stream, b"x" * 65536, 64 * MIB)
        ended(stream, 10)
    send(pair, "after-line")


@fault("smtp-endless-data")
def test_a_message_without_end_is_cut_off_and_nothing_of_it_stays(pair: Pair) -> None:
    held = pair.gateway.json("status")["stores"][0]["bytes"]
    with greeted(pair) as stream, bounded(pair.gateway, 48 * MIB):
        ask(stream, b"EHLO x", b"250")
        ask(stream, b"MAIL FROM:<bob@example.net>", b"250")
        ask(stream, b"RCPT TO:<alice@example.org>", b"250")
        ask(stream, b"DATA", b"354")
        sent = pour(stream, b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n", 400 * MIB)
        assert sent < 400 * MIB
        ended(stream, 10)
    assert pair.gateway.json("status")["stores"][0]["bytes"] < held + MIB
    send(pair, "after-data")


@fault("smtp-recipients")
def test_ten_thousand_recipients_are_not_remembered(pair: Pair) -> None:
    with greeted(pair) as stream, bounded(pair.gateway, 16 * MIB):
        ask(stream, b"EHLO x", b"250")
        ask(stream, b"MAIL FROM:<bob@example.net>", b"250")
        lines = b"".join(b"RCPT TO:<alice+%d@example.org>\r\n" % n for n in range(10_000))
        pour(stream, lines, len(lines))
        said = ended(stream, 10).splitlines()
    assert sum(line.startswith(b"250") for line in said) == 1000
    assert any(line.startswith(b"452") for line in said)
    send(pair, "after-recipients")


@fault("smtp-never-quits")
def test_who_never_quits_is_told_to_go(pair: Pair) -> None:
    with greeted(pair) as stream:
        ask(stream, b"EHLO x", b"250")
        assert b"421" in ended(stream, 6)


# --- IMAP -------------------------------------------------------------------------------------------------------------


@fault("imap-endless-before-log-in")
@pytest.mark.parametrize("said", [b"x" * 65536, b"a LOGIN {16777216}\r\n", b"a LOGIN {1000+}\r\n" + b"x" * 1000])
def test_a_stranger_at_imap_fills_no_memory(pair: Pair, said: bytes) -> None:
    with stranger(pair.imap) as stream, bounded(pair.client, 16 * MIB):
        stream.recv(1000)
        pour(stream, said, 32 * MIB)  # what is too long is passed over, for as long as one may take to log in
    send(pair, f"after-{len(said)}")


@fault("imap-endless-after-log-in")
@pytest.mark.parametrize(
    ("said", "answer"),
    [(b"a SEARCH TEXT " + b"x" * 65536, b""), (b"a APPEND INBOX {4294967295}\r\n", b"TOOBIG")],
)
def test_a_person_at_imap_fills_no_memory_either(pair: Pair, said: bytes, answer: bytes) -> None:
    with stranger(pair.imap) as stream, bounded(pair.client, 16 * MIB):
        stream.recv(1000)
        ask(stream, b"x LOGIN %s %s" % (pair.user.encode(), pair.password.encode()), b"x OK")
        stream.sendall(said)
        if answer:
            assert answer in stream.recv(4000)
        else:
            pour(stream, b"x" * 65536, 32 * MIB)
    send(pair, f"after-person-{len(said)}")


# --- https ------------------------------------------------------------------------------------------------------------


def web(pair: Pair, source: str = "127.0.0.1") -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(stranger(pair.gateway.ports["https"], source))


@fault("https-slowloris")
def test_a_request_that_never_ends_is_ended(pair: Pair) -> None:
    with web(pair) as stream:
        began = time.monotonic()
        with suppress(OSError):
            stream.sendall(b"GET / HTTP/1.1\r\n")
            while time.monotonic() - began < HTTPS_SECONDS + 8:
                stream.sendall(b"X: y\r\n")
                time.sleep(0.5)
        assert time.monotonic() - began < HTTPS_SECONDS + 6


@fault("https-endless-headers")
def test_headers_without_end_fill_no_memory(pair: Pair) -> None:
    with web(pair) as stream, bounded(pair.gateway, 16 * MIB):
        with suppress(OSError):
            stream.sendall(b"GET / HTTP/1.1\r\n")
        assert pour(stream, b"X-Header: value\r\n" * 500, 32 * MIB) < 32 * MIB
    send(pair, "after-headers")


@fault("flood-websocket-control")
def test_pings_without_end_fill_no_memory(pair: Pair) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    with web(pair) as stream, bounded(pair.gateway, 24 * MIB):
        stream.sendall(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert b" 101 " in stream.recv(4000)
        ping = b"\x89\xfd" + b"\0\0\0\0" + b"p" * 125
        pour(stream, ping * 500, 48 * MIB)
        send(pair, "while-pinged")


# --- all of it --------------------------------------------------------------------------------------------------------


@fault("half-open-connections")
def test_a_thousand_half_open_connections_are_borne_and_go_away(pair: Pair) -> None:
    with ExitStack() as stack, bounded(pair.gateway, 64 * MIB):
        began = time.monotonic()
        streams = []
        for host in range(10):
            port = pair.gateway.ports["https"] if host % 2 else pair.smtp
            for _ in range(100 if FULL else 60):
                with suppress(OSError):
                    streams.append(stack.enter_context(stranger(port, f"127.0.1.{host + 1}")))
        send(pair, "among-half-open")
        for stream in streams:
            ended(stream, HTTPS_SECONDS + 10 - (time.monotonic() - began))
        assert time.monotonic() - began < HTTPS_SECONDS + 10
    send(pair, "after-half-open")


@fault("clock-skew")
@pytest.mark.parametrize("clock", ["+2d", "-2d"])
def test_two_nodes_whose_clocks_are_two_days_apart_miss_nothing(pair: Pair, clock: str) -> None:
    pair.gateway.stop()
    pair.gateway.turn(clock)
    try:
        pair.gateway.start()
        send(pair, f"at{clock}")
        with imap(pair) as mailbox:
            mailbox.select()
            assert mailbox.store("1", "+FLAGS", "\\Flagged")[0] == "OK"
            assert mailbox.store("1", "-FLAGS", "\\Flagged")[0] == "OK"
        held = [node.json("status")["stores"][0]["entries"] for node in (pair.gateway, pair.client)]
        assert held
        wait_for(
            "both to hold the same",
            lambda: len({node.json("status")["stores"][0]["entries"] for node in (pair.gateway, pair.client)}) == 1,
        )
    finally:
        pair.gateway.turn("+0d")
