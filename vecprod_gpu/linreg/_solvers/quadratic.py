"""Half the mean squared error as a quadratic function of the coefficients, in float64 on the host."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _dispatch
from ...errors import NotFiniteError
from ..moments import MomentSums

Host = np.ndarray[Any, Any]

LEAST_SQUARE = float(np.finfo(np.float64).tiny)
"""A mean square below it has lost digits, as have the squares that it is the mean of."""


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
    weight_sum : (B,) ndarray
        W.
    """

    hessian: Host
    linear: Host
    square: Host
    x_mean: Host
    y_mean: Host
    weight_sum: Host

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
        return cls(hessian, linear, square, means[:, :d], means[:, d:], sums.total)

    def faint(self, l1: Host, l2: Host) -> Host:
        """Columns ``(B, d)`` whose squares underflow, and whose coefficients the penalties leave to them.

        A column that is constant is orthogonal to y; one whose squares have become 0 is not.
        """
        squares, least = np.einsum("bdd->bd", self.hessian), l2.min()
        # Sums of squares are what underflowed: with small weights they are smaller than their mean.
        weights = np.minimum(self.weight_sum, 1.0)[:, np.newaxis]
        with np.errstate(under="ignore"):  # in a product of numbers of two problems
            smallest = (squares.min(initial=np.inf) + least) * weights.min(initial=np.inf)
        if smallest >= LEAST_SQUARE:  # soon seen, as most often
            return np.broadcast_to(False, squares.shape)
        faint: Host = (squares + least) * weights < LEAST_SQUARE
        if faint.any():
            faint &= np.abs(self.linear).max(axis=2) > l1.min()
        return faint

    def require_squares(self, l1: Host, l2: Host, batch: str = "problem") -> None:
        """Raise where a column is too small for its squares; `batch` says what the problems are."""
        faint = np.argwhere(self.faint(l1, l2))
        if faint.size:
            problem, column = faint[0].tolist()
            squares = "squares" if self.weight_sum[problem] >= 1 else "weighted squares"
            place = f"X in {batch} {problem}" if len(self.hessian) > 1 else "X"
            error = NotFiniteError(f"{squares} of column {column} of {place} underflow float64; scale it up")
            error.argument, error.column = "X", column
            raise error

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
        return lengths(w - step) / learning_rate


def penalty(w: Host, l1: Host, l2: Host) -> Host:
    """``l1 * |w|_1 + l2 / 2 * |w|²`` of coefficients ``(B, d, k)``, as ``(B, k)``."""
    # Squares of large coefficients overflow, and infinity times a penalty of 0 is no number.
    squares = np.square(w, out=np.zeros_like(w), where=np.broadcast_to(l2 > 0, w.shape))
    value: Host = l1 * np.abs(w).sum(axis=1) + l2 / 2 * squares.sum(axis=1)
    return value


def lengths(vectors: Host) -> Host:
    """Euclidean norms ``(B, k)`` of ``(B, d, k)``."""
    with np.errstate(over="ignore", under="ignore"):
        norm: Host = np.sqrt(np.add.reduce(vectors * vectors, axis=1))
    if not norm.all() or not np.isfinite(norm).all():
        largest = np.abs(vectors).max(axis=1, initial=0.0)
        # Squares leave the range of float64 long before the vectors do.
        scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
        with np.errstate(over="ignore", under="ignore"):
            norm = scale * np.sqrt(np.square(vectors / scale[:, np.newaxis]).sum(axis=1))
    return norm


@dataclass(frozen=True)
class GradientNorm:
    """Norm of the gradient ``(B, k)`` at coefficients, when called."""

    quadratic: Quadratic
    coef: Host
    l2: Host

    def __call__(self) -> Host:
        return lengths(self.quadratic.gradient(self.coef, self.l2))
