"""A throw-away Postfix on loopback, as Debian packages it, of which every address can behave in its own way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from mesyx_smtp.testing.serving import TcpServer, free_port, serving

DAEMONS: Final = Path("/usr/lib/postfix/sbin")
_FOLDERS: Final = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"),
)


class Postfix(NamedTuple):
    """A running one. It takes mail for everybody and holds it, if its parameters do not say otherwise."""

    folder: Path
    port: int

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def queued(self) -> int:
        """How many messages are in any of its queues."""
        queues = ("maildrop", "incoming", "active", "deferred", "hold")
        return sum(len(files) for queue in queues for _, _, files in os.walk(self.folder / "queue" / queue))

    def held(self) -> list[bytes]:
        """The messages that it took, with the `Received` that it put on top."""
        return self._postcat("-bh")

    def envelopes(self) -> list[tuple[str, list[str]]]:
        """Of each of them the sender and the recipients, sorted."""
        found = []
        for envelope in self._postcat("-e"):
            fields = [line.partition(": ")[::2] for line in envelope.decode().splitlines()]
            (sender,) = (value.strip() for name, value in fields if name == "sender")
            found.append((sender, sorted(value.strip() for name, value in fields if name == "recipient")))
        return found

    def notifications(self) -> list[set[str]]:
        """What each of them was asked to be told (RFC 3461), as postcat(1) names it: envelope_id, ret_flags,
        notify_flags and dsn_orig_rcpt, which Postfix makes up where it was not given."""
        names = ("envelope_id=", "ret_flags=", "notify_flags=", "dsn_orig_rcpt=")
        lines = (envelope.decode().splitlines() for envelope in self._postcat("-e"))
        values = ((line.partition("named_attribute: ")[2] for line in envelope) for envelope in lines)
        return [{value for value in envelope if value.startswith(names)} for envelope in values]

    def _postcat(self, option: str) -> list[bytes]:
        """Of each message, in the order that they came."""
        files = sorted((self.folder / "queue" / "hold").rglob("*"), key=lambda file: file.stat().st_mtime_ns)
        command = ["postcat", "-c", str(self.folder / "etc"), option]
        return [
            subprocess.run([*command, str(file)], check=True, capture_output=True).stdout
            for file in files
            if file.is_file()
        ]


@contextmanager
def postfix(
    hosts: Mapping[str, Mapping[str, str]],
    *,
    certificate: Path | None = None,
    parameters: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Postfix]:
    """Postfix on `port` of each address in `hosts`, whose value sets parameters of postconf(5) for that address
    alone; `parameters` are for all of it. Needs root. With a certificate (PEM, key included) TLS is offered, unless the
    address has `smtpd_tls_security_level = none`."""
    with tempfile.TemporaryDirectory(prefix="mesyx-postfix-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postfix's own users must get in
        port = port or free_port(*hosts)
        (folder / "etc").mkdir()
        (folder / "etc" / "main.cf").write_text(_main_cf(folder, certificate, parameters or {}))
        (folder / "etc" / "master.cf").write_text(_master_cf(hosts, port))
        (folder / "log").touch()
        shutil.chown(folder / "log", "postfix")
        _queue(folder)
        with _master(folder, [(host, port) for host in hosts]):
            yield Postfix(folder, port)


def relaying(host: str, port: int) -> dict[str, str]:
    """Parameters with which it passes on all mail, byte for byte, and soon tries again what it could not."""
    return {
        "smtpd_end_of_data_restrictions": "",
        "relayhost": f"[{host}]:{port}",
        "smtp_line_length_limit": "0",
        "smtp_host_lookup": "native",
        "smtp_tls_security_level": "may",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "queue_run_delay": "1s",
        "smtp_destination_concurrency_failed_cohort_limit": "0",
    }


class Greylist:
    """A policy service (SMTPD_POLICY_README) that puts everybody off once: sender, recipient and client together."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, str]] = set()
        self.port = 0

    @contextmanager
    def running(self) -> Iterator[str]:
        """Gives the restriction that asks it."""
        seen = self.seen

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while True:
                    asked: dict[str, str] = {}
                    while (line := self.rfile.readline().decode().rstrip("\n")) != "":
                        key, _, value = line.partition("=")
                        asked[key] = value
                    if not asked:
                        return
                    who = asked["sender"], asked["recipient"], asked["client_address"]
                    known = who in seen
                    seen.add(who)
                    word = b"dunno" if known else b"450 4.7.1 Greylisted, come back later"
                    self.wfile.write(b"action=%b\n\n" % word)

        server = TcpServer(("127.0.0.1", 0), Handler)
        with serving(server):
            yield f"check_policy_service inet:127.0.0.1:{server.server_address[1]}"


