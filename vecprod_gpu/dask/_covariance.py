"""Covariance and correlation of the columns, or rows, of arrays of Dask."""

import warnings
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, WeightSumError
from ..linreg.moments import CoMoments, MomentSums
from ._chunks import Blocks, beside
from ._graph import as_array
from ._summaries import known_of
from ._tasks import Groups

Host = np.ndarray[Any, Any]


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> da.Array:
    """Covariance matrix, as `numpy.cov`: ``sum_i w_i (x_i - mean) ⊗ (x_i - mean) / normalizer``, read once.

    Parameters
    ----------
    m : (p, n) or (n,) dask.array.Array, or dask.dataframe.DataFrame
        n observations of p variables, one variable in each row; of a data frame in each column.
    y : (q, n) or (n,) array_like, optional
        More variables, observed at the same times.
    rowvar : bool, default True
        Whether variables are rows; if not, they are columns. Of a data frame they are columns.
    bias : bool, default False
        Whether to normalise by n instead of n - 1.
    ddof : int, optional
        Overrides `bias`: normalise by n - ddof.
    fweights : (n,) array_like of int, optional
        How often each observation is repeated.
    aweights : (n,) array_like, optional
        How important each observation is.
    dtype : dtype, optional
        Of the result; at least float64 unless given. The sums are made in float64.

    Returns
    -------
    (p + q, p + q) dask.array.Array
        On the host, in one chunk; 0-d for a single variable.

    Raises
    ------
    ShapeError, ArgumentError
        As for `vecprod_gpu.cov`.
    DTypeError
        If the data are not real, or fweights not integers.
    NotFiniteError, WeightSumError
        When computed, if the data hold NaN or infinity, or the weights add up to nothing.

    Warns
    -----
    RuntimeWarning
        When computed, if no degree of freedom is left.

    Notes
    -----
    Bits, network and threads are those of `co_moments`, whose ``cov`` this is.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> m = da.from_array(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]), chunks=(2, 2))
    >>> vecprod_gpu.dask.cov(m).compute()
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    if ddof is not None and ddof != int(ddof):
        raise ArgumentError(f"ddof must be integer; it is {ddof!r}")
    correction = float(not bias) if ddof is None else float(ddof)
    return _of_variables(m, y, rowvar, fweights, aweights, dtype, partial(covariance, correction))


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> da.Array:
    """Pearson correlation coefficients, as `numpy.corrcoef`: ``C[i, j] / sqrt(C[i, i] C[j, j])``, read once.

    Parameters
    ----------
    x : (p, n) or (n,) dask.array.Array, or dask.dataframe.DataFrame
        n observations of p variables, one variable in each row; of a data frame in each column.
    y : (q, n) or (n,) array_like, optional
        More variables, observed at the same times.
    rowvar : bool, default True
        Whether variables are rows; if not, they are columns. Of a data frame they are columns.
    dtype : dtype, optional
        As for `cov`.

    Returns
    -------
    (p + q, p + q) dask.array.Array
        Clipped to [-1, 1]; 0-d for a single variable. NaN for constant variables.

    Raises
    ------
    ShapeError, DTypeError, NotFiniteError
        As for `cov`.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> x = da.from_array(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]), chunks=(2, 2))
    >>> vecprod_gpu.dask.corrcoef(x).compute()
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    return _of_variables(x, y, rowvar, None, None, dtype, correlation)


def covariance(correction: float, sums: MomentSums, weighted: Any = None) -> Host:
    """Covariances of all columns; `weighted` is the sum of the weights times the importances."""
    total = float(sums.total[0])
    if not total:
        raise WeightSumError("the weights sum to zero: no observation would count")
    normalizer = total - (correction if weighted is None else correction * float(weighted) / total)
    if normalizer <= 0:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=2)
    matrix: Host = sums.matrix[0] / np.maximum(normalizer, 0.0)
    return matrix


def correlation(sums: MomentSums) -> Host:
    """Correlations of all columns."""
    matrix = sums.matrix[0]
    deviations = np.sqrt(matrix.diagonal())
    coefficients: Host = np.clip(matrix / (deviations[:, np.newaxis] * deviations), -1, 1)
    return coefficients


def _of_variables(
    m: Any, y: Any, rowvar: bool, fweights: Any, aweights: Any, dtype: Any, function: Any
) -> da.Array:
    if hasattr(m, "to_dask_array"):
        m, rowvar = m.optimize().to_dask_array(), False
    if not isinstance(m, da.Array):
        raise DTypeError(f"m must be an array or a data frame of Dask, not {type(m).__name__}")
    X = _observations("m", m, rowvar)
    Y = None if y is None else _observations("y", da.asarray(y), rowvar)
    weights, others = _weights(X, fweights, aweights)
    blocks = Blocks.of(X, Y, weights)
    wanted = np.result_type(*(array.dtype for array in blocks.arrays[: 1 if Y is None else 2]), np.float64)
    if dtype is not None and (wanted := np.dtype(dtype)).kind != "f":
        raise DTypeError(f"dtype is {wanted}, which cannot hold covariances")
    d = blocks.layout.columns
    shape = () if d == 1 else (d, d)
    call = partial(_finished, function, wanted, shape)
    meta = np.empty((0,) * len(shape), wanted)
    name = getattr(function, "func", function).__name__
    return as_array(name, known_of(CoMoments, blocks), call, *others, shape=shape, meta=meta)


def _finished(function: Any, dtype: Any, shape: tuple[int, ...], known: Groups, *others: Any) -> Host:
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN is the answer, and what is wrong is told
        result = function(CoMoments.from_part(known.parts[0]).summary, *others)
    array: Host = np.asarray(result, dtype).reshape(shape)
    return array


def _observations(name: str, m: da.Array, rowvar: bool) -> da.Array:
    """Observations in rows, as `numpy.cov` reads m and y."""
    if m.ndim > 2:
        raise ShapeError(f"{name} has more than 2 dimensions: its shape is {m.shape}")
    if m.ndim < 2:
        return m.reshape(-1)[:, np.newaxis] if m.ndim == 0 else m[:, np.newaxis]
    return m.T if rowvar or (name == "y" and m.shape[0] == 1) else m


def _weights(X: da.Array, fweights: Any, aweights: Any) -> tuple[da.Array | None, list[da.Array]]:
    """The weight of each observation, and what the degrees of freedom need to know of it."""
    given = [
        beside(name, array, X, most_axes=1)
        for name, array in (("fweights", fweights), ("aweights", aweights))
        if array is not None
    ]
    if fweights is not None and given[0].dtype.kind not in "biu":
        raise DTypeError("fweights must be integer: they count repeated observations")
    if not given:
        return None, []
    given = [array.astype(np.float64) for array in given]
    weights = given[0] if len(given) == 1 else given[0] * given[1]
    return weights, [] if aweights is None else [(weights * given[-1]).sum()]
