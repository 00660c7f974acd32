"""Cross-validation over a grid of linear regressions, from co-moments: X is read once."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from .. import _checks
from .._arrays import Array
from .._callers import frames_to_caller
from .._libraries import takes_any_library
from ..errors import ArgumentError, DivergenceError, ShapeError
from ._search.candidates import Training, runs_away
from ._search.folds import FoldMoments, Folds, Reader, length
from ._search.grid import Grid
from ._search.plan import Plan
from ._search.result import SearchResult, rank
from ._search.scores import Scorer, TestSets, callable_scores, errors_of_split
from ._solvers.data import MOST_COLUMNS, Given, export
from ._solvers.quadratic import Quadratic
from ._streaming.rows import Rows
from .fit import linreg_fit
from .moments import CoMoments
from .result import FitResult
from .tsqr import TSQR

Host = np.ndarray[Any, Any]
SearchSolver = Literal["auto", "comoments", "cd", "cholesky", "eigh"]
Scoring = Literal["r2", "mse", "rmse"] | Scorer

SCORES = ("r2", "mse", "rmse")
MOST_NAMED = 5  # points in a warning


@takes_any_library
def linreg_search(
    X: Array,
    y: Array,
    *,
    l1: float | Sequence[float] | Host = (0.0,),
    l2: float | Sequence[float] | Host = (0.0,),
    learning_rate: float | str | Sequence[float | str] | Host = ("auto",),
    max_iter: int | Sequence[int] | Host = (1000,),
    solver: SearchSolver = "auto",
    cv: int | Iterable[tuple[Any, Any]] | Any = 5,
    scoring: Scoring = "r2",
    fit_intercept: bool = True,
    sample_weight: Array | None = None,
    random_state: Any = None,
) -> SearchResult:
    """Choose penalties, learning rate and iteration count of a linear regression by cross-validation.

    Each point of the grid ``l1 x l2 x learning_rate x max_iter`` is fitted on each training set and scored
    on the rows held out; the best one is fitted on all rows. X is read once, however many folds and points
    there are.

    Parameters
    ----------
    X : (n, d) array_like
        Observations in rows.
    y : (n,) or (n, k) array_like
        One target, or k of them, whose scores are averaged.
    l1, l2 : float or sequence of float, default (0.0,)
        Lasso and ridge penalties to try, as `linreg_fit` takes them: with the mean squared error halved,
        scikit-learn's ``Ridge(alpha)`` has ``l2 = alpha / sum of the weights fitted``.
    learning_rate : float, "auto" or sequence of them, default ("auto",)
        Step lengths to try. ``"auto"`` is ``1 / (λ + l2)``, with the largest eigenvalue λ of each training
        set's ``Xᵀ S X / W``.
    max_iter : int or sequence of int, default (1000,)
        Numbers of steps to try: all of them are taken.
    solver : str, default "auto"
        - ``"comoments"``: gradient descent on co-moments, in closed form without l1, so that the number of
          steps costs nothing;
        - ``"cd"``: coordinate descent, `max_iter` being the most sweeps;
        - ``"eigh"``: eigenvalues; of dependent columns the solution of least norm;
        - ``"cholesky"``: normal equations, scaled to a unit diagonal; columns must be independent;
        - ``"auto"``: descent if a learning rate or another `max_iter` is given. Else ``"cd"`` where l1 is
          not 0, and where it is 0 eigenvalues or Cholesky factors, whichever keeps more digits.
    cv : int, splitter or iterable of pairs, default 5
        A number of folds, from 2 to n, cut as by scikit-learn's KFold; an object with ``split(X, y)``; or
        pairs ``(train, test)`` of row numbers.
    scoring : {"r2", "mse", "rmse"} or callable, default "r2"
        ``1 - sum(s (y - p)²) / sum(s (y - mean(y))²)`` of the predictions p for the rows held out, the mean
        squared error, or its root. Of the errors, smaller is better. A function is called as
        ``scoring(y, p)`` with host arrays, without weights, and greater is better.
    fit_intercept : bool, default True
        Whether to fit an intercept.
    sample_weight : (n,) array_like, optional
        Weight s of each row, not negative; it counts in the fits and in the scores.
    random_state : int or generator, optional
        Shuffles the rows before they are cut into folds; an int gives the folds of
        ``KFold(cv, shuffle=True, random_state=random_state)``.

    Returns
    -------
    SearchResult
        With ``best_params``, ``best_score``, ``coef``, ``intercept``, ``predict``, ``to_dict`` in the shape
        of scikit-learn's ``cv_results_``, and ``plot``.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        As for `linreg_fit`; if X is a batch; and if Numba device arrays are to be cut into anything but
        contiguous folds.
    ArgumentError
        If a value is out of its range, a solver would have to read X for each point, or rows that are fitted
        or held out together have no weight.
    NotFiniteError
        If X or y holds NaN or infinity; the message names the first row and column.
    DivergenceError
        If the descent diverges at every point.
    SingularError
        If ``"cholesky"`` meets columns that depend on each other in a training set.

    Warns
    -----
    RuntimeWarning
        If the descent diverges at some points, on a training set or on all rows: their scores are then NaN.
        If `max_iter` sweeps of ``"cd"`` are too few at some points.

    Notes
    -----
    The co-moments of each fold are computed where the data live, and merged by Chan's formula into those of
    each training set: what comes before a fold with what comes after it, so that nothing is subtracted. The
    error on a test set is a quadratic form of the coefficients, ``wᵀ A w - 2 gᵀ w + e``, made of its own
    co-moments. In the basis of the eigenvectors of a training set, points that differ in l2, learning rate or
    iterations are multiples of one vector along each axis, and cost a product with the d x d matrix.

    Splits that overlap, as those of TimeSeriesSplit or RepeatedKFold, are put together from the sets of
    rows that all of them treat alike. Where these are more than 256, each split's rows are gathered and read.
    Test sets are read again where the mean squared error is below 1e-9 of the mean square of y, which the
    form has no digits for, and for a `scoring` of one's own: ``reads`` tells.

    The first source article asks for cross-validation or grid search to choose learning rate and number of
    iterations.

    References
    ----------
    .. [1] M. Stone, "Cross-validatory choice and assessment of statistical predictions", J. R. Stat. Soc. B
       36 (1974).
    .. [2] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.
    .. [3] J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via
       Coordinate Descent", J. Stat. Softw. 33 (2010).

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X = np.array([[0., 1.], [3., 3.], [1., 0.], [4., 2.], [2., 1.], [5., 5.]])
    >>> y = np.array([0.2, 2.9, 0.9, 4.2, 2.1, 4.8])
    >>> search = vp.linreg_search(X, y, l2=[0.001, 0.1, 10.0], cv=3)
    >>> search.best_params["l2"], round(search.best_score, 3), search.reads
    (0.1, 0.973, 1.0)
    >>> search = vp.linreg_search(X, y, learning_rate=[0.01, 0.1], max_iter=[10, 100], cv=3, scoring="mse")
    >>> search.best_params
    {'l1': 0.0, 'l2': 0.0, 'learning_rate': 0.1, 'max_iter': 100}
    """
    grid = Grid.read(l1=l1, l2=l2, learning_rate=learning_rate, max_iter=max_iter)
    plan = Plan.read(solver, grid)
    check_scoring(scoring)
    fit_intercept = _checks.flag("fit_intercept", fit_intercept)
    given, rows = _read(X, y, sample_weight)
    folds = Folds.read(cv, random_state, rows)
    return searched(given, folds, Reader(rows), plan, scoring, fit_intercept)


def check_scoring(scoring: Scoring) -> None:
    """Raise unless it is a function or one of `SCORES`."""
    if not callable(scoring) and scoring not in SCORES:
        raise ArgumentError(f"scoring is {scoring!r}; there are {', '.join(map(repr, SCORES))} and functions")


def searched(
    given: Given, folds: Folds, reader: Reader, plan: Plan, scoring: Scoring, fit_intercept: bool
) -> SearchResult:
    """The points of the plan's grid compared on the folds of the rows that the reader hands out."""
    if scoring == "r2":
        require_two_rows(folds)
    return search_folds(
        given, folds, folds.moments(reader), plan, scoring=scoring, fit_intercept=fit_intercept, reader=reader
    )


