"""Sessions as transcripts: `C:` lines are sent, and exactly the `S:` lines must come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from textwrap import dedent
from typing import TypeVar

from mesyx_imap.commands import COMMANDS
from mesyx_imap.limits import Limits
from mesyx_imap.output import Closed
from mesyx_imap.reader import Fault, Reader
from mesyx_imap.recent import Marks
from mesyx_imap.session import Session

from mesyx_core.api import Context, View
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.view import MemoryView
from mesyx_core.wire.limits import Budget

_T = TypeVar("_T")

MAIL = (
    b"From: Bob <bob@example.org>\r\nTo: alice@example.org\r\nSubject: lunch\r\n"
    b"Date: Mon, 2 Nov 2026 12:00:00 +0100\r\nMessage-ID: <1@example.org>\r\n\r\nAt noon?\r\n"
)


class Line:
    """A `Wire` in memory, and the session at its end."""

    def __init__(
        self,
        context: Context,
        marks: Marks | None = None,
        *,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        local: bool = True,
        secure: bool = False,
        upgradable: bool = True,
    ) -> None:
        kept = marks or Marks()

        async def marks_of(owner: bytes) -> Marks:
            return kept

        self.local, self.secure, self.upgradable, self.congested = local, secure, upgradable, False
        self.heard = b""
        self.reader = Reader(limits, Budget(limits.held))
        self.session = Session(context, self, COMMANDS, marks_of, limits)
        self.closed = False
        self._input, self._settled = asyncio.Event(), asyncio.Event()
        self._tasks = {asyncio.create_task(self._serve())}
        self._watched: object = None

    def send(self, data: bytes | memoryview) -> None:
        self.heard += bytes(data)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    async def line(self) -> bytes:
        line: bytes | Fault = await self._next(self.reader.line)
        if isinstance(line, Fault):
            raise Closed
        return line

    def hold(self) -> None:
        if self.reader.size:
            raise Closed
        self.secure, self.upgradable = True, False

    def admitted(self) -> None:
        self.reader.admit()

    async def _next(self, take: Callable[[], _T | None]) -> _T:
        while (found := take()) is None:
            self._input.clear()
            self._settled.set()
            await self._input.wait()
        return found

    async def _serve(self) -> None:
        try:
            await self.session.greet()
            while not self.session.ended:
                await self.session.handle(await self._next(self.reader.next))
                self.reader.release()
                if self.session.current is not self._watched:
                    self._watched = self.session.current
                    if self._watched:
                        self._tasks.add(asyncio.create_task(self.session.watch()))
        except Closed:
            pass
        finally:
            self.reader.close()
            self.closed = True
            self._settled.set()

    async def say(self, data: bytes) -> bytes:
        """Send, wait until all is answered, and give what came."""
        if data and not self.closed:
            self._settled.clear()
            self.reader.feed(data)
            self._input.set()
        await self._settled.wait()
        for _ in range(20):  # let those hear who watch
            await asyncio.sleep(0)
        heard, self.heard = self.heard, b""
        return heard

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


class Stage:
    """Lines to one store; the first is logged in as alice unless told otherwise."""

    def __init__(self, view: View | None = None, **options: object) -> None:
        self.view = view or MemoryView()
        self.context = StandIn()
        self.context.admit("alice", "secret", self.view)
        self.marks = Marks()
        self.options = options
        self.lines: list[Line] = []

    async def open(self, user: bool = True) -> Line:
        line = Line(self.context, self.marks, **self.options)  # type: ignore[arg-type] # options of Line
        self.lines.append(line)
        await line.say(b"")
        if user:
            await line.say(b"x LOGIN alice secret\r\n")
        return line

    async def play(self, text: str, line: Line | None = None) -> Line:
        """Play a transcript on a line; `…` at the end of an S: line stands for anything."""
        line = line or await self.open()
        said: list[str] = []
        expected: list[str] = []
        for row in [*dedent(text).strip().splitlines(), "C: "]:
            side, words = row[:2], row[3:]
            if side == "C:" and expected:
                await self._exchange(line, said, expected)
                said, expected = [], []
            (said if side == "C:" else expected).append(words)
        return line

    async def _exchange(self, line: Line, said: list[str], expected: list[str]) -> None:
        sent = "".join(f"{words}\r\n" for words in said)
        came = (await line.say(sent.encode())).decode("latin-1").split("\r\n")
        assert came.pop() == "", came
        wanted = [words.encode().decode("latin-1") for words in expected]
        dots = "…".encode().decode("latin-1")
        shown = [
            words[: -len(dots)] + have[len(words) - len(dots) :]
            if words.endswith(dots) and have.startswith(words[: -len(dots)])
            else words
            for words, have in zip(wanted, came, strict=False)
        ] + wanted[len(came) :]
        assert came == shown, (came, shown)

    def close(self) -> None:
        for line in self.lines:
            line.stop()


def play(text: str, view: View | None = None, *, user: bool = True, **options: object) -> None:
    """One line, one transcript."""

    async def run() -> None:
        stage = Stage(view, **options)
        try:
            await stage.play(text, await stage.open(user))
        finally:
            stage.close()

    asyncio.run(run())


def with_mail(count: int = 1, data: bytes = MAIL) -> MemoryView:
    """A view with messages in INBOX."""
    view = MemoryView()
    for _ in range(count):
        view.add(data)
    return view
