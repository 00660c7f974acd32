"""Rows of whole fits: many steps, many penalties, many folds, many problems."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..peers import Peers
from ..row import Entry
from ..runner import Runner
from . import limits
from .limits import Array

LEARNING_RATE = 0.5  # of standard normal columns, whose largest eigenvalue is little more than 1


def steps(peers: Peers, n: int, d: int, count: int) -> Entry:
    """Steps of gradient descent: from co-moments, fused, and as two products for each."""
    X, y = _problem(n, d, np.float32)
    how: dict[str, Any] = {"learning_rate": LEARNING_RATE, "tol": 0, "fit_intercept": False}
    rate = np.float32(LEARNING_RATE / n)
    few = 10

    def by_numpy() -> Array:
        w = np.zeros(d, np.float32)
        for _ in range(few):
            w -= rate * (X.T @ (X @ w - y))
        return w

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty = torch.from_numpy(X), torch.from_numpy(y)

        def by_torch() -> Any:
            w = torch.zeros(d)
            for _ in range(few):
                w -= float(rate) * (tX.T @ (tX @ w - ty))
            return w

        yield Runner(f"torch, by {few} steps", by_torch, None, few / count)

    runners = [
        Runner("ours", lambda: vp.linreg_fit(X, y, solver="comoments", max_iter=count, **how).coef),
        Runner(
            f"ours, fused, by {few} steps",
            lambda: vp.linreg_fit(X, y, solver="gd", max_iter=few, **how),
            None,
            few / count,
        ),
        Runner(f"numpy, by {few} steps", by_numpy, None, few / count),
        *peers.torch(torch_runners),
        *limits.read(X),
    ]
    return Entry(runners, _descent_in_float64(X, y, count), X.nbytes)


def lasso_path(peers: Peers, n: int, d: int, count: int) -> Entry:
    """Lasso for many penalties, from the data; scikit-learn makes a Gram matrix of its own."""
    X, y = _problem(n, d, np.float64)
    X -= X.mean(axis=0)
    y -= y.mean()
    strongest = np.abs(X.T @ y).max() / n
    penalties = np.geomspace(strongest, 1e-3 * strongest, count)

    def sklearn_runners(sklearn: Any) -> Iterator[Runner]:
        from sklearn.linear_model import lasso_path

        yield Runner("scikit-learn", lambda: lasso_path(X, y, alphas=penalties)[1])

    runners = [
        Runner("ours", lambda: vp.linreg_fit(X, y, l1=penalties).coef),
        *peers.sklearn(sklearn_runners),
        *limits.read(X),
    ]
    return Entry(runners, _lasso_in_float64(X, y, penalties), X.nbytes)


def ridge_search(peers: Peers, n: int, d: int, count: int) -> Entry:
    """Five-fold cross-validation of many ridge penalties; the result is the best score."""
    X, y = _problem(n, d, np.float64)
    penalties = np.geomspace(1e-6, 1e2, count)
    few = 2

    def sklearn_runners(sklearn: Any) -> Iterator[Runner]:
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import GridSearchCV

        alphas = {"alpha": penalties[:few] * 0.8 * n}
        search = GridSearchCV(Ridge(), alphas, cv=5)
        yield Runner(f"scikit-learn, by {few} penalties", lambda: search.fit(X, y), None, few / count)

    runners = [
        Runner("ours", lambda: vp.linreg_search(X, y, l2=penalties).best_score),
        *peers.sklearn(sklearn_runners),
        *limits.read(X),
    ]
    return Entry(runners, _best_score(X, y, penalties), X.nbytes)


def grid_search(peers: Peers, n: int, d: int, count: int) -> Entry:
    """A grid of learning rates, step counts and penalties in five folds, beside one pass over the data."""
    X, y = _problem(n, d, np.float64)
    grid: dict[str, Any] = {
        "learning_rate": np.geomspace(0.01, 1.0, count),
        "max_iter": np.unique(np.geomspace(1, 10_000, count).astype(int)),
        "l2": np.geomspace(1e-6, 1e-1, count),
    }
    runners = [
        Runner("ours", lambda: vp.linreg_search(X, y, **grid).best_score),
        Runner("one pass of ours", lambda: vp.CoMoments.from_arrays(X, y), None),
        *limits.read(X),
    ]
    best = _best_score(X, y, grid["l2"], grid["learning_rate"], grid["max_iter"])
    return Entry(runners, best, X.nbytes)


def batched(peers: Peers, problems: int, n: int, d: int) -> Entry:
    """Many small regressions at once, where NumPy's users write a loop."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((problems, n, d)), rng.standard_normal((problems, n))
    few = problems // 10

    def by_loop() -> list[Array]:
        return [np.linalg.lstsq(one, b, rcond=None)[0] for one, b in zip(X[:few], y[:few], strict=True)]

    def by_einsum() -> Array:
        gram = np.einsum("bni,bnj->bij", X, X)
        return np.linalg.solve(gram, np.einsum("bni,bn->bi", X, y)[..., np.newaxis])[..., 0]

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty = torch.from_numpy(X), torch.from_numpy(y)[..., None]
        yield Runner("torch, gels", lambda: torch.linalg.lstsq(tX, ty, driver="gels").solution[..., 0])

    runners = [
        Runner("ours", lambda: vp.linreg_fit(X, y, fit_intercept=False).coef),
        Runner("numpy, a loop, by a tenth of it", by_loop, None, 0.1),
        Runner("numpy, einsum and solve", by_einsum),
        *peers.torch(torch_runners),
        *limits.read(X),
    ]
    left, singular, right = np.linalg.svd(X, full_matrices=False)
    along = np.einsum("bni,bn->bi", left, y) / singular
    return Entry(runners, np.einsum("bij,bi->bj", right, along), X.nbytes)


