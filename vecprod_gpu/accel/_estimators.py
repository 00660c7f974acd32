"""``fit`` of scikit-learn's own linear models, by our co-moments; the classes stay as they are.

Ours takes what it fits to the same solution: dense rows, more of them than columns, and parameters that leave
the solver to the estimator. All else, and what turns out to be ill-conditioned or not to converge, is
scikit-learn's.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import sklearn
from sklearn import linear_model

from ..sklearn._closed import Solution, least_squares, ridge
from ..sklearn._observations import Observations, Validated, set_coefficients
from ..sklearn._sweeps import Sweeps
from ..sklearn.coordinate import set_found
from ._loading import loading
from ._routes import TOO_SMALL, Unsuitable, computed, in_words
from ._sizes import least
from ._swaps import Place
from ._watch import watch

LEAST_ELEMENTS = least(1 << 20)  # of X
LEAST_ROWS = 4  # for each column, so that co-moments are a small part of the work

Fit = Callable[..., Any]


@dataclass(frozen=True)
class Ours:
    """What takes the place of one class's fit.

    Attributes
    ----------
    reason : callable
        Why parameters of an estimator are left to scikit-learn; "" where they are ours.
    fit : callable
        Fits an estimator to observations.
    """

    reason: Callable[[Any], str]
    fit: Callable[[Any, Observations], None]


def of_scikit_learn() -> list[Place]:
    """The places of the methods, each where its class defines it."""
    return [
        Place(owner, "fit", vars(owner)["fit"], _swapped(vars(owner)["fit"], classes))
        for owner, classes in (
            (linear_model.LinearRegression, {linear_model.LinearRegression: LEAST_SQUARES}),
            (linear_model.Ridge, {linear_model.Ridge: RIDGE}),
            (
                linear_model.ElasticNet,
                {linear_model.ElasticNet: COORDINATE_DESCENT, linear_model.Lasso: COORDINATE_DESCENT},
            ),
        )
    ]


def _swapped(original: Fit, classes: dict[type, Ours]) -> Fit:
    """A ``fit`` that asks first whether ours takes the call."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = f"{type(self).__name__}.fit"
        before = vars(self).copy()
        start = perf_counter()
        try:
            given = signature.bind(self, *args, **kwargs).arguments
            backend = _fit(self, classes, given["X"], given["y"], given.get("sample_weight"))
        except Exception as error:
            vars(self).clear()
            vars(self).update(before)
            return watch.timed(name, in_words(error), original, self, *args, **kwargs)
        if watch.on:
            watch.accelerated(name, backend, perf_counter() - start)
        return self

    return fit


def _fit(estimator: Any, classes: dict[type, Ours], X: Any, y: Any, sample_weight: Any) -> str:
    """Fit, and say on which backend; what is left to scikit-learn raises."""
    ours = classes.get(type(estimator))
    if ours is None:
        raise Unsuitable("a subclass may have changed what fit does")
    estimator._validate_params()
    for reason in (_unlike(X), ours.reason(estimator), loading.obstacle()):
        if reason:
            raise Unsuitable(reason)
    if isinstance(sample_weight, int | float):
        raise Unsuitable("sample_weight is one number")

    def compute() -> None:
        inputs = Validated.of(estimator, X, y, sample_weight)
        observations = Observations.of(inputs, estimator.fit_intercept)
        if observations.is_wide:
            raise Unsuitable("squares of the data overflow, or are too many")
        ours.fit(estimator, observations)

    return computed(compute)[1]


def _unlike(X: Any) -> str:
    """Why X is not of the kind that ours fits as scikit-learn does; "" where it is."""
    if sklearn.get_config()["array_api_dispatch"]:
        return "array_api_dispatch is set"
    is_frame = type(X).__module__.partition(".")[0] in ("pandas", "polars") and hasattr(X, "columns")
    if type(X) is not np.ndarray and not is_frame:
        return f"X is a {type(X).__name__}, no NumPy array or frame"
    if len(X.shape) != 2:
        return "X is not a table"
    n, d = X.shape
    if n * d < LEAST_ELEMENTS:
        return TOO_SMALL
    return "too few rows for so many columns" if n < LEAST_ROWS * d or n < 2 else ""


def _reason_for_least_squares(estimator: Any) -> str:
    return _unusual(estimator, copy_X=True, positive=False)


def _reason_for_ridge(estimator: Any) -> str:
    if np.ndim(estimator.alpha):
        return "an alpha for each target is not supported"
    if estimator.solver not in ("auto", "cholesky"):
        return f"solver={estimator.solver!r} is not supported"
    return _unusual(estimator, copy_X=True, positive=False)


def _reason_for_coordinate_descent(estimator: Any) -> str:
    if not isinstance(estimator.precompute, bool):
        return "a Gram matrix is given in precompute"
    if estimator.alpha == 0:
        return "alpha=0 is not supported"
    return _unusual(estimator, copy_X=True, positive=False, warm_start=False, selection="cyclic")


def _unusual(estimator: Any, **usual: Any) -> str:
    """Which parameter is not as ours needs it."""
    for name, value in usual.items():
        if (given := getattr(estimator, name)) != value:
            return f"{name}={given!r} is not supported"
    return ""


def _fit_least_squares(estimator: Any, observations: Observations) -> None:
    found = _well_conditioned(least_squares(observations, estimator.tol))
    estimator.rank_, estimator.singular_ = found.rank, observations.inputs.send(found.singular)
    set_coefficients(estimator, observations.inputs, found.coef, found.intercept, is_flat=False)


def _fit_ridge(estimator: Any, observations: Observations) -> None:
    found = _well_conditioned(ridge(observations, np.array([estimator.alpha], np.float64), "auto"))
    estimator.n_iter_, estimator.solver_ = None, "cholesky"
    set_coefficients(estimator, observations.inputs, found.coef, found.intercept, is_flat=True)


def _fit_by_coordinate_descent(estimator: Any, observations: Observations) -> None:
    l1, l2 = (np.full(observations.targets, estimator.alpha * share) for share in _shares(estimator))
    sweeps = Sweeps(estimator.max_iter, estimator.tol, positive=False)
    found = sweeps.minimise(observations.quadratic, l1, l2)
    if found.is_short.any() or not np.isfinite(found.coef).all():
        raise Unsuitable("coordinate descent does not converge")
    set_found(estimator, observations, found)


def _shares(estimator: Any) -> tuple[float, float]:
    return estimator.l1_ratio, 1 - estimator.l1_ratio


def _well_conditioned(found: Solution) -> Solution:
    """A solution that Cholesky factors were good for."""
    if found.solver != "cholesky" or not np.isfinite(found.coef).all():
        raise Unsuitable("columns of X depend on each other")
    return found


LEAST_SQUARES = Ours(_reason_for_least_squares, _fit_least_squares)
RIDGE = Ours(_reason_for_ridge, _fit_ridge)
COORDINATE_DESCENT = Ours(_reason_for_coordinate_descent, _fit_by_coordinate_descent)
