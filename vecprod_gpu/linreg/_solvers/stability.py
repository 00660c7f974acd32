"""The learning rate of a descent: the automatic one, and the largest at which it does not run away."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ...errors import DivergenceError, NotFiniteError
from .._settings import Settings
from .quadratic import LEAST_SQUARE

Host = np.ndarray[Any, Any]

ROUNDING = 1e-9  # by which a rate may lie over the bound: the eigenvalue that gives it is rounded too


def rate_of(settings: Settings, largest: Callable[[], float]) -> Host:
    """The rate that was asked for, or ``1 / L`` with L the largest curvature; 1 where there is none.

    `largest` gives the largest eigenvalue of the Hessian of any problem of the batch, without the penalty.
    """
    return (
        inverse_curvature(largest(), settings.l2)
        if settings.learning_rate is None
        else settings.learning_rate
    )


def inverse_curvature(largest: float, l2: Host) -> Host:
    """``1 / (largest + l2)``, or 1 where that is nothing."""
    curvature = np.asarray(largest + l2)
    if ((curvature > 0) & (curvature < LEAST_SQUARE)).any():
        raise NotFiniteError("squares of X underflow float64; scale it up")
    inverse: Host = np.divide(1.0, curvature, out=np.ones_like(curvature), where=curvature > 0)
    return inverse


def largest_stable_rate(largest: float, settings: Settings) -> Host:
    """The rate beyond which descent runs away along the direction of largest curvature L.

    It is ``2 / L``; with heavy-ball momentum m ``2 (1 + m) / L``, with Nesterov's
    ``2 (1 + m) / ((1 + 2 m) L)``: where the roots of the two-step recurrence leave the unit circle.
    """
    factor = 2 * (1 + settings.momentum)
    if settings.nesterov:
        factor /= 1 + 2 * settings.momentum
    curvature = np.asarray(largest + settings.l2)
    bound: Host = np.divide(factor, curvature, out=np.full_like(curvature, np.inf), where=curvature > 0)
    return bound


def require_stable(rate: Host, largest: float, settings: Settings) -> None:
    """Raise where a rate is larger than the largest stable one."""
    bound = largest_stable_rate(largest, settings)
    if (rate > bound * (1 + ROUNDING)).any():
        raise_diverged(rate, bound)


def raise_diverged(rate: Host, bound: Host) -> NoReturn:
    """Raise for the rate that lies farthest beyond its bound."""
    rates, bounds = np.broadcast_arrays(np.atleast_1d(rate), np.atleast_1d(bound))
    worst = int(np.argmax(rates / bounds))
    raise DivergenceError(
        f"the descent diverges at learning_rate {rates[worst]:.6g}; the largest stable one is "
        f'{bounds[worst]:.6g}, and learning_rate="auto" takes one that converges'
    )
