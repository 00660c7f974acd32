"""Blocks of rows of ``Z = [X Y]`` on the host: packed, centred, and multiplied.

A block is packed with each column of it in one run, whatever the layout of X and Y, and centred there on its
own means.  Its matrix is then made of dot products of those runs, in tiles that stay in registers.

Nothing here allocates, and so nothing counts references: for 32 rows of 4 that took half of the time.

Ideas tried, one core with 64-byte vectors, float64, of the processor's fused multiply-adds, d = 32 to 512: a
tile of 4 × 4 as a loop that LLVM makes vectors of 0.5; in `dot_products` (kept) 0.6 to 0.7; 6 × 4 or 5 × 5 up
to 0.1 more for wide Z, and less at its edges.

The products of one block on a core of an Emerald Rapids server, in dot products of the columns and row by row
(`SHORT_BYTES`), ms for 512 columns: 64 rows of float32 0.20 and 0.13, 128 rows 0.33 and 0.26; 64 rows of
float64 0.33 and 0.26, but 128 rows 0.53 and 0.76, where a panel in rows no longer fits the first-level cache.
"""

from typing import Any

import numpy as np

from ..compiling import BARE, SUMS, compiled
from ..memory import empty
from ..packing import contiguous_view
from ..processor import VECTOR_BYTES
from ..vectors import (
    ONE,
    SIDE,
    TILE_COLUMNS,
    TILE_ROWS,
    WIDE,
    dot_products,
    products_of_rows,
    transpose_squares,
)

Array = np.ndarray[Any, Any]

ROW_BYTES = 1 << 12  # of a packed column: the eight that a tile takes fit a first-level cache
BLOCK_BYTES = 1 << 15  # of a packed block of few columns, which may be longer
LONGEST_BLOCK = 4096  # rows whose sums may have no more than float32's digits
SHORT_ROWS = {4: 256, 8: 512}  # of a block of those, by the size of a sum
PANEL = 64  # columns whose part of a block stays in the second-level cache while the others pass by
SHORT_BYTES = 512  # of a packed column, up to which a block is multiplied row by row
STRIP = 128  # columns that meet a panel at once, where the threads share a matrix


