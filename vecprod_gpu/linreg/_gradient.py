"""Gradient descent on the data: one fused pass over X for each step."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._centring import Centred
from ._curvature import largest_eigenvalue
from ._data import Given, Models, problem_of
from ._outcome import Outcome, Recorded, shown
from ._settings import Settings
from ._stability import automatic_rate, largest_stable_rate, raise_diverged
from ._steppers import Stepper, stepper_for

Host = np.ndarray[Any, Any]

GROWTH = 1.001  # of the objective in one step; rounding explains less
NEAR = 1 - 1e-3  # the largest stable rate is known to so much


def gradient(given: Given, models: Models, settings: Settings) -> Outcome:
    """Proximal gradient descent, with or without momentum."""
    problem, start = problem_of(given, models, "gd")
    centred = Centred(problem, settings.fit_intercept)
    watch = Watch(given, centred, settings)
    stepper = stepper_for(centred, start, watch.rate, settings)
    descent = _Descent(stepper, settings, watch)
    if settings.callback is None:
        is_stopped = False
        for _ in descent.steps():
            pass
    else:
        steps = ((stepper.coef(), loss) for loss in descent.steps())
        _, is_stopped = shown(settings.callback, steps, given, models)
    if is_stopped:
        descent.look()
    coef = stepper.coef()
    return Outcome(
        "gd",
        coef,
        centred.intercept(coef),
        Recorded(np.array(descent.losses)),
        Recorded(stepper.norm()),
        descent.converged and not is_stopped,
        len(descent.losses) - 1,
        watch.rate,
    )


class Watch:
    """Sees early that a descent runs away, or that the data hold no finite numbers.

    Attributes
    ----------
    rate : () or (k,) ndarray
        The learning rate.
    """

    def __init__(self, given: Given, centred: Centred, settings: Settings) -> None:
        self._given, self._centred, self._settings = given, centred, settings
        self._is_known_stable = False
        self._largest: float | None = None
        if settings.learning_rate is not None:
            self.rate = settings.learning_rate
        else:
            self.rate = automatic_rate(self._curvature(), settings)
            self._is_known_stable = not settings.momentum

    def look(self, losses: list[Host]) -> None:
        """Raise where the last objective says so."""
        last = losses[-1]
        is_finite = bool(np.isfinite(last).all())
        if len(losses) == 1:
            if not is_finite:
                self._given.require_rows("gd").raise_for_not_finite()
            return
        grows = not is_finite or bool((last > GROWTH * losses[-2]).any())
        if not grows or (is_finite and self._is_known_stable):
            return
        bound = largest_stable_rate(self._curvature(), self._settings)
        if (self.rate > NEAR * bound).any():
            raise_diverged(self.rate, bound)
        if not is_finite:
            self._given.require_rows("gd").raise_for_not_finite()
        self._is_known_stable = True

    def _curvature(self) -> float:
        if self._largest is None:
            self._largest = largest_eigenvalue(self._given, self._centred, self._settings.fit_intercept)
        return self._largest


class _Descent:
    """The iteration, and on the host only what decides when to stop.

    Attributes
    ----------
    losses : list of (B, k) ndarray
    converged : bool
    """

    def __init__(self, stepper: Stepper, settings: Settings, watch: Watch) -> None:
        self.losses: list[Host] = []
        self.converged = False
        self._stepper, self._settings, self._watch = stepper, settings, watch
        self._bound: Host | None = None

    def steps(self) -> Iterator[Host]:
        """After each step the objective before it, until the gradient is small or the steps are used up."""
        self.look()
        for _ in range(self._settings.max_iter):
            if self.converged:
                return
            self._stepper.step()
            yield self.losses[-1]
            self.look()

    def look(self) -> None:
        """Record the objective where the descent stands, and whether it has come to rest there."""
        self.losses.append(self._stepper.look())
        self._watch.look(self.losses)
        if self._settings.tol:
            norm = self._stepper.norm()
            if self._bound is None:
                self._bound = self._settings.tol * norm
            self.converged = bool((norm <= self._bound).all())
