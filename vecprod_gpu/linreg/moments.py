"""Co-moments: all that linear regression, covariance and correlation need to know of the data."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _checks, _dispatch
from .._arrays import stored_dtype
from .._callers import frames_to_caller
from .._costs import Work
from ._streaming.rows import Layout, Rows
from ._streaming.streamed import Streamed, side_by_side

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class NativeMoments:
    """Co-moments where a backend has computed them.

    Attributes
    ----------
    total : (B,) array
    means : (B, D) array
    matrix : (B, D, D) array
        Native float64 arrays of the backend, as `MomentSums` describes them.
    choice : Choice
        The backend.
    """

    total: Any
    means: Any
    matrix: Any
    choice: _dispatch.Choice

    @classmethod
    def of(cls, rows: Rows) -> "NativeMoments":
        """Read the rows once, in one pass of the backend that the dispatcher chooses."""
        layout, n, wide = rows.layout, rows.n, np.dtype(np.float64)
        stored = stored_dtype(rows.dtype, wide)
        problems, d, columns = layout.problems, layout.d, layout.columns
        elements = problems * n * columns
        work = Work(bytes=elements * stored.itemsize, flops=elements * columns)
        choice = _dispatch.choose("co_moments", rows.kind, stored, work)
        backend = choice.module

        def native(array: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
            return backend.reshape(backend.cast(backend.native(array), dtype), shape)

        total, means, matrix = (
            backend.empty(shape, wide)
            for shape in ((problems,), (problems, columns), (problems, columns, columns))
        )
        if problems:
            backend.co_moments(
                native(rows.X, stored, (problems, n, d)),
                None if rows.y is None else native(rows.y, stored, (problems, n, layout.targets)),
                None
                if rows.weights is None
                else backend.contiguous(native(rows.weights, wide, (problems, n))),
                scale=1.0,
                correlation=False,
                total=total,
                means=means,
                out=matrix,
            )
        return cls(total, means, matrix, choice)

    def to_host(self) -> "MomentSums":
        """The same on the host."""
        parts = self.total, self.means, self.matrix
        return MomentSums.of_parts(*(np.asarray(self.choice.module.export(part, "numpy")) for part in parts))


@dataclass(frozen=True)
class MomentSums:
    """Of ``B`` problems with the D columns of ``Z = [X y]``.

    Attributes
    ----------
    total : (B,) ndarray
        Sum of the weights.
    means : (B, D) ndarray
        ``sum_i s_i Z_i / total``; 0 where the weights add up to nothing.
    matrix : (B, D, D) ndarray
        ``sum_i s_i (Z_i - mean) ⊗ (Z_i - mean)``, symmetric.
    """

    total: Host
    means: Host
    matrix: Host

    @classmethod
    def of(cls, rows: Rows) -> "MomentSums":
        """Read the rows once, in one pass of the backend that the dispatcher chooses."""
        return NativeMoments.of(rows).to_host()

    @classmethod
    def of_parts(cls, total: Host, means: Host, matrix: Host) -> "MomentSums":
        """What a backend has computed, where weights that add up to nothing leave zeros."""
        weightless = total == 0
        if weightless.any():
            means[weightless] = matrix[weightless] = 0.0
        return cls(total, means, matrix)

    def is_finite(self) -> bool:
        """Whether no element of the data is NaN or infinite, nor their squares."""
        diagonal = np.einsum("bii->bi", self.matrix)
        # One that is not finite shows in the sum of all, which takes less memory, and may overflow by itself.
        return bool(np.isfinite(np.einsum("bi->", diagonal)) or np.isfinite(diagonal).all())

    def fits(self, layout: Layout) -> bool:
        """Whether the arrays have the shapes that such rows give."""
        problems, columns = layout.problems, layout.columns
        shapes = (problems,), (problems, columns), (problems, columns, columns)
        return (self.total.shape, self.means.shape, self.matrix.shape) == shapes

    def merge(self, later: "MomentSums") -> "MomentSums":
        """Chan, Golub and LeVeque's update, which keeps the matrix exactly symmetric."""
        total = self.total + later.total
        share = np.divide(later.total, total, out=np.zeros_like(total), where=total != 0)
        difference = later.means - self.means
        between = difference[:, :, np.newaxis] * difference[:, np.newaxis, :]
        between *= (self.total * share)[:, np.newaxis, np.newaxis]
        between += self.matrix
        between += later.matrix
        return MomentSums(total, self.means + share[:, np.newaxis] * difference, between)


