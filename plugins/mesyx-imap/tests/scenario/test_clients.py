"""Clients that other people wrote speak to the server over loopback: mbsync and mutt."""

from __future__ import annotations

import asyncio
import imaplib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from mesyx_core.testing.mbsync import Mbsync
from mesyx_core.testing.view import MemoryView

from ..test_driver import Server, server
from ..transcript import MAIL

pytestmark = pytest.mark.scenario
_T = TypeVar("_T")


def _against(view: MemoryView | None, work: Callable[[Server], _T]) -> _T:
    """Do blocking work in a thread while a server runs."""

    async def run() -> _T:
        async with server() as made:
            for number in range(5):
                made.view.add(MAIL.replace(b"<1@", b"<%d@" % number))
            return await asyncio.to_thread(work, made)

    return uvloop.run(run())


@pytest.mark.parametrize("mechanism", ["LOGIN", "PLAIN", "SCRAM-SHA-256"])
def test_mbsync_there_and_back(tmp_path: Path, mechanism: str) -> None:
    def work(made: Server) -> None:
        mbsync = Mbsync.make(tmp_path, made.port, "alice", "secret", mechanism)
        mbsync.sync()
        mails = mbsync.files()
        assert len(mails) == 5
        assert mails[0].read_bytes().replace(b"\r\n", b"\n").count(b"At noon?") == 1
        mbsync.flag(mails[0], "ST")  # seen and trashed
        (mbsync.mailbox() / "new" / "1.new.host").write_bytes(b"Subject: from here\n\nbody\n")
        mbsync.sync()
        with imaplib.IMAP4("127.0.0.1", made.port) as client:
            client.login("alice", "secret")
            assert client.select()[1] == [b"5"]
            assert client.search(None, "SUBJECT", '"from here"')[1] == [b"5"]
        mbsync.sync()

    _against(None, work)


def _on_a_terminal(words: list[str], home: Path) -> int:
    """Run a program that wants a screen; its exit code."""
    ours, its = os.openpty()
    environment = {"TERM": "xterm", "HOME": str(home), "PATH": os.environ["PATH"]}
    with subprocess.Popen(words, stdin=its, stdout=its, stderr=its, env=environment) as program:
        os.close(its)
        try:
            while os.read(ours, 4096):
                pass
        except OSError:  # what Linux says at a terminal's end
            pass
        os.close(ours)
        return program.wait(30)


def test_mutt_reads_flags_and_saves(tmp_path: Path) -> None:
    def work(made: Server) -> None:
        url = f"imap://alice:secret@127.0.0.1:{made.port}/INBOX"
        rc = tmp_path / "muttrc"
        rc.write_text(
            "set ssl_starttls=no ssl_force_tls=no confirmappend=no confirmcreate=no move=no quit=yes delete=yes\n"
            f"set folder=imap://alice:secret@127.0.0.1:{made.port}/\n"
            "push '<flag-message><next-entry><copy-message>=Archive<enter><delete-message><sync-mailbox><quit>'\n"
        )
        assert _on_a_terminal(["mutt", "-F", str(rc), "-f", url], tmp_path) == 0
        with imaplib.IMAP4("127.0.0.1", made.port) as client:
            client.login("alice", "secret")
            assert client.select("Archive")[1] == [b"1"]
            assert client.select()[1] == [b"4"]
            assert client.search(None, "FLAGGED")[1] == [b"1"]

    _against(None, work)


def test_gsasl_logs_in_by_scram(tmp_path: Path) -> None:
    def work(made: Server) -> None:
        words = ["gsasl", "--imap", "--no-starttls", "--connect", f"127.0.0.1:{made.port}", "--no-cb"]
        words += ["--mechanism", "SCRAM-SHA-256", "--authentication-id", "alice", "--password"]
        for password, ends in (("secret", 0), ("wrong", 1)):
            done = subprocess.run(
                [*words, password], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
            )
            assert done.returncode == ends, done.stderr

    _against(None, work)


def test_curl_sees_which_mailboxes_have_children() -> None:
    def work(made: Server) -> None:
        with imaplib.IMAP4("127.0.0.1", made.port) as client:
            client.login("alice", "secret")
            client.create("work/2026")
        words = ["curl", "-sS", "--url", f"imap://127.0.0.1:{made.port}/", "--user", "alice:secret", "-X"]
        done = subprocess.run([*words, 'LIST "" "*"'], capture_output=True, text=True, timeout=60, check=True)
        lines = [line.removeprefix("* LIST ").partition(' "/" ') for line in done.stdout.splitlines()]
        listed = {name: attributes for attributes, _, name in lines}
        assert "\\HasChildren" in listed["work"]
        assert "\\HasNoChildren" in listed["work/2026"]
        assert "\\HasNoChildren" in listed["INBOX"]

    _against(None, work)
