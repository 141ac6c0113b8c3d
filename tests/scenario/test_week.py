"""A week of mixed traffic in ten minutes: the wall clocks of both nodes jump on by seventeen minutes every second.

Nothing may pile up: memory and descriptors stay flat, files grow by what came in, and no warning is given that the docs
do not name.
"""

from __future__ import annotations

import imaplib
import os
import random
import re
import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from mesyx_smtp.testing import Sink

from tests.scenario.cluster import Node, Pair, cluster, free_port, wait_for
from tests.scenario.listing import imap, sound

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(1200)]

FULL, SHORT = 600, 45
"""Seconds."""
WEEK = 7 * 86400
DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "messages.md"


class Reading(NamedTuple):
    """What a node uses at a moment."""

    rss: int
    descriptors: int
    threads: int
    disk: int


def read(node: Node) -> Reading:
    assert node.process is not None
    process = Path(f"/proc/{node.process.pid}")
    threads = int(re.findall(r"Threads:\s+(\d+)", (process / "status").read_text())[0])
    disk = sum(file.stat().st_size for file in (node.folder / "state").rglob("*") if file.is_file())
    return Reading(node.rss(), len(os.listdir(process / "fd")), threads, disk)


class Traffic:
    """What people, programs and strangers do all week, each in a thread of its own."""

    def __init__(self, pair: Pair, seed: int = 7) -> None:
        self.pair = pair
        self.accepted = 0
        self.octets = 0
        self.submitted = 0
        self.faults: list[str] = []
        self._seed = seed
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Traffic]:
        doings = (self.arrive, self.read_and_file, self.send, self.knock, self.look)
        threads = [threading.Thread(target=self._again, args=(doing, n)) for n, doing in enumerate(doings)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)

    def _again(self, doing: Callable[[random.Random], None], number: int) -> None:
        chance = random.Random(self._seed + number)
        while not self._stop.wait(chance.uniform(0.05, 0.4)):
            try:
                doing(chance)
            except Exception as error:
                self.faults.append(f"{doing.__name__}: {error!r}")

    def arrive(self, chance: random.Random) -> None:
        """One to twenty mails of all sizes over one connection."""
        with smtplib.SMTP("127.0.0.1", self.pair.smtp, timeout=60) as smtp:
            for _ in range(chance.choice((1, 1, 1, 3, 20))):
                size = int(chance.choice((300, 2000, 5000, 30_000, 400_000)) * chance.uniform(0.5, 1))
                line = chance.randbytes(36).hex() + "\r\n"
                text = f"Subject: week\r\nMessage-ID: <{chance.getrandbits(64)}@week.test>\r\n\r\n" + line * (
                    size // 74
                )
                smtp.sendmail("a@week.test", [self.pair.address], text)
                self.accepted += 1
                self.octets += len(text)

    def read_and_file(self, chance: random.Random) -> None:
        """Look through INBOX, read, flag, archive and delete."""
        with imap(self.pair) as client:
            count = int(client.select("INBOX")[1][0] or b"0")
            if not count:
                return
            client.fetch(f"{max(1, count - 50)}:*", "(UID FLAGS ENVELOPE)")
            some = str(chance.randint(max(1, count - 200), count))
            client.fetch(some, "(BODY.PEEK[])")
            client.store(some, "+FLAGS", chance.choice((r"(\Seen)", r"(\Flagged)", "($Later)")))
            if chance.random() < 0.3:
                client.copy(some, "Archive")
            if chance.random() < 0.3:
                client.store(some, "+FLAGS", r"(\Deleted)")
                client.expunge()
            if chance.random() < 0.1:
                client.search(None, "TEXT", '"week"')

    def send(self, chance: random.Random) -> None:
        """A mail of one's own, sometimes to somebody who is not there."""
        with smtplib.SMTP("127.0.0.1", self.pair.client.ports["submission"], timeout=60) as smtp:
            smtp.login(self.pair.user, self.pair.password)
            text = f"From: {self.pair.address}\r\nTo: b@far.test\r\nMessage-ID: <{chance.getrandbits(64)}@own.test>\r\n\r\nhello\r\n"
            smtp.sendmail(self.pair.address, ["b@far.test"], text)
            self.submitted += 1
        self._stop.wait(2)

    def knock(self, chance: random.Random) -> None:
        """Strangers: wrong addresses, wrong passwords, connections that say nothing or nonsense."""
        if chance.random() < 0.5:
            with smtplib.SMTP("127.0.0.1", self.pair.smtp, timeout=60) as smtp:
                smtp.ehlo()
                smtp.mail("x@spam.test")
                assert smtp.rcpt("nobody@example.org")[0] == 550
        else:
            client = imaplib.IMAP4("127.0.0.1", self.pair.imap, timeout=60)
            with pytest.raises(imaplib.IMAP4.error):
                client.login("alice", "wrong")
            client.shutdown()
        self._stop.wait(3)

    def look(self, chance: random.Random) -> None:
        """Status and doctor, on both nodes."""
        for node in (self.pair.gateway, self.pair.client):
            node.ask("status")
            node.ask("doctor")
        self._stop.wait(5)


