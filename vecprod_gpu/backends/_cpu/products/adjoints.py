"""The gradient of outer products on the host, in one read of that of their result."""

from typing import Any

import numpy as np

from ..compiling import SUMS, compiled
from ..packing import frozen
from ..threads.pools import for_each_block

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 1 << 18  # of G, whose rows are summed in its own dtype; blocks are added up in float64
TASK_BYTES = 1 << 20  # for one thread at a time


def outer_adjoint(G: Array, a: Array, b: Array, of_a: Array, of_b: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    problems, m, n = G.shape
    rows = max(1, BLOCK_BYTES // (n * G.itemsize))
    blocks = -(-m // rows)
    partials = of_b[:, np.newaxis] if blocks == 1 else np.empty((problems, blocks, n), G.dtype)
    inputs = frozen(G), frozen(a), frozen(b)
    task = max(1, TASK_BYTES // (min(rows, m) * n * G.itemsize))
    for_each_block(
        lambda start, stop: _sum_blocks(*inputs, of_a, partials, rows, start, stop), problems * blocks, task
    )
    if blocks > 1:
        of_b[...] = partials.sum(axis=1, dtype=np.float64)


@compiled(fastmath=SUMS)
def _sum_blocks(
    G: Array, a: Array, b: Array, of_a: Array, partials: Array, rows: int, start: int, stop: int
) -> None:
    """What some blocks of rows, counted over all problems, give: each row is read once for both products."""
    blocks, n = partials.shape[1], G.shape[2]
    for block in range(start, stop):
        problem, place = block // blocks, block % blocks
        columns, weights = partials[problem, place], b[problem]
        columns[:] = 0
        for i in range(place * rows, min((place + 1) * rows, G.shape[1])):
            row, factor = G[problem, i], a[problem, i]
            total = G.dtype.type(0)
            for j in range(n):
                total += row[j] * weights[j]
                columns[j] += row[j] * factor
            of_a[problem, i] = total
