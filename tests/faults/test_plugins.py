"""A plugin goes wrong inside a running node: it is named and tried again, and no other part of the node feels it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.marks import fault
from tests.faults.trial import SMALL, arrived, complete, mail, offer, quiet
from tests.scenario.cluster import Pair, joined, wait_for

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

_SENT = 0


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A gateway that finds the plugin `faulty`."""
    folder = tmp_path_factory.mktemp("plugins")
    site = folder / "site"
    info = site / "mesyx_faulty-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mesyx-faulty\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[mesyx]\nfaulty = mesyx_faulty\n")
    shutil.copy(Path(__file__).with_name("faulty.py"), site / "mesyx_faulty.py")
    with ExitStack() as stack:
        pair = joined(folder, stack)
        pair.gateway.stop()
        pair.gateway.environment["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, sys.path)])
        pair.gateway.start()
        yield pair


@pytest.fixture
def pair(nodes: Pair) -> Iterator[Pair]:
    text = nodes.gateway.config.read_text()
    yield nodes
    nodes.gateway.config.write_text(text)
    nodes.gateway.cli("reload", check=False)
    taken(nodes)
    said = nodes.gateway.log.read_text()
    quiet(said)
    assert "flux capacitor" not in said, "what a plugin raises may quote a message"
    assert "alice@" not in said


def taken(pair: Pair) -> None:
    """Mail goes through, and nothing is there twice."""
    global _SENT  # one pair for the module
    wait_for("a reply", lambda: offer(pair, mail(_SENT, SMALL)) == 250)
    _SENT += 1
    complete(pair, _SENT)


def instance(pair: Pair, path: str) -> dict[str, object]:
    found: list[dict[str, object]] = pair.gateway.ask("status")["instances"]
    return next(each for each in found if each["instance"] == path)


@fault("plugin-raises-at-open", "plugin-raises-at-run")
@pytest.mark.parametrize("at", ["open", "run"])
def test_an_instance_that_raises_is_named_with_its_state_and_tried_again(pair: Pair, at: str) -> None:
    pair.gateway.configure(f'\n[ingress.faulty]\nat = "{at}"\n')
    pair.gateway.cli("reload", check=False, timeout=90)
    wait_for("two tries", lambda: int(str(instance(pair, "ingress.faulty")["restarts"])) >= 2)
    found = instance(pair, "ingress.faulty")
    assert found["state"] == "retry"
    assert found["why"] == "RuntimeError inside the plugin"
    said = pair.gateway.cli("doctor", check=False)
    assert said.returncode == 1
    assert "ingress.faulty is retry: RuntimeError inside the plugin" in said.stdout
    assert instance(pair, "ingress.mx")["restarts"] == 0
    taken(pair)


@fault("plugin-raises-at-close")
def test_an_instance_that_raises_at_its_end_neither_stops_a_reload_nor_the_node(pair: Pair) -> None:
    text = pair.gateway.config.read_text()
    pair.gateway.configure('\n[ingress.faulty]\nat = "close"\n')
    pair.gateway.cli("reload")
    assert instance(pair, "ingress.faulty")["state"] == "up"
    pair.gateway.config.write_text(text)
    pair.gateway.cli("reload")
    taken(pair)
    pair.gateway.configure('\n[ingress.faulty]\nat = "close"\n')
    pair.gateway.cli("reload")
    assert pair.gateway.stop() == 0
    pair.gateway.start()


@fault("plugin-exits")
def test_an_instance_that_calls_exit_does_not_end_the_node(pair: Pair) -> None:
    pair.gateway.configure('\n[ingress.faulty]\nat = "exit"\n')
    pair.gateway.cli("reload", check=False, timeout=90)
    wait_for("a second try", lambda: int(str(instance(pair, "ingress.faulty")["restarts"])) >= 1)
    taken(pair)


@fault("plugin-blocks")
def test_an_instance_that_blocks_the_loop_delays_and_loses_nothing(pair: Pair) -> None:
    pair.gateway.configure('\n[ingress.faulty]\nat = "block"\n')
    pair.gateway.cli("reload")
    time.sleep(1.2)
    taken(pair)
    arrived(pair, _SENT)


@fault("filter-raises")
def test_mail_that_a_filter_cannot_judge_is_put_off_and_not_let_by(pair: Pair) -> None:
    pair.gateway.configure('\n[filter.faulty]\nat = "judge"\n')
    pair.gateway.cli("reload")
    assert 400 <= offer(pair, mail(_SENT, SMALL)) < 500
