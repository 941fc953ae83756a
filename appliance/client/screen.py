"""Progress bars, on stderr; the only module that knows the library that draws them.

Nothing is drawn where stderr is no terminal. Names come from anywhere: they are escaped, and
never read as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from appliance.client.watching import Watcher

NARROW = 60
WIDE = 90


def printable(text: str) -> str:
    """Somebody else's text, fit for a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class Screen:
    """A row for each file under way, and one for all of them when there are several."""

    def __init__(self, *, count: int, total_bytes: int | None, quiet: bool = False) -> None:
        """`total_bytes` None: not known beforehand."""
        console = Console(stderr=True, highlight=False)
        self._is_drawn = console.is_terminal and not quiet
        self._progress = Progress(
            *_columns(console.width),
            console=console,
            transient=True,
            expand=True,
            disable=not self._is_drawn,
            # Results go to stdout: above the bars, when that is the same terminal.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=True,
        )
        self._count = count
        self._done = 0
        self._all: TaskID | None = None
        if count > 1:
            self._all = self._progress.add_task(self._all_text(), total=total_bytes, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _all_text(self) -> str:
        return f"{self._done} of {self._count} files"

    @contextmanager
    def row(
        self, name: str, size_bytes: int | None, *, is_through: bool = False
    ) -> Iterator[Watcher]:
        """`is_through`: the bytes are, and were counted; the job is followed."""
        through_bytes = (size_bytes or 0) if is_through else 0
        task = self._progress.add_task(
            printable(name), total=size_bytes, completed=through_bytes, note=""
        )
        try:
            yield _Row(self._progress, task, None if is_through else self._all)
        finally:
            self._progress.remove_task(task)

    def ended(self) -> None:
        """One more file has come to its end, whichever."""
        self._done += 1
        if self._all is not None:
            self._progress.update(self._all, description=self._all_text())


class _Row:
    def __init__(self, progress: Progress, task: TaskID, everything: TaskID | None) -> None:
        self._progress = progress
        self._task = task
        self._all = everything
        self._offset_bytes = 0
        self._has_moved = False

    def moved(self, offset_bytes: int) -> None:
        if self._has_moved:
            self._progress.update(self._task, completed=offset_bytes, note="")
        else:  # where an earlier life stopped: that was no speed
            self._progress.reset(self._task, completed=offset_bytes, note="")
            self._has_moved = True
        if self._all is not None:
            self._progress.advance(self._all, offset_bytes - self._offset_bytes)
        self._offset_bytes = offset_bytes

    def waits(self, reason: str) -> None:
        self._progress.update(self._task, note=printable(reason))

    def processes(self, fraction: float, status: str) -> None:
        self._progress.update(self._task, note=f"{status} {fraction:.0%}")


class _Name(ProgressColumn):
    """The name, and below it what there is to say."""

    def render(self, task: Task) -> Text:
        note = task.fields.get("note")
        text = Text(task.description, no_wrap=True, overflow="ellipsis")
        if note:
            text.append(f"\n  {note}", style="yellow")
        return text


def _columns(width: int) -> list[ProgressColumn]:
    name = _Name(table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis"))
    columns: list[ProgressColumn] = [name]
    if width >= NARROW:
        columns.append(BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=10)))
    columns.append(TaskProgressColumn(table_column=Column(no_wrap=True, justify="right")))
    if width >= NARROW:
        columns.append(DownloadColumn(table_column=Column(no_wrap=True, justify="right")))
    if width >= WIDE:
        columns.append(TransferSpeedColumn(table_column=Column(no_wrap=True, justify="right")))
        columns.append(TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)))
    return columns
