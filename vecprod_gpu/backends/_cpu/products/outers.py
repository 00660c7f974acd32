"""Loops that write batches of outer products, in the registers of the machine.

Rows of any length are written in pieces of one width, the last of which may overlap the one before, with the
same numbers.  *Small squares* lie in memory without gaps, so that a register holds parts of several.

The parts of complex numbers lie side by side, in the registers too.  With u and v those of an element of a,
and x, y, ... those of b, a piece is ``u * (x, y, ...) + (-v, v, ...) * (y, x, ...)``: each product and sum is
rounded by itself, as in ``(u x - v y, u y + v x)``.

Ideas tried on 2 cores of Zen 4, GB/s of a float32 result in the second-level cache, for 2 x 2, 3 x 3, 4 x 4,
5 x 5, 8 x 8 and 64 x 64: element by element 3, 5, 6, 7, 20 and 64; pieces of 16 bytes, and single elements at
the end of a row, 2, 14, 27, 8, 50 and 55; pieces of up to 32 bytes (kept) 9, 14, 26, 23, 55 and 70, of 64 the
same but 64 for the last; small squares (kept) 46, 60 and 59.  In memory 2,000,000 of 3 x 3 take 3.5 ms, 2.8
past the cache, and 3.7 row by row.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..llvm import address_of, bytes_of, load, multiplied, prefetch, shuffled, splat, store, unpacked
from ..processor import LINE_BYTES, VECTOR_BYTES
from .groups import Groups, gathered
from .streaming import AHEAD, STREAM_BYTES, past_cache

WIDEST = 32  # bytes of a piece; wider ones lie in two lines of the cache, wherever rows are not aligned
SMALL = (1, 2, 3, 4)  # sides of small squares


class _Rows:
    """The rows of ``out[k] = a[k] ⊗ b[k]`` from a pair on; columns lie side by side in b and out."""

    def __init__(
        self, context: Any, builder: Any, signature: Any, arguments: Any, past_the_cache: bool
    ) -> None:
        self._builder, self._past_the_cache = builder, past_the_cache
        self._out, self._a, self._b, self._first = unpacked(context, builder, signature, arguments)
        element = signature.args[0].dtype
        self._parts = 2 if isinstance(element, types.Complex) else 1
        self._scalar = context.get_data_type(getattr(element, "underlying_float", element))
        self._size = self._parts * bytes_of(self._scalar)
        self._batch, self._rows, columns = cgutils.unpack_tuple(builder, self._out.shape)
        self._bytes = builder.mul(columns, columns.type(self._size))

    def write(self) -> None:
        """Choose by the length of a row how many pieces there are, and how wide."""
        builder, length = self._builder, self._bytes
        width = STREAM_BYTES if self._past_the_cache else self._size
        widest = STREAM_BYTES if self._past_the_cache else WIDEST
        while width <= widest:
            with builder.if_then(builder.icmp_signed("==", length, length.type(width))):
                self._few_pieces(width, [length.type(0)])
            is_longer = builder.icmp_signed(">", length, length.type(width))
            is_one_more = builder.icmp_signed(
                "<=" if width == widest else "<", length, length.type(2 * width)
            )
            with builder.if_then(builder.and_(is_longer, is_one_more)):
                self._few_pieces(width, [length.type(0), builder.sub(length, length.type(width))])
            width *= 2
        with builder.if_then(builder.icmp_signed(">", length, length.type(2 * widest))):
            self._many_pieces(widest)

    def _few_pieces(self, width: int, offsets: list[Any]) -> None:
        """Rows of one or two pieces, which stay in registers for all rows of a product."""
        builder, piece = self._builder, self._piece(width)
        with cgutils.for_range(builder, self._batch, start=self._first) as pair:
            source = address_of(builder, self._b, pair.index)
            values = [load(builder, piece, source, offset) for offset in offsets]
            with cgutils.for_range(builder, self._rows) as row:
                target, scales = self._row(pair.index, row.index, piece)
                if width >= STREAM_BYTES:
                    self._ask_ahead(target)
                for value, offset in zip(values, offsets, strict=True):
                    self._put(self._scaled(scales, value), target, offset)

    def _many_pieces(self, width: int) -> None:
        builder, piece, length = self._builder, self._piece(width), self._bytes
        with (
            cgutils.for_range(builder, self._batch, start=self._first) as pair,
            cgutils.for_range(builder, self._rows) as row,
        ):
            source = address_of(builder, self._b, pair.index)
            target, scales = self._row(pair.index, row.index, piece)

            def pieces_from(start: Any, at_once: int) -> Any:
                """Write so many at a time while there are enough; where the first one left over begins."""
                step = start.type(at_once * width)
                count = builder.udiv(builder.sub(length, start), step)
                with cgutils.for_range(builder, count) as loop:
                    first = builder.add(start, builder.mul(loop.index, step))
                    self._ask_ahead(cgutils.pointer_add(builder, target, first))
                    offsets = [builder.add(first, first.type(k * width)) for k in range(at_once)]
                    values = [load(builder, piece, source, offset) for offset in offsets]
                    for value, offset in zip(values, offsets, strict=True):
                        self._put(self._scaled(scales, value), target, offset)
                return builder.add(start, builder.mul(count, step))

            left = pieces_from(pieces_from(length.type(0), LINE_BYTES // width), 1)
            with builder.if_then(builder.icmp_signed("<", left, length)):
                last = builder.sub(length, length.type(width))
                self._put(self._scaled(scales, load(builder, piece, source, last)), target, last)

    def _piece(self, width: int) -> ir.VectorType:
        return ir.VectorType(self._scalar, width // self._size * self._parts)

    def _row(self, pair: Any, row: Any, piece: ir.VectorType) -> tuple[Any, list[Any]]:
        """Where a row of out begins, and the parts of its element of a, each in all lanes."""
        builder = self._builder
        element = builder.bitcast(address_of(builder, self._a, pair, row), self._scalar.as_pointer())
        parts = [builder.load(builder.gep(element, [ir.IntType(64)(k)])) for k in range(self._parts)]
        scales = [splat(builder, piece, part) for part in parts]
        if self._parts == 2:
            signs = ir.Constant(piece, [-1.0, 1.0] * (piece.count // 2))
            scales[1] = multiplied(builder, scales[1], signs)
        return address_of(builder, self._out, pair, row), scales

    def _scaled(self, scales: list[Any], value: Any) -> Any:
        """A piece of b times the element of a."""
        builder = self._builder
        product = multiplied(builder, scales[0], value)
        if self._parts == 2:
            others = shuffled(builder, value, [lane ^ 1 for lane in range(value.type.count)])
            product = builder.fadd(product, multiplied(builder, scales[1], others))
        return product

    def _ask_ahead(self, target: Any) -> None:
        if not self._past_the_cache:
            prefetch(self._builder, cgutils.pointer_add(self._builder, target, AHEAD), to_write=True)

    def _put(self, value: Any, target: Any, offset: Any) -> None:
        (past_cache if self._past_the_cache else store)(self._builder, value, target, offset)


def _outer_rows(past_the_cache: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing_context: Any, out: Any, a: Any, b: Any, first: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _Rows(context, builder, signature, arguments, past_the_cache).write()
            return context.get_dummy_value()

        return types.void(out, a, b, types.intp), generate

    return write


write_outer_rows = _outer_rows(past_the_cache=False)
"""``out[k] = a[k] ⊗ b[k]`` from a pair on; the columns of out and of b lie side by side."""

stream_outer_rows = _outer_rows(past_the_cache=True)
"""The same past the cache: the rows of out start on 16 bytes, and span a multiple of them."""


def _small_squares(past_the_cache: bool) -> Any:
    put = past_cache if past_the_cache else store

    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing_context: Any, out: Any, a: Any, b: Any) -> Any:
        signature = types.intp(out, a, b)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if isinstance(signature.args[0].dtype, types.Complex):
                return context.get_constant(types.intp, 0)
            out, *factors = unpacked(context, builder, signature, arguments)
            scalar = context.get_data_type(signature.args[0].dtype)
            register = ir.VectorType(scalar, VECTOR_BYTES // bytes_of(scalar))
            batch, *sides = cgutils.unpack_tuple(builder, out.shape)
            count = builder.udiv(batch, batch.type(register.count))

            def write_squares(side: int) -> None:
                groups = [Groups(builder, rows, register, side) for rows in factors]
                with cgutils.for_range(builder, count) as loop:
                    offset = builder.mul(loop.index, count.type(side**2 * bytes_of(register)))
                    target = cgutils.pointer_add(builder, out.data, offset)
                    x, y = (each.load(loop.index) for each in groups)
                    for k in range(side**2):
                        elements = range(k * register.count, (k + 1) * register.count)
                        scales = gathered(builder, x, [element // side for element in elements])
                        columns = [element // side**2 * side + element % side for element in elements]
                        product = multiplied(builder, scales, gathered(builder, y, columns))
                        put(builder, product, target, k * bytes_of(register))

            done = cgutils.alloca_once_value(builder, batch.type(0))
            for side in SMALL:
                is_side = [builder.icmp_signed("==", each, each.type(side)) for each in sides]
                with builder.if_then(builder.and_(*is_side)):
                    write_squares(side)
                    builder.store(builder.mul(count, count.type(register.count)), done)
            return builder.load(done)

        return signature, generate

    return write


write_small_squares = _small_squares(past_the_cache=False)
"""``out[k] = a[k] ⊗ b[k]`` of arrays without gaps, but for the last ones; how many, none unless SMALL.

a or b may have a single row, which stands for all.  None of complex numbers, whose pieces are as soon done.
"""

stream_small_squares = _small_squares(past_the_cache=True)
"""The same past the cache: out starts on 16 bytes."""