def search_folds(
    given: Given,
    folds: Folds,
    moments: FoldMoments,
    plan: Plan,
    *,
    scoring: Scoring,
    fit_intercept: bool,
    reader: Reader | None,
) -> SearchResult:
    """Fit and score every point by the co-moments of the folds; without a reader no row is read again."""
    grid = plan.grid
    train = Quadratic.of(moments.train, given.layout.d, fit_intercept)
    tests = TestSets.of(train, moments.test, given.layout.d, fit_intercept)
    training = Training(train)
    whole = Training(Quadratic.of(moments.total.summary, given.layout.d, fit_intercept))
    diverged = np.zeros((len(folds.splits), grid.size), bool)
    if plan.takes_steps:
        diverged |= _diverged(grid, training.largest, whole.largest)
    families = plan.families(training)
    scores = np.empty((len(folds.splits), grid.size))
    for split, one in enumerate(folds.splits):
        if not callable(scoring):
            errors = errors_of_split(families, split, grid.size, tests, one.test, reader)
            scores[split] = tests.score(scoring, split, errors)
        elif reader is not None:
            scores[split] = callable_scores(scoring, families, split, grid.size, train, one.test, reader)
    scores[diverged] = np.nan
    best = grid.point(int(np.argmin(rank(scores.mean(axis=0), scoring))))
    fit = _refitted(given, moments.total, plan, best, fit_intercept)
    reads = 1.0 if reader is None else reader.reads
    return SearchResult(fit, scores, scoring, reads, plan.reason, grid)


