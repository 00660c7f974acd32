"""Sums of outer products of columns of many small problems: the Numba twin of ``comoments_small.cu``.

What ``comoments.py`` computes, whose shapes these are too, by several problems a block.  Bytes moved: X and Y
once, results once.

``small_co_moments``, grid (blocks of problems).  The rows of ``problems_per_block`` problems lie in shared
memory, in the summing type, all at once:

1. copy: neighbouring threads take neighbouring numbers;
2. centre: ``column_lanes`` threads take a column of a problem.  They sum it less the row of greatest weight,
   which lies no farther from the mean than the spread allows, and makes a constant column exactly 0; subtract
   the mean so found; and sum what is left, the mean's rounding error;
3. products: ``row_lanes`` threads take a patch of a problem's entries over its rows by turns; their sums are
   added in the wider type, less the rank one that the error of the mean makes;
4. finish: the matrices take the place of the rows, and go out in one piece.

Lanes are added through shared memory, where the ``.cu`` shuffles.  The order of every sum follows from
(n, p, q, types) alone.
"""

import math
from collections import namedtuple

from numba import cuda, float64
from numba.cuda import config, types
from numba.cuda.extending import intrinsic

from .common import inlined
from .kinds import clipped, from_parts, wide_dtype

MOST_ENTRIES = 16  # of one thread

Problems = namedtuple("Problems", "n p q rows columns is_joint is_centred is_correlation has_weight scale")

# Shared memory as a block sees it, and where in it what lies, in numbers of its own type: the rows of all
# problems, or their matrices, come first.
Places = namedtuple(
    "Places", "acc wide double pitch right left_strips right_strips weights offsets totals lanes"
)

# X or Y, from the first problem of a block on.
Source = namedtuple("Source", "array start problem_stride row_stride column_stride columns")

# A column of a problem, for one of the threads that share it; without rows where there is no such problem.
Column = namedtuple("Column", "first rows weights lane lanes")

# The entries of a thread, which share them with its neighbours.
Patch = namedtuple("Patch", "problem row column lane lanes")


