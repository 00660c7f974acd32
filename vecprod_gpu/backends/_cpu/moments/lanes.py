"""Sums of outer products of small problems on the host, as many side by side as a vector has lanes.

A problem of a few dozen rows is over before its blocks and tiles are set up.  Here each lane has a problem of
its own, and every step is the same for all of them: shift by a row, centre on the means, multiply.

A packed array has a row of lanes for each element of ``X[problem]`` in C order, then for each of
``Y[problem]``: element (i, j) of X, with p columns, is row ``i * p + j``.
"""

from typing import Any

import numpy as np

from ..compiling import BARE, compiled, inlined
from ..float_status import clear_flags, raised_flags
from ..packing import aligned_lanes, pack_problems
from ..vectors import (
    LANE_COLUMNS,
    LANE_ROWS,
    LANES,
    add_lanes,
    copy_lanes,
    lane_products,
    multiply_lanes,
    subtract_lanes,
)
from .lane_triangles import MOST_COLUMNS as MOST_IN_REGISTERS
from .lane_triangles import sum_columns, sum_products

Array = np.ndarray[Any, Any]

MOST_COLUMNS = 16  # of Z; more of them fill tiles
MOST_BYTES = 1 << 15  # of the packed rows of all lanes, in the first-level cache


def fits_lanes(n: int, columns: int, itemsize: int) -> bool:
    """Whether problems are small enough; by the shape of one and the dtype alone, as are then the bits."""
    return columns <= MOST_COLUMNS and n * columns * LANES * itemsize <= MOST_BYTES


@inlined()
def stays_in_registers(columns: int) -> bool:
    """Whether all sums of so many columns do."""
    return columns <= MOST_IN_REGISTERS


def lane_memory(n: int, columns: int, dtype: np.dtype[Any], is_weighted: bool) -> tuple[Array, ...]:
    """Memory for packed rows, the weighted ones, weights, sums, pivots, means, shares and totals."""
    in_tiles, in_registers = LANE_ROWS * (columns + LANE_COLUMNS), columns * (columns + 1) // 2
    stays = stays_in_registers(columns)
    weighted_rows = n * columns if is_weighted and not stays else 0
    counts = n * columns, weighted_rows, n, in_registers if stays else in_tiles, columns, columns, 1
    rows, weighted, weights, sums, pivots, means, shares = aligned_lanes(counts, dtype)
    weights[...] = 1
    shares[...] = 1 / n if n else 0.0
    totals = np.full((1, LANES), float(n))
    return rows, weighted if weighted_rows else rows, weights, sums, pivots, means, shares, totals


def sum_lanes(
    X: Any,
    Y: Any,
    weights: Any,
    is_centred: bool,
    start: int,
    stop: int,
    lanes: Any,
    total: Any,
    means: Any,
    out: Any,
) -> int:
    """Write the sums of groups ``start`` to ``stop`` of problems; return the flags raised.

    ``weights`` is ``(B, n)``, or ``(B, 0)`` where there are none; ``total`` and ``means`` are empty where
    they are not asked for.  Lanes past the last problem repeat it, so that they raise no flag of their own.
    """
    clear_flags()
    problems, n, p = X.shape
    q = Y.shape[2]
    rows, _, row_weights, _, pivots, _, shares, totals = lanes
    for group in range(start, stop):
        first = group * LANES
        last = min(first + LANES, problems) - 1
        pack_problems(X, first, last, rows[: n * p])
        pack_problems(Y, first, last, rows[n * p :])
        if weights.size:
            _pack_weights(weights, first, last, row_weights, totals[0], shares[0])
        if stays_in_registers(p + q):
            _sum_in_registers(lanes, weights.size > 0, is_centred, p, out[first : last + 1])
        else:
            _sum_in_tiles(lanes, weights.size > 0, is_centred, p, q, out[first : last + 1])
        if total.size:
            for lane in range(last - first + 1):
                total[first + lane] = totals[0, lane]
                for j in range(p + q):
                    means[first + lane, j] = pivots[j, lane]
    return raised_flags()


@compiled(inline="always", **BARE)
def _sum_in_registers(lanes: Any, is_weighted: bool, is_centred: bool, p: int, out: Any) -> None:
    """Write the sums of packed problems of few columns, and leave the columns' means in the pivots."""
    rows, _, row_weights, sums, pivots, means, shares, _ = lanes
    columns = pivots.shape[0]
    if is_centred:
        _choose_pivots(rows, row_weights, is_weighted, p, columns - p, pivots)
        sum_columns(rows, p, row_weights, pivots, means)
    for j in range(columns):
        if is_centred:
            multiply_lanes(means, j, shares, 0, means, j)
        else:
            pivots[j], means[j] = 0, 0
    sum_products(rows, p, row_weights, pivots, means, sums)
    for j in range(columns):
        add_lanes(pivots, j, means, j)
    pair = 0
    for a in range(columns):
        for b in range(a, columns):
            for lane in range(out.shape[0]):
                out[lane, a, b] = out[lane, b, a] = sums[pair, lane]
            pair += 1


