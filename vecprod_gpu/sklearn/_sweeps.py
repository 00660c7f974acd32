"""Coordinate descent on co-moments, also over coefficients that must not be negative."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .. import _dispatch
from ..linreg._solvers.quadratic import Quadratic

Host = np.ndarray[Any, Any]

USUAL_SWEEPS = 1000  # where max_iter is None
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Sweeps:
    """How coordinate descent is asked for.

    Attributes
    ----------
    max_iter : int or None
        Most sweeps.
    tol : float
        Of the duality gap, in units of the mean square of y.
    positive : bool
        Whether coefficients must not be negative.
    """

    max_iter: int | None
    tol: float
    positive: bool

    def minimise(
        self, quadratic: Quadratic, l1: Host, l2: Host, start: Host | None = None, *, is_path: bool = False
    ) -> "Minimum":
        """Minimise ``q(w) + l1 |w|_1 + l2/2 |w|²`` of P problems with m models each, in the given order.

        The models belong to a target each; where `is_path` all of them to a single one, and each but the
        first starts from the solution of the one before.
        """
        problems, d, _ = quadratic.linear.shape
        if start is None:
            start = np.zeros((problems, d, len(l1)))
        tolerance = np.broadcast_to(self.tol * quadratic.square, (problems, len(l1)))
        if not self.positive:
            found = self._descended(quadratic, l1, l2, start, self.tol, is_path)
            return Minimum(*found, tolerance, self)
        slope, tol = _slope(quadratic), self.tol
        shifted = replace(quadratic, linear=quadratic.linear + slope)
        while True:
            coef, n_iter, _ = self._descended(shifted, l1 + slope, l2, start, tol, is_path)
            np.maximum(coef, 0.0, out=coef)
            gap = _gap_of_positive(quadratic, coef, l1, l2)
            # The gap of the shifted problem, which ends the sweeps, is a little less than that of this one.
            if tol < EPSILON or ((gap <= tolerance) | (n_iter >= self.most)).all():
                return Minimum(coef, n_iter, gap, tolerance, self)
            tol *= 0.1

    @property
    def most(self) -> int:
        """Sweeps, where None stands for the usual number."""
        return USUAL_SWEEPS if self.max_iter is None else self.max_iter

    def _descended(
        self, quadratic: Quadratic, l1: Host, l2: Host, start: Host, tol: float, is_path: bool
    ) -> tuple[Host, Host, Host]:
        """Coefficients, sweeps and duality gaps of the core's coordinate descent."""
        coef = start.copy()
        n_iter, gap = np.zeros((len(coef), len(l1)), np.int64), np.zeros((len(coef), len(l1)))
        _dispatch.host().coordinate_descent(
            quadratic.hessian,
            quadratic.linear,
            quadratic.square,
            coef,
            l1=l1,
            l2=l2,
            tol=tol,
            max_iter=self.most,
            is_path=is_path,
            n_iter=n_iter,
            gap=gap,
        )
        return coef, n_iter, gap


@dataclass(frozen=True)
class Minimum:
    """What coordinate descent found for P problems with m models each.

    Attributes
    ----------
    coef : (P, d, m) ndarray
    n_iter : (P, m) ndarray of int
        Sweeps.
    gap, tolerance : (P, m) ndarray
        Duality gap, and what it was to be.
    sweeps : Sweeps
    """

    coef: Host
    n_iter: Host
    gap: Host
    tolerance: Host
    sweeps: Sweeps

    @property
    def is_short(self) -> Host:
        """Of which models ``(P, m)`` the sweeps were too few."""
        short: Host = (self.n_iter >= self.sweeps.most) & (self.gap > self.tolerance)
        return short

    def warn(self) -> None:
        """Warn of the model that is farthest from its minimum, if any had too few sweeps."""
        is_short = self.is_short
        if is_short.any():
            worst = np.unravel_index(np.argmax(np.where(is_short, self.gap, -np.inf)), self.gap.shape)
            warnings.warn(
                "Objective did not converge. You might want to increase the number of iterations, check the "
                "scale of the features or consider increasing regularisation. Duality gap: "
                f"{self.gap[worst]:.3e}, tolerance: {self.tolerance[worst]:.3e}",
                ConvergenceWarning,
                stacklevel=3,
            )


def _slope(quadratic: Quadratic) -> float:
    """A bound on the slope of q along any coefficient, as long as q is not above its value at 0.

    Where c and l1 are both larger by as much, positive coefficients cost what they did, and negative ones
    more than they can gain: an exact penalty, by which the soft threshold keeps all signs positive.  By
    Cauchy and Schwarz the slope ``X_jᵀ S r / W`` is at most ``sqrt(H_jj · yy)``.
    """
    largest = np.einsum("pdd->pd", quadratic.hessian).max(initial=0.0)
    return float(np.sqrt(largest * quadratic.square.max(initial=0.0)))


def _gap_of_positive(quadratic: Quadratic, coef: Host, l1: Host, l2: Host) -> Host:
    """The duality gap ``(P, m)`` where coefficients must not be negative.

    The dual point is the residual, scaled until no column exceeds l1; of columns that fall below -l1 it asks
    nothing.  Without l1 the gap is what a step along each coefficient can gain at most, of the curvature l2.
    """
    product = quadratic.hessian @ coef
    descent = quadratic.linear - product - l2 * coef
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.maximum(descent / l2, -coef)
        gain = (step * (descent - l2 / 2 * step)).sum(axis=1)
        share = np.minimum(1.0, l1 / np.maximum(descent.max(axis=1), 0.0))
    fit = (coef * (2 * quadratic.linear - product)).sum(axis=1)
    residual = np.maximum(quadratic.square - fit, 0.0) + l2 * np.square(coef).sum(axis=1)
    slack = (coef * (l1 - share[:, np.newaxis] * descent)).sum(axis=1)
    gap: Host = np.where(l1 > 0, (1 - share) ** 2 / 2 * residual + slack, gain)
    return gap
