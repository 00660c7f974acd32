"""Stochastic gradient descent: steps from a few rows each, in an order that a seed repeats."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import ArgumentError, DeviceError, ShapeError
from .._problem import Problem
from .._settings import Settings
from .._streaming.rows import Rows, on_host
from .centring import Centred
from .curvature import largest_eigenvalue
from .data import Given, Models, problem_of
from .outcome import Outcome, Recorded, shown
from .stability import largest_stable_rate, raise_diverged, rate_of
from .steppers import HostStepper

Host = np.ndarray[Any, Any]

DEFAULT_BATCH = 256  # rows
RUNAWAY = 1e3  # of the objective over that of the start; noise about a minimum explains less
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
    batches = _Batches(rows, centred, settings.batch_size or DEFAULT_BATCH)

    def smoothness() -> float:
        largest = largest_eigenvalue(given, centred, settings)
        return batches.smoothness(largest, settings.momentum)

    rate = rate_of(settings, smoothness)
    descent = _Descent(HostStepper(centred, start, rate, settings), batches, settings)
    if not np.isfinite(descent.losses[0]).all():
        rows.raise_for_not_finite()

    def epochs() -> Iterator[tuple[Host, Host]]:
        for coef in descent.epochs(generator):
            if descent.may_run_away:
                bound = largest_stable_rate(smoothness(), settings)
                if (rate > bound).any() or not np.isfinite(descent.losses[-1]).all():
                    raise_diverged(rate, bound)
            yield coef, descent.losses[-2]

    shown(settings.callback or _ignored, epochs(), given, models)
    coef = descent.stepper.coef()
    return Outcome(
        "sgd",
        coef,
        centred.intercept(coef),
        Recorded(descent.losses[-1]),
        Recorded(np.array(descent.losses)),
        Recorded(descent.norms[-1]),
        descent.is_at_rest,
        len(descent.losses) - 1,
        rate,
    )


class _Descent:
    """Epochs, and what all rows say at the end of each.

    Attributes
    ----------
    stepper : HostStepper
    losses, norms : list of (1, k) ndarray
        The objective and the norm of its proximal gradient, from the start on.
    """

    def __init__(self, stepper: HostStepper, batches: "_Batches", settings: Settings) -> None:
        self.stepper, self._batches, self._settings = stepper, batches, settings
        self.losses, self.norms = [stepper.look()], [stepper.norm()]

    @property
    def is_at_rest(self) -> bool:
        """Whether the norm has fallen to the tolerance."""
        tol = self._settings.tol
        return tol > 0 and bool((self.norms[-1] <= tol * self.norms[0]).all())

    @property
    def may_run_away(self) -> bool:
        """Whether the objective has grown by more than noise explains."""
        return not (self.losses[-1] <= RUNAWAY * self.losses[0]).all()

    def epochs(self, generator: np.random.Generator) -> Iterator[Host]:
        """The coefficients after each epoch, until the steps are used up or it is at rest."""
        for _ in range(self._settings.max_iter):
            if self.is_at_rest:
                return
            for part, share in self._batches.in_order_of(generator):
                self.stepper.step_from(part, share)
            self.losses.append(self.stepper.look())
            self.norms.append(self.stepper.norm())
            yield self.stepper.coef()


class _Batches:
    """The rows that count, some at a time.

    A row of twice the weight counts twice in the gradient of its batch, and that is divided by what the
    rows of a batch weigh on average: then the gradients of batches are that of all rows on average, too.
    """

    def __init__(self, rows: Rows, centred: Centred, size: int) -> None:
        self._rows, self._centred = rows, centred
        self._weights = None if rows.weights is None else on_host(rows.weights).astype(np.float64)
        self._counted = np.arange(rows.n) if self._weights is None else np.flatnonzero(self._weights)
        self._mean_weight = 1.0 if self._weights is None else float(self._weights[self._counted].mean())
        self._size = min(size, len(self._counted))

    def in_order_of(self, generator: np.random.Generator) -> Iterator[tuple[Problem, float]]:
        """Every row that counts, once, in batches; and how much the error of each batch counts."""
        order = generator.permutation(self._counted)
        for begin in range(0, len(order), self._size):
            chosen = np.sort(order[begin : begin + self._size])
            share = 1.0 if self._weights is None else float(self._weights[chosen].mean()) / self._mean_weight
            yield self._centred.part(self._rows.take(chosen)), share

    def smoothness(self, largest: float, momentum: float) -> float:
        """The curvature that decides on the learning rate, of which batches add noise to the largest.

        It is the largest eigenvalue for all rows at once, and for one the square of the longest row.
        Momentum m multiplies the variance that noise leaves in the coefficients by (1 + m) / (1 - m).

        References
        ----------
        R. M. Gower et al., "SGD: General Analysis and Improved Rates", ICML 2019, proposition 3.8.
        """
        n, batch = len(self._counted), self._size
        if batch == n:
            return largest
        longest = self._longest()
        noise = (n - batch) / (batch * (n - 1)) * (1 + momentum) / (1 - momentum)
        return max(largest + noise * (longest - largest), noise * longest)

    def _longest(self) -> float:
        """The largest square of a row, times its weight over their mean."""
        rows, mean = self._rows, self._centred.x_mean
        longest = 0.0
        step = max(1, ROW_BYTES // (8 * rows.layout.d))
        for start in range(0, rows.n, step):
            stop = min(start + step, rows.n)
            squares = np.square(on_host(rows.part(start, stop).X).astype(np.float64) - mean).sum(axis=1)
            if self._weights is not None:
                squares *= self._weights[start:stop]
            longest = max(longest, float(squares.max()))
        return longest / self._mean_weight


def _generator(random_state: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"random_state must be None, an integer or a generator: {error}") from None


def _ignored(iteration: int, coef: Host, loss: Host) -> None:
    """Nobody watches."""