def rows_per_block(columns: int, dtype: np.dtype[Any], is_short: bool = False) -> int:
    """Rows whose sums stay in the summing dtype; the columns and the dtype alone decide it.

    Short rows are added up one after another, which loses more digits than sums in lanes do.
    """
    if is_short:
        return SHORT_ROWS[dtype.itemsize]
    rows = max(ROW_BYTES, BLOCK_BYTES // columns) // dtype.itemsize
    return min(rows, LONGEST_BLOCK) // VECTOR_BYTES * VECTOR_BYTES


def panels_across(columns: int) -> int:
    """Panels that so many columns make."""
    return -(-columns // PANEL)


def empty_blocks(
    count: int, rows: int, columns: int, length: int, dtype: np.dtype[Any], is_weighted: bool
) -> tuple[Array, Array, Array]:
    """Memory for packed blocks of `length` rows of Z: their pivots, their weighted columns, their columns."""
    right = _packed_rows(count, columns, length, dtype)
    left = _packed_rows(count, rows, length, dtype) if is_weighted else right
    return np.empty((count, columns), dtype), left, right


def _packed_rows(count: int, rows: int, length: int, dtype: np.dtype[Any]) -> Array:
    """Rows of whole vectors, each on a vector's boundary, and no two a power of two apart."""
    lanes = VECTOR_BYTES // dtype.itemsize
    width = (-(-length // lanes) + 1) * lanes
    memory = empty((count * rows * width + lanes,), dtype)
    unused = -memory.ctypes.data % VECTOR_BYTES // dtype.itemsize
    return memory[unused : unused - lanes or None].reshape(count, rows, width)


def empty_tiles(dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Memory for the products that are computed at once; and for a panel in rows, and a tile of theirs."""
    rows = SHORT_BYTES // dtype.itemsize + TILE_ROWS
    return np.empty((TILE_ROWS, TILE_COLUMNS), dtype), np.empty((rows, PANEL), dtype)


def empty_panel(dtype: np.dtype[Any]) -> Array:
    """Memory for the products of a strip and a panel."""
    return np.empty((STRIP, PANEL), dtype)


@compiled(**BARE)
def whole_vectors(length: int, itemsize: int) -> int:
    """The length rounded up to whole vectors."""
    lanes = VECTOR_BYTES // itemsize
    return -(-length // lanes) * lanes


@compiled(**BARE)
def pack_block(
    X: Any,
    Y: Any,
    weights: Any,
    is_centred: bool,
    problem: int,
    start: int,
    stop: int,
    begin: int,
    end: int,
    length: int,
    origin: Any,
    pivots: Any,
    left: Any,
    right: Any,
    head: Any,
) -> None:
    """Pack columns ``begin`` to ``end`` of rows ``start`` to ``stop`` of Z.

    The columns become rows of right, filled up with zeros.  Where there are weights, left receives the first
    of them times the weights.  Where `is_centred`, both are centred, and the head receives the block's weight
    and its means less the origin, else zeros.

    Columns are first shifted by their element of greatest weight: it is no farther from the mean than the
    spread allows, and a constant column becomes exactly zero.
    """
    count = stop - start
    block_weights = weights[problem, start:stop]
    weight, heaviest = weigh(block_weights, count)
    if not is_centred:
        weight, heaviest = 0.0, -1
    head[0] = weight
    p = X.shape[2]
    split = min(max(p, begin), end)
    _pack(X[problem, start:stop, begin:split], heaviest, pivots[begin:split], right[begin:split])
    _pack(Y[problem, start:stop, split - p : end - p], heaviest, pivots[split:end], right[split:end])
    for j in range(begin, end):
        values = right[j, :count]
        head[1 + j] = 0
        if is_centred:
            shift = _sum(values, block_weights)
            if weight != 0:
                shift = right.dtype.type(shift / weight)
            _shift(values, shift)
            head[1 + j] = (float(pivots[j]) - origin[j]) + float(shift)
        right[j, count:length] = 0
        if weights.size and j < left.shape[0]:
            _scale(values, block_weights, left[j])
            left[j, count:length] = 0


@compiled(**BARE)
def weigh(weights: Any, count: int) -> Any:
    """The weight of a block, and its heaviest row."""
    total, heaviest = 0.0, 0
    for i in range(weights.shape[0]):
        total += weights[i]
        if weights[i] > weights[heaviest]:
            heaviest = i
    return total if weights.size else float(count), heaviest


@compiled(**BARE)
def _pack(source: Any, pivot: int, pivots: Any, packed: Any) -> None:
    """``packed = (source - source[pivot]).T``, or with a negative pivot ``packed = source.T``."""
    count, columns = source.shape
    for j in range(columns):
        pivots[j] = source[pivot, j] if pivot >= 0 else 0
    if source.strides[0] == source.itemsize:
        for j in range(columns):
            _subtract(contiguous_view(source[:, j]), pivots[j], packed[j])
        return
    row = column = 0
    if source.strides[1] == source.itemsize:
        row, column = count - count % SIDE, columns - columns % SIDE
        for i in range(0, row, SIDE):
            for j in range(0, column, SIDE):
                transpose_squares(ONE, source, i, j, pivots, packed)
    for j in range(columns):
        for i in range(row if j < column else 0, count):
            packed[j, i] = source[i, j] - pivots[j]


@compiled(**BARE)
def _subtract(values: Any, pivot: Any, out: Any) -> None:
    """``out = values - pivot``."""
    for i in range(values.shape[0]):
        out[i] = values[i] - pivot


@compiled(**BARE)
def _shift(values: Any, shift: Any) -> None:
    """``values -= shift``."""
    for i in range(values.shape[0]):
        values[i] -= shift


@compiled(**BARE)
def _scale(values: Any, weights: Any, out: Any) -> None:
    """``out = values * weights``."""
    for i in range(values.shape[0]):
        out[i] = values[i] * weights[i]


@compiled(fastmath=SUMS, **BARE)
def _sum(values: Any, weights: Any) -> Any:
    """The sum of the values, weighted where there are weights."""
    total = values.dtype.type(0)
    if weights.size:
        for i in range(values.shape[0]):
            total += weights[i] * values[i]
    else:
        for i in range(values.shape[0]):
            total += values[i]
    return total


@compiled(**BARE)
def multiply(
    left: Any,
    a_begin: int,
    a_end: int,
    right: Any,
    b_begin: int,
    b_end: int,
    length: int,
    is_symmetric: bool,
    tiles: Any,
    out: Any,
) -> None:
    """``out[i, j] = left[a_begin + i] · right[b_begin + j]``, where symmetric from the diagonal on only.

    The length alone decides in which order they are summed.
    """
    tile, rows = tiles
    for panel in range(b_begin, b_end, PANEL):
        panel_end = min(panel + PANEL, b_end)
        j = panel - b_begin
        if length * right.itemsize <= SHORT_BYTES:
            columns = right[panel:panel_end]
            _multiply_short(left, a_begin, a_end, columns, panel, length, is_symmetric, rows, out, j)
        else:
            _multiply_long(left, a_begin, a_end, right, panel, panel_end, length, is_symmetric, tile, out, j)


@compiled(**BARE)
def _multiply_long(
    left: Any,
    a_begin: int,
    a_end: int,
    right: Any,
    panel: int,
    panel_end: int,
    length: int,
    is_symmetric: bool,
    tile: Any,
    out: Any,
    j: int,
) -> None:
    """The part of `multiply` in one panel, which becomes columns j on: dot products of the columns."""
    for a in range(a_begin, a_end, TILE_ROWS):
        for b in range(max(panel, a) if is_symmetric else panel, panel_end, TILE_COLUMNS):
            dot_products(left, a, a_end - 1, right, b, panel_end - 1, length, tile)
            rows, columns = min(TILE_ROWS, a_end - a), min(TILE_COLUMNS, panel_end - b)
            if rows == TILE_ROWS and columns == TILE_COLUMNS:
                _copy_tile(tile, TILE_ROWS, TILE_COLUMNS, out, a - a_begin, j + b - panel)
            else:
                _copy_tile(tile, rows, columns, out, a - a_begin, j + b - panel)


@compiled(**BARE)
def _multiply_short(
    left: Any,
    a_begin: int,
    a_end: int,
    columns: Any,
    panel: int,
    length: int,
    is_symmetric: bool,
    rows: Any,
    out: Any,
    j: int,
) -> None:
    """The same from rows of the panel: of short columns, sums across lanes take as long as products."""
    width = columns.shape[0]
    lanes = VECTOR_BYTES // rows.itemsize
    _lay_in_rows(columns, length, rows)
    edge = rows[rows.shape[0] - TILE_ROWS :]
    for a in range(a_begin, a_end, TILE_ROWS):
        last, height = a_end - 1, min(TILE_ROWS, a_end - a)
        b = max(a - panel, 0) // lanes * lanes if is_symmetric else 0
        if height == TILE_ROWS:
            while b + TILE_COLUMNS * lanes <= width:
                products_of_rows(WIDE, left, a, last, rows, b, length, out, a - a_begin, j + b)
                b += TILE_COLUMNS * lanes
            while b + lanes <= width:
                products_of_rows(ONE, left, a, last, rows, b, length, out, a - a_begin, j + b)
                b += lanes
        while b < width:
            products_of_rows(ONE, left, a, last, rows, b, length, edge, 0, 0)
            _copy_tile(edge, height, min(lanes, width - b), out, a - a_begin, j + b)
            b += lanes


@compiled(**BARE)
def _lay_in_rows(columns: Any, length: int, rows: Any) -> None:
    """``rows[:length] = columns[:, :length].T``; the last column fills its vector up."""
    width = columns.shape[0]
    whole = width - width % SIDE
    for j in range(0, whole, SIDE):
        for i in range(0, length, SIDE):
            transpose_squares(ONE, columns, j, i, None, rows)
    for j in range(whole, whole_vectors(width, rows.itemsize)):
        for i in range(length):
            rows[i, j] = columns[min(j, width - 1), i]


@compiled(**BARE)
def _copy_tile(tile: Any, rows: int, columns: int, out: Any, i: int, j: int) -> None:
    """Put a tile into the matrix; where its size is a constant, in vectors."""
    for row in range(rows):
        for column in range(columns):
            out[i + row, j + column] = tile[row, column]
