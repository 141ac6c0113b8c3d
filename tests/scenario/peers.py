"""Throw-away servers that other people wrote: Dovecot and PostgreSQL, each in a folder of its own, on free ports of
loopback; Postfix is in `mesyx_smtp.testing`.

They are started as root, as Debian packages them (`scripts/peers` installs them), and need no service of the system.
"""

from __future__ import annotations

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

PASSWORD = "throw-away"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Dovecot(NamedTuple):
    """A running Dovecot. Log in as anybody with `PASSWORD`."""

    folder: Path
    lmtp: int
    imap: int

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


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
