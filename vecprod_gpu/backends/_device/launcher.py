"""What both GPU dialects share on the host: types, grids, and what each of them supplies itself.

The ``.cu`` kernels and their Numba twins share one binary interface (`vecprod_gpu.kernels`), so one
package decides for both which kernel runs, on which grid and with which arguments; a `Launcher`
only starts it.  Every scalar is a typed NumPy scalar, because CuPy hands a Python float to the
kernel as a double and an int as 64 bits, whatever the parameter's type.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from vecprod_gpu._compile import NONE, Constants
from vecprod_gpu._layout import Strides, broadcast_strides, collapse, element_strides

Grid = tuple[int, int]
Shape = tuple[int, ...]

THREADS = 256
"""Threads in a block of the kernels on a GPU."""

MOST_SHARED_BYTES = 65536
"""Dynamic shared memory of a block that every GPU since compute capability 7.5 grants, if asked for it."""

CHUNK_BYTES = 16
"""What one access of a thread moves at most."""

MAX_BLOCKS_PER_PROBLEM = 2048
"""About two waves of eight blocks on each of 132 multiprocessors, so that the last wave is short."""

_INTEGERS = "bBhHiIlLqQ"
STORED_TYPES = {
    "batched_outer": "efdFD?" + _INTEGERS,
    "cross": "efdFD" + _INTEGERS,
    "vecdot": "efdFD" + _INTEGERS,
    "measure": "efd",
    "triple_product": "efd" + _INTEGERS,
    "normals": "efd",
    "gram": "efdFD" + _INTEGERS,
    "co_moments": "efdFD",
    "linreg": "efd",
    "systems": "d",
}
"""Type codes of the dtypes that the kernels of each operation take."""


def supports(operation: str, dtype: Any) -> bool:
    """Whether `operation` takes the stored `dtype`; see `vecprod_gpu.backends`."""
    dtype = np.dtype(dtype)
    return dtype.isnative and dtype.char in STORED_TYPES.get(operation, "")


class Chip(Protocol):
    """What there is of the current device for a launch that keeps X there.

    Attributes
    ----------
    blocks_together : int
        Blocks of a cooperative launch, one on each multiprocessor; 1 where there is no such launch.
    shared_bytes : int
        Dynamic shared memory that a block may ask for.
    """

    @property
    def blocks_together(self) -> int: ...

    @property
    def shared_bytes(self) -> int: ...

    def zeros(self, shape: Shape, dtype: Any) -> Any:
        """Return a C-contiguous array of zeros."""

    def launch(
        self,
        file: str,
        kernel: str,
        stored_dtype: np.dtype[Any],
        sum_dtype: np.dtype[Any],
        grid: Grid,
        args: Sequence[Any],
        shared_bytes: int,
        constants: Constants,
        is_cooperative: bool,
    ) -> None:
        """As `Launcher.launch`, of `THREADS` threads a block; all run together if `is_cooperative`."""


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
    compiles_for_shapes : bool
        Whether it has the kernels that are compiled for constants.
    chip : Chip or None
        What there is of the current device for a launch that keeps X there, where it has kernels for that.
    """

    @property
    def threads(self) -> int: ...

    @property
    def max_blocks(self) -> int: ...

    @property
    def shared_bytes_limit(self) -> int: ...

    @property
    def compiles_for_shapes(self) -> bool: ...

    @property
    def chip(self) -> Chip | None: ...

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
        constants: Constants = NONE,
    ) -> None:
        """Start `kernel` of ``file.cu``, compiled for `constants`, or its twin on the current stream."""

    def empty(self, shape: Shape, dtype: Any) -> Any:
        """Return a C-contiguous array with arbitrary contents."""

    def contiguous(self, native: Any, shape: Shape) -> Any:
        """Return `native`, broadcast to `shape`, as a C-contiguous array: itself where it is one."""

    def assign(self, destination: Any, native: Any) -> None:
        """``destination[...] = native``, both native, whatever the strides."""

    def overlaps(self, native: Any, other: Any) -> bool:
        """Whether the two may share memory, judged by their bounds."""

    def to_device(self, host: np.ndarray[Any, Any]) -> Any:
        """Native copy of a host array."""

    def to_host(self, native: Any) -> np.ndarray[Any, Any]:
        """Copy on the host, which waits for the current stream."""

    def item(self, native: Any, index: int) -> Any:
        """A view of one entry along the first axis."""

    def stable_order(self, keys: Any) -> Any:
        """Native int64 indices, counted in C order, that sort a contiguous array of integers, stably."""


def sum_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Type that a kernel computes in, for one that it stores."""
    return np.dtype(np.float32) if stored == np.float16 else stored


def int64(*values: int) -> tuple[np.int64, ...]:
    """Counts, strides and flags as kernels take them."""
    return tuple(np.int64(value) for value in values)


def flat_grid(launcher: Launcher, work: int) -> Grid:
    """Blocks for a grid-stride loop over so many pieces of work."""
    return min(math.ceil(work / launcher.threads), launcher.max_blocks), 1


def strides_of(native: Any) -> Strides:
    """Strides in elements, of an array that is known to have whole ones."""
    strides = element_strides(native.strides, native.dtype.itemsize)
    assert strides is not None, "whoever calls has copied arrays whose strides are no whole elements"
    return strides


def with_whole_strides(launcher: Launcher, native: Any) -> Any:
    """`native`, or a copy where its strides are no whole elements (a packed record)."""
    is_whole = element_strides(native.strides, native.dtype.itemsize) is not None
    return native if is_whole else launcher.contiguous(native, native.shape)


def copy(launcher: Launcher, native: Any) -> Any:
    """Contiguous copy."""
    copy = launcher.empty(native.shape, native.dtype)
    launcher.assign(copy, native)
    return copy


def collapsed_batch(
    launcher: Launcher, batch: Shape, operands: Sequence[Any]
) -> tuple[tuple[Any, ...], tuple[int, int], list[tuple[int, int]]]:
    """Arrays, lengths and each one's ``(outer, inner)`` strides, with the batch's axes merged into two.

    The operands' last axis is no part of the batch.  Where its axes are too many to merge, one operand
    after another is copied, broadcast to the whole batch.
    """
    arrays = list(operands)
    for copied in range(len(arrays) + 1):
        if copied:
            source = arrays[copied - 1]
            arrays[copied - 1] = launcher.contiguous(source, (*batch, source.shape[-1]))
        by_operand = [_batch_strides(operand, batch) for operand in arrays]
        strides = [one for one in by_operand if one is not None]
        merged = collapse(batch, strides) if len(strides) == len(arrays) else None
        if merged is not None:
            return tuple(arrays), *merged
    raise AssertionError("contiguous arrays always merge")


def _batch_strides(native: Any, batch: Shape) -> Strides | None:
    strides = element_strides(native.strides, native.dtype.itemsize)
    return None if strides is None else broadcast_strides(native.shape[:-1], strides[:-1], batch)
