"""Launches of the solution of many small regressions from their co-moments."""

import math
from typing import Any

import numpy as np

from .launcher import Launcher, int64

THREADS = 64
"""Threads of a block, at most; each has a problem."""

FEWEST_THREADS = 32
"""Those of a warp."""

SHARED_BYTES = 49152
"""Shared memory of a block: what every kernel may have without asking."""

SUMMARY = 3
"""Numbers that `solve_systems` says of all problems together."""


def solves_systems(d: int, k: int) -> bool:
    """Whether problems of d columns and k targets are small enough for `solve_systems`.

    Examples
    --------
    >>> [d for d in range(1, 99) if solves_systems(d, 1)][-1]
    15
    """
    return FEWEST_THREADS * _bytes_of_a_thread(d, k) <= SHARED_BYTES


def solve_systems(
    launcher: Launcher,
    total: Any,
    means: Any,
    matrix: Any,
    *,
    is_centred: bool,
    l2: float,
    coef: Any,
    intercept: Any,
    loss: Any,
) -> tuple[float, float, bool]:
    """``(H + l2) w = c`` from co-moments, as the contract of `vecprod_gpu.backends` says."""
    problems, d, k = coef.shape
    threads = min(THREADS, launcher.threads)
    while threads > FEWEST_THREADS and threads * _bytes_of_a_thread(d, k) > SHARED_BYTES:
        threads //= 2
    summary = launcher.to_device(np.full(SUMMARY, np.inf))
    launcher.launch(
        "systems",
        "solve_systems",
        matrix.dtype,
        matrix.dtype,
        (-(-problems // threads), 1),
        threads,
        (
            *(total, means, matrix, coef, intercept, loss, summary),
            *int64(problems, d, k, is_centred),
            np.float64(l2),
        ),
        threads * _bytes_of_a_thread(d, k),
    )
    reciprocal, share, finite = launcher.to_host(summary).tolist()
    return 1 / reciprocal if reciprocal else math.inf, share, finite == 1


def _bytes_of_a_thread(d: int, k: int) -> int:
    """Its triangle of the columns of ``[X Y]`` and three vectors, or its part of the summary."""
    columns = d + k
    return 8 * max(columns * (columns + 1) // 2 + 3 * d, SUMMARY)
