"""Non-temporal stores, which Numba does not emit by itself.

A result larger than the cache is written past it: an ordinary store first reads the line that it is
about to overwrite, and half of the memory traffic of an outer product is that read.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._numba import compiled

VECTOR_BYTES = 16  # what NumPy's allocator aligns to; the cache's line buffers merge four of these


@intrinsic  # type: ignore[untyped-decorator]
def stream_scaled_row(typing_context: Any, out: Any, row: Any, scale: Any, b: Any) -> Any:
    """``out[row] = scale * b`` by aligned 16-byte stores past the cache.

    The row of out starts on 16 bytes and spans a multiple of them; out and b have unit column stride.
    """
    signature = types.void(out, types.intp, out.dtype, b)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out_type, _, _, b_type = signature.args
        out_value, row_value, scale_value, b_value = arguments
        destination = context.make_array(out_type)(context, builder, out_value)
        source = context.make_array(b_type)(context, builder, b_value)
        element = context.get_data_type(out_type.dtype)
        lanes = VECTOR_BYTES // context.get_abi_sizeof(element)
        vector = ir.VectorType(element, lanes)
        row_stride = cgutils.unpack_tuple(builder, destination.strides)[0]
        row_start = cgutils.pointer_add(builder, destination.data, builder.mul(row_value, row_stride))
        row_vectors = builder.bitcast(row_start, vector.as_pointer())
        b_vectors = builder.bitcast(source.data, vector.as_pointer())
        scales = _splat(builder, vector, scale_value)
        multiply = builder.fmul if isinstance(element, ir.FloatType | ir.DoubleType) else builder.mul
        nontemporal = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        columns = cgutils.unpack_tuple(builder, source.shape)[0]
        count = builder.udiv(columns, ir.Constant(columns.type, lanes))
        with cgutils.for_range(builder, count) as loop:
            values = builder.load(builder.gep(b_vectors, [loop.index]))
            values.align = context.get_abi_sizeof(element)
            store = builder.store(multiply(scales, values), builder.gep(row_vectors, [loop.index]))
            store.align = VECTOR_BYTES
            store.set_metadata("nontemporal", nontemporal)
        return context.get_dummy_value()

    return signature, generate


def _splat(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    """A vector with `value` in every lane."""
    splat = ir.Constant(vector, ir.Undefined)
    for lane in range(vector.count):
        splat = builder.insert_element(splat, value, ir.Constant(ir.IntType(32), lane))
    return splat


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
