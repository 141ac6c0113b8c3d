"""From the commit thread back into the event loop, whichever library runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

Post: TypeAlias = Callable[[Callable[[], None]], None]
"""Has a function called in the event loop soon; from any thread, without waiting for it."""


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
