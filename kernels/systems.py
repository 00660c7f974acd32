"""Many small regressions from their co-moments: the Numba twin of ``systems.cu``.

    H = matrix_xx / W     c = matrix_xy / W     yy = matrix_yy / W     all + mean ⊗ mean where not centred
    (H + l2) w = c        intercept = mean_y - mean_x·w, 0 where not centred
    loss = max(yy - c·w - l2 |w|², 0) / 2 + l2 / 2 |w|²

total ``(problems,)``, means ``(problems, d + k)`` and matrix ``(problems, d + k, d + k)`` are the co-moments
of ``[X Y]``; coef is ``(problems, d, k)``, intercept and loss ``(problems, k)``.  summary ``(3,)`` comes in
as infinities, and leaves with the least of all problems: of the reciprocal condition number of the scaled
matrix, in the 1-norm, 0 where it is not positive definite to rounding, that is where a pivot is at most
d * eps, and then coef is NaN; of the share that a loss is of its terms, which cancel each other; and of
whether the co-moments are finite, 1 or 0.

One thread takes one problem, whose numbers lie in shared memory.  Bytes moved: co-moments and results once.
"""

import math
from collections import namedtuple

from numba import cuda, float64

from .common import inlined

SUMMARY = 3
EPSILON = 2.0**-52

# A thread's numbers among those of all: the lower triangle of the columns of [X Y] and three vectors.
System = namedtuple("System", "numbers first stride d columns")


# ---- Where its numbers lie ----------------------------------------------------------------------


