"""Stores past the cache, in which LLVM and Numba leave no say: for the loops of `crosses` and `outers`.

A result larger than the caches is written in one of two ways.  *Past the cache*: an ordinary store first
reads the line that it is about to overwrite, and half of the memory traffic of an outer product is that
read.  Or by ordinary stores with the lines *asked for ahead*: the stores past the cache of one core wait
in a dozen buffers, so that few cores cannot fill a server's memory that way.  Neither changes a bit;
`stores` finds out which is faster.

Ideas tried on 2 cores of a Cascade Lake server, GB/s of an outer product of 8,192 x 8,192 float32: past the
cache, by 16, 32 or 64 bytes, 12.7; ordinary stores of 16, 32 and 64 bytes 14.9, 15.1 and 11.5; with lines
asked for 512 or 2,048 bytes ahead (kept) 17.6 and 18.3; through a buffer and memcpy 4.5.  Cross products:
past the cache 20.0, asked for ahead 20.9.
"""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..compiling import compiled
from ..llvm import bytes_of, shuffled, store_past_cache

STREAM_BYTES = 16  # what NumPy's allocator aligns to; the cache's line buffers merge four of these
AHEAD = 2048  # bytes from where a line is written to where one is asked for


def past_cache(builder: Any, value: Any, base: Any, offset: Any = 0) -> None:
    """A vector to an address that is a multiple of 16 bytes, in parts of so many."""
    lanes = STREAM_BYTES // bytes_of(value.type.element)
    target = cgutils.pointer_add(builder, base, offset)
    for first in range(0, value.type.count, lanes):
        part = shuffled(builder, value, range(first, first + lanes))
        store_past_cache(builder, part, target, first // lanes * STREAM_BYTES, STREAM_BYTES)


@intrinsic  # type: ignore[untyped-decorator]
def _fence(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@compiled()
def publish() -> None:
    """Make this thread's non-temporal stores visible to the others, which ordinary locks need not do."""
    _fence()
