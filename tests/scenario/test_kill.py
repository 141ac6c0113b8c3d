"""`kill -9` at random moments, of the gateway under load and of the client while it takes in: what was answered 250 is
at the client exactly once, and every file is sound.
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.scenario.cluster import Node, Pair, wait_for
from tests.scenario.listing import Mailbox, bodies, shown, sound
from tests.scenario.senders import Senders

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(1200)]

SHORT, FULL = (5, 3), (50, 20)
"""How often the gateway is killed, and the client."""
_ID = re.compile(rb"Message-ID: <(\d+)@load\.example\.com>")


class Load:
    """Mail without end, each different; small ones, and some whose body is a file of its own."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.senders = Senders(pair.smtp, pair.address, 8)
        self._random = random.Random(seed)

    def mails(self) -> Iterator[bytes]:
        for number in itertools.count(1):
            size = self._random.choice((10, 100, 500, 2000))
            line = b"%064x\r\n" % self._random.getrandbits(256)
            yield b"Subject: load\r\nMessage-ID: <%d@load.example.com>\r\n\r\n" % number + line * (size // 2)
            time.sleep(0.002)  # leaves the nodes their share of two cores


@contextmanager
def load(pair: Pair, seed: int) -> Iterator[Senders]:
    made = Load(pair, seed)
    with ThreadPoolExecutor(1) as background:
        sending: Future[float] = background.submit(made.senders.send, made.mails())
        try:
            yield made.senders
        finally:
            made.senders.stop()
            sending.result(60)


def kill_at_random(node: Node, times: int, moments: random.Random) -> None:
    """From its start on it has up to a second and a half."""
    for _ in range(times):
        time.sleep(moments.uniform(0, 1.5))
        node.kill()
        node.start()


def test_what_was_answered_250_is_there_exactly_once_and_all_files_are_sound(pair: Pair, full: bool) -> None:
    seed = random.randrange(1 << 32)
    print(f"\nseed {seed}")
    gateway_kills, client_kills = FULL if full else SHORT
    seen: dict[str, Mailbox] = {}
    with load(pair, seed) as senders:
        with ThreadPoolExecutor(1) as other:
            killing = other.submit(kill_at_random, pair.client, client_kills, random.Random(seed + 1))
            kill_at_random(pair.gateway, gateway_kills, random.Random(seed + 2))
            killing.result(600)
        seen = shown(pair)
        senders.stop()
    accepted, unsure = ids(senders.accepted), ids(senders.unsure)
    print(f"{len(senders.accepted)} answered 250, {len(senders.unsure)} cut off; replies else: {senders.refused[:3]}")
    assert min(accepted.values()) == 1
    wait_for("the client to catch up", lambda: settled(pair), 120, 0.5)
    came = ids(bodies(pair))
    assert sorted((accepted - came).elements()) == [], "answered 250 and lost"
    assert [id for id, count in came.items() if count > 1] == [], "came twice"
    assert sorted((came - accepted - unsure).elements()) == [], "came from nowhere"
    assert kept(seen["INBOX"], shown(pair)["INBOX"])
    after_it(pair)


def ids(mails: Iterator[bytes] | list[bytes]) -> Counter[bytes]:
    """The Message-IDs of mails."""
    return Counter(match[1] for mail in mails if (match := _ID.search(mail)))


def settled(pair: Pair) -> bool:
    """The client has all that the gateway has, and has opened it."""
    (here,), (there,) = pair.client.ask("status")["stores"], pair.gateway.ask("status")["stores"]
    mailbox = here["mailbox"]
    waiting = mailbox["behind"] + mailbox["waiting"] + here["missing_blobs"]
    return bool(here["entries"] >= there["entries"] and waiting == 0)


def kept(before: Mailbox, now: Mailbox) -> bool:
    """A program that looks again finds what it saw before, under the same numbers."""
    same = all(now.messages.get(uid) == shown for uid, shown in before.messages.items())
    return same and before.uidvalidity == now.uidvalidity


def after_it(pair: Pair) -> None:
    """Nothing is wrong, nothing is left over, and the same is shown after another start."""
    for node in (pair.gateway, pair.client):
        assert [each for each in node.ask("doctor") if each["level"] == "error"] == []
    assert pair.client.ask("status")["stores"][0]["mailbox"]["violations"] == 0
    before = shown(pair)
    for node in (pair.gateway, pair.client):
        assert node.stop() == 0
        sound(node)
        node.start()
    assert shown(pair) == before
