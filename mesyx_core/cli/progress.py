"""A progress bar on stderr, for people at a terminal alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE: Final = 2.0
"""Seconds without a word after which something moves."""


class Bar:
    """One line, drawn again and again and gone at the end. rich heeds NO_COLOR."""

    def __init__(self) -> None:
        self._drawn: tuple[Progress, TaskID] | None = None
        self._drawing = threading.Lock()
        self._over = False
        self._silence = threading.Timer(PATIENCE, self._draw, ["working", 0, 0])
        self._silence.daemon = True

    def __enter__(self) -> Bar:
        if sys.stderr.isatty():
            self._silence.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._silence.cancel()
        with self._drawing:
            self._over = True
            if self._drawn is not None:
                self._drawn[0].stop()

    def show(self, value: Mapping[str, Any]) -> None:
        """What is being done, how much of it is done, of how much; 0 where nobody knows."""
        if sys.stderr.isatty():
            self._silence.cancel()
            self._draw(str(value["what"]), int(value["done"]), int(value["of"]))

    def _draw(self, what: str, done: int, of: int) -> None:
        with self._drawing:
            if self._over:
                return
            if self._drawn is None:
                made = _made()
                self._drawn = made, made.add_task("")
            progress, task = self._drawn
            progress.update(task, description=what, completed=done, total=of or None)


def _made() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"), TimeElapsedColumn())
    made = Progress(*columns, console=Console(stderr=True), transient=True)
    made.start()
    return made
