"""How a regression is cut for ``linreg_lane_partials``, which keeps its rows in registers."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from .launcher import CHUNK_BYTES, MOST_SHARED_BYTES, THREADS

TILE_CHUNKS = 4
MOST_RING_BYTES = 61440
MOST_VALUES = 8
WARP = 32
"""Constants of ``linreg_lanes.cu``, as `THREADS` is."""

MODEL_COUNTS = (1, 2, 4, 8)
"""Models that one read of X serves: beyond, the next group reads it again, out of the cache."""

MOST_REGISTERS = 104
"""Registers that a thread may spend on numbers: what is left of 128 is for addresses and counters."""

BLOCK_COUNTS = (1056, 528, 264, 132)
"""Blocks of rows to choose from: whole rounds of 1 to 4 blocks on each of 132 multiprocessors."""

PARTIALS_SHARE = 64
"""The partial sums take at most this fraction of the bytes of X, where rows are many."""

ROWS_PER_SUM = 256
"""Rows that a thread sums in the narrower type, at most."""


@dataclass(frozen=True)
class LaneCut:
    """How `linreg_lane_partials` cuts one problem.

    Attributes
    ----------
    constants : dict of str to int
        What the kernel is compiled for: ``LANES``, ``LANE_CHUNKS``, ``MODELS`` and ``IS_CENTRED``.
    model_groups : int
        ``ceil(k / MODELS)``.
    rows_per_block : int
        Rows behind one set of partial sums; whole tiles of them.
    blocks_per_problem : int
        ``ceil(n / rows_per_block)``.
    shared_bytes : int
        Dynamic shared memory of a block.
    """

    constants: Mapping[str, int]
    model_groups: int
    rows_per_block: int
    blocks_per_problem: int
    shared_bytes: int


@lru_cache(maxsize=256)
def lane_cut(
    n: int, d: int, k: int, stored_itemsize: int, sum_itemsize: int, is_centred: bool
) -> LaneCut | None:
    """Cut a problem by its shape and types alone, so that the bits depend on nothing else.

    None where a row is too wide for the registers of a block.

    Examples
    --------
    >>> cut = lane_cut(2_000_000, 64, 1, 4, 4, False)
    >>> cut.constants["LANES"], cut.constants["LANE_CHUNKS"], cut.blocks_per_problem
    (16, 1, 1042)
    >>> lane_cut(1000, 10**6, 1, 4, 4, False) is None
    True
    """
    fitting = [
        shape
        for shape in _lane_shapes(d, k, CHUNK_BYTES // stored_itemsize)
        if registers(*shape, stored_itemsize, sum_itemsize, is_centred) <= MOST_REGISTERS
        and shared_bytes(*shape, sum_itemsize) <= MOST_SHARED_BYTES
    ]
    if not fitting:
        return None
    models, lanes, lane_chunks = min(fitting, key=_cost)
    groups, rows = THREADS // lanes, rows_of_a_group(lane_chunks)
    rows_per_block = _rows_of_a_block(n, d, k, stored_itemsize, groups, groups * rows)
    return LaneCut(
        {"LANES": lanes, "LANE_CHUNKS": lane_chunks, "MODELS": models, "IS_CENTRED": int(is_centred)},
        -(-k // models),
        rows_per_block,
        -(-n // rows_per_block),
        shared_bytes(models, lanes, lane_chunks, sum_itemsize),
    )


def _lane_shapes(d: int, k: int, chunk: int) -> Iterator[tuple[int, int, int]]:
    """Models, lanes and chunks of a lane, so that lanes have room for a row."""
    for models in MODEL_COUNTS:
        for lane_chunks in range(1, TILE_CHUNKS + 1):
            lanes = _power_of_two_from(-(-d // (chunk * lane_chunks)))
            if lanes <= THREADS and (models < 2 * k or models == 1):
                yield models, lanes, lane_chunks


def registers(
    models: int, lanes: int, lane_chunks: int, stored_itemsize: int, sum_itemsize: int, is_centred: bool
) -> int:
    """Registers for a thread's numbers: coefficients and sums, offsets, rows, dot products, totals.

    An estimate: of what `MOST_REGISTERS` lets through NVRTC 13 spills a few, where numbers are widened most.
    """
    columns = lane_chunks * CHUNK_BYTES // stored_itemsize
    rows_at_once = min(rows_of_a_group(lane_chunks), MOST_VALUES // models)
    values = rows_at_once * models + 2 * owned_values(models, lanes, lane_chunks)
    return (columns * (2 * models + is_centred + rows_at_once) + values) * sum_itemsize // 4


def _cost(shape: tuple[int, int, int]) -> tuple[int, int, bool, int]:
    """Order of preference: fewest reads of X, fewest idle lanes, rows within a warp, few registers."""
    models, lanes, lane_chunks = shape
    return -models, lanes * lane_chunks, lanes > WARP, lane_chunks


def _rows_of_a_block(n: int, d: int, k: int, stored_itemsize: int, groups: int, tile_rows: int) -> int:
    """Whole tiles of rows: as many blocks as the partial sums allow, in even rounds on a large GPU."""
    rows_for_small_partials = -(-PARTIALS_SHARE * (d * k + k + 1) * 8 // (d * stored_itemsize))
    candidates = (-(-n // blocks) for blocks in BLOCK_COUNTS)
    enough = next((rows for rows in candidates if rows >= rows_for_small_partials), rows_for_small_partials)
    rows = min(enough, ROWS_PER_SUM * groups, n)
    return max(1, math.ceil(rows / tile_rows)) * tile_rows


def shared_bytes(models: int, lanes: int, lane_chunks: int, sum_itemsize: int) -> int:
    """The ring of two or three stages, and where a row spans several warps, what goes between them."""
    rows, in_warp = rows_of_a_group(lane_chunks), min(lanes, WARP)
    weights = THREADS // in_warp * rows * sum_itemsize  # each warp has those of its rows
    stage = THREADS * rows * lane_chunks * CHUNK_BYTES + models * weights  # chunks and targets
    stages = 3 if 3 * stage <= MOST_RING_BYTES else 2
    has_weights = stages * (stage + weights) <= MOST_RING_BYTES
    ring = stages * (stage + (weights if has_weights else 0))
    values = min(rows * models, MOST_VALUES) * sum_itemsize
    return ring + (2 * (THREADS // WARP) * values if lanes > WARP else 0)


def resident_bytes(
    constants: Mapping[str, int], stored_itemsize: int, sum_itemsize: int
) -> tuple[int, int, int]:
    """Shared memory of `linreg_lane_steps`: what it has once, and for each tile of how many rows."""
    models, lanes, lane_chunks = (constants[name] for name in ("MODELS", "LANES", "LANE_CHUNKS"))
    rows, in_warp = rows_of_a_group(lane_chunks), min(lanes, WARP)
    rows_at_once = min(rows, MOST_VALUES // models)
    sets, groups = THREADS // max(lanes, WARP), THREADS // lanes
    columns = lanes * lane_chunks * CHUNK_BYTES // stored_itemsize
    sums = sets * (columns * models + 2 * rows_at_once * models)
    exchanged = 2 * groups * (lanes // WARP) * rows_at_once * models if lanes > WARP else 0
    numbers = (sums, exchanged, 2 * columns * models)
    base = sum(-(-count * sum_itemsize // CHUNK_BYTES) * CHUNK_BYTES for count in numbers)
    targets_and_weights = (models + 1) * (THREADS // in_warp) * rows * sum_itemsize
    return base, THREADS * rows * lane_chunks * CHUNK_BYTES + targets_and_weights, groups * rows


def rows_of_a_group(lane_chunks: int) -> int:
    """Rows that a group of lanes has in a tile."""
    return max(1, TILE_CHUNKS // lane_chunks)


def owned_values(models: int, lanes: int, lane_chunks: int) -> int:
    """Dot products of a tile that end with one thread, once the lanes are added."""
    rows = rows_of_a_group(lane_chunks)
    rows_at_once = min(rows, MOST_VALUES // models)
    return max(1, rows_at_once * models // min(lanes, WARP)) * (rows // rows_at_once)


def _power_of_two_from(least: int) -> int:
    return 1 << (least - 1).bit_length() if least > 1 else 1
