"""Faults that nobody caught: logged by type and place. An exception's text may quote the bytes it choked on."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any, Final

from mesyx_core.node.instances import place

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
