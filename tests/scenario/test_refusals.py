"""What a person gets wrong, and what the commands say to it: the cause, the remedy, the documented exit code, never a
traceback; and nothing is lost.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from mesyx_core.cli import exits
from tests.scenario.cluster import MESYX, Node, Pair, client, gateway, peers, run, wait_for

pytestmark = pytest.mark.scenario

NOBODY = 65534


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """It ended with this code and these words, among them what to do; with no traceback and no fault of ours."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"
    assert "Traceback" not in said
    assert "fault of Mesyx" not in said


@pytest.fixture
def idle(tmp_path: Path) -> Node:
    """A gateway that does not run."""
    return gateway(tmp_path / "idle")


def test_without_a_config_commands_say_how_to_make_one(tmp_path: Path) -> None:
    for command in ("run", "status", "doctor"):
        refused(run(command, "-c", tmp_path / "mesyx.toml", check=False), exits.CONFIG, "mesyx init DIR")


def test_a_config_that_cannot_be_run_is_refused_by_file_and_path(tmp_path: Path) -> None:
    run("init", tmp_path / "mx", "--name", "mx", "--role", "accept")
    config = tmp_path / "mx" / "mesyx.toml"
    initial = config.read_text()
    smtp = "[ingress.mx]\nuse = 'smtp'\n"
    cases: list[tuple[str, tuple[str, ...]]] = [
        (smtp + "listen = 3", ("[ingress.mx] listen", "must be a string", '"0.0.0.0:25"')),
        (smtp + "listen = '127.0.0.1:0'\nlistn = 1", ("listn: unknown key", "mean listen?")),
        ("[ingress.mx]\nuse = 'smpt'", ("there is no plugin smpt", "did you mean smtp?")),
        ("[filter.absent]", ("there is no plugin absent", "or remove it; or install the distribution")),
        ("[ingres.mx]", ("unknown table", "did you mean [ingress]?")),
        ("[[[", ("is not TOML", "mend that line")),
        (smtp + "listen = 'localhost'", ("is not HOST:PORT",)),
        (smtp + "listen = '127.0.0.1:0'\ntls.certificate = '/none.pem'", ("/none.pem", "PEM")),
    ]
    for text, words in cases:
        config.write_text(f"{initial}\n{text}\n")
        command = ("run",) if "listen = '" in text else ("config", "check")
        refused(run(*command, "-c", config, check=False), exits.CONFIG, *words)