def _read(X: Array, y: Array, sample_weight: Array | None) -> tuple[Given, Rows]:
    """The rows of a single problem, checked."""
    if isinstance(X, CoMoments | TSQR):
        raise ArgumentError(
            f"X is a {type(X).__name__}, which has no rows to hold out: give X and y themselves"
        )
    given = Given.read(X, y, sample_weight)
    rows = given.require_rows("auto")
    if given.layout.lead:
        raise ShapeError(f"X has shape {tuple(rows.X.shape)}; needed is (n, d): a search is for one problem")
    check_width(given.layout.d)
    return given, rows


def check_width(d: int) -> None:
    """Raise where X has more columns than a search can hold matrices of."""
    if d > MOST_COLUMNS:
        raise ArgumentError(
            f"X has {d} columns; a search, with a matrix of them for each fold, takes at most {MOST_COLUMNS}"
        )


def require_two_rows(folds: Folds) -> None:
    """One row has no spread to be explained."""
    for i, split in enumerate(folds.splits):
        if length(split.test) < 2:
            raise ArgumentError(
                f'scoring="r2" needs at least two rows to score, but split {i} holds out one: use "mse"'
            )


def _diverged(grid: Grid, largest: Host, whole: Host) -> Host:
    """Which descents run away, ``(F, points)``: on a split, or on every split if they do so on all rows."""
    diverged = runs_away(largest, grid) | runs_away(whole, grid)
    points = np.flatnonzero(diverged.any(axis=0))
    if not points.size:
        return diverged
    bound = f"{2 / (max(largest.max(), whole.max()) + grid.l2.min()):.6g}"
    if len(points) == grid.size:
        raise DivergenceError(
            f"the descent diverges at every learning_rate, from {np.nanmin(grid.learning_rate):.6g}; the "
            f'largest stable one is {bound}, and learning_rate="auto" takes one that converges'
        )
    column = {name: grid.column(name)[points] for name in ("learning_rate", "l2")}
    pairs = dict.fromkeys(zip(column["learning_rate"].tolist(), column["l2"].tolist(), strict=True))
    named = [f"learning_rate {rate:.6g} with l2 {l2:.6g}" for rate, l2 in list(pairs)[:MOST_NAMED]]
    more = f" and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else ""
    warnings.warn(
        f"the descent diverges at {len(points)} of {grid.size} points, whose scores are NaN: "
        f"{', '.join(named)}{more}; the largest stable learning_rate is {bound}",
        RuntimeWarning,
        stacklevel=frames_to_caller(),
    )
    return diverged


def _refitted(
    given: Given, total: CoMoments, plan: Plan, params: dict[str, Any], fit_intercept: bool
) -> FitResult:
    """The point fitted on all rows from their co-moments, with coefficients where the rows live."""
    fit = linreg_fit(total, fit_intercept=fit_intercept, **params, **plan.fitted(params))
    if given.kind == "numpy":
        return fit
    d, models = given.layout.d, given.layout.models
    coef, intercept = export(given, fit.coef, (d, *models)), np.asarray(fit.intercept)
    return replace(fit, coef=coef, intercept=export(given, intercept, models))
