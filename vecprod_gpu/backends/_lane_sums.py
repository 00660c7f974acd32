"""Sums of outer products of small problems on the host: see `_moment_lanes`, which computes them.

The memory that they are packed into is kept for the next call of their shape: to lay it out takes longer than
the sums of 50 rows of 4.
"""

from functools import lru_cache, reduce
from operator import or_
from typing import Any

import numpy as np

from . import _float_status
from ._moment_lanes import lane_memory, scale_sums, sum_lanes
from ._moment_sums import for_dtypes
from ._sums import STRIPES
from ._threads import for_each_block_of
from ._vectors import LANES

Array = np.ndarray[Any, Any]

PACKING_WORK = 8  # multiplications that packing an element of X takes as long as
LEAST_ELEMENTS = 1 << 17  # of problems side by side; with fewer a thread is sooner done than begun
MOST_SHAPES = 32  # whose memory is kept, a few first-level caches for each

# By a shape of problems: one for each thread that has worked on such.
_kept: Any = lru_cache(MOST_SHAPES)(lambda n, columns, dtype, is_weighted: [])


def work_of(X: Array, out: Array) -> int:
    """Multiplications that the sums of the rows of X take, or as long as so many."""
    rows: int = X.shape[1]
    return rows * out.size + PACKING_WORK * X.size


def sum_in_lanes(
    name: str,
    X: Array,
    Y: Array,
    weights: Array,
    is_centred: bool,
    scale: float,
    total: Array,
    means: Array,
    out: Array,
) -> None:
    """Fill total, means and out; report what happened on the way as ufuncs would, of that name and a product.

    The arguments are those of `_moments`; the problems fit.
    """
    problems, n, _ = X.shape
    columns, is_weighted = out.shape[2], weights.size > 0
    kernel = for_dtypes(sum_lanes, X.dtype, out.dtype)
    kept = _kept(n, columns, out.dtype, is_weighted)
    no_number_changes = scale == 1 and not is_weighted
    flags, flags_of_scaling = [], []

    def task(start: int, stop: int) -> None:
        try:
            lanes = kept.pop()
        except IndexError:
            lanes = lane_memory(n, columns, out.dtype, is_weighted)
        flags.append(kernel(X, Y, weights, is_centred, start, stop, lanes, total, means, out))
        kept.append(lanes)
        if not no_number_changes:  # else this would be a pass over the sums for nothing
            part = slice(start * LANES, stop * LANES)
            flags_of_scaling.append(scale_sums(scale, total[part], means[part], out[part]))

    groups = -(-problems // LANES)
    least = LEAST_ELEMENTS // (n * columns * LANES)
    for_each_block_of(work_of(X, out), task, groups, max(1, groups // STRIPES, least))
    _float_status.report(reduce(or_, flags, 0), name)
    _float_status.report(reduce(or_, flags_of_scaling, 0), "multiply")
