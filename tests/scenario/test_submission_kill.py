"""`kill -9` at random moments, of the client that takes mail to be sent and of the gateway that sends it: what was
answered 250 stands once in Sent and reaches the other side, also when a program hands it over again.
"""

from __future__ import annotations

import random
import re
import smtplib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mesyx_smtp.testing import Sink

from tests.scenario.cluster import Pair, wait_for
from tests.scenario.test_kill import kill_at_random
from tests.scenario.test_reply import held, sending, submit

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900)]

SHORT, FULL = (3, 2), (20, 20)
"""How often the client is killed, and the gateway."""
_ID = re.compile(rb"Message-ID: <(\d+)@example\.org>")


class Program:
    """A mail program that hands over mail after mail, each again until it is answered 250."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.handed = 0
        """So many were answered 250: those numbered below it."""
        self.again = 0
        self._pair = pair
        self._random = random.Random(seed)
        self._stopped = threading.Event()

    def run(self) -> None:
        smtp: smtplib.SMTP | None = None
        mail = self._mail()
        while not self._stopped.is_set():
            try:
                smtp = smtp or submit(self._pair, self._pair.user, self._pair.password)
                smtp.sendmail(self._pair.address, ["bob@example.com"], mail)
            except (OSError, smtplib.SMTPException):
                smtp = None
                self.again += 1
                time.sleep(0.1)
                continue
            self.handed += 1
            mail = self._mail()
            time.sleep(0.02)  # leaves the nodes their share of two cores

    def _mail(self) -> bytes:
        size = self._random.choice((10, 100, 1000))
        head = (
            f"From: {self._pair.address}\r\nMessage-ID: <{self.handed}@example.org>\r\nSubject: load\r\n\r\n".encode()
        )
        return head + b"%064x\r\n" % self._random.getrandbits(256) * size

    def stop(self) -> None:
        self._stopped.set()


def ids(mails: list[bytes]) -> Counter[int]:
    """The numbers of mails."""
    return Counter(int(match[1]) for mail in mails if (match := _ID.search(mail)))


def test_what_was_answered_250_is_sent_and_stands_once_in_sent(tmp_path: Path, full: bool) -> None:
    seed = random.randrange(1 << 32)
    print(f"\nseed {seed}")
    client_kills, gateway_kills = FULL if full else SHORT
    with Sink() as sink, sending(tmp_path, f"127.0.0.1:{sink.port}") as pair, ThreadPoolExecutor(2) as others:
        program = Program(pair, seed)
        handing = others.submit(program.run)
        try:
            killing = others.submit(kill_at_random, pair.gateway, gateway_kills, random.Random(seed + 1))
            kill_at_random(pair.client, client_kills, random.Random(seed + 2))
            killing.result(600)
            time.sleep(1)
        finally:
            program.stop()
            handing.result(60)
        wanted = set(range(program.handed))
        wait_for("all mail to be sent", lambda: wanted <= set(ids([each.content for each in sink.received])), 180, 0.5)
        sent, arrived = ids(held(pair, "Sent")), ids([each.content for each in sink.received])
        twice = [number for number, count in arrived.items() if count > 1]
        print(f"{program.handed} answered 250, {program.again} tried again; {len(twice)} arrived more than once")
        assert wanted <= set(sent) <= wanted | {program.handed}
        assert set(sent.values()) == {1}, "stands twice in Sent"
        assert len(twice) <= gateway_kills * 8, "more than what was under way when the gateway was killed"
        wait_for("an empty queue", lambda: "nothing waits" in pair.client.cli("queue", "list").stdout, 60, 1)
