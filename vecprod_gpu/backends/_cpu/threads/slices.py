"""Along which axis a ufunc loops, and along which threads share its work."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._small import LONG
from .pools import for_each_part, thread_count

Array = np.ndarray[Any, Any]

ALIGNED = 16  # elements of a slice, or more of them
MOST = 64  # blocks of a slice: so long a call is interrupted


def over_longest_axis(
    shape: tuple[int, ...], blocks: int, task: Callable[[tuple[slice, ...]], Any], most: int = MOST
) -> None:
    """``task(part)`` for slices of the longest axis, cut into about so many blocks; up to `most` a slice.

    They begin at multiples of 16 where there are many: what is aligned to bytes stays so in each.
    """
    if blocks <= 1:
        task(())
        return
    longest = max(range(len(shape)), key=shape.__getitem__)
    length = shape[longest]
    before = (slice(None),) * longest
    block = max(1, -(-length // blocks))
    if block > ALIGNED:
        block += -block % ALIGNED
    parts = tapered(length, block, most, thread_count())
    for_each_part(lambda start, stop: task((*before, slice(start, stop))), iter(parts), len(parts))


def tapered(length: int, block: int, most: int, threads: int) -> list[tuple[int, int]]:
    """Starts and stops of parts that are whole blocks: of many at first, and of one block at the end.

    Threads that come for the next part wait for each other's GIL, and for the thread that is the last.
    This is guided self-scheduling (Polychronopoulos and Kuck, IEEE Transactions on Computers C-36, 1987),
    with half of a thread's share.

    Examples
    --------
    >>> tapered(100, 10, 64, threads=2)
    [(0, 20), (20, 40), (40, 50), (50, 60), (60, 70), (70, 80), (80, 90), (90, 100)]
    >>> tapered(100, 10, 64, threads=1)
    [(0, 100)]
    """
    parts = []
    start = 0
    while start < length:
        left = -(-(length - start) // block)
        share = left if threads == 1 else left // (2 * threads)
        stop = min(length, start + block * max(1, min(most, share)))
        parts.append((start, stop))
        start = stop
    return parts


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
