"""Running means of X and y, which decide on the intercept that belongs to coefficients."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..linreg._streaming.rows import Rows, on_host
from ._observations import Observations

Host = np.ndarray[Any, Any]

ELEMENTS_AT_ONCE = 1 << 20  # of X, widened to float64


@dataclass(frozen=True)
class Means:
    """Weighted means of all rows seen; zeros where no intercept is fitted.

    Attributes
    ----------
    total : float
        Sum of the weights.
    x : (d,) ndarray
    y : (k,) ndarray
    """

    total: float
    x: Host
    y: Host

    @classmethod
    def of(cls, observations: Observations) -> "Means":
        """Of the rows of one call: from their co-moments, or else in one read."""
        total, d, k = observations.weight_sum, observations.features, observations.targets
        if not observations.fit_intercept:
            return cls(total, np.zeros(d), np.zeros(k))
        if not observations.is_wide:
            both = observations.given.sums.means[0]
            return cls(total, both[:d], both[d:])
        rows = observations.given.require_rows("auto")
        step = max(1, ELEMENTS_AT_ONCE // d)
        parts = [_sums(rows.part(start, min(start + step, rows.n))) for start in range(0, rows.n, step)]
        x, y = (np.sum(part, axis=0) / total for part in zip(*parts, strict=True))
        return cls(total, x, y)

    def merge(self, later: "Means") -> "Means":
        """Of the rows of both."""
        total = self.total + later.total
        share = later.total / total
        return Means(total, self.x + share * (later.x - self.x), self.y + share * (later.y - self.y))

    def intercept(self, coef: Host) -> Host:
        """``mean(y) - mean(x)·w`` for coefficients ``(d, k)``."""
        best: Host = self.y - self.x @ coef
        return best


def _sums(rows: Rows) -> tuple[Host, Host]:
    """Weighted sums of the columns of X and y."""
    X, y = on_host(rows.X).astype(np.float64), on_host(rows.y).astype(np.float64).reshape(rows.n, -1)
    weights = np.ones(rows.n) if rows.weights is None else on_host(rows.weights).astype(np.float64)
    return weights @ X, weights @ y
