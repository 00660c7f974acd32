"""Errors of ridge regressions on each row left out in turn, without fitting any of them.

With the residual r of a row in the fit of all rows, and its leverage h, which is its part of the matrix that
maps y to predictions, the error of the fit without that row is ``r / (1 - h)``.

References
----------
R. M. Rifkin, R. A. Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..linreg._solvers.closed import WORST_CONDITION
from ._means import Means
from ._observations import Observations

Host = np.ndarray[Any, Any]

ELEMENTS_AT_ONCE = 1 << 17  # of a block of rows in float64, or of its errors: they stay in the cache


class LeaveOneOut(Protocol):
    """The fits of one set of rows with m penalties."""

    def errors(self) -> Iterator[tuple[slice, Host]]:
        """Rows, and their errors ``(rows, k, m)``, times the root of their weights."""

    def coef(self) -> Host:
        """Coefficients ``(k, d, m)`` of the fits of all rows."""


def leave_one_out(observations: Observations, alphas: Host) -> LeaveOneOut:
    """By the axes of the columns, or of the rows, whichever are fewer."""
    if observations.given.n > observations.features:
        return _Tall.of(observations, alphas)
    return _Wide.of(observations, alphas)


@dataclass(frozen=True)
class _Centred:
    """The rows less their weighted means, times the roots of their weights, in float64 where X lives."""

    observations: Observations
    x_mean: Host
    y_mean: Host

    @classmethod
    def of(cls, observations: Observations) -> "_Centred":
        means = Means.of(observations)
        return cls(observations, means.x, means.y)

    def part(self, rows: slice) -> tuple[Any, Any, Any]:
        """X ``(rows, d)``, y ``(rows, k)`` and the roots ``(rows, 1)``, on X's device."""
        inputs, xp = self.observations.inputs, self.observations.inputs.place.xp
        X = xp.astype(inputs.X[rows, :], xp.float64, copy=False) - self.send(self.x_mean)
        y = xp.astype(inputs.y[rows, ...], xp.float64, copy=False)
        y = xp.reshape(y, (X.shape[0], len(self.y_mean))) - self.send(self.y_mean)
        if inputs.sample_weight is None:
            return X, y, xp.ones_like(X[:, :1])
        roots = xp.sqrt(xp.astype(inputs.sample_weight[rows, ...], xp.float64, copy=False))[:, None]
        return X * roots, y * roots, roots

    def send(self, host: Host) -> Any:
        """An array of the host, where X lives."""
        return self.observations.inputs.place.send(host, np.float64)

    def fetch(self, array: Any) -> Host:
        """A small result, on the host."""
        return self.observations.inputs.place.fetch(array)


