"""The IMAP engine on arbitrary octets in arbitrary pieces, before and after log-in. No event loop: nothing may wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

from mesyx_imap.commands import COMMANDS
from mesyx_imap.limits import Limits
from mesyx_imap.output import Closed
from mesyx_imap.reader import Event, Fault, Reader
from mesyx_imap.recent import Marks
from mesyx_imap.session import Session

from mesyx_core.api import LoginFailed, View
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.view import MemoryView
from mesyx_core.wire.limits import Budget

_LIMITS = Limits(append=1 << 17, held=1 << 18)
_MAIL = (
    b"From: Bob <bob@example.org>\r\nSubject: lunch\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\n\r\none\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ntwo\r\n--x--\r\n"
)

SEEDS = [
    b"a LOGIN alice secret\r\nb CAPABILITY\r\nc LOGOUT\r\n",
    b"a LOGIN {5}\r\nalice {6+}\r\nsecret\r\nb STARTTLS\r\n",
    b"a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\nb AUTHENTICATE SCRAM-SHA-256\r\nbiwsbj1hLHI9Yg==\r\n",
    b"a SELECT INBOX\r\nb FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY[])\r\nc FETCH 2 FULL\r\n",
    b"a UID FETCH *:1 (BODY.PEEK[HEADER.FIELDS.NOT (From {2+}\r\nTo)]<0.5> BODY[2.HEADER] BODY[1.MIME] RFC822.TEXT)\r\n",
    b"a STORE 1,2:3 +FLAGS.SILENT (\\Seen \\Deleted work)\r\nb EXPUNGE\r\nc UID STORE 1 FLAGS ()\r\nd UID EXPUNGE 1:*\r\n",
    b'a SEARCH CHARSET UTF-8 OR (FROM bob) NOT HEADER "X" "" SINCE 1-Feb-2026 LARGER 5 1:* UID 2 TEXT {3}\r\none\r\n',
    b"a SEARCH NEW KEYWORD x SENTBEFORE 1-Jan-2020 EMAILID Mabc THREADID Tabc\r\n",
    b'a LIST (SUBSCRIBED) "" (% *) RETURN (STATUS (MESSAGES RECENT MAILBOXID) CHILDREN)\r\nb LSUB "" "&AOQ-*"\r\n',
    b"a CREATE x/y\r\nb RENAME x z\r\nc SUBSCRIBE z/y\r\nd DELETE z\r\ne STATUS INBOX (UNSEEN)\r\nf RENAME INBOX old\r\n",
    b'a APPEND INBOX (\\Seen x) " 1-Feb-2026 10:00:00 +0100" {6+}\r\na: b\r\n\r\nb COPY 1:* Sent\r\nc UID MOVE 1 Trash\r\n',
    b'a IDLE\r\nDONE\r\nb NOOP\r\nc CHECK\r\nd ID ("a" NIL)\r\ne ENABLE X\r\nf NAMESPACE\r\ng CLOSE\r\nh UNSELECT\r\n',
]
TOKENS = [
    b" ", b"(", b")", b"*", b"%", b"1:*", b"{3}\r\n", b"{3+}\r\n", b'"', b"\\", b"BODY[", b"]", b"<0.9>", b"HEADER.FIELDS (",
    b"UID ", b"FETCH ", b"STORE ", b"SEARCH ", b"NOT ", b"OR ", b"\\Seen", b"NIL", b"INBOX", b"&AOQ-", b"DONE\r\n", b"\r\na ",
    b"4294967295", b"SELECT INBOX\r\n", b"EXAMINE Sent\r\n", b"CHARSET ", b"{70000+}\r\n",
]  # fmt: skip


class _Node(StandIn):
    """Lets nobody in, and never sleeps."""

    async def login(self, name: str, proof: Callable[[bytes], bool]) -> View:
        raise LoginFailed("wrong name or app password")

    async def sleep(self, seconds: float) -> None:
        return None

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC)


class _Pieces:
    """A `Wire` that has its pieces already."""

    local, upgradable, congested = True, True, False

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.secure = False
        self.heard = bytearray()
        self.reader = Reader(_LIMITS, Budget(_LIMITS.held))
        self._pieces = pieces

    def send(self, data: bytes | memoryview) -> None:
        self.heard += data

    async def drain(self) -> None:
        return None

    async def line(self) -> bytes:
        line: bytes | Fault = self.next(self.reader.line)
        if isinstance(line, Fault):
            raise Closed
        return line

    def hold(self) -> None:
        if self.reader.size:
            raise Closed
        self.secure, self.upgradable = True, False

    def admitted(self) -> None:
        self.reader.admit()

    def next(self, take: Callable[[], Any]) -> Any:
        """As a driver waits, but out of pieces it closes."""
        while (found := take()) is None:
            piece = next(self._pieces, None)
            if piece is None:
                raise Closed
            self.reader.feed(piece)
        return found


def target(data: bytes) -> None:
    """The first octet says how the rest is cut."""
    size = (data[0] if data else 0) % 64 + 1
    for known in (False, True):
        wire = _Pieces(data[at : at + size] for at in range(0, len(data), size))
        _run(_serve(wire, known))
        assert b"SERVERBUG" not in wire.heard
        assert wire.reader.size <= size + 1


def _run(serving: Coroutine[None, None, None]) -> None:
    try:
        serving.send(None)
    except StopIteration:
        return
    raise AssertionError("the engine waited")


async def _serve(wire: _Pieces, known: bool) -> None:
    marks = Marks()

    async def marks_of(owner: bytes) -> Marks:
        return marks

    session = Session(_Node(), wire, COMMANDS, marks_of, _LIMITS)
    try:
        await session.greet()
        if known:
            view = MemoryView()
            for _ in range(3):
                view.add(_MAIL)
            await session.admit(view)
            wire.reader.feed(b"x SELECT INBOX\r\n")
        while not session.ended:
            event: Event = wire.next(wire.reader.next)
            await session.handle(event)
            wire.reader.release()
    except Closed:
        pass
    finally:
        wire.reader.close()
