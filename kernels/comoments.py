"""Sums of outer products of the columns of X and Y: the Numba twin of ``comoments.cu``.

    not centred    M = sum_i s_i conj(x_i) ⊗ y_i                    (X with Y, or all of [X Y] with all)
    centred        M = scale * sum_i s_i (z_i - mean) ⊗ conj(z_i - mean)        z_i = [x_i y_i]
    correlation    M_ij / (sqrt(M_ii) sqrt(M_jj)), real and imaginary part clipped to [-1, 1]

Shapes: X ``(problems, n, p)`` and Y ``(problems, n, q)`` with any strides; weights ``(problems, n)``;
total ``(problems,)``; means ``(problems, p + q)``; out ``(problems, p, q)``, or ``(problems, p + q, p +
q)`` where joint.  What is centred is joint.  Bytes moved: X and Y once for one tile, else once for each
tile along the other axis, mostly out of the cache; partials, twice.

``co_moment_partials``, grid (problems * tiles of M, blocks of rows), computes one tile of M over one block
of rows after another, by stages:

1. stage: the rows' columns of the tile go to shared memory, in the summing type, less ``centre``, their
   mean so far;
2. centre: lanes sum the columns, so that the mean of the stage is known.  Where the stage outweighs all
   before it (the first one does), its rows are moved to that mean.  Chan's formula then asks for two more
   rows, which join the stage: the mean's distance from the centre, which weighs minus the stage, and its
   distance from the mean so far, which weighs ``w W / (w + W)``;
3. products: a thread keeps ``edge_of`` x ``edge_of`` entries in registers, and takes every ``groups``-th
   row;
4. flush: after about ``ROWS_PER_SUM`` rows a thread the groups are added in turn, in the wider type.

``co_moment_finish``, grid (problems, entries), merges the blocks of rows by Chan's formula, or adds them,
and mirrors the upper triangle, so that M is exactly Hermitian.  No atomics: the order of every sum follows
from (n, p, q, types) and the number of threads alone.

Shared memory: a stage of at most ``STAGE_BYTES`` for each side of a tile.

Ideas tried: arrays of ``cuda.local`` stay in registers as long as every index is a constant once loops are
unrolled, so that ``edge_of`` is a constant of the type and the strips of entries are flushed by moving them
up.  Loads of 16 bytes, of X and of shared memory, need pointer casts that Numba lacks: the ``.cu`` does
with a quarter of the loads.  To try on a GPU: launch bounds, without which a thread takes all the registers
that there are.
"""

import math
from collections import namedtuple

from numba import cuda, float64

from .common import inlined
from .kinds import clipped, from_parts
from .tiles import (
    EXTRA_ROWS,
    MOST_ENTRIES,
    ROWS_PER_SUM,
    WEIGHT_LANES,
    Problem,
    cut_axis,
    edge_of,
    first_entry_of,
    make_tile,
    power_of_two_up_to,
    side_of,
    stage,
)

FINISH_LANES = 64
FAR_HEAVIER = 64.0

Blocks = namedtuple(
    "Blocks", "partials count width both columns is_centred lanes slots weights lefts rights entries"
)


# ---- Centre -------------------------------------------------------------------------------------


@inlined
def _clear_means(tile):
    """Forget the mean of the rows before."""
    for number in range(tile.sides):
        side = side_of(tile, number)
        for column in range(cuda.threadIdx.x, side.columns, cuda.blockDim.x):
            tile.wide[side.mean + column] = 0


@inlined
def _clear_centre(tile):
    """Let the next stage be relative to 0."""
    for number in range(tile.sides):
        side = side_of(tile, number)
        for column in range(cuda.threadIdx.x, side.columns, cuda.blockDim.x):
            tile.acc[side.centre + column] = 0
    cuda.syncthreads()


@inlined
def _weigh_stage(problem, tile, rows):
    """Sum the weights of a stage."""
    if not problem.has_weight:
        return float64(rows)
    for lane in range(cuda.threadIdx.x, WEIGHT_LANES, cuda.blockDim.x):
        lane_sum = 0.0
        for row in range(lane, rows, WEIGHT_LANES):
            lane_sum += float64(tile.acc[tile.weights + row].real)
        tile.weight_sums[lane] = lane_sum
    cuda.syncthreads()
    total = 0.0
    for lane in range(WEIGHT_LANES):
        total += tile.weight_sums[lane]
    return total


@inlined
def _sum_columns(problem, tile, rows):
    """Sum the columns of a stage, by lanes."""
    for number in range(tile.sides):
        side = side_of(tile, number)
        for slot in range(cuda.threadIdx.x, side.lanes * side.columns, cuda.blockDim.x):
            lane = slot // side.columns
            column = slot - lane * side.columns
            lane_sum = tile.acc.dtype.type(0)
            for row in range(lane, rows, side.lanes):
                z = tile.acc[side.values + row * side.pitch + column]
                lane_sum += tile.acc[tile.weights + row].real * z if problem.has_weight else z
            tile.wide[side.sums + slot] = lane_sum
    cuda.syncthreads()


