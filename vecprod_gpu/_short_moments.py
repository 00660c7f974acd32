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


def gram(X: Array) -> Array | None:
    """``XᵀX`` of each problem."""
    if type(X) is not ndarray or X.ndim < 2 or (cpu := _backend_for(X, X.shape[-1])) is None:
        return None
    *lead, n, p = X.shape
    out = np.empty((size(tuple(lead)), p, p), X.dtype)
    cpu.gram(X.reshape(len(out), n, p), None, None, out)
    return out.reshape(*lead, p, p)


def covariance(table: Array, rowvar: bool, correction: float, correlation: bool) -> Array | None:
    """Covariance or correlation, in float64, of a table of two axes."""
    if type(table) is not ndarray or table.ndim != 2:
        return None
    rows = table.T if rowvar else table
    n, p = rows.shape
    if n <= correction or (cpu := _backend_for(table, p)) is None:
        return None
    out, total, means = np.empty((1, p, p)), np.empty(1), np.empty((1, p))
    scale = 1 / (n - correction)
    cpu.co_moments(
        rows[np.newaxis],
        None,
        None,
        scale=scale,
        correlation=correlation,
        total=total,
        means=means,
        out=out,
    )
    return out.reshape((p, p) if p > 1 else ())


def _backend_for(array: Array, columns: int) -> Any:
    """``cpu``, if it is the one that takes the array, and as it is."""
    is_small = 0 < array.size * columns <= SMALL_PRODUCTS
    if not is_small or array.dtype not in DTYPES or current_mode() is not None:
        return None
    return _dispatch.chosen_cpu()
