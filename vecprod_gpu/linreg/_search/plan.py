"""How the points of a grid are fitted: which solver, and why."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError
from .candidates import (
    GAP,
    Candidates,
    ClosedForms,
    EigenSteps,
    ProximalSteps,
    Training,
    coordinate_paths,
)
from .grid import Grid

SOLVERS = ("auto", "comoments", "cd", "cholesky", "eigh")
FROM_DATA = ("gd", "sgd", "svd")


@dataclass(frozen=True)
class Plan:
    """How the points of a grid are fitted.

    Attributes
    ----------
    solver : str
    grid : Grid
    reason : str
    """

    solver: str
    grid: Grid
    reason: str

    @classmethod
    def read(cls, solver: str, grid: Grid) -> "Plan":
        """Check the solver against the grid."""
        if solver in FROM_DATA:
            raise ArgumentError(
                f"solver is {solver!r}, which would read X anew for every point and fold; "
                f"there are {', '.join(map(repr, SOLVERS))}"
            )
        if solver not in SOLVERS:
            raise ArgumentError(f"solver is {solver!r}; there are {', '.join(map(repr, SOLVERS))}")
        if solver in ("cholesky", "eigh"):
            if grid.l1.any():
                raise ArgumentError(f"l1 must be 0 for the solver {solver}; cd and comoments take it")
            if grid.asks_for_steps:
                raise ArgumentError(f"learning_rate and max_iter are not for {solver}, which takes no steps")
        if solver == "cd" and not np.isnan(grid.learning_rate).all():
            raise ArgumentError("learning_rate is for the solver comoments, not for cd")
        if solver != "auto":
            return cls(solver, grid, "it was asked for")
        if grid.asks_for_steps:
            return cls("comoments", grid, "learning_rate or max_iter asks for steps")
        return cls("auto", grid, "no learning_rate or max_iter asks for steps")

    @property
    def takes_steps(self) -> bool:
        """Whether learning rates count."""
        return self.solver == "comoments"

    def families(self, training: Training) -> list[Candidates]:
        """The fits of all points, those that are alike together."""
        grid = self.grid
        has_l1 = grid.l1 > 0
        families: list[Candidates] = []
        if self.takes_steps:
            training.require_squares(grid.l1, grid.l2)
            if not has_l1.all():
                families.append(EigenSteps(training, grid))
            if has_l1.any():
                families.append(ProximalSteps(training, grid))
            return families
        swept = has_l1 | (self.solver == "cd")
        if not swept.all():
            families.append(ClosedForms(training, grid, self.solver))
        if swept.any():
            families.append(coordinate_paths(training, grid, swept))
        return families

    def fitted(self, params: dict[str, Any]) -> dict[str, Any]:
        """What `linreg_fit` is told to fit a point in the same way."""
        if self.takes_steps:
            return {"solver": "comoments", "tol": 0.0}
        if self.solver == "cd" or params["l1"]:
            return {"solver": "cd", "tol": GAP}
        return {"solver": self.solver}
