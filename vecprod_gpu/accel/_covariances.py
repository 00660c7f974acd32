"""Which calls of numpy.cov and corrcoef are ours: enough real numbers, all finite, without weights."""

from collections.abc import Callable
from functools import partial
from operator import index
from typing import Any

import numpy as np
from numpy import ndarray

import vecprod_gpu as vp

from ._loading import loading
from ._routes import TOO_SMALL, Verdict, require_finite
from ._sizes import least, most

REAL = frozenset("efdbhilqBHILQ")

# Where NumPy's product of all variables with each other is not yet the whole of its time, on two cores.
LEAST_ELEMENTS, MOST_VARIABLES = least(1 << 21), most(64)


def judge_cov(
    m: Any,
    y: Any = None,
    rowvar: Any = None,
    bias: Any = None,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Verdict:
    """Of `numpy.cov`."""
    if fweights is not None or aweights is not None or dtype is not None:
        return "weights or a dtype are given"
    correction = index(ddof) if ddof is not None else 0 if bias else 1
    return _judge(vp.cov, m, y, rowvar, correction, ddof=correction)


def judge_corrcoef(x: Any, y: Any = None, rowvar: Any = None, *, dtype: Any = None) -> Verdict:
    """Of `numpy.corrcoef`."""
    if dtype is not None:
        return "a dtype is given"
    return _judge(vp.corrcoef, x, y, rowvar, 1)


def _judge(ours: Callable[..., Any], m: Any, y: Any, rowvar: Any, correction: int, **options: Any) -> Verdict:
    tables = [m] if y is None else [m, y]
    for table in tables:
        if type(table) is not ndarray:
            return f"{type(table).__name__} is no NumPy array"
        if table.dtype.char not in REAL or not table.dtype.isnative:
            return f"{table.dtype} dtype is not supported"
        if not 1 <= table.ndim <= 2 or 0 in table.shape:
            return "variables are not a table"
    in_rows = rowvar is None or bool(rowvar)
    elements = sum(table.size for table in tables)
    observations = m.shape[-1] if in_rows else m.shape[0]
    if elements < LEAST_ELEMENTS:
        return TOO_SMALL
    if elements > MOST_VARIABLES * observations:
        return f"more than {MOST_VARIABLES} variables"
    if observations <= correction:
        return "no degree of freedom is left"
    return loading.obstacle() or partial(_finite, partial(ours, m, y, in_rows, **options))


def _finite(compute: Callable[[], Any]) -> Any:
    """A result that NumPy has nothing to say about."""
    result = compute()
    return require_finite(result) if np.ndim(result) else result
