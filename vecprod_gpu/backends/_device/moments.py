"""Launches of sums of outer products, Gram matrices and co-moments, and how a problem is cut for them."""

import math
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from vecprod_gpu._compile import Constants
from vecprod_gpu._layout import size

from .launcher import MOST_SHARED_BYTES, THREADS, Launcher, int64, strides_of, with_whole_strides
from .small_moments import launch_small, small_cut

MOST_COLUMNS = 64
"""The most columns of one side of a tile of the matrix."""

NARROW_COLUMNS = 32
"""Columns of a side up to which reading X takes longer than the products of single precision."""

FINISH_LANES = 64
"""Threads that share an entry of the matrix when the blocks of rows are merged."""

MOST_BLOCKS = 528
"""Blocks of threads for a problem of many rows: 1, 2 or 4 whole waves on each of 132 multiprocessors, ..."""

MOST_BLOCKS_BY_THREES = 792
"""... or of 3, where half precision is summed in single."""

PARTIALS_SHARE = 64
"""A block of rows aims at this many times the bytes of its partial sums, ..."""

ROWS_ENOUGH = 4096
"""... but these rows suffice: their products take longer than the partial sums of any matrix."""

BLOCK_BYTES = 65536
"""Bytes of rows that a block has in any case, so that its beginning and its end weigh little."""

FILLING_SHARE = 2
"""That part of the most blocks still fills the GPU; then a block may have fewer rows, ..."""

FEWEST_ROWS = 256
"""... but not fewer than these."""

ROWS_OF_A_WARP = 32
"""Blocks of rows are multiples of this."""


def gram(launcher: Launcher, X: Any, Y: Any | None, weights: Any | None, out: Any) -> None:
    """``out = sum_i s_i conj(X_i) ⊗ Y_i``, as the contract of `vecprod_gpu.backends` says."""
    is_joint = Y is None
    _launch(launcher, X, Y, weights, out, is_joint, is_centred=False)


def co_moments(
    launcher: Launcher,
    X: Any,
    Y: Any | None,
    weights: Any | None,
    *,
    scale: float,
    correlation: bool,
    total: Any,
    means: Any,
    out: Any,
) -> None:
    """Centred sums of outer products of ``[X Y]``, as the contract of `vecprod_gpu.backends` says."""
    _launch(launcher, X, Y, weights, out, True, True, correlation, scale, total, means)


def _launch(
    launcher: Launcher,
    X: Any,
    Y: Any | None,
    weights: Any | None,
    out: Any,
    is_joint: bool,
    is_centred: bool,
    is_correlation: bool = False,
    scale: float = 1.0,
    total: Any | None = None,
    means: Any | None = None,
) -> None:
    """Small problems by several a block; else sum over blocks of rows, then merge the blocks."""
    if not size(out.shape):
        return
    X = with_whole_strides(launcher, X)
    Y = None if Y is None else with_whole_strides(launcher, Y)
    (problems, n, p), q = X.shape, 0 if Y is None else Y.shape[-1]
    small = small_cut(n, p, q, is_joint, out.dtype, wide_dtype(out.dtype).itemsize, launcher.threads)
    if small is not None:
        results = (out if total is None else total, out if means is None else means, out)
        flags = (is_joint, is_centred, is_correlation, weights is not None)
        launch_small(launcher, small, X, Y, weights, results, flags, scale)
        return
    constants = tile_constants(p, q, is_joint, X.dtype, out.dtype)
    threads = constants["THREADS"] * launcher.threads // THREADS
    cut = moment_geometry(n, p, q, is_joint, X.dtype.itemsize, out.dtype, threads)
    blocks = cut.blocks_per_problem
    partials = launcher.empty((problems, blocks, cut.partials_width), wide_dtype(out.dtype))

    arrays = (X, X if Y is None else Y, out if weights is None else weights, partials)
    sizes = (n, p, q, *strides_of(X), *strides_of(X if Y is None else Y), cut.rows_per_block)
    launcher.launch(
        "comoments",
        "co_moment_partials",
        X.dtype,
        out.dtype,
        (problems * cut.tiles, min(blocks, launcher.max_blocks)),
        threads,
        (*arrays, *int64(*sizes, is_joint, is_centred, weights is not None)),
        min(constants["SHARED_BYTES"], launcher.shared_bytes_limit),
        constants,
    )

    arrays = (partials, partials if total is None else total, out if means is None else means, out)
    entries = math.ceil(cut.entries * min(blocks, FINISH_LANES) / launcher.threads)
    launcher.launch(
        "comoments",
        "co_moment_finish",
        X.dtype,
        out.dtype,
        (problems, min(entries, launcher.max_blocks)),
        launcher.threads,
        (*arrays, *int64(blocks, p, q, is_joint, is_centred, is_correlation), np.float64(scale)),
        launcher.threads * merged_bytes(partials.dtype),
        constants,
    )


@dataclass(frozen=True)
class MomentGeometry:
    """How `co_moment_partials` cuts one problem; the kernels derive the rest from the same numbers.

    Attributes
    ----------
    tiles : int
        Tiles of the matrix, each with blocks of threads of its own; of a joint matrix those that meet
        the upper triangle.
    rows_per_block : int
        Rows behind one set of partial sums.
    blocks_per_problem : int
        ``ceil(n / rows_per_block)``.
    entries : int
        Entries of the matrix.
    partials_width : int
        Numbers in one set of partial sums.
    """

    tiles: int
    rows_per_block: int
    blocks_per_problem: int
    entries: int
    partials_width: int


