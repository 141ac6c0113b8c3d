"""Throw-away servers that other people wrote: Postfix and Dovecot, each in a folder of its own, on free ports of loopback.

Both are started as root, as Debian packages them (`scripts/peers` installs them), and need no service of the system.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

POSTFIX = Path("/usr/lib/postfix/sbin")
PASSWORD = "throw-away"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postfix(NamedTuple):
    """A running Postfix."""

    folder: Path
    port: int
    """SMTP; any sender, any recipient."""

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def queued(self) -> int:
        """Messages that it holds."""
        queues = ("maildrop", "incoming", "active", "deferred", "hold")
        return sum(len(files) for queue in queues for _, _, files in os.walk(self.folder / "queue" / queue))


class Dovecot(NamedTuple):
    """A running Dovecot. Log in as anybody with `PASSWORD`."""

    folder: Path
    lmtp: int
    imap: int

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def postfix(relay: str | None = None) -> Iterator[Postfix]:
    """Postfix that relays all mail to `relay` (host:port), byte for byte; without one it accepts to its queue and holds."""
    with _folder() as folder:
        port = free_port()
        (folder / "etc").mkdir()
        (folder / "etc" / "main.cf").write_text(_main_cf(folder, relay))
        (folder / "etc" / "master.cf").write_text(_master_cf(port))
        (folder / "log").touch()
        shutil.chown(folder / "log", "postfix")
        _queue(folder)
        with _process([str(POSTFIX / "master"), "-c", str(folder / "etc"), "-d"], folder, _speaks(port, b"220 ")):
            yield Postfix(folder, port)


@contextmanager
def dovecot(*, crypt: bool) -> Iterator[Dovecot]:
    """Dovecot with LMTP and IMAP over sdbox; with `crypt`, mail_crypt encrypts each mail to a P-256 key that it also holds."""
    with _folder() as folder:
        lmtp, imap = free_port(), free_port()
        mail = folder / "mail"
        mail.mkdir()
        shutil.chown(mail, "nobody", "nogroup")
        if crypt:
            _key_pair(folder)
        config = folder / "dovecot.conf"
        config.write_text(_dovecot_conf(folder, lmtp, imap, crypt))
        with _process(["dovecot", "-F", "-c", str(config)], folder, _speaks(lmtp, b"220 ")):
            yield Dovecot(folder, lmtp, imap)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mesyx-peer-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the servers' own users must get in
        yield folder


@contextmanager
def _process(command: list[str], folder: Path, up: Callable[[], bool]) -> Iterator[None]:
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(command, stdout=console, stderr=console, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not up():
            if process.poll() is not None or time.monotonic() > deadline:
                texts = [(folder / name).read_text(errors="replace") for name in ("console", "log")]
                raise AssertionError(f"{command[0]} did not come up:\n" + "\n".join(texts)[-4000:])
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _speaks(port: int, greeting: bytes) -> Callable[[], bool]:
    def up() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                return connection.recv(512).startswith(greeting)
        except OSError:
            return False

    return up


def _queue(folder: Path) -> None:
    queue, data = folder / "queue", folder / "data"
    for path in (queue, queue / "pid"):
        path.mkdir()
    names = (
        "active",
        "bounce",
        "corrupt",
        "defer",
        "deferred",
        "flush",
        "hold",
        "incoming",
        "private",
        "saved",
        "trace",
    )
    for path in (data, *(queue / name for name in names)):
        path.mkdir(0o700)
        shutil.chown(path, "postfix")
    for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
        (queue / name).mkdir()
        shutil.chown(queue / name, "postfix", "postdrop")
        (queue / name).chmod(mode)


def _main_cf(folder: Path, relay: str | None) -> str:
    host, _, port = (relay or "").rpartition(":")
    way = f"relayhost = [{host}]:{port}" if relay else "smtpd_data_restrictions = check_client_access static:HOLD"
    return f"""
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {POSTFIX}
command_directory = /usr/sbin
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example.net
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
smtpd_tls_security_level = none
message_size_limit = 104857600
in_flow_delay = 0
# Byte for byte: Postfix changes nothing of what it relays.
message_drop_headers =
smtp_line_length_limit = 0
local_header_rewrite_clients =
# Try again soon: tests do not wait for minutes.
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = may
smtp_destination_concurrency_failed_cohort_limit = 0
destination_concurrency_feedback_debug = no
{way}
"""


def _master_cf(port: int) -> str:
    return f"""
127.0.0.1:{port} inet n - n - 200 smtpd
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


def _key_pair(folder: Path) -> None:
    private, public = folder / "private.pem", folder / "public.pem"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)
    private.chmod(0o644)  # a throw-away key; every process of this Dovecot reads it


def _dovecot_conf(folder: Path, lmtp: int, imap: int, crypt: bool) -> str:
    encrypted = f"""
mail_plugins = $mail_plugins mail_crypt
plugin {{
  mail_crypt_global_private_key = <{folder}/private.pem
  mail_crypt_global_public_key = <{folder}/public.pem
  mail_crypt_save_version = 2
}}
"""
    return f"""
protocols = imap lmtp
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
listen = 127.0.0.1
mail_location = sdbox:{folder}/mail/%u
mail_privileged_group =
first_valid_uid = 1
postmaster_address = postmaster@example.org
default_client_limit = 1000
default_process_limit = 200
{encrypted if crypt else ""}
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail/%u allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


@contextmanager
def postgresql() -> Iterator[str]:
    """A throw-away PostgreSQL on loopback, everything durable as usual; the URL of the server, to which a database's name
    is added. Needs root: the server itself runs as the user that its package made."""
    [bin] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mesyx-postgresql-") as name:
        shutil.chown(name, "postgres")
        data = Path(name) / "data"

        def as_postgres(*words: str | Path) -> list[str]:
            return ["runuser", "-u", "postgres", "--", *map(str, words)]

        subprocess.run(
            as_postgres(bin / "initdb", "-D", data, "-A", "trust", "-E", "UTF8", "--locale=C"),
            check=True,
            capture_output=True,
        )
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={name} -c max_connections=200"
        )
        log = Path(name) / "log"
        subprocess.run(
            as_postgres(bin / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start"),
            check=True,
            capture_output=True,
        )
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}"
        finally:
            subprocess.run(
                as_postgres(bin / "pg_ctl", "-D", data, "-m", "immediate", "stop"), check=True, capture_output=True
            )
