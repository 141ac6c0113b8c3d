"""A week of mixed traffic in ten minutes: the wall clocks of both nodes jump on by seventeen minutes every second.

Nothing may pile up: memory and descriptors stay flat, files grow by what came in, and no warning is given that the docs
do not name. In the full form more mail than any cache holds comes and is read first: from then on, whatever grows is no
cache (docs/explanation/resources.md).
"""

from __future__ import annotations

import base64
import imaplib
import os
import random
import re
import smtplib
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from mesyx_smtp.testing import Sink

from tests.scenario.cluster import Node, Pair, cluster, free_port, wait_for
from tests.scenario.listing import bodies, exists, imap, sound
from tests.scenario.senders import Senders

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(1800)]

FULL, SHORT = 600, 45
"""Seconds."""
BEFORE = 2_400
"""Mails of 14 kB: a client keeps 32 MiB of bodies in memory, and each database some of its pages."""
LOOKS = 120
"""Readings in a week."""
WARM = 1 / 4
"""Of the week passes until everything has happened that a node remembers for a while."""
USED = 4 << 20
"""Bytes by which what a node uses of its heap may rise in the rest of the week: a leak of one KiB a mail would be as
much on a machine that has nothing else to do. What a busy moment happens to need is a third of that."""
HELD = 16 << 20
"""The same of what it has from the system, but for SQLite's pages: glibc gives the heap back from its end only, and only
what is free there beyond so much, so a busy moment late in the week leaves that behind."""
PAGES = 16 << 20, 40 << 20
"""What SQLite may keep: of the journal, and of each file of the index."""
WEEK = 7 * 86400
INSIDE = Path(__file__).with_name("inside")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "messages.md"


class Reading(NamedTuple):
    """What a node uses at a moment."""

    resident: float
    used: float
    """Of its heap, but for SQLite's pages."""
    pages: float
    descriptors: float
    threads: float
    disk: float

    def __str__(self) -> str:
        mib = "/".join(f"{size / (1 << 20):.0f}" for size in (self.resident, self.used, self.pages, self.disk))
        return f"{mib}M/{self.descriptors}fd/{self.threads}t"


def read(node: Node) -> Reading:
    assert node.process is not None
    process = Path(f"/proc/{node.process.pid}")
    threads = int(re.findall(r"Threads:\s+(\d+)", (process / "status").read_text())[0])
    disk = sum(file.stat().st_size for file in (node.folder / "state").rglob("*") if file.is_file())
    used, pages = map(int, usage(node).read_text().split())
    return Reading(node.rss(), used, pages, len(os.listdir(process / "fd")), threads, disk)


def usage(node: Node) -> Path:
    """Where it tells of its memory."""
    return node.folder.parent / f"{node.folder.name}.usage"


def watched(node: Node) -> None:
    """From its next start on, it tells of its memory."""
    node.environment |= {"PYTHONPATH": str(INSIDE), "MESYX_USAGE": str(usage(node))}


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

    def fill(self) -> None:
        """More mail than the caches of both nodes hold, and all of it read by a program."""
        chance = random.Random(self._seed)
        head = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        mails = [
            head
            + b"Message-ID: <%d@before.test>\r\n\r\n" % number
            + base64.encodebytes(chance.randbytes(10_500)).replace(b"\n", b"\r\n")
            for number in range(BEFORE)
        ]
        sender = Senders(self.pair.smtp, self.pair.address)
        sender.send(mails)
        assert len(sender.accepted) == BEFORE
        self.accepted += BEFORE
        self.octets += sum(map(len, mails))
        wait_for("all opened", lambda: exists(self.pair) == BEFORE, 400, 1)
        for _ in range(2):
            assert sum(1 for _ in bodies(self.pair)) == BEFORE
        with imap(self.pair) as client:
            client.select("INBOX")
            client.search(None, "TEXT", '"octet"')
            client.store("1:*", "+FLAGS", r"(\Deleted)")
            client.expunge()

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


