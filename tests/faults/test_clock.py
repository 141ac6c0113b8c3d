"""The wall clock of one node is wrong, jumps, or changes its zone, while the other's is right."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults.marks import FULL, fault, few
from tests.faults.trial import SMALL, arrived, complete, mail, offer, quiet
from tests.scenario.cluster import Node, Pair, joined, wait_for

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield joined(tmp_path_factory.mktemp("clock"), stack)


class Taken:
    """Mails that the gateway took, on the module's nodes."""

    count = 0


@pytest.fixture
def pair(nodes: Pair) -> Iterator[Pair]:
    yield nodes
    for node in (nodes.gateway, nodes.client):
        node.kill()
        node.environment.clear()
        node.start()
        quiet(node.log.read_text())
    complete(nodes, Taken.count)


def send(pair: Pair, many: int = 1) -> None:
    for _ in range(many):
        assert offer(pair, mail(Taken.count, SMALL)) == 250
        Taken.count += 1


@contextmanager
def turned(node: Node, clock: str) -> Iterator[None]:
    """The node runs with this clock."""
    node.stop()
    node.turn(clock)
    node.start()
    yield


@fault("clock-2020", "clock-2099")
@pytest.mark.parametrize("of", few("client", "gateway"))
@pytest.mark.parametrize("clock", ["@2020-01-01 00:00:00", "@2099-01-01 00:00:00"])
def test_a_clock_that_is_decades_wrong_keeps_no_mail_back(pair: Pair, of: str, clock: str) -> None:
    with turned(getattr(pair, of), clock):
        send(pair, 2)
        arrived(pair, Taken.count)
        complete(pair, Taken.count)


@fault("clock-jumps-forward", "clock-jumps-back")
@pytest.mark.parametrize("first", ["+1d", "-1d"])
def test_a_clock_that_jumps_a_day_under_load_harms_nothing(pair: Pair, first: str) -> None:
    nodes = (pair.gateway, pair.client)
    for node in nodes:
        node.stop()
        node.turn("+0")
        node.start()
    halt = threading.Event()

    def load() -> None:
        while not halt.is_set():
            send(pair)

    sending = threading.Thread(target=load)
    sending.start()
    try:
        for clock in (first, "+0") * (5 if FULL else 1):
            for node in nodes:
                time.sleep(1)
                node.turn(clock)
    finally:
        time.sleep(1)
        halt.set()
        sending.join()
    complete(pair, Taken.count)
    for node in nodes:
        assert not any(each["restarts"] for each in node.ask("status")["instances"])


@fault("clock-unset-at-start")
def test_a_node_that_starts_before_its_clock_is_set_is_right_once_it_is(pair: Pair) -> None:
    """As a small board without a clock: 1970, until the network has told the time."""
    with turned(pair.gateway, "@1970-01-02 00:00:00"):
        send(pair)
        pair.gateway.turn("+0")
        send(pair)
        complete(pair, Taken.count)


@fault("clock-zone")
def test_neither_the_zone_nor_its_summer_time_changes_what_is_shown(pair: Pair) -> None:
    send(pair)
    complete(pair, Taken.count)
    for zone in ("America/St_Johns", "Pacific/Apia"):
        for node in (pair.gateway, pair.client):
            node.stop()
            node.environment["TZ"] = zone
            node.turn("@2026-03-29 01:59:58" if node is pair.client else "+0")
            node.start()
        send(pair)
        complete(pair, Taken.count)
    wait_for(
        "a session", lambda: [p["state"] for p in pair.client.ask("status")["stores"][0]["peers"]] == ["connected"]
    )