def moment_geometry(
    n: int, p: int, q: int, is_joint: bool, stored_itemsize: int, sum_dtype: np.dtype[Any], threads: int
) -> MomentGeometry:
    """Cut ``n`` rows and the matrix, by shapes and types alone, so that the bits depend on nothing else.

    Examples
    --------
    >>> cut = moment_geometry(100_000_000, 32, 0, True, 4, np.dtype(np.float32), 128)
    >>> cut.tiles, cut.rows_per_block, cut.blocks_per_problem
    (1, 189408, 528)
    """
    left, right = (p + q, p + q) if is_joint else (p, q)
    _, left_tiles = tile_width(left, sum_dtype, threads)
    _, right_tiles = tile_width(right, sum_dtype, threads)
    tiles = left_tiles * (left_tiles + 1) // 2 if is_joint else left_tiles * right_tiles
    summed = left * (left + 1) // 2 if is_joint else left * right
    most_blocks = MOST_BLOCKS_BY_THREES if _widens_half(stored_itemsize, sum_dtype) else MOST_BLOCKS
    partials_bytes = summed * wide_dtype(sum_dtype).itemsize
    rows = _rows_of_a_block(n * tiles, most_blocks, (p + q) * stored_itemsize, partials_bytes)
    rows_per_block = -(-min(rows, n) // ROWS_OF_A_WARP) * ROWS_OF_A_WARP
    return MomentGeometry(
        tiles,
        rows_per_block,
        -(-n // rows_per_block),
        left * right,
        1 + p + q + left * right,
    )


def _rows_of_a_block(rows: int, most_blocks: int, row_bytes: int, partials_bytes: int) -> int:
    """Rows that are worth a set of partial sums, but fewer where blocks would not fill a GPU."""
    rows_for_few_blocks = -(-rows // most_blocks)
    rows_for_small_partials = min(PARTIALS_SHARE * partials_bytes // row_bytes, ROWS_ENOUGH)
    rows_worth_a_block = max(rows_for_small_partials, BLOCK_BYTES // row_bytes)
    rows_to_fill = max(FEWEST_ROWS, -(-rows * FILLING_SHARE // most_blocks))
    return max(rows_for_few_blocks, min(rows_worth_a_block, rows_to_fill), 1)


def wide_dtype(sum_dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the widest type of a kind: sums of more than a few rows are kept in it."""
    widest = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}
    return widest.get(sum_dtype.kind, sum_dtype)


def merged_bytes(wide: np.dtype[Any]) -> int:
    """Bytes of a ``merged_t``, in which a thread of `co_moment_finish` keeps what it has merged.

    Three numbers follow a double, to whose size the whole is padded.

    Examples
    --------
    >>> [merged_bytes(np.dtype(code)) for code in ("int8", "int32", "float64", "complex128")]
    [16, 24, 32, 56]
    """
    return -(-(8 + 3 * wide.itemsize) // 8) * 8


def edge(sum_dtype: np.dtype[Any]) -> int:
    """Rows and columns of the entries that one thread computes, in registers."""
    return 4 if sum_dtype.kind in "iu" else 32 // sum_dtype.itemsize


def tile_constants(
    p: int, q: int, is_joint: bool, stored_dtype: np.dtype[Any], sum_dtype: np.dtype[Any]
) -> Constants:
    """What the kernels are compiled for, by shape and types alone; `tiles.cuh` says what each word means.

    As many blocks are at once as spill no register.  What a stage costs besides its rows is what wide tiles
    feel most: theirs are large, in memory that must be asked for, and one is enough on its way.

    Examples
    --------
    >>> single = np.dtype(np.float32)
    >>> [tile_constants(columns, 0, True, single, single)["THREADS"] for columns in (32, 33)]
    [128, 256]
    """
    widest = p + q if is_joint else max(p, q)
    if edge(sum_dtype) != 8:
        growth = sum_dtype.itemsize // stored_dtype.itemsize
        return _constants(THREADS, 1 if growth > 2 else 2, stages=2, slots=4, shared_bytes=49152)
    if _widens_half(stored_dtype.itemsize, sum_dtype):
        return _constants(THREADS // 2, 3, stages=2, slots=4, shared_bytes=49152)
    if widest <= NARROW_COLUMNS:
        return _constants(THREADS // 2, 4, stages=1, slots=8, shared_bytes=49152)
    return _constants(THREADS, 2, stages=1, slots=8, shared_bytes=MOST_SHARED_BYTES)


def _widens_half(stored_itemsize: int, sum_dtype: np.dtype[Any]) -> bool:
    return edge(sum_dtype) == 8 and stored_itemsize < sum_dtype.itemsize


@cache
def _constants(threads: int, at_once: int, stages: int, slots: int, shared_bytes: int) -> Constants:
    return MappingProxyType(
        {
            "THREADS": threads,
            "BLOCKS_AT_ONCE": at_once,
            "STAGES": stages,
            "MOST_SLOTS": slots,
            "SHARED_BYTES": shared_bytes,
        }
    )


def tile_width(columns: int, sum_dtype: np.dtype[Any], threads: int) -> tuple[int, int]:
    """Columns of a tile along one axis, and the number of tiles: even shares, for each a thread.

    Examples
    --------
    >>> tile_width(100, np.dtype(np.float64), 256)
    (56, 2)
    """
    most = edge(sum_dtype)
    while 2 * most <= MOST_COLUMNS and 4 * most**2 <= edge(sum_dtype) ** 2 * threads:
        most *= 2
    patch = min(2 * edge(sum_dtype), 8)
    share = -(-columns // -(-columns // most))
    width = -(-share // patch) * patch
    return width, -(-columns // width)
