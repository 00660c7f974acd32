"""When a descent ends because rows that were held out see no gain any more."""

from typing import Any

import numpy as np

from ..linreg._search import scores
from ..linreg.moments import MomentSums
from ._observations import Observations, Validated

Host = np.ndarray[Any, Any]


class EarlyStopping:
    """A callback of the descent, which scores each step on rows held out, by their co-moments.

    Attributes
    ----------
    scores : list of float
        R² after each step.
    has_stopped : bool
        Whether it ended the descent.
    """

    def __init__(self, held_out: Validated, *, patience: int, least_gain: float) -> None:
        self.scores: list[float] = []
        self.has_stopped = False
        self._held_out: MomentSums = Observations.of(held_out, fit_intercept=True).sums
        self._patience, self._least_gain = patience, least_gain
        self._best, self._idle = -np.inf, 0

    def watch(self, observations: Observations) -> None:
        """See the rows that are fitted, whose means the intercept belongs to."""
        self._tests = scores.TestSets.of(
            observations.quadratic, self._held_out, observations.features, observations.fit_intercept
        )
        self._form = self._tests.form(0)

    def __call__(self, iteration: int, coef: Host, loss: Host) -> None:
        """Look at the coefficients after a step."""
        columns = np.asarray(coef, np.float64).reshape(len(coef), -1)
        errors = self._form.at(np.ascontiguousarray(columns.T)[:, :, np.newaxis])
        score = float(self._tests.r2(0, errors).mean())
        self.scores.append(score)
        self._idle = 0 if score >= self._best + self._least_gain else self._idle + 1
        self._best = max(self._best, score)
        if self._idle >= self._patience:
            self.has_stopped = True
            raise StopIteration
