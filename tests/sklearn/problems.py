"""Random regressions in all the shapes, layouts and dtypes that a caller may have."""

import numpy as np


def random_problem(rng, *, targets=None, dtype=np.float64, most_features=20):
    """X ``(n, d)`` in some layout, y ``(n,)`` or ``(n, k)``, and weights or None; more rows than columns."""
    d = int(rng.integers(1, most_features))
    n = int(rng.integers(d + 5, 10 * d + 20))
    k = int(rng.integers(0, 4)) if targets is None else targets
    X = rng.normal(size=(n, d)) * rng.uniform(0.2, 5, d) + rng.normal(size=d) * 3
    y = X @ rng.normal(size=(d, max(k, 1))) + 0.5 * rng.normal(size=(n, max(k, 1))) + 2
    weights = (None, rng.integers(0, 4, n).astype(float), rng.uniform(0.1, 2, n))[rng.integers(3)]
    return _laid_out(rng, X.astype(dtype)), (y if k else y[:, 0]).astype(dtype), weights


def _laid_out(rng, X):
    """The same numbers in C or Fortran order, in every other row and column, or from the end to the start."""
    layout = rng.integers(4)
    if layout == 1:
        return np.asfortranarray(X)
    if layout == 2:
        wider = np.full((2 * X.shape[0], 2 * X.shape[1]), np.nan, X.dtype)
        wider[::2, ::2] = X
        return wider[::2, ::2]
    if layout == 3:
        return X[::-1, ::-1].copy()[::-1, ::-1]
    return X


def difference(ours, theirs):
    """The largest difference, over the largest number."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-300)