@contextmanager
def _master(folder: Path, where: list[tuple[str, int]]) -> Iterator[None]:
    with (folder / "console").open("wb") as console:
        command = [str(DAEMONS / "master"), "-c", str(folder / "etc"), "-d"]
        process = subprocess.Popen(command, stdout=console, stderr=console, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not all(map(_open, where)):
            if process.poll() is not None or time.monotonic() > deadline:
                texts = [(folder / name).read_text(errors="replace") for name in ("console", "log")]
                raise AssertionError("Postfix did not come up:\n" + "\n".join(texts)[-4000:])
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _open(where: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(where, 5):
            return True
    except OSError:
        return False


def _queue(folder: Path) -> None:
    queue, data = folder / "queue", folder / "data"
    for path in (queue, queue / "pid"):
        path.mkdir()
    for path in (data, *(queue / name for name in _FOLDERS)):
        path.mkdir(0o700)
        shutil.chown(path, "postfix")
    for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
        (queue / name).mkdir()
        shutil.chown(queue / name, "postfix", "postdrop")
        os.chmod(queue / name, mode)


def _main_cf(folder: Path, certificate: Path | None, parameters: Mapping[str, str]) -> str:
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": f"{folder}/queue",
        "data_directory": f"{folder}/data",
        "daemon_directory": f"{DAEMONS}",
        "command_directory": "/usr/sbin",
        "maillog_file": f"{folder}/log",
        "maillog_file_prefixes": f"{folder}",
        "mail_owner": "postfix",
        "setgid_group": "postdrop",
        "myhostname": "postfix.example.net",
        "mydestination": "",
        "local_recipient_maps": "",
        "alias_maps": "",
        "inet_interfaces": "all",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_recipient_restrictions": "",
        "smtpd_end_of_data_restrictions": "check_client_access static:HOLD",
        "smtpd_client_connection_count_limit": "0",
        "smtpd_peername_lookup": "no",
        "smtpd_error_sleep_time": "0",
        "message_size_limit": "104857600",
        "in_flow_delay": "0",
        "message_drop_headers": "",
        "local_header_rewrite_clients": "",
        "smtp_dns_support_level": "disabled",
        "smtpd_tls_security_level": "may" if certificate else "none",
        "smtpd_tls_chain_files": f"{certificate or ''}",
        **parameters,
    }
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


def _master_cf(hosts: Mapping[str, Mapping[str, str]], port: int) -> str:
    servers = ""
    for host, options in hosts.items():
        servers += f"{host}:{port} inet n - n - 200 smtpd\n"
        servers += "".join(f"    -o {{ {key} = {value} }}\n" for key, value in options.items())
    return f"""{servers}
cleanup   unix  n - n -    0 cleanup
qmgr      unix  n - n 300  1 qmgr
rewrite   unix  - - n -    - trivial-rewrite
bounce    unix  - - n -    0 bounce
defer     unix  - - n -    0 bounce
trace     unix  - - n -    0 bounce
smtp      unix  - - n -    - smtp
relay     unix  - - n -    - smtp
error     unix  - - n -    - error
retry     unix  - - n -    - error
proxymap  unix  - - n -    - proxymap
anvil     unix  - - n -    1 anvil
scache    unix  - - n -    1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
"""
