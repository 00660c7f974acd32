"""Small problems on the host: positive definite systems, and the penalised quadratics of linear regression.

All of them are float64, and given by their co-moments rather than by rows, so that a step costs the square of
the columns.  Threads share the problems, or their models; each is computed by one thread, in one order.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._reference import solvers
from ..compiling import compiled
from ..packing import frozen
from ..threads.pools import SERIAL_WORK, for_each_block_of
from ..vectors import LANES
from .descent import MODELS_AT_ONCE, descend_by_coordinates, descend_by_steps
from .systems import solve_systems, system_memory

Array = np.ndarray[Any, Any]

WIDEST_SYSTEM = 64  # columns; a wider system is one for LAPACK
LOSS_WORK = 8  # multiplications that a coefficient's share in a loss takes as long as
USUAL_SWEEPS = 16  # of a model, to tell whether threads are worth their start
LEAST_WORK = SERIAL_WORK // 4  # of a task, beside which its start is nothing
TASKS = 64  # pieces of work for the threads


def normal_equations(
    total: Array, means: Array, matrix: Array, is_centred: bool, H: Array, c: Array, yy: Array
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    total, means, matrix = _inputs(total, means, matrix)

    def task(start: int, stop: int) -> None:
        _cut_moments(total, means, matrix, is_centred, start, stop, H, c, yy)

    _share(task, len(total), matrix.size)


def solve_positive(A: Array, b: Array, out: Array, condition: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    problems, d, k = b.shape
    if d > WIDEST_SYSTEM:
        solvers.solve_positive(A, b, out, condition)
        return
    A, b = _inputs(A, b)

    def task(start: int, stop: int) -> None:
        solve_systems(A, b, start, stop, system_memory(d, k), out, condition)

    _share(task, -(-problems // LANES), problems * d * d * (d + k))


def solution_loss(H: Array, c: Array, yy: Array, w: Array, l2: Array, loss: Array, terms: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    H, c, yy, w, l2 = _inputs(H, c, yy, w, l2)

    def task(start: int, stop: int) -> None:
        _add_up_losses(H, c, yy, w, l2, start, stop, loss, terms)

    _share(task, len(w), LOSS_WORK * w.size)


def proximal_descent(
    H: Array,
    c: Array,
    w: Array,
    *,
    l1: Array,
    l2: Array,
    learning_rate: Array,
    values: Array,
    norms: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    problems, _, k = w.shape
    H, c, l1, l2, learning_rate = _inputs(H, c, l1, l2, learning_rate)

    def task(start: int, stop: int) -> None:
        descend_by_steps(H, c, l1, l2, learning_rate, start, stop, w, values, norms)

    _share(task, problems * -(-k // MODELS_AT_ONCE), len(norms) * H.size * k)


def coordinate_descent(
    H: Array,
    c: Array,
    yy: Array,
    w: Array,
    *,
    l1: Array,
    l2: Array,
    tol: float,
    max_iter: int,
    is_path: bool,
    n_iter: Array,
    gap: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    problems, _, k = w.shape
    H, c, yy, l1, l2 = _inputs(H, c, yy, l1, l2)
    models = k if is_path else 1

    def task(start: int, stop: int) -> None:
        descend_by_coordinates(
            H, c, yy, l1, l2, float(tol), int(max_iter), start * models, stop * models, models, w, n_iter, gap
        )

    _share(task, problems * k // models, USUAL_SWEEPS * H.size * k)


def _inputs(*arrays: Array) -> list[Array]:
    """As read-only arrays in C order, the one type that the kernels are compiled for."""
    return [frozen(np.ascontiguousarray(array)) for array in arrays]


def _share(task: Callable[[int, int], None], count: int, work: int) -> None:
    """The tasks on threads, where there is work for several."""
    for_each_block_of(work, task, count, max(1, count // TASKS, count * LEAST_WORK // max(1, work)))


# --- What co-moments say of a regression -----------------------------------------------------------


@compiled()
def _cut_moments(
    total: Any, means: Any, matrix: Any, is_centred: bool, start: int, stop: int, H: Any, c: Any, yy: Any
) -> None:
    """Write the parts of problems ``start`` to ``stop``."""
    d, columns = H.shape[1], means.shape[1]
    for problem in range(start, stop):
        share = 1 / total[problem]
        mean = means[problem]
        for i in range(columns):
            offset = 0.0 if is_centred else mean[i]
            for j in range(d if i < d else 0):
                H[problem, i, j] = share * matrix[problem, i, j] + offset * mean[j]
            for j in range(d, columns if i < d else d):
                c[problem, i, j - d] = share * matrix[problem, i, j] + offset * mean[j]
            if i >= d:
                yy[problem, i - d] = share * matrix[problem, i, i] + offset * mean[i]


@compiled()
def _add_up_losses(
    H: Any, c: Any, yy: Any, w: Any, l2: Any, start: int, stop: int, loss: Any, terms: Any
) -> None:
    """Write the losses and terms of problems ``start`` to ``stop``."""
    _, d, k = w.shape
    for problem in range(start, stop):
        for model in range(k):
            target = min(model, yy.shape[1] - 1)
            along = square = size = 0.0
            for j in range(d):
                coefficient = w[problem, j, model]
                along += c[problem, j, target] * coefficient
                square += coefficient * coefficient
                size += math.sqrt(H[problem, j, j]) * abs(coefficient)
            height = yy[problem, target]
            loss[problem, model] = max(height - along - l2[model] * square, 0.0) / 2
            terms[problem, model] = height + size * size
