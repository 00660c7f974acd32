"""A bar on standard error that says what a job is at; without a terminal there is none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """The bar of a job where nobody watches; it begins anew with each stage."""

    def stage(self, description: str, total: float | None = None, *, in_bytes: bool = False) -> None:
        """Begin a stage of `total` units; without that number the bar only shows that it is alive."""

    def advance(self, units: float) -> None:
        """Count what has been done of the stage."""


class _ShownBar(Bar):
    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task("", visible=False, in_bytes=False)

    def stage(self, description: str, total: float | None = None, *, in_bytes: bool = False) -> None:
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=total, in_bytes=in_bytes)

    def advance(self, units: float) -> None:
        self._progress.advance(self._task, units)


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[Bar]:
    """A bar for as long as the job runs, where one is wanted and standard error is a terminal."""
    # Asked of the stream itself, since rich takes a variable such as FORCE_COLOR for a terminal.
    if not wanted or not sys.stderr.isatty():
        yield Bar()
        return
    with _shown() as progress:
        yield _ShownBar(progress)


def _shown() -> "Progress":
    """The bar of a terminal: how much, of bytes how many and how fast, how long it took and will take."""
    from rich import filesize
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Bytes(ProgressColumn):
        def render(self, task: Task) -> Text:
            if not task.fields["in_bytes"]:
                return Text()
            rate = f", {filesize.decimal(int(task.speed))}/s" if task.speed else ""
            return Text(filesize.decimal(int(task.completed)) + rate)

    return Progress(
        TextColumn("{task.description}", markup=False),  # file names may hold brackets
        BarColumn(),
        TaskProgressColumn(),
        Bytes(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
