"""Plugins made by `mesyx plugin new`, outside the tree, are used by running nodes; broken ones are named and kept out.

`nox -s template` makes and installs them: `trial-ROLE` for each role, `broken-import` and `broken-hook`.
"""

from __future__ import annotations

import json
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scenario.cluster import Node, free_port, run, wait_for

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]

ADDRESS = "alice@example.org"
PASSPHRASE = "correct horse battery staple"


class Sink:
    """The server that `trial-egress` sends to."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                _, recipient, size = file.readline().decode().split()
                self.received.append((recipient, file.read(int(size))))
                file.write(b"ok\r\n")


class Cluster:
    """A gateway and a client whose every way is a plugin from the template."""

    def __init__(self, folder: Path, sink: Sink) -> None:
        self.sink = sink
        self.ports = {name: free_port() for name in ("ingress", "transport", "access", "submission")}
        passphrase = folder / "passphrase"
        passphrase.write_text(PASSPHRASE + "\n")
        passphrase.chmod(0o600)
        self.gateway = Node(folder / "mx1", ("accept", "exchange"))
        self.client = Node(folder / "laptop", ("client", "exchange"), passphrase)
        self.gateway.init()
        self.client.init()
        self.gateway.configure(
            f'\n[ingress.in]\nuse = "trial-ingress"\nlisten = "127.0.0.1:{self.ports["ingress"]}"\n'
            '\n[filter.by-domain]\nuse = "trial-filter"\nrefuse = ["spam.example"]\n'
            f'\n[transport.trial-transport]\nlisten = "127.0.0.1:{self.ports["transport"]}"\n'
            f'\n[egress.out]\nuse = "trial-egress"\nserver = "127.0.0.1:{sink.port}"\n'
        )
        self.client.configure(
            f'\n[access.read]\nuse = "trial-access"\nlisten = "127.0.0.1:{self.ports["access"]}"\n'
            f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{self.ports["submission"]}"\n'
            "\n[transport.trial-transport]\n"
        )
        self.password = ""

    def start(self) -> None:
        passphrase = self.client.passphrase
        assert passphrase is not None
        self.gateway.start()
        self.client.cli("store", "create", "alice", "--passphrase-file", passphrase)
        self.client.start()
        roles = ("--role", "accept", "--role", "exchange")
        offer = self.gateway.cli("node", "invite", *roles, "--address", ADDRESS).stdout.splitlines()[-1]
        self.client.cli("store", "add-node", "alice", offer, "--passphrase-file", passphrase)
        self.password = self.client.cli("login", "add", "alice").stdout.splitlines()[-1].split()[-1]

    def say(self, sender: str, body: bytes) -> str:
        """What the ingress answers."""
        with socket.create_connection(("127.0.0.1", self.ports["ingress"]), 30) as connection:
            connection.sendall(f"{sender} {ADDRESS} {len(body)}\n".encode() + body)
            return connection.makefile().readline().strip()

    def read(self) -> bytes:
        """All that the access shows."""
        with socket.create_connection(("127.0.0.1", self.ports["access"]), 30) as connection:
            connection.sendall(f"alice {self.password}\r\n".encode())
            return connection.makefile("rb").read()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        made = Cluster(tmp_path_factory.mktemp("trial"), Sink())
        stack.callback(made.sink.server.close)
        stack.callback(made.gateway.kill)
        stack.callback(made.client.kill)
        made.start()
        yield made


def test_a_message_comes_in_crosses_and_is_read_by_plugins_alone(cluster: Cluster) -> None:
    body = b"Subject: by plugins\r\n\r\nAll the way.\r\n"
    assert cluster.say("bob@example.com", body).startswith("ok ")
    wait_for("the message at the client", lambda: body in cluster.read())


def test_the_filter_judges_what_comes_in(cluster: Cluster) -> None:
    assert cluster.say("eve@spam.example", b"Subject: buy\r\n\r\n") == "no mail from your domain is not taken here"
    assert b"Subject: buy" not in cluster.read()


def test_what_a_person_sends_leaves_by_the_egress(cluster: Cluster) -> None:
    with smtplib.SMTP("127.0.0.1", cluster.ports["submission"], timeout=30) as smtp:
        smtp.login("alice", cluster.password)
        smtp.sendmail(ADDRESS, ["bob@example.com"], b"From: alice@example.org\r\nTo: bob@example.com\r\n\r\nHello.\r\n")
    wait_for("the message at the server", lambda: cluster.sink.received)
    ((recipient, body),) = cluster.sink.received
    assert recipient == "bob@example.com"
    assert body.endswith(b"\r\n\r\nHello.\r\n")


def test_every_instance_is_up(cluster: Cluster) -> None:
    for node in (cluster.gateway, cluster.client):
        shown = json.dumps(node.json("status"))
        for name in ("in", "by-domain", "out") if node is cluster.gateway else ("read", "submission"):
            assert name in shown
        assert '"retry"' not in shown


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken-import", "cannot be imported: RuntimeError: no luck"),
        ("broken-hook", "there is no hook mesyx_filterz; did you mean mesyx_filters?"),
    ],
)
def test_a_broken_one_is_quarantined_and_named(name: str, reason: str, cluster: Cluster, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run("plugin", "list", "--json").stdout)}
    assert rows[name]["state"] == "quarantined"
    assert reason in rows[name]["reason"]
    assert rows["trial-filter"]["state"] == "loaded"
    assert run("plugin", "check", name, check=False).returncode == 1
    with (cluster.gateway.config).open("a") as file:
        before = file.tell()
        file.write(f"\n[filter.{name}]\n")
    try:
        for verb in ("reload", "config"):
            done = cluster.gateway.cli(verb, *(("check",) if verb == "config" else ()), check=False)
            assert done.returncode == 3
            assert f"[filter.{name}]" in done.stderr
            assert f"the plugin {name} (mesyx-{name} 0.1.0) does not work" in done.stderr
    finally:
        with cluster.gateway.config.open("r+") as file:
            file.truncate(before)
    assert cluster.say("bob@example.com", b"Subject: still here\r\n\r\n").startswith("ok ")
