"""FETCH: every item, every section, partials, and what it does to flags."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from mesyx_core.api import Body, Field, Row, Uids
from mesyx_core.testing.view import MemoryView

from .transcript import MAIL, Stage, play, with_mail

_TREE = (
    b'Subject: tree\r\nFrom: =?utf-8?q?J=C3=B6rg?= <j@example.org>, "Q \\"x\\"" <q@example.org>\r\n'
    b"To: Team: a@example.org, b@example.org;\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n"
    b"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-ID: <p1>\r\n\r\none\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nX-A: 1\r\n\r\ntwo\r\nlines\r\n"
    b"--x\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Language: de, en\r\n\r\nAAAA\r\n--x--\r\n"
)


def _one(items: str, answer: str, data: bytes = MAIL) -> None:
    """EXAMINEd, so that no flags change; `answer` is what stands in the parentheses."""
    view = MemoryView()
    view.add(data, time=datetime(2026, 11, 2, 11, 0, 1, tzinfo=UTC))

    async def run() -> None:
        stage = Stage(view)
        line = await stage.open()
        await line.say(b"a EXAMINE INBOX\r\n")
        came = await line.say(b"b FETCH 1 " + items.encode() + b"\r\n")
        assert came.decode() == f"* 1 FETCH ({answer})\r\nb OK Fetched\r\n"
        stage.close()

    asyncio.run(run())


_BOB = '(("Bob" NIL "bob" "example.org"))'
_ENVELOPE = (
    f'ENVELOPE ("Mon, 2 Nov 2026 12:00:00 +0100" "lunch" {_BOB} {_BOB} {_BOB} '
    '((NIL NIL "alice" "example.org")) NIL NIL NIL "<1@example.org>")'
)
_FAST = 'FLAGS (\\Recent) INTERNALDATE " 2-Nov-2026 11:00:01 +0000" RFC822.SIZE 160'
_BODY = '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 1'


def test_macros() -> None:
    size = len(MAIL)
    fast = _FAST.replace("160", str(size))
    _one("FAST", fast)
    _one("all", f"{fast} {_ENVELOPE}")
    _one("FULL", f"{fast} {_ENVELOPE} BODY {_BODY})")


def test_single_items() -> None:
    _one("UID", "UID 1")
    _one("(uid flags)", "UID 1 FLAGS (\\Recent)")
    _one("BODYSTRUCTURE", f"BODYSTRUCTURE {_BODY} NIL NIL NIL NIL)")
    _one("ENVELOPE", _ENVELOPE)


def test_the_whole_and_its_parts() -> None:
    text = MAIL.decode()
    header = text[: text.index("\r\n\r\n") + 4]
    _one("BODY[]", f"BODY[] {{{len(text)}}}\r\n{text}")
    _one("RFC822", f"RFC822 {{{len(text)}}}\r\n{text}")
    _one("RFC822.HEADER", f"RFC822.HEADER {{{len(header)}}}\r\n{header}")
    _one("BODY.PEEK[HEADER]", f"BODY[HEADER] {{{len(header)}}}\r\n{header}")
    _one("BODY[TEXT]", "BODY[TEXT] {10}\r\nAt noon?\r\n")
    _one("BODY[1]", "BODY[1] {10}\r\nAt noon?\r\n")
    _one("BODY[2]", "BODY[2] NIL")


def test_partials() -> None:
    _one("BODY[TEXT]<3.4>", "BODY[TEXT]<3> {4}\r\nnoon")
    _one("BODY[TEXT]<0.4>", "BODY[TEXT]<0> {4}\r\nAt n")
    _one("BODY[TEXT]<8.99>", "BODY[TEXT]<8> {2}\r\n\r\n")
    _one("BODY[]<9999.1>", "BODY[]<9999> {0}\r\n")


def test_header_fields() -> None:
    _one(
        "BODY.PEEK[HEADER.FIELDS (subject To X-None)]",
        "BODY[HEADER.FIELDS (subject To X-None)] {41}\r\nTo: alice@example.org\r\nSubject: lunch\r\n\r\n",
    )
    _one(
        'BODY.PEEK[HEADER.FIELDS.NOT (From "To" Date message-id)]<0.7>',
        "BODY[HEADER.FIELDS.NOT (From To Date message-id)]<0> {7}\r\nSubject",
    )
    _one("BODY[HEADER.FIELDS (X-None)]", "BODY[HEADER.FIELDS (X-None)] {2}\r\n\r\n")
    folded = b"A: 1\r\n b\r\nSubject: x\r\n\ty\r\nSubjects: no\r\n\r\nA: body\r\n"
    _one("BODY[HEADER.FIELDS (SUBJECT)]", "BODY[HEADER.FIELDS (SUBJECT)] {18}\r\nSubject: x\r\n\ty\r\n\r\n", folded)
    _one(
        "BODY[HEADER.FIELDS.NOT (SUBJECT A)]",
        "BODY[HEADER.FIELDS.NOT (SUBJECT A)] {16}\r\nSubjects: no\r\n\r\n",
        folded,
    )


def test_sections_of_a_tree() -> None:
    _one("BODY[1]", "BODY[1] {3}\r\none", _TREE)
    _one(
        "BODY[1.MIME]",
        "BODY[1.MIME] {61}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-ID: <p1>\r\n\r\n",
        _TREE,
    )
    _one("BODY[2.HEADER]", "BODY[2.HEADER] {26}\r\nSubject: inner\r\nX-A: 1\r\n\r\n", _TREE)
    _one("BODY[2.TEXT]", "BODY[2.TEXT] {10}\r\ntwo\r\nlines", _TREE)
    _one("BODY[2.1]", "BODY[2.1] {10}\r\ntwo\r\nlines", _TREE)
    _one(
        "BODY[2.HEADER.FIELDS (X-A)]<1.3>",
        "BODY[2.HEADER.FIELDS (X-A)]<1> {3}\r\n-A:",
        _TREE,
    )
    _one("BODY[3]", "BODY[3] {4}\r\nAAAA", _TREE)
    _one("BODY[3.1]", "BODY[3.1] NIL", _TREE)
    _one("BODY[1.HEADER]", "BODY[1.HEADER] NIL", _TREE)


def test_structure_of_a_tree() -> None:
    _one(
        "BODYSTRUCTURE",
        'BODYSTRUCTURE (("text" "plain" ("charset" "utf-8") "<p1>" NIL "7bit" 3 0 NIL NIL NIL NIL)'
        '("message" "rfc822" NIL NIL NIL "7bit" 36 '
        '(NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) '
        '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 1 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)'
        '("application" "pdf" ("name" "a.pdf") NIL NIL "base64" 4 NIL ("attachment" ("filename" "a.pdf")) '
        '("de" "en") NIL) "mixed" ("boundary" "x") NIL NIL NIL)',
        _TREE,
    )


def test_envelope_of_groups_and_quotes() -> None:
    people = '(("=?utf-8?q?J=C3=B6rg?=" NIL "j" "example.org")("Q \\"x\\"" NIL "q" "example.org"))'
    _one(
        "ENVELOPE",
        f'ENVELOPE (NIL "tree" {people} {people} {people} ((NIL NIL "Team" NIL)(NIL NIL "a" "example.org")'
        '(NIL NIL "b" "example.org")(NIL NIL NIL NIL)) NIL NIL NIL NIL)',
        _TREE,
    )


def test_eight_bit_values_travel_as_literals() -> None:
    data = "Subject: süß\r\n\r\n".encode()
    _one("ENVELOPE", "ENVELOPE (NIL {5}\r\nsüß NIL NIL NIL NIL NIL NIL NIL NIL)", data)


def test_an_empty_multipart_shows_an_empty_part() -> None:
    _one(
        "BODY",
        'BODY (("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")',
        b"Content-Type: multipart/mixed; boundary=y\r\n\r\nnothing\r\n",
    )


def test_object_ids_are_there() -> None:
    async def run() -> None:
        stage = Stage(with_mail())
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\n")
        came = (await line.say(b"b FETCH 1 (EMAILID THREADID)\r\n")).decode()
        words = came.replace("(", " ").replace(")", " ").split()
        email, thread = words[words.index("EMAILID") + 1], words[words.index("THREADID") + 1]
        assert (email[0], thread[0]) == ("M", "T")
        found = await line.say(f"c SEARCH EMAILID {email}\r\nd SEARCH EMAILID Mxx\r\n".encode())
        assert found == b"* SEARCH 1\r\nc OK Searched\r\n* SEARCH\r\nd OK Searched\r\n"
        stage.close()

    asyncio.run(run())


def test_reading_marks_as_seen_and_peeking_does_not() -> None:
    async def run() -> None:
        stage = Stage(with_mail(2))
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\n")
        await stage.play(
            """
            C: b FETCH 1 BODY.PEEK[TEXT]
            S: * 1 FETCH (BODY[TEXT] {10}
            S: At noon?
            S: )
            S: b OK Fetched
            C: c FETCH 1 BODY[TEXT]<0.2>
            S: * 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT]<0> {2}
            S: At)
            S: c OK Fetched
            C: d FETCH 1 (FLAGS BODY[TEXT]<0.2>)
            S: * 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT]<0> {2}
            S: At)
            S: d OK Fetched
            C: e UID FETCH 1:* FLAGS
            S: * 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))
            S: * 2 FETCH (UID 2 FLAGS (\\Recent))
            S: e OK Fetched
            """,
            line,
        )
        stage.close()

    asyncio.run(run())


def test_sets() -> None:
    async def run() -> None:
        stage = Stage(with_mail(4))
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\n")
        await line.say(b"a STORE 2 +FLAGS.SILENT \\Deleted\r\na EXPUNGE\r\n")
        await stage.play(
            """
            C: b FETCH *:2,1,2 UID
            S: * 1 FETCH (UID 1)
            S: * 2 FETCH (UID 3)
            S: * 3 FETCH (UID 4)
            S: b OK Fetched
            C: c FETCH 4 UID
            S: c BAD No such message
            C: d UID FETCH 2,99:* UID
            S: * 3 FETCH (UID 4)
            S: d OK Fetched
            C: e UID FETCH 2 UID
            S: e OK Fetched
            C: f FETCH 0 UID
            S: f BAD Not a sequence set
            C: g FETCH 1:2:3 UID
            S: g BAD Not a sequence set
            """,
            line,
        )
        stage.close()

    asyncio.run(run())


def test_an_empty_mailbox_has_nothing_to_fetch() -> None:
    async def run() -> None:
        stage = Stage()
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\n")
        await stage.play(
            """
            C: b FETCH 1:* FLAGS
            S: b OK Nothing to fetch
            C: c UID FETCH 1:* FLAGS
            S: c OK Nothing to fetch
            C: d FETCH 1 FLAGS
            S: d BAD No such message
            """,
            line,
        )
        stage.close()

    asyncio.run(run())


def test_nonsense_is_refused() -> None:
    async def run() -> None:
        stage = Stage(with_mail())
        line = await stage.open()
        await line.say(b"a SELECT INBOX\r\n")
        for items in ("", "()", "NOPE", "BODY[", "BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "BODY[MIME]",
                      "BODY[1.]", "BODY[0]", "BODY[TEXT]<1.0>", "BODY[TEXT]<1>", "(FLAGS", "(FLAGS UID) x", "BODY[TEXT.1]"):  # fmt: skip
            assert (await line.say(f"b FETCH 1 {items}\r\n".encode())).startswith(b"b BAD"), items
        stage.close()

    asyncio.run(run())


class _Blob:
    """A body that is not in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.asked: list[tuple[int, int | None]] = []

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        self.asked.append((start, stop))
        data = self._data[start:stop]
        for at in range(0, len(data), 7):
            yield data[at : at + 7]


