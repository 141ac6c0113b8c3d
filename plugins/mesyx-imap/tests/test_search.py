"""SEARCH: every key finds what it should."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from mesyx_core.testing.view import MemoryView

from .transcript import MAIL, Stage


def _view() -> MemoryView:
    view = MemoryView()
    view.add(MAIL, time=datetime(2026, 11, 2, 11, tzinfo=UTC))
    view.add(
        b"From: Carol <carol@example.org>\r\nCc: bob@example.org\r\nBcc: eve@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        b"Date: Sun, 1 Nov 2026 12:00:00 +0000\r\nX-Note: yes\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        + "Schöne Grüße\r\n".encode(),
        time=datetime(2026, 11, 3, 11, tzinfo=UTC),
        flags={"\\Seen", "work"},
    )
    view.add(
        MAIL * 4, time=datetime(2026, 11, 4, tzinfo=UTC), flags={"\\Flagged", "\\Answered", "\\Draft", "\\Deleted"}
    )
    return view


async def _search(stage: Stage, keys: bytes, uid: bool = False) -> bytes:
    line = stage.lines[0] if stage.lines else await stage.open()
    if not line.session.current:
        await line.say(b"a SELECT INBOX\r\n")
    return await line.say(b"b " + b"UID " * uid + b"SEARCH " + keys + b"\r\n")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("ALL", "1 2 3"), ("SEEN", "2"), ("UNSEEN", "1 3"), ("FLAGGED", "3"), ("UNFLAGGED", "1 2"), ("ANSWERED", "3"),
        ("UNANSWERED", "1 2"), ("DRAFT", "3"), ("UNDRAFT", "1 2"), ("DELETED", "3"), ("UNDELETED", "1 2"),
        ("KEYWORD work", "2"), ("UNKEYWORD WORK", "1 3"), ("RECENT", "1 2 3"), ("NEW", "1 3"), ("OLD", ""),
        ("FROM carol", "2"), ("TO alice@", "1 3"), ("CC bob", "2"), ("BCC eve", "2"), ("SUBJECT lunch", "1 3"),
        ("SUBJECT Grüße", "2"), ("BODY noon", "1 3"), ("BODY lunch", "3"), ("TEXT lunch", "1 3"), ("TEXT schöne", "2"),
        ("HEADER x-note YES", "2"), ('HEADER X-Note ""', "2"), ("HEADER Message-ID 1@", "1 3"),
        ("BEFORE 3-Nov-2026", "1"), ("ON 03-Nov-2026", "2"), ('SINCE "3-nov-2026"', "2 3"),
        ("SENTBEFORE 2-Nov-2026", "2"), ("SENTON 2-Nov-2026", "1 3"), ("SENTSINCE 2-Nov-2026", "1 3"),
        ("LARGER 300", "3"), ("SMALLER 300", "1 2"), ("1,3", "1 3"), ("2:*", "2 3"), ("UID 2:9", "2 3"), ("7", ""),
        ("NOT SEEN", "1 3"), ("OR SEEN DELETED", "2 3"), ("(OR (SEEN) (NOT DELETED)) UNSEEN", "1"), ("SEEN UNSEEN", ""),
        ("NOT (FROM bob SUBJECT lunch)", "2"), ("CHARSET UTF-8 SUBJECT Grüße", "2"), ("CHARSET US-ASCII FROM bob", "1 3"),
    ],
)  # fmt: skip
def test_keys(keys: str, found: str) -> None:
    async def run() -> None:
        stage = Stage(_view())
        data = keys.encode()
        if not keys.isascii():  # 8-bit text is sent as a literal
            words, _, text = keys.rpartition(" ")
            data = f"{words} {{{len(text.encode())}+}}\r\n{text}".encode()
        line = f"* SEARCH {found}".rstrip().encode()
        assert await _search(stage, data) == line + b"\r\nb OK Searched\r\n"
        stage.close()

    asyncio.run(run())


def test_uid_search_gives_uids() -> None:
    async def run() -> None:
        stage = Stage(_view())
        await _search(stage, b"ALL")
        await stage.lines[0].say(b"c UID EXPUNGE 3\r\nd STORE 1 +FLAGS \\Deleted\r\ne EXPUNGE\r\n")
        assert await _search(stage, b"ALL", uid=True) == b"* SEARCH 2\r\nb OK Searched\r\n"
        assert await _search(stage, b"1", uid=True) == b"* SEARCH 2\r\nb OK Searched\r\n"
        stage.close()

    asyncio.run(run())


def test_what_cannot_be_searched() -> None:
    async def run() -> None:
        stage = Stage(_view())
        for keys, answer in (
            (b"CHARSET KOI8-R ALL", b"b NO [BADCHARSET (US-ASCII UTF-8)] Charset not known\r\n"),
            (b"FROM {1+}\r\n\xff", b"b NO [BADCHARSET (US-ASCII UTF-8)] Search string is not UTF-8\r\n"),
            (b"NOSUCH", b"b BAD Unknown search key\r\n"),
            (b"ON 31-Feb-2026", b"b BAD Not a date\r\n"),
            (b"(SEEN", b"b BAD Expected )\r\n"),
            (b"OR SEEN", b"b BAD Expected space\r\n"),
            (b"(" * 17 + b"ALL" + b")" * 17, b"b BAD Search keys nested too deep\r\n"),
            (b"NOT " * 17 + b"ALL", b"b BAD Search keys nested too deep\r\n"),
            (b"ALL " * 600 + b"ALL", b"b BAD Too many search keys\r\n"),
        ):
            assert await _search(stage, keys) == answer
        stage.close()

    asyncio.run(run())
