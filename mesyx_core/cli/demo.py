"""`mesyx demo`: a gateway that cannot read and a client that can, on this machine alone, with a real message through
both.
"""

from __future__ import annotations

import imaplib
import os
import secrets
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, Final

import anyio
import click

from mesyx_core.api import MesyxError, Temporary
from mesyx_core.node import call
from mesyx_core.node.home import create

ADDRESS: Final = "alice@example.org"
STORE: Final = "alice"
PATIENCE: Final = 30.0
"""Seconds that a node has to start, and a message to come through."""


class DemoNode:
    """One node of the demo: a folder, and a process once it runs."""

    def __init__(self, folder: Path, name: str, roles: Sequence[str], sections: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.config, _ = create(folder / name, name, roles)
        with self.config.open("a") as file:
            file.write(sections)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """What a command would ask of this node."""

        async def answer() -> Any:
            return [part async for part in call(self.config, verb, arguments)][-1]["result"]

        return anyio.run(answer)

    @contextmanager
    def running(self, *words: str) -> Iterator[None]:
        """The node's process while the scope is open, from its `ready` on."""
        # -P: nothing is imported from the folder that the demo is started in
        command = [sys.executable, "-P", "-m", "mesyx_core", "run", "-c", str(self.config), *words]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        try:
            self._await_ready(process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def _await_ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                if line == "ready\n":
                    return
        finally:
            timer.cancel()
        said = self.log.read_text(errors="replace").splitlines()[-1:] or ["nothing"]  # its folder goes with the demo
        raise MesyxError(f"the demo's node {self.name} did not start; it said last", said[0].removeprefix("mesyx: "))


def port(wanted: int) -> int:
    """The wanted port, or any free one."""
    for each in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", each))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Temporary("this machine has no free port on 127.0.0.1")


def run(once: bool, folder: Path | None) -> int:
    """The exit code: 0 when the message came through."""
    with ExitStack() as stack:
        stack.enter_context(_interrupted())
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mesyx-demo-")))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        cluster = Cluster(folder)
        cluster.start(stack)
        cluster.show_message()
        if not once:
            cluster.show_programs()
            cluster.watch()
    return 0


@contextmanager
def _interrupted() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does: with its nodes, and without its folder."""
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Cluster:
    """A gateway, a client, and a store that both hold."""

    def __init__(self, folder: Path) -> None:
        self.smtp, self.https, self.imap, self.submission = port(2525), port(8443), port(1143), port(1587)
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text(secrets.token_urlsafe(24) + "\n")
        self.passphrase.chmod(0o600)
        say("gateway", "takes mail in and seals it; holds no key that opens it")
        self.gateway = DemoNode(folder, "gateway", ("accept", "exchange"), self._gateway())
        say("client", "holds the private keys and serves your programs")
        self.client = DemoNode(folder, "client", ("client", "exchange"), self._client())
        self.password = ""

    def _gateway(self) -> str:
        return (
            f'\n[ingress.mx]\nuse = "smtp"\nlisten = "127.0.0.1:{self.smtp}"\n'
            f'\n[egress.smtp]\nsmarthost = "127.0.0.1:{self.smtp}"\n'  # so that nothing leaves this machine
            f'\n[transport.https]\nlisten = "127.0.0.1:{self.https}"\naddress = "https://127.0.0.1:{self.https}"\n'
        )

    def _client(self) -> str:
        return (
            f'\n[access.imap]\nlisten = "127.0.0.1:{self.imap}"\n'
            f'\n[access.submission]\nuse = "smtp"\nlisten = "127.0.0.1:{self.submission}"\n\n[transport.https]\n'
        )

    def start(self, stack: ExitStack) -> None:
        """Start both nodes and join them by an invitation, as a person would with the commands of the tutorial."""
        stack.enter_context(self.gateway.running())
        say("gateway", f"listens for SMTP on 127.0.0.1:{self.smtp} and for nodes on https://127.0.0.1:{self.https}")
        stack.enter_context(self.client.running())
        made = self.client.ask("store.create", name=STORE, passphrase_file=str(self.passphrase))
        say(
            "client", f"listens for IMAP on 127.0.0.1:{self.imap} and takes mail to send on 127.0.0.1:{self.submission}"
        )
        say("client", f"made the store {STORE!r}, {made['fingerprint']}")
        offer = self.gateway.ask("node.invite", roles=["accept", "exchange"], addresses=[ADDRESS])
        self.client.ask("store.add_node", name=STORE, invitation=offer["invitation"])
        say("gateway", f"was invited into the store and accepts mail for {ADDRESS}")
        self.password = self.client.ask("login.add", store=STORE, label="demo")["password"]

    def show_message(self) -> None:
        """A real message by SMTP into the gateway, and read by IMAP from the client."""
        message = EmailMessage()
        message["From"], message["To"] = "Bob <bob@example.com>", f"Alice <{ADDRESS}>"
        message["Subject"] = "It works"
        message.set_content(
            "Hello Alice,\n\nthe server that took this in could not keep a readable copy of it.\n\nBob\n"
        )
        began = time.monotonic()
        with smtplib.SMTP("127.0.0.1", self.smtp) as smtp:
            smtp.ehlo()
            smtp.mail("bob@example.com")
            smtp.rcpt(ADDRESS)
            code, reply = smtp.data(message.as_bytes(policy=SMTP))
        if code != 250:
            raise MesyxError(f"the gateway did not take the demo's message: {code} {reply.decode('ascii', 'replace')}")
        say("gateway", f"answered: {code} {reply.decode('ascii', 'replace')}")
        text = self._read()
        say("client", f"got it, opened it and serves it, {(time.monotonic() - began) * 1000:.0f} ms after it was sent:")
        click.echo()
        click.echo("\n".join(f"    {line}" for line in text.splitlines()))
        click.echo()

    def _read(self) -> str:
        deadline = time.monotonic() + PATIENCE
        imap = imaplib.IMAP4("127.0.0.1", self.imap)
        try:
            imap.login(STORE, self.password)
            while time.monotonic() < deadline:
                _, found = imap.select("INBOX", readonly=True)
                count = int(found[0] or b"0")
                if count:
                    data = imap.fetch(str(count), "(BODY.PEEK[])")[1][0]
                    return data[1].decode("utf-8", "replace").replace("\r\n", "\n") if isinstance(data, tuple) else ""
                time.sleep(0.02)
        finally:
            imap.logout()
        raise Temporary("the demo's message did not reach the client", "see its nodes' logs with --folder")

    def show_programs(self) -> None:
        """Lines to paste."""
        inside = f"imap://{STORE}:{self.password}@127.0.0.1:{self.imap}/INBOX"
        outside = f"smtp://{STORE}:{self.password}@127.0.0.1:{self.submission}"
        click.echo(
            f"Send more:    swaks --server 127.0.0.1:{self.smtp} --from bob@example.com --to {ADDRESS}\n"
            f"mutt:         mutt -f {inside}"
            f" -e 'set folder=imap://{STORE}@127.0.0.1:{self.imap}/ record=+Sent confirmappend=no ssl_starttls=no"
            f" ssl_force_tls=no from={ADDRESS} use_envelope_from smtp_url={outside}'\n"
            f"Thunderbird:  IMAP, server 127.0.0.1, port {self.imap}, connection security None, normal password\n"
            f"              outgoing SMTP, server 127.0.0.1, port {self.submission}, connection security None, normal"
            f" password\n"
            f"              user name {STORE}, password {self.password}, address {ADDRESS}\n\n"
            f"Nothing leaves this machine: mail to {ADDRESS} comes back in, mail to others is reported undeliverable.\n"
            "Ctrl-C ends the demo; nothing of it stays.\n"
        )

    def watch(self) -> None:
        """What happens at each node, until Ctrl-C."""
        try:
            if sys.stdout.isatty():
                self._live()
            else:
                signal.pause()
        except KeyboardInterrupt:
            click.echo()

    def _live(self) -> None:
        from rich.columns import Columns
        from rich.live import Live
        from rich.panel import Panel

        with Live(refresh_per_second=4) as live:
            while True:
                panels = [Panel(_summary(node.ask("status")), title=node.name) for node in (self.gateway, self.client)]
                live.update(Columns(panels, equal=True, expand=True))
                time.sleep(0.5)


def _summary(status: dict[str, Any]) -> str:
    lines = [f"{each['instance']} is {each['state']}" for each in status["instances"]]
    for store in status["stores"]:
        lines += [
            "",
            f"store {store['fingerprint']}: {store['state']}",
            f"{store['entries']} sealed entries, {store['bytes']} bytes",
        ]
        for key, value in (store.get("mailbox") or {}).items():
            lines.append(f"{key}: {value}")
        for peer in store["peers"]:
            lines.append(f"peer {peer['node'][:8]}: {peer['state']}")
    return "\n".join(lines)


def say(who: str, what: str) -> None:
    """One line of what happens."""
    name = f"{who:>8}"
    click.echo((name if os.environ.get("NO_COLOR") else click.style(name, bold=True)) + f"  {what}")
