"""STORE: adding, removing and replacing flags."""

from __future__ import annotations

import asyncio

from .transcript import Stage, with_mail


def test_every_form() -> None:
    async def run() -> None:
        stage = Stage(with_mail(2))
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\n")
        await stage.play(
            """
            C: b STORE 1 FLAGS (\\SEEN work)
            S: * FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft work)
            S: * 1 FETCH (FLAGS (\\Seen work \\Recent))
            S: b OK Stored
            C: c STORE 1:2 +FLAGS \\Flagged \\Answered
            S: * 1 FETCH (FLAGS (\\Answered \\Flagged \\Seen work \\Recent))
            S: * 2 FETCH (FLAGS (\\Answered \\Flagged \\Recent))
            S: c OK Stored
            C: d UID STORE 1 -FLAGS (work \\Seen)
            S: * 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged \\Recent))
            S: d OK Stored
            C: e STORE 1:* FLAGS.SILENT ()
            S: e OK Stored
            C: f FETCH 1:* FLAGS
            S: * 1 FETCH (FLAGS (\\Recent))
            S: * 2 FETCH (FLAGS (\\Recent))
            S: f OK Fetched
            C: g STORE 1 +FLAGS (\\Recent)
            S: g BAD No such system flag
            C: h STORE 1 FLAG (\\Seen)
            S: h BAD Expected FLAGS
            C: i STORE 9 +FLAGS (\\Seen)
            S: i BAD No such message
            C: j UID STORE 9 +FLAGS (\\Seen)
            S: j OK Stored
            """,
            line,
        )
        stage.close()

    asyncio.run(run())


def test_what_is_so_already_is_not_sealed_again() -> None:
    async def run() -> None:
        view = with_mail(2)
        stage = Stage(view)
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\nb STORE 1 +FLAGS (\\Seen)\r\n")
        _, before = await view.uids((await view.mailboxes(["INBOX"]))[0].id)
        await line.say(b"c STORE 1 +FLAGS (\\Seen)\r\nd STORE 1:2 -FLAGS (\\Draft)\r\n")
        _, after = await view.uids((await view.mailboxes(["INBOX"]))[0].id)
        assert before == after
        stage.close()

    asyncio.run(run())
