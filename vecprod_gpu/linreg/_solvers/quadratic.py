"""Half the mean squared error as a quadratic function of the coefficients, in float64 on the host."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _dispatch
from ..moments import MomentSums

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Quadratic:
    """``q(w) = wᵀ H w / 2 - cᵀ w + yy / 2`` of ``B`` problems with d columns and k targets.

    It is half the weighted mean squared error of the best intercept for w, or of none.

    Attributes
    ----------
    hessian : (B, d, d) ndarray
        ``H = Xᵀ S X / W`` of the centred X, or of X as it is without an intercept.
    linear : (B, d, k) ndarray
        ``c = Xᵀ S y / W``.
    square : (B, k) ndarray
        ``yy = yᵀ S y / W``.
    x_mean : (B, d) ndarray
    y_mean : (B, k) ndarray
        What X and y are centred on; zeros without an intercept.
    """

    hessian: Host
    linear: Host
    square: Host
    x_mean: Host
    y_mean: Host

    @classmethod
    def of(cls, sums: MomentSums, d: int, fit_intercept: bool) -> "Quadratic":
        """From the co-moments of ``[X y]``, X having d columns."""
        problems, columns = sums.means.shape
        host = _dispatch.host()
        hessian = host.empty((problems, d, d), sums.matrix.dtype)
        linear = np.empty((problems, d, columns - d))
        square = np.empty((problems, columns - d))
        host.normal_equations(sums.total, sums.means, sums.matrix, fit_intercept, hessian, linear, square)
        means = sums.means if fit_intercept else np.broadcast_to(np.float64(0), sums.means.shape)
        return cls(hessian, linear, square, means[:, :d], means[:, d:])

    def intercept(self, w: Host) -> Host:
        """The best intercepts ``(B, k)`` for coefficients ``(B, d, k)``."""
        best: Host = self.y_mean - np.einsum("bd,bdk->bk", self.x_mean, w)
        return best

    def gradient(self, w: Host, l2: Host) -> Host:
        """``H w - c + l2 w`` of ``(B, d, k)``, with l2 ``(k,)``."""
        gradient: Host = self.hessian @ w - self.linear + l2 * w
        return gradient

    def loss(self, w: Host) -> Host:
        """Half the mean squared error ``(B, k)``, without penalties; not below 0."""
        along = np.einsum("bdk,bdk->bk", w, self.hessian @ w - 2 * self.linear)
        half: Host = np.maximum(along + self.square, 0.0) / 2
        return half

    def proximal_gradient_norm(self, w: Host, l1: Host, l2: Host, learning_rate: Host) -> Host:
        """``|w - step(w)| / learning_rate``, ``(B, k)``; the penalties and rates are ``(k,)``."""
        moved = w - learning_rate * self.gradient(w, l2)
        step = np.sign(moved) * np.maximum(np.abs(moved) - learning_rate * l1, 0.0)
        norm: Host = np.linalg.norm(w - step, axis=1) / learning_rate
        return norm


def penalty(w: Host, l1: Host, l2: Host) -> Host:
    """``l1 * |w|_1 + l2 / 2 * |w|²`` of coefficients ``(B, d, k)``, as ``(B, k)``."""
    value: Host = l1 * np.abs(w).sum(axis=1) + l2 / 2 * np.square(w).sum(axis=1)
    return value


@dataclass(frozen=True)
class GradientNorm:
    """Norm of the gradient ``(B, k)`` at coefficients, when called."""

    quadratic: Quadratic
    coef: Host
    l2: Host

    def __call__(self) -> Host:
        norm: Host = np.linalg.norm(self.quadratic.gradient(self.coef, self.l2), axis=1)
        return norm
