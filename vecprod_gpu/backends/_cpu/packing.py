"""How arrays are shown to Numba, so that it compiles less often, and loops into vector code.

Problems side by side in the lanes of vectors are packed: element (i, j) of each problem's part of a
``(B, n, p)`` array is row ``i * p + j``, with a lane for each problem.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

from .compiling import inlined
from .vectors import LANES, SIDE, pack_lanes

Array = np.ndarray[Any, Any]


@intrinsic  # type: ignore[untyped-decorator]
def contiguous_view(typing_context: Any, array: Any) -> Any:
    """The same array as a C-contiguous one, which it must be; its type did not tell."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return impl_ret_borrowed(context, builder, signature.return_type, arguments[0])

    return array.copy(layout="C")(array), generate


def on_stack(count: int) -> Any:
    """A function for compiled code: ``make(array)`` is memory for so many of its elements, until it returns.

    No memory is asked of anybody, which could be refused.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def make(typing_context: Any, array: Any) -> Any:
        kind = types.Array(array.dtype, 1, "C")

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            from numba.np.arrayobj import populate_array  # which takes long, and compilers alone need

            element = context.get_data_type(kind.dtype)
            length, size = (
                context.get_constant(types.intp, each) for each in (count, context.get_abi_sizeof(element))
            )
            data = cgutils.alloca_once(builder, element, size=length)
            made = context.make_array(kind)(context, builder)
            populate_array(made, data=data, shape=[length], strides=[size], itemsize=size, meminfo=None)
            return made._getvalue()

        return kind(array), generate

    return make


@inlined(forceinline=True)
def are_packed(rows: Any, length: int) -> bool:
    """Whether the elements of rows so long lie side by side."""
    dense = rows.strides[1] == rows.itemsize
    return dense and (rows.shape[0] == 1 or rows.strides[0] == length * rows.itemsize)  # type: ignore[no-any-return]


@inlined(forceinline=True)
def packed(rows: Any, length: int, spare: Any) -> Any:
    """All elements of rows so long side by side: where they are, or copied to the first part of `spare`."""
    if are_packed(rows, length):
        return contiguous_view(rows).ravel()
    for i in range(rows.shape[0]):
        for j in range(length):
            spare[i * length + j] = rows[i, j]
    return spare[: rows.size]


def frozen(array: Array) -> Array:
    """A read-only view: to Numba that is another type, and one type is one compilation of some seconds."""
    view = array.view()
    view.setflags(write=False)
    return view


def aligned_lanes(counts: Sequence[int], dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Arrays of so many rows of lanes, each on a boundary of its size: none is in two lines of the cache."""
    *starts, total = accumulate(counts, initial=0)
    memory = np.empty((total + 1) * LANES, dtype)
    unused = -memory.ctypes.data % (LANES * dtype.itemsize) // dtype.itemsize
    rows = memory[unused : unused + total * LANES].reshape(total, LANES)
    return tuple(rows[start : start + count] for start, count in zip(starts, counts, strict=True))


@inlined()
def pack_problems(source: Any, first: int, last: int, lanes: Any) -> None:
    """Put problems ``first`` to ``last`` into their lanes; lanes past the last one repeat it."""
    columns = source.shape[2]
    begin = 0
    if are_packed(source[first], columns):
        begin = lanes.shape[0] - lanes.shape[0] % SIDE
        for element in range(0, begin, SIDE):
            pack_lanes(source, first, last, element, lanes)
    row, column = begin // max(columns, 1), begin % max(columns, 1)
    for element in range(begin, lanes.shape[0]):
        for lane in range(LANES):
            lanes[element, lane] = source[min(first + lane, last), row, column]
        column += 1
        if column == columns:
            row, column = row + 1, 0
