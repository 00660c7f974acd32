"""Gradient, proximal step and loss of linear regression: the Numba twin of ``linreg.cu``.

    r = (X - x_offset) w - y        G = (X - x_offset)ᵀ (s * r)        Q = sum s r²        W = sum s
    gradient = G / W + l2 w         step = soft_threshold(w - rate * gradient, rate * l1)
    loss = Q / (2 W) + l1 |w|₁ + l2 / 2 |w|²

Shapes: X ``(problems, n, d)`` with any strides; y ``(problems, n, k)``, or ``(problems, n, 1)`` for k
models that share it; w and out ``(problems, d, k)``; sample_weight ``(problems, n)``; x_offset
``(problems, d)``; loss ``(problems, k)``.  Bytes moved: X once; y, s and w, which each tile finds in
the cache; partials, at most 1/64 of X, twice.

``linreg_partials``, grid (problems, blocks of rows), cuts a block's rows into tiles.  For each tile:

1. stage: X goes to shared memory, once, in the summing type, less the offset;
2. for each group of 8, 4, 2 or 1 models (the largest that is left):
   a. dot: lane l of a row sums columns l, l + lanes, ...; ``fold_lanes`` adds the lanes;
   b. residuals: r and s * r of each (row, model);
   c. columns: a thread sums x * s * r over rows g, g + groups, ... of one column and model; column d
      holds r * s * r, and column d + 1 holds s.  The tile's sum is added to a double.

At the end ``fold_lanes`` adds the groups.  ``linreg_finish``, grid (problems, outputs), adds the blocks
in double, several lanes an output.  No atomics: the order of every sum follows from (n, d, k, types) alone.

Shared memory: tile, double sums, lanes, weights, by the rule of ``linreg_geometry`` on the host.  Where
a single row does not fit, X is read in 2a and again, out of the cache, in 2c; where the sums do not
fit, the block keeps them in its own row of ``partials``.

Ideas tried: the ``.cu`` keeps the models of a group in registers.  Numba has neither templates nor
arrays that surely stay in registers, so that here each (row, model) and each (column, model) is a task
of its own: more reads of shared memory, the same sums.
"""

import math
from collections import namedtuple

from numba import cuda, float64

from .common import fold_lanes, inlined

SHARED_LIMIT = 49152  # what a block has unless its launcher asks the driver for more: Numba cannot
LANES_PER_TILE = 256
COLUMN_SLOTS = 256

Problem = namedtuple(
    "Problem",
    "X y w sample_weight x_offset d k y_columns row_stride column_stride has_weight has_offset",
)

Layout = namedtuple(
    "Layout",
    "rows_per_tile lanes pitch groups width is_staged has_shared_sums tile sums scratch weights",
)


# ---- Layout of shared memory --------------------------------------------------------------------


