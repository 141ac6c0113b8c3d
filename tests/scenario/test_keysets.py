"""Keys over time, by the commands that a person types: a policy, important mail, months that go by, and a phone."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.cluster import PASSPHRASE, Node, Pair, client, cluster, free_port
from tests.scenario.cluster import wait_for as wait

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]
RULES = '\n[filter.rules]\nrule = [{ sender = "*@bank.example", set_importance = "high" }]\n'
POLICY = "weekly keep 12; high: monthly keep forever"


def wait_for(what: str, check: Callable[[], Any]) -> Any:
    """With patience: what is waited for takes several nodes, each with its own pauses."""
    return wait(what, check, timeout=90)


def send(pair: Pair, sender: str) -> None:
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        text = f"From: {sender}\r\nTo: {pair.address}\r\nSubject: hello\r\n\r\nHello.\r\n"
        smtp.sendmail(sender, [pair.address], text.encode())


def sent_on(pair: Pair) -> bool:
    """One more: the gateway hears of its new clock a second later than it is turned."""
    send(pair, "bob@example.com")
    time.sleep(1)
    return True


def keysets(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.ask("keyset.list", store="alice")
    return found


def used(node: Node) -> dict[str, int]:
    """How many epochs are sealed to each keyset, by its name."""
    return {row["name"]: row["epochs"] for row in keysets(node) if row["epochs"]}


def states(node: Node, names: set[str]) -> set[str]:
    return {row["state"] for row in keysets(node) if row["name"] in names}


def fresh(pair: Pair, known: set[str]) -> set[str]:
    """Keysets of the policy that mail is sealed to since; before the gateway has them, it takes the fallback."""
    return set(used(pair.client)) - known - {"fallback"}


def agreed(pair: Pair) -> bool:
    numbers = [node.ask("store.show", name=node.ask("store.list")[0]["id"])["manifest"] for node in both(pair)]
    return len(set(numbers)) == 1


def both(pair: Pair) -> tuple[Node, Node]:
    return pair.gateway, pair.client


def phone(folder: Path) -> Node:
    port = free_port()
    return client(folder, f'listen = "127.0.0.1:{port}"\naddress = "https://127.0.0.1:{port}"\n')


def policy(node: Node, text: str) -> None:
    """As `mesyx keyset policy` does; the store is open."""
    assert len(node.ask("keyset.policy", store="alice", text=text)["made"]) > 8


def test_keys_change_as_months_go_by(tmp_path: Path) -> None:
    with cluster(tmp_path, gateway_extra=RULES) as pair:
        for node in both(pair):
            node.turn("+0")
            node.stop()
            node.start()
        said = pair.client.cli("keyset", "policy", "alice", POLICY).stdout.splitlines()
        assert said[:3] == [POLICY, "8 periods ahead", "keysets for 8 coming periods"]
        wait_for("the policy's keysets at the gateway", lambda: agreed(pair))
        send(pair, "bob@example.com")
        send(pair, "clerk@bank.example")
        wait_for("an epoch for each", lambda: len(used(pair.client)) == 2)
        current = {row["name"] for row in keysets(pair.client) if row["state"] == "current"} - {"fallback"}
        assert set(used(pair.client)) == current
        assert {name.partition(":")[0] for name in current} == {"low+normal", "high"}
        for node in both(pair):
            node.turn("+63d")
        wait_for("the client's other day", lambda: states(pair.client, current) == {"ended"})
        wait_for("further keysets", lambda: pair.client.ask("keyset.policy", store="alice")["periods_left"] == 8)
        wait_for("further keysets at the gateway", lambda: agreed(pair))
        wait_for("an epoch under a new one", lambda: sent_on(pair) and fresh(pair, current))
        assert states(pair.client, fresh(pair, current)) == {"current"}
        assert states(pair.client, current) == {"ended"}


def test_a_phone_gets_new_keys_and_reads_on(tmp_path: Path) -> None:
    with cluster(tmp_path) as pair:
        other = phone(tmp_path / "phone")
        try:
            other.start()
            assert other.passphrase is not None
            words = ("--role", "client", "--role", "exchange", "--passphrase-file", other.passphrase)
            line = other.cli("node", "invite", *words).stdout.splitlines()[-1]
            pair.client.cli("store", "add-node", "alice", line, "--keys", "short")
            wait_for("an open store on the phone", lambda: other.ask("store.list")[0]["state"] == "open")
            policy(pair.client, "weekly")
            wait_for("the policy's keysets at the gateway", lambda: agreed(pair))
            send(pair, "bob@example.com")

            def keys() -> set[tuple[str, bool]]:
                rows = [row for row in keysets(other) if row["name"].startswith("20")]
                return {(key["sort"], key["here"]) for row in rows for key in row["keys"]}

            wait_for("the phone's new keys", lambda: keys() == {("short-term", True), ("long-term", False)})
            progress = wait_for("the new mail on the phone", lambda: _opened(other, 1))
            assert progress["locked"] == 0
        finally:
            other.kill()


def _opened(node: Node, count: int) -> dict[str, Any] | None:
    found: dict[str, Any] = node.ask("status")["stores"][0]["mailbox"]
    return found if found["opened"] >= count and not found["waiting"] else None


def test_a_node_that_does_not_run_has_its_keysets_changed_too(tmp_path: Path) -> None:
    with cluster(tmp_path) as pair:
        assert pair.client.passphrase is not None
        phrase = ("--passphrase-file", pair.client.passphrase)
        pair.client.stop()
        refused = pair.client.cli("keyset", "policy", "alice", "weekly", check=False)
        assert (refused.returncode, "give --passphrase-file FILE" in refused.stderr) == (1, True)
        wrong = pair.client.cli("keyset", "policy", "alice", "weekly keep", *phrase, check=False)
        assert "column 12: write keep and a number of periods" in wrong.stderr
        pair.client.cli("keyset", "policy", "alice", "weekly keep 4", "--ahead", "2", *phrase)
        names = [row["name"] for row in pair.client.json("keyset", "list", "alice")]
        assert len(names) == 5  # locked: by their ids
        key = tmp_path / "taxes.age"
        pair.client.cli("keyset", "add", "alice", "2099 strict", "--name", "taxes", *phrase)
        pair.client.cli("keyset", "export", "alice", "taxes", "--to", key, *phrase)
        assert "AGE ENCRYPTED FILE" in key.read_text()
        told = pair.client.cli("keyset", "import", "alice", key, *phrase).stdout
        assert told == "0 private keys imported\n1 were here before\n"
        pair.client.cli("keyset", "retire", "alice", "taxes", *phrase)
        pair.client.start()
        listed = pair.client.cli("keyset", "list", "alice").stdout
        [row] = [line for line in listed.splitlines() if line.startswith("taxes")]
        assert "closed" in row
        assert PASSPHRASE not in listed