@compiled(inline="always", **BARE)
def _sum_in_tiles(lanes: Any, is_weighted: bool, is_centred: bool, p: int, q: int, out: Any) -> None:
    """The same of more columns, whose packed rows are overwritten."""
    rows, weighted, row_weights, sums, pivots, _, shares, _ = lanes
    n = row_weights.shape[0]
    if is_centred:
        _centre(rows, row_weights, is_weighted, shares, p, q, sums, pivots)
    if is_weighted:
        for i in range(n):
            for k in range(i * p, (i + 1) * p):
                multiply_lanes(rows, k, row_weights, i, weighted, k)
            for k in range(n * p + i * q, n * p + (i + 1) * q):
                multiply_lanes(rows, k, row_weights, i, weighted, k)
    _multiply(weighted, rows, n, p, q, sums, out)


@compiled(**BARE)
def _pack_weights(weights: Any, first: int, last: int, lanes: Any, totals: Any, shares: Any) -> None:
    """Put weights into the lanes of problems ``first`` to ``last``, with their sums and one through them."""
    for lane in range(LANES):
        totals[lane] = 0
        for i in range(lanes.shape[0]):
            lanes[i, lane] = weights[min(first + lane, last), i]
            totals[lane] += lanes[i, lane]
        shares[lane] = 1 / totals[lane] if totals[lane] != 0 else 0.0


@compiled(**BARE)
def _centre(
    rows: Any, row_weights: Any, is_weighted: bool, shares: Any, p: int, q: int, sums: Any, pivots: Any
) -> None:
    """Subtract the means of the columns, and leave them in the pivots."""
    n = row_weights.shape[0]
    _choose_pivots(rows, row_weights, is_weighted, p, q, pivots)
    _shift(rows, n, p, q, pivots)
    width = p + q + LANE_COLUMNS
    for j in range(0, p, LANE_COLUMNS):
        lane_products(row_weights, 0, 0, 1, rows, j, p - 1, p, n, sums, j, width)
    for j in range(0, q, LANE_COLUMNS):
        lane_products(row_weights, 0, 0, 1, rows, n * p + j, n * p + q - 1, q, n, sums, p + j, width)
    for j in range(p + q):
        multiply_lanes(sums, j, shares, 0, sums, j)
        add_lanes(pivots, j, sums, j)
    _shift(rows, n, p, q, sums)


@compiled(**BARE)
def _choose_pivots(rows: Any, row_weights: Any, is_weighted: bool, p: int, q: int, pivots: Any) -> None:
    """By what columns are shifted before their means are found: their element of greatest weight.

    It is no farther from the mean than the spread allows, and a constant column becomes exactly zero.
    """
    n = row_weights.shape[0]
    for j in range(p):
        copy_lanes(pivots, j, rows, j)
    for j in range(q):
        copy_lanes(pivots, p + j, rows, n * p + j)
    if is_weighted:
        _find_heaviest(rows, row_weights, p, q, pivots)


@compiled(**BARE)
def _find_heaviest(rows: Any, row_weights: Any, p: int, q: int, pivots: Any) -> None:
    """Copy the first of the rows of greatest weight to the pivots."""
    n = row_weights.shape[0]
    for lane in range(LANES):
        heaviest = 0
        for i in range(n):
            if row_weights[i, lane] > row_weights[heaviest, lane]:
                heaviest = i
        for j in range(p + q):
            k = heaviest * p + j if j < p else n * p + heaviest * q + j - p
            pivots[j, lane] = rows[k, lane]


@compiled(**BARE)
def _shift(rows: Any, n: int, p: int, q: int, columns: Any) -> None:
    """Subtract from every row what there is of its column."""
    for j in range(p):
        subtract_lanes(rows, j, p, n, columns, j)
    for j in range(q):
        subtract_lanes(rows, n * p + j, q, n, columns, p + j)


@compiled(**BARE)
def _multiply(left: Any, right: Any, n: int, p: int, q: int, sums: Any, out: Any) -> None:
    """Write the products of all pairs of columns of Z."""
    of_y, width = n * p, p + q + LANE_COLUMNS
    a = 0
    while a < p + q:
        end = min(a + LANE_ROWS, p if a < p else p + q)
        begin, last, step = (a, p - 1, p) if a < p else (of_y + a - p, of_y + q - 1, q)
        for b in range(a, p, LANE_COLUMNS):
            lane_products(left, begin, last, step, right, b, p - 1, p, n, sums, b, width)
        for b in range(max(a - p, 0), q, LANE_COLUMNS):
            lane_products(left, begin, last, step, right, of_y + b, of_y + q - 1, q, n, sums, p + b, width)
        for row in range(a, end):
            for b in range(row, p + q):
                for lane in range(out.shape[0]):
                    out[lane, row, b] = out[lane, b, row] = sums[(row - a) * width + b, lane]
        a = end


@compiled(**BARE)
def scale_sums(scale: float, total: Any, means: Any, out: Any) -> int:
    """Multiply the sums of problems by a number, and make NaN of weightless ones; return the flags raised."""
    clear_flags()
    for problem in range(out.shape[0]):
        share = scale
        if total.size:
            one = total[problem] / total[problem]
            share *= one
            for j in range(means.shape[1]):
                means[problem, j] *= one
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                out[problem, i, j] *= share
    return raised_flags()