def test_a_plugin_that_raises_at_import_stops_only_a_node_that_uses_it(tmp_path: Path) -> None:
    info = tmp_path / "site" / "mesyx_broken-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mesyx-broken\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[mesyx]\nbroken = mesyx_broken\n")
    (tmp_path / "site" / "mesyx_broken.py").write_text("raise RuntimeError('no such thing as a flux capacitor')\n")
    run("init", tmp_path / "mx", "--name", "mx", "--role", "accept")
    config = tmp_path / "mx" / "mesyx.toml"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path])}

    def mesyx(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*MESYX, *words, "-c", str(config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)

    assert mesyx("config", "check").returncode == exits.OK
    assert "quarantined" in mesyx("plugin", "list").stdout
    with config.open("a") as file:
        file.write("[filter.broken]\n")
    reason = ("[filter.broken]", "mesyx-broken 0.1", "flux capacitor", "mend or upgrade it")
    refused(mesyx("run"), exits.CONFIG, *reason)


def test_a_port_in_use_is_named_with_the_way_to_find_who_has_it(idle: Node) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", idle.ports["smtp"]))
        other.listen()
        port = str(idle.ports["smtp"])
        refused(idle.cli("run", check=False), exits.CONFIG, "[ingress.mx]", port, "the port is in use", "ss -ltnp")


def test_wrong_modes_and_damaged_keys_are_refused_with_the_command_that_mends_them(idle: Node) -> None:
    key = idle.folder / "state" / "node.key"
    secret = key.read_text()
    key.chmod(0o644)
    refused(idle.cli("status", check=False), exits.CONFIG, f"chmod 600 {key}")
    key.chmod(0o600)
    key.write_text("damaged\n")
    refused(idle.cli("status", check=False), exits.CONFIG, "is not a node key", "backup")
    key.unlink()
    refused(idle.cli("run", check=False), exits.CONFIG, "cannot be read", "mesyx init DIR")
    key.write_text(secret)
    key.chmod(0o600)
    key.parent.chmod(0o755)
    refused(idle.cli("doctor", check=False), exits.FAILED, f"chmod 700 {key.parent}")
    assert "not started" not in idle.cli("doctor", check=False).stdout


def test_without_the_right_to_write_commands_name_the_path_and_whose_it_is(idle: Node) -> None:
    if os.geteuid() != 0:
        (idle.folder / "state").chmod(0o500)
        refused(idle.cli("run", check=False), exits.CONFIG, "cannot be written", "user who owns")
        return
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *MESYX]

    def mesyx(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [*as_nobody, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    state = idle.folder / "state"
    for path in [*idle.folder.parents]:
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o711)
    idle.cli("status")
    for path in [idle.folder, *idle.folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    assert mesyx("status", "-c", idle.config).returncode == exits.OK
    os.chown(state, 0, 0)
    state.chmod(0o755)
    for command in ("run", "status"):
        refused(mesyx(command, "-c", idle.config), exits.CONFIG, f"{state}: cannot be written", "user who owns")
    os.chown(state, NOBODY, NOBODY)
    os.chown(state / "journal" / "lock", 0, 0)
    refused(mesyx("run", "-c", idle.config), exits.FAILED, str(state / "journal"), "user who owns")
    refused(mesyx("init", "/usr/mesyx-test", "--role", "client"), exits.FAILED, "/usr/mesyx-test", "user who owns")
    assert not Path("/usr/mesyx-test").exists()


def test_a_recovery_kit_that_cannot_be_written_leaves_no_store_behind(tmp_path: Path) -> None:
    laptop = client(tmp_path / "laptop")
    assert laptop.passphrase is not None
    words = ("store", "create", "alice", "--passphrase-file", laptop.passphrase, "--kit")
    refused(laptop.cli(*words, tmp_path / "none" / "kit", check=False), exits.FAILED, "nothing was done")
    assert laptop.json("store", "list") == []
    refused(laptop.cli("store", "create", "alice", check=False), exits.USAGE, "--passphrase-file FILE")
    kit = tmp_path / "kit"
    shown = laptop.cli(*words, kit).stdout
    assert kit.read_text().strip() in shown
    assert kit.stat().st_mode & 0o777 == 0o600
    refused(laptop.cli(*words, kit, check=False), exits.FAILED, "cannot be written")
    wrong = tmp_path / "wrong"
    wrong.write_text("not it\n")
    refused(laptop.cli("run", "--passphrase-file", wrong, check=False), exits.FAILED, "wrong passphrase")
    refused(laptop.cli("run", "--passphrase-file", tmp_path / "no", check=False), exits.CONFIG, "cannot be read")


def test_a_node_that_cannot_be_reached_costs_neither_the_invitation_nor_the_store(tmp_path: Path) -> None:
    with ExitStack() as stack:
        mx, laptop = gateway(tmp_path / "mx1"), client(tmp_path / "laptop")
        stack.callback(mx.kill)
        assert laptop.passphrase is not None
        laptop.cli("store", "create", "alice", "--passphrase-file", laptop.passphrase)
        invitation = mx.cli("node", "invite", "--role", "exchange").stdout.splitlines()[-1]
        words = ("store", "add-node", "alice", invitation, "--passphrase-file", laptop.passphrase)
        refused(laptop.cli(*words, check=False), exits.TEMPORARY, "cannot reach", "nothing listens", "node runs")
        mx.start()
        assert "holds alice" in laptop.cli(*words).stdout


def test_what_a_running_node_refuses(pair: Pair, tmp_path: Path) -> None:
    mx, laptop = pair.gateway, pair.client
    assert laptop.passphrase is not None
    unlocked = ("--passphrase-file", laptop.passphrase)
    wrong = tmp_path / "wrong"
    wrong.write_text("not it\n")

    refused(mx.cli("run", check=False), exits.UNAVAILABLE, "another mesyx process", "stop it")
    refused(laptop.cli("store", "show", "nobody", check=False), exits.FAILED, "no store 'nobody'", "it has: alice")
    refused(laptop.cli("login", "add", "nobody", check=False), exits.FAILED, "no store 'nobody'")
    refused(laptop.cli("login", "add", "alice", "--label", "tests", check=False), exits.FAILED, "choose another")
    refused(laptop.cli("trace", "not-an-id", check=False), exits.FAILED, "is not a trace id", "sealed as")
    refused(laptop.cli("trace", "000000000000-1", check=False), exits.FAILED, "no message", "mesyx status")
    refused(mx.cli("node", "invite", "--role", "accept", "--address", "x", check=False), exits.USAGE, "no address")
    as_client = ("node", "invite", "--role", "client", "--passphrase-file", str(pair.client.passphrase))
    refused(mx.cli(*as_client, check=False), exits.FAILED, "it offers accept, exchange")
    again = ("node", "invite", "--role", "accept", "--address", pair.address)
    refused(mx.cli(*again, check=False), exits.FAILED, "is granted to a store already", "store address list")

    invitation = mx.cli("node", "invite", "--role", "exchange").stdout.splitlines()[-1]
    short = mx.cli("node", "invite", "--role", "exchange", "--expires", "1s").stdout.splitlines()[-1]
    add = ("store", "add-node", "bob")
    laptop.cli("store", "create", "bob", *unlocked)
    refused(laptop.cli(*add, invitation[:50], *unlocked, check=False), exits.FAILED, "copy the whole line again")
    refused(laptop.cli(*add, "hello", *unlocked, check=False), exits.FAILED, "not an invitation")
    laptop.cli("store", "add-node", "alice", invitation, *unlocked)
    assert "holds alice" in laptop.cli("store", "add-node", "alice", invitation, *unlocked).stdout
    refused(laptop.cli(*add, invitation, *unlocked, check=False), exits.FAILED, "used already", "ask for a new one")
    refused(laptop.cli(*add, short, *unlocked, check=False), exits.FAILED, "has expired", "ask for a new one")

    laptop.cli("store", "lock", "alice")
    refused(laptop.cli("doctor", check=False), exits.FAILED, "store alice is locked", "mesyx store unlock alice")
    unlock = ("store", "unlock", "alice", "--passphrase-file")
    refused(laptop.cli(*unlock, wrong, check=False), exits.FAILED, "wrong passphrase", "was created with")
    refused(laptop.cli("store", "add-node", "alice", short, check=False), exits.FAILED, "--passphrase-file FILE")
    laptop.cli(*unlock, laptop.passphrase)


def test_a_gateway_that_is_away_is_shown_with_the_reason(pair: Pair) -> None:
    pair.gateway.stop()
    try:
        wait_for("the reason", lambda: [p for p in peers(pair.client) if "cannot reach" in p["why"]])
        assert [p["state"] for p in peers(pair.client)] == ["away"]
        refused(pair.gateway.cli("reload", check=False), exits.UNAVAILABLE, "no node is running here")
    finally:
        pair.gateway.start()
    wait_for("the connection", lambda: [p for p in peers(pair.client) if p["state"] == "connected"])


def test_peers_that_reset_at_once_end_no_listener(pair: Pair) -> None:
    for port in (pair.gateway.ports["https"], pair.smtp, pair.imap):
        for first in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05garbage"):
            for _ in range(100):
                with socket.socket() as peer:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.connect(("127.0.0.1", port))
                    peer.send(first)
    for node in (pair.gateway, pair.client):
        assert not any(each["restarts"] for each in node.ask("status")["instances"])
        assert " ERROR " not in node.log.read_text()
