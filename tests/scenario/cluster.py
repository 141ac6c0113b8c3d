"""Real nodes for scenario tests: each a folder and a `mesyx run` process, driven by the commands a person would
type.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from mesyx_core import control

PASSPHRASE = "correct horse battery staple"
MESYX = [sys.executable, "-P", "-m", "mesyx_core"]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*words: str | Path, timeout: float = 60, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One `mesyx` command."""
    done = subprocess.run([*MESYX, *map(str, words)], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"mesyx {' '.join(map(str, words))} gave {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


@dataclass
class Node:
    """One installation."""

    folder: Path
    roles: tuple[str, ...]
    passphrase: Path | None = None
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)
    ready: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    """What its process finds in its environment besides ours."""

    @property
    def config(self) -> Path:
        return self.folder / "mesyx.toml"

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    @property
    def temporary(self) -> Path:
        """Where its process leaves temporary files."""
        return self.folder.parent / f"{self.folder.name}.tmp"

    @property
    def _clock(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.clock"

    def turn(self, clock: str) -> None:
        """Set its wall clock, as faketime(1) understands it: "+25h", "-3d", "@2099-01-01 00:00:00" (and it runs on).
        Before its first start, or while it runs: then the clock jumps, within a second. Its monotonic clock stays as it is."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(clock + "\n")
        fresh.rename(self._clock)
        [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        self.environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def init(self) -> None:
        words = [word for role in self.roles for word in ("--role", role)]
        run("init", self.folder, "--name", self.folder.name, *words)

    def configure(self, text: str) -> None:
        """Append sections to the config."""
        with self.config.open("a") as file:
            file.write(text)

    def cli(self, *words: str | Path, timeout: float = 60, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(*words, "-c", self.config, timeout=timeout, check=check)

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.cli(*words, "--json").stdout)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """What the running node answers, without a process for the command."""

        async def main() -> Any:
            async with aclosing(control.call(self.folder / "state" / "control.sock", verb, arguments)) as answers:
                async for answer in answers:
                    if "result" in answer:
                        return answer["result"]

        return anyio.run(main)

    def start(self, timeout: float = 30) -> None:
        """Run it and wait for `ready`."""
        words = ["run", "-c", str(self.config)]
        if self.passphrase is not None:
            words += ["--passphrase-file", str(self.passphrase)]
        ended, self.ready = threading.Event(), False
        self.temporary.mkdir(exist_ok=True)
        environment = {**os.environ, **self.environment, "TMPDIR": str(self.temporary)}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*MESYX, *words], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        threading.Thread(target=self._read, args=(self.process, ended), daemon=True).start()
        ended.wait(timeout)
        if not self.ready:
            self.kill()
            raise AssertionError(f"{self.folder.name} was not ready in {timeout} s:\n{self.log.read_text()[-4000:]}")

    def _read(self, process: subprocess.Popen[str], ended: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line == "ready\n":
                self.ready = True
                ended.set()
        ended.set()

    def stop(self, timeout: float = 10) -> int:
        """SIGTERM, and at most ten seconds."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def rss(self) -> int:
        """Resident bytes now."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Pair:
    """A gateway that takes in and cannot read, and the client whose store it serves."""

    gateway: Node
    client: Node
    address: str = "alice@example.org"
    user: str = "alice"
    password: str = ""
    kit: str = ""
    """The store's recovery kit."""

    @property
    def smtp(self) -> int:
        return self.gateway.ports["smtp"]

    @property
    def imap(self) -> int:
        return self.client.ports["imap"]


def peers(node: Node) -> list[dict[str, Any]]:
    """The other members of a running node's first store, as its status has them."""
    found: list[dict[str, Any]] = node.ask("status")["stores"][0]["peers"]
    return found


def gateway(folder: Path, extra: str = "", *, transport: str = "") -> Node:
    """`transport`: what [transport.https] says, instead of a port of its own."""
    node = Node(folder, ("accept", "exchange"), ports={"smtp": free_port(), "https": free_port()})
    port = node.ports["https"]
    node.init()
    node.configure(
        f'\n[ingress.mx]\nuse = "smtp"\nlisten = "127.0.0.1:{node.ports["smtp"]}"\n'
        + "\n[transport.https]\n"
        + (transport or f'listen = "127.0.0.1:{port}"\naddress = "https://127.0.0.1:{port}"\n')
        + extra
    )
    return node


def client(folder: Path, extra: str = "") -> Node:
    passphrase = folder.parent / f"{folder.name}.passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    passphrase.chmod(0o600)
    node = Node(folder, ("client", "exchange"), passphrase, ports={"imap": free_port()})
    node.init()
    node.configure(f'\n[access.imap]\nlisten = "127.0.0.1:{node.ports["imap"]}"\n\n[transport.https]\n{extra}')
    return node


def joined(folder: Path, stack: ExitStack, *, gateway_extra: str = "", client_extra: str = "") -> Pair:
    """A new pair, joined."""
    pair = Pair(gateway(folder / "mx1", gateway_extra), client(folder / "laptop", client_extra))
    stack.callback(pair.gateway.kill)
    stack.callback(pair.client.kill)
    join(pair)
    return pair


def join(pair: Pair) -> None:
    """Both nodes running, a store made, the gateway a member, an app password given: by the commands of the README."""
    assert pair.client.passphrase is not None
    pair.gateway.start()
    pair.kit = pair.client.cli("store", "create", pair.user, "--passphrase-file", pair.client.passphrase).stdout
    pair.client.start()
    roles = ("--role", "accept", "--role", "exchange")
    invitation = pair.gateway.cli("node", "invite", *roles, "--address", pair.address).stdout.splitlines()[-1]
    pair.client.cli("store", "add-node", pair.user, invitation, "--passphrase-file", pair.client.passphrase)
    login = pair.client.cli("login", "add", pair.user, "--label", "tests").stdout.splitlines()[-1]
    pair.password = login.split()[-1]


@contextmanager
def cluster(folder: Path, **options: str) -> Iterator[Pair]:
    """A joined pair; stopped at the end, whatever happened."""
    with ExitStack() as stack:
        yield joined(folder, stack, **options)


def wait_for(what: str, check: Any, timeout: float = 30, interval: float = 0.05) -> Any:
    """Poll until `check` gives something true."""
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(interval)
