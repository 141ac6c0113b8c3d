"""A node that may not start, and copies of nodes to do harm to."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import smtplib
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mesyx_core.cli import exits
from tests.scenario.cluster import MESYX, Node, Pair, wait_for
from tests.scenario.listing import exists, shown

SMALL, LARGE = 800, 60_000
"""Octets of a mail that lies in its entry, and of one whose body is a file of its own."""


class Start(NamedTuple):
    """What came of a start: whether it said `ready`, the exit code, all it said."""

    ready: bool
    code: int
    said: str

    def refused(self, *words: str) -> None:
        """It ended with a reason and no traceback."""
        assert not self.ready
        assert self.code not in (0, exits.INTERNAL), self.said
        quiet(self.said)
        assert self.said.strip()
        for word in words:
            assert word in self.said, f"{word!r} is not in: {self.said}"


def quiet(said: str) -> None:
    """Nobody is shown what only a programmer understands."""
    assert "Traceback" not in said
    assert "fault of Mesyx" not in said


def started(
    node: Node,
    seconds: float = 25,
    end: Callable[[subprocess.Popen[str]], None] | None = None,
    environment: Mapping[str, str] | None = None,
    **how: Any,
) -> Start:
    """Run a node until it is ready or has ended, or for so long; `end` then ends it, by default SIGTERM."""
    words = ["run", "-c", str(node.config)]
    if node.passphrase is not None:
        words += ["--passphrase-file", str(node.passphrase)]
    environment = {**os.environ, **node.environment, **(environment or {})}
    process = subprocess.Popen(
        [*MESYX, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, **how
    )
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line == "ready\n":
                ready.set()
        ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    ready.wait(seconds)
    if end is not None:
        end(process)
    elif process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    reader.join(10)
    return Start("ready\n" in lines, process.returncode, "".join(lines))


def mail(number: int, size: int = SMALL) -> bytes:
    line = os.urandom(32).hex().encode() + b"\r\n"
    head = b"Subject: fault %d\r\nMessage-ID: <%d.%d@faults.example.com>\r\n\r\n" % (number, number, size)
    return head + line * (size // len(line))


def offer(pair: Pair, message: bytes, timeout: float = 30) -> int:
    """The reply code to a message on a connection of its own; 0 when the gateway hung up."""
    try:
        with smtplib.SMTP("127.0.0.1", pair.smtp, "sender.example.com", timeout=timeout) as client:
            client.ehlo()
            client.mail("sender@example.com")
            code, _ = client.rcpt(pair.address)
            return client.data(message)[0] if code == 250 else code
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    except (smtplib.SMTPException, OSError):
        return 0


def arrived(pair: Pair, count: int, timeout: float = 30) -> None:
    wait_for(f"{count} mails at the client", lambda: exists(pair) >= count, timeout)


def complete(pair: Pair, count: int) -> None:
    """So many mails, each once."""
    arrived(pair, count)
    ids = [field for _, field in shown(pair)["INBOX"].messages.values()]
    assert len(set(ids)) == len(ids) == count


def copied(pair: Pair, folder: Path) -> Pair:
    """The same nodes in another folder, as after a copy of all their files; neither may run."""
    nodes = []
    for node in (pair.gateway, pair.client):
        place = folder / node.folder.name
        subprocess.run(["cp", "-a", node.folder, place], check=True)
        with suppress(FileNotFoundError):
            (place / "state" / "control.sock").unlink()
        passphrase = node.passphrase and Path(shutil.copy2(node.passphrase, folder))
        nodes.append(
            dataclasses.replace(
                node, folder=place, passphrase=passphrase, process=None, lines=[], ready=False, environment={}
            )
        )
    return dataclasses.replace(pair, gateway=nodes[0], client=nodes[1])
