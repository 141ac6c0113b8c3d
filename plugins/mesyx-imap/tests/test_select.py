"""SELECT and what a session is told of its mailbox, when."""

from __future__ import annotations

import asyncio

from mesyx_core.testing.view import MemoryView

from .transcript import MAIL, Stage, play, with_mail

_ID = "MAILBOXID (F9ZkczlP1WOkcRS000yxBFhGPy3LL5-ApT4WF8mZYzjo)"


def test_select_describes_the_mailbox() -> None:
    view = with_mail(2)
    view.add(MAIL, flags={"\\Seen", "work"})
    play(
        f"""
        C: a SELECT inbox
        S: * FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft work)
        S: * OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft work \\*)] Flags that last
        S: * 3 EXISTS
        S: * 3 RECENT
        S: * OK [UNSEEN 1] First unseen
        S: * OK [UIDVALIDITY 1] UIDs are valid
        S: * OK [UIDNEXT 4] Predicted next UID
        S: * OK [{_ID}] Its id
        S: a OK [READ-WRITE] Selected
        C: b SELECT nowhere
        S: b NO [NONEXISTENT] No such mailbox
        C: c CHECK
        S: c BAD Select a mailbox first
        """,
        view,
    )


def test_examine_changes_nothing() -> None:
    play(
        f"""
        C: a EXAMINE INBOX
        S: * FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)
        S: * OK [PERMANENTFLAGS ()] Flags that last
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * OK [UNSEEN 1] First unseen
        S: * OK [UIDVALIDITY 1] UIDs are valid
        S: * OK [UIDNEXT 2] Predicted next UID
        S: * OK [{_ID}] Its id
        S: a OK [READ-ONLY] Examined
        C: b STORE 1 +FLAGS (\\Seen)
        S: b NO [NOPERM] Mailbox is open read-only
        C: c EXPUNGE
        S: c NO [NOPERM] Mailbox is open read-only
        C: d FETCH 1 (RFC822.TEXT FLAGS)
        S: * 1 FETCH (FLAGS (\\Recent) RFC822.TEXT {{10}}
        S: At noon?
        S: )
        S: d OK Fetched
        C: e STATUS INBOX (RECENT)
        S: * STATUS INBOX (RECENT 1)
        S: e OK That is its status
        C: f UNSELECT
        S: f OK Unselected
        """,
        with_mail(),
    )


def test_a_message_is_recent_for_one_session_only() -> None:
    async def run() -> None:
        stage = Stage(with_mail())
        first, second = await stage.open(), await stage.open()
        assert b"* 1 RECENT" in await first.say(b"a SELECT INBOX\r\n")
        assert b"* 0 RECENT" in await second.say(b"a SELECT INBOX\r\n")
        await stage.play("C: b SEARCH RECENT\nS: * SEARCH 1\nS: b OK Searched", first)
        await stage.play("C: b SEARCH RECENT\nS: * SEARCH\nS: b OK Searched", second)
        stage.close()

    asyncio.run(run())


def test_recent_marks_outlive_a_restart() -> None:
    async def run() -> None:
        stage = Stage(with_mail())
        await (await stage.open()).say(b"a SELECT INBOX\r\n")
        stage.marks = type(stage.marks).unpack(stage.marks.pack())
        assert b"* 0 RECENT" in await (await stage.open()).say(b"a SELECT INBOX\r\n")
        stage.close()

    asyncio.run(run())


async def _two(view: MemoryView) -> Stage:
    stage = Stage(view)
    for _ in range(2):
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\n")
    return stage


def test_others_flags_arrivals_and_removals_are_told_with_the_next_reply() -> None:
    async def run() -> None:
        stage = await _two(with_mail(3))
        one, two = stage.lines
        await one.say(b"b STORE 2 +FLAGS (\\Flagged)\r\n")
        await stage.play(
            "C: b NOOP\nS: * 2 FETCH (UID 2 FLAGS (\\Flagged))\nS: b OK Nothing done",
            two,
        )
        stage.view.add(MAIL)  # type: ignore[attr-defined] # a MemoryView
        await stage.play("C: c NOOP\nS: * 4 EXISTS\nS: * 4 RECENT\nS: c OK Nothing done", one)
        await stage.play("C: c NOOP\nS: * 4 EXISTS\nS: * 0 RECENT\nS: c OK Nothing done", two)
        await one.say(b"d STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\n")
        await stage.play("C: d NOOP\nS: * 3 EXPUNGE\nS: * 1 EXPUNGE\nS: d OK Nothing done", two)
        stage.close()

    asyncio.run(run())


def test_numbers_do_not_move_under_fetch_store_and_search() -> None:
    async def run() -> None:
        stage = await _two(with_mail(3))
        one, two = stage.lines
        await one.say(b"b STORE 1 +FLAGS.SILENT (\\Deleted)\r\nc EXPUNGE\r\n")
        await stage.play(
            """
            C: b FETCH 3 UID
            S: * 3 FETCH (UID 3)
            S: b OK Fetched
            C: c SEARCH ALL
            S: * SEARCH 2 3
            S: c OK Searched
            C: d STORE 3 +FLAGS (\\Seen)
            S: * 3 FETCH (FLAGS (\\Seen))
            S: d OK Stored
            C: e UID FETCH 3 UID
            S: * 3 FETCH (UID 3)
            S: * 1 EXPUNGE
            S: e OK Fetched
            C: f FETCH 2 UID
            S: * 2 FETCH (UID 3)
            S: f OK Fetched
            """,
            two,
        )
        stage.close()

    asyncio.run(run())


def test_an_append_to_the_selected_mailbox_is_told_at_once_and_once() -> None:
    async def run() -> None:
        stage = await _two(with_mail())
        await stage.play(
            """
            C: b APPEND INBOX (\\Seen) {6+}
            C: a: b
            C:
            S: * 2 EXISTS
            S: * 2 RECENT
            S: b OK [APPENDUID 1 2] Appended
            C: c NOOP
            S: c OK Nothing done
            """,
            stage.lines[0],
        )
        stage.close()

    asyncio.run(run())


def test_a_silent_store_stays_silent() -> None:
    async def run() -> None:
        stage = await _two(with_mail())
        await stage.play(
            """
            C: b STORE 1 +FLAGS.SILENT (\\Seen)
            S: b OK Stored
            C: c NOOP
            S: c OK Nothing done
            """,
            stage.lines[0],
        )
        stage.close()

    asyncio.run(run())


def test_idle_hears_at_once() -> None:
    async def run() -> None:
        stage = await _two(with_mail(2))
        one, two = stage.lines
        await stage.play("C: b IDLE\nS: + Idling", two)
        stage.view.add(MAIL)  # type: ignore[attr-defined] # a MemoryView
        assert await two.say(b"") == b"* 3 EXISTS\r\n* 1 RECENT\r\n"
        await one.say(b"b STORE 1 FLAGS.SILENT (\\Deleted \\Answered)\r\n")
        assert await two.say(b"") == b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Deleted))\r\n"
        await one.say(b"c EXPUNGE\r\n")
        assert await two.say(b"") == b"* 1 EXPUNGE\r\n"
        await stage.play("C: DONE\nS: b OK Idled\nC: c IDLE\nS: + Idling\nC: WHAT\nS: c BAD Expected DONE", two)
        stage.close()

    asyncio.run(run())
