"""Sums of outer products of short rows: each row is read once, multiplied and forgotten.

A row is a few vectors.  An element of it is spread over a vector and multiplied by those that hold it and the
later ones; the sums stay in registers, or in the first-level cache.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..llvm import address_of, load, load_first, prefetch, shuffled, splat, store, unpacked, zeros
from ..processor import VECTOR_BYTES

MOST_IN_REGISTERS = 2  # vectors of a row; of more, most sums are loaded and stored again and again
AHEAD = 2048  # bytes from a row that is read to what is asked for


@intrinsic  # type: ignore[untyped-decorator]
def add_outer_products(
    typing_context: Any,
    vectors: Any,
    targets: Any,
    X: Any,
    y: Any,
    weights: Any,
    is_weighted: Any,
    pivots: Any,
    sums: Any,
) -> Any:
    """Sums over the rows x of X and t of y, of which the pivots are taken away first.

    The element ``sums[i, j]`` becomes the sum of ``s x_i x_j``, for j no less than i.  The four rows after
    those become the sums of ``s x`` and of ``s t x``, and in every element that of ``s t t`` and of ``s t``;
    zeros where there are no targets.

    The lengths of two tuples tell how many vectors a row makes, and how many targets there are, 0 or 1.  The
    columns of X lie side by side; those that the last vector lacks count as zeros, as do their pivots.
    """
    signature = types.void(vectors, targets, X, y, weights, is_weighted, pivots, sums)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, X, y, weights, is_weighted, pivots, sums = unpacked(context, builder, signature, arguments)
        width, has_target = len(signature.args[0]), len(signature.args[1]) > 0
        if width == 0:
            return context.get_dummy_value()
        element = context.get_data_type(signature.args[6].dtype)
        lanes = VECTOR_BYTES // context.get_abi_sizeof(element)
        wide = ir.VectorType(element, lanes)
        stored = context.get_data_type(signature.args[2].dtype)
        narrow = ir.VectorType(stored, lanes)
        narrow_bytes = context.get_abi_sizeof(stored) * lanes
        zero = zeros(wide)
        count, columns = cgutils.unpack_tuple(builder, X.shape)
        index = count.type
        last_lanes = builder.sub(columns, index((width - 1) * lanes))

        def new_sum() -> Any:
            return cgutils.alloca_once_value(builder, zero)

        products = {
            (v, lane, u): new_sum() for v in range(width) for lane in range(lanes) for u in range(v, width)
        }
        totals, crossed = [new_sum() for _ in range(width)], [new_sum() for _ in range(width)]
        square, total = new_sum(), new_sum()
        one = cgutils.alloca_once_value(builder, element(1.0))
        weight_start = builder.select(is_weighted, weights.data, one)
        weight_step = builder.select(is_weighted, index(VECTOR_BYTES // lanes), index(0))
        middle = [load(builder, wide, pivots.data, index(v * VECTOR_BYTES)) for v in range(width)]
        y_middle = splat(builder, wide, _element(builder, element, pivots.data, index(width * VECTOR_BYTES)))

        def widened(value: Any, kind: Any) -> Any:
            return value if value.type == kind else builder.fpext(value, kind)

        def add(kept: Any, x: Any, y: Any) -> None:
            product = builder.fmul(x, y, flags=["contract"])
            builder.store(builder.fadd(builder.load(kept), product, flags=["contract"]), kept)

        def add_row(i: Any) -> None:
            row = address_of(builder, X, i)
            factor = _element(builder, element, weight_start, builder.mul(i, weight_step))
            weight = splat(builder, wide, factor)
            z = []
            for v in range(width):
                offset = index(v * narrow_bytes)
                prefetch(builder, cgutils.pointer_add(builder, row, index(v * narrow_bytes + AHEAD)))
                if v == width - 1:
                    x = load_first(builder, narrow, row, offset, last_lanes)
                else:
                    x = load(builder, narrow, row, offset)
                z.append(builder.fsub(widened(x, wide), middle[v]))
            weighted = [builder.fmul(values, weight) for values in z]
            for v, lane, u in products:
                spread = shuffled(builder, weighted[v], [lane] * lanes)
                add(products[v, lane, u], spread, z[u])
            for v in range(width):
                builder.store(builder.fadd(builder.load(totals[v]), weighted[v]), totals[v])
            if not has_target:
                return
            value = _element(builder, stored, address_of(builder, y, i))
            target = builder.fsub(splat(builder, wide, widened(value, element)), y_middle)
            for v in range(width):
                add(crossed[v], weighted[v], target)
            weighted_target = builder.fmul(target, weight)
            add(square, weighted_target, target)
            builder.store(builder.fadd(builder.load(total), weighted_target), total)

        rows_at_once = 2 if width <= MOST_IN_REGISTERS else 4
        whole = builder.and_(count, index(-rows_at_once))
        with cgutils.for_range_slice(builder, index(0), whole, index(rows_at_once)) as (i, _):
            for step in range(rows_at_once):
                add_row(builder.add(i, index(step)))
        with cgutils.for_range_slice(builder, whole, count, index(1)) as (i, _):
            add_row(i)
        rows = [
            [products.get((v, lane, u)) for u in range(width)] for v in range(width) for lane in range(lanes)
        ]
        rows += [totals, crossed, [square] * width, [total] * width]
        for place, row in enumerate(rows):
            for v, kept in enumerate(row):
                if kept is not None:
                    target = address_of(builder, sums, index(place), index(v * lanes))
                    store(builder, builder.load(kept), target)
        return context.get_dummy_value()

    return signature, generate


def _element(builder: Any, element: Any, base: Any, offset: Any = 0) -> Any:
    """A number at any address."""
    loaded = builder.load(cgutils.pointer_add(builder, base, offset, element.as_pointer()))
    loaded.align = 1
    return loaded
