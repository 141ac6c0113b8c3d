"""Frames one after another over a stream, for what is said before a session runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import anyio
from anyio.abc import ByteStream

from mesyx_core.api import MesyxError

from .ending import GONE, Over, last_word, raise_end
from .errors import LinkFailed, Violation
from .frames import End, Frame, Join, Open
from .session import Session

_READ: Final = 64 << 10

_F = TypeVar("_F")


class Talk:
    """Frames one after another over a stream, with time limits, for what is said before a session runs."""

    def __init__(self, stream: ByteStream, session: Session, seconds: float) -> None:
        self._stream = stream
        self.session = session
        self._seconds = seconds
        self._ahead: list[Frame] = []

    async def say(self, *frames: Frame) -> None:
        """Raises LinkFailed."""
        for frame in frames:
            self.session.send(frame)
        await self.flush()

    async def flush(self) -> None:
        """Send what the session has queued."""
        try:
            with anyio.fail_after(self._seconds):
                await self._stream.send(self.session.take())
        except (*GONE, TimeoutError):
            raise LinkFailed("the peer went away") from None

    async def hear(self, kind: type[_F]) -> _F:
        """The next frame, which must be of this kind. Raises what the peer's last word says."""
        frame = await self._next()
        if not isinstance(frame, kind):
            raise Violation(f"a frame out of order ({type(frame).__name__})")
        return frame

    async def opening(self) -> Open | Join:
        """A client's first frame. It waits for the answer before it says more."""
        frame = await self._next()
        if isinstance(frame, Open | Join) and not self._ahead:
            return frame
        raise Violation("the peer did not open the session as it should")

    def patience(self, seconds: float) -> None:
        """How long the peer may take for an answer from now on."""
        self._seconds = seconds

    async def _next(self) -> Frame:
        while not self._ahead:
            self._ahead.extend(self.session.receive(await self._receive()))
        frame = self._ahead.pop(0)
        if isinstance(frame, End):
            try:
                raise_end(frame)
            except Over:
                raise LinkFailed("the peer stopped") from None
        return frame

    async def _receive(self) -> bytes:
        try:
            with anyio.fail_after(self._seconds):
                return await self._stream.receive(_READ)
        except TimeoutError:
            raise LinkFailed("the peer does not answer") from None
        except GONE:
            raise LinkFailed("the peer went away") from None


@asynccontextmanager
async def ending(stream: ByteStream, session: Session) -> AsyncIterator[None]:
    """Closes the stream in the end; what went wrong is also said to the peer."""
    failure: MesyxError | None = None
    try:
        yield
    except MesyxError as error:
        failure = error
        raise
    finally:
        await last_word(stream, session, failure)
