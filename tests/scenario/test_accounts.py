"""A person's account, by the commands that a person types: two real nodes, and what their disks and logs keep of it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.scenario.cluster import Node, Pair, cluster, wait_for

pytestmark = pytest.mark.scenario
SECRET = "hunter2-very-secret"
SINK = '\n[egress.box]\nuse = "memory"\n'


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path.parent / f"{tmp_path.name}.secret"
    file.write_text(SECRET + "\n")
    return file


def key(node: Node) -> str:
    return str(node.json("status")["key"])


def add(pair: Pair, secret: Path, name: str = "letters", use: str = "memory") -> subprocess.CompletedProcess[str]:
    words = ("account", "add", pair.user, use, name, "--on", key(pair.gateway), "--set", "box=alice")
    return pair.client.cli(*words, "--secret", f"password=@{secret}", check=False)


def state(pair: Pair, name: str = "letters") -> str:
    return next((str(row["state"]) for row in pair.client.json("account", "list") if row["name"] == name), "none")


def leaked(folder: Path, word: str) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and word.encode() in file.read_bytes()]


def test_an_account_is_opened_kept_over_restarts_changed_and_removed(tmp_path: Path, secret: Path) -> None:
    with cluster(tmp_path, gateway_extra=SINK) as pair:
        done = add(pair, secret)
        assert done.returncode == 0, done.stderr
        assert "is open" in done.stdout
        assert state(pair) == "up"
        pair.gateway.kill()
        wait_for("the gateway to be missed", lambda: state(pair) == "unknown")
        pair.gateway.start()
        wait_for("the account to be open again", lambda: state(pair) == "up")
        pair.client.stop()
        pair.client.start()
        wait_for("the client to know it again", lambda: state(pair) == "up")

        secret.write_text("wrong")
        assert "the password of this box is another" in add(pair, secret).stdout
        secret.write_text(SECRET)
        assert add(pair, secret).returncode == 0

        pair.client.cli("account", "remove", pair.user, "letters")
        assert pair.client.json("account", "list") == []
        wait_for("the gateway to forget it", lambda: pair.gateway.json("account", "list") == [])
        assert not leaked(tmp_path, SECRET)
        assert "letters" not in pair.gateway.log.read_text()


def test_a_gateway_without_the_plugin_says_so(tmp_path: Path, secret: Path) -> None:
    with cluster(tmp_path) as pair:
        done = add(pair, secret)
        assert done.returncode == 1
        assert "that node has no instance of memory" in done.stdout
        assert state(pair) == "down"
        pair.gateway.configure(SINK)
        pair.gateway.cli("reload")
        wait_for("the account to be open", lambda: state(pair) == "up")


def test_what_is_said_while_the_gateway_is_off_takes_effect_when_it_is_back(tmp_path: Path, secret: Path) -> None:
    with cluster(tmp_path, gateway_extra=SINK) as pair:
        gateway = key(pair.gateway)
        pair.gateway.stop()
        words = ("account", "add", pair.user, "memory", "late", "--on", gateway, "--set", "box=b")
        done = pair.client.cli(*words, "--secret", f"password=@{secret}")
        assert "is sealed to it" in done.stdout
        pair.gateway.start()
        wait_for("the account to be open", lambda: state(pair, "late") == "up")


def test_status_shows_the_other_node_and_says_when_it_does_not_answer(tmp_path: Path) -> None:
    with cluster(tmp_path, gateway_extra=SINK) as pair:
        [peer] = wait_for("its answer", lambda: [p for p in peers(pair.client) if p["answer"]])
        assert {"instance": "ingress.mx", "state": "up"} in peer["answer"]["instances"]
        text = pair.client.cli("status").stdout
        assert "egress.box" in text
        assert "disk free" in text
        [peer] = wait_for("the client's answer", lambda: [p for p in peers(pair.gateway) if p["answer"]])
        assert pair.user not in str(peer["answer"])
        pair.gateway.kill()
        [peer] = wait_for("it to be missed", lambda: [p for p in peers(pair.client) if not p["answer"]])
        assert peer["no_answer"]
        assert time.time() - peer["heard"] < 60
        began = time.monotonic()
        assert "last heard of" in pair.client.cli("doctor", check=False).stdout
        assert time.monotonic() - began < 10


def peers(node: Node) -> list[dict[str, object]]:
    found: list[dict[str, object]] = node.json("status")["stores"][0]["peers"]
    return found
