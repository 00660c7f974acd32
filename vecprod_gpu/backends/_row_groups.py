"""Short rows, as many at a time as a vector has lanes: their dot products come out side by side.

A row of 8 numbers is one vector, and to add up its lanes takes longer than to multiply them.  Of a square of
8 such vectors the sums of all rows take three rounds of exchanges, and end in one vector of residuals.

Ideas tried, 2 cores of a Cascade Lake server, float32, of the same-run read of X: four rows, each summed by
itself, 0.45 at d = 8 and 0.77 at 16; so many rows as a vector of 32 bytes has lanes (kept) 0.83 and 0.90, and
0.92 at 32; at 64 0.84 in place of 0.88, but 1.5 times as fast where X is in the caches.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._llvm import address_of, fused, load, prefetch, shuffled, store, unpacked
from ._streaming import LINE_BYTES
from ._vectors import lane_sums

GROUP_BYTES = 32  # of a vector; a group has as many rows as it has lanes


@intrinsic  # type: ignore[untyped-decorator]
def add_row_groups(
    typing_context: Any,
    X: Any,
    start: Any,
    stop: Any,
    y: Any,
    target: Any,
    w: Any,
    model: Any,
    weights: Any,
    is_weighted: Any,
    x_offset: Any,
    ahead: Any,
    gradient: Any,
    squares: Any,
) -> Any:
    """Add the sums of whole groups of rows to ``gradient[model]`` and ``squares[model]``; the first row left.

    Of the rows from start to stop, ``residual = (x - offset)·w[model] - y[target]``, ``gradient += weight *
    residual * (x - offset)`` and ``squares += weight * residual**2``.  X is C-contiguous, and its columns are
    whole vectors.  What lies `ahead` bytes further is asked for, unless that is 0.
    """
    arguments = X, start, stop, y, target, w, model, weights, is_weighted, x_offset, ahead, gradient, squares
    signature = types.intp(*arguments)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        X, start, stop, y, target, w, model, weights, is_weighted, x_offset, ahead, gradient, squares = (
            unpacked(context, builder, signature, arguments)
        )
        scalar = context.get_data_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(scalar)
        vector = ir.VectorType(scalar, GROUP_BYTES // size)
        is_centred = not isinstance(signature.args[9], types.NoneType)
        columns = cgutils.unpack_tuple(builder, X.shape)[1]
        row_bytes = builder.mul(columns, columns.type(size))
        group_bytes = builder.mul(row_bytes, columns.type(vector.count))
        rows = builder.sub(stop, start)
        vectors, groups = (builder.udiv(n, n.type(vector.count)) for n in (columns, rows))
        is_first = builder.icmp_signed("!=", ahead, ahead.type(0))
        lines = builder.select(is_first, builder.udiv(group_bytes, rows.type(LINE_BYTES)), rows.type(0))
        zero = ir.Constant(vector, [0.0] * vector.count)
        dots = [cgutils.alloca_once_value(builder, zero) for _ in range(vector.count)]
        square = cgutils.alloca_once_value(builder, zero)
        factor = cgutils.alloca_once_value(builder, zero)
        w_start, sums_start = address_of(builder, w, model), address_of(builder, gradient, model)

        def column_of(starts: list[Any], offset: Any) -> list[Any]:
            """A vector of each row, less the offset of its columns."""
            values = [load(builder, vector, start, offset) for start in starts]
            if is_centred:
                middle = load(builder, vector, x_offset.data, offset)
                values = [builder.fsub(value, middle) for value in values]
            return values

        with cgutils.for_range(builder, groups) as group:
            first = builder.add(start, builder.mul(group.index, rows.type(vector.count)))
            block = address_of(builder, X, first)
            starts = [
                cgutils.pointer_add(builder, block, builder.mul(row_bytes, rows.type(r)))
                for r in range(vector.count)
            ]
            with cgutils.for_range(builder, lines) as line:
                offset = builder.add(ahead, builder.mul(line.index, rows.type(LINE_BYTES)))
                prefetch(builder, cgutils.pointer_add(builder, block, offset))
            for dot in dots:
                builder.store(zero, dot)
            with cgutils.for_range(builder, vectors) as step:
                offset = builder.mul(step.index, rows.type(GROUP_BYTES))
                factors = load(builder, vector, w_start, offset)
                for dot, value in zip(dots, column_of(starts, offset), strict=True):
                    builder.store(fused(builder, value, factors, builder.load(dot)), dot)
            (predicted,) = lane_sums(builder, [builder.load(dot) for dot in dots])
            residual = builder.fsub(predicted, _of_rows(builder, vector, y, first, target))
            builder.store(residual, factor)
            with builder.if_then(is_weighted):
                weight = _of_rows(builder, vector, weights, first)
                builder.store(builder.fmul(residual, weight), factor)
            weighted = builder.load(factor)
            builder.store(fused(builder, weighted, residual, builder.load(square)), square)
            scales = [shuffled(builder, weighted, [r] * vector.count) for r in range(vector.count)]
            with cgutils.for_range(builder, vectors) as step:
                offset = builder.mul(step.index, rows.type(GROUP_BYTES))
                values = column_of(starts, offset)
                # Fused by name: of two products that are added, the compiler may fuse either.
                parts = [
                    fused(builder, values[r + 1], scales[r + 1], builder.fmul(values[r], scales[r]))
                    for r in range(0, vector.count, 2)
                ]
                added = builder.fadd(load(builder, vector, sums_start, offset), _pairwise(builder, parts))
                store(builder, added, sums_start, offset)
        total = _pairwise(
            builder,
            [builder.extract_element(builder.load(square), ir.IntType(32)(r)) for r in range(vector.count)],
        )
        place = builder.bitcast(address_of(builder, squares, model), scalar.as_pointer())
        builder.store(builder.fadd(builder.load(place), total), place)
        return builder.add(start, builder.mul(groups, rows.type(vector.count)))

    return signature, generate


def _of_rows(builder: Any, vector: ir.VectorType, array: Any, first: Any, *others: Any) -> Any:
    """One element of each row of a group, wherever the rows lie."""
    values = ir.Constant(vector, ir.Undefined)
    for r in range(vector.count):
        place = address_of(builder, array, builder.add(first, first.type(r)), *others)
        element = builder.load(builder.bitcast(place, vector.element.as_pointer()))
        values = builder.insert_element(values, element, ir.IntType(32)(r))
    return values


def _pairwise(builder: Any, parts: list[Any]) -> Any:
    """The sum of a power of two of vectors or numbers."""
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.fadd(left, right) for left, right in pairs]
    return parts[0]
