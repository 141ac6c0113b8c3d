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

        return trio.lowlevel.current_trio_token().run_sync_soon

    def post(call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(call)

    return post
