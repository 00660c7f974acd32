"""Memory for large host results, kept when they die so that the next one pays no page faults.

A fresh result of 160 MB costs more to map and clear, page by page, than to compute: 12 of 14 ms for a
batched outer product on two cores.  Freed blocks are therefore kept for reuse.  The latest are kept as they
are, no more than malloc would keep; the others are given to the operating system by MADV_FREE: it may take
their pages whenever it needs any, and until then they are ready, though not for nothing: a virtual machine
watches the first write to each page (100,000 x 8 x 8 float32: 2.2 ms, 1.7 in memory that was not given).
"""

import math
import mmap
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np

POOLED_BYTES = 4 << 20  # smaller results come from malloc, which keeps their memory by itself
KEPT_BYTES = 1 << 30  # most that is held for reuse
WARM_BYTES = 64 << 20  # most of it that is not given to the system: where glibc trims its heap, at most
WASTE = 1.5  # a block serves a result that is smaller by at most this factor

_CAN_POOL = all(hasattr(mmap, name) for name in ("MADV_FREE", "MADV_HUGEPAGE", "MAP_PRIVATE"))
# Only their atomic ends are used: a garbage collection may give a block back in the middle of any line.
_warm: deque[mmap.mmap] = deque()
_given: deque[mmap.mmap] = deque()


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """As `numpy.empty`; large arrays lie on reused memory, which they do not own."""
    size = math.prod(shape)
    nbytes = size * dtype.itemsize
    if nbytes < POOLED_BYTES or dtype.hasobject or not _CAN_POOL:
        return np.empty(shape, dtype)
    block = _take(nbytes)
    if block is None:
        return np.empty(shape, dtype)
    array = np.frombuffer(block, dtype, size)
    weakref.finalize(_owner(array), _give_back, block).atexit = False
    return array.reshape(shape)


def _take(nbytes: int) -> mmap.mmap | None:
    """A kept block of about the size, or a new one; None where the system gives none."""
    for kept in (_warm, _given):
        for _ in range(len(kept)):
            try:
                block = kept.pop()
            except IndexError:
                break
            if nbytes <= len(block) <= WASTE * nbytes:
                return block
            kept.appendleft(block)
    try:
        block = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block.madvise(mmap.MADV_HUGEPAGE)
    except (OSError, ValueError, OverflowError):
        return None
    return block


def _owner(array: Any) -> Any:
    """The object under all views of the array: it dies with the last of them."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def _give_back(block: mmap.mmap) -> None:
    """Keep a block whose last array has died, and the oldest ones no longer than there is room."""
    if len(block) > KEPT_BYTES:
        return
    _warm.append(block)
    with suppress(IndexError):  # taken meanwhile
        while _size(_warm) > WARM_BYTES:
            _give_to_system(_warm.popleft())
        while _size(_warm) + _size(_given) > KEPT_BYTES:
            (_given or _warm).popleft()


def _give_to_system(block: mmap.mmap) -> None:
    """Let the system have the pages of a block when it needs them."""
    with suppress(OSError, ValueError):  # then it is not kept
        block.madvise(mmap.MADV_FREE)
        _given.append(block)


def _size(blocks: deque[mmap.mmap]) -> int:
    return sum(map(len, tuple(blocks)))
