"""Principal axes of centred data: from their co-moments where these keep the digits, or from the data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from scipy.special import gammaln

from .._arrays import Array, kind_of
from ..linreg._streaming.rows import Rows
from ..linreg.moments import CoMoments
from ..linreg.tsqr import TSQR
from ._arrays import Place

Host = np.ndarray[Any, Any]

DIGITS = 1e-10
"""Relative error of eigenvalues of co-moments that is still trusted, where the data are not coarser."""

LEAST_VARIANCE = 1e-15
"""Of a component that Minka's estimate can keep: below it the logarithms hold rounding alone."""


@dataclass(frozen=True)
class Spectrum:
    """Singular values of n centred rows with d columns, largest first, and their right vectors.

    Attributes
    ----------
    mean : (d,) ndarray
        Of the columns.
    singular_values : (r,) ndarray
        Where ``r = min(n, d)``.
    axes : (r, d) ndarray
        The right singular vectors in rows.
    """

    mean: Host
    singular_values: Host
    axes: Host

    @classmethod
    def of_co_moments(cls, moments: CoMoments) -> "Spectrum":
        """Eigenvalues of the co-moments: squared singular values, exact to rounding of the largest."""
        values, vectors = np.linalg.eigh(moments.xx)
        largest = slice(None, -min(moments.n_samples, len(values)) - 1, -1)
        return cls(moments.mean, np.sqrt(np.maximum(values[largest], 0.0)), vectors.T[largest])

    @classmethod
    def of_triangle(cls, moments: CoMoments, dtype: np.dtype[Any]) -> "Spectrum | None":
        """Singular values of the Cholesky factor of the co-moments, None where columns nearly depend.

        The rounding errors of co-moments are relative to the two columns of each. So are those of
        Cholesky's method [1]_: data that are ill-conditioned only because their columns are of
        different size keep all the digits that an SVD of the data would find.

        References
        ----------
        .. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. (2002), section 10.1.
        """
        matrix = moments.xx
        scale = np.sqrt(np.diag(matrix))
        if not scale.all():
            return None
        scaled = matrix / scale / scale[:, np.newaxis]
        values = np.linalg.eigvalsh(scaled)
        if values[0] * worst_condition(dtype) < values[-1]:
            return None
        triangle = np.linalg.cholesky(scaled).T * scale
        return cls(moments.mean, *linalg.svd(triangle, check_finite=False)[1:])

    @classmethod
    def of_data(cls, X: Array, place: Place) -> "Spectrum":
        """Singular values of more rows than columns, all finite, which are read for them.

        On the host the rows are reduced to a triangular factor block by block, without a centred copy.
        """
        array = place.bring(X)
        if kind_of(array) == "numpy":
            factor = TSQR.from_rows(Rows.read(array, None, None))
            return cls(factor.mean, *linalg.svd(factor.factor, check_finite=False)[1:])
        mean = place.xp.mean(X, axis=0)
        _, singular_values, axes = place.xp.linalg.svd(X - mean, full_matrices=False)
        return cls(*(place.fetch(part) for part in (mean, singular_values, axes)))

    def resolves(self, count: int, dtype: np.dtype[Any]) -> bool:
        """Whether that many of the values, squared, keep their digits beside the largest."""
        squares = self.singular_values[:count] ** 2
        return bool(not count or squares[0] <= worst_condition(dtype) * squares[-1])

    def oriented_axes(self, count: int) -> Host:
        """The first axes, each with the sign that makes its entry of largest size positive."""
        axes = self.axes[:count]
        largest = np.argmax(np.abs(axes), axis=1)
        oriented: Host = axes * np.sign(np.take_along_axis(axes, largest[:, np.newaxis], axis=1))
        return oriented


def worst_condition(dtype: np.dtype[Any]) -> float:
    """Ratio of eigenvalues of co-moments up to which the smaller keeps as many digits as are wanted."""
    return max(DIGITS, float(np.finfo(dtype).eps)) / float(np.finfo(np.float64).eps)


def count_by_share(shares: Host, wanted: float) -> int:
    """How many components explain more than the wanted share of the variance."""
    return min(int(np.searchsorted(np.cumsum(shares), wanted, side="right")) + 1, len(shares))


def count_by_evidence(variances: Host, n: int) -> int:
    """Minka's estimate of how many components are signal: the rank k of the largest evidence.

    Laplace's approximation of ``log p(data | k)``, with v the mean of the d - k smallest variances,
    ``m = d k - k (k + 1) / 2``, and each λ̂ equal to λ up to k and to v beyond::

        log p(U) - n/2 sum_{i<=k} log λ_i - n (d - k)/2 log v + (m + k)/2 log 2π - k/2 log n
        - 1/2 sum_{i<=k} sum_{j>i} log(n (1/λ̂_j - 1/λ̂_i) (λ_i - λ_j))

    References
    ----------
    .. [1] T. P. Minka, "Automatic choice of dimensionality for PCA", NIPS 2000, equations 30 and 31.
    """
    d = len(variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = np.log(variances[:, np.newaxis] - variances)
        inverse_gaps = np.log(1 / variances - 1 / variances[:, np.newaxis])
        evidence = [_log_evidence(variances, gaps, inverse_gaps, k, n) for k in range(1, d)]
    usable = np.isfinite(evidence) & (variances[:-1] >= LEAST_VARIANCE)
    return int(np.argmax([-np.inf, *np.where(usable, evidence, -np.inf)]))


def _log_evidence(variances: Host, gaps: Host, inverse_gaps: Host, k: int, n: int) -> float:
    """The formula of `count_by_evidence`, for one k."""
    d = len(variances)
    signal, noise = variances[:k], max(LEAST_VARIANCE, float(variances[k:].mean()))
    free = d - np.arange(k)  # dimensions that are left for each axis to lie in
    angles = d * k - k * (k + 1) / 2
    log_prior = -k * np.log(2) + (gammaln(free / 2) - free / 2 * np.log(np.pi)).sum()
    among_signal = np.triu_indices(k, 1)
    curvature = (gaps + inverse_gaps)[:k, :k][among_signal].sum() + gaps[:k, k:].sum()
    curvature += (d - k) * np.log(1 / noise - 1 / signal).sum() + angles * np.log(n)
    return float(
        log_prior
        - n / 2 * (np.log(signal).sum() + (d - k) * np.log(noise))
        + (angles + k) / 2 * np.log(2 * np.pi)
        - k / 2 * np.log(n)
        - curvature / 2
    )
