"""Non-temporal stores, which Numba does not emit by itself.

A result larger than the cache is written past it: an ordinary store first reads the line that it is
about to overwrite, and half of the memory traffic of an outer product is that read.
"""

from collections.abc import Iterable
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
        vector = _vector(context, out_type.dtype)
        row_stride = cgutils.unpack_tuple(builder, destination.strides)[0]
        row_start = cgutils.pointer_add(builder, destination.data, builder.mul(row_value, row_stride))
        scales = _splat(builder, vector, scale_value)
        (columns,) = cgutils.unpack_tuple(builder, source.shape)
        with cgutils.for_range(builder, builder.udiv(columns, columns.type(vector.count))) as loop:
            offset = builder.mul(loop.index, loop.index.type(VECTOR_BYTES))
            values = _load(context, builder, vector, source.data, offset)
            _stream(builder, _multiply(builder, scales, values), row_start, offset)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def stream_cross(typing_context: Any, out: Any, a: Any, b: Any) -> Any:
    """Cross products of packed 3-vectors, past the cache, in groups of three 16-byte stores.

    Within a group, ``out = rotated(a, 1) * rotated(b, 2) - rotated(a, 2) * rotated(b, 1)``, where
    rotating takes each vector's components in turn.  The flat arrays are contiguous and hold whole
    groups; out starts on 16 bytes.
    """
    signature = types.void(out, a, b)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        packed = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        destination, first, second = (array.data for array in packed)
        part = _vector(context, out.dtype)
        group = ir.VectorType(part.element, 3 * part.count)
        (length,) = cgutils.unpack_tuple(builder, packed[0].shape)
        with cgutils.for_range(builder, builder.udiv(length, length.type(group.count))) as loop:
            offset = builder.mul(loop.index, loop.index.type(3 * VECTOR_BYTES))
            x = _load(context, builder, group, first, offset)
            y = _load(context, builder, group, second, offset)
            product = _subtract(
                builder,
                _multiply(builder, _rotated(builder, x, 1), _rotated(builder, y, 2)),
                _multiply(builder, _rotated(builder, x, 2), _rotated(builder, y, 1)),
            )
            for third in range(3):
                lanes = range(third * part.count, (third + 1) * part.count)
                place = builder.add(offset, offset.type(third * VECTOR_BYTES))
                _stream(builder, _shuffled(builder, product, lanes), destination, place)
        return context.get_dummy_value()

    return signature, generate


def _vector(context: Any, element: Any) -> ir.VectorType:
    """As many elements as one store holds."""
    scalar = context.get_data_type(element)
    return ir.VectorType(scalar, VECTOR_BYTES // context.get_abi_sizeof(scalar))


def _load(context: Any, builder: Any, vector: ir.VectorType, base: Any, offset: Any) -> Any:
    """A vector from memory that is aligned for its elements only."""
    address = builder.bitcast(cgutils.pointer_add(builder, base, offset), vector.as_pointer())
    loaded = builder.load(address)
    loaded.align = context.get_abi_sizeof(vector.element)
    return loaded


def _stream(builder: Any, value: Any, base: Any, offset: Any) -> None:
    """Store a vector past the cache."""
    address = builder.bitcast(cgutils.pointer_add(builder, base, offset), value.type.as_pointer())
    store = builder.store(value, address)
    store.align = VECTOR_BYTES
    store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


def _multiply(builder: Any, x: Any, y: Any) -> Any:
    return builder.fmul(x, y) if _is_floating(x) else builder.mul(x, y)


def _subtract(builder: Any, x: Any, y: Any) -> Any:
    return builder.fsub(x, y) if _is_floating(x) else builder.sub(x, y)


def _is_floating(vector: Any) -> bool:
    return isinstance(vector.type.element, ir.FloatType | ir.DoubleType)


def _rotated(builder: Any, vectors: Any, steps: int) -> Any:
    """Component ``(i + steps) % 3`` of each packed 3-vector in the place of component i."""
    return _shuffled(builder, vectors, [i - i % 3 + (i + steps) % 3 for i in range(vectors.type.count)])


def _shuffled(builder: Any, vector: Any, lanes: Iterable[int]) -> Any:
    """The lanes named, in that order."""
    order = list(lanes)
    mask = ir.VectorType(ir.IntType(32), len(order))(order)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _splat(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    """A vector with `value` in every lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return _shuffled(builder, first, [0] * vector.count)


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
