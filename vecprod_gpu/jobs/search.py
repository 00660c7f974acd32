"""The search of a fit: running it, what is told of it, and its picture."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import BadInputError
from ..linreg import SearchResult, linreg_search
from ..linreg._search.grid import Grid
from ..linreg._search.plan import Plan
from ..stream._output_file import Output
from ..stream._regression import search as in_batches
from ..stream._run import Passes
from .fitting import Fitting
from .model import plain
from .run import Order

_LISTS = (
    "param_l1",
    "param_l2",
    "param_learning_rate",
    "param_max_iter",
    "mean_test_score",
    "std_test_score",
)


def search(arrays: dict[str, Any], fitting: Fitting) -> SearchResult:
    """Compare the points of the grid, and fit the best one."""
    _require_folds(fitting, len(arrays["X"]))
    return linreg_search(
        **arrays,
        **vars(fitting.grid),
        solver=fitting.solver,  # type: ignore[arg-type]
        cv=fitting.cv,
        scoring=fitting.scoring,  # type: ignore[arg-type]
        fit_intercept=fitting.fit_intercept,
        random_state=fitting.seed,
    )


def search_in_batches(passes: Passes, fitting: Fitting) -> SearchResult:
    """The same of rows that are read in batches."""
    rows = passes.count()
    _require_folds(fitting, rows)
    plan = Plan.read(fitting.solver, Grid.read(**vars(fitting.grid)))
    return in_batches(passes, plan, fitting.cv or 0, fitting.scoring, fitting.fit_intercept)  # type: ignore[arg-type]


def _require_folds(fitting: Fitting, rows: int) -> None:
    if fitting.cv is not None and fitting.cv > rows:
        raise BadInputError(
            f"--cv is {fitting.cv}; needed are no more folds than rows, of which there are {rows}"
        )


def details_of(result: SearchResult, fitting: Fitting) -> dict[str, Any]:
    """How the search went, as the model file and the report tell of it."""
    results = result.to_dict()
    return {
        "cv": fitting.cv,
        "scoring": fitting.scoring,
        "seed": fitting.seed,
        "solver": fitting.solver,
        "best_score": plain(result.best_score)[0],
        "best_params": result.best_params,
        **{name: plain(results[name]) for name in _LISTS},
    }


@contextmanager
def picture(
    order: Order, plot: Output | None, inputs: Iterable[Path]
) -> Iterator[Callable[[SearchResult], dict[Path, IO[bytes]]] | None]:
    """What draws the picture, if there is to be one, and returns its file; in the end that is renamed."""
    if plot is None:
        yield None
        return
    # Here, so that it is known before any work whether there is matplotlib.
    from matplotlib.figure import Figure

    plot, model = order.replacing(plot), order.output.path
    plot.check(inputs)
    if plot.path.resolve() == model.resolve():
        raise BadInputError(f"--plot and --output lead to one file, {model}")
    with plot.replaced() as stream:

        def draw(result: SearchResult) -> dict[Path, IO[bytes]]:
            figure = Figure(layout="constrained")
            result.plot(figure.subplots())
            figure.savefig(stream, format=plot.path.suffix[1:].lower(), dpi=150)
            return {plot.path: stream}

        yield draw
