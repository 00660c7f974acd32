"""Gradient descent on a quadratic function in closed form, in the basis of its eigenvectors.

There each coefficient goes its own way: with curvature a, learning rate η and gradient g at the start,
the gradient after t steps is ``(1 - η a)**t g``, and the coefficient has moved by
``-(1 - (1 - η a)**t) / a * g``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .closed import eigenvalue_cut
from .quadratic import Quadratic, lengths

Host = np.ndarray[Any, Any]

_quietly = np.errstate(under="ignore")  # what is left after many steps is nothing

ELEMENTS_AT_ONCE = 1 << 20  # of the shrunken gradients, when the whole history is asked for


@dataclass(frozen=True)
class EigenDescent:
    """The path of a descent.

    Attributes
    ----------
    basis : (B, d, d) ndarray
        Eigenvectors in columns.
    curvature : (B, d, k) ndarray
        Eigenvalues plus the L2 penalty.
    rates : (k,) ndarray
    start : (B, d, k) ndarray
        Coefficients.
    gradient : (B, d, k) ndarray
        Their gradient, in that basis.
    least : (B, k) ndarray
        The objective at the end of an infinite descent.
    """

    basis: Host
    curvature: Host
    rates: Host
    start: Host
    gradient: Host
    least: Host

    def at(self, t: int) -> Host:
        """Coefficients ``(B, d, k)`` after t steps."""
        coef: Host = self.start - self.basis @ (covered(self.curvature, self.rates, t) * self.gradient)
        return coef

    @_quietly
    def norms(self, t: int) -> Host:
        """Norms of the gradient ``(B, k)`` after t steps."""
        return lengths((1 - self.rates * self.curvature) ** t * self.gradient)

    def loss(self, t: int) -> Host:
        """The objective ``(B, k)`` after t steps."""
        loss: Host = self.losses(np.array([t]))[0]
        return loss

    @_quietly
    def losses(self, steps: Host) -> Host:
        """The objectives ``(T, B, k)`` after each of so many numbers of steps."""
        shrunk = (1 - self.rates * self.curvature) ** steps[:, np.newaxis, np.newaxis, np.newaxis]
        above = np.divide(
            np.square(self.gradient),
            self.curvature,
            out=np.zeros_like(self.gradient),
            where=self.curvature > 0,
        )
        value: Host = self.least + np.einsum("tbdk,tbdk,bdk->tbk", shrunk, shrunk, above) / 2
        return value

    def steps_until(self, tol: float, max_iter: int) -> int:
        """The first step after which every norm is at most tol times the first one; `max_iter` at most.

        The norms never grow, so that the step is found by halving.
        """
        if not tol:
            return max_iter
        bound = tol * self.norms(0)
        low, high = 0, max_iter
        while low < high:
            middle = (low + high) // 2
            if (self.norms(middle) <= bound).all():
                high = middle
            else:
                low = middle + 1
        return low


@dataclass(frozen=True)
class History:
    """The objectives of a descent from its start to a step; computed when called."""

    descent: EigenDescent
    n_iter: int

    def __call__(self) -> Host:
        at_once = max(1, ELEMENTS_AT_ONCE // max(1, self.descent.gradient.size))
        steps = np.arange(self.n_iter + 1)
        parts = [self.descent.losses(steps[i : i + at_once]) for i in range(0, len(steps), at_once)]
        return np.concatenate(parts)


def eigen_descent(quadratic: Quadratic, spectrum: Any, start: Host, rates: Host, l2: Host) -> EigenDescent:
    """Descent from start ``(B, d, k)``, with what `numpy.linalg.eigh` gives of the Hessian."""
    values, basis = spectrum
    # Where an eigenvalue is zero up to rounding, so is what the gradient of the data has along it.
    flat = values <= eigenvalue_cut(values)
    values = np.where(flat, 0.0, values)
    transposed = np.swapaxes(basis, 1, 2)
    along = np.where(flat[..., np.newaxis], 0.0, transposed @ quadratic.linear)
    curvature = np.ascontiguousarray(np.broadcast_to(values[..., np.newaxis] + l2, start.shape))
    best = np.divide(along, curvature, out=np.zeros_like(curvature), where=curvature > 0)
    least = np.maximum(quadratic.square - (along * best).sum(axis=1), 0.0) / 2
    return EigenDescent(basis, curvature, rates, start, curvature * (transposed @ start) - along, least)


@_quietly
def covered(curvature: Host, rates: Host, t: Any) -> Host:
    """``(1 - (1 - η a)**t) / a`` for curvatures a and rates η: ``η t`` where a is zero."""
    x = rates * curvature
    gone = np.where(x < 0.5, -np.expm1(t * np.log1p(-np.minimum(x, 0.5))), 1 - (1 - x) ** t)
    flat = np.broadcast_to(rates * t, x.shape).copy()
    way: Host = np.divide(gone, curvature, out=flat, where=curvature > 0)
    return way
