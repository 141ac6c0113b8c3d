"""A progress bar on stderr, for people at a terminal alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """One line, drawn again and again and gone at the end. rich heeds NO_COLOR."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, value: Mapping[str, Any]) -> None:
        """What is being done, how much of it is done, of how much; 0 where nobody knows."""
        if not sys.stderr.isatty():
            return
        total = int(value["of"]) or None
        if self._progress is None:
            self._progress = self._made()
            self._task = self._progress.add_task("", total=total)
        assert self._task is not None
        self._progress.update(self._task, description=str(value["what"]), completed=int(value["done"]), total=total)

    def _made(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        made = Progress(*columns, console=Console(stderr=True), transient=True)
        made.start()
        return made
