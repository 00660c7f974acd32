"""Scores of features from their co-moments with the target."""

from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse import issparse
from sklearn import feature_selection
from sklearn.utils import check_X_y
from sklearn.utils._param_validation import validate_params

from .._arrays import Array
from ..linreg.moments import CoMoments
from ._arrays import Place
from ._co_moments import read_co_moments

Host = np.ndarray[Any, Any]

BLOCK_FEATURES = 32
"""Read at a time with the target: few enough that their co-moments with each other cost nothing beside
the read, and enough to fill cache lines of X."""

ROUNDING = float(np.finfo(np.float64).eps)

_PARAMETERS = {
    "X": ["array-like", "sparse matrix"],
    "y": ["array-like"],
    "center": ["boolean"],
    "force_finite": ["boolean"],
}


@validate_params(_PARAMETERS, prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
def r_regression(X: Any, y: Any, *, center: bool = True, force_finite: bool = True) -> Array:
    """Pearson's correlation of each feature with the target, in one read of X.

    ``r_j = sum_i (x_ij - mean_j) (y_i - mean) / sqrt(sum_i (x_ij - mean_j)² sum_i (y_i - mean)²)``, from
    co-moments; without `center` the means are taken to be 0.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Observations in rows.
    y : array-like of shape (n_samples,)
        The target.
    center : bool, default=True
        Whether the means are subtracted.
    force_finite : bool, default=True
        Whether features have a correlation of 0 instead of NaN where they, or the target, are constant.

    Returns
    -------
    correlation_coefficient : array of shape (n_features,)
        In float64; of the kind of X under ``array_api_dispatch``.

    Raises
    ------
    ValueError
        If X or y holds NaN or infinity, or they differ in the number of rows.

    See Also
    --------
    sklearn.feature_selection.r_regression : What this stands in for; sparse X is left to it.

    Notes
    -----
    Variation that is not more than the rounding of a mean counts as none, and a correlation that is
    nearer to ±1 than the rounding of the sums as ±1.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn.feature_selection import r_regression
    >>> X = np.array([[0.0, 2.0, 7.0], [1.0, 1.0, 7.0], [2.0, 3.0, 7.0], [3.0, 0.0, 7.0]])
    >>> r_regression(X, X[:, 0]).round(6)
    array([ 1. , -0.4,  0. ])
    """
    if issparse(X):
        return feature_selection.r_regression(X, y, center=center, force_finite=force_finite)
    place, _, r = _correlations(X, y, center)
    return place.send(np.nan_to_num(r, nan=0.0) if force_finite else r, np.float64)


@validate_params(_PARAMETERS, prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
def f_regression(X: Any, y: Any, *, center: bool = True, force_finite: bool = True) -> tuple[Array, Array]:
    """F statistic, and p-value, of the regression of the target on each feature alone, in one read of X.

    ``F = r² / (1 - r²) * (n - 2)``, with the r of `r_regression`; n - 1 degrees without `center`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Observations in rows.
    y : array-like of shape (n_samples,)
        The target.
    center : bool, default=True
        Whether the means are subtracted.
    force_finite : bool, default=True
        Whether F is 0, and p is 1, instead of NaN where a feature or the target is constant, and F the
        largest float instead of infinite where they are perfectly correlated.

    Returns
    -------
    f_statistic : array of shape (n_features,)
        In float64; of the kind of X under ``array_api_dispatch``.
    p_values : array of shape (n_features,)
        The chance of a larger F where feature and target have nothing to do with each other.

    Raises
    ------
    ValueError
        If X or y holds NaN or infinity, or they differ in the number of rows.

    See Also
    --------
    sklearn.feature_selection.f_regression : What this stands in for; sparse X is left to it.
    vecprod_gpu.select_features : A choice that also leaves out duplicates.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.feature_selection import SelectKBest
    >>> from vecprod_gpu.sklearn.feature_selection import f_regression
    >>> X = np.array([[0.0, 2.0, 7.0], [1.0, 1.0, 7.0], [2.0, 3.0, 7.0], [3.0, 0.0, 7.0]])
    >>> y = np.array([0.0, 1.0, 2.0, 3.5])
    >>> F, p = f_regression(X, y)
    >>> F.round(3), p.round(3)
    (array([176.333,   0.585,   0.   ]), array([0.006, 0.524, 1.   ]))
    >>> SelectKBest(f_regression, k=1).fit(X, y).get_support()
    array([ True, False, False])
    """
    if issparse(X):
        F, p = feature_selection.f_regression(X, np.asarray(y), center=center, force_finite=force_finite)
        return F, p
    place, n, r = _correlations(X, y, center)
    explained = np.square(r)
    freedom = n - (2 if center else 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        F = explained / (1 - explained) * freedom
        p = stats.f.sf(F, 1, freedom)
    if force_finite:
        p[np.isnan(F)] = 1.0
        F = np.nan_to_num(F, nan=0.0)
    return place.send(F, np.float64), place.send(p, np.float64)


def _correlations(X: Any, y: Any, center: bool) -> tuple[Place, int, Host]:
    """Where X lives, its rows, and the correlation of each feature with y, NaN where one is constant."""
    X, y = check_X_y(X, Place.of(X).follow(y), dtype="numeric", ensure_all_finite=False, y_numeric=True)
    n, d = X.shape
    blocks = (X[:, first : min(first + BLOCK_FEATURES, d)] for first in range(0, d, BLOCK_FEATURES))
    return Place.of(X), n, np.concatenate([_with_target(read_co_moments(X, y), center) for X in blocks])


def _with_target(moments: CoMoments, center: bool) -> Host:
    """Correlations of the columns of X with y."""
    n, sums = moments.n_samples, moments.summary
    means, squares, products = sums.means[0], np.diag(sums.matrix[0]), sums.matrix[0, :-1, -1]
    if center:
        squares = np.where(squares <= n * (16 * ROUNDING * means) ** 2, 0.0, squares)
    else:
        squares = squares + n * means**2
        products = products + n * means[:-1] * means[-1]
    scale = np.sqrt(squares[:-1]) * np.sqrt(squares[-1])
    r: Host = np.divide(products, scale, out=np.full(len(products), np.nan), where=scale > 0)
    return np.where(np.abs(r) >= 1 - 4 * ROUNDING, np.sign(r), r)
