"""`mesyx reload` and SIGHUP restart what changed and nothing else; a config that is refused changes nothing."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mesyx_core.cli import exits
from tests.scenario.cluster import Node, Pair, peers, wait_for

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

RULES = "\n[filter.rules]\n[[filter.rules.rule]]\nsender = '*@spam.example'\naction = 'reject'\n"


def instances(node: Node) -> dict[str, Any]:
    return {each["instance"]: each for each in node.ask("status")["instances"]}


class Caller:
    """Somebody who is connected by SMTP all the while."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._stream.settimeout(10)
        assert self._stream.recv(1000).startswith(b"220 ")

    def is_served(self) -> bool:
        self._stream.sendall(b"NOOP\r\n")
        return self._stream.recv(1000).startswith(b"250 ")

    def is_dismissed(self) -> bool:
        return self._stream.recv(1000)[:4] in (b"421 ", b"")


@pytest.fixture
def caller(pair: Pair) -> Iterator[Caller]:
    with socket.create_connection(("127.0.0.1", pair.smtp), 10) as stream:
        yield Caller(stream)


@contextmanager
def configured(node: Node, change: Any) -> Iterator[None]:
    """Its config as `change` makes it of the text; as it was in the end."""
    text = node.config.read_text()
    node.config.write_text(change(text))
    try:
        yield
    finally:
        node.config.write_text(text)
        node.cli("reload")


def sessions(pair: Pair) -> Any:
    """What tells a session from one that was made anew: how much it has carried."""
    wait_for("the session", lambda: peers(pair.client)[0]["state"] == "connected")
    (peer,) = peers(pair.client)
    return peer["received"]


def test_what_is_new_starts_and_all_else_goes_on(pair: Pair, caller: Caller) -> None:
    before, carried = instances(pair.gateway), sessions(pair)
    with configured(pair.gateway, lambda text: text + RULES):
        assert "started" in pair.gateway.cli("reload").stdout
        after = instances(pair.gateway)
        assert after.keys() - before.keys() == {"filter.rules"}
        assert all(after[name]["seconds"] >= before[name]["seconds"] for name in before)
        assert caller.is_served()
        assert sessions(pair) >= carried
    assert instances(pair.gateway).keys() == before.keys()


def test_only_what_changed_starts_again(pair: Pair, caller: Caller) -> None:
    carried = sessions(pair)
    with configured(pair.gateway, lambda text: text.replace("\n[ingress.mx]\n", "\n[ingress.mx]\nrecipients = 200\n")):
        shown = pair.gateway.cli("reload").stdout
        assert re.search(r"restarted\W+ingress\.mx", shown), shown
        assert "transport" not in shown
        assert caller.is_dismissed()
        with socket.create_connection(("127.0.0.1", pair.smtp), 10) as stream:
            assert Caller(stream).is_served()
        assert sessions(pair) >= carried


def test_a_transport_starts_again_on_its_port_and_is_found_again(pair: Pair, caller: Caller) -> None:
    changed = '\n[transport.https]\npath = "/"\n'
    with configured(pair.gateway, lambda text: text.replace("\n[transport.https]\n", changed)):
        shown = pair.gateway.cli("reload").stdout
        assert re.search(r"restarted\W+transport\.https", shown), shown
        assert instances(pair.gateway)["transport.https"]["state"] == "up"
        wait_for("the client to come back", lambda: peers(pair.client)[0]["state"] == "connected")
        assert caller.is_served()


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ("\nnonsense = 1\n", "unknown key"),
        ("\n[filter.no-such-plugin]\n", "there is no plugin no-such-plugin"),
        ("\n[ingress.mx2\n", "mesyx.toml"),
    ],
)
@pytest.mark.parametrize("by", ["reload", "SIGHUP"])
def test_a_config_that_is_refused_changes_nothing(
    pair: Pair, caller: Caller, addition: str, said: str, by: str
) -> None:
    before, carried = instances(pair.gateway), sessions(pair)
    with configured(pair.gateway, lambda text: text + addition):
        if by == "reload":
            done = pair.gateway.cli("reload", check=False)
            assert done.returncode == exits.CONFIG
            assert said in done.stderr
        else:
            assert pair.gateway.process is not None
            logged = len(pair.gateway.log.read_text())
            pair.gateway.process.send_signal(signal.SIGHUP)
            refusal = "the new config is refused, the old one goes on"
            wait_for("the refusal in the log", lambda: refusal in pair.gateway.log.read_text()[logged:])
            assert said in pair.gateway.log.read_text()[logged:]
        assert instances(pair.gateway).keys() == before.keys()
        assert caller.is_served()
        assert sessions(pair) >= carried


def test_a_signal_does_the_same(pair: Pair, caller: Caller) -> None:
    with configured(pair.gateway, lambda text: text + RULES):
        assert pair.gateway.process is not None
        pair.gateway.process.send_signal(signal.SIGHUP)
        wait_for("the filter", lambda: "filter.rules" in instances(pair.gateway))
        assert caller.is_served()


def test_the_node_itself_is_not_reloaded(pair: Pair) -> None:
    with configured(pair.gateway, lambda text: text.replace('name = "mx1"', 'name = "mx2"')):
        done = pair.gateway.cli("reload", check=False)
        assert done.returncode == exits.CONFIG
        assert "restart the node for that" in done.stderr
