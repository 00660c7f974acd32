"""One row of the benchmark: several ways to do one thing, timed side by side.

A shared machine drifts by more than most differences are worth, so nothing is timed alone: the
runners of a row take turns, each turn begins with another of them, and the medians of the turns are
compared.  Each runner's result is held against float64 in the same run: a fast wrong answer is
reported as wrong.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TURN_SECONDS = 0.02  # a runner that is faster is called repeatedly within its turn


@dataclass(frozen=True)
class Runner:
    """One way to compute a row.

    Attributes
    ----------
    name : str
        ``"ours"``, a peer's name, or a limit's.
    call : callable
        Computes once; waits until the result is there.
    result : callable or None
        Makes a NumPy array of what ``call`` returned; None for a limit, which has no result to check.
    share : float, default 1.0
        Of the row's work that a call does, where all of it would take minutes: its time is divided by it.
    """

    name: str
    call: Callable[[], Any]
    result: Callable[[Any], Any] | None = np.asarray
    share: float = 1.0


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
    """

    seconds: tuple[float, ...]
    error: float | None = None
    is_wrong: bool = False

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        first, _, third = statistics.quantiles(self.seconds, n=4)
        return first, third


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
        pairs = zip(self.timings[name].seconds, self.timings["ours"].seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def run(
    row: str,
    runners: Sequence[Runner],
    expected: Any,
    *,
    tolerance: float,
    turns: int = 9,
    missing: dict[str, str] | None = None,
) -> Race:
    """Race the runners of one row.

    Parameters
    ----------
    row : str
        What is raced.
    runners : sequence of Runner
        Ours among them, by that name.
    expected : array_like
        The result in float64.
    tolerance : float
        Largest difference from it that still counts as right, in units of its largest element.
    turns : int, default 9
        Times that each runner is timed; they take turns in rotating order.
    missing : dict of str to str, optional
        Peers that cannot take part, and why.

    Returns
    -------
    Race
        Times, errors and ratios.
    """
    errors = {runner.name: _error(runner, expected) for runner in runners}
    repeats = {runner.name: _repeats(runner) for runner in runners}
    seconds: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for turn in range(turns):
        first = turn % len(runners)
        for runner in (*runners[first:], *runners[:first]):
            seconds[runner.name].append(_time(runner, repeats[runner.name]))
    timings = {
        name: Timing(tuple(times), errors[name], is_wrong=_is_wrong(errors[name], tolerance))
        for name, times in seconds.items()
    }
    return Race(row, timings, missing or {})


def _error(runner: Runner, expected: Any) -> float | None:
    """Run once, to warm up and to check; the largest difference relative to the largest element."""
    returned = runner.call()
    if runner.result is None:
        return None
    difference = np.abs(np.asarray(runner.result(returned), np.float64) - expected)
    return float(difference.max() / np.abs(expected).max())


def _is_wrong(error: float | None, tolerance: float) -> bool:
    return error is not None and not error <= tolerance  # NaN is wrong


def _repeats(runner: Runner) -> int:
    """Calls that fill a turn."""
    started = time.perf_counter()
    calls = 0
    while time.perf_counter() - started < TURN_SECONDS:
        runner.call()
        calls += 1
    return calls


def _time(runner: Runner, repeats: int) -> float:
    """Seconds that the row's work takes, by the calls of one turn.

    A call that is not timed comes first: it pays for what the runner before left in the caches, where
    tens of megabytes may still have to be written back.
    """
    call = runner.call
    call()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats / runner.share
