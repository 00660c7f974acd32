"""Linear regressions of the rows of a cluster, fitted and chosen by co-moments."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from dask.delayed import Delayed

from .. import _checks
from ..errors import ArgumentError
from ..linreg._search.folds import FoldMoments, Folds
from ..linreg._search.grid import Grid
from ..linreg._search.plan import Plan
from ..linreg._search.result import SearchResult
from ..linreg._settings import Settings
from ..linreg._solvers.data import MOST_COLUMNS, Given
from ..linreg._streaming.streamed import Streamed
from ..linreg.fit import linreg_fit as fit
from ..linreg.moments import CoMoments
from ..linreg.result import FitResult
from ..linreg.search import SCORES, SearchSolver, require_two_rows, search_folds
from ..linreg.tsqr import TSQR
from ._chunks import Blocks, Names
from ._graph import as_delayed, of_blocks
from ._summaries import known_of
from ._tasks import Groups, summarise_block

Host = np.ndarray[Any, Any]
FROM_ROWS = ("gd", "sgd")
DEFAULTS: dict[str, Any] = {
    "solver": "auto",
    "learning_rate": "auto",
    "max_iter": 1000,
    "tol": 1e-6,
    "l1": 0.0,
    "l2": 0.0,
    "fit_intercept": True,
    "batch_size": None,
    "momentum": 0.0,
    "nesterov": False,
    "random_state": None,
    "callback": None,
}


def linreg_fit(
    X: Any,
    y: Any,
    *,
    columns: Names | None = None,
    lengths: bool | None = None,
    solver: Literal["auto", "comoments", "cd", "cholesky", "eigh", "svd"] = "auto",
    learning_rate: float | Host | Literal["auto"] = "auto",
    max_iter: int = 1000,
    tol: float = 1e-6,
    l1: float | Host = 0.0,
    l2: float | Host = 0.0,
    fit_intercept: bool = True,
    sample_weight: Any = None,
    w0: Any = None,
) -> Delayed:
    """Linear regression in one read of the data, by co-moments or by triangular factors.

    Minimises ``sum(s * (X w + b - y)**2) / (2 W) + l1 * |w|_1 + l2 / 2 * |w|²`` with ``W = sum(s)``.

    Parameters
    ----------
    X, y, sample_weight, columns, lengths
        As for `co_moments`; y is needed.
    solver : str, default "auto"
        As for `vecprod_gpu.linreg_fit`. ``"svd"`` is made of `tsqr`, all others of `co_moments`, of which
        ``"auto"`` takes what fits them. There is no ``"gd"`` or ``"sgd"``, which read the data anew for each
        step; ``"comoments"`` takes the same steps as ``"gd"``.
    learning_rate, max_iter, tol, l1, l2, fit_intercept, w0
        As for `vecprod_gpu.linreg_fit`.

    Returns
    -------
    dask.delayed.Delayed
        Computes to a `FitResult`, with coefficients on the host.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        As for `co_moments`, or if an argument is out of its range.
    NotFiniteError, DivergenceError, SingularError
        When computed, as for `vecprod_gpu.linreg_fit`.

    Notes
    -----
    The result is that of ``vecprod_gpu.linreg_fit`` of the computed `CoMoments` or `TSQR`, to the bit. Where
    columns nearly depend on each other, ``solver="svd"`` keeps twice as many digits.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> X = da.from_array(np.array([[1., 2.], [2., 3.], [3., 5.]]), chunks=(2, 2))
    >>> fit = vecprod_gpu.dask.linreg_fit(X, np.array([2., 3., 5.])).compute()
    >>> fit.coef.round(9) + 0.0
    array([0., 1.])
    """
    how: dict[str, Any] = {
        "solver": solver,
        "learning_rate": learning_rate,
        "max_iter": max_iter,
        "tol": tol,
        "l1": l1,
        "l2": l2,
        "fit_intercept": fit_intercept,
    }
    check_settings(how)
    blocks = _with_target(X, y, sample_weight, columns, lengths)
    kind: type[Streamed] = TSQR if solver == "svd" else CoMoments
    return as_delayed("fit", known_of(kind, blocks), partial(fitted, kind, how | {"w0": w0}))


def linreg_search(
    X: Any,
    y: Any,
    *,
    columns: Names | None = None,
    l1: float | Sequence[float] | Host = (0.0,),
    l2: float | Sequence[float] | Host = (0.0,),
    learning_rate: float | str | Sequence[float | str] | Host = ("auto",),
    max_iter: int | Sequence[int] | Host = (1000,),
    solver: SearchSolver = "auto",
    cv: int = 5,
    scoring: Literal["r2", "mse", "rmse"] = "r2",
    fit_intercept: bool = True,
    sample_weight: Any = None,
) -> Delayed:
    """Choose penalties, learning rate and iteration count by cross-validation, in one read of the data.

    Parameters
    ----------
    X, y, sample_weight, columns
        As for `co_moments`; y is needed. The lengths of chunks that are not known are computed now.
    l1, l2, learning_rate, max_iter, solver, fit_intercept
        As for `vecprod_gpu.linreg_search`.
    cv : int, default 5
        Number of folds of neighbouring rows, cut as by scikit-learn's KFold: shuffle rows whose order means
        something before.
    scoring : {"r2", "mse", "rmse"}, default "r2"
        As for `vecprod_gpu.linreg_search`.

    Returns
    -------
    dask.delayed.Delayed
        Computes to a `SearchResult`.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        As for `co_moments`, or if an argument is out of its range.
    NotFiniteError, DivergenceError, SingularError
        When computed, as for `vecprod_gpu.linreg_search`.

    Notes
    -----
    A block is read once, whatever folds it is a part of. The co-moments of a fold are those of `co_moments`
    for its rows. Rows are not read again for fits that are nearly exact: mean squared errors below 1e-9
    of the mean square of y have no digits.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> X = np.array([[0., 1.], [3., 3.], [1., 0.], [4., 2.], [2., 1.], [5., 5.]])
    >>> X = da.from_array(X, chunks=(2, 2))
    >>> y = np.array([0.2, 2.9, 0.9, 4.2, 2.1, 4.8])
    >>> search = vecprod_gpu.dask.linreg_search(X, y, l2=[0.001, 0.1, 10.0], cv=3).compute()
    >>> search.best_params["l2"], round(search.best_score, 3), search.reads
    (0.1, 0.973, 1.0)
    """
    plan = Plan.read(solver, Grid.read(l1=l1, l2=l2, learning_rate=learning_rate, max_iter=max_iter))
    if scoring not in SCORES:
        raise ArgumentError(f"scoring is {scoring!r}; there are {', '.join(map(repr, SCORES))}")
    is_array = hasattr(X, "compute_chunk_sizes")
    if is_array and np.isnan(X.shape[0]):
        X = X.copy().compute_chunk_sizes()
    blocks = _with_target(X, y, sample_weight, columns, None if is_array else True)
    if blocks.layout.d > MOST_COLUMNS:
        raise ArgumentError(f"X has {blocks.layout.d} columns; a search takes at most {MOST_COLUMNS}")
    folds = Folds.of_count(_checks.count("cv", cv, minimum=2), None, sum(blocks.lengths or ()))
    if scoring == "r2":
        require_two_rows(folds)
    bounds = [(split.test.start, split.test.stop) for split in folds.splits if isinstance(split.test, slice)]
    known = of_blocks(
        partial(summarise_block, CoMoments, blocks.read), blocks.arrays, blocks.places_of(bounds)
    )
    return as_delayed("search", known, partial(_searched, folds, plan, scoring, fit_intercept))


def check_settings(how: dict[str, Any]) -> None:
    """Raise for what cannot be fitted, before anything is read."""
    solver = how.get("solver", "auto")
    if solver in FROM_ROWS:
        raise ArgumentError(f"solver={solver!r} would read the data anew for each step; take comoments")
    Settings.check(**{**DEFAULTS, **{name: value for name, value in how.items() if name != "w0"}})


def _with_target(X: Any, y: Any, sample_weight: Any, columns: Any, lengths: Any) -> Blocks:
    if y is None:
        raise ArgumentError("y is missing: it is an array, or of a data frame the name of a column")
    return Blocks.of(X, y, sample_weight, columns, lengths)


def fitted(kind: type[Streamed], how: dict[str, Any], known: Groups) -> FitResult:
    """The fit, from what is known of all rows."""
    data: Any = kind.from_part(known.parts[0])
    return fit(data, **how)


def _searched(folds: Folds, plan: Plan, scoring: Any, fit_intercept: bool, known: Groups) -> SearchResult:
    parts = [CoMoments.from_part(known.parts[i]) for i in range(len(folds.splits))]
    moments = FoldMoments.of_parts(parts)
    given = Given.read(moments.total, None, None)
    return search_folds(
        given, folds, moments, plan, scoring=scoring, fit_intercept=fit_intercept, reader=None
    )
