"""mbsync, which keeps a Maildir and an account the same: driven as people do, with a configuration of its own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CONFIG = """
IMAPAccount mesyx
Host 127.0.0.1
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs {mechanism}
Timeout 60

IMAPStore far
Account mesyx

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
"""

CLEAR = "*** IMAP Warning *** Password is being sent in the clear"
"""What it says of LOGIN and PLAIN without TLS; on loopback that is meant so."""


@dataclass(frozen=True)
class Mbsync:
    """One Maildir that is synchronised with one account."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, port: int, user: str, password: str, mechanism: str = "*") -> Mbsync:
        """On loopback; `mechanism` is the one way to log in, by default any."""
        (folder / "mail").mkdir(parents=True)
        config = folder / "mbsyncrc"
        config.write_text(_CONFIG.format(folder=folder, port=port, user=user, password=password, mechanism=mechanism))
        config.chmod(0o600)
        return cls(folder)

    def sync(self, timeout: float = 100) -> None:
        """Both ways; any complaint is a failure."""
        words = ["mbsync", "-c", str(self.folder / "mbsyncrc"), "-a"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr
        complaints = [line for line in done.stderr.splitlines() if line.strip() and line != CLEAR]
        assert not complaints, done.stderr

    def mailbox(self, name: str = "INBOX") -> Path:
        return self.folder / "mail" / name

    def files(self, name: str = "INBOX") -> list[Path]:
        """The messages of a mailbox."""
        return sorted(file for part in ("cur", "new") for file in (self.mailbox(name) / part).iterdir())

    def mails(self, name: str = "INBOX") -> Iterator[bytes]:
        """The messages as the server gave them: mbsync writes bare LF and one header field of its own."""
        for file in self.files(name):
            yield _TUID.sub(b"\n\n", file.read_bytes(), count=1).replace(b"\n", b"\r\n")

    def listing(self) -> list[str]:
        """All files of all mailboxes, with their flags."""
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.glob("mail/**/*") if _mail(file))

    def subjects(self) -> list[tuple[str, str, str]]:
        """Of each message: mailbox, Subject line, flags."""
        files = [file for file in self.folder.glob("mail/**/*") if _mail(file)]
        lines = ((file, file.read_text(errors="replace").partition("\nSubject:")[2]) for file in files)
        return sorted((file.parent.parent.name, text.partition("\n")[0], self.flags(file)) for file, text in lines)

    def flag(self, file: Path, flags: str) -> Path:
        """Give a message these Maildir flags, instead of those it had."""
        fresh = file.parent.with_name("cur") / (file.name.partition(":")[0] + ":2," + "".join(sorted(flags)))
        return file.rename(fresh)

    def flags(self, file: Path) -> str:
        return file.name.partition(":2,")[2]


_TUID = re.compile(rb"\nX-TUID: [A-Za-z0-9+/]{12}\n\n")


def _mail(file: Path) -> bool:
    return file.parent.name in ("cur", "new") and file.is_file()
