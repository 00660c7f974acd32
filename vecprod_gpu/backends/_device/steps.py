"""Many steps of descent in one launch, which keeps X in the shared memory of the GPU."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .lanes import LaneCut, lane_cut, resident_bytes
from .launcher import THREADS, Launcher, int64, strides_of

MESSAGE_BYTES = 16
"""Of a number on its way between blocks: `messages.cuh`."""

MOST_STEPS = 1024
"""Steps of one launch, for which the sums behind each loss are kept."""

MOST_TEAMS = 1 << 16
"""Problems times groups of models, which the counters of the kernel surely hold."""


@dataclass(frozen=True)
class Crews:
    """How the blocks of rows of each problem are dealt out.

    Attributes
    ----------
    cut : LaneCut
        That of single steps, so that the bits are theirs.
    teams : int
        Problems times groups of models.
    size : int
        Blocks of threads that share a problem.
    shared_bytes : int
        Dynamic shared memory of each.
    """

    cut: LaneCut
    teams: int
    size: int
    shared_bytes: int


@lru_cache(maxsize=256)
def crews_of(
    shape: tuple[int, int, int],
    k: int,
    itemsizes: tuple[int, int],
    is_centred: bool,
    blocks_together: int,
    shared_limit: int,
) -> Crews | None:
    """Deal out problems ``(B, n, d)`` with k models; None where a GPU cannot hold them.

    Examples
    --------
    >>> crews = crews_of((1, 20_000, 64), 1, (4, 4), False, 132, 232_448)
    >>> crews.size, crews.cut.blocks_per_problem
    (105, 105)
    >>> crews_of((1, 2_000_000, 64), 1, (4, 4), False, 132, 232_448) is None
    True
    """
    problems, n, d = shape
    cut = lane_cut(n, d, k, *itemsizes, is_centred)
    if cut is None or problems * cut.model_groups > MOST_TEAMS:
        return None
    teams, blocks = problems * cut.model_groups, cut.blocks_per_problem
    size = max(1, min(blocks, blocks_together // teams))
    base, tile, tile_rows = resident_bytes(cut.constants, *itemsizes)
    needed = base + -(-blocks // size) * (cut.rows_per_block // tile_rows) * tile
    return Crews(cut, teams, size, needed) if needed <= shared_limit else None


def crews_for(launcher: Launcher, X: Any, w: Any, x_offset: Any | None) -> Crews | None:
    """As `crews_of`, for arrays on the current device; None where a launcher has no kernel for it."""
    chip = launcher.chip
    if chip is None:
        return None
    itemsizes = X.dtype.itemsize, w.dtype.itemsize
    limits = chip.blocks_together, chip.shared_bytes
    return crews_of(tuple(X.shape), w.shape[-1], itemsizes, x_offset is not None, *limits)


@dataclass(frozen=True)
class Scalars:
    """Numbers of `linreg_finish`: lanes of an output, penalties and learning rate."""

    lanes: int
    l1: np.float64
    l2: np.float64
    learning_rate: np.float64


def take_steps(
    launcher: Launcher, crews: Crews, arrays: tuple[Any, ...], scalars: Scalars, points: Any, losses: Any
) -> None:
    """All steps of `linreg_steps`, whose first five arguments are `arrays`; X has whole strides."""
    X, y, w, *optional = arrays
    for first in range(0, losses.shape[0], MOST_STEPS):
        part, start = slice(first, first + MOST_STEPS), w if first == 0 else points[first - 1]
        _walk(launcher, crews, (X, y, start, *optional), scalars, points[part], losses[part])


def _walk(
    launcher: Launcher, crews: Crews, arrays: tuple[Any, ...], scalars: Scalars, points: Any, losses: Any
) -> None:
    chip = launcher.chip
    assert chip is not None, "there are crews"
    X, y, w, sample_weight, x_offset = arrays
    optional = y if sample_weight is None else sample_weight, w if x_offset is None else x_offset
    (problems, n, d), k, steps = X.shape, w.shape[-1], losses.shape[0]
    cut, blocks, lanes = crews.cut, crews.cut.blocks_per_problem, scalars.lanes
    penalties = scalars.l1, scalars.l2

    squares = launcher.empty((steps, problems, blocks, k), np.dtype(np.float64))
    weights = launcher.empty((problems, blocks), np.dtype(np.float64))
    messages = d * cut.constants["MODELS"] * (blocks + 1) + blocks if blocks > 1 else 1
    mail = chip.zeros((crews.teams, messages, MESSAGE_BYTES // 8), np.dtype(np.uint64))
    sizes = int64(n, d, k, y.shape[-1], *strides_of(X), cut.rows_per_block)
    how = *int64(sample_weight is not None, steps, lanes), *penalties, scalars.learning_rate
    chip.launch(
        "linreg_steps",
        "linreg_lane_steps",
        X.dtype,
        w.dtype,
        (crews.teams, crews.size),
        (X, y, w, *optional, points, squares, weights, mail, *sizes, *how),
        crews.shared_bytes,
        cut.constants,
        crews.size > 1,
    )
    launcher.launch(
        "linreg_steps",
        "linreg_step_losses",
        X.dtype,
        w.dtype,
        (min(math.ceil(losses.size * lanes / THREADS), launcher.max_blocks), 1),
        THREADS,
        (squares, weights, w, points, losses, *int64(steps, problems, blocks, d, k, lanes), *penalties),
        THREADS * 8,
        cut.constants,
    )
