"""Cross products of a middle size, shared with threads that wait awake: to wake one takes too long for these.

Threads run the loop of the ufunc: the bits are its bits.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from ._crosses import write_packed_cross
from ._float_status import clear_flags, raised_flags, report
from ._memory import empty
from ._numba import compiled
from ._packing import frozen
from ._slices import all_packed
from ._small import shared_cross_rows
from ._teams import helpers_for, job_of, seats, share
from ._threads import may_wait_awake, thread_count
from ._ufuncs import cross_rows_from

Array = np.ndarray[Any, Any]

LARGEST_BYTES = 1 << 22  # of a result; for a larger one threads that sleep can wake
BLOCKS_A_THREAD = 4


def share_cross(a: Array, b: Array, out: Array | None = None) -> Array | None:
    """``a × b`` of arrays of one shape ``(..., 3)`` and dtype, in out or a new array.

    Returns
    -------
    (..., 3) array or None
        None, and nothing is written, where another way is sooner done or the arrays are not of this kind:
        aligned, in C order or one vector that is broadcast, and out apart from a and b.
    """
    if a.nbytes > LARGEST_BYTES or not (a.flags.aligned and b.flags.aligned):
        return None
    packed = all_packed(a, b)
    if packed is None:
        return None
    threads = thread_count()
    if threads == 1 or not may_wait_awake(threads):
        return None
    if out is None:
        out = empty(a.shape, a.dtype)
    elif (
        not (out.flags.c_contiguous and out.flags.aligned)
        or np.may_share_memory(out, a)
        or np.may_share_memory(out, b)
    ):
        return None
    helpers = helpers_for(threads)
    rows = out.reshape(-1, 3)
    block = -(-len(rows) // (BLOCKS_A_THREAD * threads))
    flags = _cross(frozen(packed[0]), frozen(packed[1]), rows, block, helpers, seats.address)
    report(flags, "cross")
    return out


shared_cross_rows.update((np.dtype(char), share_cross) for char in "bBhHiIlLqQfd")


@compiled()
def _cross(a: Any, b: Any, out: Any, block: int, helpers: int, seats: int) -> int:
    """Cross products of rows, by this thread and so many helpers; the floating-point flags raised."""
    job, arguments = _cross_job((a, b, out))
    return share(seats, helpers, job, arguments, 0, out.shape[0], block)


def _cross_of(arrays: Any, start: int, stop: int) -> int:
    a, b, out = arrays
    clear_flags()
    a, b, out = _part(a, start, stop), _part(b, start, stop), out[start:stop]
    cross_rows_from(write_packed_cross(out, a, b), a, b, out)
    return raised_flags()


@register_jitable  # type: ignore[untyped-decorator]
def _part(rows: Any, start: int, stop: int) -> Any:
    """The rows of a block; one that stands for all stands for these."""
    return rows if rows.shape[0] == 1 else rows[start:stop]


_cross_job = job_of(_cross_of)
