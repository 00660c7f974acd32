"""Covariance and correlation: centred sums of outer products, in one read of the data."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from . import _checks, _dispatch, _short_moments
from ._arrays import Array, Kind, as_arrays, common_kind, moved, native_order, stored_dtype, summing_dtype
from ._callers import frames_to_caller
from ._costs import Work
from ._layout import size
from ._libraries import takes_any_library
from .errors import ArgumentError, DTypeError, ShapeError, WeightShapeError, WeightSumError

Host = np.ndarray[Any, Any]


@takes_any_library
def cov(
    m: Array,
    y: Array | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Array | None = None,
    aweights: Array | None = None,
    *,
    dtype: Any = None,
) -> Array:
    """Covariance matrix, as `numpy.cov`: ``sum_i w_i (x_i - mean) ⊗ conj(x_i - mean) / normalizer``.

    Parameters
    ----------
    m : (p, n) or (n,) array_like
        n observations of p variables, one variable in each row.
    y : (q, n) or (n,) array_like, optional
        More variables, observed at the same times.
    rowvar : bool, default True
        Whether variables are rows; if not, they are columns.
    bias : bool, default False
        Whether to normalise by n instead of n - 1.
    ddof : int, optional
        Overrides `bias`: normalise by n - ddof.
    fweights : (n,) array_like of int, optional
        How often each observation is repeated.
    aweights : (n,) array_like, optional
        How important each observation is.
    dtype : dtype, optional
        Of the result and, within blocks of rows, of the sums; at least float64 unless given. With
        float32, float32 data are read as they are and summed in float32.

    Returns
    -------
    (p + q, p + q) array
        Of the kind of m; 0-d for a single variable.

    Raises
    ------
    ShapeError
        If m or y has more than two axes, or they differ in the number of observations.
    WeightShapeError
        If weights are not one for each observation; it is also a RuntimeError.
    DTypeError
        If fweights are not integers, or the data are no numbers.
    ArgumentError
        If weights are negative, or ddof is no integer.
    DeviceError
        If the arrays live on different devices.

    Warns
    -----
    RuntimeWarning
        If no degree of freedom is left; the result is then NaN or infinite.

    Notes
    -----
    The data are read once: blocks of rows are centred on their own means and merged in float64. On a
    GPU, weights are checked on the host.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> vp.cov(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    if ddof is not None and ddof != int(ddof):
        raise ArgumentError(f"ddof must be integer; it is {ddof!r}")
    correction = float(not bias) if ddof is None else float(ddof)
    return _cov_as_numpy({"m": m, "y": y}, rowvar, correction, fweights, aweights, dtype, correlation=False)


@takes_any_library
def corrcoef(x: Array, y: Array | None = None, rowvar: bool = True, *, dtype: Any = None) -> Array:
    """Pearson correlation coefficients, as `numpy.corrcoef`: ``C[i, j] / sqrt(C[i, i] C[j, j])``.

    Parameters
    ----------
    x : (p, n) or (n,) array_like
        n observations of p variables, one variable in each row.
    y : (q, n) or (n,) array_like, optional
        More variables, observed at the same times.
    rowvar : bool, default True
        Whether variables are rows; if not, they are columns.
    dtype : dtype, optional
        As for `cov`.

    Returns
    -------
    (p + q, p + q) array
        Of the kind of x, clipped to [-1, 1]; a scalar for a single variable. NaN for constant variables.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        As for `cov`.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> vp.corrcoef(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    result = _cov_as_numpy({"x": x, "y": y}, rowvar, 1.0, None, None, dtype, correlation=True)
    return result[()] if isinstance(result, np.ndarray) else result


@takes_any_library
def batched_cov(
    m: Array,
    /,
    *,
    axis: int = -1,
    correction: float = 1,
    fweights: Array | None = None,
    aweights: Array | None = None,
    dtype: Any = None,
) -> Array:
    """Covariance matrices of a batch, with the names of the Array API: see `cov` for the formula.

    Parameters
    ----------
    m : (..., p, n) or (n,) array_like
        Batches of n observations of p variables.
    axis : int, default -1
        Axis of the observations: -1 if variables are rows, -2 if they are columns.
    correction : float, default 1
        What is taken from the number (or weight) of the observations to normalise by.
    fweights : (n,) array_like of int, optional
        How often each observation is repeated.
    aweights : (n,) array_like, optional
        How important each observation is.
    dtype : dtype, optional
        As for `cov`.

    Returns
    -------
    (..., p, p) array
        Of the kind of m; 0-d for m of one axis.

    Raises
    ------
    numpy.exceptions.AxisError
        If the axis is out of range.
    WeightShapeError, DTypeError, ArgumentError, DeviceError
        As for `cov`.

    Notes
    -----
    The signature is that of ``array_api_extra.cov``, with a dtype added; a batch of single variables
    keeps its last two axes here.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> m = np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    >>> vp.batched_cov(np.stack([m, 2 * m]))[:, 0, 1]
    array([-1., -4.])
    """
    return _batched(m, axis, _checks.real("correction", correction), fweights, aweights, dtype, False)


@takes_any_library
def batched_corrcoef(m: Array, /, *, axis: int = -1, dtype: Any = None) -> Array:
    """Correlation matrices of a batch: see `corrcoef` for the formula.

    Parameters
    ----------
    m : (..., p, n) or (n,) array_like
        Batches of n observations of p variables.
    axis : int, default -1
        Axis of the observations: -1 if variables are rows, -2 if they are columns.
    dtype : dtype, optional
        As for `cov`.

    Returns
    -------
    (..., p, p) array
        Of the kind of m, clipped to [-1, 1]; 0-d for m of one axis. NaN for constant variables.

    Raises
    ------
    numpy.exceptions.AxisError, DTypeError
        As for `batched_cov`.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> m = np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    >>> vp.batched_corrcoef(np.stack([m, 2 * m]))[:, 0, 1]
    array([-1., -1.])
    """
    return _batched(m, axis, 1.0, None, None, dtype, True)


@dataclass(frozen=True)
class _Observed:
    """Observations of variables, as the caller gave them.

    Attributes
    ----------
    name : str
        Of the argument.
    array : array
        Itself.
    shape : tuple of int
        Its shape, with two axes at least.
    axis : int
        Which of these holds the observations; the last of the others holds the variables.
    """

    name: str
    array: Array
    shape: tuple[int, ...]
    axis: int

    @property
    def n(self) -> int:
        """Number of observations."""
        return self.shape[self.axis]

    @property
    def p(self) -> int:
        """Number of variables."""
        return self._others[-1]

    @property
    def lead(self) -> tuple[int, ...]:
        """The axes of the batch."""
        return self._others[:-1]

    @property
    def _others(self) -> tuple[int, ...]:
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    def native(self, backend: Any, dtype: np.dtype[Any]) -> Array:
        """``(B, n, p)`` in the backend's form."""
        array = backend.reshape(backend.cast(backend.native(self.array), dtype), self.shape)
        return backend.reshape(moved(backend, array, self.axis, -2), (size(self.lead), self.n, self.p))


def _cov_as_numpy(
    tables: dict[str, Array | None],
    rowvar: bool,
    correction: float,
    fweights: Array | None,
    aweights: Array | None,
    dtype: Any,
    *,
    correlation: bool,
) -> Array:
    """Covariance or correlation of one or two sets of variables, each with at most two axes."""
    first, other = tables.values()
    if fweights is None and aweights is None and dtype is None:
        short = _short_moments.covariance(first, other, rowvar, correction, correlation)
        if short is not None:
            return short
    if first is None:
        raise DTypeError(f"{next(iter(tables))} is None; needed are numbers")
    kind = common_kind(**tables)
    observed = [
        _table(name, as_arrays(kind, array)[0], rowvar) for name, array in tables.items() if array is not None
    ]
    first, last = observed[0], observed[-1]
    if first.p and last.n != first.n:
        raise ShapeError(f"{last.name} has {last.n} observations; needed are {first.n}, as in {first.name}")
    if not first.p:
        observed = [first]  # as NumPy, which looks at y no more
    result = _covariance(kind, observed, correction, fweights, aweights, dtype, correlation)
    return result.reshape(()) if result.shape == (1, 1) else result


def _table(name: str, array: Array, rowvar: bool) -> _Observed:
    """How `numpy.cov` reads m (or x) and y: a vector holds one variable, and so does a single row of y."""
    if array.ndim > 2:
        raise ShapeError(f"{name} has more than 2 dimensions: its shape is {tuple(array.shape)}")
    shape = (1,) * (2 - array.ndim) + tuple(array.shape)
    is_row = shape[0] == 1 if name == "y" else array.ndim == 1
    return _Observed(name, array, shape, 1 if rowvar or is_row else 0)


def _batched(
    m: Array,
    axis: int,
    correction: float,
    fweights: Array | None,
    aweights: Array | None,
    dtype: Any,
    correlation: bool,
) -> Array:
    """Covariance or correlation of each problem of a batch."""
    kind = common_kind(m=m)
    (m,) = as_arrays(kind, m)
    _checks.at_least_1d("m", m)
    axis = normalize_axis_index(axis, m.ndim)
    shape = tuple(m.shape) if m.ndim > 1 else (1, *m.shape)
    observed = _Observed("m", m, shape, axis if m.ndim > 1 else 1)
    result = _covariance(kind, [observed], correction, fweights, aweights, dtype, correlation)
    return result.reshape(()) if m.ndim == 1 else result


def _covariance(
    kind: Kind,
    observed: list[_Observed],
    correction: float,
    fweights: Array | None,
    aweights: Array | None,
    dtype: Any,
    correlation: bool,
) -> Array:
    """``(*lead, d, d)``, in one pass over the data of one or two sets of variables."""
    common = np.result_type(*(_checks.number_dtype(one.name, one.array, "biufc") for one in observed))
    dtype = _covariance_dtype(common, dtype)
    sums = summing_dtype(dtype)
    stored = stored_dtype(common, sums)
    lead, n, d = observed[0].lead, observed[0].n, sum(one.p for one in observed)
    problems = size(lead)
    work = Work(bytes=problems * n * d * stored.itemsize, flops=problems * n * d * d)
    choice = _dispatch.choose("co_moments", kind, stored, work)
    backend = choice.module
    shape = (*lead, d, d)
    if d == 0:  # of the weights NumPy asks nothing then
        return backend.export(backend.native(np.empty(shape, dtype)), kind)
    weights, normalizer = _weigh(backend, n, correction, fweights, aweights)
    if 0 in (problems, n):
        return backend.export(backend.native(np.full(shape, np.nan, dtype)), kind)
    columns = [one.native(backend, stored) for one in observed]
    out = backend.empty((problems, d, d), sums)
    backend.co_moments(
        columns[0],
        columns[1] if len(columns) > 1 else None,
        None if weights is None else backend.contiguous(_repeated(backend, weights.astype(sums), problems)),
        scale=float(np.true_divide(1.0, normalizer)),
        correlation=correlation,
        total=backend.empty((problems,), np.dtype(np.float64)),
        means=backend.empty((problems, d), sums),
        out=out,
    )
    return backend.export(backend.reshape(backend.cast(out, dtype), shape), kind)


def _covariance_dtype(common: np.dtype[Any], dtype: Any) -> np.dtype[Any]:
    """Dtype of the result: at least float64, unless another is asked for."""
    if dtype is None:
        return np.result_type(common, np.float64)
    wanted: np.dtype[Any] = np.dtype(dtype)
    if wanted.kind not in "fc" or (common.kind == "c" and wanted.kind == "f"):
        raise DTypeError(f"dtype is {wanted}, which cannot hold covariances of {common} data")
    return native_order(wanted)


def _repeated(backend: Any, weights: Host, problems: int) -> Array:
    """The weights of the observations, once for each problem."""
    return backend.broadcast_to(backend.native(weights[np.newaxis]), (problems, len(weights)))


def _weigh(
    backend: Any, n: int, correction: float, fweights: Array | None, aweights: Array | None
) -> tuple[Host | None, float]:
    """The weight of each observation, on the host, and what the sums are divided by."""
    weights = None
    if fweights is not None:
        weights = _checked_weights("fweights", _on_host(backend, fweights), n)
        if not (weights == np.around(weights)).all():
            raise DTypeError("fweights must be integer: they count repeated observations")
    if aweights is not None:
        importance = _checked_weights("aweights", _on_host(backend, aweights), n)
        weights = importance if weights is None else weights * importance
    if weights is None:
        normalizer = n - correction
    else:
        total = float(weights.sum())
        if total == 0 and n:
            raise WeightSumError("the weights sum to zero: no observation would count")
        lost = correction if aweights is None or n == 0 else correction * float(weights @ importance) / total
        normalizer = total - lost
    if normalizer <= 0:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=frames_to_caller())
        normalizer = 0.0
    return weights, normalizer


def _on_host(backend: Any, weights: Array) -> Host:
    is_on_device = common_kind(weights=weights) != "numpy"
    return np.asarray(backend.export(backend.native(weights), "numpy") if is_on_device else weights)


def _checked_weights(name: str, weights: Host, n: int) -> Host:
    """The weights in float64, if they are one for each observation and none is negative."""
    weights = weights.astype(np.float64)
    if weights.shape != (n,):
        raise WeightShapeError(
            f"{name} has shape {weights.shape}; needed is ({n},), a weight for each observation"
        )
    if (weights < 0).any():
        row = int(np.flatnonzero(weights < 0)[0])
        raise ArgumentError(f"{name} cannot be negative; it is {weights[row]} at observation {row}")
    return weights