@dataclass(frozen=True)
class _Tall:
    """More rows than columns: by the singular vectors of the columns, and one more read of the rows.

    Attributes
    ----------
    data : _Centred
    basis : (d, r) ndarray
        Right singular vectors of the centred and weighted X.
    along : (k, r) ndarray
        ``Xᵀ y`` in that basis.
    gain : (r, m) ndarray
        ``1 / (σ² + alpha)`` of its singular values and each penalty.
    """

    data: _Centred
    basis: Host
    along: Host
    gain: Host

    @classmethod
    def of(cls, observations: Observations, alphas: Host) -> "_Tall":
        squares, basis, along = _axes(observations, float(alphas.min()))
        return cls(_Centred.of(observations), basis, along.T, 1 / (squares[:, np.newaxis] + alphas))

    def coef(self) -> Host:
        """As `LeaveOneOut`."""
        coef: Host = self.basis @ (self.along[:, :, np.newaxis] * self.gain)
        return coef

    def errors(self) -> Iterator[tuple[slice, Host]]:
        """As `LeaveOneOut`."""
        given, (k, r), m = self.data.observations.given, self.along.shape, self.gain.shape[1]
        steps = self.data.send((self.along[:, :, np.newaxis] * self.gain).swapaxes(0, 1).reshape(r, k * m))
        basis, gain = self.data.send(self.basis), self.data.send(self.gain)
        xp = self.data.observations.inputs.place.xp
        at_once = max(1, ELEMENTS_AT_ONCE // max(r, k * m))
        mean_share = 1 / self.data.observations.weight_sum if self.data.observations.fit_intercept else 0.0
        for start in range(0, given.n, at_once):
            rows = slice(start, min(start + at_once, given.n))
            X, y, roots = self.data.part(rows)
            along = X @ basis
            left = 1 - mean_share * roots**2 - (along**2) @ gain
            residuals = y[:, :, None] - xp.reshape(along @ steps, (-1, k, m))
            yield rows, self.data.fetch(residuals / left[:, None, :])


@dataclass(frozen=True)
class _Wide:
    """No more rows than columns: by the eigenvectors of the products of rows.

    Along them ``1 - h`` and the residual are sums of terms ``alpha / (λ + alpha)``, which do not cancel.

    Attributes
    ----------
    X : (n, d) array
        Centred and weighted, where it lives.
    data : _Centred
    basis : (n, r) ndarray
        Eigenvectors of ``X Xᵀ``, without the one of the mean where there is an intercept.
    along : (k, r) ndarray
        y in that basis.
    gain : (r, m) ndarray
        ``1 / (λ + alpha)``.
    """

    X: Any
    data: _Centred
    basis: Host
    along: Host
    gain: Host

    @classmethod
    def of(cls, observations: Observations, alphas: Host) -> "_Wide":
        data = _Centred.of(observations)
        X, y, roots = data.part(slice(0, observations.given.n))
        products = data.fetch(X @ X.T)
        if observations.fit_intercept:
            # The roots of the weights, along which the centred rows have nothing, become the last axis.
            mean = data.fetch(roots)[:, 0]
            products = products + np.outer(mean, mean) * ((2 * np.trace(products) or 1.0) / (mean @ mean))
        values, basis = np.linalg.eigh(products)
        if observations.fit_intercept:
            values, basis = values[:-1], basis[:, :-1]
        along = data.fetch(y).T @ basis
        return cls(X, data, basis, along, 1 / (np.maximum(values, 0.0)[:, np.newaxis] + alphas))

    def coef(self) -> Host:
        """As `LeaveOneOut`."""
        dual = self.basis @ (self.along[:, :, np.newaxis] * self.gain)
        columns = self.data.send(np.moveaxis(dual, 1, 0).reshape(len(self.basis), -1))
        coef = self.data.fetch(self.X.T @ columns)
        by_target: Host = np.moveaxis(coef.reshape(-1, dual.shape[0], dual.shape[2]), 1, 0)
        return by_target

    def errors(self) -> Iterator[tuple[slice, Host]]:
        """As `LeaveOneOut`."""
        dual = np.moveaxis(self.basis @ (self.along[:, :, np.newaxis] * self.gain), 1, 0)
        yield slice(0, len(dual)), dual / (np.square(self.basis) @ self.gain)[:, np.newaxis, :]


def _axes(observations: Observations, smallest: float) -> tuple[Host, Host, Host]:
    """Squared singular values, right singular vectors, and ``Xᵀ y`` along them, ``(r, k)``.

    Of the triangular factor of the data, for one more read, where the smallest penalty leaves a matrix of
    which co-moments keep too few digits.
    """
    W, quadratic = observations.weight_sum, observations.quadratic
    values, basis = np.linalg.eigh(quadratic.hessian[0])
    if values[-1] + smallest / W <= WORST_CONDITION * (max(values[0], 0.0) + smallest / W):
        return np.maximum(values, 0.0) * W, basis, basis.T @ quadratic.linear[0] * W
    X, y = observations.triangle()
    left, singular, right = np.linalg.svd(X, full_matrices=False)
    return np.square(singular), right.T, singular[:, np.newaxis] * (left.T @ y)
