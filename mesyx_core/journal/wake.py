"""Between the commit thread and the event loop, whichever library runs that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeAlias

import anyio

Post: TypeAlias = Callable[[Callable[[], None]], None]
"""Has a function called in the event loop soon; from any thread, without waiting for it."""


class Signal(Protocol):
    """Waited for by one task."""

    def wait(self) -> Awaitable[None]: ...

    def set(self) -> None:
        """In the event loop. Harmless when the task has been cancelled."""


class _Answer:
    """A signal of asyncio's; as little as can be, since there is one for each message."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def wait(self) -> Awaitable[None]:
        return self._future

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


def signaller() -> Callable[[], Signal]:
    """What makes signals for the running event loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return anyio.Event
    return partial(_Answer, loop)


def poster() -> Post:
    """The way into the running event loop: asyncio's (or uvloop's), or trio's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return _unless_over(trio.lowlevel.current_trio_token().run_sync_soon)
    return _unless_over(loop.call_soon_threadsafe)


def _unless_over(soon: Callable[[Callable[[], None]], object]) -> Post:
    def post(call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            soon(call)

    return post
