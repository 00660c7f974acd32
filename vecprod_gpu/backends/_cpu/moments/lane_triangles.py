"""Sums over the rows of problems side by side in lanes, of so few columns that all sums stay in registers.

A row of lanes is read once for each of the two sums, and nothing that is centred goes back to memory.

Measured on one core of Zen 4, ns for a problem of 32 x 5 float64: centred in memory and multiplied in tiles
of 2 x 4 columns 114, here 52, with what writes the result.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..llvm import bytes_of, fused, load, store, unpacked, zeros
from ..processor import VECTOR_BYTES
from ..vectors import LANES

MOST_COLUMNS = 6 if VECTOR_BYTES == 64 else 2  # whose products take 21 of 32 registers, or 6 of 16


@intrinsic  # type: ignore[untyped-decorator]
def sum_columns(typing_context: Any, rows: Any, p: Any, weights: Any, pivots: Any, sums: Any) -> Any:
    """``sums[j] = sum_i weights[i] * (z_i[j] - pivots[j])``, of rows of LANES.

    ``z_i[j]`` is ``rows[i * p + j]`` for j below p, and other columns lie likewise behind these.  There are
    as many as pivots has rows: from 1 to `MOST_COLUMNS`.
    """
    signature = types.void(rows, p, weights, pivots, sums)

    def write(each: "_LaneRows", pivots: Any, sums: Any) -> None:
        middle = each.read(pivots)
        totals = [each.new_sum() for _ in middle]
        with each.row() as (values, weight):
            for value, pivot, total in zip(values, middle, totals, strict=True):
                each.add(total, each.builder.fsub(value, pivot), weight)
        each.write(totals, sums)

    return signature, _for_each_width(write)


@intrinsic  # type: ignore[untyped-decorator]
def sum_products(
    typing_context: Any, rows: Any, p: Any, weights: Any, pivots: Any, means: Any, sums: Any
) -> Any:
    """``sums[place] = sum_i weights[i] * z_i[a] * z_i[b]`` for the pairs a ≤ b in their order.

    Here ``z_i[j]`` is that of `sum_columns` less ``pivots[j]`` and then ``means[j]``.
    """
    signature = types.void(rows, p, weights, pivots, means, sums)

    def write(each: "_LaneRows", pivots: Any, means: Any, sums: Any) -> None:
        builder = each.builder
        middle = list(zip(each.read(pivots), each.read(means), strict=True))
        pairs = [(a, b) for a in range(each.count) for b in range(a, each.count)]
        totals = [each.new_sum() for _ in pairs]
        with each.row() as (values, weight):
            z = [
                builder.fsub(builder.fsub(value, pivot), mean)
                for value, (pivot, mean) in zip(values, middle, strict=True)
            ]
            weighted = [builder.fmul(value, weight) for value in z]
            for (a, b), total in zip(pairs, totals, strict=True):
                each.add(total, weighted[a], z[b])
        each.write(totals, sums)

    return signature, _for_each_width(write)


def _for_each_width(write: Callable[..., None]) -> Any:
    """Code for each number of columns."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, p, weights, *others = unpacked(context, builder, signature, arguments)
        vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
        columns = cgutils.unpack_tuple(builder, others[0].shape)[0]
        for count in range(1, MOST_COLUMNS + 1):
            with builder.if_then(builder.icmp_signed("==", columns, columns.type(count))):
                write(_LaneRows(builder, vector, rows, p, weights, count), *others)
        return context.get_dummy_value()

    return generate


class _LaneRows:
    """Writes the code that goes through the rows of so many columns."""

    def __init__(
        self, builder: Any, vector: ir.VectorType, rows: Any, p: Any, weights: Any, count: int
    ) -> None:
        self.builder, self.count = builder, count
        self._vector, self._rows, self._p, self._weights = vector, rows, p, weights
        self._n = cgutils.unpack_tuple(builder, weights.shape)[0]

    @contextmanager
    def row(self) -> Iterator[tuple[list[Any], Any]]:
        """A loop over the rows: the values of all columns, and the weight."""
        places = [self._place(j) for j in map(self._p.type, range(self.count))]
        with cgutils.for_range(self.builder, self._n) as loop:
            values = [self._load(start, self.builder.mul(loop.index, step)) for start, step in places]
            yield values, self._load(self._weights.data, self._bytes(loop.index))

    def _place(self, j: Any) -> tuple[Any, Any]:
        """Where a column begins, and the bytes from one of its values to the next."""
        builder, p = self.builder, self._p
        is_x = builder.icmp_signed("<", j, p)
        of_y = builder.add(builder.mul(self._n, p), builder.sub(j, p))
        first = builder.select(is_x, j, of_y)
        step = builder.select(is_x, p, builder.sub(p.type(self.count), p))
        return cgutils.pointer_add(builder, self._rows.data, self._bytes(first)), self._bytes(step)

    def read(self, array: Any) -> list[Any]:
        """The first rows of an array, one for each column."""
        return [self._load(array.data, self._bytes(self._p.type(j))) for j in range(self.count)]

    def write(self, sums: list[Any], array: Any) -> None:
        """Sums to the first rows of an array."""
        for k, total in enumerate(sums):
            store(self.builder, self.builder.load(total), array.data, self._bytes(self._p.type(k)))

    def new_sum(self) -> Any:
        """Where a sum is kept, in a register once this is compiled; zero at first."""
        place = cgutils.alloca_once(self.builder, self._vector)
        self.builder.store(zeros(self._vector), place)
        return place

    def add(self, total: Any, x: Any, y: Any) -> None:
        """``total += x * y``."""
        self.builder.store(fused(self.builder, x, y, self.builder.load(total)), total)

    def _load(self, start: Any, offset: Any) -> Any:
        return load(self.builder, self._vector, start, offset)

    def _bytes(self, rows: Any) -> Any:
        """Of so many rows of lanes."""
        return self.builder.mul(rows, rows.type(bytes_of(self._vector)))