def _problem(n: int, d: int, dtype: Any) -> tuple[Array, Array]:
    """Standard normal columns, a third of which matter, and noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=dtype)
    w = np.zeros(d, dtype)
    w[::3] = rng.standard_normal(len(w[::3]), dtype=dtype)
    return X, X @ w + rng.standard_normal(n, dtype=dtype)


def _descent_in_float64(X: Array, y: Array, count: int) -> Array:
    """The same steps on the Gram matrix, which is summed in float64 by slices of rows."""
    d = X.shape[1]
    gram, along = np.zeros((d, d)), np.zeros(d)
    for start in range(0, len(X), 100_000):
        part, target = (array[start : start + 100_000].astype(np.float64) for array in (X, y))
        gram += part.T @ part
        along += part.T @ target
    w = np.zeros(d)
    for _ in range(count):
        w -= LEARNING_RATE / len(X) * (gram @ w - along)
    return w


def _lasso_in_float64(X: Array, y: Array, penalties: Array) -> Array:
    """Proximal steps for all penalties at once; columns as independent as these need few."""
    gram, along = X.T @ X / len(X), (X.T @ y / len(X))[:, None]
    rate = 1 / np.linalg.eigvalsh(gram)[-1]
    models: Array = np.zeros((X.shape[1], len(penalties)))
    for _ in range(500):
        models = models - rate * (gram @ models - along)
        models = np.sign(models) * np.maximum(np.abs(models) - rate * penalties, 0)
    return models


def _best_score(
    X: Array, y: Array, penalties: Array, rates: Array | None = None, counts: Any = None
) -> Array:
    """The best mean R² of five folds: of ridge solutions, or of so many steps of descent towards them.

    In the basis where a fold's Gram matrix is diagonal, t steps of length η leave ``(1 - η (λ + l2))ᵗ`` of
    each component's way to go.
    """
    scores: Any = 0.0
    for test in np.array_split(np.arange(len(X)), 5):
        cut = slice(test[0], test[-1] + 1)
        train, target = np.delete(X, cut, axis=0), np.delete(y, cut)
        mean, height = train.mean(axis=0), target.mean()
        train -= mean
        values, basis = np.linalg.eigh(train.T @ train / len(train))
        curvature = values + penalties[:, None]
        models = basis.T @ (train.T @ (target - height) / len(train)) / curvature
        if rates is not None:
            left = (1 - rates[:, None, None] * curvature) ** np.asarray(counts)[:, None, None, None]
            models = models * (1 - left)
        held, off = (X[cut] - mean) @ basis, y[cut] - height
        squares = off @ off - 2 * models @ (held.T @ off) + ((models @ (held.T @ held)) * models).sum(axis=-1)
        scores = scores + 1 - squares / np.square(y[cut] - y[cut].mean()).sum()
    return np.asarray(scores.max() / 5)
