"""Loops that write results, with the stores chosen: LLVM and Numba leave no say in it.

A result larger than the caches is written in one of two ways.  *Past the cache*: an ordinary store first
reads the line that it is about to overwrite, and half of the memory traffic of an outer product is that
read.  Or by ordinary stores with the lines *asked for ahead*: the stores past the cache of one core wait
in a dozen buffers, so that few cores cannot fill a server's memory that way.  Neither changes a bit;
`_stores` finds out which is faster.

Ideas tried on 2 cores of a Cascade Lake server, GB/s of an outer product of 8,192 x 8,192 float32: past the
cache, by 16, 32 or 64 bytes, 12.7; ordinary stores of 16, 32 and 64 bytes 14.9, 15.1 and 11.5; with lines
asked for 512 or 2,048 bytes ahead (kept) 17.6 and 18.3; through a buffer and memcpy 4.5.  Cross products:
past the cache 20.0, asked for ahead 20.9.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._llvm import (
    address_of,
    load,
    multiplied,
    prefetch,
    splat,
    store,
    store_past_cache,
    unpacked,
)
from ._numba import compiled

VECTOR_BYTES = 16  # what NumPy's allocator aligns to; the cache's line buffers merge four of these
LINE_BYTES = 64
AHEAD = 2048  # bytes from where a line is written to where one is asked for

Store = Callable[[Any, Any, Any, Any], None]


def _scaled_row_by(put: Store, ask_ahead: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing_context: Any, out: Any, pair: Any, row: Any, scale: Any, b: Any) -> Any:
        signature = types.void(out, pair, row, out.dtype, b)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out, pair, row, scale, b = unpacked(context, builder, signature, arguments)
            scalar = context.get_data_type(signature.args[0].dtype)
            size = context.get_abi_sizeof(scalar)
            source, target = address_of(builder, b, pair), address_of(builder, out, pair, row)
            columns = cgutils.unpack_tuple(builder, b.shape)[1]

            def columns_from(first: Any, vectors: int, lanes: int) -> Any:
                """Write so many vectors at a time while there are enough columns; the first one left over."""
                vector, step = ir.VectorType(scalar, lanes), vectors * lanes
                count = builder.udiv(builder.sub(columns, first), first.type(step))
                scales = splat(builder, vector, scale)
                with cgutils.for_range(builder, count) as loop:
                    column = builder.add(first, builder.mul(loop.index, first.type(step)))
                    start = builder.mul(column, first.type(size))
                    if ask_ahead and lanes > 1:
                        ahead = builder.add(start, first.type(AHEAD))
                        prefetch(builder, cgutils.pointer_add(builder, target, ahead), to_write=True)
                    offsets = [builder.add(start, first.type(k * lanes * size)) for k in range(vectors)]
                    values = [load(builder, vector, source, offset) for offset in offsets]
                    for value, offset in zip(values, offsets, strict=True):
                        put(builder, multiplied(builder, scales, value), target, offset)
                return builder.add(first, builder.mul(count, first.type(step)))

            lanes = VECTOR_BYTES // size
            left = columns_from(columns.type(0), LINE_BYTES // VECTOR_BYTES, lanes)
            columns_from(columns_from(left, 1, lanes), 1, 1)
            return context.get_dummy_value()

        return signature, generate

    return write


def _short_rows_by(put: Store, ask_ahead: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing_context: Any, out: Any, pair: Any, a: Any, b: Any) -> Any:
        signature = types.boolean(out, pair, a, b)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out, pair, a, b = unpacked(context, builder, signature, arguments)
            scalar = context.get_data_type(signature.args[0].dtype)
            lanes = VECTOR_BYTES // context.get_abi_sizeof(scalar)
            vector = ir.VectorType(scalar, lanes)
            source = address_of(builder, b, pair)
            rows, columns = cgutils.unpack_tuple(builder, out.shape)[1:]
            is_short = cgutils.alloca_once_value(builder, cgutils.false_bit)
            for count in (1, 2, 4):
                with builder.if_then(builder.icmp_signed("==", columns, columns.type(count * lanes))):
                    builder.store(cgutils.true_bit, is_short)
                    values = [load(builder, vector, source, k * VECTOR_BYTES) for k in range(count)]
                    with cgutils.for_range(builder, rows) as loop:
                        target = address_of(builder, out, pair, loop.index)
                        if ask_ahead:
                            prefetch(builder, cgutils.pointer_add(builder, target, AHEAD), to_write=True)
                        scales = splat(
                            builder, vector, builder.load(_pointer(builder, scalar, a, pair, loop.index))
                        )
                        for k, value in enumerate(values):
                            put(builder, multiplied(builder, scales, value), target, k * VECTOR_BYTES)
            return builder.load(is_short)

        return signature, generate

    return write


def past_cache(builder: Any, value: Any, base: Any, offset: Any) -> None:
    store_past_cache(builder, value, base, offset, VECTOR_BYTES)


write_scaled_row = _scaled_row_by(store, ask_ahead=True)
"""``out[pair, row] = scale * b[pair]``; the columns of out and of b lie side by side."""

stream_scaled_row = _scaled_row_by(past_cache, ask_ahead=False)
"""The same past the cache: the row of out starts on 16 bytes, and spans a multiple of them."""

write_short_rows = _short_rows_by(store, ask_ahead=True)
"""``out[pair] = a[pair] ⊗ b[pair]`` where a row is one, two or four vectors of the machine; whether it is."""

stream_short_rows = _short_rows_by(past_cache, ask_ahead=False)
"""The same past the cache: the rows of out start on 16 bytes."""


@intrinsic  # type: ignore[untyped-decorator]
def ask_ahead(typing_context: Any, out: Any, index: Any) -> Any:
    """Ask for the line that is to be written soon after ``out[index]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, index = unpacked(context, builder, signature, arguments)
        target = cgutils.pointer_add(builder, address_of(builder, out, index), AHEAD)
        prefetch(builder, target, to_write=True)
        return context.get_dummy_value()

    return types.void(out, index), generate


def _pointer(builder: Any, scalar: Any, array: Any, *indices: Any) -> Any:
    """Where an element is."""
    return builder.bitcast(address_of(builder, array, *indices), scalar.as_pointer())


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
