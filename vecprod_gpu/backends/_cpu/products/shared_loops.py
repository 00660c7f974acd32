"""Ufuncs of a middle size, shared with threads that wait awake: to wake one takes too long for these.

Threads run the loop of the ufunc itself, by its address, each on its own slices: the bits are its bits.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

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
MOST_NUMBERS = 8  # at least the operands of any ufunc, and the axes that its layout names and one more

_I64 = ir.IntType(64)
_LOOP = ir.FunctionType(ir.VoidType(), [_I64] * 4)  # three addresses, and one of what no loop here looks at


def share_loop(ufunc: Ufunc, *arrays: Array) -> bool:
    """``ufunc(*arrays)``, which fills the last one, with threads that wait.

    Parameters
    ----------
    ufunc : ufunc
        Of `ufuncs.build`: its loop allocates nothing, and its layout names one axis first in all operands.
    *arrays : arrays
        Of its dtype, and with the axes that its layout names: nothing is broadcast.

    Returns
    -------
    bool
        False, and nothing is written, where no thread is awake for it or an array is not aligned.
    """
    if not all(array.flags.aligned for array in arrays) or not (helpers := _helpers_awake()):
        return False
    _fill(ufunc, arrays, helpers)
    return True


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
    if not (a.flags.aligned and b.flags.aligned) or (out is not None and not _can_fill(out, a, b)):
        return None
    if not (helpers := _helpers_awake()):
        return None
    if out is None:
        out = empty(a.shape, a.dtype)
    rows = out.reshape(-1, 3)
    factors = [each if len(each) == len(rows) else np.broadcast_to(each, rows.shape) for each in packed]
    _fill(cross_rows_ufunc(out.dtype), (*factors, rows), helpers)
    return out


def _can_fill(out: Array, a: Array, b: Array) -> bool:
    """Whether threads may write their parts of out in any order."""
    is_apart = not (np.may_share_memory(out, a) or np.may_share_memory(out, b))
    return out.flags.c_contiguous and out.flags.aligned and is_apart


def load() -> None:
    """Compile what shares a loop, which calls that follow each other would do."""
    nothing = np.zeros(0, np.int64)
    _share(0, nothing, nothing, nothing, nothing, 0, 1, 0, 0)
    load_team()


def _helpers_awake() -> int:
    """How many threads are to help with this call; 0 where none is awake for it."""
    threads = thread_count()
    if threads == 1 or not may_wait_awake(threads):
        return 0
    helpers = helpers_for(threads)
    return helpers if anyone_waits() else 0


def _fill(ufunc: Ufunc, arrays: Sequence[Array], helpers: int) -> None:
    """``ufunc(*arrays)`` by this thread and so many others, with its warnings."""
    loop = loop_of[ufunc]
    layout = tuple([each for array in arrays for each in (array.shape, array.strides)])
    places = np.array([address(array) for array in arrays])
    cut = _cut(loop.axes, helpers + 1, layout)
    flags = _share(loop.address, places, *cut, helpers, seats.address)
    if flags:
        report(flags, ufunc.__name__)


class _Cut(NamedTuple):
    """How a loop is called for slices.

    Attributes
    ----------
    moves : array
        Bytes from one slice of an operand to the next.
    lengths : array
        Of the axis of calls, of which there is one, and of those that the layout names.
    strides : array
        Bytes from one call to the next, by operand, and then along each of its axes.
    slices, block : int
        How many there are, and how many a thread takes at a time.
    """

    moves: Array
    lengths: Array
    strides: Array
    slices: int
    block: int


@lru_cache(MOST_LAYOUTS)
def _cut(axes: tuple[str, ...], threads: int, layout: tuple[tuple[int, ...], ...]) -> _Cut:
    """For so many threads; the layout is the shape and the strides of each operand."""
    shapes, strides = layout[::2], layout[1::2]
    slices = shapes[-1][0]
    block = -(-slices // (BLOCKS_A_THREAD * threads))
    lengths = dict(zip(axes, chain.from_iterable(shapes), strict=True))
    return _Cut(
        np.array([first for first, *_ in strides]),
        np.array([1, *lengths.values()]),
        np.array([*([0] * len(shapes)), *chain.from_iterable(strides)]),
        slices,
        block + -block % ALIGNED,
    )


shared_cross_rows.update((np.dtype(char), share_cross) for char in "bBhHiIlLqQefd")


@compiled()
def _share(
    loop: int,
    places: Any,
    moves: Any,
    lengths: Any,
    strides: Any,
    slices: int,
    block: int,
    helpers: int,
    table: int,
) -> int:
    """A loop over slices, by this thread and so many helpers; the floating-point flags raised.

    ``places`` are where the arrays begin, and the table of seats where helpers wait; see `_Cut` for the rest.
    """
    job, arguments = _slices_job((loop, places, moves, lengths, strides))
    return share(table, helpers, job, arguments, slices, block)


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
