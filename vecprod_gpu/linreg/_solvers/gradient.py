"""Gradient descent on the data: one fused pass over X for each step."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._settings import Settings
from .centring import Centred
from .curvature import largest_eigenvalue
from .data import Given, Models, problem_of
from .outcome import Outcome, Recorded, shown
from .stability import rate_of, require_stable
from .steppers import Stepper, stepper_for

Host = np.ndarray[Any, Any]

GROWTH = 1.001  # of the objective over its least value; rounding explains less


def gradient(given: Given, models: Models, settings: Settings) -> Outcome:
    """Proximal gradient descent, with or without momentum."""
    problem, start = problem_of(given, models, "gd")
    centred = Centred(problem, settings.fit_intercept)
    watch = Watch(given, centred, settings)
    stepper = stepper_for(centred, start, watch.rate, settings)
    descent = _Descent(stepper, settings, watch)
    if settings.callback is None:
        for _ in descent.steps():
            pass
    else:
        shown(settings.callback, ((stepper.coef(), loss) for loss in descent.steps()), given, models)
    coef = stepper.coef()
    return Outcome(
        "gd",
        coef,
        centred.intercept(coef),
        Recorded(descent.losses[-1]),
        Recorded(np.array(descent.losses)),
        Recorded(stepper.norm()),
        descent.converged,
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
        self._least: Host | None = None
        self._is_known_stable = settings.learning_rate is None
        self.rate = rate_of(settings, self._curvature)

    def look(self, loss: Host) -> None:
        """Raise where an objective says so; that of the start comes first."""
        is_finite = bool(np.isfinite(loss).all())
        if self._least is None:
            self._least = loss
        elif not self._is_known_stable and not (loss <= GROWTH * self._least).all():
            require_stable(self.rate, self._curvature(), self._settings)
            self._is_known_stable = True
        if not is_finite:
            self._given.require_rows("gd").raise_for_not_finite()
        self._least = np.minimum(self._least, loss)

    def _curvature(self) -> float:
        return largest_eigenvalue(self._given, self._centred, self._settings)


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
        self._look()
        for _ in range(self._settings.max_iter):
            if self.converged:
                return
            self._stepper.step()
            self._look()
            yield self.losses[-2]

    def _look(self) -> None:
        """Record the objective where the descent stands, and whether it has come to rest there."""
        self.losses.append(self._stepper.look())
        self._watch.look(self.losses[-1])
        if self._settings.tol:
            norm = self._stepper.norm()
            if self._bound is None:
                self._bound = self._settings.tol * norm
            self.converged = bool((norm <= self._bound).all())
