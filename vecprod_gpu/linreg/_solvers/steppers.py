"""Steps of a descent: fused with the pass over X, or from its gradient where more than that decides them."""

from typing import Any, Protocol

import numpy as np

from ..._arrays import Array
from .._problem import Problem
from .._settings import Settings
from .centring import Centred
from .quadratic import lengths, penalty

Host = np.ndarray[Any, Any]

AHEAD_WORK = 1 << 20  # multiplications of the steps that are taken in one call, ...
MOST_AHEAD = 64  # ... and the most of them


class Stepper(Protocol):
    """Walks through the coefficients of ``B`` problems with k models each."""

    def look(self) -> Host:
        """Read X once; the objective ``(B, k)`` where it stands."""

    def norm(self) -> Host:
        """Norm of the proximal gradient ``(B, k)`` there."""

    def step(self) -> None:
        """Go on to the next coefficients; after a look."""

    def coef(self) -> Host:
        """Where it stands, ``(B, d, k)`` in float64."""


def stepper_for(centred: Centred, start: Array, rate: Host, settings: Settings) -> Stepper:
    """The fused one where it can be: one rate and penalty for all models, and no momentum."""
    is_plain = not settings.momentum and all(not one.ndim for one in (rate, settings.l1, settings.l2))
    kind = FusedStepper if is_plain else HostStepper
    return kind(centred, start, rate, settings)


class FusedStepper:
    """Takes the step within the pass over X; on data that is small, or kept on chip, some ahead in one call.

    On large data a step ahead would be a pass too many where the descent stops.
    """

    def __init__(self, centred: Centred, start: Array, rate: Host, settings: Settings) -> None:
        self._problem, self._rate = centred.problem, float(rate)
        self._how: dict[str, Any] = {
            "x_offset": centred.x_offset,
            "learning_rate": self._rate,
            "l1": float(settings.l1),
            "l2": float(settings.l2),
        }
        problems, d, k = self._problem.shapes.native_w
        work = max(1, problems * self._problem.shapes.n * d * k)
        is_kept = self._problem.is_kept(start, centred.x_offset)
        self._ahead = MOST_AHEAD if is_kept else max(1, min(MOST_AHEAD, AHEAD_WORK // work))
        self._looks_left = settings.max_iter + 1
        self._points = self._problem.to_host(start)[np.newaxis]
        self._losses = np.empty((0, problems, k))
        self._at = 0

    def look(self) -> Host:
        """As `Stepper`."""
        if self._at == len(self._losses):
            here, steps = self._points[-1], min(self._ahead, self._looks_left)
            w = self._problem.backend.native(np.ascontiguousarray(here))
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # the objectives tell of a descent that runs away
                points, self._losses = self._problem.walk(w, steps, **self._how)
            self._points = np.concatenate([here[np.newaxis], points])
            self._at = 0
            self._looks_left -= steps
        loss: Host = self._losses[self._at]
        return loss

    def norm(self) -> Host:
        """As `Stepper`."""
        difference = np.subtract(self._points[self._at], self._points[self._at + 1], dtype=np.float64)
        return lengths(difference) / self._rate

    def step(self) -> None:
        """As `Stepper`."""
        self._at += 1

    def coef(self) -> Host:
        """As `Stepper`."""
        here: Host = self._points[self._at].astype(np.float64)
        return here


class HostStepper:
    """Takes the step on the host, where it is small beside X, from the gradient of the pass over X.

    With velocity ``v = m v + g`` the step goes along v, with Nesterov's momentum along ``g + m v``, as
    torch.optim.SGD has it; then follows the proximal step of L1.
    """

    def __init__(self, centred: Centred, start: Array, rate: Host, settings: Settings) -> None:
        self._problem, self._x_offset = centred.problem, centred.x_offset
        self._rate, self._settings = rate, settings
        self._l1, self._l2 = settings.per_model(self._problem.shapes.native_w[2])
        self._w = self._problem.to_host(start).astype(np.float64)
        self._gradient = np.zeros_like(self._w)
        self._velocity = np.zeros_like(self._w)

    def look(self) -> Host:
        """As `Stepper`."""
        loss = self._problem.empty(self._problem.shapes.native_loss, np.float64)
        self._gradient = gradient_of(self._problem, self._w, self._x_offset, loss) + self._l2 * self._w
        total: Host = self._problem.to_host(loss) + penalty(self._w, self._l1, self._l2)
        return total

    def norm(self) -> Host:
        """As `Stepper`."""
        return lengths(self._w - self._moved(self._gradient)) / self._rate

    def step(self) -> None:
        """As `Stepper`."""
        momentum = self._settings.momentum
        self._velocity = momentum * self._velocity + self._gradient
        along = self._gradient + momentum * self._velocity if self._settings.nesterov else self._velocity
        self._w = self._moved(along)

    def step_from(self, problem: Problem, share: float) -> None:
        """A step by the gradient of other rows, whose error counts `share` times."""
        self._gradient = share * gradient_of(problem, self._w, self._x_offset) + self._l2 * self._w
        self.step()

    def coef(self) -> Host:
        """As `Stepper`."""
        return self._w

    def _moved(self, along: Host) -> Host:
        moved = self._w - self._rate * along
        thresholded: Host = np.sign(moved) * np.maximum(np.abs(moved) - self._rate * self._l1, 0.0)
        return thresholded


def gradient_of(problem: Problem, w: Host, x_offset: Array | None, loss: Array | None = None) -> Host:
    """The gradient ``(B, d, k)`` at w of half the mean squared error, which goes to loss; one read of X."""
    out = problem.empty(tuple(w.shape))
    native_w = problem.backend.native(np.ascontiguousarray(w, problem.sums))
    problem.run(native_w, out=out, loss=loss, x_offset=x_offset)
    return problem.to_host(out).astype(np.float64)