@inlined
def _distance_of_mean(tile, side, column, stage_weight):
    """How far the mean of the stage is from what it is relative to."""
    total = tile.wide.dtype.type(0)
    for lane in range(side.lanes):
        total += tile.wide[side.sums + lane * side.columns + column]
    return total / (1.0 if stage_weight == 0 else stage_weight)


@inlined
def _move_stage(tile, rows, stage_weight, to_first):
    """Move the rows of a stage to the first of them, or to their own mean."""
    for number in range(tile.sides):
        side = side_of(tile, number)
        for column in range(cuda.threadIdx.x, side.columns, cuda.blockDim.x):
            if to_first:
                first = tile.acc[side.values + column]
                tile.acc[side.centre + column] = first
                tile.acc[side.shift + column] = first
            else:
                tile.acc[side.shift + column] = _distance_of_mean(tile, side, column, stage_weight)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, rows * side.columns, cuda.blockDim.x):
            row = i // side.columns
            column = i - row * side.columns
            tile.acc[side.values + row * side.pitch + column] -= tile.acc[side.shift + column]
    cuda.syncthreads()


@inlined
def _merge_stage(tile, weight_before, stage_weight, is_moved):
    """Add to a stage the two rows of Chan's formula, and to the means what the stage brings."""
    share = 0.0 if stage_weight == 0 else stage_weight / (weight_before + stage_weight)
    for number in range(tile.sides):
        side = side_of(tile, number)
        for column in range(cuda.threadIdx.x, side.columns, cuda.blockDim.x):
            rest = _distance_of_mean(tile, side, column, stage_weight)
            shift = tile.wide.dtype.type(tile.acc[side.shift + column] if is_moved else 0)
            mean = tile.wide[side.mean + column]
            rounding = tile.wide.dtype.type(tile.acc[side.centre + column]) - mean
            distance = rounding + (shift + rest)
            extra = side.values + tile.stage_rows * side.pitch + column
            tile.acc[extra] = rest
            tile.acc[extra + side.pitch] = distance
            tile.wide[side.mean + column] = mean + share * distance
            tile.acc[side.centre + column] = mean + share * distance
    if cuda.threadIdx.x == 0:
        tile.acc[tile.weights + tile.stage_rows] = -stage_weight
        tile.acc[tile.weights + tile.stage_rows + 1] = weight_before * share
    cuda.syncthreads()


@inlined
def _centre_stage(problem, tile, rows, weight_before, stage_weight, is_raw):
    """Ready a stage of a centred matrix.

    What is staged as it is moves to its first row at once, so that a constant column comes to exactly 0;
    but to no row of little weight, which might be far from all others.
    """
    first_weight = float64(tile.acc[tile.weights].real) if problem.has_weight else 1.0
    if is_raw and FAR_HEAVIER * rows * first_weight >= stage_weight:
        _move_stage(tile, rows, 0.0, True)
    is_moved = stage_weight > weight_before
    _sum_columns(problem, tile, rows)
    if is_moved:
        _move_stage(tile, rows, stage_weight, False)
        _sum_columns(problem, tile, rows)
    _merge_stage(tile, weight_before, stage_weight, is_moved)


@inlined
def _ready_stage(problem, tile, first_row, rows, weight_before, is_first):
    """Bring a stage to shared memory, and centre it where that is asked for; returns the weight so far.

    What outweighs all rows before by far is staged again, as it is: less their mean, which may be far
    away, it would lose digits.
    """
    stage_weight = 0.0
    is_raw = is_first
    is_staged = False
    while not is_staged:
        stage(problem, tile, first_row, rows)
        is_staged = True
        if problem.is_centred:
            stage_weight = _weigh_stage(problem, tile, rows)
            is_staged = is_raw or stage_weight <= FAR_HEAVIER * weight_before
        if not is_staged:
            is_raw = True
            _clear_centre(tile)
    if problem.is_centred:
        _centre_stage(problem, tile, rows, weight_before, stage_weight, is_raw)
    return weight_before + stage_weight


# ---- Products -----------------------------------------------------------------------------------


@inlined
def _add_rows(tile, sums, edge, rows, left_column, right_column, has_weight):
    """Add the products of some staged rows to the thread's entries."""
    left = tile.left.values + left_column
    right = tile.right.values + right_column
    for row in rows:
        for i in range(edge):
            x = tile.acc[left + row * tile.left.pitch + i]
            if has_weight:
                x = tile.acc.dtype.type(tile.acc[tile.weights + row].real * x)
            for j in range(edge):
                y = tile.acc[right + row * tile.right.pitch + j]
                sums[i * edge + j] += x * y.conjugate()


