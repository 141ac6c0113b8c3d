"""What other programs read of what is recovered; Python's own readers are the oracle."""

from __future__ import annotations

import mailbox
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesyx_core.node.letters import Maildir, Mbox, distinct, place, plain

TIME = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LETTER = b"Subject: one\r\n\r\nFrom here on\r\n>From there\r\nend\r\n"
ODD = b"Subject: two\r\n\r\na bare\nline end\r\n"


def test_a_maildir_has_bytes_flags_and_time(tmp_path: Path) -> None:
    letters = Maildir(tmp_path / "INBOX")
    letters.add(LETTER, TIME, {"\\Seen", "\\Flagged", "keyword"})
    letters.add(ODD, TIME, ())
    letters.close()
    read = mailbox.Maildir(str(tmp_path / "INBOX"), factory=None, create=False)
    found = sorted(read, key=lambda each: str(each["Subject"]))
    assert [each.get_flags() for each in found] == ["FS", ""]
    assert [int(each.get_date()) for each in found] == [int(TIME.timestamp())] * 2
    files = {each.read_bytes() for each in (tmp_path / "INBOX" / "cur").iterdir()}
    assert files == {LETTER.replace(b"\r\n", b"\n"), ODD}
    assert not list((tmp_path / "INBOX" / "tmp").iterdir())


def test_an_mbox_has_them_too_and_from_lines_do_not_end_a_message(tmp_path: Path) -> None:
    letters = Mbox(tmp_path / "a" / "INBOX.mbox")
    letters.add(LETTER, TIME, {"\\Seen", "\\Answered", "\\Deleted"})
    letters.add(b"Subject: three\r\n\r\nno end", TIME, {"\\Draft"})
    letters.close()
    first, second = mailbox.mbox(tmp_path / "a" / "INBOX.mbox", create=False)
    assert set(first.get_flags()) == {"R", "O", "A", "D"}
    assert set(second.get_flags()) == {"O", "T"}
    assert first.get_payload() == ">From here on\n>>From there\nend\n"
    assert second.get_payload() == "no end\n"
    assert first.get_from() == "MAILER-DAEMON Wed Mar 04 05:06:07 2026"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("INBOX", "INBOX"),
        ("Archive/2024", "Archive/2024"),
        ("../../etc/passwd", ".._/.._/etc/passwd"),
        ("a//b", "a/_/b"),
        ("cur/.hidden", "cur_/.hidden_"),
        ("nul\x00and\nline", "nul_and_line"),
    ],
)
def test_no_mailbox_leaves_its_folder(name: str, path: str) -> None:
    assert place(name) == Path(path)


def test_line_ends_are_changed_only_where_that_can_be_undone() -> None:
    assert plain(b"a\r\nb\r\n") == b"a\nb\n"
    assert plain(ODD) == ODD
    assert plain(b"a\rb\r\n") == b"a\rb\r\n"


def test_a_name_is_as_short_as_a_disk_takes_it_and_its_own() -> None:
    taken: set[str] = set()
    paths = [distinct(place(name), taken) for name in ("\u90f5" * 100, "\u90f5" * 101, "a\x01", "a_", "A_")]
    assert all(len(path.name.encode()) <= 255 for path in paths)
    assert len({str(path).casefold() for path in paths}) == len(paths)
    assert place("a.mbox/b") == Path("a.mbox_/b")


def test_nobody_else_sees_which_mailboxes_there_are(tmp_path: Path) -> None:
    Maildir(tmp_path / "a" / "b")
    Mbox(tmp_path / "c" / "d" / "e.mbox").close()
    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")} == {0}