@inlined
def _row_pitch(d, lanes):
    """Elements from one row of a tile to the next: an odd multiple of the lanes, up to a warp of them."""
    unit = min(lanes, 32)
    return (((d + unit - 1) // unit) | 1) * unit


@inlined
def _row_groups(d, rows_per_tile):
    """Groups that the rows of a tile fall into when its columns are summed."""
    groups = 1
    while 2 * groups <= rows_per_tile and 2 * groups * (d + 2) <= COLUMN_SLOTS:
        groups *= 2
    return groups


@inlined
def _largest_model_group(models):
    """Models that share a pass over a tile."""
    group = 8
    while group > models:
        group //= 2
    return group


@inlined
def _make_layout(w, d, k, rows_per_tile):
    """Cut the block's shared memory, by the rule that the host applied when it sized it."""
    acc = cuda.shared.array(0, w.dtype)
    double = cuda.shared.array(0, float64)

    lanes = max(1, LANES_PER_TILE // rows_per_tile)
    pitch = _row_pitch(d, lanes)
    groups = _row_groups(d, rows_per_tile)
    width = d * k + k + 1
    tile_size = rows_per_tile * pitch
    scratch_size = rows_per_tile * max(lanes, 2) * _largest_model_group(k)

    used = (scratch_size + rows_per_tile) * w.itemsize
    is_staged = used + tile_size * w.itemsize <= SHARED_LIMIT
    if not is_staged:
        tile_size = 0
    used += tile_size * w.itemsize
    while groups > 1 and used + groups * width * 8 > SHARED_LIMIT:
        groups //= 2
    has_shared_sums = used + groups * width * 8 <= SHARED_LIMIT
    sums_size = groups * width if has_shared_sums else 0

    sums_start = tile_size * w.itemsize // 8
    scratch_start = (sums_start + sums_size) * 8 // w.itemsize
    weights_start = scratch_start + scratch_size
    return Layout(
        rows_per_tile,
        lanes,
        pitch,
        groups,
        width,
        is_staged,
        has_shared_sums,
        acc,
        double[sums_start:],
        acc[scratch_start:],
        acc[weights_start:],
    )


# ---- Stage --------------------------------------------------------------------------------------


@inlined
def _centred(problem, row, column):
    """``X[row, column] - x_offset[column]`` in the summing type, out of global memory."""
    x = problem.w.dtype.type(problem.X[row * problem.row_stride + column * problem.column_stride])
    return x - problem.x_offset[column] if problem.has_offset else x


@inlined
def _stage(problem, layout, first_row, rows):
    """Bring a tile to shared memory; neighbouring threads run along the axis of smaller stride."""
    for row in range(cuda.threadIdx.x, rows, cuda.blockDim.x):
        weight = problem.w.dtype.type(1)
        layout.weights[row] = problem.sample_weight[first_row + row] if problem.has_weight else weight
    if layout.is_staged:
        along_rows = problem.row_stride < problem.column_stride
        fast_count = rows if along_rows else problem.d
        for i in range(cuda.threadIdx.x, rows * problem.d, cuda.blockDim.x):
            slow = i // fast_count
            fast = i - slow * fast_count
            row = fast if along_rows else slow
            column = slow if along_rows else fast
            layout.tile[row * layout.pitch + column] = _centred(problem, first_row + row, column)
    cuda.syncthreads()


@inlined
def _x_at(problem, layout, first_row, row, column):
    """One centred number of the tile, from where it is."""
    if layout.is_staged:
        return layout.tile[row * layout.pitch + column]
    return _centred(problem, first_row + row, column)


# ---- Dot, residuals, columns --------------------------------------------------------------------


@inlined
def _dot_rows(problem, layout, first_row, rows, first_model, models):
    """Leave the dot products of a group of models in the scratch, as (rows, models)."""
    for task in range(cuda.threadIdx.x, rows * layout.lanes * models, cuda.blockDim.x):
        rest = task // layout.lanes
        lane = task - rest * layout.lanes
        model = rest // rows
        row = rest - model * rows
        dot = problem.w.dtype.type(0)
        for column in range(lane, problem.d, layout.lanes):
            x = _x_at(problem, layout, first_row, row, column)
            dot = cuda.fma(x, problem.w[column * problem.k + first_model + model], dot)
        layout.scratch[(lane * rows + row) * models + model] = dot
    fold_lanes(layout.scratch, layout.lanes, rows * models)


@inlined
def _subtract_targets(problem, layout, first_row, rows, first_model, models):
    """Turn dot products into residuals, and put s * r right after them."""
    for i in range(cuda.threadIdx.x, rows * models, cuda.blockDim.x):
        row = i // models
        model = 0 if problem.y_columns == 1 else first_model + i - row * models
        residual = layout.scratch[i] - problem.y[(first_row + row) * problem.y_columns + model]
        layout.scratch[i] = residual
        layout.scratch[rows * models + i] = layout.weights[row] * residual
    cuda.syncthreads()


@inlined
def _sum_column(problem, layout, first_row, rows, group, column, model, models):
    """Sum what belongs to `column` over the rows of a group: x * s * r, then r * s * r, then s."""
    total = problem.w.dtype.type(0)
    for row in range(group, rows, layout.groups):
        weighted = layout.scratch[(rows + row) * models + model]
        if column < problem.d:
            total = cuda.fma(_x_at(problem, layout, first_row, row, column), weighted, total)
        elif column == problem.d:
            total = cuda.fma(layout.scratch[row * models + model], weighted, total)
        else:
            total += layout.weights[row]
    return total


@inlined
def _add_columns(problem, layout, sums, first_row, rows, first_model, models):
    """Add a tile's column sums of a group of models to the block's sums in double."""
    columns = problem.d + 2
    for task in range(cuda.threadIdx.x, layout.groups * columns * models, cuda.blockDim.x):
        rest = task // columns
        column = task - rest * columns
        group = rest // models
        model = rest - group * models
        # The sum of the weights has one entry, whatever the number of models.
        if column <= problem.d or first_model + model == 0:
            total = _sum_column(problem, layout, first_row, rows, group, column, model, models)
            sums[group * layout.width + column * problem.k + first_model + model] += float64(total)
    cuda.syncthreads()


@inlined
def _add_tile(problem, layout, sums, first_row, rows):
    """Add all that one tile contributes."""
    model = 0
    while model < problem.k:
        models = _largest_model_group(problem.k - model)
        _dot_rows(problem, layout, first_row, rows, model, models)
        _subtract_targets(problem, layout, first_row, rows, model, models)
        _add_columns(problem, layout, sums, first_row, rows, model, models)
        model += models


@inlined
def _add_block(problem, layout, first_row, end, partials):
    """Put the sums of rows [first_row, end) into one row of partials."""
    sums = layout.sums if layout.has_shared_sums else partials
    for i in range(cuda.threadIdx.x, layout.groups * layout.width, cuda.blockDim.x):
        sums[i] = 0
    for row in range(first_row, end, layout.rows_per_tile):
        rows = min(layout.rows_per_tile, end - row)
        _stage(problem, layout, row, rows)
        _add_tile(problem, layout, sums, row, rows)
    fold_lanes(sums, layout.groups, layout.width)
    if layout.has_shared_sums:
        for i in range(cuda.threadIdx.x, layout.width, cuda.blockDim.x):
            partials[i] = sums[i]
    cuda.syncthreads()


@cuda.jit
def linreg_partials(
    X,
    y,
    w,
    sample_weight,
    x_offset,
    partials,
    n,
    d,
    k,
    y_columns,
    x_problem_stride,
    x_row_stride,
    x_column_stride,
    rows_per_block,
    rows_per_tile,
    has_weight,
    has_offset,
):
    """Sum ``x * s * r``, ``s * r**2`` and ``s`` over each block of rows of each problem."""
    p = cuda.blockIdx.x
    problem = Problem(
        X[p * x_problem_stride :],
        y[p * n * y_columns :],
        w[p * d * k :],
        sample_weight[p * n :],
        x_offset[p * d :],
        d,
        k,
        y_columns,
        x_row_stride,
        x_column_stride,
        has_weight != 0,
        has_offset != 0,
    )
    layout = _make_layout(w, d, k, rows_per_tile)
    blocks = (n + rows_per_block - 1) // rows_per_block
    for block in range(cuda.blockIdx.y, blocks, cuda.gridDim.y):
        first_row = block * rows_per_block
        own = partials[(p * blocks + block) * layout.width :]
        _add_block(problem, layout, first_row, min(first_row + rows_per_block, n), own)


# ---- Finish -------------------------------------------------------------------------------------


@inlined
def _soft_threshold(value, threshold):
    """Move `value` towards 0 by `threshold`, but not past it; NaN stays NaN."""
    magnitude = abs(value) - threshold
    return math.copysign(0.0 if magnitude < 0 else magnitude, value)


@inlined
def _sum_blocks(partials, blocks, width, column, lane, lanes):
    """One lane of the sum of `column` over the blocks of rows."""
    total = 0.0
    for block in range(lane, blocks, lanes):
        total += partials[block * width + column]
    return total


@inlined
def _sum_penalties(w, model, d, k, l1, l2, lane, lanes):
    """One lane of the penalties of a model."""
    total = 0.0
    for column in range(lane, d, lanes):
        coefficient = float64(w[column * k + model])
        total += l1 * abs(coefficient) + l2 / 2 * coefficient * coefficient
    return total


@cuda.jit
def linreg_finish(
    partials, w, out, loss, blocks_per_problem, d, k, lanes, l1, l2, learning_rate, is_step, has_loss
):
    """Turn the sums over blocks into gradients or steps, and then, where asked for, into losses.

    `lanes` threads share an output.  out may be w: whoever writes an
    entry alone has read it (the host gives a copy of w where the losses read all of it).
    """
    sums = cuda.shared.array(0, float64)
    p = cuda.blockIdx.x
    entries = d * k
    width = entries + k + 1
    outputs = entries + k if has_loss != 0 else entries
    own = partials[p * blocks_per_problem * width :]
    w_own = w[p * entries :]

    columns = cuda.blockDim.x // lanes
    lane = cuda.threadIdx.x // columns
    slot = cuda.threadIdx.x - lane * columns
    sums[cuda.threadIdx.x] = _sum_blocks(own, blocks_per_problem, width, entries + k, lane, lanes)
    fold_lanes(sums, lanes, columns)
    total_weight = sums[slot]

    for first in range(cuda.blockIdx.y * columns, outputs, cuda.gridDim.y * columns):
        output = first + slot
        cuda.syncthreads()  # the lanes of the round before have been read
        if output < outputs:
            sums[cuda.threadIdx.x] = _sum_blocks(own, blocks_per_problem, width, output, lane, lanes)
        if entries <= output < outputs:
            penalties = _sum_penalties(w_own, output - entries, d, k, l1, l2, lane, lanes)
            sums[cuda.threadIdx.x] = sums[cuda.threadIdx.x] / (2 * total_weight) + penalties
        fold_lanes(sums, lanes, columns)
        if lane == 0 and entries <= output < outputs:
            loss[p * k + output - entries] = sums[slot]
        if lane == 0 and output < entries:
            coefficient = float64(w_own[output])
            result = sums[slot] / total_weight + l2 * coefficient
            if is_step != 0:
                result = _soft_threshold(coefficient - learning_rate * result, learning_rate * l1)
            out[p * entries + output] = result
