"""Vector code that LLVM does not find by itself: tiles of dot products, transposing copies, lanes.

Left to itself it uses half of a 64-byte register in the first and moves single elements in the others, since
it cannot tell that the arrays do not overlap.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .llvm import (
    FIRST_LEVEL,
    SECOND_LEVEL,
    address_of,
    bytes_of,
    converted,
    joined,
    load,
    prefetch,
    splat,
    store,
    unpacked,
    zeros,
)
from .processor import IS_ZEN, VECTOR_BYTES

ASKED_INTO = SECOND_LEVEL if IS_ZEN else FIRST_LEVEL

# The sums of a tile take half of the registers: 16 of the 32 where they are wide, else 8 of 16.
TILE_COLUMNS = 4 if VECTOR_BYTES == 64 else 2
TILE_ROWS = 4
ONE, WIDE = (0,), (0,) * TILE_COLUMNS  # vectors or squares at once, told by the type of a tuple
SIDE = 4  # of the squares that are transposed in registers
LANES = 2 * SIDE  # problems that are computed side by side
LANE_ROWS, LANE_COLUMNS = (
    (2 if VECTOR_BYTES == 64 else 1),
    4,
)  # sums of theirs at once; as many registers as above


@intrinsic  # type: ignore[untyped-decorator]
def dot_products(
    typing_context: Any,
    left: Any,
    a: Any,
    last_a: Any,
    right: Any,
    b: Any,
    last_b: Any,
    length: Any,
    tile: Any,
) -> Any:
    """``tile[i, j] = left[a + i, :length] · right[b + j, :length]``, summed in one vector of lanes.

    In place of rows past last_a or last_b stand those themselves: no element is computed that would not
    be elsewhere.  All arrays are C-contiguous; tile is ``(TILE_ROWS, TILE_COLUMNS)``; length is a
    multiple of the lanes.
    """
    signature = types.void(left, a, last_a, right, b, last_b, length, tile)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, a, last_a, right, b, last_b, length, tile = unpacked(context, builder, signature, arguments)
        element = context.get_data_type(signature.args[0].dtype)
        vector = ir.VectorType(element, VECTOR_BYTES // context.get_abi_sizeof(element))
        left_rows = _row_starts(builder, left, a, last_a, TILE_ROWS)
        right_rows = _row_starts(builder, right, b, last_b, TILE_COLUMNS)
        zero = zeros(vector)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(TILE_ROWS * TILE_COLUMNS)]
        with cgutils.for_range(builder, builder.udiv(length, length.type(vector.count))) as loop:
            offset = builder.mul(loop.index, loop.index.type(VECTOR_BYTES))
            x = [load(builder, vector, row, offset) for row in left_rows]
            y = [load(builder, vector, row, offset) for row in right_rows]
            for index, place in enumerate(sums):
                i, j = divmod(index, TILE_COLUMNS)
                product = builder.fmul(x[i], y[j], flags=["contract"])
                builder.store(builder.fadd(builder.load(place), product, flags=["contract"]), place)
        for index, total in enumerate(lane_sums(builder, [builder.load(place) for place in sums])):
            store(builder, total, tile.data, length.type(index * VECTOR_BYTES))
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def products_of_rows(
    typing_context: Any,
    vectors: Any,
    left: Any,
    a: Any,
    last_a: Any,
    rows: Any,
    b: Any,
    length: Any,
    out: Any,
    i: Any,
    j: Any,
) -> Any:
    """``out[i + r, j + c] = sum_k left[min(a + r, last_a), k] * rows[k, b + c]``, r below TILE_ROWS.

    The sum is over k below length, in that order; c runs over so many vectors as the tuple ``vectors`` is
    long.  All arrays are C-contiguous; out is of a type that may be wider.
    """
    signature = types.void(vectors, left, a, last_a, rows, b, length, out, i, j)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, left, a, last_a, rows, b, length, out, i, j = unpacked(context, builder, signature, arguments)
        element = context.get_data_type(signature.args[1].dtype)
        itemsize = context.get_abi_sizeof(element)
        vector = ir.VectorType(element, VECTOR_BYTES // itemsize)
        columns = range(signature.args[0].count)
        left_rows = _row_starts(builder, left, a, last_a, TILE_ROWS)
        right = address_of(builder, rows, b.type(0), b)
        row_bytes, _ = cgutils.unpack_tuple(builder, rows.strides)
        zero = zeros(vector)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in columns] for _ in left_rows]
        with cgutils.for_range(builder, length) as loop:
            offset = builder.mul(loop.index, loop.index.type(itemsize))
            start = cgutils.pointer_add(builder, right, builder.mul(loop.index, row_bytes))
            y = [load(builder, vector, start, c * VECTOR_BYTES) for c in columns]
            for row, places in zip(left_rows, sums, strict=True):
                factor = cgutils.pointer_add(builder, row, offset, element.as_pointer())
                x = splat(builder, vector, builder.load(factor))
                for c, place in enumerate(places):
                    product = builder.fmul(x, y[c], flags=["contract"])
                    builder.store(builder.fadd(builder.load(place), product, flags=["contract"]), place)
        wide = ir.VectorType(context.get_data_type(signature.args[7].dtype), vector.count)
        for r, places in enumerate(sums):
            start = address_of(builder, out, builder.add(i, i.type(r)), j)
            for c, place in enumerate(places):
                total = converted(builder, builder.load(place), wide)
                store(builder, total, start, c * bytes_of(wide))
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def transpose_squares(
    typing_context: Any, squares: Any, source: Any, i: Any, j: Any, pivots: Any, packed: Any
) -> Any:
    """``packed[j + c, i + r] = source[i + r, j + c] - pivots[j + c]`` for c below SIDE.

    r runs over the rows of as many squares, one below the other, as the tuple ``squares`` is long, a power of
    two.  The source and packed have unit column stride; packed and pivots are of one type, and the source of
    another.  Given None for pivots, nothing is subtracted.
    """
    signature = types.void(squares, source, i, j, pivots, packed)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, source, i, j, pivots, packed = unpacked(context, builder, signature, arguments)
        given, wanted = (ir.VectorType(context.get_data_type(signature.args[k].dtype), SIDE) for k in (1, 5))
        pivot = None
        if not isinstance(signature.args[4], types.NoneType):
            pivot = load(builder, wanted, address_of(builder, pivots, j))
        columns: list[Any] = []
        for first in range(0, SIDE * signature.args[0].count, SIDE):
            starts = (address_of(builder, source, builder.add(i, i.type(first + r)), j) for r in range(SIDE))
            rows = [converted(builder, load(builder, given, start), wanted) for start in starts]
            if pivot is not None:
                rows = [builder.fsub(row, pivot) for row in rows]
            columns.append(_transposed(builder, rows))
        while len(columns) > 1:
            pairs = zip(columns[::2], columns[1::2], strict=True)
            columns = [[joined(builder, *parts) for parts in zip(*pair, strict=True)] for pair in pairs]
        for c, column in enumerate(columns[0]):
            store(builder, column, address_of(builder, packed, builder.add(j, j.type(c)), i))
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def pack_lanes(typing_context: Any, source: Any, first: Any, last: Any, element: Any, packed: Any) -> Any:
    """``packed[element + c, lane] = source[min(first + lane, last)].flat[element + c]`` for c below SIDE.

    What belongs to one index of the source lies in one run; packed is C-contiguous, with LANES columns, of a
    type that may be wider.
    """
    signature = types.void(source, first, last, element, packed)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, first, last, element, packed = unpacked(context, builder, signature, arguments)
        narrow, wide = (ir.VectorType(context.get_data_type(signature.args[k].dtype), SIDE) for k in (0, 4))
        offset = builder.mul(element, element.type(context.get_abi_sizeof(narrow.element)))
        starts = _row_starts(builder, source, first, last, LANES)
        rows = [load(builder, narrow, start, offset) for start in starts]
        # The runs are too short for the processor to see where the next ones will begin.
        ahead = builder.mul(cgutils.unpack_tuple(builder, source.strides)[0], first.type(LANES))
        for start in starts:
            prefetch(
                builder, cgutils.pointer_add(builder, start, builder.add(offset, ahead)), into=ASKED_INTO
            )
        rows = [converted(builder, row, wide) for row in rows]
        halves = [_transposed(builder, rows[k : k + SIDE]) for k in range(0, LANES, SIDE)]
        for c, parts in enumerate(zip(*halves, strict=True)):
            row = address_of(builder, packed, builder.add(element, element.type(c)))
            store(builder, joined(builder, *parts), row)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def lane_products(
    typing_context: Any,
    left: Any,
    a: Any,
    last_a: Any,
    a_step: Any,
    right: Any,
    b: Any,
    last_b: Any,
    b_step: Any,
    count: Any,
    sums: Any,
    place: Any,
    place_step: Any,
) -> Any:
    """The sum over i of ``left[min(a + r, last_a) + i * a_step] * right[min(b + c, last_b) + i * b_step]``.

    It becomes ``sums[place + r * place_step + c]``.  Here i is below count, r below LANE_ROWS and c below
    LANE_COLUMNS; the rows of the arrays are vectors of LANES.
    """
    arguments = left, a, last_a, a_step, right, b, last_b, b_step, count, sums, place, place_step
    signature = types.void(*arguments)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, a, last_a, a_step, right, b, last_b, b_step, count, sums, place, place_step = unpacked(
            context, builder, signature, arguments
        )
        vector = _lane_vector(context, signature.args[0])
        row_bytes = context.get_abi_sizeof(vector.element) * LANES
        a_bytes, b_bytes = (builder.mul(step, step.type(row_bytes)) for step in (a_step, b_step))
        x_starts = _row_starts(builder, left, a, last_a, LANE_ROWS)
        y_starts = _row_starts(builder, right, b, last_b, LANE_COLUMNS)
        zero = zeros(vector)
        totals = [cgutils.alloca_once_value(builder, zero) for _ in range(LANE_ROWS * LANE_COLUMNS)]
        with cgutils.for_range(builder, count) as loop:
            a_offset, b_offset = (builder.mul(loop.index, step) for step in (a_bytes, b_bytes))
            x = [load(builder, vector, start, a_offset) for start in x_starts]
            y = [load(builder, vector, start, b_offset) for start in y_starts]
            for index, total in enumerate(totals):
                r, c = divmod(index, LANE_COLUMNS)
                product = builder.fmul(x[r], y[c], flags=["contract"])
                builder.store(builder.fadd(builder.load(total), product, flags=["contract"]), total)
        for index, total in enumerate(totals):
            r, c = divmod(index, LANE_COLUMNS)
            row = builder.add(place, builder.add(builder.mul(place_step, place.type(r)), place.type(c)))
            store(builder, builder.load(total), address_of(builder, sums, row))
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def subtract_products(
    typing_context: Any,
    out: Any,
    place: Any,
    left: Any,
    a: Any,
    a_step: Any,
    right: Any,
    b: Any,
    b_step: Any,
    count: Any,
) -> Any:
    """``out[place] -= sum_i left[a + i * a_step] * right[b + i * b_step]``: rows of LANES, i below count."""
    signature = types.void(out, place, left, a, a_step, right, b, b_step, count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, place, left, a, a_step, right, b, b_step, count = unpacked(
            context, builder, signature, arguments
        )
        vector, row = _lane_vector(context, signature.args[0]), address_of(builder, out, place)
        row_bytes = context.get_abi_sizeof(vector.element) * LANES
        starts = address_of(builder, left, a), address_of(builder, right, b)
        steps = [builder.mul(step, step.type(row_bytes)) for step in (a_step, b_step)]
        total = cgutils.alloca_once_value(builder, load(builder, vector, row))
        with cgutils.for_range(builder, count) as loop:
            x, y = (
                load(builder, vector, start, builder.mul(loop.index, step))
                for start, step in zip(starts, steps, strict=True)
            )
            product = builder.fmul(x, y, flags=["contract"])
            builder.store(builder.fsub(builder.load(total), product, flags=["contract"]), total)
        store(builder, builder.load(total), row)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def subtract_lanes(
    typing_context: Any, rows: Any, first: Any, step: Any, count: Any, values: Any, j: Any
) -> Any:
    """``rows[first + i * step] -= values[j]`` for i below count, of rows of LANES."""
    signature = types.void(rows, first, step, count, values, j)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, first, step, count, values, j = unpacked(context, builder, signature, arguments)
        vector, start = _lane_vector(context, signature.args[0]), address_of(builder, rows, first)
        step_bytes = builder.mul(step, step.type(context.get_abi_sizeof(vector.element) * LANES))
        value = load(builder, vector, address_of(builder, values, j))
        with cgutils.for_range(builder, count) as loop:
            offset = builder.mul(loop.index, step_bytes)
            store(builder, builder.fsub(load(builder, vector, start, offset), value), start, offset)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def multiply_lanes(typing_context: Any, x: Any, i: Any, y: Any, j: Any, out: Any, place: Any) -> Any:
    """``out[place] = x[i] * y[j]``, of rows of LANES."""
    signature = types.void(x, i, y, j, out, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, i, y, j, out, place = unpacked(context, builder, signature, arguments)
        vector = _lane_vector(context, signature.args[0])
        factors = (load(builder, vector, address_of(builder, *one)) for one in ((x, i), (y, j)))
        store(builder, builder.fmul(*factors), address_of(builder, out, place))
        return context.get_dummy_value()

    return signature, generate


def _updating(combine: Callable[[Any, Any, Any], Any]) -> Any:
    """``out[place] = combine(out[place], rows[i])``, of rows of LANES."""

    @intrinsic  # type: ignore[untyped-decorator]
    def update(typing_context: Any, out: Any, place: Any, rows: Any, i: Any) -> Any:
        signature = types.void(out, place, rows, i)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out, place, rows, i = unpacked(context, builder, signature, arguments)
            vector, target = _lane_vector(context, signature.args[0]), address_of(builder, out, place)
            before, given = (load(builder, vector, row) for row in (target, address_of(builder, rows, i)))
            store(builder, combine(builder, before, given), target)
            return context.get_dummy_value()

        return signature, generate

    return update


def _of_each(builder: Any, function: str, vector: Any) -> Any:
    """A function of LLVM's, such as a root, of each lane."""
    name = f"llvm.{function}.v{vector.type.count}{vector.type.element.intrinsic_name}"
    kind = ir.FunctionType(vector.type, [vector.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])


