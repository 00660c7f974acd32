"""Gram matrices and covariances of one small plain host array with as little Python as can be.

A covariance of 50 x 4 takes a third of the time of the long way, which is there for all that is None here.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from . import _dispatch
from ._arrays import Array
from ._layout import size
from .backends._small import SMALL_PRODUCTS

DTYPES = frozenset(map(np.dtype, "fd"))

current_mode = _dispatch.mode.get


def gram(X: Array, Y: Array | None, weights: Array | None, out: Array | None) -> Array | None:
    """``XᵀSY`` of each problem, of arrays of one dtype with the same leading axes; ``out`` overlaps none."""
    if type(X) is not ndarray or X.ndim < 2:
        return None
    *lead, n, p = X.shape
    q = p
    if Y is not None:
        if type(Y) is not ndarray or Y.dtype != X.dtype or Y.shape[:-1] != X.shape[:-1]:
            return None
        q = Y.shape[-1]
    if weights is not None and not _is_plain(weights, X.dtype, X.shape[:-1]):
        return None
    shape = *lead, p, q
    if out is not None and not (_is_plain(out, X.dtype, shape) and _overlaps_none(out, X, Y, weights)):
        return None
    if (cpu := _backend_for(X.dtype, X.size * q)) is None:
        return None
    if out is None:
        out = np.empty(shape, X.dtype)
    problems = size(tuple(lead))
    if Y is not None:
        Y = Y.reshape(problems, n, q)
    if weights is not None:
        weights = weights.reshape(problems, n)
    cpu.gram(X.reshape(problems, n, p), Y, weights, out.reshape(problems, p, q))
    return out


def covariance(
    table: Array, other: Array | None, rowvar: bool, correction: float, correlation: bool
) -> Array | None:
    """Covariance or correlation, in float64, of a vector or a table, beside which there may be another."""
    if (X := _in_columns(table, rowvar)) is None:
        return None
    n, p = X.shape
    Y = None
    if other is not None:
        Y = _in_columns(other, rowvar, beside_another=True)
        if Y is None or not p or len(Y) != n or Y.dtype != X.dtype:
            return None
        p += Y.shape[1]
        Y = Y[np.newaxis]
    if n <= correction or (cpu := _backend_for(X.dtype, n * p * p)) is None:
        return None
    out, total, means = np.empty((1, p, p)), np.empty(1), np.empty((1, p))
    cpu.co_moments(
        X[np.newaxis],
        Y,
        None,
        scale=1 / (n - correction),
        correlation=correlation,
        total=total,
        means=means,
        out=out,
    )
    return out.reshape((p, p) if p > 1 else ())


def _in_columns(table: Array, rowvar: bool, beside_another: bool = False) -> Array | None:
    """A plain array with a column for each variable; of a vector, and of one row beside another, with one."""
    if type(table) is not ndarray or not 0 < table.ndim < 3:
        return None
    if table.ndim == 1:
        return table[:, np.newaxis]
    return table.T if rowvar or (beside_another and len(table) == 1) else table


def _is_plain(array: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether it is a writeable plain array without gaps, of that dtype and shape."""
    return type(array) is ndarray and array.dtype == dtype and array.shape == shape and array.flags.carray


def _overlaps_none(out: Array, *inputs: Array | None) -> bool:
    return not any(array is not None and np.may_share_memory(out, array) for array in inputs)


def _backend_for(dtype: np.dtype[Any], products: int) -> Any:
    """``cpu``, if it is the one that takes numbers of that dtype for so many products, and as they are."""
    if not 0 < products <= SMALL_PRODUCTS or dtype not in DTYPES or current_mode() is not None:
        return None
    return _dispatch.chosen_cpu()