@contextmanager
def passing(nodes: list[Node], seconds: float) -> Iterator[None]:
    """A week passes for these nodes in so many seconds."""
    stop = threading.Event()

    def run() -> None:
        begun = time.monotonic()
        while not stop.wait(1):
            for node in nodes:
                node.turn(f"+{int((time.monotonic() - begun) * WEEK / seconds)}s")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def warnings(node: Node) -> set[str]:
    """What its log and its doctor say beyond the usual."""
    found = {
        line.split(" ", 2)[2] for line in node.log.read_text().splitlines() if " INFO " not in line and line[:2] == "20"
    }
    said: list[dict[str, str]] = node.ask("doctor")
    return found | {f"doctor: {row['what']}" for row in said}


def named(warning: str, docs: str) -> bool:
    """Whether the docs have it, with `…` for what differs."""
    for text in re.findall(r"`([^`]+)`", docs):
        if re.search(".*".join(map(re.escape, text.split("…"))), warning):
            return True
    return False


def test_a_week_leaves_nothing_behind_but_mail(tmp_path: Path, full: bool) -> None:
    seconds = FULL if full else SHORT
    port = free_port()
    with (
        Sink() as sink,
        cluster(
            tmp_path,
            gateway_extra=f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{sink.port}"\n',
            client_extra=f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n',
        ) as pair,
    ):
        pair.client.ports["submission"] = port
        nodes = [pair.gateway, pair.client]
        for node in nodes:
            node.stop()
            node.turn("+0s")
            node.start()
        traffic = Traffic(pair)
        readings: list[list[Reading]] = []
        with passing(nodes, seconds), traffic.running():
            for _ in range(20):
                time.sleep(seconds / 20)
                readings.append([read(node) for node in nodes])
        assert set(traffic.faults) == set()
        wait_for("all sent", lambda: len(sink.received) >= traffic.submitted, 60, 0.5)
        assert len(sink.received) == traffic.submitted
        for number, node in enumerate(nodes):
            series = [reading[number] for reading in readings]
            print(node.folder.name, *(f"{r.rss >> 20}M/{r.descriptors}fd/{r.threads}t/{r.disk >> 20}M" for r in series))
        print(f"{traffic.accepted} mails of {traffic.octets >> 20} MiB came, {traffic.submitted} went")
        for number in range(2):
            early, late = readings[len(readings) // 2][number], readings[-1][number]
            assert late.rss <= early.rss * 1.15 + (8 << 20), "memory grows"
            assert late.descriptors <= early.descriptors + 8, "descriptors pile up"
            assert late.threads <= early.threads + 2
        docs = DOCS.read_text()
        assert [w for node in nodes for w in sorted(warnings(node)) if not named(w, docs)] == []
        for node in nodes:
            assert node.stop() == 0
            sound(node)
        sizes(pair, traffic)


def sizes(pair: Pair, traffic: Traffic) -> None:
    """A gateway's files are what came in, padded (by at most 12 %) and a little more for each entry."""
    folder = pair.gateway.folder / "state"
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert disk < traffic.octets * 1.15 + (traffic.accepted + 50 * traffic.submitted) * 2000 + (80 << 20)
