"""A client that was off while mail came catches up by itself when it is started."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from tests.scenario import corpus
from tests.scenario.cluster import Pair
from tests.scenario.listing import bodies, shown
from tests.scenario.senders import Senders

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900)]

SHORT, FULL = 500, 25_000


def test_a_client_that_was_off_for_the_whole_delivery_has_everything_once(pair: Pair, full: bool) -> None:
    mails = numbered(corpus.some(3000 if full else SHORT), FULL if full else SHORT)
    assert pair.client.stop() == 0
    senders = Senders(pair.smtp, pair.address, 16)
    seconds = senders.send(mails)
    assert len(senders.accepted) == len(mails), senders.refused[:3]
    print(f"\n{len(mails)} mails accepted in {seconds:.1f} s; the gateway has {pair.gateway.rss() >> 20} MiB resident")
    total = held(pair.gateway.ask("status"))[0]
    pair.client.start()
    catch_up(pair, total, len(mails))
    corpus.compare(mails, bodies(pair), hops=1)
    before = shown(pair)
    pair.client.stop()
    pair.client.start()
    assert shown(pair) == before


def numbered(mails: Sequence[bytes], count: int) -> list[bytes]:
    """As many as `count`, no two alike: a client shows the same mail that came twice as one."""
    return [b"X-Round: %d\r\n%b" % (n // len(mails), mails[n % len(mails)]) for n in range(count)]


def catch_up(pair: Pair, entries: int, mails: int) -> None:
    """Wait until everything is there and opened, and print how fast it went."""
    begun, came, done = time.monotonic(), 0.0, 0.0
    first = held(pair.client.ask("status"))
    while not done:
        now = time.monotonic() - begun
        assert now < 300, "the client does not catch up"
        has, opened = held(pair.client.ask("status"))
        came = came or (now if has >= entries else 0.0)
        done = now if opened >= mails else 0.0
        time.sleep(0.02)
    print(
        f"caught up: {entries - first[0]} entries in {came:.2f} s ({(entries - first[0]) / came:.0f}/s), "
        f"{mails - first[1]} mails opened and indexed in {done:.2f} s ({(mails - first[1]) / done:.0f}/s), "
        f"the client has {pair.client.rss() >> 20} MiB resident"
    )


def held(status: dict[str, list[dict[str, object]]]) -> tuple[int, int]:
    """Entries that a node holds, and mails that it has opened."""
    (store,) = status["stores"]
    mailbox = store.get("mailbox", {})
    assert isinstance(mailbox, dict)
    return int(str(store["entries"])), int(mailbox.get("opened", 0))
