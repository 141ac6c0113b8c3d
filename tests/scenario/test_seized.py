"""After delivery the gateway's disk and the log hold nothing that its keys of tomorrow could open of what was sent today:
seize it the day after and try."""

from __future__ import annotations

import smtplib
from pathlib import Path
from typing import Any

import anyio
import pytest
from mesyx_smtp.testing import Sink

from mesyx_core.outbox.days import SLOT, SLOTS
from mesyx_core.record.outgoing import Receipt, Request
from tests.scenario.cluster import Pair, cluster, free_port, wait_for
from tests.scenario.leaks import Words
from tests.scenario.leaks import words as words_of
from tests.unit.node.loot import Loot

pytestmark = pytest.mark.scenario

SMALL = "\r\n".join(f"the old pier number {n} at midnight, bring-the-documents-{n}-with-you" for n in range(20))
LARGE = "\r\n".join(f"statement-of-account-{n * 7919} {n}" for n in range(4000))
TEXTS = (SMALL, LARGE)
TO = ("confidant.number.one@example.net", "confidant.number.two@example.net")


def submit(pair: Pair, port: int, text: str) -> None:
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        smtp.login(pair.user, pair.password)
        smtp.sendmail(pair.address, TO, f"From: {pair.address}\r\nSubject: the plan\r\n\r\n{text}\r\n")


def opened(loot: Loot, store: bytes) -> list[Any]:
    return anyio.run(loot.opened, store)


def test_a_gateway_that_is_seized_the_day_after_gives_away_nothing_of_what_it_sent(tmp_path: Path) -> None:
    port = free_port()
    with (
        Sink(replies={f"RCPT TO:<{TO[1]}>": ["451 4.7.1 come again", "250 ok"]}) as sink,
        cluster(
            tmp_path,
            gateway_extra=f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{sink.port}"\nretry = ["1s"]\n',
            client_extra=f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n',
        ) as pair,
    ):
        for node in (pair.gateway, pair.client):
            node.stop()
            node.turn("+0s")
            node.start()
        for text in TEXTS:
            submit(pair, port, text)
        wait_for("all of it", lambda: not pair.client.json("queue", "list"), timeout=60)
        assert sum(len(one.recipients) for one in sink.received) == 4
        assert {line in one.content.decode() for one in sink.received for line in (SMALL[-40:], LARGE[-40:])} == {
            True,
            False,
        }

        days = pair.gateway.folder / "state" / "days"
        [store] = [bytes.fromhex(file.stem) for file in (pair.client.folder / "state" / "keys").glob("*.age")]
        keys = days.read_bytes()
        slots = [keys[at : at + SLOT].rstrip(b"\0") for at in range(0, SLOT * SLOTS, SLOT)]
        the_same_day = opened(Loot(pair.gateway.folder, tmp_path / "the same day"), store)
        assert sum(isinstance(one, Request) for one in the_same_day) == 2, "or this test would see nothing"
        assert sum(isinstance(one, Receipt) for one in the_same_day) >= 3

        for node in (pair.gateway, pair.client):
            node.turn("+26h")
        wait_for("the end of the day", lambda: days.read_bytes()[:SLOT] == bytes(SLOT), timeout=60)
        loot = Loot(pair.gateway.folder, tmp_path / "the day after")
        assert opened(loot, store) == []
        texts = Words(["\n".join((SMALL, LARGE, *TO)).encode()])
        for path, data in loot.files().items():
            assert slots[0][-80:] not in data, f"the day's key stands in {path}"
            assert not [word for word in words_of(data) if any(texts.among(word))], f"words of a mail stand in {path}"