class _Large(MemoryView):
    """Gives every body as a blob, and has the second message locked."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[_Blob] = []

    async def rows(self, mailbox: bytes, uids: Uids, fields: frozenset[Field]) -> AsyncIterator[Sequence[Row]]:
        async for batch in super().rows(mailbox, uids, fields):
            yield [Row(uid=row.uid, id=row.id, flags=row.flags, locked=True) if row.uid == 2 else row for row in batch]

    async def content(self, mailbox: bytes, uids: Uids) -> AsyncIterator[Sequence[tuple[int, Body]]]:
        async for batch in super().content(mailbox, uids):
            found: list[tuple[int, Body]] = []
            for uid, body in batch:
                self.bodies.append(_Blob(body.data))  # type: ignore[attr-defined] # Bytes
                if uid != 2:
                    found.append((uid, self.bodies[-1]))
            yield found


def test_large_bodies_are_read_only_where_they_are_asked_for() -> None:
    view = _Large()
    view.add(MAIL)

    async def run() -> None:
        stage = Stage(view)
        line = await stage.open()
        await line.say(b"a EXAMINE INBOX\r\n")
        came = await line.say(b"b FETCH 1 (BODY[TEXT]<3.4> BODY[HEADER.FIELDS (SUBJECT)] BODY[] BODY[7])\r\n")
        assert came == (
            b"* 1 FETCH (BODY[TEXT]<3> {4}\r\nnoon BODY[HEADER.FIELDS (SUBJECT)] {18}\r\nSubject: lunch\r\n\r\n "
            b"BODY[] {%d}\r\n%b BODY[7] NIL)\r\nb OK Fetched\r\n" % (len(MAIL), MAIL)
        )
        end = len(MAIL) - 10
        assert view.bodies[0].asked == [(end + 3, end + 7), (0, end), (0, len(MAIL))]
        stage.close()

    asyncio.run(run())


def test_locked_messages_are_left_out_and_named() -> None:
    view = _Large()
    view.add(MAIL)
    view.add(MAIL)
    play(
        """
        C: a EXAMINE INBOX
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 2 EXISTS
        S: * 2 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: a OK …
        C: b FETCH 1:2 FLAGS
        S: * 1 FETCH (FLAGS (\\Recent))
        S: * 2 FETCH (FLAGS (\\Recent))
        S: b OK Fetched
        C: c FETCH 1:2 BODY[TEXT]
        S: * 1 FETCH (BODY[TEXT] {10}
        S: At noon?
        S: )
        S: c NO [UNAVAILABLE] Some of these are locked; mesyx status says which key is missing
        C: d FETCH 2 ENVELOPE
        S: d NO [UNAVAILABLE] Some of these are locked; mesyx status says which key is missing
        """,
        view,
    )