def rise(series: Sequence[float]) -> float:
    """From its first quarter to its last: a peak now and then does not count, and a step counts as what it is."""
    quarter = len(series) // 4
    return statistics.median(series[-quarter:]) - statistics.median(series[:quarter])


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
            watched(node)
            node.start()
            wait_for("it tells of its memory", usage(node).exists)
        traffic = Traffic(pair)
        if full:
            traffic.fill()
        readings: list[list[Reading]] = []
        with passing(nodes, seconds), traffic.running():
            for _ in range(LOOKS):
                time.sleep(seconds / LOOKS)
                readings.append([read(node) for node in nodes])
        assert set(traffic.faults) == set()
        wait_for("all sent", lambda: len(sink.received) >= traffic.submitted, 60, 0.5)
        assert len(sink.received) == traffic.submitted
        for number, node in enumerate(nodes):
            series = [reading[number] for reading in readings][5::6]
            print(node.folder.name, *series)
        print(f"{traffic.accepted} mails of {traffic.octets >> 20} MiB came, {traffic.submitted} went")
        for number, node in enumerate(nodes):
            late = [reading[number] for reading in readings[int(LOOKS * WARM) :]]
            rises = Reading(*(rise(series) for series in zip(*late, strict=True)))
            print(f"{node.folder.name} rises by", *(f"{name} {by:,.0f}" for name, by in rises._asdict().items()))
            indexes = len(list((node.folder / "state").glob("mailbox/*/*.db")))
            assert max(reading.pages for reading in late) < PAGES[0] + PAGES[1] * indexes
            assert rises.resident - rises.pages < HELD, "memory grows"
            assert rises.used < (USED if full else HELD), "memory grows inside of what was freed"
            assert rises.descriptors < (6 if full else 12), "descriptors pile up"
            assert rises.threads < 4, "threads pile up"
        docs = DOCS.read_text()
        assert [w for node in nodes for w in sorted(warnings(node)) if not named(w, docs)] == []
        for node in nodes:
            assert node.stop() == 0
            sound(node)
            explained(node, traffic)


class Files(NamedTuple):
    """What a node that has stopped keeps."""

    entries: int
    """How many; all else in bytes."""
    headers: int
    payloads: int
    database: int
    """The file that they are in."""
    blobs: int
    indexes: int
    rest: int


def files(node: Node) -> Files:
    state = node.folder / "state"
    with closing(sqlite3.connect(state / "journal" / "journal.db")) as journal:
        [(entries, headers, payloads)] = journal.execute(
            "SELECT count(*), sum(length(header)), sum(length(payload)) FROM entry"
        )
        [(named,)] = journal.execute("SELECT sum(size) FROM (SELECT DISTINCT hash, size FROM blob)")
    sizes = {file.relative_to(state): file.stat().st_size for file in state.rglob("*") if file.is_file()}
    database = sizes[Path("journal/journal.db")]
    blobs = sum(size for file, size in sizes.items() if "blobs" in file.parts)
    indexes = sum(size for file, size in sizes.items() if file.parts[0] == "mailbox")
    assert blobs <= named, "no file without an entry that names it"
    return Files(entries, headers, payloads, database, blobs, indexes, sum(sizes.values()) - database - blobs - indexes)


def explained(node: Node, traffic: Traffic) -> None:
    """Its files are what came in, as docs/explanation/resources.md says, and nothing else."""
    found, mails, octets = files(node), traffic.accepted + traffic.submitted, traffic.octets
    log = node.log.stat().st_size
    pages = found.database - found.headers - found.payloads
    print(
        f"{node.folder.name} keeps, of {octets / mails:,.0f} bytes a mail: {found.payloads / mails:,.0f} in payloads, "
        f"{found.blobs / mails:,.0f} in blobs, {found.headers / mails:,.0f} in headers, {pages / mails:,.0f} in pages around them, "
        f"{found.indexes / mails:,.0f} in indexes; {found.entries / mails:.2f} entries; and {found.rest:,} bytes in all else; {log:,} in its log"
    )
    assert found.payloads + found.blobs < octets * 1.12 + 800 * found.entries, "padding, who, to whom and when"
    assert found.headers < 150 * found.entries
    assert pages < 2_500 * found.entries + (1 << 20)
    assert found.indexes < octets * 1.5 + 2_000 * found.entries + (1 << 20)
    assert found.rest < 1 << 20
    assert log < 10_000 + 200 * traffic.submitted
