"""One pass over X on the host: blocks of rows on threads, and one tree that adds them up.

For every model, ``residual = (x - offset)·w - y`` and ``gradient += weight * residual * (x - offset)``
happen while four rows of X sit in the first-level cache, so that X comes from memory once, however
many models share it.  Within a block of rows the sums have the summing dtype; across blocks they are
float64, added pairwise in an order that depends on the block's index alone.

Ideas tried, 2 cores, float32, of the same-run read of X: one row at a time 0.85 at d = 64 and 0.44 at
d = 16; four rows at a time (kept) 0.84 and 0.74; eight rows 0.83 and 0.72, and more compile time.  On a
Cascade Lake server, where four rows reached 0.62 at d = 16, 0.63 at 64, 0.58 at 128, 0.66 at 512 and 0.76 at
4096: lines asked for 1 KB ahead 0.71, 0.81, 0.84, 0.76 and 0.67, 4 KB ahead 0.78, 0.88, 0.80, 0.74 and 0.66
(kept: the better for each length of a row, and for rows past 2 KB neither, which the processor sees coming);
asked for between the columns of the gradient, in pieces, 0.41 to 0.48: LLVM then leaves that loop scalar.
"""

from functools import lru_cache, reduce
from operator import or_
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ._float_status import clear_flags, raised_flags
from ._numba import SUMS, compiled
from ._packing import frozen
from ._row_groups import GROUP_BYTES, add_row_groups
from ._streaming import LINE_BYTES, ask_for
from ._teams import helpers_for, job_of, seats, share
from ._threads import for_each_block, may_wait_awake, thread_count

Array = np.ndarray[Any, Any]

TILE_ELEMENTS = 32768  # of a strided X, packed at once: 256 KB of float64, half of a usual second-level cache
SHORTEST_BLOCK = 64  # rows; fewer would spend more on float64 sums of a wide X than on reading it
ROWS_AT_ONCE = 4
STRIPES = 64  # pieces of work for the threads, each a whole subtree of blocks
COUNTER_BITS = 40  # of the pairwise sum: enough for 2**40 blocks
TASK_ELEMENTS = 1 << 19  # of X, for each model; a thread takes no less at a time, if there is so much
AWAKE_ELEMENTS = 1 << 16  # the same of threads that wait awake, for less than a task
ALL = 1 << 40  # more stripes than there are
SHORT_ROW = 256  # bytes, up to which lines are asked for far ahead
LONGEST_ROW = 2048  # bytes, up to which they are asked for near ahead; past them the processor does by itself
FAR_AHEAD, NEAR_AHEAD = 4096, 1024
TILE_BYTES = 1 << 14  # of rows that several models read one after another
MOST_GROUPED = 256  # bytes of a row, up to which rows are summed in groups
MOST_CUTS = 1024  # of numbers of rows and columns, that are remembered
SERIAL_ELEMENTS = 1 << 16  # of X, for each model; below this a second thread costs more than it brings

# Never read; they only have the type of weights, which are read-only like all inputs.
_NO_WEIGHTS = {char: np.broadcast_to(np.ones(1, char), (1, 1)) for char in "fd"}