@inlined
def _entry(system, i, j):
    """Place of an element of the lower triangle."""
    return system.first + (i * (i + 1) // 2 + j) * system.stride


@inlined
def _root(system, i):
    """Place of a reciprocal root of the diagonal, which scales the matrix."""
    return _entry(system, system.columns, i)


@inlined
def _pivot_root(system, i):
    """Place of a reciprocal root of a pivot."""
    return _root(system, system.d + i)


@inlined
def _work(system, i):
    """Place of an element of the solution, or of a sum of a column."""
    return _root(system, 2 * system.d + i)


@inlined
def _inverse(system, i, j):
    """Place of an element of the inverse of the factor."""
    return _pivot_root(system, i) if i == j else _entry(system, i, j)


# ---- Cholesky -----------------------------------------------------------------------------------


@inlined
def _divide_moments(system, total, means, start, is_centred):
    """Make normal equations of the co-moments; returns whether their diagonal is finite, as 1 or 0."""
    finite = 1.0
    for i in range(system.columns):
        for j in range(i + 1):
            offset = 0.0 if is_centred else means[start + i] * means[start + j]
            system.numbers[_entry(system, i, j)] = system.numbers[_entry(system, i, j)] / total + offset
        if not math.isfinite(system.numbers[_entry(system, i, i)]):
            finite = 0.0
    return finite


@inlined
def _scaled_diagonal(system, i, l2):
    """Return an element of the diagonal of the scaled matrix, which is 1 to rounding."""
    root = system.numbers[_root(system, i)]
    return (system.numbers[_entry(system, i, i)] + l2) * root * root


@inlined
def _reciprocal_root(x):
    """Return ``1 / sqrt(x)``, NaN where x is not positive."""
    return 1.0 / math.sqrt(x) if x > 0 else math.nan


@inlined
def _largest_work(system):
    """Return the largest sum of a column."""
    largest = 0.0
    for i in range(system.d):
        largest = max(largest, system.numbers[_work(system, i)])
    return largest


@inlined
def _scale(system, l2):
    """Scale the matrix to a unit diagonal, all of it but the diagonal in place; returns its 1-norm."""
    numbers = system.numbers
    for i in range(system.d):
        numbers[_root(system, i)] = _reciprocal_root(numbers[_entry(system, i, i)] + l2)
        numbers[_work(system, i)] = 0.0
    for i in range(system.d):
        for j in range(i):
            scaled = numbers[_entry(system, i, j)] * numbers[_root(system, i)] * numbers[_root(system, j)]
            numbers[_entry(system, i, j)] = scaled
            numbers[_work(system, i)] += abs(scaled)
            numbers[_work(system, j)] += abs(scaled)
        numbers[_work(system, i)] += abs(_scaled_diagonal(system, i, l2))
    return _largest_work(system)


@inlined
def _factorise(system, l2):
    """Put Cholesky's factor in place of the matrix; returns whether every pivot is sound."""
    numbers = system.numbers
    is_sound = True
    for j in range(system.d):
        pivot = _scaled_diagonal(system, j, l2)
        for k in range(j):
            pivot -= numbers[_entry(system, j, k)] ** 2
        is_sound = is_sound and pivot > system.d * EPSILON
        numbers[_pivot_root(system, j)] = _reciprocal_root(pivot)
        for i in range(j + 1, system.d):
            rest = numbers[_entry(system, i, j)]
            for k in range(j):
                rest -= numbers[_entry(system, i, k)] * numbers[_entry(system, j, k)]
            numbers[_entry(system, i, j)] = rest * numbers[_pivot_root(system, j)]
    return is_sound


@inlined
def _solve_target(system, target):
    """Leave the solution for a target in the place for work."""
    numbers = system.numbers
    for i in range(system.d):
        rest = numbers[_entry(system, system.d + target, i)] * numbers[_root(system, i)]
        for k in range(i):
            rest -= numbers[_entry(system, i, k)] * numbers[_work(system, k)]
        numbers[_work(system, i)] = rest * numbers[_pivot_root(system, i)]
    for i in range(system.d - 1, -1, -1):
        rest = numbers[_work(system, i)]
        for k in range(i + 1, system.d):
            rest -= numbers[_entry(system, k, i)] * numbers[_work(system, k)]
        numbers[_work(system, i)] = rest * numbers[_pivot_root(system, i)]
    for i in range(system.d):
        numbers[_work(system, i)] *= numbers[_root(system, i)]


@inlined
def _invert(system):
    """Put the inverse of the factor in its place."""
    numbers = system.numbers
    for j in range(system.d):
        for i in range(j + 1, system.d):
            rest = 0.0
            for k in range(j, i):
                rest -= numbers[_entry(system, i, k)] * numbers[_inverse(system, k, j)]
            numbers[_entry(system, i, j)] = rest * numbers[_pivot_root(system, i)]


@inlined
def _inverse_norm(system):
    """Return the 1-norm of the inverse of the matrix, from that of its factor."""
    numbers = system.numbers
    for i in range(system.d):
        numbers[_work(system, i)] = 0.0
    for j in range(system.d):
        for i in range(j, system.d):
            total = 0.0
            for k in range(i, system.d):
                total += numbers[_inverse(system, k, i)] * numbers[_inverse(system, k, j)]
            numbers[_work(system, i)] += abs(total)
            if i != j:
                numbers[_work(system, j)] += abs(total)
    return _largest_work(system)


# ---- Problems -----------------------------------------------------------------------------------


@inlined
def _write_target(system, target, l2, mean_of_y, means, start, is_centred, coef, intercept, loss):
    """Write what was found for a target; returns the share that its loss is of the terms."""
    numbers = system.numbers
    k = system.columns - system.d
    along, square, size, height = 0.0, 0.0, 0.0, mean_of_y
    for i in range(system.d):
        w = numbers[_work(system, i)]
        coef[i * k + target] = w
        along += numbers[_entry(system, system.d + target, i)] * w
        square += w * w
        size += math.sqrt(max(numbers[_entry(system, i, i)], 0.0)) * abs(w)
        if is_centred:
            height -= means[start + i] * w
    yy = numbers[_entry(system, system.d + target, system.d + target)]
    rest = max(yy - along - l2 * square, 0.0)
    intercept[target] = height
    loss[target] = rest / 2 + l2 / 2 * square
    return rest / (yy + size * size) if rest > 0 else 0.0


@inlined
def _solve(system, total, means, start, is_centred, l2, coef, intercept, loss):
    """Solve one problem; returns its part of the summary."""
    k = system.columns - system.d
    finite = _divide_moments(system, total, means, start, is_centred)
    norm = _scale(system, l2)
    is_sound = _factorise(system, l2)
    least_share = math.inf
    for target in range(k):
        _solve_target(system, target)
        mean_of_y = means[start + system.d + target] if is_centred else 0.0
        share = _write_target(system, target, l2, mean_of_y, means, start, is_centred, coef, intercept, loss)
        least_share = min(least_share, share)
    _invert(system)
    condition = norm * _inverse_norm(system)
    if is_sound and condition < math.inf:
        return 1.0 / condition, least_share, finite
    for i in range(system.d * k):
        coef[i] = math.nan
    return 0.0, least_share, finite


@inlined
def _summarise(numbers, found, summary):
    """Take what the threads of a block found into the summary."""
    own, threads = cuda.threadIdx.x, cuda.blockDim.x
    cuda.syncthreads()  # the systems have been read
    for i in range(SUMMARY):
        numbers[i * threads + own] = found[i]
    half = threads // 2
    while half > 0:
        cuda.syncthreads()
        if own < half:
            for i in range(SUMMARY):
                at = i * threads + own
                numbers[at] = min(numbers[at], numbers[at + half])
        half //= 2
    cuda.syncthreads()
    if own < SUMMARY:
        cuda.atomic.min(summary, own, numbers[own * threads])


@cuda.jit
def solve_systems(total, means, matrix, coef, intercept, loss, summary, problems, d, k, is_centred, l2):
    """Solve many small regressions, one a thread."""
    numbers = cuda.shared.array(0, float64)
    threads = cuda.blockDim.x
    columns = d + k
    cells = columns * columns
    first = cuda.blockIdx.x * threads
    own = first + cuda.threadIdx.x
    for i in range(cuda.threadIdx.x, min(threads, problems - first) * cells, threads):
        problem = i // cells
        row = (i - problem * cells) // columns
        column = i - problem * cells - row * columns
        if row >= column:
            numbers[_entry(System(numbers, problem, threads, d, columns), row, column)] = matrix[
                first * cells + i
            ]
    cuda.syncthreads()
    found = math.inf, math.inf, math.inf
    if own < problems:
        system = System(numbers, cuda.threadIdx.x, threads, d, columns)
        results = coef[own * d * k :], intercept[own * k :], loss[own * k :]
        found = _solve(system, total[own], means, own * columns, is_centred != 0, l2, *results)
    _summarise(numbers, found, summary)
