"""Ufuncs of a middle size, shared with threads that wait awake: to wake one takes too long for these.

Threads run the loop of the ufunc itself, by its address, each on its own slices: the bits are its bits.
"""

from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..._host_arrays import address
from ..._small import shared_cross_rows
from ..compiling import compiled
from ..float_status import clear_flags, raised_flags, report
from ..memory import empty
from ..packing import on_stack
from ..threads.pools import anyone_waits, may_wait_awake, thread_count
from ..threads.slices import ALIGNED, all_packed
from ..threads.teams import helpers_for, job_of, seats, share
from ..threads.teams import load as load_team
from .ufuncs import Ufunc, cross_rows_ufunc, loop_of

Array = np.ndarray[Any, Any]

LARGEST_CROSS_BYTES = 1 << 22  # of a result; for a larger one threads that sleep can wake
BLOCKS_A_THREAD = 8
MOST_LAYOUTS = 256  # that are remembered
MOST_NUMBERS = 8  # operands of a ufunc, or axes that its signature tells, and one more

_I64 = ir.IntType(64)
_LOOP = ir.FunctionType(ir.VoidType(), [_I64] * 4)  # three addresses, and one of what no loop here looks at


def share_loop(ufunc: Ufunc, *arrays: Array) -> bool:
    """``ufunc(*arrays)``, which fills the last one, with threads that wait; False where that is not to be.

    Parameters
    ----------
    ufunc : ufunc
        Of `ufuncs.build`, whose loop allocates nothing.
    *arrays : arrays
        Of its dtype, and with the axes that its layout tells; none is shared unless all are aligned. Slices
        along the first axis of each belong together.
    """
    threads = thread_count()
    if threads == 1 or not (may_wait_awake(threads) and all(array.flags.aligned for array in arrays)):
        return False
    helpers = helpers_for(threads)
    if not anyone_waits():
        return False
    layout = tuple([each for array in arrays for each in (array.shape, array.strides)])
    count, block, numbers = _cut(ufunc, threads, layout)
    places = np.array([address(array) for array in arrays])
    flags = _share(loop_of[ufunc].address, places, *numbers, count, block, helpers, seats.address)
    if flags:
        report(flags, ufunc.__name__)
    return True


def load() -> None:
    """Compile what shares a loop, which calls that follow each other would do."""
    nothing = np.zeros(0, np.int64)
    _share(0, nothing, nothing, nothing, nothing, 0, 1, 0, 0)
    load_team()


@lru_cache(MOST_LAYOUTS)
def _cut(
    ufunc: Ufunc, threads: int, layout: tuple[tuple[int, ...], ...]
) -> tuple[int, int, tuple[Array, Array, Array]]:
    """Slices in all and of a block, bytes between them, and the lengths and strides of a call of the loop."""
    shapes, strides = layout[::2], layout[1::2]
    count = shapes[-1][0]
    block = -(-count // (BLOCKS_A_THREAD * threads))
    lengths = dict(zip(loop_of[ufunc].axes, chain.from_iterable(shapes), strict=True))
    between_calls = [0] * len(shapes)  # of which there is one
    moves = [first for first, *_ in strides]
    numbers = moves, [1, *lengths.values()], [*between_calls, *chain.from_iterable(strides)]
    first, second, third = map(np.array, numbers)
    return count, block + -block % ALIGNED, (first, second, third)


def share_cross(a: Array, b: Array, out: Array | None = None) -> Array | None:
    """``a × b`` of arrays of one shape ``(..., 3)`` and dtype, in out or a new array.

    Returns
    -------
    (..., 3) array or None
        None, and nothing is written, where another way is sooner done or the arrays are not of this kind:
        aligned, in C order or one vector that is broadcast, and out apart from a and b.
    """
    if a.nbytes > LARGEST_CROSS_BYTES or (packed := all_packed(a, b)) is None:
        return None
    if out is None:
        out = empty(a.shape, a.dtype)
    elif not out.flags.c_contiguous or np.may_share_memory(out, a) or np.may_share_memory(out, b):
        return None
    rows = out.reshape(-1, 3)
    factors = (each if len(each) == len(rows) else np.broadcast_to(each, rows.shape) for each in packed)
    return out if share_loop(cross_rows_ufunc(out.dtype), *factors, rows) else None


shared_cross_rows.update((np.dtype(char), share_cross) for char in "bBhHiIlLqQefd")


@compiled()
def _share(
    loop: int,
    places: Any,
    moves: Any,
    lengths: Any,
    strides: Any,
    count: int,
    block: int,
    helpers: int,
    seats: int,
) -> int:
    """A loop over slices, by this thread and so many helpers; the floating-point flags raised.

    ``places`` are where the arrays begin, and ``moves`` the bytes from one of their slices to the next; the
    lengths and strides are those that a call of the loop is given.
    """
    job, arguments = _slices_job((loop, places, moves, lengths, strides))
    return share(seats, helpers, job, arguments, 0, count, block)


_on_stack = on_stack(MOST_NUMBERS)


def _slices_of(arguments: Any, start: int, stop: int) -> int:
    loop, places, moves, lengths, strides = arguments
    begins, sizes = _on_stack(places), _on_stack(places)
    for i in range(places.size):
        begins[i] = places[i] + start * moves[i]
    for i in range(lengths.size):
        sizes[i] = lengths[i]
    sizes[1] = stop - start  # the axis after that of the calls
    clear_flags()
    _call(loop, begins.ctypes.data, sizes.ctypes.data, strides.ctypes.data)
    return raised_flags()


_slices_job = job_of(_slices_of)


@intrinsic  # type: ignore[untyped-decorator]
def _call(typing_context: Any, loop: Any, begins: Any, sizes: Any, strides: Any) -> Any:
    """Call the loop of a ufunc, as NumPy does."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loop, *addresses = arguments
        builder.call(builder.inttoptr(loop, _LOOP.as_pointer()), [*addresses, _I64(0)])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
