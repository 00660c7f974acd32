"""Which columns of X to keep, judged by co-moments: X is read once, however many columns are weighed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .. import _checks
from .._arrays import Array, as_arrays, common_kind
from .._libraries import takes_any_library
from ..errors import ArgumentError, DeviceError, NotFiniteError, ShapeError
from ._solvers.quadratic import LEAST_SQUARE
from ._streaming.rows import Rows, on_host
from .moments import CoMoments

Host = np.ndarray[Any, Any]
Method = Literal["f", "forward", "correlation"]

# Two columns whose squared correlation is nearer to 1 hold the same, up to scale and rounding.
DUPLICATE = 1e-12
# A column is explained by those already chosen if less of its variance is left than this.
COLLINEAR = 1e-10


@dataclass(frozen=True, eq=False)
class FeatureSelection:
    """Columns chosen by `select_features`.

    Attributes
    ----------
    indices : (m,) array of int
        Numbers of the chosen columns, best first.
    scores : (m,) array of float64
        For each, the F statistic, the absolute correlation with y, or for ``"forward"`` the R² of the
        regression on all columns chosen up to it. F is NaN where no degree of freedom is left.
    pruned : dict of int to str
        Why a column was not considered: ``"constant"`` or ``"duplicate of J"``.
    n_features : int
        How many columns there were to choose from.
    """

    indices: Host
    scores: Host
    pruned: dict[int, str]
    n_features: int

    def transform(self, X: Array) -> Array:
        """The chosen columns of X, best first.

        Parameters
        ----------
        X : (..., d) array_like
            As many columns as were weighed.

        Returns
        -------
        (..., m) array
            A copy of the kind of X.

        Raises
        ------
        ShapeError
            If X has another number of columns.
        DeviceError
            If X is a Numba device array, which cannot be indexed so: give it to ``cupy.asarray`` first.
        """
        kind = common_kind(X=X)
        if kind == "numba":
            raise DeviceError("Numba device arrays cannot pick columns: use cupy.asarray(X)")
        (X,) = as_arrays(kind, X)
        if X.ndim < 1 or X.shape[-1] != self.n_features:
            raise ShapeError(
                f"X has shape {tuple(X.shape)}; needed is (..., {self.n_features}), the columns weighed"
            )
        return X[..., self.indices.tolist()]


@takes_any_library
def select_features(
    X: Array, y: Array, k: int, *, method: Method = "f", sample_weight: Array | None = None
) -> FeatureSelection:
    """Choose the k columns of X that say most about y in a linear regression.

    Parameters
    ----------
    X : (n, d) array_like
        Observations in rows.
    y : (n,) array_like
        The target.
    k : int
        How many columns to choose, from 1 to d. Fewer are returned where fewer are of use.
    method : {"f", "forward", "correlation"}, default "f"
        ``"f"`` ranks each column alone by its F statistic ``r² / (1 - r²) * (W - 2)``, with the sum W of
        the weights, ``"correlation"`` by ``|r|``, its correlation with y: the same order. ``"forward"``
        adds one column at a time, each time that which lowers the squared error of the regression most.
    sample_weight : (n,) array_like, optional
        Weight of each row, not negative; 1 unless given. Integer weights are the same as repeated rows, and
        a row of weight 0 as none.

    Returns
    -------
    FeatureSelection
        With ``indices``, ``scores``, ``pruned`` and ``transform``.

    Raises
    ------
    ShapeError
        If X, y or sample_weight has another shape.
    DTypeError
        If one holds no real numbers.
    ArgumentError
        If k is out of its range, there is no such method, a weight is negative, or y is constant.
    NotFiniteError
        If X or y holds NaN or infinity, or squares of a column that varies overflow or underflow.
    DeviceError
        If the arrays live on different devices.

    Notes
    -----
    Constant columns and duplicates of earlier columns, which includes shifted and scaled copies, are left
    out. X is read once, for the co-moments of its columns with each other and with y, a d x d matrix in
    float64; the choice is made from these on the host. Columns of zeros, and others whose squares underflow,
    are looked at once more: on a GPU they are copied to the host for it.

    The first source article names the choice of features among the uses of outer products.

    References
    ----------
    .. [1] A. Miller, "Subset Selection in Regression", 2nd ed. (2002), section 3.2, forward selection.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X = np.array([[0., 1., 7., 2.], [1., 0., 7., 0.], [2., 0., 7., 0.], [3., 1., 7., 2.]])
    >>> chosen = vp.select_features(X, [0., 1., 2., 3.1], 1)
    >>> chosen.indices, chosen.pruned
    (array([0]), {2: 'constant', 3: 'duplicate of 1'})
    """
    if not isinstance(method, str) or method not in _RANKINGS:
        raise ArgumentError(f"method is {method!r}; there are {', '.join(map(repr, _RANKINGS))}")
    k = _checks.count("k", k, minimum=1)
    _checks.observations(X, y, sample_weight)
    moments = _joint_moments(X, y, sample_weight)
    d = len(moments.variances) - 1
    if k > d:
        raise ArgumentError(f"k is {k}, but X has only {d} columns")
    pruned = _prune(moments)
    columns = np.array([j for j in range(d) if j not in pruned], int)
    indices, scores = _RANKINGS[method](moments.correlation(), columns, k, moments.total)
    return FeatureSelection(indices, scores, pruned, d)


@dataclass(frozen=True)
class _Moments:
    """Of the columns of [X y], in float64: weight, means, and the matrix of centred sums."""

    total: float
    means: Host
    matrix: Host

    @property
    def variances(self) -> Host:
        return np.diag(self.matrix) / self.total

    @property
    def rounding(self) -> Host:
        """What each column may vary by though it is constant: some roundings of its mean."""
        rounding: Host = 16 * np.finfo(np.float64).eps * np.abs(self.means)
        return rounding

    def is_constant(self) -> Host:
        """Whether what a column varies by is rounding of its mean."""
        constant: Host = np.sqrt(self.variances) <= self.rounding
        return constant

    def correlation(self) -> Host:
        """Correlations; 0 where a column is constant."""
        with np.errstate(divide="ignore"):
            scale = np.where(self.is_constant(), 0.0, 1 / np.sqrt(np.diag(self.matrix)))
        correlation: Host = self.matrix * scale * scale[:, np.newaxis]
        return correlation


def _joint_moments(X: Array, y: Array, sample_weight: Array | None) -> _Moments:
    """The moments of [X y], in one read."""
    X, y = as_arrays(common_kind(X=X, y=y, sample_weight=sample_weight), X, y)
    if X.ndim != 2 or 0 in X.shape:
        raise ShapeError(f"X has shape {tuple(X.shape)}; needed is (n, d), a row for each observation")
    _checks.shape_is("y", y.shape, (X.shape[0],), "one target for each row of X")
    rows = Rows.read(X, y, sample_weight)
    if rows.weights is not None:
        _checks.weights("sample_weight", on_host(rows.weights))
    sums = CoMoments.from_rows(rows).summary
    moments = _Moments(float(sums.total[0]), sums.means[0], sums.matrix[0])
    _refuse_underflow(rows, moments)
    if moments.is_constant()[-1]:
        raise ArgumentError("y is constant: no column of X can explain it")
    return moments


def _refuse_underflow(rows: Rows, moments: _Moments) -> None:
    """Raise where a column seems constant, or has few digits left, because its squares are too small."""
    # Sums of squares are what underflowed: with small weights they are smaller than their mean.
    share = min(moments.total, 1.0)
    least = LEAST_SQUARE / share
    doubtful = (moments.variances < least) & (moments.rounding < least**0.5)
    for column in np.flatnonzero(doubtful).tolist():
        is_y = column == rows.layout.d
        values = on_host(rows.y if is_y else rows.X[:, column])
        if rows.weights is not None:
            values = values[on_host(rows.weights) > 0]
        if float(values.max()) - float(values.min()) > moments.rounding[column]:
            name = "y" if is_y else f"column {column} of X"
            squares = "squares" if share == 1 else "weighted squares"
            error = NotFiniteError(f"{squares} of {name} underflow float64; scale it up")
            error.argument, error.column = ("y", None) if is_y else ("X", column)
            raise error


def _prune(moments: _Moments) -> dict[int, str]:
    """Columns of X that cannot tell more than others, and why."""
    same = np.square(moments.correlation()) >= 1 - DUPLICATE
    constant = moments.is_constant()
    pruned: dict[int, str] = {}
    kept: list[int] = []
    for column in range(len(constant) - 1):
        earlier = same[column, kept]
        if constant[column]:
            pruned[column] = "constant"
        elif earlier.any():
            pruned[column] = f"duplicate of {kept[int(np.argmax(earlier))]}"
        else:
            kept.append(column)
    return pruned


def _by_correlation(correlation: Host, columns: Host, k: int, total: float) -> tuple[Host, Host]:
    strength = np.minimum(np.abs(correlation[columns, -1]), 1.0)
    best = np.argsort(-strength, kind="stable")[:k]
    return columns[best], strength[best]


def _by_f(correlation: Host, columns: Host, k: int, total: float) -> tuple[Host, Host]:
    indices, strength = _by_correlation(correlation, columns, k, total)
    explained = np.square(strength)
    freedom = total - 2 if total > 2 else np.nan
    with np.errstate(divide="ignore"):
        return indices, explained / (1 - explained) * freedom


def _forward(correlation: Host, columns: Host, k: int, total: float) -> tuple[Host, Host]:
    """Greedy choice; what is chosen is swept out of the others, which leaves their partial co-moments."""
    left = correlation[np.ix_(columns, columns)].copy()
    with_y = correlation[columns, -1].copy()
    usable = np.ones(len(columns), bool)
    chosen: list[int] = []
    scores: list[float] = []
    while len(chosen) < k:
        usable &= np.diag(left) > COLLINEAR
        if not usable.any():
            break
        gain = np.zeros(len(columns))
        np.divide(with_y**2, np.diag(left), out=gain, where=usable)
        best = int(np.argmax(np.where(usable, gain, -1.0)))
        chosen.append(best)
        scores.append(min(1.0, (scores[-1] if scores else 0.0) + gain[best]))
        usable[best] = False
        share = left[best] / left[best, best]
        with_y -= share * with_y[best]
        left -= np.outer(share, left[best])
    return columns[chosen], np.array(scores)


_RANKINGS: dict[str, Callable[[Host, Host, int, float], tuple[Host, Host]]] = {
    "f": _by_f,
    "forward": _forward,
    "correlation": _by_correlation,
}
