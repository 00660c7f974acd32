"""Sums of outer products of small problems on the host: see `_moment_lanes`, which computes them.

The memory that they are packed into is kept for the next call of their shape: to lay it out takes longer than
the sums of 50 rows of 4.
"""

from functools import lru_cache
from typing import Any

from ._moment_call import Call, work_of
from ._moment_lanes import lane_memory, scale_sums, sum_lanes
from ._moment_sums import for_dtypes
from ._sums import STRIPES
from ._threads import for_each_block_of
from ._vectors import LANES

LEAST_ELEMENTS = 1 << 17  # of problems side by side; with fewer a thread is sooner done than begun
MOST_SHAPES = 32  # whose memory is kept, a few first-level caches for each

# By a shape of problems: one for each thread that has worked on such.
_kept: Any = lru_cache(MOST_SHAPES)(lambda n, columns, dtype, is_weighted: [])


def sum_in_lanes(call: Call) -> None:
    """Fill the results of a call whose problems fit."""
    X, total, means, out = call.X, call.total, call.means, call.out
    problems, n, _ = X.shape
    columns, is_weighted = out.shape[2], call.weights.size > 0
    kernel = for_dtypes(sum_lanes, X.dtype, out.dtype)
    kept = _kept(n, columns, out.dtype, is_weighted)
    no_number_changes = call.scale == 1 and not is_weighted
    inputs = X, call.Y, call.weights, call.is_centred
    flags: list[int] = []
    flags_of_scaling: list[int] = []

    def task(start: int, stop: int) -> None:
        try:
            lanes = kept.pop()
        except IndexError:
            lanes = lane_memory(n, columns, out.dtype, is_weighted)
        flags.append(kernel(*inputs, start, stop, lanes, total, means, out))
        kept.append(lanes)
        if not no_number_changes:  # else this would be a pass over the sums for nothing
            part = slice(start * LANES, stop * LANES)
            flags_of_scaling.append(scale_sums(call.scale, total[part], means[part], out[part]))

    groups = -(-problems // LANES)
    least = LEAST_ELEMENTS // (n * columns * LANES)
    for_each_block_of(work_of(X, out), task, groups, max(1, groups // STRIPES, least))
    call.report(flags, flags_of_scaling)
