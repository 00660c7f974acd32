"""Launches of the fused pass of linear regression, and how a problem is cut for them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vecprod_gpu._compile import NONE

from .lanes import PARTIALS_SHARE, lane_cut
from .launcher import (
    MAX_BLOCKS_PER_PROBLEM,
    THREADS,
    Launcher,
    copy,
    int64,
    strides_of,
    with_whole_strides,
)
from .steps import Scalars, crews_for, take_steps

TILE_BYTES = 16384
"""Size that a tile of rows aims at: small enough that several blocks share a multiprocessor, so that
some load while others compute."""

LANES_PER_TILE = 256
"""Partial dot products of one model in a tile, over all its rows; also the most rows of a tile."""

COLUMN_SLOTS = 256
"""Column sums that a tile computes side by side: narrow rows are split into groups to fill them."""

MODEL_GROUPS = (8, 4, 2, 1)
"""Numbers of models that are served by one pass over a tile, the largest that fits first."""

FEWEST_FINISH_LANES, MOST_FINISH_LANES = 16, 64
"""Threads that share an output of `linreg_finish`."""


def linreg_pass(
    launcher: Launcher,
    X: Any,
    y: Any,
    w: Any,
    sample_weight: Any | None,
    x_offset: Any | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float | None,
    out: Any,
    loss: Any | None,
) -> None:
    """Gradient or proximal step of ``B`` regressions, as the contract of `vecprod_gpu.backends` says."""
    (problems, _, d), k = X.shape, w.shape[-1]
    X = with_whole_strides(launcher, X)
    if loss is not None and launcher.overlaps(out, w):
        w = copy(launcher, w)  # the penalties read all of w while other blocks already write out
    partials = _partial_sums(launcher, X, y, w, sample_weight, x_offset)

    blocks_per_problem = partials.shape[1]
    lanes = finish_lanes(blocks_per_problem, launcher.threads)
    outputs = d * k + (0 if loss is None else k)
    scalars = (np.float64(l1), np.float64(l2), np.float64(learning_rate or 0.0))
    launcher.launch(
        "linreg",
        "linreg_finish",
        X.dtype,
        w.dtype,
        (problems, min(math.ceil(outputs * lanes / launcher.threads), launcher.max_blocks)),
        launcher.threads,
        (
            partials,
            w,
            out,
            partials if loss is None else loss,
            *int64(blocks_per_problem, d, k, lanes),
            *scalars,
            *int64(learning_rate is not None, loss is not None),
        ),
        launcher.threads * 8,
    )


def _partial_sums(
    launcher: Launcher, X: Any, y: Any, w: Any, sample_weight: Any | None, x_offset: Any | None
) -> Any:
    """Sums over blocks of rows, by the kernel that suits the shape: ``(problems, blocks, d * k + k + 1)``."""
    (problems, n, d), k = X.shape, w.shape[-1]
    sizes = n, d, k, X.dtype.itemsize, w.dtype.itemsize
    has_weight, has_offset = sample_weight is not None, x_offset is not None
    lanes = lane_cut(*sizes, has_offset) if launcher.compiles_for_shapes else None
    if lanes is not None:
        blocks, shared_bytes, constants = lanes.blocks_per_problem, lanes.shared_bytes, lanes.constants
        file, kernel, threads = "linreg_lanes", "linreg_lane_partials", THREADS
        across, own = problems * lanes.model_groups, int64(lanes.rows_per_block, has_weight)
    else:
        tiles = linreg_geometry(*sizes, launcher.shared_bytes_limit)
        blocks, shared_bytes, constants = tiles.blocks_per_problem, tiles.shared_bytes, NONE
        file, kernel, threads = "linreg", "linreg_partials", launcher.threads
        across, own = problems, int64(tiles.rows_per_block, tiles.rows_per_tile, has_weight, has_offset)

    partials = launcher.empty((problems, blocks, d * k + k + 1), np.dtype(np.float64))
    arrays = (X, y, w, y if sample_weight is None else sample_weight, w if x_offset is None else x_offset)
    launcher.launch(
        file,
        kernel,
        X.dtype,
        w.dtype,
        (across, min(blocks, launcher.max_blocks)),
        threads,
        (*arrays, partials, *int64(n, d, k, y.shape[-1], *strides_of(X)), *own),
        shared_bytes,
        constants,
    )
    return partials


def finish_lanes(blocks: int, threads: int) -> int:
    """Threads that share an output of `linreg_finish`: about one for every 16 blocks of rows."""
    lanes = FEWEST_FINISH_LANES
    while lanes < MOST_FINISH_LANES and 16 * lanes < blocks:
        lanes *= 2
    return min(lanes, threads // 2)


def linreg_steps(
    launcher: Launcher,
    X: Any,
    y: Any,
    w: Any,
    sample_weight: Any | None,
    x_offset: Any | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float,
    points: Any,
    losses: Any,
) -> None:
    """One launch that keeps X on chip, or pass after pass; the contract is that of `vecprod_gpu.backends`."""
    X = with_whole_strides(launcher, X)
    crews = crews_for(launcher, X, w, x_offset) if losses.shape[0] > 1 else None
    if crews is not None:
        lanes = finish_lanes(crews.cut.blocks_per_problem, launcher.threads)
        scalars = Scalars(lanes, *map(np.float64, (l1, l2, learning_rate)))
        take_steps(launcher, crews, (X, y, w, sample_weight, x_offset), scalars, points, losses)
        return
    how = {"l1": l1, "l2": l2, "learning_rate": learning_rate}
    for t in range(losses.shape[0]):
        point, loss = launcher.item(points, t), launcher.item(losses, t)
        linreg_pass(launcher, X, y, w, sample_weight, x_offset, out=point, loss=loss, **how)
        w = point


def linreg_is_kept(launcher: Launcher, X: Any, w: Any, x_offset: Any | None) -> bool:
    """Whether the steps after the first read no X, as the contract of `vecprod_gpu.backends` says."""
    return crews_for(launcher, X, w, x_offset) is not None


@dataclass(frozen=True)
class LinregGeometry:
    """How `linreg_partials` cuts one problem; the kernels derive the rest from the same numbers.

    Attributes
    ----------
    rows_per_tile : int
        Rows staged at once; a power of two.
    rows_per_block : int
        Rows behind one set of partial sums; a multiple of rows_per_tile.
    blocks_per_problem : int
        ``ceil(n / rows_per_block)``.
    shared_bytes : int
        Dynamic shared memory of a block.
    is_staged : bool
        Whether a tile fits shared memory, so that X is read once; else its rows are read twice, the
        second time out of the cache.
    has_shared_sums : bool
        Whether the sums of a block stay in shared memory, or are kept in ``partials`` itself.
    """

    rows_per_tile: int
    rows_per_block: int
    blocks_per_problem: int
    shared_bytes: int
    is_staged: bool
    has_shared_sums: bool


def linreg_geometry(
    n: int, d: int, k: int, stored_itemsize: int, sum_itemsize: int, shared_bytes_limit: int
) -> LinregGeometry:
    """Cut ``n`` rows into blocks and tiles, by the shape alone, so that the bits depend on nothing else.

    - A tile holds the power of two of rows that comes to `TILE_BYTES` in the summing type, at least
      1 and at most `LANES_PER_TILE`.
    - A block's rows are the fewest whole tiles with at most `MAX_BLOCKS_PER_PROBLEM` blocks and with
      partial sums of at most 1 / `PARTIALS_SHARE` of the bytes of X (or a single block).
    - Shared memory holds the lanes of the dot products, then the tile if it still fits the limit,
      then the sums, in as many groups of rows as still do.  The kernels apply the same rule.

    Examples
    --------
    >>> linreg_geometry(1_000_000, 64, 1, 4, 4, 65536)  # doctest: +NORMALIZE_WHITESPACE
    LinregGeometry(rows_per_tile=64, rows_per_block=512, blocks_per_problem=1954, shared_bytes=19744,
                   is_staged=True, has_shared_sums=True)
    """
    rows_per_tile = max(1, min(LANES_PER_TILE, _power_of_two_up_to(TILE_BYTES // (d * sum_itemsize))))
    width = d * k + k + 1
    rows_for_few_blocks = -(-n // MAX_BLOCKS_PER_PROBLEM)
    rows_for_small_partials = -(-PARTIALS_SHARE * width * 8 // (d * stored_itemsize))
    rows = min(max(rows_for_few_blocks, rows_for_small_partials), n)
    rows_per_block = -(-rows // rows_per_tile) * rows_per_tile

    lanes = max(1, LANES_PER_TILE // rows_per_tile)
    models = next(group for group in MODEL_GROUPS if group <= k)
    shared = (rows_per_tile * max(lanes, 2) * models + rows_per_tile) * sum_itemsize
    tile = rows_per_tile * row_pitch(d, lanes) * sum_itemsize
    is_staged = shared + tile <= shared_bytes_limit
    shared += tile if is_staged else 0
    groups = row_groups(d, rows_per_tile)
    while groups > 1 and shared + groups * width * 8 > shared_bytes_limit:
        groups //= 2
    has_shared_sums = shared + groups * width * 8 <= shared_bytes_limit
    shared += groups * width * 8 if has_shared_sums else 0
    return LinregGeometry(
        rows_per_tile, rows_per_block, -(-n // rows_per_block), shared, is_staged, has_shared_sums
    )


def row_pitch(d: int, lanes: int) -> int:
    """Elements from one row of a tile to the next: an odd multiple of the lanes (up to a warp of them).

    The lanes of neighbouring rows then fall into different banks of shared memory.
    """
    unit = min(lanes, 32)
    return (-(-d // unit) | 1) * unit


def row_groups(d: int, rows_per_tile: int) -> int:
    """Return into how many groups a tile splits its rows to sum the columns: a power of two."""
    return max(1, min(rows_per_tile, _power_of_two_up_to(COLUMN_SLOTS // (d + 2))))


def _power_of_two_up_to(limit: int) -> int:
    return 1 << (limit.bit_length() - 1) if limit > 0 else 0
