"""What a search returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..._arrays import Array
from ..result import FitResult
from .grid import NAMES, Grid

Host = np.ndarray[Any, Any]

SMALLER_IS_BETTER = ("mse", "rmse")


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Scores of a grid of linear regressions by cross-validation, and the best one, fitted on all rows.

    Attributes
    ----------
    best_params : dict
        ``l1``, ``l2``, ``learning_rate`` and ``max_iter`` of the best point: Python numbers, or "auto".
    best_score : float
        Its mean score.
    best_index : int
        Its number in the grid; the first one where several are best.
    coef : (d,) or (d, k) array
        Coefficients of the best point, fitted on all rows.
    intercept : () or (k,) array
        Intercepts of that fit.
    fit : FitResult
        That fit.
    solver : str
        The solver of that fit.
    reason : str
        Why the points were fitted as they were.
    scores : (n_splits, points) ndarray
        Of each point on each test set, averaged over the targets. NaN where the descent diverges.
    mean_scores, std_scores : (points,) ndarray
        Over the splits, which count alike.
    ranks : (points,) ndarray of int
        1 is best; equals share the smaller number, and points with NaN the last one.
    n_splits : int
        Splits of the rows.
    reads : float
        How often X was read: 1, and more where the fit was nearly exact, where `scoring` is a function, or
        where the splits share no sets of rows.
    scoring : str or callable
        As it was asked for. Of ``"mse"`` and ``"rmse"`` smaller is better, else greater.
    """

    fit: FitResult
    scores: Host = field(repr=False)
    scoring: Any
    reads: float
    reason: str = field(repr=False)
    _grid: Grid = field(repr=False)

    @property
    def n_splits(self) -> int:
        """Splits of the rows."""
        return len(self.scores)

    @cached_property
    def mean_scores(self) -> Host:
        """Means over the splits."""
        means: Host = np.mean(self.scores, axis=0)
        return means

    @cached_property
    def std_scores(self) -> Host:
        """Standard deviations over the splits."""
        deviations: Host = np.std(self.scores, axis=0)
        return deviations

    @cached_property
    def ranks(self) -> Host:
        """From 1, the best."""
        return rank(self.mean_scores, self.scoring)

    @cached_property
    def best_index(self) -> int:
        """The number of the best point."""
        return int(np.argmin(self.ranks))

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the best point."""
        return self._grid.point(self.best_index)

    @property
    def best_score(self) -> float:
        """The mean score of the best point."""
        return float(self.mean_scores[self.best_index])

    @property
    def coef(self) -> Array:
        """Coefficients of the best point."""
        return self.fit.coef

    @property
    def intercept(self) -> Array:
        """Intercepts of the best point."""
        return self.fit.intercept

    @property
    def solver(self) -> str:
        """The solver of the best point."""
        return self.fit.solver

    def __repr__(self) -> str:
        return (
            f"SearchResult(best_params={self.best_params}, best_score={self.best_score:.6g}, "
            f"scoring={self.scoring!r}, points={self._grid.size}, n_splits={self.n_splits}, "
            f"solver={self.solver!r}, reads={self.reads:g})"
        )

    def with_arrays(self, convert: Callable[[Array], Array]) -> "SearchResult":
        """The same search with the coefficients and intercepts that `convert` makes of these."""
        return replace(self, fit=self.fit.with_arrays(convert))

    def predict(self, X: Array) -> Array:
        """Predictions of the best point; see `FitResult.predict`.

        Parameters
        ----------
        X : (m, d) array_like
            Observations in rows.

        Returns
        -------
        (m,) or (m, k) array
            A prediction for each row.
        """
        return self.fit.predict(X)

    def score(self, X: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Coefficient of determination of the best point; see `FitResult.score`.

        Parameters
        ----------
        X : (m, d) array_like
            Observations in rows.
        y : (m,) or (m, k) array_like
            What should have been predicted.
        sample_weight : (m,) array_like, optional
            Weight of each row.

        Returns
        -------
        float
            The mean over the targets.
        """
        return self.fit.score(X, y, sample_weight)

    def to_dict(self) -> dict[str, Any]:
        """All scores, as ``cv_results_`` of scikit-learn holds them; for ``pandas.DataFrame``.

        Returns
        -------
        dict
            ``param_l1``, ``param_l2``, ``param_learning_rate``, ``param_max_iter``, ``params`` (a list of
            dicts), ``split0_test_score`` and so on, ``mean_test_score``, ``std_test_score`` and
            ``rank_test_score``: arrays with an element for each point.
        """
        splits = {f"split{i}_test_score": scores.copy() for i, scores in enumerate(self.scores)}
        return {
            **{f"param_{name}": self._grid.column(name) for name in NAMES},
            "params": self._grid.points(),
            **splits,
            "mean_test_score": self.mean_scores.copy(),
            "std_test_score": self.std_scores.copy(),
            "rank_test_score": self.ranks.copy(),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the mean scores against what was varied, and mark the best point.

        One parameter gives a curve, with a band of one standard deviation over the splits; two give a heat
        map; of more, those two that the score depends on most, the others being at their best.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; new ones unless given.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is missing; the message says how to install it.
        """
        from .plot import draw

        return draw(self, self._grid, ax)


def rank(means: Host, scoring: Any) -> Host:
    """Ranks from 1, the smaller one for equals and the last one for NaN, as scikit-learn gives them."""
    keys = means if scoring in SMALLER_IS_BETTER else -means
    keys = np.where(np.isnan(keys), np.inf, keys)
    ranks: Host = np.searchsorted(np.sort(keys), keys).astype(np.int32) + np.int32(1)
    return ranks
