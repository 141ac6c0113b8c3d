"""COPY, MOVE, APPEND, EXPUNGE and CLOSE."""

from __future__ import annotations

import asyncio

from mesyx_imap.limits import Limits

from .transcript import MAIL, Stage, play, with_mail


async def _open(count: int) -> Stage:
    stage = Stage(with_mail(count))
    await (await stage.open()).say(b"a SELECT INBOX\r\n")
    return stage


def test_copy_and_move_name_the_uids() -> None:
    async def run() -> None:
        stage = await _open(4)
        await stage.play(
            """
            C: b COPY 1:2,4 Archive
            S: b OK [COPYUID 1 1:2,4 1:3] Copied
            C: c UID MOVE 2:3 Archive
            S: * OK [COPYUID 1 2:3 4:5] Moved
            S: * 3 EXPUNGE
            S: * 2 EXPUNGE
            S: c OK Moved
            C: d MOVE 1 Archive
            S: * OK [COPYUID 1 1 6] Moved
            S: * 1 EXPUNGE
            S: d OK Moved
            C: e COPY 1 nowhere
            S: e NO [TRYCREATE] No such mailbox
            C: f UID COPY 99 Archive
            S: f OK Copied
            C: g COPY 1 INBOX
            S: * 2 EXISTS
            S: * 2 RECENT
            S: g OK [COPYUID 1 4 5] Copied
            C: h STATUS Archive (MESSAGES)
            S: * STATUS Archive (MESSAGES 6)
            S: h OK That is its status
            """,
            stage.lines[0],
        )
        stage.close()

    asyncio.run(run())


def test_expunge_takes_what_is_deleted() -> None:
    async def run() -> None:
        stage = await _open(4)
        await stage.play(
            """
            C: b STORE 1:3 +FLAGS.SILENT \\Deleted
            S: b OK Stored
            C: c UID EXPUNGE 2,4:*
            S: * 2 EXPUNGE
            S: c OK Expunged
            C: d EXPUNGE
            S: * 2 EXPUNGE
            S: * 1 EXPUNGE
            S: d OK Expunged
            C: e STORE 1 +FLAGS.SILENT \\Deleted
            S: e OK Stored
            C: f CLOSE
            S: f OK Closed
            C: g STATUS INBOX (MESSAGES)
            S: * STATUS INBOX (MESSAGES 0)
            S: g OK That is its status
            """,
            stage.lines[0],
        )
        stage.close()

    asyncio.run(run())


def test_unselect_and_a_new_select_expunge_nothing() -> None:
    async def run() -> None:
        stage = await _open(1)
        line = stage.lines[0]
        await line.say(b"b STORE 1 +FLAGS.SILENT \\Deleted\r\nc UNSELECT\r\nd EXAMINE INBOX\r\ne CLOSE\r\n")
        await stage.play(
            "C: g STATUS INBOX (MESSAGES)\nS: * STATUS INBOX (MESSAGES 1)\nS: g OK That is its status", line
        )
        stage.close()

    asyncio.run(run())


def test_append_keeps_flags_and_date() -> None:
    play(
        """
        C: a APPEND Drafts (\\Draft $Forwarded) " 1-Feb-2026 10:00:00 +0100" {6}
        S: + OK
        C: a: b
        C:
        S: a OK [APPENDUID 1 1] Appended
        C: b EXAMINE Drafts
        S: * FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Forwarded)
        S: * OK [PERM…
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * OK [UNSEEN 1] First unseen
        S: * OK [UIDV…
        S: * OK [UIDN…
        S: * OK [MAIL…
        S: b OK [READ-ONLY] Examined
        C: c FETCH 1 (FLAGS INTERNALDATE BODY[])
        S: * 1 FETCH (FLAGS ($Forwarded \\Draft \\Recent) INTERNALDATE " 1-Feb-2026 09:00:00 +0000" BODY[] {6}
        S: a: b
        S: )
        S: c OK Fetched
        """
    )


def test_append_refuses_what_is_no_message() -> None:
    play(
        """
        C: a APPEND nowhere {1+}
        C: x
        S: a NO [TRYCREATE] No such mailbox
        C: b APPEND INBOX {0+}
        C:
        S: b BAD Not a message
        C: c APPEND INBOX "text"
        S: c BAD Expected a date-time
        C: d APPEND INBOX ("31-Feb-2026 00:00:00 +0000") {1+}
        C: x
        S: d BAD Expected a flag
        """
    )


def test_appending_what_sent_has_already_answers_with_its_uid() -> None:
    async def run() -> None:
        stage = Stage()
        line = await stage.open()
        for _ in range(2):
            came = await line.say(b"a APPEND Sent (\\Seen) {%d+}\r\n%b\r\n" % (len(MAIL), MAIL))
            assert came == b"a OK [APPENDUID 1 1] Appended\r\n"
        stage.close()

    asyncio.run(run())


def test_append_has_a_limit_that_is_told_before_the_upload() -> None:
    play(
        """
        C: a APPEND INBOX {70001}
        S: a NO [TOOBIG] Literal too large
        """,
        limits=Limits(append=70_000),
    )


def test_a_refused_literal_that_comes_unasked_is_skipped() -> None:
    async def run() -> None:
        stage = Stage(limits=Limits(append=70_000))
        line = await stage.open()
        came = await line.say(b"a APPEND INBOX {70001+}\r\n" + b"x" * 70001 + b"\r\nb NOOP\r\n")
        assert came == b"a NO [TOOBIG] Literal too large\r\nb OK Nothing done\r\n"
        stage.close()

    asyncio.run(run())


def test_uploads_share_a_budget() -> None:
    async def run() -> None:
        stage = Stage(limits=Limits(held=100_000))
        line = await stage.open()
        big = b"a APPEND INBOX {90000+}\r\n" + b"x: " * 30000 + b"\r\n"
        assert (await line.say(big)).startswith(b"a OK")
        assert (await line.say(big)).startswith(b"a OK")  # given back after the first
        came = await line.say(b"b APPEND INBOX {110000}\r\n")
        assert came == b"b NO [LIMIT] Too much is being uploaded just now; try again\r\n"
        stage.close()

    asyncio.run(run())
