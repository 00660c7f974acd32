"""Along which axis a ufunc loops, and along which threads share its work."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._small import LONG
from ._threads import for_each_block, thread_count

Array = np.ndarray[Any, Any]

ALIGNED = 16  # elements of a slice, or more of them
BLOCKS_A_THREAD = 4
MOST = 64  # times the least block: so long a call is interrupted, or waits for the thread that is the last


def block_of(amount: int, least: int) -> int:
    """How much of an amount a thread takes at a time, and no less than `least`.

    Large blocks, since threads that come for the next one at once wait for each other's GIL: 10,000 x 64 x 64
    float32 in blocks of 1 MiB were written by 41 GB/s, in 16 blocks by 48, in 8 by 51.

    Examples
    --------
    >>> block_of(100, 1000), block_of(10**12, 1000)
    (1000, 64000)
    """
    return max(least, min(MOST * least, amount // (BLOCKS_A_THREAD * thread_count())))


def blocks_of(amount: int, least: int) -> int:
    """Into how many such blocks an amount is cut."""
    return amount // block_of(amount, least)


def over_longest_axis(shape: tuple[int, ...], blocks: int, task: Callable[[tuple[slice, ...]], Any]) -> None:
    """``task(part)`` for the longest axis cut into about so many slices.

    They begin at multiples of 16 where there are many: what is aligned to bytes stays so in each.
    """
    longest = max(range(len(shape)), key=shape.__getitem__)
    length = shape[longest]
    before = (slice(None),) * longest
    block = max(1, -(-length // max(1, blocks)))
    if block > ALIGNED:
        block += -block % ALIGNED
    for_each_block(lambda start, stop: task((*before, slice(start, stop))), length, block)


def packed_rows(vectors: Array) -> Array | None:
    """Vectors as ``(n, k)`` rows without gaps, or the ``(1, k)`` that is broadcast to all; None for others.

    Examples
    --------
    >>> packed_rows(np.broadcast_to([1, 2, 3], (5, 4, 3))).shape
    (1, 3)
    """
    if vectors.flags.c_contiguous:
        return vectors.reshape(-1, vectors.shape[-1])
    if any(vectors.strides[:-1]) or vectors.strides[-1] != vectors.itemsize:
        return None
    one: Array = vectors[(0,) * (vectors.ndim - 1)]
    return one[np.newaxis]


def all_packed(*arrays: Array) -> tuple[Array, ...] | None:
    """`packed_rows` of each; None unless all are."""
    rows = tuple(x for x in map(packed_rows, arrays) if x is not None)
    return rows if len(rows) == len(arrays) else None


def in_lines(vectors: tuple[Array, ...], out: Array) -> tuple[Array, ...]:
    """Views ``(..., m, n)`` of the vectors and ``(..., m)`` of out, with an axis for m along which to loop.

    That is the last one, which is the most likely to be dense, unless it is short.
    """
    shape = (*out.shape, vectors[0].shape[-1])
    arrays = [v if v.shape == shape else np.broadcast_to(v, shape) for v in vectors]
    if out.ndim == 1:
        return (*arrays, out)
    if out.ndim == 0:
        return (*(array[np.newaxis] for array in arrays), out[np.newaxis])
    if all(array.flags.c_contiguous for array in (*arrays, out)):
        return (*(array.reshape(out.size, shape[-1]) for array in arrays), out.reshape(-1))
    if out.shape[-1] >= LONG:
        return (*arrays, out)
    longest = max(range(out.ndim), key=out.shape.__getitem__)
    return (*(array.swapaxes(longest, -2) for array in arrays), out.swapaxes(longest, -1))