def _reciprocal_root(builder: Any, before: Any, given: Any) -> Any:
    ones = ir.Constant(given.type, [1.0] * given.type.count)
    return builder.fdiv(ones, _of_each(builder, "sqrt", given))


def _larger(builder: Any, before: Any, given: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<=", before, given), given, before)


# What they do to a row of lanes with another: a NaN stays where it is, and is not brought by `keep_larger`.
copy_lanes = _updating(lambda builder, before, given: given)
add_lanes = _updating(lambda builder, before, given: builder.fadd(before, given))
add_magnitudes = _updating(
    lambda builder, before, given: builder.fadd(before, _of_each(builder, "fabs", given))
)
reciprocal_roots = _updating(_reciprocal_root)
keep_larger = _updating(_larger)


def _row_starts(builder: Any, array: Any, first: Any, last: Any, count: int) -> list[Any]:
    """Addresses of `count` rows from `first` on, none past `last`."""
    rows = (builder.add(first, first.type(k)) for k in range(count))
    return [
        address_of(builder, array, builder.select(builder.icmp_signed("<", row, last), row, last))
        for row in rows
    ]


def _lane_vector(context: Any, kind: Any) -> ir.VectorType:
    """The type of a row of LANES."""
    return ir.VectorType(context.get_data_type(kind.dtype), LANES)


def _exchanged(builder: Any, upper: Any, lower: Any, step: int) -> tuple[Any, Any]:
    """Two rows, whose blocks of `step` lanes off the diagonal of each 2 × 2 square changed places."""
    count = upper.type.count
    lanes = [lane if not lane & step else count + lane - step for lane in range(count)]
    masks = (lanes, [lane + step for lane in lanes])
    kind = ir.VectorType(ir.IntType(32), count)
    first, second = (builder.shuffle_vector(upper, lower, ir.Constant(kind, mask)) for mask in masks)
    return first, second


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """A square of as many vectors as each has lanes, in log2 of that many rounds of exchanges."""
    step = 1
    while step < len(rows):
        for i in range(len(rows)):
            if not i & step:
                rows[i], rows[i + step] = _exchanged(builder, rows[i], rows[i + step], step)
        step *= 2
    return rows


def lane_sums(builder: Any, vectors: list[Any]) -> list[Any]:
    """The sum of each vector's lanes, in the order of the vectors, which are no fewer than the lanes."""
    step = 1
    while step < vectors[0].type.count:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [builder.fadd(*_exchanged(builder, *pair, step)) for pair in pairs]
        step *= 2
    return vectors
