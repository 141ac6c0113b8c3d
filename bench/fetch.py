"""Reading over IMAP: a Mesyx client node, whose mail is sealed at rest, and Dovecot, in clear and with mail_crypt.

The same real mails go into each: through a gateway, over LMTP. Then one connection asks for all bodies, all envelopes,
and searches all text. Each is asked five times; shown are the first time and the fastest. Needs `scripts/peers`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench._load import CORPUS, corpus, send, stuffed  # noqa: E402  # the checkout is no installed package
from tests.scenario import cluster, peers  # noqa: E402

COMMANDS = {
    "bodies": b"FETCH 1:* BODY.PEEK[]",
    "envelopes": b"FETCH 1:* ENVELOPE",
    "headers": b"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID)])",
    "flags": b"UID FETCH 1:* (UID FLAGS)",
    "search text": b'SEARCH TEXT "linux"',
}
TIMES = 5


class Mailbox(NamedTuple):
    """A server with mails in INBOX."""

    name: str
    port: int
    user: str
    password: str


class Figure(NamedTuple):
    """One command at one server; seconds."""

    server: str
    command: str
    first: float
    best: float
    octets: int


class Client:
    """Sends a command and reads until its tagged reply, keeping only the end."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._socket = socket.create_connection(("127.0.0.1", mailbox.port), 300)
        self._socket.recv(4096)
        self.ask(f"LOGIN {mailbox.user} {mailbox.password}".encode())

    def ask(self, command: bytes) -> tuple[float, int, bytes]:
        """Seconds, octets, and the last of what came."""
        begun = time.perf_counter()
        self._socket.sendall(b"t " + command + b"\r\n")
        octets, tail = 0, b"\r\n"
        while not (tail.endswith(b"\r\n") and b"\r\nt " in tail):
            chunk = self._socket.recv(1 << 18)
            if not chunk:
                raise SystemExit("the server hung up")
            octets += len(chunk)
            tail = (tail + chunk)[-4096:]
        seconds = time.perf_counter() - begun
        if b"\r\nt OK" not in tail:
            raise SystemExit(f"{command.decode()}: {tail[tail.rindex(b't ') :].decode()}")
        return seconds, octets, tail

    def exists(self) -> int:
        """Messages in INBOX."""
        _, _, reply = self.ask(b"STATUS INBOX (MESSAGES)")
        return int(reply.partition(b"(MESSAGES ")[2].partition(b")")[0])


@contextmanager
def mesyx(mails: list[bytes]) -> Iterator[Mailbox]:
    """A gateway and a client, joined by the commands of the README."""
    with tempfile.TemporaryDirectory(prefix="mesyx-bench-") as name, cluster.cluster(Path(name)) as pair:
        asyncio.run(send(pair.smtp, 10, mails, lmtp=False, recipient=pair.address))
        mailbox = Mailbox("mesyx", pair.imap, pair.user, pair.password)
        client = Client(mailbox)
        cluster.wait_for("all mails to be read", lambda: client.exists() == len(mails), 120)
        yield mailbox


@contextmanager
def dovecot(mails: list[bytes], *, crypt: bool) -> Iterator[Mailbox]:
    """Dovecot with sdbox."""
    with peers.dovecot(crypt=crypt) as server:
        asyncio.run(send(server.lmtp, 10, mails, lmtp=True, recipient="alice"))
        yield Mailbox("dovecot mail_crypt" if crypt else "dovecot", server.imap, "alice", peers.PASSWORD)


def measure(mailbox: Mailbox) -> list[Figure]:
    """Every command, a fresh connection each."""
    figures = []
    for command, words in COMMANDS.items():
        client = Client(mailbox)
        client.ask(b"SELECT INBOX")
        runs = [client.ask(words) for _ in range(TIMES)]
        times = [seconds for seconds, _, _ in runs]
        figures.append(Figure(mailbox.name, command, times[0], min(times), runs[0][1]))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2500)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    mails = [stuffed(mail) for mail in corpus(options.corpus)][: options.messages]
    figures: list[Figure] = []
    for server in (mesyx(mails), dovecot(mails, crypt=False), dovecot(mails, crypt=True)):
        with server as mailbox:
            figures += measure(mailbox)
    (print_json if options.json else print_table)(figures, len(mails))


def _ratio(figures: list[Figure], figure: Figure) -> float:
    """How many times as long as Mesyx this took, at best."""
    ours = next(f for f in figures if (f.server, f.command) == ("mesyx", figure.command))
    return figure.best / ours.best


def print_json(figures: list[Figure], count: int) -> None:
    rows: list[dict[str, Any]] = [{**f._asdict(), "ratio": _ratio(figures, f), "messages": count} for f in figures]
    print(json.dumps(rows, indent=2))


def print_table(figures: list[Figure], count: int) -> None:
    print(f"{count} real mails; seconds the first time, at best, and at best as a multiple of Mesyx")
    for figure in figures:
        ratio = _ratio(figures, figure)
        print(f"{figure.command:12} {figure.server:20} {figure.first:8.3f} {figure.best:8.3f} {ratio:7.2f}x")


if __name__ == "__main__":
    main()
