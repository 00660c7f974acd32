"""Loops that write cross products of rows and of columns, in the registers of the machine.

Three registers hold a *group* of packed vectors.  With ``next(x)`` for the following component of each, in
turn, ``a × b = next(a * next(b) - next(a) * b)``: the very products of the formula, for three turns.

Ideas tried on 2 cores of Zen 4, ns a vector of float32 in the second-level cache, where `numpy.add` of as
many bytes takes 0.37: groups of 48 bytes in one register 0.56; in three registers of 16 bytes 0.55, of 32
bytes 0.39, of 64 (kept) 0.36; ``next(a) * next(next(b)) - next(next(a)) * next(b)`` 0.63, 0.43 and 0.37.  In
code for Cascade Lake and Haswell, run there, whole registers won or drew too, for integers of a byte as well.
From memory 0.56 to 0.63; 0.68 to 0.74 if lines of out are asked for ahead, by which Cascade Lake gains 5 %.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..llvm import (
    address_of,
    bytes_of,
    load,
    load_first,
    multiplied,
    prefetch,
    shuffled,
    splat,
    store,
    subtracted,
    unpacked,
)
from ..processor import IS_ZEN, LINE_BYTES, VECTOR_BYTES
from .groups import Groups, gathered
from .streaming import AHEAD, STREAM_BYTES, past_cache

LANES = 4  # of a row of its own, the last of which reads no memory


def _packed_cross(past_the_cache: bool) -> Any:
    put = past_cache if past_the_cache else store
    ask_ahead = not (past_the_cache or IS_ZEN)

    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing_context: Any, out: Any, a: Any, b: Any) -> Any:
        signature = types.intp(out, a, b)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out, *factors = unpacked(context, builder, signature, arguments)
            scalar = context.get_data_type(signature.args[0].dtype)
            register = ir.VectorType(scalar, VECTOR_BYTES // bytes_of(scalar))
            group_bytes = 3 * bytes_of(register)
            groups = [Groups(builder, rows, register, 3) for rows in factors]
            vectors = cgutils.unpack_tuple(builder, out.shape)[0]
            count = builder.udiv(vectors, vectors.type(register.count))
            with cgutils.for_range(builder, count) as loop:
                offset = builder.mul(loop.index, count.type(group_bytes))
                target = cgutils.pointer_add(builder, out.data, offset)
                for line in range(AHEAD, AHEAD + group_bytes, LINE_BYTES) if ask_ahead else ():
                    prefetch(builder, cgutils.pointer_add(builder, target, line), to_write=True)
                x, y = (each.load(loop.index) for each in groups)
                for k, product in enumerate(_product(builder, x, y)):
                    put(builder, product, target, k * bytes_of(register))
            return builder.mul(count, count.type(register.count))

        return signature, generate

    return write


write_packed_cross = _packed_cross(past_the_cache=False)
"""Cross products of the rows of ``(n, 3)`` arrays without gaps, but for the last ones; how many.

a or b may have a single row, which stands for n.
"""

stream_packed_cross = _packed_cross(past_the_cache=True)
"""The same past the cache: out starts on 16 bytes."""


def _product(builder: Any, x: list[Any], y: list[Any]) -> list[Any]:
    """``x × y`` of two groups."""
    turned = [
        subtracted(builder, multiplied(builder, a, next_b), multiplied(builder, next_a, b))
        for a, next_a, b, next_b in zip(x, _next(builder, x), y, _next(builder, y), strict=True)
    ]
    return _next(builder, turned)


def _next(builder: Any, group: list[Any]) -> list[Any]:
    """Component ``(i + 1) % 3`` of each vector in the place of component i."""
    return _rearranged(builder, group, lambda i: 3 * (i // 3) + (i + 1) % 3)


def _interleaved(builder: Any, components: list[Any]) -> list[Any]:
    """The group of the vectors whose components are given, each in a register of its own."""
    lanes = components[0].type.count
    return _rearranged(builder, components, lambda i: i % 3 * lanes + i // 3)


def _rearranged(builder: Any, registers: list[Any], place_of: Callable[[int], int]) -> list[Any]:
    """Three registers, of whose lanes each comes from another place in three."""
    lanes = registers[0].type.count
    places = [place_of(i) for i in range(3 * lanes)]
    return [gathered(builder, registers, places[k * lanes : (k + 1) * lanes]) for k in range(3)]


def _cross_of_columns(packed_out: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing_context: Any, out: Any, a: Any, b: Any) -> Any:
        signature = types.intp(out, a, b)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out, *factors = unpacked(context, builder, signature, arguments)
            scalar = context.get_data_type(signature.args[0].dtype)
            register = ir.VectorType(scalar, VECTOR_BYTES // bytes_of(scalar))
            lanes = register.count
            vectors = cgutils.unpack_tuple(builder, out.shape)[0]
            columns = [_columns(builder, rows, register) for rows in factors]
            count = builder.udiv(vectors, vectors.type(lanes))
            with cgutils.for_range(builder, count) as loop:
                moved = builder.mul(loop.index, vectors.type(lanes))
                x, y = (
                    [load(builder, register, begin, builder.mul(moved, step)) for begin, step in three]
                    for three in columns
                )
                products = [
                    subtracted(builder, multiplied(builder, x[i], y[j]), multiplied(builder, x[j], y[i]))
                    for i, j in ((1, 2), (2, 0), (0, 1))
                ]
                begin = address_of(builder, out, moved)
                if packed_out:
                    products, step = _interleaved(builder, products), count.type(bytes_of(register))
                else:
                    step = cgutils.unpack_tuple(builder, out.strides)[1]
                for k, product in enumerate(products):
                    store(builder, product, begin, builder.mul(step, step.type(k)))
            return builder.mul(count, vectors.type(lanes))

        return signature, generate

    return write


write_cross_of_columns = _cross_of_columns(packed_out=False)
"""``out[i] = a[i] × b[i]`` of ``(n, 3)`` arrays with dense columns, but for the last ones; how many.

