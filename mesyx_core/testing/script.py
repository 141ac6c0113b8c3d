"""A peer that follows a script: what it says, and what it must hear, line by line.

    < 220 mx1 ESMTP…
    > EHLO client
    < 250-mx1
    < 250 …

`>` is said and `<` is heard, each a line that ends with CRLF. `…` in what is heard stands for anything. `>|` says the
rest of the line without a line end, with Python's escapes read (`\\r\\n`, `\\x00`); `<|` hears exactly that. `!` alone
breaks the stream off; `.` alone must hear its end. Empty lines and what begins with `#` are for people.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import ByteStream

from mesyx_core.testing.contract import unwrapped

ANYTHING: Final = "…"
SECONDS: Final = 5.0
LONGEST: Final = 1 << 16


@dataclass(frozen=True)
class Step:
    """One line of a script."""

    number: int
    act: str
    data: bytes = b""


def steps(script: str) -> Iterator[Step]:
    """A script's lines. Raises ValueError for one that makes no sense."""
    for number, line in enumerate(script.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        act, _, rest = text.partition(" ")
        if act in (">", "<"):
            yield Step(number, act, rest.encode() + b"\r\n")
        elif act in (">|", "<|"):
            raw = rest.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
            yield Step(number, act, raw)
        elif act in ("!", "."):
            yield Step(number, act)
        else:
            raise ValueError(f"line {number} of the script begins with {act!r}, not with > or <")


async def play(stream: ByteStream, script: str, *, seconds: float = SECONDS) -> list[str]:
    """Follow the script, and give the lines that were heard. Raises AssertionError, with the talk as it was and as it
    was to be, where the other side says something else, or nothing for some seconds."""
    return await _Talk(stream, list(steps(script)), seconds).play()


class _Talk:
    def __init__(self, stream: ByteStream, script: list[Step], seconds: float) -> None:
        self._stream = stream
        self._script = script
        self._seconds = seconds
        self._buffer = b""
        self._ended = False
        self._heard: list[str] = []
        self._was: list[str] = []
        self._due: list[str] = []

    async def play(self) -> list[str]:
        for step in self._script:
            match step.act:
                case ">" | ">|":
                    await self._say(step)
                case "<":
                    await self._hear(step, await self._line())
                case "<|":
                    await self._hear(step, await self._take(len(step.data)))
                case ".":
                    await self._end(step)
                case "!":
                    await anyio.aclose_forcefully(self._stream)
        return self._heard

    async def _say(self, step: Step) -> None:
        self._note(f"> {_shown(step.data)}")
        try:
            await self._stream.send(step.data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            self._fail(step, f"> {_shown(step.data)}", "(the stream is closed)")

    async def _hear(self, step: Step, data: bytes) -> None:
        if not _fits(data, step.data):
            self._fail(step, f"< {_shown(step.data)}", f"< {_shown(data)}" if data else self._silence())
        self._heard.append(data.decode("utf-8", "replace").removesuffix("\r\n"))
        self._note(f"< {_shown(data)}")

    async def _end(self, step: Step) -> None:
        if data := await self._line():
            self._fail(step, ".", f"< {_shown(data)}")
        if not self._ended:
            self._fail(step, ".", self._silence())

    def _silence(self) -> str:
        return "(the stream ended)" if self._ended else f"(nothing for {self._seconds:g} s)"

    def _note(self, line: str) -> None:
        self._was.append(line)
        self._due.append(line)

    def _fail(self, step: Step, due: str, was: str) -> None:
        rest = [each for each in self._buffer.decode("utf-8", "replace").splitlines()[:20] if each]
        diff = difflib.ndiff([*self._due, due], [*self._was, was, *(f"< {each}" for each in rest)])
        shown = "\n".join(each.rstrip("\n") for each in diff if not each.startswith("?"))
        raise AssertionError(f"line {step.number} of the script (-: was to be, +: was)\n{shown}")

    async def _line(self) -> bytes:
        while b"\n" not in self._buffer and len(self._buffer) < LONGEST and await self._more():
            pass
        line, end, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        return line + end

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size and await self._more():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def _more(self) -> bool:
        """False at the end, and after silence."""
        with anyio.move_on_after(self._seconds):
            try:
                with unwrapped():
                    self._buffer += await self._stream.receive()
                return True
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                self._ended = True
        return False


def _fits(data: bytes, due: bytes) -> bool:
    parts = due.split(ANYTHING.encode())
    return re.fullmatch(b".*".join(map(re.escape, parts)), data, re.DOTALL) is not None


def _shown(data: bytes) -> str:
    text = data.removesuffix(b"\r\n")
    shown = text.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown) + ("" if data.endswith(b"\r\n") else "⏎̸")
