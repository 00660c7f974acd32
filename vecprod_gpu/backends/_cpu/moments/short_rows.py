"""Co-moments of few columns on the host, whose rows are multiplied as they are read.

To pack such a block, centre it and multiply it takes longer than to read it from memory.  Here it is shifted
by a *pivot*, a row near its mean, and what that was off by is taken out at the end::

    sums = sum_i s_i z_i,    products = sum_i s_i z_i ⊗ z_i,    with z_i = x_i - pivot
    co-moments = products - sums ⊗ sums / sum_i s_i

Where a mean lies far from its pivot, beside the spread, that loses digits: such a block is seen, and left to
be centred on its means before it is multiplied.  Chan, Golub and LeVeque (The American Statistician, 1983)
compare the two ways.

Measured on 2 cores of a Cascade Lake server, float64 and one target, GB/s of X for d = 4, 8, 16, 24 and 32:
packed, centred and multiplied in tiles 7.8, 8.1, 7.7, 6.3 and 6.5; this way 7.3, 11.5, 9.3, 6.7 and 4.8.
"""

from typing import Any

import numpy as np

from ..compiling import BARE, compiled
from ..processor import VECTOR_BYTES
from ..vectors import ONE, SIDE, transpose_squares
from .blocks import weigh
from .outer_sums import add_outer_products

Array = np.ndarray[Any, Any]

FEWEST_COLUMNS = 6  # of Z; fewer leave most of a vector idle, and are packed in no time
MOST_SUMS = 48  # vectors of products; with more, most of the time they are loaded and stored
PIVOT_ROWS = 8  # whose mean is the pivot
LARGEST_LOSS = 4.0  # of the products' diagonal to that of the co-moments: two bits


def vectors_of(p: int, q: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Vectors that a row of Z takes, and targets beside it; 0 vectors where rows are not short."""
    lanes = VECTOR_BYTES // dtype.itemsize
    most = max(vectors for vectors in range(lanes) if lanes * vectors * (vectors + 1) // 2 <= MOST_SUMS)
    if not FEWEST_COLUMNS <= p + q <= most * lanes + 1:
        return 0, 0
    targets = 1 if q == 1 else 0
    return -(-(p + q - targets) // lanes), targets


def short_row_memory(
    rows: int, columns: int, stored: np.dtype[Any], dtype: np.dtype[Any], vectors: int
) -> tuple[Array, Array, Array, Array]:
    """Memory for so many rows, once more as that of one problem, for pivots, and for sums."""
    copied = np.empty((1, rows if vectors else 0, columns), stored)
    frozen_copy = copied.view()
    frozen_copy.flags.writeable = False
    width = vectors * VECTOR_BYTES // dtype.itemsize
    return copied[0], frozen_copy, np.zeros(width + 1, dtype), np.empty((width + 5, width), dtype)


@compiled(**BARE)
def sum_short_rows(
    vectors: Any,
    targets: Any,
    X: Any,
    Y: Any,
    weights: Any,
    problem: int,
    start: int,
    stop: int,
    origin: Any,
    memory: Any,
    head: Any,
    matrix: Any,
) -> bool:
    """Write the co-moments of rows ``start`` to ``stop`` of Z, and their head; whether no digits are lost.

    ``vectors`` and ``targets`` are tuples of the lengths that `vectors_of` tells; without vectors, nothing is
    done.
    """
    if len(vectors) == 0:
        return False
    copied, frozen_copy, pivots, sums = memory
    rows, y = X[problem, start:stop], Y[problem, start:stop]
    if Y.shape[2] > len(targets) or X.strides[2] != X.itemsize:
        _copy_rows(rows, copied, 0)
        if Y.shape[2] > len(targets):
            _copy_rows(y, copied, X.shape[2])
        rows = frozen_copy[0, : stop - start]
    block_weights = weights[problem, start:stop]
    weight, heaviest = weigh(block_weights, stop - start)
    width = sums.shape[1]
    _find_pivots(rows, block_weights, heaviest, pivots)
    if len(targets):
        _find_pivots(y, block_weights, heaviest, pivots[width:])
    add_outer_products(vectors, targets, rows, y, block_weights, weights.size > 0, pivots, sums)
    head[0] = weight
    if weight == 0:
        weight = 1.0  # the sums are 0 as well
    rank = rows.shape[1]
    keeps_digits = _centre(sums, rank, weight, pivots, origin, head, matrix)
    if keeps_digits and len(targets):
        keeps_digits = _centre_target(sums, rank, weight, pivots, origin, head, matrix)
    return keeps_digits


@compiled(**BARE)
def _copy_rows(rows: Any, out: Any, column: int) -> None:
    """Put rows into others, from a column on."""
    count, columns = rows.shape
    whole_rows = whole_columns = 0
    if rows.strides[0] == rows.itemsize:
        whole_rows, whole_columns = count - count % SIDE, columns - columns % SIDE
        for i in range(0, whole_rows, SIDE):
            for j in range(0, whole_columns, SIDE):
                transpose_squares(ONE, rows.T, j, i, None, out[:, column:])
    for j in range(columns):
        for i in range(whole_rows if j < whole_columns else 0, count):
            out[i, column + j] = rows[i, j]


@compiled(**BARE)
def _find_pivots(rows: Any, weights: Any, heaviest: int, pivots: Any) -> None:
    """Of each column the mean of the first rows; of those that differ nowhere, exactly what they hold."""
    count = min(PIVOT_ROWS, rows.shape[0])
    number = pivots.dtype.type
    for j in range(rows.shape[1]):
        anchor = number(rows[heaviest, j])
        total, weight = number(0), number(0)
        for i in range(count):
            share = weights[i] if weights.size else number(1)
            total += share * (number(rows[i, j]) - anchor)
            weight += share
        pivots[j] = anchor + total / (weight if weight != 0 else number(1))


@compiled(**BARE)
def _centre(sums: Any, rank: int, weight: float, pivots: Any, origin: Any, head: Any, matrix: Any) -> bool:
    """``matrix = products - totals ⊗ means``, from the diagonal on; whether that keeps the digits."""
    width = sums.shape[1]
    totals, means = sums[width], sums[width + 4]
    for i in range(rank):
        if not np.isfinite(sums[i, i]):
            return False
    for j in range(rank):
        means[j] = totals[j] / weight
        head[1 + j] = (float(pivots[j]) - origin[j]) + float(means[j])
    for i in range(rank):
        for j in range(i, rank):
            matrix[i, j] = sums[i, j] - totals[i] * means[j]
        if sums[i, i] > LARGEST_LOSS * matrix[i, i]:
            return False
    return True


@compiled(**BARE)
def _centre_target(
    sums: Any, rank: int, weight: float, pivots: Any, origin: Any, head: Any, matrix: Any
) -> bool:
    """The same of the last column, a target whose pivot stands behind those of all vectors."""
    width = sums.shape[1]
    totals, crossed, square, total = sums[width], sums[width + 1], sums[width + 2, 0], sums[width + 3, 0]
    if not np.isfinite(square):
        return False
    mean = sums.dtype.type(total / weight)
    head[1 + rank] = (float(pivots[width]) - origin[rank]) + float(mean)
    for i in range(rank):
        matrix[i, rank] = crossed[i] - totals[i] * mean
    matrix[rank, rank] = square - total * mean
    return bool(square <= LARGEST_LOSS * matrix[rank, rank])
