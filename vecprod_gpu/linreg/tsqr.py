"""The triangular factor of the data: linear regression of columns that nearly depend on each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends._cpu.threads.pools import for_each_block
from ._least_norm import shorten
from ._streaming.rows import Layout, Rows, on_host
from ._streaming.streamed import Streamed

Host = np.ndarray[Any, Any]

# OpenBLAS multiplies a matrix of fewer elements with a vector on one thread; of more it uses several,
# which takes longer here than one, and the number of them may be seen in the last bits.
BLOCK_ELEMENTS = 4608
TASK_BYTES = 1 << 19  # a few blocks, which stay in the cache between filling and factorisation
SLAB_BYTES = 1 << 25  # of rows in float64, what is copied from a device at a time


@dataclass(frozen=True)
class Factor:
    """Of ``B`` problems with the D columns of ``Z = [X y]``, of which n rows were read.

    Attributes
    ----------
    total : (B,) ndarray
        Sum of the weights.
    origin : (B, D) ndarray
        What is subtracted from every row.
    triangle : (B, min(n, 1 + D), 1 + D) ndarray
        R of the rows ``sqrt(s_i) * [1, Z_i - origin]``, its signs as LAPACK leaves them.
    """

    total: Host
    origin: Host
    triangle: Host

    @classmethod
    def of(cls, rows: Rows) -> "Factor":
        """Read the rows once, on the host."""
        problems, n = rows.layout.problems, rows.n
        if rows.weights is None:
            total, heaviest = np.full(problems, float(n)), np.zeros(problems, int)
        else:
            weights = np.ascontiguousarray(on_host(rows.weights), float).reshape(problems, n)
            total, heaviest = weights.sum(axis=1), weights.argmax(axis=1)
        origin = np.empty((problems, rows.layout.columns))
        for row in np.unique(heaviest):
            chosen = heaviest == row
            X, y, _ = _host_arrays(rows.part(row, row + 1))
            origin[chosen, : rows.layout.d] = X[chosen, 0]
            if y is not None:
                origin[chosen, rows.layout.d :] = y[chosen, 0]
        return cls(total, origin, _stacked(_triangles(rows, origin)))

    @property
    def means(self) -> Host:
        """Weighted means ``(B, D)``; 0 where the weights add up to nothing."""
        first, rest = self.triangle[:, 0, :1], self.triangle[:, 0, 1:]
        offset = np.divide(rest, first, out=np.zeros_like(rest), where=first != 0)
        return np.where(self.total[:, np.newaxis] == 0, 0.0, self.origin + offset)

    def is_finite(self) -> bool:
        """Whether nothing is NaN or infinite: elements of the data, norms of columns, sums of weights."""
        return all(bool(np.isfinite(array).all()) for array in (self.total, self.triangle))

    def fits(self, layout: Layout) -> bool:
        """Whether the arrays have the shapes that such rows give."""
        problems, width = layout.problems, 1 + layout.columns
        height = self.triangle.shape[1] if self.triangle.ndim == 3 else 0
        shapes = (problems,), (problems, width - 1), (problems, height, width)
        return 0 < height <= width and (self.total.shape, self.origin.shape, self.triangle.shape) == shapes

    def merge(self, later: "Factor") -> "Factor":
        """Factor of both triangles about one origin, one upon the other."""
        origin = np.where((self.total > 0)[:, np.newaxis], self.origin, later.origin)
        both = np.concatenate([self.about(origin), later.about(origin)], axis=1)
        return Factor(self.total + later.total, origin, _qr(both))

    def about(self, origin: Host) -> Host:
        """The triangle about another origin: the column of ones, and so the first row, knows the way."""
        triangle = self.triangle.copy()
        triangle[:, 0, 1:] += triangle[:, 0, :1] * (self.origin - origin)
        return triangle

    def centred(self) -> Host:
        """R of the rows ``sqrt(s_i) * (Z_i - mean)``, below a row of zeros."""
        triangle = self.triangle[:, :, 1:].copy()
        triangle[:, 0] = 0.0
        return triangle


@dataclass(frozen=True)
class Solution:
    """Coefficients of ``B`` problems with d columns, k targets and n rows.

    Attributes
    ----------
    coef : (B, d, k) ndarray
    intercept : (B, k) ndarray
        0 where none was asked for.
    rank : (B,) ndarray
        Singular values that count.
    singular : (B, min(n, d)) ndarray
        Of the weighted X, which is centred where there is an intercept.
    x_mean : (B, d) ndarray
    y_mean : (B, k) ndarray
        What X and y are centred on; zeros without an intercept.
    residual : (B, k) ndarray
        ``sum_i s_i (y_i - x_i w - b)²``.
    gradient_norm : (B, k) ndarray
        Of what was minimised, at the coefficients.
    """

    coef: Host
    intercept: Host
    rank: Host
    singular: Host
    x_mean: Host
    y_mean: Host
    residual: Host
    gradient_norm: Host


class TSQR(Streamed):
    """Triangular factor of the weighted columns of X and y, in one read, for data that are ill-conditioned.

    It holds R of the QR decomposition of the rows ``sqrt(s_i) * [1, z_i - origin]`` with ``z = [x y]``, in
    float64: R of two parts is R of their triangles, one upon the other. What `CoMoments` hold is
    ``RᵀR``, whose condition number is the square of that of the data, so that least squares lose twice as
    many digits by it; this takes several times as long.

    Attributes
    ----------
    n_samples : int
        Rows read.
    weight_sum : float or (...) ndarray
        ``W = sum(s)``.
    mean : (..., d) ndarray
        Of the columns of X: ``sum(s * x) / W``.
    y_mean : float, (...) or (..., k) ndarray
        Of the targets.
    factor : (..., min(n, 1 + d + k) - 1, d + k) ndarray
        Upper triangular R of the centred columns of ``[X y]``.

    Notes
    -----
    The origin is a row of the data, so that a mean that is much larger than the spread costs no digits;
    the column of ones moves the triangle to another origin.

    Blocks of some hundred rows are factorised by LAPACK on the host, on several threads, and their
    triangles are stacked and factorised again, by a fixed tree. Device arrays are copied to the host for
    it, part by part. Neither the threads, nor the chunks of `update`, nor strides or alignment can be seen
    in a single bit; beyond some 60 columns LAPACK may use threads of its own, of which this is not known.

    References
    ----------
    .. [1] J. Demmel, L. Grigori, M. Hoemmen, J. Langou, "Communication-optimal parallel and sequential
       QR and LU factorizations", SIAM Journal on Scientific Computing 34 (2012).

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X, y = np.array([[1., 2.], [2., 3.], [3., 5.], [4., 9.]]), np.array([2., 3., 4., 6.])
    >>> data = vp.TSQR.from_arrays(X, y)
    >>> data.mean, data.y_mean
    (array([2.5 , 4.75]), np.float64(3.75))
    >>> R = data.factor[:, :2]
    >>> bool(np.allclose(R.T @ R, vp.CoMoments.from_arrays(X).xx))
    True
    >>> parts = vp.TSQR.from_arrays(X[:2], y[:2]).merge(vp.TSQR.from_arrays(X[2:], y[2:]))
    >>> bool(np.allclose(abs(parts.factor), abs(data.factor)))
    True
    """

    _format = "vecprod-tsqr"
    _summary_type = Factor
    _summarise = staticmethod(Factor.of)

    @property
    def factor(self) -> Host:
        """Upper triangular factor of the centred columns of X and y."""
        triangle = self.summary.centred()[:, 1:]
        return self._of_caller(triangle, triangle.shape[1:])  # type: ignore[no-any-return]

    def solve(self, l2: float, fit_intercept: bool, rcond: float | None = None) -> Solution:
        """The shortest w of the least ``1/(2 W) |X w - y|² + l2/2 |w|²``, for the solvers.

        Singular values up to ``rcond`` times the largest count as 0. By default these are ``max(n, d)``
        roundings; where these leave columns out, and there are no more columns than rows, columns scaled to
        one size decide, so that small ones beside large ones are kept.
        """
        self._models()
        factor: Factor = self.summary
        d, total = self.layout.d, factor.total[:, np.newaxis]
        triangle = factor.centred() if fit_intercept else factor.about(np.zeros(1))[:, :, 1:]
        means = factor.means if fit_intercept else np.zeros_like(factor.origin)
        X, y, x_mean, y_mean = triangle[:, :, :d], triangle[:, :, d:], means[:, :d], means[:, d:]
        roundings = max(self.n_samples, d) * float(np.finfo(float).eps)
        coef, singular, counts, _ = _shortest(X, y, l2 * total, roundings if rcond is None else rcond)
        rank = counts.sum(axis=1)
        if rcond is None and X.shape[1] >= d:
            for i in np.flatnonzero(rank < d).tolist():
                coef[i], rank[i] = _shortest_by_sizes(X[i], y[i], l2 * float(total[i, 0]), roundings)
        misfit = y - X @ coef
        share = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        gradient = l2 * coef - share[:, np.newaxis] * (X.mT @ misfit)
        return Solution(
            coef=coef,
            intercept=y_mean - np.einsum("bd,bdk->bk", x_mean, coef),
            rank=rank,
            singular=singular,
            x_mean=x_mean,
            y_mean=y_mean,
            residual=np.square(misfit).sum(axis=1),
            gradient_norm=np.linalg.norm(gradient, axis=1),
        )


def _shortest(X: Host, y: Host, penalty: Host | float, rcond: float) -> tuple[Host, Host, Host, Host]:
    """The shortest w of the least ``|X w - y|² + penalty |w|²``.

    With it come the singular values of X, which of them count, and the right singular vectors, in rows.
    """
    left, singular, right = np.linalg.svd(X, full_matrices=False)
    counts = singular > rcond * singular[..., :1]
    ratio = np.divide(penalty, singular, out=np.zeros_like(singular), where=counts)
    gain = np.divide(1.0, singular + ratio, out=np.zeros_like(singular), where=counts)
    w = np.zeros((*right.mT.shape[:-1], y.shape[-1]))
    for _ in range(3):  # the first step solves, the others take back most of its rounding errors
        missing = left.mT @ (y - X @ w) - ratio[..., np.newaxis] * (right @ w)
        w += right.mT @ (gain[..., np.newaxis] * missing)
    return w, singular, counts, right


def _shortest_by_sizes(X: Host, y: Host, penalty: float, rcond: float) -> tuple[Host, int]:
    """The same w of one problem ``(r, d)``, and the rank, as columns scaled to one size have it."""
    scaled, sizes = _to_one_size(X)
    w, _, counts, right = _shortest(scaled, y, 0.0, rcond)
    w /= sizes
    if penalty:  # scaled columns would each have another one
        d = len(sizes)
        rows, units = _to_one_size(np.vstack([X, np.sqrt(penalty) * np.eye(d)]))
        w = _shortest(rows, np.pad(y, ((0, d), (0, 0))), 0.0, rcond)[0] / units
    shorten(w, right[~counts].T, sizes)
    return w, int(counts.sum())


def _to_one_size(X: Host) -> tuple[Host, Host]:
    """X with a largest element of 1 in each column, and what these were divided by; infinity for zeros."""
    largest = np.abs(X).max(axis=0)
    sizes = np.where(largest > 0, largest, np.inf)
    return X / sizes, sizes[:, np.newaxis]


def _host_arrays(rows: Rows) -> tuple[Host, Host | None, Host | None]:
    """X ``(B, n, d)``, y ``(B, n, k)`` and weights ``(B, n)``, views where they are on the host."""
    layout, n = rows.layout, rows.n
    X = on_host(rows.X).reshape(layout.problems, n, layout.d)
    y = None if rows.y is None else on_host(rows.y).reshape(layout.problems, n, layout.targets)
    return X, y, None if rows.weights is None else on_host(rows.weights).reshape(layout.problems, n)


def _block_rows(width: int) -> int:
    """Rows of a block of that many columns: a power of two, and at least twice as many as columns."""
    return 1 << max((BLOCK_ELEMENTS // width).bit_length() - 1, (2 * width - 1).bit_length())


def _triangles(rows: Rows, origin: Host) -> Host:
    """Factors of the blocks, ``(B, blocks, r, 1 + D)``; the last block may have fewer rows."""
    n, width = rows.n, 1 + rows.layout.columns
    problems, height = len(origin), min(n, width)
    length = _block_rows(width)
    triangles = np.zeros((problems, -(-n // length), height, width))
    slab = length * max(1, SLAB_BYTES // (8 * length * width * max(1, problems)))
    for start in range(0, n, slab):
        part = rows.part(start, min(start + slab, n))
        X, y, weights = _host_arrays(part)
        full = part.n // length
        for first, blocks, size in ((0, full, length), (full * length, 1, part.n - full * length)):
            if blocks and size:
                X_blocks, y_blocks, weight_blocks = (
                    None if array is None else _cut(array[:, first:], blocks, size)
                    for array in (X, y, weights)
                )
                at = (start + first) // length
                out = triangles[:, at : at + blocks, : min(size, width)]
                _factorise(X_blocks, y_blocks, weight_blocks, origin, out)
    return triangles


def _cut(array: Host, blocks: int, size: int) -> Host:
    """A view ``(B, blocks, size, ...)`` of the first rows of ``(B, n, ...)``."""
    return array[:, : blocks * size].reshape(len(array), blocks, size, *array.shape[2:])


def _factorise(X: Any, y: Host | None, weights: Host | None, origin: Host, out: Host) -> None:
    """Factorise blocks ``(B, blocks, rows, ...)`` on threads, some at a time."""
    problems, blocks, size, d = X.shape
    width = out.shape[3]
    at_once = max(1, TASK_BYTES // (8 * size * width))

    def factorise(part: tuple[slice, slice]) -> None:
        shift = origin[part[0], np.newaxis, np.newaxis]
        filled = np.empty((*X[part].shape[:3], width))
        filled[..., 0] = 1.0
        np.subtract(X[part], shift[..., :d], out=filled[..., 1 : 1 + d])
        if y is not None:
            np.subtract(y[part], shift[..., d:], out=filled[..., 1 + d :])
        if weights is not None:
            filled *= np.sqrt(weights[part], dtype=float)[..., np.newaxis]
        out[part] = _qr(filled)

    everything = slice(None)
    if problems > blocks:
        for_each_block(
            lambda start, stop: factorise((slice(start, stop), everything)),
            problems,
            max(1, at_once // blocks),
        )
    else:
        for_each_block(
            lambda start, stop: factorise((everything, slice(start, stop))),
            blocks,
            max(1, at_once // max(1, problems)),
        )


def _stacked(triangles: Host) -> Host:
    """One factor ``(B, r, width)`` of triangles ``(B, count, r, width)``, as many at once as fill a block."""
    problems, count, height, width = triangles.shape
    group = max(2, _block_rows(width) // width)
    while count > 1:
        groups = -(-count // group)
        padded = np.zeros((problems, groups * group, height, width))
        padded[:, :count] = triangles
        triangles = _qr(padded.reshape(problems, groups, group * height, width))
        count = groups
    return triangles[:, 0]


def _qr(matrices: Host) -> Host:
    return np.asarray(np.linalg.qr(matrices, mode="r"))