def rows_per_block(columns: int) -> int:
    """Rows whose sums stay in the summing dtype; the columns alone decide it, so the bits do not vary."""
    return max(SHORTEST_BLOCK, TILE_ELEMENTS // columns // ROWS_AT_ONCE * ROWS_AT_ONCE)


def blocks_per_stripe(blocks: int) -> int:
    """A power of two, so that a stripe is a subtree and the result does not depend on it."""
    return 1 << max(0, -(-blocks // STRIPES) - 1).bit_length()


def _partial_sums(
    X: Array, y: Array, w: Array, weights: Array | None, x_offset: Array | None
) -> tuple[Array, int]:
    """Sums over the rows of each stripe, on threads, in float64, and the floating-point flags raised.

    Parameters
    ----------
    X : (B, n, d) array
        Any strides.
    y : (B, n, k) or (B, n, 1) array
    w : (B, d, k) array
    weights : (B, n) array or None
    x_offset : (B, d) array or None

    Returns
    -------
    partials : (B, stripes, k * d + k + 1) array
        Of ``weight * residual * x`` by model and column, of ``weight * residual**2`` by model, and of the
        weights.
    flags : int
        See `_float_status`.
    """
    problems, n, d = X.shape
    k = w.shape[2]
    block_rows, stripe_rows = _cut(n, d)
    partials = np.empty((problems, -(-n // stripe_rows), k * d + k + 1))
    units = partials.shape[0] * partials.shape[1]
    is_weighted = weights is not None
    weights = weights if is_weighted else _NO_WEIGHTS[w.dtype.char]
    raised: list[int] = []

    def task(start: int, stop: int) -> None:
        flags = _stripes(
            X, y, w, weights, is_weighted, x_offset, block_rows, stripe_rows, start, stop, partials
        )
        raised.append(flags)

    for_each_block(task, units, max(1, units // STRIPES, TASK_ELEMENTS * units // (X.size * k)))
    return partials, reduce(or_, raised)


def one_pass(
    X: Array,
    y: Array,
    w: Array,
    weights: Array | None,
    x_offset: Array | None,
    l1: float,
    l2: float,
    learning_rate: float,
    is_step: bool,
    out: Array,
    loss: Array,
) -> int:
    """The contract's `linreg_pass`, in one call where that is short; the floating-point flags raised."""
    problems, n, d = X.shape
    cut = _cut(n, d)
    shared = _sharing(problems * -(-n // cut[1]), X.size * w.shape[2])
    if shared is None:
        partials, flags = _partial_sums(X, y, w, weights, x_offset)
        return flags | _finish(partials, w, l1, l2, learning_rate, is_step, out, loss)
    is_weighted = weights is not None
    weights = weights if is_weighted else _NO_WEIGHTS[w.dtype.char]
    inputs = X, y, w, weights, is_weighted, x_offset, *cut
    return _pass(*inputs, l1, l2, learning_rate, is_step, out, loss, *shared, seats.address)


def _sharing(stripes: int, elements: int) -> tuple[int, int] | None:
    """Stripes of a block and helpers of a short pass; None for one in which threads that sleep can wake."""
    if elements <= SERIAL_ELEMENTS:
        return ALL, 0
    threads = thread_count()
    if elements > TASK_ELEMENTS or not may_wait_awake(threads):
        return None
    block = -(-stripes * max(AWAKE_ELEMENTS, -(-elements // threads)) // elements)
    return block, helpers_for(min(threads, -(-stripes // block)))


def small_steps(
    X: Array,
    y: Array,
    w: Array,
    weights: Array | None,
    x_offset: Array | None,
    l1: float,
    l2: float,
    learning_rate: float,
    points: Array,
    losses: Array,
) -> int:
    """All steps in one call, where a call takes longer than a step; the contract's `linreg_steps`."""
    is_weighted = weights is not None
    weights = weights if is_weighted else _NO_WEIGHTS[w.dtype.char]
    inputs = X, y, w, weights, is_weighted, x_offset, *_cut(X.shape[1], X.shape[2])
    return _steps(*inputs, l1, l2, learning_rate, frozen(points), points, losses)


def is_small(X: Array, models: int) -> bool:
    """Whether one thread, without help, is soonest done with a pass over X."""
    return X.size * models <= SERIAL_ELEMENTS


@lru_cache(MOST_CUTS)
def _cut(rows: int, columns: int) -> tuple[int, int]:
    """Rows of a block and of a stripe."""
    block_rows = rows_per_block(columns)
    return block_rows, block_rows * blocks_per_stripe(-(-rows // block_rows))


@compiled(fastmath=SUMS)
def _centred(X: Any, x_offset: Any, row: int, column: int) -> Any:
    """One element of X less its column's offset; Numba drops the branch when it compiles."""
    if x_offset is None:
        return X[row, column]
    return X[row, column] - x_offset[column]


@compiled()  # of sums that say themselves what is fused, none may be reordered
def _add_groups(
    X: Any,
    y: Any,
    w: Any,
    weights: Any,
    is_weighted: bool,
    x_offset: Any,
    ahead: int,
    gradient: Any,
    squares: Any,
) -> int:
    """As `_add_rows`, of whole groups of short rows, by `add_row_groups`; the rows summed."""
    rows = X.shape[0]
    # Several models take turns at a tile that stays in the first-level cache.
    tile = TILE_BYTES // (X.shape[1] * X.itemsize) & -GROUP_BYTES if w.shape[0] > 1 else rows
    summed = 0
    for start in range(0, rows, tile):
        stop = min(start + tile, rows)
        for model in range(w.shape[0]):
            target = 0 if y.shape[1] == 1 else model
            asked = ahead if model == 0 else 0
            summed = add_row_groups(
                X, start, stop, y, target, w, model, weights, is_weighted, x_offset, asked, gradient, squares
            )
    return summed


@compiled(fastmath=SUMS)
def _add_rows(
    X: Any, y: Any, w: Any, weights: Any, is_weighted: bool, x_offset: Any, gradient: Any, squares: Any
) -> None:
    """Add the sums of a contiguous tile of rows to gradient (k, d) and squares (k,); w is (k, d)."""
    rows, columns = X.shape
    one_target = y.shape[1] == 1
    zero = w.dtype.type(0)
    row_bytes = columns * X.itemsize
    asked = ROWS_AT_ONCE * row_bytes if row_bytes <= LONGEST_ROW else 0
    ahead = FAR_AHEAD if row_bytes <= SHORT_ROW else NEAR_AHEAD
    summed = 0
    if row_bytes <= MOST_GROUPED and row_bytes % GROUP_BYTES == 0:
        summed = _add_groups(X, y, w, weights, is_weighted, x_offset, ahead, gradient, squares)
    whole = rows - (rows - summed) % ROWS_AT_ONCE
    for i in range(summed, whole, ROWS_AT_ONCE):
        for line in range(0, asked, LINE_BYTES):
            ask_for(X, i, ahead + line)
        for model in range(w.shape[0]):
            target = 0 if one_target else model
            r0 = r1 = r2 = r3 = zero
            for j in range(columns):
                wj = w[model, j]
                r0 += _centred(X, x_offset, i, j) * wj
                r1 += _centred(X, x_offset, i + 1, j) * wj
                r2 += _centred(X, x_offset, i + 2, j) * wj
                r3 += _centred(X, x_offset, i + 3, j) * wj
            r0 -= y[i, target]
            r1 -= y[i + 1, target]
            r2 -= y[i + 2, target]
            r3 -= y[i + 3, target]
            s0, s1, s2, s3 = r0, r1, r2, r3
            if is_weighted:
                s0 *= weights[i]
                s1 *= weights[i + 1]
                s2 *= weights[i + 2]
                s3 *= weights[i + 3]
            squares[model] += (s0 * r0 + s1 * r1) + (s2 * r2 + s3 * r3)
            for j in range(columns):
                gradient[model, j] += (
                    s0 * _centred(X, x_offset, i, j) + s1 * _centred(X, x_offset, i + 1, j)
                ) + (s2 * _centred(X, x_offset, i + 2, j) + s3 * _centred(X, x_offset, i + 3, j))
    for i in range(whole, rows):
        for model in range(w.shape[0]):
            residual = zero
            for j in range(columns):
                residual += _centred(X, x_offset, i, j) * w[model, j]
            residual -= y[i, 0 if one_target else model]
            weighted = weights[i] * residual if is_weighted else residual
            squares[model] += weighted * residual
            for j in range(columns):
                gradient[model, j] += weighted * _centred(X, x_offset, i, j)


@compiled()
def _add_pairwise(stack: Any, index: int) -> None:
    """Fold block `index`, just written to ``stack[0]``, into a binary counter of partial sums.

    ``stack[level + 1]`` holds the sum of ``2**level`` neighbouring blocks wherever that bit of the
    number of blocks seen is set: pairwise summation, one block at a time.
    """
    level = 1
    while index & 1:
        for i in range(stack.shape[1]):
            stack[0, i] += stack[level, i]
        index >>= 1
        level += 1
    for i in range(stack.shape[1]):
        stack[level, i] = stack[0, i]


@compiled()
def _fold(stack: Any, count: int) -> None:
    """Add up what the counter holds after `count` blocks, smallest first, into ``stack[0]``."""
    for i in range(stack.shape[1]):
        stack[0, i] = 0.0
    level = 1
    while count:
        if count & 1:
            for i in range(stack.shape[1]):
                stack[0, i] += stack[level, i]
        count >>= 1
        level += 1


def _tile(X: Any, problem: int, start: int, stop: int, scratch: Any) -> Any:
    """Rows of one problem as a contiguous array: a view of X where it is one, else packed into scratch."""


@overload(_tile)  # type: ignore[untyped-decorator]
def _tile_by_layout(X: Any, problem: Any, start: Any, stop: Any, scratch: Any) -> Any:
    def view(X: Any, problem: Any, start: Any, stop: Any, scratch: Any) -> Any:
        return X[problem, start:stop]

    def packed(X: Any, problem: Any, start: Any, stop: Any, scratch: Any) -> Any:
        for i in range(start, stop):
            for j in range(X.shape[2]):
                scratch[i - start, j] = X[problem, i, j]
        return scratch[: stop - start]

    return view if X.layout == "C" and X.aligned else packed


def _of_problem(x_offset: Any, problem: int) -> Any:
    """The offset of one problem, or None: chosen by type, so that compiled code knows which."""


@overload(_of_problem)  # type: ignore[untyped-decorator]
def _of_problem_by_type(x_offset: Any, problem: Any) -> Any:
    def none(x_offset: Any, problem: Any) -> Any:
        return None

    def row(x_offset: Any, problem: Any) -> Any:
        return x_offset[problem]

    return none if isinstance(x_offset, types.NoneType) else row


@compiled()
def _stripes(
    X: Any,
    y: Any,
    w: Any,
    weights: Any,
    is_weighted: bool,
    x_offset: Any,
    block_rows: int,
    stripe_rows: int,
    start: int,
    stop: int,
    partials: Any,
) -> int:
    """Write the sums of stripes ``start`` to ``stop``, counted over all problems; return the flags raised."""
    clear_flags()
    _, n, d = X.shape
    k = w.shape[2]
    stripes = partials.shape[1]
    tile_rows = min(block_rows, max(ROWS_AT_ONCE, TILE_ELEMENTS // d // ROWS_AT_ONCE * ROWS_AT_ONCE))
    scratch = np.empty((tile_rows, d), X.dtype)
    models = np.empty((k, d), w.dtype)
    gradient = np.empty((k, d), w.dtype)
    squares = np.empty(k, w.dtype)
    stack = np.empty((2 + COUNTER_BITS, k * d + k + 1))
    for unit in range(start, stop):
        problem = unit // stripes
        for model in range(k):
            for j in range(d):
                models[model, j] = w[problem, j, model]
        first = unit % stripes * stripe_rows
        last = min(first + stripe_rows, n)
        blocks = 0
        for block_start in range(first, last, block_rows):
            block_stop = min(block_start + block_rows, last)
            _clear(gradient, squares)
            for i in range(block_start, block_stop, tile_rows):
                end = min(i + tile_rows, block_stop)
                _add_rows(
                    _tile(X, problem, i, end, scratch),
                    y[problem, i:end],
                    models,
                    weights[problem, i:end] if is_weighted else weights[0],
                    is_weighted,
                    _of_problem(x_offset, problem),
                    gradient,
                    squares,
                )
            weight = float(block_stop - block_start)
            if is_weighted:
                weight = 0.0
                for i in range(block_start, block_stop):
                    weight += weights[problem, i]
            _store(gradient, squares, weight, stack)
            _add_pairwise(stack, blocks)
            blocks += 1
        _fold(stack, blocks)
        for i in range(stack.shape[1]):
            partials[problem, unit % stripes, i] = stack[0, i]
    return raised_flags()


def _stripes_of(inputs: Any, start: int, stop: int) -> int:
    X, y, w, weights, is_weighted, x_offset, block_rows, stripe_rows, partials = inputs
    return _stripes(X, y, w, weights, is_weighted, x_offset, block_rows, stripe_rows, start, stop, partials)


_stripes_job = job_of(_stripes_of)


@compiled()
def _clear(gradient: Any, squares: Any) -> None:
    """Begin a block's sums."""
    for model in range(gradient.shape[0]):
        squares[model] = 0
        for j in range(gradient.shape[1]):
            gradient[model, j] = 0


@compiled()
def _store(gradient: Any, squares: Any, weight: float, stack: Any) -> None:
    """Put a block's sums, in float64, where the counter takes them from."""
    models, columns = gradient.shape
    for model in range(models):
        for j in range(columns):
            stack[0, model * columns + j] = gradient[model, j]
        stack[0, models * columns + model] = squares[model]
    stack[0, models * columns + models] = weight


@compiled(error_model="numpy")  # weights that add up to 0 give NaN, as in NumPy
def _finish(
    partials: Any, w: Any, l1: float, l2: float, learning_rate: float, is_step: bool, out: Any, loss: Any
) -> int:
    """Fold the stripes of each problem by the same tree; write gradient or step, and the objective at w.

    ``loss`` is ``(B, k)``, or empty where it is not asked for; out may be w.
    """
    clear_flags()
    problems, stripes, width = partials.shape
    _, d, k = w.shape
    stack = np.empty((2 + COUNTER_BITS, width))
    for problem in range(problems):
        for stripe in range(stripes):
            for i in range(width):
                stack[0, i] = partials[problem, stripe, i]
            _add_pairwise(stack, stripe)
        _fold(stack, stripes)
        total = stack[0, width - 1]
        for model in range(k):
            if loss.size:
                absolute = square = 0.0
                for j in range(d):
                    absolute += abs(w[problem, j, model])
                    square += np.float64(w[problem, j, model]) ** 2
                loss[problem, model] = stack[0, k * d + model] / (2 * total) + l1 * absolute + l2 / 2 * square
            for j in range(d):
                before = np.float64(w[problem, j, model])
                gradient = stack[0, model * d + j] / total + l2 * before
                if is_step:
                    out[problem, j, model] = _soft_threshold(
                        before - learning_rate * gradient, learning_rate * l1
                    )
                else:
                    out[problem, j, model] = gradient
    return raised_flags()


@compiled()
def _pass(
    X: Any,
    y: Any,
    w: Any,
    weights: Any,
    is_weighted: bool,
    x_offset: Any,
    block_rows: int,
    stripe_rows: int,
    l1: float,
    l2: float,
    learning_rate: float,
    is_step: bool,
    out: Any,
    loss: Any,
    block: int,
    helpers: int,
    seats: int,
) -> int:
    """One pass, its stripes in blocks by this thread and so many helpers; the flags raised."""
    problems, n, d = X.shape
    k = w.shape[2]
    stripes = -(-n // stripe_rows)
    partials = np.empty((problems, stripes, k * d + k + 1))
    inputs = X, y, w, weights, is_weighted, x_offset, block_rows, stripe_rows, partials
    job, arguments = _stripes_job(inputs)
    flags = share(seats, helpers, job, arguments, 0, problems * stripes, block)
    return flags | _finish(partials, w, l1, l2, learning_rate, is_step, out, loss)


@compiled()
def _steps(
    X: Any,
    y: Any,
    w: Any,
    weights: Any,
    is_weighted: bool,
    x_offset: Any,
    block_rows: int,
    stripe_rows: int,
    l1: float,
    l2: float,
    learning_rate: float,
    seen: Any,
    points: Any,
    losses: Any,
) -> int:
    """Steps from w through the points, which are seen by what reads them as inputs; the flags raised."""
    flags = 0
    for t in range(losses.shape[0]):
        at = w if t == 0 else seen[t - 1]
        data = X, y, at, weights, is_weighted, x_offset, block_rows, stripe_rows
        flags |= _pass(*data, l1, l2, learning_rate, True, points[t], losses[t], ALL, 0, 0)
    return flags


@compiled()
def _soft_threshold(value: float, threshold: float) -> float:
    """The proximal step of the L1 penalty; NaN stays NaN."""
    if value > threshold:
        return value - threshold
    if value < -threshold:
        return value + threshold
    return value - value  # zero, or NaN
