"""Fitting a linear model to files, and predicting from one."""

import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import vecprod_gpu as vp

from .._finite import first_not_finite
from ..errors import BadInputError
from ..linreg._settings import STEPPING
from ..stream._observations import Observations, StoredObservations, open_observations
from ..stream._reader import Reader
from .data import Data, Host, Names
from .files import Source
from .fitting import Fitting
from .model import DTYPES, Model, plain, read_model
from .progress import Bar
from .results import Result, blocks_of, write
from .run import Order, naming, tell, tell_of_array, working
from .search import details_of, picture, search

_UNITS = {"sgd": "epochs", "cd": "sweeps"}  # of the other solvers, steps


def fit(order: Order, source: Source, target: str, sample_weight: str | None, fitting: Fitting) -> None:
    """Fit a model to a table, and write it as JSON."""
    start = time.perf_counter()
    observations = open_observations(
        source.file,
        target=target,
        sample_weight=sample_weight,
        columns=source.columns,
        header=source.header,
    )
    with (
        working(order, observations.paths) as (stream, bar),
        naming(observations.files),
        picture(fitting.plot, order.output.path, observations.paths) as draw,
    ):
        bar.stage(f"reading {source.file}")
        data = _read(observations)
        arrays = {name: part.values for name, part in data.items()}
        fitted, found = _fit(arrays, fitting, bar)
        params = found.best_params if found else fitting.grid.first
        details = _details(fitted, fitting, params, found) | {"backend": _backend(fitted, arrays)}
        told = {"fit": details} | ({"search": details_of(found, fitting)} if found else {})
        about = {
            "penalties": {"l1": params["l1"], "l2": params["l2"]},
            **told,
            "data": {
                "file": source.file,
                "target": target,
                "sample_weight": sample_weight,
                "rows": len(arrays["X"]),
                "columns": arrays["X"].shape[1],
            },
        }
        model = _model(fitted, data["X"].names, observations.target_names(), about)
        stream.write(model.to_json().encode())
        if found and draw:
            # A disk that is full is to say so before the picture takes the place of an earlier one.
            stream.flush()
            os.fsync(stream.fileno())
            bar.stage("drawing")
            draw(found)
    if details["converged"] is False:
        _warn_of_no_convergence(fitted, searched=found is not None)
    summary = f"{_choice_in_words(found, fitting)}by {_fit_in_words(fitted)}"
    tell(order, data, summary, details["backend"], start, **told)


def predict(order: Order, file: str, source: Source) -> None:
    """Predict from a model file for each row of a table."""
    start = time.perf_counter()
    model, table = read_model(file), source.open()
    columns = _columns_for(model, file, table, source.columns)
    observations = StoredObservations(table, columns=columns)
    with working(order, [Path(file), *observations.paths]) as (stream, bar):
        bar.stage(f"reading {source.file}")
        X = observations.read().X
        result = _predictions(model, observations, X)
        write(stream, order.output, result, bar)
    tell_of_array(order, {"X": Data(source.file, X)}, result, start, model=file)


def _read(observations: Observations) -> dict[str, Data]:
    """X, y and, where they were asked for, the sample weights, each with finite numbers in every row."""
    batch = observations.read()
    arrays = {name: getattr(batch, name) for name in observations.files}
    for name, values in arrays.items():
        _require_finite(observations, name, values)
    names = {"X": observations.names}
    return {name: Data(observations.files[name], values, names.get(name)) for name, values in arrays.items()}


def _require_finite(observations: Observations, name: str, values: Host, first_row: int = 0) -> None:
    index = first_not_finite(values)
    if index is not None:
        column = index[1] if len(index) > 1 else None
        raise observations.not_finite(name, first_row + index[0], column, values[index])


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


def _predictions(model: Model, observations: Observations, X: Host) -> Result:
    """A prediction for each row, computed in parts."""

    def blocks() -> Iterator[Host]:
        for (cut,) in blocks_of(X.shape[:1], X.itemsize * X.shape[1]):
            _require_finite(observations, "X", X[cut], cut.start or 0)
            yield model.predict(X[cut])

    shape = X.shape[:1] if len(model.targets) == 1 else (len(X), len(model.targets))
    names = tuple(f"predicted_{target}" for target in model.targets)
    # Matrix products are left to NumPy.
    return Result(shape, np.result_type(X, model.coef), blocks(), "reference", names)
