"""Real mail goes by way of a real Postfix into a gateway that cannot read it, and comes out at the client for real
programs. Nothing of it can be found at the gateway: not before, not while it flows, not after.
"""

from __future__ import annotations

import imaplib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from mesyx_smtp.testing import postfix, relaying

from mesyx_core.testing.mbsync import Mbsync
from tests.scenario import corpus
from tests.scenario.cluster import Pair, gateway, wait_for
from tests.scenario.leaks import Scan, Words, private_keys, words
from tests.scenario.readers import mutt
from tests.scenario.senders import SENDER, Senders

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900)]

SHORT = 300
HOPS = 2
"""Postfix and the gateway."""


class Delivered(NamedTuple):
    """What the tests look at: the corpus has been delivered."""

    pair: Pair
    mails: tuple[bytes, ...]
    scan: Scan
    looks: int
    """How often the gateway's files were looked through while mail flowed."""


@pytest.fixture(scope="module")
def delivered(pair: Pair, full: bool, tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    mails = corpus.some(3000 if full else SHORT)
    idle = gateway(tmp_path_factory.mktemp("idle") / "mx0")
    idle.start()
    idle.stop()
    envelopes = "\n".join(SENDER % number for number in range(len(mails)))
    texts = Words([*mails, envelopes.encode()], excepted=[pair.address])
    scan = Scan(pair.gateway, idle, texts, private_keys(pair))
    scan.look()
    with (
        postfix({"127.0.0.1": {}}, parameters=relaying("127.0.0.1", pair.smtp)) as relay,
        ThreadPoolExecutor(1) as background,
    ):
        done = threading.Event()
        looking = background.submit(scan.keep_looking, done, 1.0)
        try:
            senders, begun = Senders(relay.port, pair.address, 8), time.monotonic()
            given = senders.send(mails)
            assert len(senders.accepted) == len(mails), senders.refused[:3]
            wait_for("Postfix to relay everything", lambda: relay.queued() == 0, 300)
            relayed = time.monotonic() - begun
            wait_for("all mails at the client", lambda: opened(pair) >= len(mails), 300)
            print(
                f"\n{len(mails)} mails: to Postfix in {given:.1f} s, relayed after {relayed:.1f} s, "
                f"opened at the client after {time.monotonic() - begun:.1f} s; "
                f"gateway {pair.gateway.rss() >> 20} MiB, client {pair.client.rss() >> 20} MiB resident"
            )
        finally:
            done.set()
        looks = looking.result()
    return Delivered(pair, mails, scan, looks)


def opened(pair: Pair) -> int:
    """Messages that the client has opened."""
    return int(pair.client.ask("status")["stores"][0]["mailbox"]["opened"])


def test_all_mails_come_out_by_mbsync_byte_for_byte_none_twice(delivered: Delivered, tmp_path: Path) -> None:
    pair = delivered.pair
    mbsync, begun = Mbsync.make(tmp_path, pair.imap, pair.user, pair.password), time.monotonic()
    mbsync.sync(300)
    files = mbsync.files()
    print(f"\nmbsync of {len(files)} mails: {time.monotonic() - begun:.1f} s")
    corpus.compare(delivered.mails, mbsync.mails(), HOPS)
    mbsync.sync()
    assert mbsync.files() == files


def test_all_mails_come_out_by_imap_byte_for_byte(delivered: Delivered) -> None:
    pair = delivered.pair
    with imaplib.IMAP4("127.0.0.1", pair.imap) as client:
        client.login(pair.user, pair.password)
        client.select("INBOX", readonly=True)
        answers = client.fetch("1:*", "(BODY.PEEK[])")[1]
    corpus.compare(delivered.mails, (answer[1] for answer in answers if isinstance(answer, tuple)), HOPS)


def test_no_word_of_the_mails_and_no_private_key_is_in_any_file_of_the_gateway(delivered: Delivered) -> None:
    scan = delivered.scan
    scan.look()
    assert delivered.pair.gateway.stop() == 0
    scan.look()
    print(f"\nlooked {delivered.looks} times while mail flowed; {scan.scanned >> 20} MiB in all")
    assert delivered.looks > 0
    assert sorted(scan.found)[:20] == []


def test_the_scan_finds_what_it_is_to_find(delivered: Delivered) -> None:
    scan, folder = delivered.scan, delivered.pair.gateway.folder / "state"
    key = private_keys(delivered.pair)["owner-key"]
    word = max(words(delivered.mails[0]), key=len)
    leak = folder / "leak"
    leak.write_bytes(b"\xff" + word[:14] + b"\0" + key)
    try:
        scan.look()
    finally:
        leak.unlink()
    assert scan.found == {f"{word[:14]!r} in {leak}", f"owner-key in {leak}"}


def test_mutt_reads_them_without_a_complaint(delivered: Delivered, tmp_path: Path) -> None:
    pair = delivered.pair
    with mutt(tmp_path, pair.imap, pair.user, pair.password) as reader:
        screen = reader.shows(f"INBOX {len(delivered.mails)} messages")
        assert complaints(screen) == []
        for number in (1, len(delivered.mails) // 2, len(delivered.mails)):
            reader.press(str(number), "Enter")
            time.sleep(0.3)
            reader.press("Enter")
            screen = reader.shows("Subject:")
            assert complaints(screen) == []
            assert "From:" in screen
            reader.press("i")
            reader.shows("INBOX")
        reader.quit()


def complaints(screen: str) -> list[str]:
    """Lines in which mutt says that something is wrong."""
    signs = ("error", "fatal", "failed", "could not", "unable", "bad ", "closed")
    return [line for line in screen.splitlines()[-2:] if any(sign in line.lower() for sign in signs)]
