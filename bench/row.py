"""One row before it is raced: its name, its sizes, its bars, and who makes its runners."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .bars import Bar
from .race import Expected
from .runner import Runner

FULL_TURNS = 9


@dataclass(frozen=True)
class Scaled:
    """A size that shrinks with the scale of the run, down to `least`."""

    full: int
    least: int = 2

    def at(self, scale: float) -> int:
        """The size for a scale, which is 1 for the full benchmark."""
        return max(self.least, round(self.full * scale))


@dataclass(frozen=True)
class Entry:
    """The runners of a row and what they must compute.

    Attributes
    ----------
    runners : list of Runner
        Ours first.
    expected : array or callable
        See `race.run`.
    moved : int
        Bytes that the work has to move, each input once and each output once; 0 where that is no measure.
    """

    runners: list[Runner]
    expected: Expected
    moved: int = 0


@dataclass(frozen=True)
class Row:
    """One line of the benchmark.

    Attributes
    ----------
    topic : str
        What it is about; rows of one topic are drawn as one curve.
    title : str
        What is raced; sizes are filled in, as in ``"cross, {count:,} vectors"``.
    make : callable
        ``make(peers, **sizes)`` gives the `Entry`; called when the row's turn comes, so that only one
        row's data are in memory.
    sizes : dict of str to int, Scaled, bool or str
        What `make` is given.
    tolerance : float
        See `race.run`.
    clock : str
        Name of the clock: ``"wall"``, ``"kernel"``, ``"call"`` or ``"reported"``.
    along : str
        The size that the topic's curve is drawn along; empty for a row off the curve.
    bars : tuple of Bar
        What ours has to reach.
    turns : int
        Of a full run; fewer than usual where each takes seconds.
    """

    topic: str
    title: str
    make: Callable[..., Entry]
    sizes: dict[str, Any]
    tolerance: float
    clock: str = "wall"
    along: str = ""
    bars: tuple[Bar, ...] = ()
    turns: int = FULL_TURNS

    def sizes_at(self, scale: float) -> dict[str, Any]:
        """The sizes for a scale."""
        return {
            name: size.at(scale) if isinstance(size, Scaled) else size for name, size in self.sizes.items()
        }

    def name_at(self, scale: float) -> str:
        """The title with its sizes."""
        return self.title.format(**self.sizes_at(scale))
