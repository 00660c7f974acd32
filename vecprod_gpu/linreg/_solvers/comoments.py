"""Gradient descent on co-moments: the data are read once, however many steps there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _dispatch
from .._settings import Settings
from .data import Given, Models
from .eigen import EigenDescent, History, eigen_descent
from .outcome import Outcome, Recorded, shown
from .quadratic import Quadratic, penalty
from .residuals import refined_loss
from .stability import rate_of, require_stable

Host = np.ndarray[Any, Any]

STEPS_AT_ONCE = 64  # of the proximal descent, between two looks at the tolerance


def comoments(given: Given, models: Models, settings: Settings) -> Outcome:
    """The iterates of proximal gradient descent; without L1 in closed form, whatever their number."""
    quadratic = given.quadratic(settings.fit_intercept)
    l1, l2 = settings.per_model(models.count)
    quadratic.require_squares(l1, l2)
    spectrum = None if l1.any() else np.linalg.eigh(quadratic.hessian)
    values = np.linalg.eigvalsh(quadratic.hessian) if spectrum is None else spectrum.eigenvalues
    largest = float(values.max(initial=0.0))
    rate = rate_of(settings, lambda: largest)
    if settings.max_iter:
        require_stable(rate, largest, settings)
    rates = np.ascontiguousarray(np.broadcast_to(rate, (models.count,)))
    start = np.zeros((*quadratic.hessian.shape[:2], models.count)) if models.start is None else models.start
    if spectrum is None:
        how = {"l1": l1, "l2": l2, "learning_rate": rates}
        run = _proximal_run(_ProximalDescent(quadratic, start, how, settings.tol), given, models, settings)
    else:
        run = _closed_run(eigen_descent(quadratic, spectrum, start, rates, l2), given, models, settings)
    loss = refined_loss(given, quadratic, run.coef) + penalty(run.coef, l1, l2)
    return Outcome(
        "comoments",
        run.coef,
        quadratic.intercept(run.coef),
        Recorded(loss),
        _Anchored(run.losses, loss),
        Recorded(run.norm),
        run.converged,
        run.n_iter,
        rate,
    )


@dataclass(frozen=True)
class _Run:
    """Where a descent came to, and how.

    Attributes
    ----------
    coef : (B, d, k) ndarray
    norm : (B, k) ndarray
        Of the proximal gradient there.
    losses : callable
        Gives ``(n_iter + 1, B, k)`` objectives, by the quadratic form.
    n_iter : int
    converged : bool
    """

    coef: Host
    norm: Host
    losses: Callable[[], Host]
    n_iter: int
    converged: bool


@dataclass(frozen=True)
class _Anchored:
    """Objectives of which the last is known: where it is nearly 0, rounding puts all off by one constant."""

    losses: Callable[[], Host]
    last: Host

    def __call__(self) -> Host:
        values = self.losses()
        anchored: Host = np.maximum(values + (self.last - values[-1]), 0.0)
        anchored[-1] = self.last
        return anchored


def _closed_run(descent: EigenDescent, given: Given, models: Models, settings: Settings) -> _Run:
    """Straight to the last step, unless a callback wants to see each."""
    n_iter = descent.steps_until(settings.tol, settings.max_iter)
    if settings.callback is not None:
        steps = ((descent.at(t), descent.loss(t - 1)) for t in range(1, n_iter + 1))
        n_iter = shown(settings.callback, steps, given, models)
    norm = descent.norms(n_iter)
    converged = settings.tol > 0 and bool((norm <= settings.tol * descent.norms(0)).all())
    return _Run(descent.at(n_iter), norm, History(descent, n_iter), n_iter, converged)


def _proximal_run(descent: "_ProximalDescent", given: Given, models: Models, settings: Settings) -> _Run:
    """Step by step, since the soft threshold has no closed form."""
    if settings.callback is None:
        descent.advance(settings.max_iter)
    else:
        shown(settings.callback, descent.one_by_one(settings.max_iter), given, models)
    losses = Recorded(np.stack(descent.values))
    return _Run(descent.w, descent.norms[-1], losses, len(descent.values) - 1, descent.converged)


class _ProximalDescent:
    """Steps of proximal gradient descent on a quadratic function.

    Attributes
    ----------
    w : (B, d, k) ndarray
        Where it stands.
    values, norms : list of (B, k) ndarray
        The objective and the norm of the proximal gradient, from the start to w.
    converged : bool
        Whether the norm has fallen to the tolerance at w.
    """

    def __init__(self, quadratic: Quadratic, start: Host, how: dict[str, Host], tol: float) -> None:
        self._hessian, self._how, self._tol = quadratic.hessian, how, tol
        self._constant = quadratic.square / 2
        self._linear = np.ascontiguousarray(np.broadcast_to(quadratic.linear, start.shape))
        self._step = _dispatch.host().proximal_descent
        self.w = np.array(start, order="C")
        values, norms = self._look(self.w.copy(), 1)
        self.values, self.norms = [values[0]], [norms[0]]
        self.converged = self._is_small(norms)[0]

    def advance(self, steps: int) -> None:
        """Take so many steps, or fewer until it has converged."""
        while steps and not self.converged:
            count = min(steps, STEPS_AT_ONCE)
            # One step more than is taken, for what it tells of the last point.
            values, norms = self._look(self.w.copy(), count + 1)
            small = np.flatnonzero(self._is_small(norms[1:]))
            taken = int(small[0]) + 1 if small.size else count
            self._look(self.w, taken)
            self.values += list(values[1 : taken + 1])
            self.norms += list(norms[1 : taken + 1])
            self.converged = small.size > 0
            steps -= taken

    def one_by_one(self, steps: int) -> Iterator[tuple[Host, Host]]:
        """After each of the steps its coefficients, and the objective before it."""
        for _ in range(steps):
            if self.converged:
                return
            self.advance(1)
            yield self.w, self.values[-2]

    def _look(self, w: Host, steps: int) -> tuple[Host, Host]:
        """Take steps from w, in place; the objectives and norms before each."""
        shape = (steps, w.shape[0], w.shape[2])
        values, norms = np.empty(shape), np.empty(shape)
        self._step(self._hessian, self._linear, w, **self._how, values=values, norms=norms)
        return values + self._constant, norms

    def _is_small(self, norms: Host) -> Host:
        """For each of some points, whether every norm is within the tolerance."""
        small: Host = (norms <= self._tol * self.norms[0]).all(axis=(1, 2)) & (self._tol > 0)
        return small