a or b may have a single row, which stands for n.
"""

write_packed_cross_of_columns = _cross_of_columns(packed_out=True)
"""The same where out has no gaps."""


def _columns(builder: Any, rows: Any, register: ir.VectorType) -> list[tuple[Any, Any]]:
    """Where each component is read and the bytes to the next vector's: of a single one copies, and 0."""
    count = cgutils.unpack_tuple(builder, rows.shape)[0]
    is_single = builder.icmp_signed("==", count, count.type(1))
    columns = []
    for k in range(3):
        begin = address_of(builder, rows, count.type(0), count.type(k))
        copies = cgutils.alloca_once(builder, register)
        with builder.if_then(is_single):
            component = builder.load(builder.bitcast(begin, register.element.as_pointer()))
            builder.store(splat(builder, register, component), copies)
        begin = builder.select(is_single, builder.bitcast(copies, begin.type), begin)
        step = builder.select(is_single, count.type(0), count.type(bytes_of(register.element)))
        columns.append((begin, step))
    return columns


@intrinsic  # type: ignore[untyped-decorator]
def write_cross_of_rows(typing_context: Any, out: Any, a: Any, b: Any) -> Any:
    """``out[i] = a[i] × b[i]`` of ``(n, 3)`` arrays, whose rows are dense but may lie anywhere; n."""
    signature = types.intp(out, a, b)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, *factors = unpacked(context, builder, signature, arguments)
        scalar = context.get_data_type(signature.args[0].dtype)
        rows = cgutils.unpack_tuple(builder, out.shape)[0]
        with cgutils.for_range(builder, rows) as loop:
            target = address_of(builder, out, loop.index)
            prefetch(builder, cgutils.pointer_add(builder, target, AHEAD), to_write=True)
            product = _turned_product(builder, scalar, factors, loop.index)
            for lanes, offset in (([1, 2], 0), ([0], 2 * bytes_of(scalar))):
                store(builder, shuffled(builder, product, lanes), target, offset)
        return rows

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def stream_cross_of_rows(typing_context: Any, out: Any, a: Any, b: Any) -> Any:
    """The same past the cache, but for the last rows; how many. Out has no gaps and starts on 16 bytes.

    None of elements so short that four do not fill 16 bytes.
    """
    signature = types.intp(out, a, b)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, *factors = unpacked(context, builder, signature, arguments)
        scalar = context.get_data_type(signature.args[0].dtype)
        rows = cgutils.unpack_tuple(builder, out.shape)[0]
        if bytes_of(ir.VectorType(scalar, LANES)) < STREAM_BYTES:
            return rows.type(0)
        count = builder.udiv(rows, rows.type(LANES))
        places = [LANES * row + lane for row in range(LANES) for lane in (1, 2, 0)]
        with cgutils.for_range(builder, count) as loop:
            first = builder.mul(loop.index, rows.type(LANES))
            products = [
                _turned_product(builder, scalar, factors, builder.add(first, rows.type(k)))
                for k in range(LANES)
            ]
            target = address_of(builder, out, first)
            for k in range(3):
                register = gathered(builder, products, places[k * LANES : (k + 1) * LANES])
                past_cache(builder, register, target, k * bytes_of(register.type))
        return builder.mul(count, rows.type(LANES))

    return signature, generate


def _turned_product(builder: Any, scalar: Any, factors: list[Any], row: Any) -> Any:
    """Components 2, 0 and 1 of ``a × b`` of a row.

    The gaps hide from the processor what is read next: it is asked for.
    """
    register, next_ones = ir.VectorType(scalar, LANES), [1, 2, 0, 3]
    sources = [address_of(builder, rows, row) for rows in factors]
    for source in sources:
        prefetch(builder, cgutils.pointer_add(builder, source, AHEAD))
    x, y = (load_first(builder, register, source, 0, row.type(3)) for source in sources)
    return subtracted(
        builder,
        multiplied(builder, x, shuffled(builder, y, next_ones)),
        multiplied(builder, shuffled(builder, x, next_ones), y),
    )
