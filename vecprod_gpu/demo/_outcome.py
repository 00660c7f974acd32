"""What each part of the demo reports, and how it takes the time."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Told of each stage as it begins.
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """One part of the demo, done.

    Attributes
    ----------
    title, work : str
        What it was about, and the calls and sizes that were timed.
    backend : str
        Where those calls ran.
    largest_difference : float
        From the same quantity computed by NumPy in float64, in `unit`.
    unit : str
        The unit of the difference.
    seconds, numpy_seconds : float
        Time of our calls and of NumPy's for the same work in the same dtype.
    picture : Path
        The picture that was drawn.
    """

    title: str
    work: str
    backend: str
    largest_difference: float
    unit: str
    seconds: float
    numpy_seconds: float
    picture: Path


def median_seconds(
    ours: Callable[[], object], numpys: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Median times of two functions that take turns, after one call of each that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(rounds + 1):
        for function, record in zip((ours, numpys), times, strict=True):
            start = time.perf_counter()
            function()
            if round_number:
                record.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])