@inlined
def _flush(tile, sums, edge, first_entry, row_stride, partials, is_first):
    """Add the sums of all groups, in turn and in the wider type, to partials, and clear them."""
    strips = tile.left.values
    own = strips + cuda.threadIdx.x * edge
    for i in range(edge):
        cuda.syncthreads()
        if cuda.threadIdx.x < tile.groups * tile.tasks:
            for j in range(edge):
                tile.acc[own + j] = sums[j]
            for j in range(edge * (edge - 1)):  # by constants alone, else they would leave the registers
                sums[j] = sums[j + edge]
        cuda.syncthreads()
        for k in range(cuda.threadIdx.x, tile.tasks * edge, cuda.blockDim.x):
            row, column = first_entry_of(tile, k // edge, edge)
            row += i
            column += k % edge
            is_above = not tile.is_diagonal or row <= column
            if row < tile.left.columns and column < tile.right.columns and is_above:
                at = first_entry + row * row_stride + column
                total = tile.wide.dtype.type(0) if is_first else partials[at]
                for group in range(tile.groups):
                    total += tile.acc[strips + group * tile.tasks * edge + k]
                partials[at] = total
    for k in range(edge * edge):
        sums[k] = 0
    cuda.syncthreads()


@inlined
def _add_block(problem, tile, sums, first_row, rows, right_columns, partials):
    """Put the sums over some rows into their row of partials."""
    edge = edge_of(problem.weights)
    both = problem.p + problem.q
    group = cuda.threadIdx.x // tile.tasks
    task = cuda.threadIdx.x - group * tile.tasks
    left_column, right_column = first_entry_of(tile, task, edge)
    first_column = tile.right.first if problem.is_joint else tile.right.first - problem.p
    first_entry = 1 + both + tile.left.first * right_columns + first_column
    rows_per_sum = max(1, ROWS_PER_SUM * tile.groups // tile.stage_rows) * tile.stage_rows
    weight = 0.0
    for k in range(edge * edge):
        sums[k] = 0
    _clear_means(tile)
    _clear_centre(tile)
    for done in range(0, rows, tile.stage_rows):
        staged = min(tile.stage_rows, rows - done)
        weight = _ready_stage(problem, tile, first_row + done, staged, weight, done == 0)
        if group < tile.groups:
            own_rows = range(group, staged, tile.groups)
            _add_rows(tile, sums, edge, own_rows, left_column, right_column, problem.has_weight)
        if problem.is_centred and group == 0:
            extra_rows = range(tile.stage_rows, tile.stage_rows + EXTRA_ROWS)
            _add_rows(tile, sums, edge, extra_rows, left_column, right_column, True)
        behind = done + staged
        if behind == rows or behind % rows_per_sum == 0:
            is_first = behind <= rows_per_sum
            _flush(tile, sums, edge, first_entry, right_columns, partials, is_first)
        cuda.syncthreads()
    if problem.is_centred and tile.is_diagonal:
        for column in range(cuda.threadIdx.x, tile.left.columns, cuda.blockDim.x):
            partials[1 + tile.left.first + column] = tile.wide[tile.left.mean + column]
        if tile.left.first == 0 and cuda.threadIdx.x == 0:
            partials[0] = weight
    cuda.syncthreads()


@cuda.jit
def co_moment_partials(
    X,
    Y,
    weights,
    partials,
    n,
    p,
    q,
    x_problem_stride,
    x_row_stride,
    x_column_stride,
    y_problem_stride,
    y_row_stride,
    y_column_stride,
    rows_per_block,
    is_joint,
    is_centred,
    has_weight,
):
    """Sum the outer products of each block of rows of each problem."""
    sums = cuda.local.array(MOST_ENTRIES, weights.dtype)
    edge = edge_of(weights)
    left_columns = p + q if is_joint != 0 else p
    right_columns = p + q if is_joint != 0 else q
    _, left_tiles = cut_axis(left_columns, edge)
    _, right_tiles = cut_axis(right_columns, edge)
    pairs = left_tiles * (left_tiles + 1) // 2 if is_joint != 0 else left_tiles * right_tiles
    number = cuda.blockIdx.x // pairs
    problem = Problem(
        X,
        Y,
        weights[number * n :],
        p,
        q,
        number * x_problem_stride,
        number * y_problem_stride,
        x_row_stride,
        x_column_stride,
        y_row_stride,
        y_column_stride,
        is_joint != 0,
        is_centred != 0,
        has_weight != 0,
    )
    tile = make_tile(problem, cuda.blockIdx.x - number * pairs, left_columns, right_columns, partials)
    width = 1 + p + q + left_columns * right_columns
    blocks = (n + rows_per_block - 1) // rows_per_block
    for block in range(cuda.blockIdx.y, blocks, cuda.gridDim.y):
        first_row = block * rows_per_block
        rows = min(rows_per_block, n - first_row)
        own = partials[(number * blocks + block) * width :]
        _add_block(problem, tile, sums, first_row, rows, right_columns, own)


# ---- Finish -------------------------------------------------------------------------------------


@inlined
def _merge(blocks, into, weight, left, right, entry):
    """Merge what some blocks of rows come to into a lane, by Chan's formula; or add their entry."""
    blocks.entries[into] += entry
    if blocks.is_centred:
        before = blocks.weights[into]
        total = before + weight
        share = 0.0 if total == 0 else weight / total
        left_distance = left - blocks.lefts[into]
        right_distance = right - blocks.rights[into]
        blocks.weights[into] = total
        blocks.lefts[into] += share * left_distance
        blocks.rights[into] += share * right_distance
        blocks.entries[into] += before * share * left_distance * right_distance.conjugate()


@inlined
def _merge_blocks(blocks, is_needed, row, column):
    """Merge one entry over all blocks of rows, into the first lane of the thread's slot."""
    own = cuda.threadIdx.x
    lane = own // blocks.slots
    cuda.syncthreads()  # the entry before has been read
    blocks.weights[own] = 0
    blocks.lefts[own] = 0
    blocks.rights[own] = 0
    blocks.entries[own] = 0
    if is_needed:
        for block in range(lane, blocks.count, blocks.lanes):
            start = block * blocks.width
            weight, means = blocks.partials[start], blocks.partials[start + 1 :]
            entry = means[blocks.both + row * blocks.columns + column]
            _merge(blocks, own, float64(weight.real), means[row], means[column], entry)
    half = blocks.lanes // 2
    while half > 0:
        cuda.syncthreads()
        if lane < half:
            other = own + half * blocks.slots
            entry = blocks.entries[other]
            _merge(blocks, own, blocks.weights[other], blocks.lefts[other], blocks.rights[other], entry)
        half //= 2
    cuda.syncthreads()


@inlined
def _deviation(blocks, is_needed, slot, column, scale):
    """Return the square root of a diagonal entry of the scaled matrix."""
    _merge_blocks(blocks, is_needed, column, column)
    square = scale * float64(blocks.entries[slot].real)
    return math.sqrt(square) if square >= 0 else math.nan


@inlined
def _make_blocks(partials, count, width, both, columns, is_centred):
    """Share out the block's shared memory: a lane of one entry for each thread."""
    double = cuda.shared.array(0, float64)
    wide = cuda.shared.array(0, partials.dtype)
    threads = cuda.blockDim.x
    lanes = power_of_two_up_to(min(count, threads, FINISH_LANES))
    first = threads * 8 // partials.itemsize
    return Blocks(
        partials,
        count,
        width,
        both,
        columns,
        is_centred,
        lanes,
        threads // lanes,
        double,
        wide[first:],
        wide[first + threads :],
        wide[first + 2 * threads :],
    )


@cuda.jit
def co_moment_finish(
    partials, total, means, out, blocks_per_problem, p, q, is_joint, is_centred, is_correlation, scale
):
    """Merge the blocks of rows into the matrix, and for a centred one into weight and means."""
    problem = cuda.blockIdx.x
    both = p + q
    rows, columns = (both, both) if is_joint != 0 else (p, q)
    width = 1 + both + rows * columns
    own = partials[problem * blocks_per_problem * width :]
    blocks = _make_blocks(own, blocks_per_problem, width, both, columns, is_centred != 0)
    lane = cuda.threadIdx.x // blocks.slots
    slot = cuda.threadIdx.x - lane * blocks.slots
    start = problem * rows * columns
    for first in range(cuda.blockIdx.y * blocks.slots, rows * columns, cuda.gridDim.y * blocks.slots):
        at = first + slot
        row = at // columns
        column = at - row * columns
        is_needed = at < rows * columns and (is_joint == 0 or row <= column)
        _merge_blocks(blocks, is_needed, row, column)
        weight, mean, value = blocks.weights[slot], blocks.lefts[slot], blocks.entries[slot].conjugate()
        if blocks.is_centred:
            value = partials.dtype.type(scale * value.conjugate())
        if is_joint != 0 and row == column:
            value = from_parts(value, value.real, 0)
        if is_correlation != 0:
            value = partials.dtype.type(value / _deviation(blocks, is_needed, slot, row, scale))
            value = partials.dtype.type(value / _deviation(blocks, is_needed, slot, column, scale))
            value = from_parts(value, clipped(value.real), clipped(value.imag))
        if lane == 0 and is_needed:
            out[start + at] = value
            if is_joint != 0 and row != column:
                out[start + column * columns + row] = value.conjugate()
            if blocks.is_centred and row == column:
                means[problem * both + row] = mean
                if row == 0:
                    total[problem] = weight
