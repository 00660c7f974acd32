"""One pass over X on the host: blocks of rows on threads, and one tree that adds them up.

X comes from memory once, however many models share it.  Within a block of rows the sums (`row_sums`) have
the summing dtype; across blocks they are float64, added pairwise in an order that depends on the block's
index alone.
"""

from functools import lru_cache, reduce
from operator import or_
from typing import Any

import numpy as np

from ..compiling import compiled
from ..float_status import clear_flags, raised_flags
from ..packing import frozen
from ..processor import LAST_CACHE_BYTES
from ..stripes import STRIPES, blocks_per_stripe
from ..threads.pools import anyone_waits, for_each_block, may_wait_awake, thread_count
from ..threads.teams import helpers_for, job_of, seats, share
from .row_groups import ROWS
from .row_sums import add_rows, is_viewed, offset_of, padded, tile_of

Array = np.ndarray[Any, Any]

TILE_ELEMENTS = 32768  # of a strided X, packed at once: 256 KB of float64, half of a usual second-level cache
SHORTEST_BLOCK = 64  # rows; fewer would spend more on float64 sums of a wide X than on reading it
COUNTER_BITS = 40  # of the pairwise sum: enough for 2**40 blocks
TASK_ELEMENTS = 1 << 19  # of X, for each model; a thread takes no less at a time, if there is so much
AWAKE_ELEMENTS = 1 << 16  # the same of threads that wait awake
MOST_ALONE = 1 << 21  # of a pass that waits for no thread to wake; a larger one is sooner done where one does
MOST_AWAKE = 1 << 24  # of a pass shared with threads that wait awake; calls of larger ones are too far apart
ALL = 1 << 40  # more stripes than there are
MOST_CUTS = 1024  # of numbers of rows and columns, that are remembered
SERIAL_ELEMENTS = 1 << 16  # of X, for each model; below this a second thread costs more than it brings

# Never read; they only have the type of weights, which are read-only like all inputs.
_NO_WEIGHTS = {char: np.broadcast_to(np.ones(1, char), (1, 1)) for char in "fd"}


def rows_per_block(columns: int) -> int:
    """Rows whose sums stay in the summing dtype; the columns alone decide it, so the bits do not vary."""
    return max(SHORTEST_BLOCK, TILE_ELEMENTS // columns // ROWS * ROWS)


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
        See `float_status`.
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
    if elements > MOST_AWAKE or not may_wait_awake(threads):
        return None
    piece = max(AWAKE_ELEMENTS, min(-(-elements // threads), TASK_ELEMENTS))
    block = -(-stripes * piece // elements)
    helpers = helpers_for(min(threads, -(-stripes // block)))
    if elements > MOST_ALONE and not anyone_waits():
        return None
    return block, helpers


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
    tile_rows = min(block_rows, max(ROWS, TILE_ELEMENTS // d // ROWS * ROWS))
    scratch = np.empty((tile_rows, d), X.dtype)
    models = np.zeros((k, padded(d, w.itemsize)), w.dtype)
    gradient = np.empty_like(models)
    squares = np.empty(k, w.dtype)
    stack = np.empty((2 + COUNTER_BITS, k * d + k + 1))
    is_far = is_viewed(X) and X.size * X.itemsize > LAST_CACHE_BYTES  # what is packed lies in a cache
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
                add_rows(
                    tile_of(X, problem, i, end, scratch),
                    y[problem, i:end],
                    models,
                    weights[problem, i:end] if is_weighted else weights[0],
                    is_weighted,
                    offset_of(x_offset, problem),
                    is_far,
                    gradient,
                    squares,
                )
            weight = float(block_stop - block_start)
            if is_weighted:
                weight = 0.0
                for i in range(block_start, block_stop):
                    weight += weights[problem, i]
            _store(gradient[:, :d], squares, weight, stack)
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


@compiled()  # weights that add up to 0 give NaN, as in NumPy
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
    flags = share(seats, helpers, job, arguments, problems * stripes, block)
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
