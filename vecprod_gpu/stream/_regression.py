"""Fits of linear models to rows that are not all in memory, and the search for the best one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Literal

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..linreg._search.atoms import Part
from ..linreg._search.folds import Folds, Reader
from ..linreg._search.grid import Grid
from ..linreg._search.plan import Plan
from ..linreg._search.result import SearchResult
from ..linreg._settings import Settings
from ..linreg._solvers.data import MOST_COLUMNS, Given
from ..linreg._solvers.outcome import Recorded
from ..linreg._streaming.rows import Rows
from ..linreg.fit import fitted
from ..linreg.moments import CoMoments
from ..linreg.result import FitResult
from ..linreg.search import SearchSolver, check_scoring, check_width, searched
from ..linreg.tsqr import TSQR
from ._moments import FoldSums, Sums, reading
from ._run import Passes

Host = np.ndarray[Any, Any]
StreamSolver = Literal["auto", "comoments", "cd", "cholesky", "eigh", "svd"]

SOLVERS = ("auto", "comoments", "cd", "cholesky", "eigh", "svd")


def linreg_fit(
    source: Any,
    *,
    target: Any = None,
    sample_weight: Any = None,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    solver: StreamSolver = "auto",
    learning_rate: float | Host | Literal["auto"] = "auto",
    max_iter: int = 1000,
    tol: float = 1e-6,
    l1: float | Host = 0.0,
    l2: float | Host = 0.0,
    fit_intercept: bool = True,
    w0: Host | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> FitResult:
    """Linear regression on rows that need not fit in memory, read once or twice in batches.

    Coefficients, intercept and loss have the bits of `vecprod_gpu.linreg_fit` on all rows in memory.

    Parameters
    ----------
    source, target, sample_weight, columns, header, memory, checkpoint, every, progress
        As for `co_moments`; batches of an iterable bring their own targets.
    solver : str, default "auto"
        Those of `vecprod_gpu.linreg_fit` that read the rows once: ``"comoments"``, ``"cd"``,
        ``"cholesky"`` and ``"eigh"`` from co-moments, ``"svd"`` from triangular factors. ``"auto"`` takes
        co-moments first, and where those keep too few digits reads the rows once more, for ``"svd"``.
    learning_rate, max_iter, tol, l1, l2, fit_intercept, w0
        As for `vecprod_gpu.linreg_fit`.

    Returns
    -------
    FitResult
        Which holds on to no file.

    Raises
    ------
    BadInputError, OSError
        As for `co_moments`.
    ArgumentError
        As for `co_moments` and `vecprod_gpu.linreg_fit`; if the solver steps through all rows again and
        again; and if there are more than 4096 columns, unless for ``"svd"``.
    SingularError, DivergenceError
        As for `vecprod_gpu.linreg_fit`.

    Warns
    -----
    numpy.exceptions.RankWarning
        If columns depend on each other: the solution of least norm is returned.

    Notes
    -----
    The rows are read once more where the fit is nearly exact, so that its loss has no digit in the
    co-moments. Of an iterator, which cannot be read again, ``"auto"`` takes ``"eigh"`` instead of ``"svd"``.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu import stream
    >>> table = np.array([[1., 2., 2.], [2., 3., 3.], [3., 5., 5.]])
    >>> fit = stream.linreg_fit(table, target=-1)
    >>> fit.coef.round(9) + 0.0, fit.solver
    (array([0., 1.]), 'cholesky')
    """
    settings = Settings.check(
        solver=solver,
        learning_rate=learning_rate,
        l1=l1,
        l2=l2,
        max_iter=max_iter,
        tol=tol,
        fit_intercept=fit_intercept,
    )
    require_streaming(settings.solver)
    with reading(
        source,
        kind_of(settings.solver),
        target=target,
        sample_weight=sample_weight,
        columns=columns,
        header=header,
        memory=memory,
        checkpoint=checkpoint,
        every=every,
        progress=progress,
    ) as passes:
        return fit(passes, settings, w0)


def linreg_search(
    source: Any,
    *,
    target: Any = None,
    sample_weight: Any = None,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    l1: float | Sequence[float] | Host = (0.0,),
    l2: float | Sequence[float] | Host = (0.0,),
    learning_rate: float | str | Sequence[float | str] | Host = ("auto",),
    max_iter: int | Sequence[int] | Host = (1000,),
    solver: SearchSolver = "auto",
    cv: int = 5,
    scoring: Literal["r2", "mse", "rmse"] = "r2",
    fit_intercept: bool = True,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> SearchResult:
    """Choose penalties, learning rate and iteration count by cross-validation on rows read once, in batches.

    Folds, scores and coefficients have the bits of `vecprod_gpu.linreg_search` on all rows in memory.

    Parameters
    ----------
    source, target, sample_weight, columns, header, memory, checkpoint, every, progress
        As for `linreg_fit`.
    l1, l2, learning_rate, max_iter, solver, fit_intercept
        As for `vecprod_gpu.linreg_search`.
    cv : int, default 5
        Folds, of rows that follow each other, as scikit-learn's KFold cuts them without shuffling.
    scoring : {"r2", "mse", "rmse"}, default "r2"
        As for `vecprod_gpu.linreg_search`, which also takes functions.

    Returns
    -------
    SearchResult
        As of `vecprod_gpu.linreg_search`.

    Raises
    ------
    BadInputError, OSError
        As for `co_moments`.
    ArgumentError, DTypeError, DivergenceError, SingularError
        As for `co_moments` and `vecprod_gpu.linreg_search`; if `cv` is no number, or `scoring` a function;
        and of an iterator, whose number of rows only reading tells.

    Notes
    -----
    Where reading alone tells how many rows there are, as of CSV files, they are counted first, by one more
    read.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu import stream
    >>> X = np.array([[0., 1.], [3., 3.], [1., 0.], [4., 2.], [2., 1.], [5., 5.]])
    >>> y = np.array([0.2, 2.9, 0.9, 4.2, 2.1, 4.8])
    >>> search = stream.linreg_search(X, target=y, l2=[0.001, 0.1, 10.0], cv=3)
    >>> search.best_params["l2"], round(search.best_score, 3)
    (0.1, 0.973)
    """
    grid = Grid.read(l1=l1, l2=l2, learning_rate=learning_rate, max_iter=max_iter)
    plan = Plan.read(solver, grid)
    if callable(scoring):
        raise ArgumentError("scoring is a function, which takes all predictions at once: give rows in memory")
    check_scoring(scoring)
    if isinstance(cv, bool) or not isinstance(cv, int | np.integer):
        raise DTypeError(f"cv must be a number of folds for rows that are read in order; it is {cv!r}")
    with reading(
        source,
        "a search",
        target=target,
        sample_weight=sample_weight,
        columns=columns,
        header=header,
        memory=memory,
        checkpoint=checkpoint,
        every=every,
        progress=progress,
        cv=int(cv),
    ) as passes:
        return search(passes, plan, int(cv), scoring, fit_intercept)


def require_streaming(solver: str) -> None:
    """Raise for a solver that reads the rows at every step."""
    if solver not in SOLVERS:
        listed = ", ".join(SOLVERS[:-1])
        raise ArgumentError(
            f"the solver {solver} steps through the rows again and again, for which they must be in memory; "
            f"those that read them in batches are {listed} and {SOLVERS[-1]}"
        )


def kind_of(solver: str) -> str:
    """What a checkpoint of a fit by the solver is of."""
    return "a fit by triangular factors" if solver == "svd" else "a fit by co-moments"


class _Again:
    """The rows of a source, for what has to read them again."""

    def __init__(self, passes: Passes) -> None:
        self.parts, self._passes = passes.parts, passes

    def factor(self) -> TSQR:
        """Their triangular factor."""
        return self._passes.run("factor", Sums(TSQR)).value


def fit(passes: Passes, settings: Settings, w0: Host | None = None) -> FitResult:
    """The fit, by as many passes as it takes."""
    observations = passes.observations
    _require_target(passes)
    by_factor = settings.solver == "svd"
    if not by_factor and observations.width > MOST_COLUMNS:
        raise ArgumentError(
            f"X has {observations.width} columns; of more than {MOST_COLUMNS} no co-moments are made, and "
            "the solver that needs none is svd"
        )
    again = _Again(passes)
    kept: CoMoments | TSQR = again.factor() if by_factor else passes.run("moments", Sums(CoMoments)).value
    _require_weight([kept])
    given = Given(
        "numpy",
        kept.layout,
        kept.dtype,
        kept.n_samples,
        given_moments=None if isinstance(kept, TSQR) else kept,
        given_factor=kept if isinstance(kept, TSQR) else None,
        source=again if observations.resumable else None,
    )
    passes.bar.stage("fitting")
    found = fitted(given, settings, w0)
    return replace(
        found,
        _loss=Recorded(np.asarray(found.loss)),
        _losses=Recorded(found.loss_history),
        _norm=Recorded(np.asarray(found.gradient_norm)),
    )


def search(
    passes: Passes, plan: Plan, cv: int, scoring: Literal["r2", "mse", "rmse"], fit_intercept: bool
) -> SearchResult:
    """The search, in one pass and, where fits are nearly exact, one more."""
    _require_target(passes)
    check_width(passes.observations.width)
    n = passes.count()
    folds = Folds.of_count(cv, None, n)
    stops = [split.test.stop for split in folds.splits if isinstance(split.test, slice)]
    parts = passes.run("folds", FoldSums(stops)).parts
    _require_weight(parts)
    given = Given("numpy", parts[0].layout, np.result_type(*(part.dtype for part in parts)), n)
    passes.bar.stage(f"trying {plan.grid.size} points in {cv} folds")
    return searched(given, folds, _Folds(passes, stops, parts), plan, scoring, fit_intercept)


class _Folds(Reader):
    """Hands out rows of folds whose co-moments are known."""

    def __init__(self, passes: Passes, stops: list[int], parts: list[CoMoments]) -> None:
        self._passes, self._n, self._count = passes, stops[-1], stops[-1]
        self._moments = dict(zip(stops, parts, strict=True))

    @property
    def n(self) -> int:
        """How many rows there are."""
        return self._n

    def blocks(self, part: Part, most: int | None = None) -> Iterator[Rows]:
        """The rows of a fold once more, at most so many at a time."""
        assert isinstance(part, slice)
        self._count += part.stop - part.start
        return self._passes.parts(most or part.stop - part.start, part.start, part.stop)

    def moments(self, part: Part) -> CoMoments:
        """The co-moments of a fold."""
        assert isinstance(part, slice)
        return self._moments[part.stop]


def _require_target(passes: Passes) -> None:
    if "y" not in passes.observations.files:
        raise ArgumentError("target is missing: name a column or a file, or give batches (X, y)")


def _require_weight(parts: Sequence[CoMoments | TSQR]) -> None:
    if not any(part.weight_sum for part in parts):
        raise ArgumentError("sample_weight must not add up to 0: no row would count")
