"""Faults that nobody caught: logged by type and place. An exception's text may quote the bytes it choked on."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import anyio

from mesyx_core.api import Misconfigured

log = logging.getLogger(__name__)

_QUIET: Final = (ConnectionError, TimeoutError)
"""A peer that goes away is no fault of ours."""


def install() -> None:
    """Let no handler of the interpreter or the running loop print a value."""
    asyncio.get_running_loop().set_exception_handler(_in_loop)
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable


def _in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, _QUIET):
        return
    _tell("the event loop", error)


def _in_thread(arguments: threading.ExceptHookArgs) -> None:
    _tell("a thread", arguments.exc_value)


def _unraisable(arguments: sys.UnraisableHookArgs) -> None:
    _tell("a clean-up", arguments.exc_value)


def _tell(where: str, error: BaseException | None) -> None:
    if error is None:
        log.error("a fault in %s", where)
    else:
        log.error("a fault in %s: %s at %s", where, type(error).__name__, place(error))


async def again(what: str, work: Callable[[], Awaitable[None]], pauses: Sequence[float] = (0.5, 2, 5)) -> None:
    """Run `work` until it returns. A fault in it is logged and it starts over after a pause, so that one store's or one
    peer's trouble never ends the node. Pauses grow while it fails at once, and start anew once it has worked long."""
    attempt = 0
    while True:
        begun = time.monotonic()
        try:
            return await work()
        except Exception as error:
            log.error("%s failed: %s at %s; it starts again", what, type(error).__name__, place(error))
        if time.monotonic() - begun > pauses[max(0, attempt - 1)]:
            attempt = 0
        await anyio.sleep(pauses[attempt])
        attempt = min(attempt + 1, len(pauses) - 1)


def single(error: BaseException) -> BaseException:
    """The one exception that says why a task group ended."""
    while isinstance(error, BaseExceptionGroup):
        error = next((e for e in error.exceptions if isinstance(e, Misconfigured)), error.exceptions[0])
    return error


def place(error: BaseException) -> str:
    """Where it was raised: file and line, never a value."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "an unknown place"
    return f"{frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}"
