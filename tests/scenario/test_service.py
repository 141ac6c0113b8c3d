"""A node under systemd's protocols: real systemd-socket-activate binds its ports, a stand-in for the manager hears its
signs of life, and systemd-analyze judges the units."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenario.cluster import MESYX, Node, gateway, wait_for

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]


class Manager:
    """Hears what services say of themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))
        self.heard: list[dict[str, str]] = []

    def said(self, key: str) -> int:
        """How often a variable was told."""
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return sum(key in each for each in self.heard)
            self.heard.append(dict(line.split("=", 1) for line in text.splitlines()))


@contextmanager
def activated(node: Node, manager: Manager, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The node, started by the first connection to its port."""
    environment = {**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "900000"}
    environment.pop("WATCHDOG_PID", None)
    passed = [word for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "PATH") for word in ("-E", name)]
    listen = f"127.0.0.1:{node.ports['smtp']}"
    command = ["systemd-socket-activate", "-l", listen, *passed, *MESYX, "run", "-c", str(node.config)]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10)


def greeted(node: Node) -> smtplib.SMTP:
    def connect() -> smtplib.SMTP | None:
        try:
            return smtplib.SMTP("127.0.0.1", node.ports["smtp"], "client.example.com", timeout=30)
        except ConnectionRefusedError:
            return None

    found: smtplib.SMTP = wait_for("a port that is bound", connect)
    return found


def test_a_port_that_systemd_has_bound_outlives_instances_and_nobody_waits_at_a_closed_one(tmp_path: Path) -> None:
    node, manager = gateway(tmp_path / "mx1"), Manager(tmp_path / "notify")
    with activated(node, manager, tmp_path) as process:
        with greeted(node) as client:  # it was accepted before the node ran
            assert client.noop()[0] == 250
        wait_for("READY=1", lambda: manager.said("READY"))
        wait_for("signs of life", lambda: manager.said("WATCHDOG") >= 4)

        text = node.config.read_text()
        node.config.write_text(text.replace("\n[ingress.mx]\n", '\n[ingress.mx]\nhostname = "renamed.example.org"\n'))
        before = manager.said("READY")
        process.send_signal(signal.SIGHUP)
        wait_for("READY=1 after the reload", lambda: manager.said("READY") > before)
        assert manager.said("RELOADING") == 1
        with greeted(node) as client:  # the instance is another, the port was never closed
            assert b"renamed.example.org" in client.ehlo()[1]

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert manager.said("STOPPING") == 1


def test_a_node_without_a_manager_binds_its_ports_itself(tmp_path: Path) -> None:
    node = gateway(tmp_path / "mx1")
    node.environment |= {"LISTEN_FDS": "1", "LISTEN_PID": "1", "NOTIFY_SOCKET": str(tmp_path / "nobody")}
    try:
        node.start()
        with greeted(node) as client:
            assert client.noop()[0] == 250
    finally:
        node.kill()


def test_units_are_sound_and_systemd_finds_little_to_reproach_them_with(tmp_path: Path) -> None:
    node = gateway(tmp_path / "mx1")
    folder = tmp_path / "units"
    folder.mkdir()
    words = ["config", "units", "--user", "root", "--dir", str(folder)]
    assert "systemctl enable --now mesyx-mx1.socket mesyx-mx1.service" in node.cli(*words).stdout
    units = sorted(map(str, folder.iterdir()))
    assert [Path(each).name for each in units] == ["mesyx-mx1.service", "mesyx-mx1.socket"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "mesyx" in line]
    assert not said, said
    words = ["systemd-analyze", "security", "--offline=yes", "--threshold=25", units[0]]
    subprocess.run(words, check=True, capture_output=True, text=True)


def test_the_service_works_where_memory_cannot_be_made_executable(tmp_path: Path) -> None:
    """MemoryDenyWriteExecute, by the kernel's own switch."""
    code = (
        "import ctypes, runpy, sys\n"
        "assert ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0) == 0, ctypes.get_errno()\n"
        "sys.argv = ['mesyx', 'demo', '--once']\n"
        "runpy.run_module('mesyx_core', run_name='__main__')\n"
    )
    done = subprocess.run([MESYX[0], "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
