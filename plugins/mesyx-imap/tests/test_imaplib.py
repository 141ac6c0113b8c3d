"""The client that Python brings, over loopback; others are in scenario/."""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import Callable
from typing import TypeVar

import uvloop

from mesyx_core.testing.view import MemoryView

from .test_driver import Server, server
from .transcript import MAIL

_T = TypeVar("_T")


def _against(view: MemoryView | None, work: Callable[[Server], _T]) -> _T:
    """Do blocking work in a thread while a server runs."""

    async def run() -> _T:
        async with server() as made:
            for number in range(5):
                made.view.add(MAIL.replace(b"<1@", b"<%d@" % number))
            return await asyncio.to_thread(work, made)

    return uvloop.run(run())


def test_imaplib() -> None:
    def work(made: Server) -> None:
        with imaplib.IMAP4("127.0.0.1", made.port) as client:
            client.starttls()
            client.authenticate("PLAIN", lambda _: b"\0alice\0secret")
            assert client.select()[1] == [b"5"]
            assert client.search(None, "SUBJECT", '"lunch"')[1] == [b"1 2 3 4 5"]
            assert client.uid("FETCH", "2:3", "(RFC822.SIZE)")[0] == "OK"
            assert client.append("Drafts", "(\\Draft)", None, MAIL)[0] == "OK"  # type: ignore[arg-type] # a date
            assert client.copy("1:2", "Archive")[0] == "OK"
            assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
            assert client.expunge()[1] == [b"1"]
            assert client.create("a/b")[0] == "OK"
            assert client.rename("a", "c")[0] == "OK"
            assert client.delete("c/b")[0] == "OK"
            assert client.status("Archive", "(MESSAGES)")[1] == [b"Archive (MESSAGES 2)"]

    _against(None, work)
