"""The gateway is killed while it sends: nothing that a program was told is queued is lost, nothing confirmed is sent
twice."""

from __future__ import annotations

import json
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mesyx_smtp.testing import Sink
from mesyx_smtp.testing.sink import SILENCE, Connection

from mesyx_core.record.outgoing import Intent, Request
from tests.faults.marks import FULL, fault
from tests.scenario.cluster import Pair, cluster, free_port, wait_for
from tests.unit.node.loot import Loot

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

KILLS = 20 if FULL else 4


def submit(pair: Pair, port: int, number: int) -> str:
    """A message for bob; its Message-ID."""
    name = f"<{number}@laptop.example.org>"
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        smtp.login(pair.user, pair.password)
        text = (
            f"From: {pair.address}\r\nTo: bob@example.net\r\nMessage-ID: {name}\r\nSubject: {number}\r\n\r\nhello\r\n"
        )
        smtp.sendmail(pair.address, ["bob@example.net"], text)
    return name


def arrived(sink: Sink) -> Counter[str]:
    """Message-IDs, as often as the sink took them."""
    lines = [line for one in sink.received for line in one.content.decode().splitlines()]
    return Counter(line.partition(": ")[2] for line in lines if line.lower().startswith("message-id: "))


def queue(pair: Pair) -> list[dict[str, Any]]:
    """What the client says is still on its way."""
    found: list[dict[str, Any]] = json.loads(pair.client.cli("queue", "list", "--json").stdout)
    return found


@contextmanager
def sending(folder: Path, sink: Sink) -> Iterator[tuple[Pair, int]]:
    """A pair that sends to the sink, and the port that takes submissions."""
    port = free_port()
    with cluster(
        folder,
        gateway_extra=f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{sink.port}"\n',
        client_extra=f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n',
    ) as pair:
        yield pair, port


@fault("sending-killed")
def test_mail_whose_attempt_was_cut_off_by_a_kill_is_sent_again_under_its_own_name(tmp_path: Path) -> None:
    with Sink(replies={".": [SILENCE, "250 2.0.0 taken"]}) as sink, sending(tmp_path, sink) as (pair, port):
        name = submit(pair, port, 1)
        wait_for("an attempt", lambda: "." in sink.commands or sink.received)
        pair.gateway.kill()
        [row] = queue(pair)
        assert "bob@example.net" in json.dumps(row)
        pair.gateway.start()
        wait_for("the second attempt", lambda: sink.connections >= 2 and not queue(pair))
        assert set(arrived(sink)) == {name}


def slowly(taken: threading.Event) -> Callable[[Connection], None]:
    """A server that takes two seconds to say that it has taken a message."""

    def serve(connection: Connection) -> None:
        connection.say("220 slow.example.net ESMTP")
        while True:
            word = connection.hear()[:4].upper()
            if word == "DATA":
                connection.say("354 go on")
                connection.content()
                taken.set()
                time.sleep(2)
            connection.say("221 bye" if word == "QUIT" else "250 ok")

    return serve


@fault("sending-stopped")
def test_a_stop_waits_for_an_attempt_that_runs(tmp_path: Path) -> None:
    taken = threading.Event()
    with Sink(script=slowly(taken)) as sink, sending(tmp_path, sink) as (pair, port):
        submit(pair, port, 1)
        assert taken.wait(30)
        assert pair.gateway.stop() == 0
        pair.gateway.start()
        wait_for("the receipt", lambda: not queue(pair))
        assert sink.connections == 1


def unanswered(loot: Loot, store: bytes) -> dict[str, int]:
    """By Message-ID, the attempts of which the gateway has written down that they begin, and not how they ended."""
    names: dict[bytes, str] = {}
    begun: set[bytes] = set()
    without: Counter[bytes] = Counter()
    for one in anyio.run(loot.opened, store):
        if isinstance(one, Request):
            assert one.message is not None
            names[one.id] = f"<{one.message.network_id}>"
        elif isinstance(one, Intent):
            without[one.id] += one.id in begun
            begun.add(one.id)
        else:
            begun.discard(one.id)
    without.update(begun)
    return {name: without[id] for id, name in names.items()}


@fault("sending-kills")
@pytest.mark.timeout(900)
def test_kills_lose_no_mail_and_only_what_was_under_way_is_sent_again(tmp_path: Path) -> None:
    with Sink() as sink, sending(tmp_path, sink) as (pair, port):
        sent: list[str] = []
        for kill in range(KILLS):
            sent += [submit(pair, port, 10 * kill + n) for n in range(8)]
            first = set(sent[-8:-6])
            wait_for("the first of them", lambda first=first: arrived(sink).keys() >= first, timeout=60)
            pair.gateway.kill()
            pair.gateway.start()
        wait_for("all of them", lambda: not queue(pair), timeout=120)
        confirmed = arrived(sink)
        assert confirmed.keys() == set(sent)
        pair.gateway.kill()
        pair.gateway.start()
        sent.append(submit(pair, port, 10 * KILLS))
        wait_for("the last one", lambda: not queue(pair), timeout=60)
        assert arrived(sink) == confirmed + Counter(sent[-1:]), "what is confirmed is not sent again"
        pair.gateway.stop()
        [store] = [bytes.fromhex(file.stem) for file in (pair.client.folder / "state" / "keys").glob("*.age")]
        allowed = unanswered(Loot(pair.gateway.folder, tmp_path / "loot"), store)
        repeats = {name: count - 1 for name, count in arrived(sink).items() if count > 1}
        print(f"{KILLS} kills, {len(sent)} mails: {sum(allowed.values())} attempts cut off, repeats {repeats}")
        assert allowed.keys() == set(sent)
        assert {name: count for name, count in repeats.items() if count > allowed[name]} == {}, "repeated unasked"


@fault("days-lost", "days-torn")
@pytest.mark.parametrize("left", [b"", b"torn" * 4096], ids=["lost", "torn"])
def test_what_was_sealed_to_keys_that_are_gone_is_sealed_again_and_sent_once(tmp_path: Path, left: bytes) -> None:
    with Sink() as sink, sending(tmp_path, sink) as (pair, port):
        submit(pair, port, 1)
        wait_for("the first", lambda: arrived(sink) and not queue(pair))
        pair.gateway.stop()
        submit(pair, port, 2)
        days = pair.gateway.folder / "state" / "days"
        days.unlink()
        if left:
            days.write_bytes(left)
        pair.gateway.start()
        wait_for("the second", lambda: not queue(pair), timeout=120)
        assert sorted(arrived(sink).values()) == [1, 1]


@fault("sending-2099", "sending-2020")
@pytest.mark.parametrize("clock", ["@2099-01-01 00:00:00", "@2020-01-01 00:00:00"], ids=["2099", "2020"])
def test_a_gateway_whose_clock_is_wrong_sends_as_soon_as_it_is_right(tmp_path: Path, clock: str) -> None:
    with Sink() as sink, sending(tmp_path, sink) as (pair, port):
        pair.gateway.stop()
        pair.gateway.turn("+0s")
        pair.gateway.start()
        submit(pair, port, 1)
        wait_for("the first", lambda: arrived(sink) and not queue(pair))
        pair.gateway.turn(clock)
        days = pair.gateway.folder / "state" / "days"
        before = days.read_bytes()
        wait_for("the gateway to notice", lambda: days.read_bytes() != before)
        submit(pair, port, 2)
        pair.gateway.turn("+0s")
        wait_for("the second", lambda: not queue(pair), timeout=120)
        assert sorted(arrived(sink).values()) == [1, 1]
