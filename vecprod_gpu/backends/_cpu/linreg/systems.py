"""Positive definite systems on the host, as many side by side as a vector has lanes.

A system of a few unknowns is over before a library has been called.  Here each lane has a system of its own,
and every step is the same for all of them.  What fails becomes NaN and spreads through its own lane alone.

Matrices are packed: element (i, j) of a d × d matrix is row ``i * d + j`` of lanes.
"""

from typing import Any

import numpy as np

from ..compiling import BARE, compiled
from ..packing import aligned_lanes, pack_problems
from ..vectors import (
    LANES,
    add_magnitudes,
    copy_lanes,
    keep_larger,
    multiply_lanes,
    reciprocal_roots,
    subtract_products,
)

Array = np.ndarray[Any, Any]

EPSILON = 2.0**-52


def system_memory(d: int, k: int) -> tuple[Array, ...]:
    """Memory for factors, inverses, sides, a solution, roots, two norms and a product; and a row of zeros."""
    counts = d * d, d * d, d * k, d, d, d, d, 1, 1
    memory = aligned_lanes(counts, np.dtype(np.float64))
    memory[-1][...] = 0
    return memory


@compiled(**BARE)
def solve_systems(A: Any, b: Any, start: int, stop: int, memory: Any, out: Any, condition: Any) -> None:
    """Solve groups ``start`` to ``stop`` of systems; NaN where a matrix is not positive definite."""
    problems, d, k = b.shape
    factor, inverse, sides, solution, roots, norm, inverse_norm, product, zeros = memory
    for group in range(start, stop):
        first = group * LANES
        last = min(first + LANES, problems) - 1
        pack_problems(A, first, last, factor)
        pack_problems(b, first, last, sides)
        _scale(factor, roots, zeros, norm)
        _factorise(factor, d)
        _invert(factor, d, inverse, zeros)
        _add_columns(inverse, d, product, zeros, inverse_norm)
        for i in range(1, d):
            # Where a factor failed every sum of its inverse is NaN, the last one too.
            keep_larger(norm, i, norm, i - 1)
            keep_larger(inverse_norm, i, inverse_norm, i - 1)
        for lane in range(last - first + 1):
            number = norm[d - 1, lane] * inverse_norm[d - 1, lane]
            condition[first + lane] = number if number < np.inf else np.inf
        for model in range(k):
            for i in range(d):
                multiply_lanes(sides, i * k + model, roots, i, solution, i)
            _substitute(factor, solution)
            for i in range(d):
                multiply_lanes(solution, i, roots, i, solution, i)
                for lane in range(last - first + 1):
                    is_sound = condition[first + lane] < np.inf
                    out[first + lane, i, model] = solution[i, lane] if is_sound else np.nan


@compiled(**BARE)
def _scale(matrix: Any, roots: Any, zeros: Any, norm: Any) -> None:
    """Scale the matrices to a unit diagonal, and leave the sums of the magnitudes in each column."""
    d = roots.shape[0]
    for i in range(d):
        reciprocal_roots(roots, i, matrix, i * d + i)
        copy_lanes(norm, i, zeros, 0)
    for i in range(d):
        for j in range(d):
            multiply_lanes(matrix, i * d + j, roots, i, matrix, i * d + j)
            multiply_lanes(matrix, i * d + j, roots, j, matrix, i * d + j)
            add_magnitudes(norm, j, matrix, i * d + j)


@compiled(**BARE)
def _factorise(factor: Any, d: int) -> None:
    """Cholesky's factor in place of the lower triangles, with the reciprocals of its diagonal."""
    smallest = d * EPSILON
    for j in range(d):
        for i in range(j, d):
            subtract_products(factor, i * d + j, factor, i * d, 1, factor, j * d, 1, j)
            if i > j:
                multiply_lanes(factor, i * d + j, factor, j * d + j, factor, i * d + j)
                continue
            for lane in range(LANES):
                if not factor[j * d + j, lane] > smallest:
                    factor[j * d + j, lane] = np.nan
            reciprocal_roots(factor, j * d + j, factor, j * d + j)


@compiled(**BARE)
def _invert(factor: Any, d: int, inverse: Any, zeros: Any) -> None:
    """The inverse of the factor, a lower triangle as well."""
    for j in range(d):
        copy_lanes(inverse, j * d + j, factor, j * d + j)
        for i in range(j + 1, d):
            element = i * d + j
            copy_lanes(inverse, element, zeros, 0)
            subtract_products(inverse, element, factor, element, 1, inverse, j * d + j, d, i - j)
            multiply_lanes(inverse, element, factor, i * d + i, inverse, element)


@compiled(**BARE)
def _add_columns(inverse: Any, d: int, product: Any, zeros: Any, norm: Any) -> None:
    """Sums of the magnitudes in each column of MᵀM, the inverse of the matrix; M is that of its factor."""
    for j in range(d):
        copy_lanes(norm, j, zeros, 0)
    for j in range(d):
        for i in range(j, d):
            copy_lanes(product, 0, zeros, 0)
            subtract_products(product, 0, inverse, i * d + i, d, inverse, i * d + j, d, d - i)
            add_magnitudes(norm, i, product, 0)
            if i != j:
                add_magnitudes(norm, j, product, 0)


@compiled(**BARE)
def _substitute(factor: Any, solution: Any) -> None:
    """Solve for the right-hand side in `solution`, which receives the result."""
    d = solution.shape[0]
    for i in range(d):
        subtract_products(solution, i, factor, i * d, 1, solution, 0, 1, i)
        multiply_lanes(solution, i, factor, i * d + i, solution, i)
    for i in range(d - 1, -1, -1):
        below = i + 1
        subtract_products(solution, i, factor, below * d + i, d, solution, below, 1, d - below)
        multiply_lanes(solution, i, factor, i * d + i, solution, i)
