"""One row of the benchmark: several ways to do one thing, timed side by side.

A shared machine drifts by more than most differences are worth, so nothing is timed alone: the
runners of a row take turns, each turn begins with another of them, and the medians of the turns are
compared.  Each runner's result is held against float64 in the same run: a fast wrong answer is
reported as wrong.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .clocks import Clock, Timer, WallClock
from .runner import LIMIT, OURS, Runner

Expected = Any
"""The result in float64, or a function that gives the error of a result."""


@dataclass(frozen=True)
class Timing:
    """Times of one runner, and how far its result was from float64.

    Attributes
    ----------
    seconds : tuple of float
        Of one call, one for each turn.
    error : float or None
        Largest difference from the expected result, in units of its largest element.
    is_wrong : bool
        Whether that is more than the row tolerates.
    how : str
        What the seconds are; see `clocks.Timer`.
    """

    seconds: tuple[float, ...]
    error: float | None = None
    is_wrong: bool = False
    how: str = "wall"

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile."""
        return quartiles(self.seconds)


@dataclass(frozen=True)
class Race:
    """The outcome of one row.

    Attributes
    ----------
    row : str
        What was raced.
    timings : dict of str to Timing
        By runner, ours first.
    missing : dict of str to str
        Peers that could not take part, and why.
    """

    row: str
    timings: dict[str, Timing]
    missing: dict[str, str]

    def ratio(self, name: str) -> float:
        """How many times faster ours was than `name`: the median of the ratios turn by turn."""
        pairs = zip(self.timings[name].seconds, self.timings[OURS].seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    @property
    def peers(self) -> list[str]:
        """Every runner but ours and the limits; other ways of ours are among them."""
        return [name for name in self.timings if name != OURS and not name.startswith(LIMIT)]

    @property
    def limit(self) -> str | None:
        """The fastest of the limits."""
        limits = [name for name in self.timings if name.startswith(LIMIT)]
        return min(limits, key=lambda name: self.timings[name].median, default=None)


def run(
    row: str,
    runners: Sequence[Runner],
    expected: Expected,
    *,
    tolerance: float,
    turns: int = 9,
    missing: dict[str, str] | None = None,
    clock: Clock | None = None,
) -> Race:
    """Race the runners of one row.

    Parameters
    ----------
    row : str
        What is raced.
    runners : sequence of Runner
        Ours among them, by that name.
    expected : array_like or callable
        The result in float64, or a function that gives the error of a result.
    tolerance : float
        Largest difference from it that still counts as right, in units of its largest element.
    turns : int, default 9
        Times that each runner is timed; they take turns in rotating order.
    missing : dict of str to str, optional
        Peers that cannot take part, and why; one that fails joins them.
    clock : Clock, optional
        What times them; the host's clock unless given.

    Returns
    -------
    Race
        Times, errors and ratios.
    """
    missing = dict(missing or {})
    check = expected if callable(expected) else partial(relative_error, np.asarray(expected, np.float64))
    timers: dict[str, Timer] = {}
    errors: dict[str, float | None] = {}
    for runner in runners:
        try:
            timer = (clock or WallClock()).timer(runner)
            errors[runner.name] = _error(runner, timer, check)
        except Exception as error:
            if runner.name == OURS:
                raise
            missing[runner.name] = f"{type(error).__name__}: {error}"  # a line in the report, no failure
        else:
            timers[runner.name] = timer
    seconds = take_turns({name: timer.turn for name, timer in timers.items()}, turns)
    timings = {
        name: Timing(tuple(seconds[name]), errors[name], _is_wrong(errors[name], tolerance), timer.how)
        for name, timer in timers.items()
    }
    return Race(row, timings, missing)


def take_turns(timed: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """What each gives, one number a turn; each turn begins with another of them."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    names = list(timed)
    for turn in range(turns):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            seconds[name].append(timed[name]())
    return seconds


def quartiles(numbers: Sequence[float]) -> tuple[float, float]:
    """First and third quartile; of one number, that number."""
    if len(numbers) < 2:
        return numbers[0], numbers[0]
    first, _, third = statistics.quantiles(numbers, n=4, method="inclusive")
    return first, third


def relative_error(expected: Any, result: Any) -> float:
    """Largest difference in units of the largest element."""
    difference = np.abs(np.asarray(result, np.float64) - expected)
    return float(difference.max() / np.abs(expected).max())


def _error(runner: Runner, timer: Timer, check: Callable[[Any], float]) -> float | None:
    """The error of what the timer times, which warms it up too."""
    returned = timer.replay()
    return None if runner.result is None or returned is None else check(runner.result(returned))


def _is_wrong(error: float | None, tolerance: float) -> bool:
    return error is not None and not error <= tolerance  # NaN is wrong
