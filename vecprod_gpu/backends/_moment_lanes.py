"""Sums of outer products of small problems on the host, as many side by side as a vector has lanes.

A problem of a few dozen rows is over before its blocks and tiles are set up.  Here each lane has a problem of
its own, and every step is the same for all of them: shift by a row, centre on the means, multiply.

A packed array has a row of lanes for each element of ``X[problem]`` in C order, then for each of
``Y[problem]``: element (i, j) of X, with p columns, is row ``i * p + j``.
"""

from typing import Any

import numpy as np

from ._float_status import clear_flags, raised_flags
from ._moment_blocks import BARE
from ._numba import compiled
from ._packing import are_packed
from ._vectors import LANE_COLUMNS, LANES, SIDE, lane_products, multiply_lanes, pack_lanes, subtract_lanes

Array = np.ndarray[Any, Any]

MOST_COLUMNS = 16  # of Z; more of them fill tiles
MOST_BYTES = 1 << 15  # of the packed rows of all lanes, in the first-level cache


def fits_lanes(n: int, columns: int, itemsize: int) -> bool:
    """Whether problems are small enough; by the shape of one and the dtype alone, as are then the bits."""
    return columns <= MOST_COLUMNS and n * columns * LANES * itemsize <= MOST_BYTES


def lane_memory(n: int, columns: int, dtype: np.dtype[Any], is_weighted: bool) -> tuple[Array, ...]:
    """Memory for packed rows, the weighted ones, the weights, the columns' sums and means, and the totals."""
    rows = _aligned(n * columns, dtype)
    weighted = _aligned(n * columns, dtype) if is_weighted else rows
    weights, totals = _aligned(n, dtype), np.full((1, LANES), float(n))
    weights[...] = 1
    return rows, weighted, weights, _aligned(columns + LANE_COLUMNS, dtype), _aligned(columns, dtype), totals


def _aligned(count: int, dtype: np.dtype[Any]) -> Array:
    """So many rows of lanes, each on a boundary of its own size: none lies in two lines of the cache."""
    memory = np.empty((count + 1) * LANES, dtype)
    unused = -memory.ctypes.data % (LANES * dtype.itemsize) // dtype.itemsize
    return memory[unused : unused + count * LANES].reshape(count, LANES)


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
    rows, weighted, row_weights, sums, pivots, totals = lanes
    for group in range(start, stop):
        first = group * LANES
        last = min(first + LANES, problems) - 1
        _pack(X, first, last, rows[: n * p])
        _pack(Y, first, last, rows[n * p :])
        if weights.size:
            for lane in range(LANES):
                totals[0, lane] = 0
                for i in range(n):
                    row_weights[i, lane] = weights[min(first + lane, last), i]
                    totals[0, lane] += row_weights[i, lane]
        if is_centred:
            _centre(rows, row_weights, totals[0], weights.size > 0, p, q, sums, pivots)
        if weights.size:
            for i in range(n):
                for k in range(i * p, (i + 1) * p):
                    multiply_lanes(rows, k, row_weights, i, weighted, k)
                for k in range(n * p + i * q, n * p + (i + 1) * q):
                    multiply_lanes(rows, k, row_weights, i, weighted, k)
        for a in range(p + q):
            _multiply(weighted, rows, a, n, p, q, sums)
            for lane in range(last - first + 1):
                for b in range(a, p + q):
                    out[first + lane, a, b] = sums[b, lane]
                    out[first + lane, b, a] = sums[b, lane]
        if total.size:
            for lane in range(last - first + 1):
                total[first + lane] = totals[0, lane]
                for j in range(p + q):
                    means[first + lane, j] = pivots[j, lane]
    return raised_flags()


@compiled(**BARE)
def _pack(source: Any, first: int, last: int, packed: Any) -> None:
    """Put problems ``first`` to ``last`` into their lanes."""
    columns = source.shape[2]
    begin = 0
    if are_packed(source[first], columns):
        begin = packed.shape[0] - packed.shape[0] % SIDE
        for element in range(0, begin, SIDE):
            pack_lanes(source, first, last, element, packed)
    for lane in range(LANES):
        problem = min(first + lane, last)
        for element in range(begin, packed.shape[0]):
            packed[element, lane] = source[problem, element // columns, element % columns]


@compiled(**BARE)
def _centre(
    rows: Any, row_weights: Any, totals: Any, is_weighted: bool, p: int, q: int, sums: Any, pivots: Any
) -> None:
    """Subtract the means of the columns, and leave them in the pivots.

    Columns are first shifted by their element of greatest weight: it is no farther from the mean than the
    spread allows, and a constant column becomes exactly zero.
    """
    n = row_weights.shape[0]
    for lane in range(LANES):
        heaviest = 0
        if is_weighted:
            for i in range(n):
                if row_weights[i, lane] > row_weights[heaviest, lane]:
                    heaviest = i
        for j in range(p + q):
            k = heaviest * p + j if j < p else n * p + heaviest * q + j - p
            pivots[j, lane] = rows[k, lane]
    _shift(rows, n, p, q, pivots)
    for j in range(0, p, LANE_COLUMNS):
        lane_products(row_weights, 0, 1, rows, j, p - 1, p, n, sums, j)
    for j in range(0, q, LANE_COLUMNS):
        lane_products(row_weights, 0, 1, rows, n * p + j, n * p + q - 1, q, n, sums, p + j)
    for lane in range(LANES):
        share = 1 / totals[lane] if totals[lane] != 0 else 0.0
        for j in range(p + q):
            sums[j, lane] *= share
            pivots[j, lane] += sums[j, lane]
    _shift(rows, n, p, q, sums)


@compiled(**BARE)
def _shift(rows: Any, n: int, p: int, q: int, columns: Any) -> None:
    """Subtract from every row what there is of its column."""
    for j in range(p):
        subtract_lanes(rows, j, p, n, columns, j)
    for j in range(q):
        subtract_lanes(rows, n * p + j, q, n, columns, p + j)


@compiled(**BARE)
def _multiply(left: Any, right: Any, a: int, n: int, p: int, q: int, sums: Any) -> None:
    """``sums[b]``: the products of columns a and b, from b = a on."""
    of_y = n * p
    begin, step = (a, p) if a < p else (of_y + a - p, q)
    for b in range(a, p, LANE_COLUMNS):
        lane_products(left, begin, step, right, b, p - 1, p, n, sums, b)
    for b in range(max(a - p, 0), q, LANE_COLUMNS):
        lane_products(left, begin, step, right, of_y + b, of_y + q - 1, q, n, sums, p + b)


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