class CoMoments(Streamed):
    """Weights, means and centred sums of outer products of the columns of X and y, in one read.

    With ``W = sum(s)`` and ``mean = sum(s * z) / W`` it holds ``sum_i s_i (z_i - mean) ⊗ (z_i - mean)`` of
    the rows ``z = [x y]``, in float64. `linreg_fit` and `linreg_search` fit from it without the data.

    Attributes
    ----------
    n_samples : int
        Rows read.
    weight_sum : float or (...) ndarray
        W.
    mean : (..., d) ndarray
        Of the columns of X.
    y_mean : float, (...) or (..., k) ndarray
        Of the targets.
    xx : (..., d, d) ndarray
        Centred sums of outer products of the rows of X.
    xy : (..., d) or (..., d, k) ndarray
        The same of the rows of X with those of y.
    yy : float, (...) or (..., k) ndarray
        Centred sum of squares of each target.

    Notes
    -----
    Segments of rows are read by one fused pass on the backend where the data live, and merged on the host
    by Chan's formula. Neither the threads, nor the chunks of `update`, nor strides or alignment can be seen
    in a single bit; the number of columns decides where a segment ends.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.
    .. [2] The first source article names covariance as a sum of outer products.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X, y = np.array([[1., 2.], [2., 3.], [3., 5.]]), np.array([2., 3., 4.])
    >>> moments = vp.CoMoments.from_arrays(X, y)
    >>> moments.mean, moments.xy
    (array([2.        , 3.33333333]), array([2., 3.]))
    >>> parts = vp.CoMoments.from_arrays(X[:2], y[:2]).merge(vp.CoMoments.from_arrays(X[2:], y[2:]))
    >>> bool(np.allclose(parts.xx, moments.xx))
    True
    """

    _format = "vecprod-co-moments"
    _summary_type = MomentSums
    _summarise = staticmethod(MomentSums.of)
    _summaries = staticmethod(side_by_side)

    @property
    def xx(self) -> Host:
        """Centred sums of outer products of the rows of X."""
        d = self.layout.d
        return self._of_caller(self.summary.matrix[:, :d, :d], (d, d))  # type: ignore[no-any-return]

    @property
    def xy(self) -> Host:
        """Centred sums of outer products of the rows of X with those of y."""
        d, models = self.layout.d, self._models()
        return self._of_caller(self.summary.matrix[:, :d, d:], (d, *models))  # type: ignore[no-any-return]

    @property
    def yy(self) -> Any:
        """Centred sum of squares of each target."""
        d, models = self.layout.d, self._models()
        squares = np.einsum("bii->bi", self.summary.matrix)[:, d:]
        return self._of_caller(squares, models)

    def cov(self, ddof: float = 1) -> Host:
        """Covariance matrix of the columns of X: ``xx / (weight_sum - ddof)``.

        Parameters
        ----------
        ddof : float, default 1
            What is taken from the sum of the weights, which count repeated rows.

        Returns
        -------
        (..., d, d) ndarray
            In float64; NaN or infinite where no degree of freedom is left, with a RuntimeWarning.
        """
        normalizer = np.maximum(np.asarray(self.weight_sum) - _checks.real("ddof", ddof), 0.0)
        if not normalizer.all():
            warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=frames_to_caller())
        with np.errstate(divide="ignore", invalid="ignore"):  # told in these words, which are NumPy's
            covariance: Host = self.xx / normalizer[..., np.newaxis, np.newaxis]
        return covariance

    def corrcoef(self) -> Host:
        """Correlation matrix of the columns of X: ``xx[i, j] / sqrt(xx[i, i] xx[j, j])``.

        Returns
        -------
        (..., d, d) ndarray
            In float64, clipped to [-1, 1]; NaN for a constant column, with a RuntimeWarning.
        """
        sums = self.xx
        deviations = np.sqrt(np.einsum("...ii->...i", sums))
        scale = deviations[..., np.newaxis] * deviations[..., np.newaxis, :]
        correlation: Host = np.clip(sums / scale, -1, 1)
        return correlation
