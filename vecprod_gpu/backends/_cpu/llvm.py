"""The words that intrinsics are written in: addresses, vectors in memory, and the order of their lanes."""

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

FIRST_LEVEL, SECOND_LEVEL = 3, 2  # of the caches, as LLVM numbers what is asked for


def unpacked(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments, and for each array the struct that holds its address and strides."""
    return [
        context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def address_of(builder: Any, array: Any, *indices: Any) -> Any:
    """The address of an element, or of a row."""
    address = array.data
    for index, stride in zip(indices, cgutils.unpack_tuple(builder, array.strides), strict=False):
        address = cgutils.pointer_add(builder, address, builder.mul(index, stride))
    return address


def bytes_of(kind: Any) -> int:
    """Bytes of a number or of a vector of numbers."""
    number, count = (kind.element, kind.count) if isinstance(kind, ir.VectorType) else (kind, 1)
    bits = number.intrinsic_name[1:]
    return int(bits) // 8 * count


def load(builder: Any, vector: ir.VectorType, base: Any, offset: Any = 0) -> Any:
    """A vector from any address: nothing is assumed of its alignment."""
    loaded = builder.load(cgutils.pointer_add(builder, base, offset, vector.as_pointer()))
    loaded.align = 1
    return loaded


def load_first(builder: Any, vector: ir.VectorType, base: Any, offset: Any, count: Any) -> Any:
    """A vector whose first lanes, so many, lie at any address, and whose others are 0 and read no memory."""
    mask = _first_lanes(builder, vector, count)
    pointer = cgutils.pointer_add(builder, base, offset, vector.as_pointer())
    number = ir.IntType(32)
    kind = ir.FunctionType(vector, [pointer.type, number, mask.type, vector])
    name = f"llvm.masked.load.v{vector.count}{vector.element.intrinsic_name}.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [pointer, number(1), mask, zeros(vector)])


def keep_first(builder: Any, value: Any, count: Any) -> Any:
    """The first lanes, so many, and 0 in place of the others."""
    return builder.select(_first_lanes(builder, value.type, count), value, zeros(value.type))


def _first_lanes(builder: Any, vector: ir.VectorType, count: Any) -> Any:
    number = ir.IntType(32)
    lanes = ir.Constant(ir.VectorType(number, vector.count), list(range(vector.count)))
    return builder.icmp_signed("<", lanes, splat(builder, lanes.type, builder.trunc(count, number)))


def zeros(vector: ir.VectorType) -> Any:
    """A vector of zeros."""
    zero = 0 if isinstance(vector.element, ir.IntType) else 0.0
    return ir.Constant(vector, [zero] * vector.count)


def store(builder: Any, value: Any, base: Any, offset: Any = 0) -> None:
    """A vector to any address."""
    builder.store(value, cgutils.pointer_add(builder, base, offset, value.type.as_pointer())).align = 1


def store_past_cache(builder: Any, value: Any, base: Any, offset: Any, alignment: int) -> None:
    """A vector to an aligned address in memory, which is not read for it."""
    placed = builder.store(value, cgutils.pointer_add(builder, base, offset, value.type.as_pointer()))
    placed.align = alignment
    placed.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


def prefetch(builder: Any, address: Any, to_write: bool = False, into: int = FIRST_LEVEL) -> None:
    """Ask for a line of memory that will be needed soon, into a level of the cache; any address will do."""
    pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    of_data = number(1)
    how = number(int(to_write)), number(into), of_data
    builder.call(function, [builder.bitcast(address, pointer), *how])


def converted(builder: Any, vector: Any, kind: ir.VectorType) -> Any:
    """Floating-point numbers as those of another size."""
    if vector.type == kind:
        return vector
    change = builder.fpext if bytes_of(vector.type) < bytes_of(kind) else builder.fptrunc
    return change(vector, kind)


def multiplied(builder: Any, x: Any, y: Any) -> Any:
    """``x * y`` of floating-point numbers or integers."""
    return builder.fmul(x, y) if _is_floating(x) else builder.mul(x, y)


def subtracted(builder: Any, x: Any, y: Any) -> Any:
    """``x - y`` of floating-point numbers or integers."""
    return builder.fsub(x, y) if _is_floating(x) else builder.sub(x, y)


def fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z`` of each lane, rounded once."""
    name = f"llvm.fma.v{x.type.count}{x.type.element.intrinsic_name}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 3), name)
    return builder.call(function, [x, y, z])


def shuffled(builder: Any, vector: Any, lanes: Iterable[int]) -> Any:
    """The lanes named, in that order."""
    order = list(lanes)
    mask = ir.VectorType(ir.IntType(32), len(order))(order)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def joined(builder: Any, first: Any, second: Any) -> Any:
    """One vector after another in a vector of twice the lanes."""
    lanes = list(range(2 * first.type.count))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(first, second, mask)


def splat(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    """A vector with `value` in every lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return shuffled(builder, first, [0] * vector.count)


def _is_floating(value: Any) -> bool:
    kind = getattr(value.type, "element", value.type)
    return isinstance(kind, ir.HalfType | ir.FloatType | ir.DoubleType)
