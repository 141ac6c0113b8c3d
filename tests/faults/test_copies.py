"""A gateway that was restored from a backup an hour old, and one that was cloned and runs twice: no acknowledged message
is lost, nothing that was confirmed is sent twice, and the owner is told."""

from __future__ import annotations

import shutil
import smtplib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from mesyx_smtp.testing import Sink

from tests.faults.marks import fault
from tests.scenario.cluster import Node, Pair, cluster, free_port, wait_for
from tests.scenario.listing import bodies

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

LATE = "late@example.net"


class World(NamedTuple):
    pair: Pair
    sink: Sink
    submission: int

    def take_in(self, text: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.pair.smtp) as smtp:
            smtp.sendmail("bob@example.net", [self.pair.address], f"Message-ID: <{text}@example.net>\r\n\r\n{text}\r\n")

    def send(self, text: str, *recipients: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.submission) as smtp:
            smtp.login(self.pair.user, self.pair.password)
            smtp.sendmail(self.pair.address, recipients, f"From: {self.pair.address}\r\n\r\n{text}\r\n")

    def sent(self) -> Counter[tuple[str, str]]:
        """(text, recipient), as often as the sink took it."""
        return Counter(
            (one.content.decode().rsplit("\r\n\r\n", 1)[1].strip(), recipient.partition("<")[2].rstrip(">"))
            for one in self.sink.received
            for recipient in one.recipients
        )

    def inbox(self) -> set[str]:
        return {body.decode().rsplit("\r\n\r\n", 1)[1].strip() for body in bodies(self.pair)}

    def all_sent(self) -> bool:
        return not self.pair.client.json("queue", "list")


@contextmanager
def world(folder: Path) -> Iterator[World]:
    port, listen = free_port(), free_port()
    with (
        Sink() as sink,
        cluster(
            folder,
            gateway_extra=f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{sink.port}"\nretry = ["3s"]\n',
            client_extra=f'listen = "127.0.0.1:{listen}"\naddress = "https://127.0.0.1:{listen}"\n'
            f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{port}"\n',
        ) as pair,
    ):
        yield World(pair, sink, port)


def said(node: Node) -> str:
    """What doctor says, whatever its exit code."""
    return node.cli("doctor", check=False).stdout


def state(node: Node) -> Path:
    return node.folder / "state"


@fault("sending-restored")
def test_a_restored_gateway_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        pair, sink = here.pair, here.sink
        sink.replies[f"RCPT TO:<{LATE}>"] = "451 4.7.1 come again"
        here.take_in("one")
        here.send("first", "dora@example.net", LATE)
        wait_for("the first attempt", lambda: here.sent()[("first", "dora@example.net")])
        wait_for("its receipt", lambda: [row["waiting"] for row in pair.gateway.json("queue", "list")] == [1])
        pair.gateway.stop()
        shutil.copytree(state(pair.gateway), tmp_path / "backup", ignore=shutil.ignore_patterns("*.sock"))

        pair.gateway.start()
        here.take_in("two")
        here.send("second", "erik@example.net")
        sink.replies[f"RCPT TO:<{LATE}>"] = "250 ok"
        wait_for("all sent", here.all_sent, timeout=60)
        wait_for("both read", lambda: here.inbox() == {"one", "two"})
        before = here.sent()
        assert before == Counter([("first", "dora@example.net"), ("first", LATE), ("second", "erik@example.net")])

        pair.gateway.kill()
        shutil.rmtree(state(pair.gateway))
        shutil.copytree(tmp_path / "backup", state(pair.gateway))
        pair.gateway.start()
        here.take_in("three")
        here.send("third", "fred@example.net")
        wait_for("all sent", lambda: here.sent()[("third", "fred@example.net")] and here.all_sent(), timeout=60)
        wait_for("nothing left", lambda: pair.gateway.json("queue", "list") == [])
        wait_for("all read", lambda: here.inbox() == {"one", "two", "three"})
        assert here.sent() == before + Counter([("third", "fred@example.net")])
        assert "restored from a backup" in said(pair.gateway)
        assert "restored from a backup" in said(pair.client)


@fault("sending-cloned")
def test_a_clone_that_runs_beside_its_original_is_told_of_and_repeats_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as here, ExitStack() as stack:
        pair = here.pair
        here.take_in("one")
        here.send("first", "dora@example.net")
        wait_for("it is sent", lambda: here.sent() and here.all_sent(), timeout=60)
        clone = Node(tmp_path / "clone", pair.gateway.roles, ports={"smtp": free_port(), "https": free_port()})
        pair.gateway.stop()
        shutil.copytree(pair.gateway.folder, clone.folder, ignore=shutil.ignore_patterns("*.sock"))
        text = clone.config.read_text()
        for name, port in pair.gateway.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{clone.ports[name]}")
        clone.config.write_text(text)
        stack.callback(clone.kill)
        for node in (clone, pair.gateway):
            node.start()

        wait_for("word of it", lambda: "in use twice" in said(pair.gateway) + said(clone), timeout=60)
        wait_for("word of it", lambda: "in use twice" in said(pair.client), timeout=60)
        here.take_in("two")
        here.send("second", "erik@example.net")
        wait_for("it to be read", lambda: here.inbox() == {"one", "two"})

        clone.kill()
        pair.gateway.stop()
        pair.gateway.start()
        here.take_in("three")
        here.send("third", "fred@example.net")
        wait_for("all sent", lambda: here.sent()[("third", "fred@example.net")] and here.all_sent(), timeout=60)
        wait_for("all read", lambda: here.inbox() == {"one", "two", "three"})
        assert here.sent() == Counter(
            [("first", "dora@example.net"), ("second", "erik@example.net"), ("third", "fred@example.net")]
        )
