"""Stochastic gradient descent: steps from a few rows each, in an order that a seed repeats."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, DeviceError, ShapeError
from ._centring import Centred
from ._curvature import largest_eigenvalue
from ._data import Given, Models, problem_of
from ._outcome import Outcome, Recorded, shown
from ._rows import Rows, on_host
from ._settings import Settings
from ._stability import automatic_rate, largest_stable_rate, raise_diverged
from ._steppers import HostStepper

Host = np.ndarray[Any, Any]

DEFAULT_BATCH = 256  # rows
ROW_BYTES = 1 << 24  # of X at once, to find its longest row


def stochastic(given: Given, models: Models, settings: Settings) -> Outcome:
    """Steps from batches of rows, which an epoch takes in a random order; the objective of all at its end."""
    rows = given.require_rows("sgd")
    if given.layout.lead:
        raise ShapeError(f"X has the batch axes {given.layout.lead}; the solver sgd fits one problem, (n, d)")
    if given.kind == "numba":
        raise DeviceError("Numba device arrays cannot pick rows, as sgd does: use cupy.asarray(X)")
    generator = _generator(settings.random_state)
    problem, start = problem_of(given, models, "sgd")
    centred = Centred(problem, settings.fit_intercept)
    counted = np.arange(rows.n) if rows.weights is None else np.flatnonzero(on_host(rows.weights))
    batch = min(settings.batch_size or DEFAULT_BATCH, len(counted))
    smooth = _smoothness(rows, centred, largest_eigenvalue(given, centred, settings.fit_intercept), batch)
    rate = automatic_rate(smooth, settings)
    stepper = HostStepper(centred, start, rate, settings)
    losses, norms = [stepper.look()], [stepper.norm()]
    if not np.isfinite(losses[0]).all():
        rows.raise_for_not_finite()

    def epochs() -> Iterator[tuple[Host, Host]]:
        for _ in range(settings.max_iter):
            if settings.tol and (norms[-1] <= settings.tol * norms[0]).all():
                return
            order = generator.permutation(counted)
            for begin in range(0, len(order), batch):
                chosen = rows.take(np.sort(order[begin : begin + batch]))
                stepper.step_from(centred.part(chosen))
            losses.append(stepper.look())
            norms.append(stepper.norm())
            if not np.isfinite(losses[-1]).all():
                raise_diverged(rate, largest_stable_rate(smooth, settings))
            yield stepper.coef(), losses[-2]

    shown(settings.callback or _ignored, epochs(), given, models)
    coef = stepper.coef()
    return Outcome(
        "sgd",
        coef,
        centred.intercept(coef),
        Recorded(np.array(losses)),
        Recorded(norms[-1]),
        settings.tol > 0 and bool((norms[-1] <= settings.tol * norms[0]).all()),
        len(losses) - 1,
        rate,
    )


def _generator(random_state: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"random_state must be None, an integer or a generator: {error}") from None


def _ignored(iteration: int, coef: Host, loss: Host) -> None:
    """Nobody watches."""


def _smoothness(rows: Rows, centred: Centred, largest: float, batch: int) -> float:
    """How strongly the gradient from a batch may change, at most: it decides on the learning rate.

    Between the largest eigenvalue, for all rows, and the longest row's square, for one.

    References
    ----------
    R. M. Gower et al., "SGD: General Analysis and Improved Rates", ICML 2019, proposition 3.8.
    """
    n = rows.n
    if n == 1 or batch == n:
        return largest
    mean = centred.x_mean
    longest = total = 0.0
    step = max(1, ROW_BYTES // (8 * rows.layout.d))
    for start in range(0, n, step):
        part = rows.part(start, min(start + step, n))
        lengths = np.square(on_host(part.X).astype(np.float64) - mean).sum(axis=1)
        if part.weights is not None:
            lengths *= on_host(part.weights)
        total += part.n if part.weights is None else float(on_host(part.weights).sum(dtype=np.float64))
        longest = max(longest, float(lengths.max()))
    longest *= n / total
    return (n * (batch - 1) * largest + (n - batch) * longest) / (batch * (n - 1))
