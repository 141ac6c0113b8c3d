"""mutt in tmux, with a configuration of its own. (mbsync is in `mesyx_core.testing.mbsync`.)"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MUTTRC = """
set folder=imap://{user}@127.0.0.1:{port}/ spoolfile=+INBOX imap_pass={password} imap_user={user}
set ssl_starttls=no ssl_force_tls=no move=no quit=yes delete=yes confirmappend=no confirmcreate=no sleep_time=0
set header_cache="" message_cachedir="" certificate_file={folder}/certificates mail_check=1 imap_idle=no
set record="" postponed="" sendmail=/bin/false tmpdir={folder} charset=utf-8 sort=mailbox-order wait_key=no crypt_verify_sig=no
set mailcap_path={folder}/none tilde=no smart_wrap=no markers=no status_format="-- %f %m messages %v --"
"""


@dataclass(frozen=True)
class Mutt:
    """mutt on a screen of 200 columns and 50 lines."""

    socket: Path

    def tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", self.socket, *words], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, or text."""
        self.tmux("send-keys", "-t", "mutt", *keys)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "mutt")

    def shows(self, text: str, timeout: float = 30) -> str:
        """Wait for a text on the screen; the screen."""
        deadline = time.monotonic() + timeout
        while text not in (screen := self.screen()):
            if time.monotonic() > deadline:
                raise AssertionError(f"mutt does not show {text!r} within {timeout} s:\n{screen}")
            time.sleep(0.05)
        return screen

    def alive(self) -> bool:
        return subprocess.run(["tmux", "-S", self.socket, "has-session"], capture_output=True).returncode == 0

    def quit(self, timeout: float = 30) -> None:
        """Write what was changed, and end."""
        self.press("q")
        deadline = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > deadline:
                raise AssertionError(f"mutt does not end:\n{self.screen()}")
            time.sleep(0.05)


@contextmanager
def mutt(folder: Path, port: int, user: str, password: str, mailbox: str = "INBOX") -> Iterator[Mutt]:
    """mutt with that mailbox open, in a terminal that tmux plays."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "muttrc"
    config.write_text(_MUTTRC.format(folder=folder, port=port, user=user, password=password))
    config.chmod(0o600)
    words = ["env", "TERM=screen-256color", "LC_ALL=C.UTF-8", f"HOME={folder}", "mutt", "-F", str(config)]
    screen = Mutt(Path(tempfile.mkdtemp(prefix="tmux-")) / "socket")  # a deep folder is too long for a socket's name
    start = ["-f", "/dev/null", "new-session", "-d", "-s", "mutt", "-x", "200", "-y", "50"]
    try:
        screen.tmux(*start, shlex.join([*words, "-f", f"imap://{user}@127.0.0.1:{port}/{mailbox}"]))
        screen.shows(" messages ")
        yield screen
    finally:
        subprocess.run(["tmux", "-S", screen.socket, "kill-server"], capture_output=True, timeout=20)
        shutil.rmtree(screen.socket.parent, ignore_errors=True)
