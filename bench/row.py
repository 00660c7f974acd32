"""One row before it is raced: its name, its runners, and the peers that are there to run it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .peers import load
from .race import Race, Runner, run

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """One line of the benchmark.

    Attributes
    ----------
    name : str
        What is raced.
    make : callable
        Gives the runners and the expected result; called when the row's turn comes, so that only one
        row's data are in memory.
    tolerance : float
        See `race.run`.
    """

    name: str
    make: "Callable[[Peers], tuple[list[Runner], Array]]"
    tolerance: float

    def race(self, turns: int) -> Race:
        """Run the row."""
        peers = Peers()
        runners, expected = self.make(peers)
        return run(self.name, runners, expected, tolerance=self.tolerance, turns=turns, missing=peers.missing)


@dataclass
class Peers:
    """The peers' modules, and why some are missing."""

    missing: dict[str, str] = field(default_factory=dict)

    def torch(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need torch."""
        return self._with("torch", make)

    def jax(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need JAX."""
        return self._with("jax", make)

    def sklearn(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need scikit-learn."""
        return self._with("sklearn", make)

    def _with(self, name: str, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        module, why = load(name)
        if module is None:
            self.missing[name] = why
            return []
        return list(make(module))
