"""Descent on centred data: the means of the columns, a centred target, and the intercept afterwards."""

from typing import Any

import numpy as np

from ..._arrays import Array
from .._problem import Problem
from .._streaming.rows import Rows

Host = np.ndarray[Any, Any]


class Centred:
    """A problem whose kernels subtract the means of X in registers, and whose target is centred.

    Without an intercept it is the problem as it was.

    Attributes
    ----------
    problem : Problem
    x_offset : native (B, d) array or None
        As ``linreg_pass`` takes it.
    """

    def __init__(self, problem: Problem, fit_intercept: bool) -> None:
        self.problem, self.x_offset, self._y_mean = problem, None, None
        if fit_intercept:
            self.x_offset = _column_means(problem, problem.X)
            self._y_mean = _column_means(problem, problem.y)
            self.problem = problem.with_target(_centred_target(problem, self._y_mean))

    @property
    def x_mean(self) -> Any:
        """The means of X in a single problem, on the host; 0 without an intercept."""
        return 0.0 if self.x_offset is None else self.problem.to_host(self.x_offset)[0]

    def part(self, rows: Rows) -> Problem:
        """Other rows of the same problem, their target centred on the mean of all."""
        part = self.problem.with_rows(rows.X, rows.y, rows.weights)
        return part if self._y_mean is None else part.with_target(_centred_target(part, self._y_mean))

    def intercept(self, w: Host) -> Host:
        """``mean(y) - mean(x)·w``, ``(B, k)`` in float64; zeros without an intercept."""
        if self.x_offset is None or self._y_mean is None:
            return np.zeros((w.shape[0], w.shape[2]))
        x_mean, y_mean = (
            self.problem.to_host(one).astype(np.float64) for one in (self.x_offset, self._y_mean)
        )
        best: Host = y_mean - np.einsum("bd,bdk->bk", x_mean, w)
        return best


def _column_means(problem: Problem, columns: Array) -> Array:
    """Weighted means of the columns of ``(B, n, c)``, as ``(B, c)``.

    They are the gradient of a model without coefficients against a target of -1 everywhere, so that
    the one kernel, with its order of sums, serves.
    """
    problems, n, count = columns.shape
    no_model = problem.filled((problems, count, 1), 0.0)
    means = problem.empty((problems, count, 1))
    if not problem.is_empty:
        problem.backend.linreg_pass(
            columns,
            problem.filled((problems, n, 1), -1.0),
            no_model,
            problem.sample_weight,
            None,
            l1=0.0,
            l2=0.0,
            learning_rate=None,
            out=means,
            loss=None,
        )
    return problem.backend.reshape(means, (problems, count))


def _centred_target(problem: Problem, means: Array) -> Array:
    """A copy of y less its means: the rank-one update ``y - 1 ⊗ mean``, an outer product."""
    centred = problem.copy(problem.y)
    ones = problem.filled(tuple(centred.shape[:2]), 1.0)
    scalar = problem.sums.type
    problem.backend.batched_outer(ones, means, scalar(-1), scalar(1), centred)
    return centred
