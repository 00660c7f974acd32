"""Fitting a linear model to files, and predicting from one."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import vecprod_gpu as vp

from .._finite import first_not_finite
from .._progress import Bar
from ..errors import BadInputError
from ..linreg._settings import STEPPING
from ..linreg._solvers.data import MOST_COLUMNS
from ..stream._memory import resident_bytes
from ..stream._observations import Observations, StoredObservations, open_observations
from ..stream._prediction import Prediction, as_result
from ..stream._reader import Names, Reader
from ..stream._regression import SOLVERS as STREAMING
from ..stream._regression import fit as fit_in_batches
from ..stream._regression import kind_of
from ..stream._results import Result, write
from ..stream._run import Passes
from ..stream._sources import open_reader
from .files import Source
from .fitting import Fitting
from .model import DTYPES, Model, plain, read_model
from .run import (
    Input,
    Order,
    how_read,
    inputs_read,
    naming,
    prepared,
    refuse_beside_scheduler,
    resumed_in_words,
    seal,
    takes_blocks,
    tell,
    tell_of_array,
    working,
    write_blocks,
)
from .search import details_of, picture, search, search_in_batches

_UNITS = {"sgd": "epochs", "cd": "sweeps"}  # of the other solvers, steps


def fit(
    order: Order,
    source: Source,
    target: str,
    sample_weight: str | None,
    fitting: Fitting,
    scheduler: str | None = None,
) -> None:
    """Fit a model to a table, and write it as JSON."""
    start = time.perf_counter()
    if scheduler is not None:
        several_passes = f"--solver {fitting.solver}, which reads the rows anew for each step"
        asked = {"--cv, which searches": fitting.cv is not None, several_passes: not fitting.streams}
        refuse_beside_scheduler(order, asked)
    observations = open_observations(
        source.file,
        target=target,
        sample_weight=sample_weight,
        columns=source.columns,
        header=source.header,
    )
    streams = fitting.streams and observations.width <= MOST_COLUMNS
    work: Callable[..., _Done] = _streamed if streams else _whole
    if scheduler is not None:
        work = partial(_by_workers, source, target, sample_weight, scheduler)
    with (
        working(order, observations.paths) as (stream, bar),
        naming(observations.files),
        picture(order, fitting.plot, observations.paths) as draw,
    ):
        done = work(order, observations, fitting, bar)
        fitted, found = done.fitted, done.found
        params = found.best_params if found else fitting.grid.first
        details = _details(fitted, fitting, params, found) | {"backend": done.backend}
        told = {"fit": details} | ({"search": details_of(found, fitting)} if found else {})
        about = {
            "penalties": {"l1": params["l1"], "l2": params["l2"]},
            **told,
            "data": {
                "file": source.file,
                "target": target,
                "sample_weight": sample_weight,
                "rows": done.inputs[0].shape[0],
                "columns": observations.width,
            },
        }
        model = _model(fitted, observations.names, observations.target_names(), about)
        stream.write(model.to_json().encode())
        outputs = {order.output.path: stream}
        if found and draw:
            bar.stage("drawing")
            outputs |= draw(found)
        seal(done.passes, outputs)
    if done.passes:
        done.passes.finish()
        told |= how_read(done.passes, start)
    if details["converged"] is False:
        _warn_of_no_convergence(fitted, searched=found is not None)
    resumed = resumed_in_words(done.passes) if done.passes else ""
    summary = f"{_choice_in_words(found, fitting)}by {_fit_in_words(fitted)}{resumed}"
    tell(order, done.inputs, summary, details["backend"], start, **told)


def predict(order: Order, file: str, source: Source) -> None:
    """Predict from a model file for each row of a table."""
    start = time.perf_counter()
    model, table = read_model(file), open_reader(source.file, "X", source.header)
    columns = _columns_for(model, file, table, source.columns)
    observations = StoredObservations(table, columns=columns)
    is_single = len(model.targets) == 1
    coef = model.coef[0] if is_single else model.coef.T
    intercept = model.intercept[0] if is_single else model.intercept
    names = tuple(f"predicted_{target}" for target in model.targets)
    is_streamed = takes_blocks(order)
    with prepared(order, [Path(file), *observations.paths]) as bar, naming(observations.files):
        if is_streamed:
            work = Prediction(observations, coef, intercept, order.memory)
            work.passes.rows_resumed = write_blocks(order, work, bar) // len(model.targets)
        else:
            with order.output.replaced() as stream:
                work = Prediction(observations, coef, intercept, order.memory, bar)
                write(stream, order.output, as_result(work, names, order.output.is_table), Bar())
    rows = work.passes.rows_read + work.passes.rows_resumed
    result = Result((rows, *coef.shape[1:]), work.dtype, (), "reference")
    inputs = [Input("X", source.file, (rows, observations.width), str(observations.dtype))]
    resumed, read = resumed_in_words(work.passes), how_read(work.passes, start)
    tell_of_array(order, inputs, result, start, resumed, model=file, **read)


@dataclass(frozen=True)
class _Done:
    """A fit, and how it came about.

    Attributes
    ----------
    fitted : FitResult
    found : SearchResult or None
        The search that it is the best point of.
    backend : str
        Where the data were read.
    inputs : list of Input
        What the report says of them.
    passes : Passes or None
        Over the rows, where those were read in batches.
    """

    fitted: vp.FitResult
    found: vp.SearchResult | None
    backend: str
    inputs: list[Input]
    passes: Passes | None = None


def _streamed(order: Order, observations: Observations, fitting: Fitting, bar: Bar) -> _Done:
    """The fit in batches."""
    searches = fitting.cv is not None
    kind = "a search" if searches else kind_of(fitting.solver)
    passes = Passes(observations, order.how(bar), kind, {"cv": fitting.cv})
    if fitting.cv is not None:
        found = search_in_batches(passes, fitting)
        fitted = found.fit
    else:
        found, fitted = None, fit_in_batches(passes, fitting.settings)
    backend = "reference" if fitted.solver == "svd" else passes.backend
    return _Done(fitted, found, backend, inputs_read(passes, passes.rows), passes)


def _by_workers(
    source: Source,
    target: str,
    sample_weight: str | None,
    scheduler: str,
    order: Order,
    observations: Observations,
    fitting: Fitting,
    bar: Bar,
) -> _Done:
    """The fit of what workers of Dask read."""
    from ..dask._files import fit_files

    bar.stage(f"reading {source.file} on {scheduler}")
    fitted, rows = fit_files(
        source.file,
        target,
        scheduler=scheduler,
        sample_weight=sample_weight,
        columns=source.columns,
        header=source.header,
        solver=fitting.solver,
        tol=fitting.tol,
        fit_intercept=fitting.fit_intercept,
        **fitting.grid.first,
    )
    inputs = [
        Input(name, file, (rows, observations.width) if name == "X" else (rows,), "float64")
        for name, file in observations.files.items()
    ]
    return _Done(fitted, None, "dask", inputs)


def _whole(order: Order, observations: Observations, fitting: Fitting, bar: Bar) -> _Done:
    """The fit with all rows in memory."""
    _require_room(order, observations, fitting)
    bar.stage(f"reading {observations.files['X']}")
    batch = observations.read()
    arrays = {name: getattr(batch, name) for name in observations.files}
    for name, array in arrays.items():
        index = first_not_finite(array)
        if index is not None:
            column = index[1] if len(index) > 1 else None
            raise observations.not_finite(name, index[0], column, array[index])
    fitted, found = _fit(arrays, fitting, bar)
    inputs = [
        Input(name, observations.files[name], array.shape, str(array.dtype)) for name, array in arrays.items()
    ]
    return _Done(fitted, found, _backend(fitted, arrays), inputs)


def _require_room(order: Order, observations: Observations, fitting: Fitting) -> None:
    """Raise where a fit that cannot be interrupted is to be, or the rows do not fit in memory."""
    why = fitting.why_whole or f"{observations.width} columns"
    instead = f"what reads them in batches is --solver {', '.join(STREAMING[:-1])} or {STREAMING[-1]}"
    instead += " without --seed" if fitting.cv is not None else ""
    if order.checkpoint is not None:
        raise BadInputError(
            f"--checkpoint is {order.checkpoint!r}, but {why} needs all rows in memory; {instead}"
        )
    if order.memory is None or observations.whole_bytes is None:
        return
    held = resident_bytes()
    if held + observations.whole_bytes > order.memory:
        raise BadInputError(
            f"--memory is {order.memory} bytes, but {why} needs all rows in memory, "
            f"{observations.whole_bytes} bytes beside the {held} that are taken; {instead}"
        )


def _fit(arrays: dict[str, Any], fitting: Fitting, bar: Bar) -> tuple[vp.FitResult, vp.SearchResult | None]:
    """The fit, of the best point where there is a choice, and then the search as well."""
    if fitting.cv is not None:
        bar.stage(f"trying {fitting.grid.size} points in {fitting.cv} folds")
        found = search(arrays, fitting)
        return found.fit, found
    # To any other solver a callback would show no steps, or make it take some for the sake of showing them.
    takes_steps = fitting.solver in STEPPING
    bar.stage("fitting", fitting.grid.first["max_iter"] if takes_steps else None)
    fitted = vp.linreg_fit(
        **arrays,
        **fitting.grid.first,
        solver=fitting.solver,  # type: ignore[arg-type]
        tol=fitting.tol,
        fit_intercept=fitting.fit_intercept,
        random_state=fitting.seed,
        callback=(lambda *_: bar.advance(1)) if takes_steps else None,
    )
    return fitted, None


def _backend(fitted: vp.FitResult, arrays: dict[str, Any]) -> str:
    """Where the data were read; singular values are left to NumPy."""
    if fitted.solver == "svd":
        return "reference"
    return vp.explain(vp.linreg_fit, **arrays, solver=fitted.solver).backend


def _details(
    fitted: vp.FitResult, fitting: Fitting, params: dict[str, Any], found: vp.SearchResult | None
) -> dict[str, Any]:
    """How the fit went, as the model file and the report tell of it."""
    takes_all_steps = found is not None and fitted.solver == "comoments"
    return {
        "solver": fitted.solver,
        "reason": found.reason if found else fitted.reason,
        "learning_rate": fitted.learning_rate,
        "max_iter": params["max_iter"],
        "tol": None if found else fitting.tol,
        "fit_intercept": fitting.fit_intercept,
        "iterations": fitted.n_iter,
        "converged": None if takes_all_steps else fitted.converged,
        "rank": fitted.rank,
        "loss": plain(fitted.loss),
    }


def _choice_in_words(found: vp.SearchResult | None, fitting: Fitting) -> str:
    """How the search went."""
    if found is None:
        return ""
    scores = f"{fitting.scoring} {found.best_score:.6g} in {found.n_splits} folds"
    varied = [name for name, values in vars(fitting.grid).items() if len(values) > 1]
    if not varied:
        return f"{scores}, "
    best = ", ".join(f"{name} {_short(found.best_params[name])}" for name in varied)
    return f"{scores} with {best}, best of {fitting.grid.size}, "


def _fit_in_words(fitted: vp.FitResult) -> str:
    """How the fit went."""
    steps = f" in {fitted.n_iter} {_UNITS.get(fitted.solver, 'steps')}" if fitted.n_iter else ""
    return f"{fitted.solver}{steps}, loss {', '.join(f'{loss:.6g}' for loss in np.atleast_1d(fitted.loss))}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _model(fitted: vp.FitResult, features: Names | None, targets: Names, about: dict[str, Any]) -> Model:
    """The model file's form of a fit, with one list of coefficients for each target."""
    dtype = fitted.coef.dtype if fitted.coef.dtype in DTYPES else np.dtype(np.float64)
    coef = np.atleast_2d(fitted.coef.T).astype(dtype)
    intercept = np.atleast_1d(fitted.intercept).astype(dtype)
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        raise BadInputError(f"the coefficients are too large for {dtype}; scale the data, or give wider ones")
    return Model(features, targets, coef, intercept, about)


