"""One run from its first row to its document, with a bar on standard error meanwhile."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vecprod_gpu.errors import BadInputError

from .results import Document, document
from .suite import suite


def measure(device: str, words: list[str], quick: bool) -> Document:
    """Run the rows whose names hold one of the words, or all of them.

    Raises
    ------
    BadInputError
        If no row's name does.
    """
    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        suite(device, words, quick) as chosen,
        Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress,
    ):
        if not chosen.rows:
            raise BadInputError(f"--rows: no row on {device} holds any of {', '.join(words)}")
        task = progress.add_task("", total=len(chosen.rows))
        outcomes = []
        for outcome in chosen.outcomes(lambda name: progress.update(task, description=name)):
            outcomes.append(outcome)
            progress.advance(task)
        return document(chosen, outcomes, started)
