"""Launches of sums of outer products of small problems, several of them a block, and how they are cut."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .launcher import Launcher, int64, strides_of

THREADS = 128
"""Threads of a block, at most; a constant of ``comoments_small.cu``."""

SHARED_BYTES = 49152
"""Shared memory of a block: what every kernel may have without asking."""

BLOCK_BYTES = 16384
"""Bytes of rows that a block of small problems aims at, so that blocks enough share a multiprocessor, ..."""

SMALL_BYTES = 2048
"""... and those are problems of at most so many bytes of rows; ..."""

LARGE_BLOCK_BYTES = 32768
"""... larger ones would be too few for its threads."""

MOST_LANES = 32
"""Threads that may share a column, or entries: those of a warp."""


def launch_small(
    launcher: Launcher,
    cut: "SmallCut",
    X: Any,
    Y: Any | None,
    weights: Any | None,
    results: tuple[Any, Any, Any],
    flags: tuple[bool, bool, bool, bool],
    scale: float,
) -> None:
    """Launch `small_co_moments`; results and flags are its arguments of these names, in their order."""
    (problems, n, p), q = X.shape, 0 if Y is None else Y.shape[-1]
    arrays = (X, X if Y is None else Y, results[-1] if weights is None else weights)
    sizes = (problems, n, p, q, *strides_of(X), *strides_of(X if Y is None else Y))
    shares = (cut.problems_per_block, cut.row_lanes, cut.column_lanes)
    launcher.launch(
        "comoments_small",
        "small_co_moments",
        X.dtype,
        results[-1].dtype,
        (min(-(-problems // cut.problems_per_block), launcher.max_blocks), 1),
        cut.threads,
        (*arrays, *results, *int64(*sizes, *shares, *flags), np.float64(scale)),
        cut.shared_bytes,
    )


@dataclass(frozen=True)
class SmallCut:
    """How `small_co_moments` cuts problems; the kernels derive the rest from the same numbers.

    Attributes
    ----------
    problems_per_block : int
        Problems that a block takes at once.
    row_lanes, column_lanes : int
        Threads that share the entries of a patch, and a column, each with some of the rows; powers of two.
    threads : int
        Threads of a block.
    shared_bytes : int
        Dynamic shared memory of a block.
    """

    problems_per_block: int
    row_lanes: int
    column_lanes: int
    threads: int
    shared_bytes: int


@lru_cache(maxsize=256)
def small_cut(
    n: int, p: int, q: int, is_joint: bool, sum_dtype: np.dtype[Any], wide_itemsize: int, threads: int
) -> SmallCut | None:
    """Cut problems by the shape of one and its types alone, so that the bits depend on nothing else.

    None where the rows of a problem do not fit a block, or its entries outnumber the threads.

    Examples
    --------
    >>> small_cut(32, 4, 1, True, np.dtype(np.float64), 8, 256)
    SmallCut(problems_per_block=10, row_lanes=2, column_lanes=2, threads=128, shared_bytes=19424)
    >>> small_cut(100_000, 4, 1, True, np.dtype(np.float64), 8, 256) is None
    True
    """
    threads = min(threads, THREADS)
    edge = strip_width(sum_dtype)
    rows, columns = (p + q, p + q) if is_joint else (p, q)
    left, right = -(-rows // edge), -(-columns // edge)
    patches = left * (left + 1) // 2 if is_joint else left * right
    pitch = ((left if is_joint else left + right) | 1) * edge
    row_bytes = n * pitch * sum_dtype.itemsize

    def shared_bytes(problems: int) -> int:
        values = _pieces(problems * row_bytes) + _pieces(problems * n * sum_dtype.itemsize)
        matrices = _pieces(problems * rows * columns * wide_itemsize)
        centres = _pieces(problems * (p + q) * wide_itemsize) + _pieces(problems * 8)
        lanes = _pieces(threads * wide_itemsize)  # which the ``.cu`` adds without memory
        return 16 * (max(values, matrices) + centres + lanes)

    if patches > threads or shared_bytes(1) > SHARED_BYTES:
        return None
    block_bytes = BLOCK_BYTES if row_bytes <= SMALL_BYTES else LARGE_BLOCK_BYTES
    problems = max(1, min(threads // patches, block_bytes // row_bytes))
    while shared_bytes(problems) > SHARED_BYTES:
        problems -= 1
    return SmallCut(
        problems,
        _lanes(n, threads // (problems * patches)),
        _lanes(n, threads // (problems * (p + q))),
        threads,
        shared_bytes(problems),
    )


def strip_width(sum_dtype: np.dtype[Any]) -> int:
    """Rows and columns of the entries that one thread computes: 16 bytes of them, but four at most."""
    return min(4, 16 // sum_dtype.itemsize)


def _lanes(n: int, most: int) -> int:
    """The largest power of two of threads that each have a row."""
    return 1 << (max(1, min(n, most, MOST_LANES)).bit_length() - 1)


def _pieces(nbytes: int) -> int:
    """Pieces of 16 bytes."""
    return -(-nbytes // 16)
