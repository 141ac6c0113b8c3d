"""How far a command is that takes long: told by whoever does the work, shown by whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, Protocol

from anyio import CancelScope
from pydantic import JsonValue

from mesyx_core.api.errors import Temporary

EVERY: Final = 0.2
"""Seconds between two looks."""


class Tell(Protocol):
    """Takes what is being done, how much of it is, and of how much in all (0: nobody knows). From any thread."""

    def __call__(self, what: str, done: int, of: int = 0) -> None: ...


def quietly(what: str, done: int, of: int = 0) -> None:
    """Tells nobody."""


async def told(work: Callable[[Tell], Awaitable[JsonValue]]) -> AsyncGenerator[dict[str, Any], None]:
    """Do the work: {"progress": {"what", "done", "of"}} as it goes on, at last {"result": …}. Ended before, the work is
    cancelled: its threads end where they next tell how far they are, and nothing of it goes on afterwards."""
    latest: list[dict[str, Any]] = []
    scope = CancelScope()  # unlike a cancelled task, it waits for threads

    def tell(what: str, done: int, of: int = 0) -> None:
        if scope.cancel_called:
            raise Temporary("the command was broken off", "give it again")
        latest[:] = [{"what": what, "done": done, "of": of}]

    async def whole() -> JsonValue:
        with scope:
            return await work(tell)
        return None

    task = asyncio.create_task(whole())
    shown: list[dict[str, Any]] = []
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=EVERY)
            if latest != shown:
                shown = list(latest)
                yield {"progress": shown[0]}
        yield {"result": task.result()}
    finally:
        if not task.done():
            scope.cancel()
            with CancelScope(shield=True):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody else asks
