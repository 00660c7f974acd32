"""Rows in groups of four: what a gradient needs of them, while they are in registers or the nearest cache.

The columns of a row are spread over the lanes of vectors.  A row of a few vectors stays in registers between
its dot product and its share of the gradient, and so do the sums of the gradient: nothing else is read or
written.  A longer row is read twice, the second time from a cache, and what is asked for in both turns
(`prefetching`) is there in time.

The rows of a group are multiplied with w side by side, which takes fewest instructions.  Those from memory
that are not too long are taken one after another on some processors, whose hardware then reads ahead of them
best.  The bits are the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..llvm import (
    address_of,
    fused,
    joined,
    keep_first,
    load,
    load_first,
    shuffled,
    store,
    unpacked,
    zeros,
)
from ..processor import VECTOR_BYTES
from .prefetching import MOST_IN_TURN, MOST_SHORT, Prefetching, Stretch

ROWS = 4  # of a group
NEAR_BYTES = 16  # among which lanes move fastest

# Rows that stay in registers, as bytes of a vector and vectors of a row: of 32 registers, or of 16.
SHORT = [(32, 1), (64, 1), (64, 2), (64, 3), (64, 4)] if VECTOR_BYTES == 64 else [(32, 1), (32, 2)]
Visit = Callable[[Any, Any], None]  # writes the code for a vector of a row
FEW = 2  # vectors of a row, whose sums are two each: additions to one would wait for each other


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
    is_far: Any,
    gradient: Any,
    squares: Any,
) -> Any:
    """Add the sums over whole groups of rows to ``gradient[model]`` and ``squares[model]``.

    Where ``residual = (x - offset)·w[model] - y[target]``, they are those of ``weight * residual * (x -
    offset)`` and of ``weight * residual**2``.  X is C-contiguous, of the type of all else or a narrower one;
    the rows of w and of gradient are whole vectors, those of w with zeros at their ends.  ``is_far`` tells
    whether X comes from memory, not from a cache, which changes no bit.
    """
    rows = X, start, stop, y, target
    signature = types.void(*rows, w, model, weights, is_weighted, x_offset, is_far, gradient, squares)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        groups = _Groups(context, builder, signature, arguments)
        longest = 0
        for vector_bytes, count in SHORT:
            shorter, longest = longest, vector_bytes * count
            with builder.if_then(groups.has_rows_between(shorter, longest)):
                groups.add_short(vector_bytes, count)
        with builder.if_then(groups.has_rows_past(longest)):
            groups.add_long()
        groups.add_square()
        return context.get_dummy_value()

    return signature, generate


class _Groups:
    """Writes the code of one call; the names are those of `add_row_groups`."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        X, start, stop, y, target, w, model, weights, is_weighted, x_offset, is_far, gradient, squares = (
            unpacked(context, builder, signature, arguments)
        )
        self.builder, self.index = builder, start.type
        self.scalar, self.stored = (context.get_data_type(signature.args[k].dtype) for k in (5, 0))
        self.size, self.stored_size = map(context.get_abi_sizeof, (self.scalar, self.stored))
        self.X, self.start, self.stop = X, start, stop
        self.y, self.target = y, target
        self.weights, self.is_weighted = weights, is_weighted
        self.offset = None if isinstance(signature.args[9], types.NoneType) else x_offset.data
        self.is_far = is_far
        self.columns = cgutils.unpack_tuple(builder, X.shape)[1]
        self.ahead = Prefetching(builder, self.columns, self.stored_size, ROWS)
        self.w, self.gradient = address_of(builder, w, model), address_of(builder, gradient, model)
        self.square = builder.bitcast(address_of(builder, squares, model), self.scalar.as_pointer())
        self.square_by_row = self.new_sum(ir.VectorType(self.scalar, ROWS))

    def has_rows_past(self, size: int) -> Any:
        """Whether the vectors of a row have more bytes."""
        return self.builder.icmp_signed(">", self.columns, self.index(size // self.size))

    def has_rows_between(self, shorter: int, longest: int) -> Any:
        """Whether they have more bytes than the one number, and no more than the other."""
        is_longer, is_too_long = self.has_rows_past(shorter), self.has_rows_past(longest)
        return self.builder.and_(is_longer, self.builder.not_(is_too_long))

    def add_short(self, vector_bytes: int, count: int) -> None:
        """The sums of rows of so many vectors, all of which stay in registers."""
        builder = self.builder
        lanes = vector_bytes // self.size
        vector = ir.VectorType(self.scalar, lanes)
        columns = [self.index(v * lanes) for v in range(count)]
        kept = [None] * (count - 1) + [builder.sub(self.columns, columns[-1])]
        w = [self.read(vector, self.w, column) for column in columns]
        sums = [[self.new_sum(vector) for _ in range(2 if count <= FEW else 1)] for _ in columns]
        with self.each_group() as (first, rows):
            if vector_bytes * count <= MOST_SHORT:
                with builder.if_then(self.is_far):
                    self.ahead.beside_short(rows, count * lanes)
            x = [
                [self.read_row(vector, row, *part) for part in zip(columns, kept, strict=True)]
                for row in rows
            ]
            dots = [builder.fmul(parts[0], w[0]) for parts in x]
            for v in range(1, count):
                dots = [fused(builder, parts[v], w[v], dot) for parts, dot in zip(x, dots, strict=True)]
            residuals = self.weighted_residuals(first, dots)
            for r in range(ROWS):
                scale = shuffled(builder, residuals, [r] * lanes)
                for v in range(count):
                    total = sums[v][r % len(sums[v])]
                    added = fused(builder, x[r][v], self.only(kept[v], scale), builder.load(total))
                    builder.store(added, total)
        for column, parts in zip(columns, sums, strict=True):
            added = _pairwise(builder, [builder.load(part) for part in parts])
            before = self.read(vector, self.gradient, column)
            self.write(builder.fadd(before, added), self.gradient, column)

    def add_long(self) -> None:
        """The sums of rows of more vectors, which are read twice."""
        builder = self.builder
        vector = ir.VectorType(self.scalar, VECTOR_BYTES // self.size)
        dots = [self.new_sum(vector) for _ in range(ROWS)]
        in_turn = self.are_best_in_turn()
        with self.each_group() as (first, rows):
            for dot in dots:
                builder.store(zeros(vector), dot)
            with builder.if_else(in_turn) as (one_after_another, side_by_side):
                with one_after_another:
                    for r in range(ROWS):
                        self.multiply(rows[r : r + 1], dots[r : r + 1], self.ahead.beside_one(rows, r))
                with side_by_side:
                    self.multiply(rows, dots, self.ahead.beside_all(rows, 0))
            residuals = self.weighted_residuals(first, [builder.load(dot) for dot in dots])
            scales = [shuffled(builder, residuals, [r] * vector.count) for r in range(ROWS)]

            def add(column: Any, kept: Any) -> None:
                x = [self.read_row(vector, row, column, kept) for row in rows]
                s = [self.only(kept, scale) for scale in scales]
                even = fused(builder, x[0], s[0], self.read(vector, self.gradient, column))
                odd = builder.fmul(x[1], s[1])
                added = builder.fadd(fused(builder, x[2], s[2], even), fused(builder, x[3], s[3], odd))
                self.write(added, self.gradient, column)

            self.each_vector(vector, add, self.ahead.beside_all(rows, 1))

    def are_best_in_turn(self) -> Any:
        """Whether long rows are multiplied one after another."""
        return self.builder.and_(self.is_far, self.builder.not_(self.has_rows_past(MOST_IN_TURN)))

    def multiply(self, rows: list[Any], dots: list[Any], asked: list[Stretch]) -> None:
        """The products of rows with w, added to a vector for each."""
        builder = self.builder
        vector = dots[0].type.pointee

        def add(column: Any, kept: Any) -> None:
            w = self.read(vector, self.w, column)
            for row, dot in zip(rows, dots, strict=True):
                x = self.read_row(vector, row, column, kept)
                builder.store(fused(builder, x, w, builder.load(dot)), dot)

        self.each_vector(vector, add, asked)

    def add_square(self) -> None:
        """The sum of squares, when all groups have been seen."""
        builder = self.builder
        lanes = builder.load(self.square_by_row)
        total = _pairwise(builder, [builder.extract_element(lanes, ir.IntType(32)(r)) for r in range(ROWS)])
        builder.store(builder.fadd(builder.load(self.square), total), self.square)

    @contextmanager
    def each_group(self) -> Iterator[tuple[Any, list[Any]]]:
        """A loop over the groups: the index of their first row, and where each row is."""
        builder = self.builder
        with cgutils.for_range_slice(builder, self.start, self.stop, self.index(ROWS)) as (first, _):
            rows = [builder.add(first, self.index(r)) for r in range(ROWS)]
            yield first, [address_of(builder, self.X, row) for row in rows]

    def each_vector(self, vector: ir.VectorType, do: Visit, asked: list[Stretch]) -> None:
        """``do(column, kept)`` for each vector of a row, after asking for what will be needed."""
        builder, lanes = self.builder, self.index(vector.count)

        def visit(column: Any, kept: Any) -> None:
            for stretch in asked:
                self.ahead.ask(stretch, column, vector.count)
            do(column, kept)

        with cgutils.for_range(builder, builder.udiv(self.columns, lanes)) as loop:
            visit(builder.mul(loop.index, lanes), None)
        left = builder.urem(self.columns, lanes)
        with builder.if_then(builder.icmp_signed("!=", left, self.index(0))):
            visit(builder.sub(self.columns, left), left)

    def read_row(self, vector: ir.VectorType, row: Any, column: Any, kept: Any) -> Any:
        """A vector of a row from a column on, less the offset: all of it, or so many lanes and zeros."""
        stored = ir.VectorType(self.stored, vector.count)
        values = self.read(stored, row, column, kept)
        if stored != vector:
            values = self.builder.fpext(values, vector)
        if self.offset is None:
            return values
        return self.builder.fsub(values, self.read(vector, self.offset, column, kept))

    def read(self, vector: ir.VectorType, start: Any, column: Any, kept: Any = None) -> Any:
        """A vector from a column on."""
        offset = self.bytes_before(vector, column)
        if kept is None:
            return load(self.builder, vector, start, offset)
        return load_first(self.builder, vector, start, offset, kept)

    def write(self, value: Any, start: Any, column: Any) -> None:
        """A vector to where it was read."""
        store(self.builder, value, start, self.bytes_before(value.type, column))

    def bytes_before(self, vector: ir.VectorType, column: Any) -> Any:
        """Of the elements of a row before a column."""
        size = self.size if vector.element == self.scalar else self.stored_size
        return self.builder.mul(column, self.index(size))

    def only(self, kept: Any, value: Any) -> Any:
        """So many lanes and zeros; all of them for None."""
        return value if kept is None else keep_first(self.builder, value, kept)

    def weighted_residuals(self, first: Any, dots: list[Any]) -> Any:
        """One residual a row, from vectors of its products, times its weight; the squares are summed too."""
        builder = self.builder
        residuals = builder.fsub(
            _lane_sums(builder, dots, self.size), self.of_rows(self.y, first, self.target)
        )
        weighted = cgutils.alloca_once_value(builder, residuals)
        with builder.if_then(self.is_weighted):
            builder.store(builder.fmul(residuals, self.of_rows(self.weights, first)), weighted)
        scaled = builder.load(weighted)
        square = fused(builder, scaled, residuals, builder.load(self.square_by_row))
        builder.store(square, self.square_by_row)
        return scaled

    def of_rows(self, array: Any, first: Any, *others: Any) -> Any:
        """One element of each row of a group, wherever the rows lie."""
        builder = self.builder
        vector = ir.VectorType(self.scalar, ROWS)
        values = cgutils.alloca_once(builder, vector)
        step = cgutils.unpack_tuple(builder, array.strides)[0]
        with builder.if_else(builder.icmp_signed("==", step, self.index(self.size))) as (dense, apart):
            with dense:
                builder.store(load(builder, vector, address_of(builder, array, first, *others)), values)
            with apart:
                gathered = ir.Constant(vector, ir.Undefined)
                for r in range(ROWS):
                    place = address_of(builder, array, builder.add(first, self.index(r)), *others)
                    element = builder.load(builder.bitcast(place, self.scalar.as_pointer()))
                    gathered = builder.insert_element(gathered, element, ir.IntType(32)(r))
                builder.store(gathered, values)
        return builder.load(values)

    def new_sum(self, vector: ir.VectorType) -> Any:
        """Where a sum is kept, in a register once this is compiled; zero at first."""
        return cgutils.alloca_once_value(self.builder, zeros(vector))


def _lane_sums(builder: Any, vectors: list[Any], size: int) -> Any:
    """The sums of the lanes of each of four vectors, in the lanes of one."""
    near = NEAR_BYTES // size
    for _ in range(near.bit_length() - 1):
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [_neighbours_added(builder, *pair, near) for pair in pairs]
    while vectors[0].type.count > near:
        half = vectors[0].type.count // 2
        vectors = [
            builder.fadd(shuffled(builder, v, range(half)), shuffled(builder, v, range(half, 2 * half)))
            for v in vectors
        ]
    return vectors[0] if len(vectors) == 1 else joined(builder, *vectors)


def _neighbours_added(builder: Any, x: Any, y: Any, near: int) -> Any:
    """Of each run of so many lanes, the sums of neighbours: first those of x, then those of y."""
    count = x.type.count
    even = [
        start + lane
        for block in range(0, count, near)
        for start in (block, count + block)
        for lane in range(0, near, 2)
    ]
    masks = (
        ir.Constant(ir.VectorType(ir.IntType(32), count), lanes)
        for lanes in (even, [lane + 1 for lane in even])
    )
    return builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in masks))


def _pairwise(builder: Any, parts: list[Any]) -> Any:
    """The sum of a power of two of vectors or numbers."""
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.fadd(left, right) for left, right in pairs]
    return parts[0]
