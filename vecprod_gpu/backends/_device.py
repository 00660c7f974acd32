"""Host side of both GPU dialects: from arrays to kernel, grid and arguments.

The ``.cu`` kernels and their Numba twins share one binary interface (`vecprod_gpu.kernels`), so one
module decides for both which kernel runs, on which grid and with which arguments; a `Launcher`
only starts it.  Every scalar is a typed NumPy scalar, because CuPy hands a Python float to the
kernel as a double and an int as 64 bits, whatever the parameter's type.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vecprod_gpu._layout import Strides, broadcast_strides, collapse, element_strides, size

Grid = tuple[int, int]
Shape = tuple[int, ...]

THREADS = 256
"""Threads in a block of the kernels on a GPU."""

TILE_BYTES = 16384
"""Size that a tile of rows aims at: small enough that several blocks share a multiprocessor, so that
some load while others compute."""

LANES_PER_TILE = 256
"""Partial dot products of one model in a tile, over all its rows; also the most rows of a tile."""

COLUMN_SLOTS = 256
"""Column sums that a tile computes side by side: narrow rows are split into groups to fill them."""

MODEL_GROUPS = (8, 4, 2, 1)
"""Numbers of models that are served by one pass over a tile, the largest that fits first."""

MAX_BLOCKS_PER_PROBLEM = 2048
"""About two waves of eight blocks on each of 132 multiprocessors, so that the last wave is short."""

PARTIALS_SHARE = 64
"""The partial sums take at most this fraction of the bytes of X, whatever the shape."""

FINISH_LANES = 16
"""Partial sums over blocks of rows that `linreg_finish` keeps for each output."""


_STORED_TYPES = {
    "batched_outer": "efdFD?bBhHiIlLqQ",
    "cross": "efdFDbBhHiIlLqQ",
    "linreg": "efd",
}
"""Type codes of the dtypes that the kernels of each operation take."""


def supports(operation: str, dtype: Any) -> bool:
    """Whether `operation` takes the stored `dtype`; see `vecprod_gpu.backends`."""
    dtype = np.dtype(dtype)
    return dtype.isnative and dtype.char in _STORED_TYPES.get(operation, "")


class Launcher(Protocol):
    """What a GPU dialect supplies: a little memory handling, and the launch itself.

    Attributes
    ----------
    threads : int
        Threads in a block; a power of two that is a multiple of `FINISH_LANES`.
    max_blocks : int
        The most blocks that a grid-stride loop is spread over.
    shared_bytes_limit : int
        Dynamic shared memory that a block may have; the same constant as in the kernels.
    """

    @property
    def threads(self) -> int: ...

    @property
    def max_blocks(self) -> int: ...

    @property
    def shared_bytes_limit(self) -> int: ...

    def launch(
        self,
        file: str,
        kernel: str,
        stored_dtype: np.dtype[Any],
        sum_dtype: np.dtype[Any],
        grid: Grid,
        block: int,
        args: Sequence[Any],
        shared_bytes: int,
    ) -> None:
        """Start `kernel` of ``file`` (``"outer"``, ``"cross"``, ``"linreg"``) on the current stream."""

    def empty(self, shape: Shape, dtype: Any) -> Any:
        """Return a C-contiguous array with arbitrary contents."""

    def contiguous(self, native: Any, shape: Shape) -> Any:
        """Return `native`, broadcast to `shape`, as a C-contiguous array: itself where it is one."""

    def assign(self, destination: Any, native: Any) -> None:
        """``destination[...] = native``, both native, whatever the strides."""

    def overlaps(self, native: Any, other: Any) -> bool:
        """Whether the two may share memory, judged by their bounds."""


def batched_outer(launcher: Launcher, a: Any, b: Any, alpha: Any, beta: Any, out: Any) -> None:
    """``out = (alpha * a) ⊗ b + beta * out``, as the contract of `vecprod_gpu.backends` says."""
    if not size(out.shape):
        return
    *batch, m, n = out.shape
    a, b = (_with_contiguous_rows(launcher, operand) for operand in (a, b))
    (a, b), counts, strides = _collapsed_batch(launcher, tuple(batch), a, b)
    target = out if _is_contiguous(out) else launcher.empty(out.shape, out.dtype)
    if target is not out and beta != 0:
        launcher.assign(target, out)
    sum_dtype = _sum_dtype(out.dtype)
    scalars = (sum_dtype.type(alpha), sum_dtype.type(beta))
    args = (a, b, target, *_int64(*counts, m, n, *strides), *scalars)
    chunk = max(1, 16 // out.dtype.itemsize)
    grid = _flat_grid(launcher, math.ceil(size(out.shape) / chunk))
    launcher.launch("outer", "batched_outer", out.dtype, sum_dtype, grid, launcher.threads, args, 0)
    if target is not out:
        launcher.assign(out, target)


def cross(launcher: Launcher, a: Any, b: Any, out: Any) -> None:
    """``out = a × b`` over the last axis, as the contract of `vecprod_gpu.backends` says."""
    if not size(out.shape):
        return
    target = out if _is_contiguous(out) else launcher.empty(out.shape, out.dtype)
    count = size(out.shape) // 3
    if all(operand.shape == out.shape and _is_contiguous(operand) for operand in (a, b)):
        kernel, args = "cross_contiguous", (a, b, target, *_int64(count))
        work = math.ceil(count * out.dtype.itemsize / 16)
    else:
        (a, b), counts, strides = _collapsed_batch(launcher, tuple(out.shape[:-1]), a, b)
        components = [_element_strides(operand)[-1] for operand in (a, b)]
        by_operand = (*strides[:2], components[0], *strides[2:], components[1])
        kernel, args = "cross_strided", (a, b, target, *_int64(*counts, *by_operand))
        work = count
    grid = _flat_grid(launcher, work)
    launcher.launch("cross", kernel, out.dtype, _sum_dtype(out.dtype), grid, launcher.threads, args, 0)
    if target is not out:
        launcher.assign(out, target)


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
    problems, n, d = X.shape
    k = w.shape[-1]
    if element_strides(X.strides, X.dtype.itemsize) is None:
        X = launcher.contiguous(X, X.shape)
    if loss is not None and launcher.overlaps(out, w):
        w = _copy(launcher, w)  # the penalties read all of w while other blocks already write out
    geometry = linreg_geometry(n, d, k, X.dtype.itemsize, w.dtype.itemsize, launcher.shared_bytes_limit)
    width = d * k + k + 1
    partials = launcher.empty((problems, geometry.blocks_per_problem, width), np.dtype(np.float64))

    blocks = min(geometry.blocks_per_problem, launcher.max_blocks)
    arrays = (X, y, w, y if sample_weight is None else sample_weight, w if x_offset is None else x_offset)
    sizes = (n, d, k, y.shape[-1], *_element_strides(X), geometry.rows_per_block, geometry.rows_per_tile)
    flags = (sample_weight is not None, x_offset is not None)
    launcher.launch(
        "linreg",
        "linreg_partials",
        X.dtype,
        w.dtype,
        (problems, blocks),
        launcher.threads,
        (*arrays, partials, *_int64(*sizes, *flags)),
        geometry.shared_bytes,
    )

    outputs = d * k + (0 if loss is None else k)
    blocks = min(math.ceil(outputs * FINISH_LANES / launcher.threads), launcher.max_blocks)
    scalars = (np.float64(l1), np.float64(l2), np.float64(learning_rate or 0.0))
    flags = (learning_rate is not None, loss is not None)
    launcher.launch(
        "linreg",
        "linreg_finish",
        X.dtype,
        w.dtype,
        (problems, blocks),
        launcher.threads,
        (
            partials,
            w,
            out,
            partials if loss is None else loss,
            *_int64(geometry.blocks_per_problem, d, k),
            *scalars,
            *_int64(*flags),
        ),
        launcher.threads * 8,
    )


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


def _sum_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if stored == np.float16 else stored


def _int64(*values: int) -> tuple[np.int64, ...]:
    return tuple(np.int64(value) for value in values)


def _flat_grid(launcher: Launcher, work: int) -> Grid:
    return min(math.ceil(work / launcher.threads), launcher.max_blocks), 1


def _element_strides(native: Any) -> Strides:
    strides = element_strides(native.strides, native.dtype.itemsize)
    assert strides is not None, "whoever calls has copied arrays whose strides are no whole elements"
    return strides


def _is_contiguous(native: Any) -> bool:
    expected = native.dtype.itemsize
    for length, stride in zip(reversed(native.shape), reversed(native.strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True


def _copy(launcher: Launcher, native: Any) -> Any:
    copy = launcher.empty(native.shape, native.dtype)
    launcher.assign(copy, native)
    return copy


def _with_contiguous_rows(launcher: Launcher, native: Any) -> Any:
    rows_are_contiguous = native.shape[-1] == 1 or native.strides[-1] == native.dtype.itemsize
    return native if rows_are_contiguous else launcher.contiguous(native, native.shape)


def _collapsed_batch(
    launcher: Launcher, batch: Shape, a: Any, b: Any
) -> tuple[tuple[Any, Any], tuple[int, int], Strides]:
    """Arrays, lengths and ``(a_outer, a_inner, b_outer, b_inner)`` strides of the batch as two axes.

    Where its axes are too many to merge, a and then b are copied, broadcast to the whole batch.
    """
    operands = [a, b]
    for copied in range(len(operands) + 1):
        if copied:
            source = operands[copied - 1]
            operands[copied - 1] = launcher.contiguous(source, (*batch, source.shape[-1]))
        by_operand = [_batch_strides(operand, batch) for operand in operands]
        strides = [one for one in by_operand if one is not None]
        merged = collapse(batch, strides) if len(strides) == len(operands) else None
        if merged is not None:
            counts, merged_strides = merged
            return (operands[0], operands[1]), counts, tuple(s for pair in merged_strides for s in pair)
    raise AssertionError("two contiguous arrays always merge")


def _batch_strides(native: Any, batch: Shape) -> Strides | None:
    strides = element_strides(native.strides, native.dtype.itemsize)
    return None if strides is None else broadcast_strides(native.shape[:-1], strides[:-1], batch)