@intrinsic
def _compiled_strip_of(typing_context, array):
    """Type ``strip_of``, a constant of the array's type."""
    strip = min(4, 16 * 8 // array.dtype.bitwidth)
    return types.int64(array), lambda context, *_: context.get_constant(types.int64, strip)


def _simulated_strip_of(array):
    """``strip_of`` of a NumPy array."""
    return min(4, 16 // array.dtype.itemsize)


strip_of = _simulated_strip_of if config.ENABLE_CUDASIM else _compiled_strip_of
"""Rows and columns of the entries that one thread computes, in registers."""


# ---- Layout -------------------------------------------------------------------------------------


@inlined
def _pieces(count, itemsize):
    """Pieces of 16 bytes that so many numbers take."""
    return (count * itemsize + 15) // 16


@inlined
def _make_places(given, acc, wide, count):
    """Share out the memory of a block of so many problems."""
    double = cuda.shared.array(0, float64)
    strip = strip_of(acc)
    left_strips = (given.rows + strip - 1) // strip
    right_strips = (given.columns + strip - 1) // strip
    pitch = ((left_strips if given.is_joint else left_strips + right_strips) | 1) * strip
    weights = _pieces(count * given.n * pitch, acc.itemsize)
    rows_end = weights + (_pieces(count * given.n, acc.itemsize) if given.has_weight else 0)
    matrices_end = _pieces(count * given.rows * given.columns, wide.itemsize)
    offsets = max(rows_end, matrices_end)
    totals = offsets + (_pieces(count * (given.p + given.q), wide.itemsize) if given.is_centred else 0)
    lanes = totals + _pieces(count, 8)
    return Places(
        acc,
        wide,
        double,
        pitch,
        0 if given.is_joint else left_strips * strip,
        left_strips,
        right_strips,
        weights * 16 // acc.itemsize,
        offsets * 16 // wide.itemsize,
        totals * 2,
        lanes * 16 // wide.itemsize,
    )


@inlined
def _copy_rows(source, count, n, places, offset):
    """Bring the rows of some problems to shared memory, from column `offset` of a row on."""
    for i in range(cuda.threadIdx.x, count * n * source.columns, cuda.blockDim.x):
        row = i // source.columns
        column = i - row * source.columns
        problem = row // n
        at = problem * source.problem_stride + (row - problem * n) * source.row_stride
        x = source.array[source.start + at + column * source.column_stride]
        places.acc[row * places.pitch + offset + column] = x


@inlined
def _add_lanes(places, value, lane, lanes):
    """Add the values of neighbouring threads; every thread of the block calls it, and learns its own sum."""
    own = places.lanes + cuda.threadIdx.x
    cuda.syncthreads()  # the sum before has been read
    places.wide[own] = value
    half = lanes // 2
    while half > 0:
        cuda.syncthreads()
        if lane < half:
            places.wide[own] += places.wide[own + half]
        half //= 2
    cuda.syncthreads()
    return places.wide[own - lane]


# ---- Centre -------------------------------------------------------------------------------------


@inlined
def _column_of(given, places, i, tasks, lanes):
    """Return the column of the i-th of the threads' tasks."""
    task = i // lanes
    problem = task // (given.p + given.q)
    number = task - problem * (given.p + given.q)
    first = problem * given.n * places.pitch + number
    return Column(
        first, given.n if i < tasks else 0, places.weights + problem * given.n, i - task * lanes, lanes
    )


@inlined
def _weigh(given, places, column):
    """Sum the weights of a column's rows, and find the row of the greatest, the first of equals."""
    if not given.has_weight:
        return float64(column.rows), 0
    total = 0.0
    heaviest = 0
    for row in range(column.rows):
        weight = places.acc[column.weights + row].real
        total += float64(weight)
        if weight > places.acc[column.weights + heaviest].real:
            heaviest = row
    return total, heaviest


@inlined
def _sum_less(given, places, column, centre, is_kept):
    """Sum a column less a number, which stays so where `is_kept`."""
    total = places.acc.dtype.type(0)
    for row in range(column.lane, column.rows, column.lanes):
        distance = places.acc.dtype.type(places.acc[column.first + row * places.pitch] - centre)
        if is_kept:
            places.acc[column.first + row * places.pitch] = distance
        weight = places.acc[column.weights + row].real if given.has_weight else 1
        total += places.acc.dtype.type(weight * distance)
    return _add_lanes(places, total, column.lane, column.lanes)


@inlined
def _centre(given, places, count, lanes, means, total):
    """Subtract the means from all columns, and leave sums and totals for the products to come."""
    tasks = count * (given.p + given.q) * lanes
    for first in range(0, tasks, cuda.blockDim.x):
        i = first + cuda.threadIdx.x
        column = _column_of(given, places, i, tasks, lanes)
        weight, heaviest = _weigh(given, places, column)
        share = 0.0 if weight == 0 else 1.0 / weight
        near = places.acc.dtype.type(0)
        if column.rows > 0:
            near = places.acc[column.first + heaviest * places.pitch]
        distance = share * _sum_less(given, places, column, near, False)
        centre = places.acc.dtype.type(places.wide.dtype.type(near) + distance)
        offset = _sum_less(given, places, column, centre, True)
        if i < tasks and column.lane == 0:
            task = i // lanes
            problem = task // (given.p + given.q)
            places.wide[places.offsets + task] = offset
            means[task] = places.wide.dtype.type(centre) + share * offset
            if task == problem * (given.p + given.q):
                places.double[places.totals + problem] = weight
                total[problem] = weight


# ---- Products -----------------------------------------------------------------------------------


@inlined
def _patch_of(given, places, strip, row_lanes):
    """Return the patch that a thread has a share in."""
    task = cuda.threadIdx.x // row_lanes
    left_strips, in_row = places.left_strips, places.right_strips
    patches = left_strips * (left_strips + 1) // 2 if given.is_joint else left_strips * in_row
    problem = task // patches
    left = 0
    right = task - problem * patches
    while right >= in_row:
        right -= in_row
        left += 1
        if given.is_joint:
            in_row -= 1
    if given.is_joint:
        right += left
    return Patch(problem, left * strip, right * strip, cuda.threadIdx.x - task * row_lanes, row_lanes)


@inlined
def _add_rows(given, places, patch, entries, strip):
    """Add the products of every ``lanes``-th row of a problem."""
    for k in range(strip * strip):
        entries[k] = 0
    for row in range(patch.lane, given.n, patch.lanes):
        start = (patch.problem * given.n + row) * places.pitch
        for i in range(strip):
            x = places.acc[start + patch.row + i]
            if given.has_weight:
                weight = places.acc[places.weights + patch.problem * given.n + row].real
                x = places.acc.dtype.type(weight * x)
            for j in range(strip):
                y = places.acc[start + places.right + patch.column + j]
                entries[i * strip + j] += x * y.conjugate()


@inlined
def _store(given, places, patch, entries, strip, is_there):
    """Add the entries over the lanes, and put them into the problem's matrix."""
    offsets = places.offsets + patch.problem * (given.p + given.q)
    total = places.double[places.totals + patch.problem] if is_there and given.is_centred else 0.0
    share = 0.0 if total == 0 else 1.0 / total
    for k in range(strip * strip):
        row = patch.row + k // strip
        column = patch.column + k % strip
        value = _add_lanes(places, entries[k], patch.lane, patch.lanes)
        if is_there and patch.lane == 0 and row < given.rows and column < given.columns:
            if given.is_centred:
                # Cast, since a sum of integers, which is not centred, would else become a double too.
                error = share * places.wide[offsets + row] * places.wide[offsets + column].conjugate()
                value -= places.wide.dtype.type(error)
            places.wide[(patch.problem * given.rows + row) * given.columns + column] = value


# ---- Finish -------------------------------------------------------------------------------------


@inlined
def _deviation(given, places, matrix, column):
    """Return the square root of a diagonal entry of the scaled matrix."""
    square = given.scale * float64(places.wide[matrix + column * given.columns + column].real)
    return math.sqrt(square) if square >= 0 else math.nan


@inlined
def _finished(given, places, matrix, row, column):
    """Return an entry that is asked for, out of a matrix that has those of the upper triangle."""
    is_mirrored = given.is_joint and row > column
    upper, across = (column, row) if is_mirrored else (row, column)
    value = places.wide[matrix + upper * given.columns + across].conjugate()
    if given.is_centred:
        value = places.wide.dtype.type(given.scale * value.conjugate())
    if given.is_joint and row == column:
        value = from_parts(value, value.real, 0)
    if given.is_correlation:
        value = places.wide.dtype.type(value / _deviation(given, places, matrix, upper))
        value = places.wide.dtype.type(value / _deviation(given, places, matrix, across))
        value = from_parts(value, clipped(value.real), clipped(value.imag))
    return value.conjugate() if is_mirrored else value


@inlined
def _finish(given, places, count, out):
    """Write the matrices of some problems."""
    size = given.rows * given.columns
    for i in range(cuda.threadIdx.x, count * size, cuda.blockDim.x):
        problem = i // size
        row = (i - problem * size) // given.columns
        column = i - problem * size - row * given.columns
        out[i] = _finished(given, places, problem * size, row, column)


@cuda.jit
def small_co_moments(
    X,
    Y,
    weights,
    total,
    means,
    out,
    problems,
    n,
    p,
    q,
    x_problem_stride,
    x_row_stride,
    x_column_stride,
    y_problem_stride,
    y_row_stride,
    y_column_stride,
    problems_per_block,
    row_lanes,
    column_lanes,
    is_joint,
    is_centred,
    is_correlation,
    has_weight,
    scale,
):
    """Write the sums of outer products of small problems."""
    acc = cuda.shared.array(0, out.dtype)
    wide = cuda.shared.array(0, wide_dtype(out))
    entries = cuda.local.array(MOST_ENTRIES, out.dtype)
    strip = strip_of(out)
    rows, columns = (p + q, p + q) if is_joint != 0 else (p, q)
    given = Problems(
        n, p, q, rows, columns, is_joint != 0, is_centred != 0, is_correlation != 0, has_weight != 0, scale
    )
    places = _make_places(given, acc, wide, problems_per_block)
    patch = _patch_of(given, places, strip, row_lanes)
    step = cuda.gridDim.x * problems_per_block
    for first in range(cuda.blockIdx.x * problems_per_block, problems, step):
        count = min(problems_per_block, problems - first)
        x = Source(X, first * x_problem_stride, x_problem_stride, x_row_stride, x_column_stride, p)
        y = Source(Y, first * y_problem_stride, y_problem_stride, y_row_stride, y_column_stride, q)
        _copy_rows(x, count, n, places, 0)
        _copy_rows(y, count, n, places, p if given.is_joint else places.right)
        if given.has_weight:
            for i in range(cuda.threadIdx.x, count * n, cuda.blockDim.x):
                acc[places.weights + i] = weights[first * n + i]
        cuda.syncthreads()
        if given.is_centred:
            _centre(given, places, count, column_lanes, means[first * (p + q) :], total[first:])
            cuda.syncthreads()
        is_there = patch.problem < count
        if is_there:
            _add_rows(given, places, patch, entries, strip)
        cuda.syncthreads()  # the rows have been read
        _store(given, places, patch, entries, strip, is_there)
        cuda.syncthreads()
        _finish(given, places, count, out[first * rows * columns :])
        cuda.syncthreads()  # before the next rows come
