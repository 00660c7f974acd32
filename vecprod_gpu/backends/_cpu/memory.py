"""Memory for large host results, kept when they die so that the next one pays no page faults.

A fresh result of 160 MB costs more to map and clear, page by page, than to compute: 12 of 14 ms for a
batched outer product on two cores.  Freed blocks are therefore kept for reuse.  The latest are kept as they
are, no more than malloc would keep; the others are given to the operating system by MADV_FREE: it may take
their pages whenever it needs any, and until then they are ready, though not for nothing: a virtual machine
watches the first write to each page (100,000 x 8 x 8 float32: 2.2 ms, 1.7 in memory that was not given).

Of *medium* results malloc keeps the memory in some processes, and in others it gives back with each what its
heap ends in: 100,000 cross products take 0.05 or 0.25 ms with it.  A few of their blocks are kept.
"""

import math
import mmap
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

MEDIUM_BYTES = 1 << 19  # smaller results come from malloc: their pages cost less than to keep them
MEDIUM_BLOCKS = 8  # that are kept
LARGE_BYTES = 4 << 20  # from here on results are large
KEPT_BYTES = 1 << 30  # most that is held for reuse
WARM_BYTES = 64 << 20  # most of it that is not given to the system: where glibc trims its heap, at most
# Bytes from the start of a page, where operands begin: a processor that compares the lower bits of addresses
# takes loads of theirs for loads of what is being stored (100,000 cross products 4 us).
OFFSET = 2048
WASTE = 1.5  # a block serves a result that is smaller by at most this factor

_CAN_POOL = all(hasattr(mmap, name) for name in ("MADV_FREE", "MADV_HUGEPAGE", "MAP_PRIVATE"))
# Only their atomic ends are used: a garbage collection may give a block back in the middle of any line.
_medium: deque["_Block"] = deque(maxlen=MEDIUM_BLOCKS)
_warm: deque["_Block"] = deque()
_given: deque["_Block"] = deque()


class _Block:
    """Memory of the system's."""

    def __init__(self, nbytes: int) -> None:
        self.memory = mmap.mmap(-1, OFFSET + nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.address: int = np.frombuffer(self.memory, np.uint8).ctypes.data + OFFSET

    def __len__(self) -> int:
        return len(self.memory) - OFFSET


class _Loan:
    """A block under an array and its views, of which the last one that dies gives it back."""

    def __init__(self, block: _Block, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.block = block
        self.__array_interface__ = {
            "version": 3,
            "data": (block.address, False),
            "shape": shape,
            "typestr": dtype.str,
        }

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():
            _give_back(self.block)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """As `numpy.empty`; large and medium arrays lie on reused memory, which they do not own."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < MEDIUM_BYTES or dtype.hasobject or not _CAN_POOL:
        return np.empty(shape, dtype)
    block = _take(nbytes)
    if block is None:
        return np.empty(shape, dtype)
    array = np.asarray(_Loan(block, shape, dtype))
    return array if array.dtype is dtype else array.view(dtype)


def _take(nbytes: int) -> _Block | None:
    """A kept block of about the size, or a new one; None where the system gives none."""
    for kept in (_medium,) if nbytes < LARGE_BYTES else (_warm, _given):
        for _ in range(len(kept)):
            try:
                block = kept.pop()
            except IndexError:
                break
            if nbytes <= len(block) <= WASTE * nbytes:
                return block
            kept.appendleft(block)
    try:
        return _Block(nbytes)
    except (OSError, ValueError, OverflowError):
        return None


def _give_back(block: _Block) -> None:
    """Keep a block whose last array has died, and the oldest ones no longer than there is room."""
    if len(block) < LARGE_BYTES:
        _medium.append(block)
        return
    if len(block) > KEPT_BYTES:
        return
    _warm.append(block)
    with suppress(IndexError):  # taken meanwhile
        while _size(_warm) > WARM_BYTES:
            _give_to_system(_warm.popleft())
        while _size(_warm) + _size(_given) > KEPT_BYTES:
            (_given or _warm).popleft()


def _give_to_system(block: _Block) -> None:
    """Let the system have the pages of a block when it needs them."""
    with suppress(OSError, ValueError):  # then it is not kept
        block.memory.madvise(mmap.MADV_FREE)
        _given.append(block)


def _size(blocks: deque[_Block]) -> int:
    return sum(map(len, tuple(blocks)))
