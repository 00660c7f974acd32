"""How a runner is timed: by the host's clock, or by a GPU's events around the replay of a captured graph.

A clock makes a `Timer` of each runner.  What a timer replays for the check of the result is what it
times: a graph that captured nothing would be fast, and is caught by its wrong answer.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from .runner import Runner

TURN_SECONDS = 0.02  # a runner that is faster is called repeatedly within its turn
FEWEST_ROUNDS = 3  # that tell how many fill a turn
BRIEF = 1e-3  # seconds of a round whose threads must not have to share their processors with others
SETTLE_SECONDS = 0.12  # OpenBLAS's threads keep theirs busy for 0.107 s after a call, torch's for 0.005 s
GRAPH_SECONDS = 0.002  # likewise, within its graph
MOST_CALLS_CAPTURED = 256
CALLS_IN_A_TURN = 400  # their launches stay below the thousand that the driver queues before it blocks


@dataclass(frozen=True)
class Timer:
    """One runner, ready to be timed.

    Attributes
    ----------
    how : str
        What the seconds are: ``"wall"``, ``"call"``, ``"graph"``, ``"events"`` or ``"reported"``.
    turn : callable
        Takes one turn; gives the seconds that the row's work takes.
    replay : callable
        Computes once more, the way that is timed, and gives the result.
    """

    how: str
    turn: Callable[[], float]
    replay: Callable[[], Any]


class Clock(Protocol):
    """Makes timers."""

    def timer(self, runner: Runner) -> Timer:
        """Warm the runner up and make it ready."""


@dataclass(frozen=True)
class WallClock:
    """The host's clock, from the call until the result is there.

    Attributes
    ----------
    wait : callable
        Waits for a device to finish; nothing on a CPU.
    turn_seconds : float
        Calls are repeated for so long within a turn.
    settle_seconds : float
        Pause before a turn of brief calls, but the first: the threads of the runner before are still awake.
    """

    wait: Callable[[], object] = lambda: None
    turn_seconds: float = TURN_SECONDS
    settle_seconds: float = 0.0

    def timer(self, runner: Runner) -> Timer:
        """Count how many rounds fill a turn, once the result has been looked at."""
        rounds: list[int] = []

        def turn() -> float:
            if rounds and rounds[0] * BRIEF > self.turn_seconds:
                time.sleep(self.settle_seconds)
            # A round that is not timed comes first: it pays for what the runner before left in the caches,
            # where tens of megabytes may still have to be written back.
            self._round(runner)
            if not rounds:
                rounds.append(self._rounds_in_a_turn(runner))
            started = time.perf_counter()
            for _ in range(rounds[0]):
                self._round(runner)
            return (time.perf_counter() - started) / rounds[0] / len(runner.calls) / runner.share

        return Timer("wall", turn, partial(_call_once, runner))

    def _round(self, runner: Runner) -> None:
        for call in runner.calls:
            call()
            self.wait()

    def _rounds_in_a_turn(self, runner: Runner) -> int:
        """By the fastest of some, and not by the first alone: it may compile what later ones use."""
        seconds: list[float] = []
        while len(seconds) < FEWEST_ROUNDS or sum(seconds) < self.turn_seconds:
            started = time.perf_counter()
            self._round(runner)
            seconds.append(time.perf_counter() - started)
        return max(1, round(self.turn_seconds / min(seconds)))


@dataclass(frozen=True)
class CallClock:
    """The host's clock around calls that do not wait for the device: the overhead of a call."""

    wait: Callable[[], object] = lambda: None
    calls: int = CALLS_IN_A_TURN

    def timer(self, runner: Runner) -> Timer:
        """Nothing has to be counted."""

        def turn() -> float:
            for _ in range(self.calls // 8):
                runner.call()
            self.wait()
            with _no_collection():
                started = time.perf_counter()
                for _ in range(self.calls):
                    runner.call()
                seconds = time.perf_counter() - started
            self.wait()
            return seconds / self.calls / runner.share

        return Timer("call", turn, partial(_call_once, runner))


class ReportedClock:
    """Takes the runner's own word: its call gives the seconds."""

    def timer(self, runner: Runner) -> Timer:
        """Every turn is one call."""
        return Timer("reported", lambda: float(runner.call()) / runner.share, lambda: None)


class KernelClock:
    """CUDA events around the replay of a captured graph: what the kernels take, without their launches.

    A runner that cannot be captured, since it waits for the device, is timed by events around plain
    calls.  Whatever is allocated while a graph is captured comes from a pool that lives as long as the
    graph, because each replay writes there again.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._stream = cupy.cuda.get_current_stream()

    def timer(self, runner: Runner) -> Timer:
        """Capture so many calls that a replay takes a while; inputs take turns, the first comes last."""
        calls = (*runner.calls[1:], runner.call)
        once = self._seconds(lambda: [call() for call in calls])
        rounds = max(1, min(MOST_CALLS_CAPTURED // len(calls), math.ceil(GRAPH_SECONDS / max(once, 1e-9))))
        count = rounds * len(calls)
        pool = self._cupy.cuda.MemoryPool()
        returned: list[Any] = []

        def play() -> None:
            for _ in range(rounds):
                for call in calls:
                    returned[:] = [call()]

        how = "graph"
        try:
            with self._cupy.cuda.using_allocator(pool.malloc):
                launch = self._capture(play)
        except Exception:  # each library raises an error of its own where a capture was broken
            how, launch = "events", play

        def replay() -> Any:
            if returned:
                runner.poison(returned[0])
            launch()
            return returned[0]

        def turn() -> float:
            launch()
            return self._seconds(launch) / count / runner.share

        return Timer(how, turn, replay)

    def _capture(self, play: Callable[[], None]) -> Callable[[], None]:
        play()
        self._stream.synchronize()
        self._stream.begin_capture()
        try:
            play()
        finally:
            graph = self._stream.end_capture()
        return lambda: graph.launch(self._stream)

    def _seconds(self, launch: Callable[[], object]) -> float:
        first, last = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        first.record(self._stream)
        launch()
        last.record(self._stream)
        last.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(first, last)) / 1e3


def _call_once(runner: Runner) -> Any:
    runner.poison()
    return runner.call()


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage is collected meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