def _warn_of_no_convergence(fitted: vp.FitResult, searched: bool) -> None:
    advice = "more --max-iter or a larger --tol"
    if fitted.solver == "sgd":  # whose steps stay as noisy as they are long
        advice = f"a smaller --learning-rate, {advice}"
    elif searched:  # by coordinate descent, which another number than the usual one alone does not ask for
        advice = "--solver cd and more --max-iter"
    unit = _UNITS.get(fitted.solver, "steps")
    warnings.warn(f"no convergence within {fitted.n_iter} {unit}; give {advice}", stacklevel=2)


def _columns_for(model: Model, file: str, table: Reader, columns: str | None) -> list[int]:
    """Where the table holds the model's features: as chosen, by their names, or all in their order."""
    if table.width is None:
        raise BadInputError(f"{table.file} is no table of rows and columns, which predictions need")
    if columns is not None:
        chosen = list(table.columns(columns))
    elif model.features is not None and table.names is not None:
        return [_named(table, name) for name in model.features]
    else:
        chosen = list(range(table.width))
    needed = model.coef.shape[1]
    if len(chosen) != needed:
        names = f": {', '.join(model.features)}" if model.features else ""
        raise BadInputError(
            f"{table.file} gives {len(chosen)} columns; the model {file} needs {needed}{names}"
        )
    return chosen


def _named(table: Reader, name: str) -> int:
    position = table.named(name)
    if position is None:
        raise table.without(name)
    return position
