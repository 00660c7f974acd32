"""Dot products on the host: sums of float32 in float64, of complex64 in complex128, rounded once.

The loop over a tile of components is compiled for contiguous memory alone, and strided vectors are packed
for it, so that every layout gives the same bits.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import types

from ..._small import small_vecdot
from ..compiling import SUMS, by_type, inlined
from ..packing import are_packed, packed
from ..threads.slices import in_lines, over_longest_axis
from .ufuncs import Ufunc, build

Array = np.ndarray[Any, Any]

TILE = 4096  # components: a tile of each of two vectors fits in the first-level cache
BLOCK_BYTES = 1 << 20  # of the vectors, the least for one thread at a time
SERIAL_BYTES = 1 << 24  # one thread reads fast enough, so that below this a second brings less than it costs
VECTOR_BYTES = 64  # what could be read in the time that a vector takes besides its components


def vecdot(a: Array, b: Array, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if out.size == 0:
        return
    ufunc = _ufunc(out.dtype)
    nbytes = 2 * a.shape[-1] * out.nbytes + VECTOR_BYTES * out.size
    a, b, out = in_lines((a, b), out)
    if nbytes <= SERIAL_BYTES:
        ufunc(a, b, out)
    else:
        blocks = nbytes // BLOCK_BYTES
        over_longest_axis(out.shape, blocks, lambda part: ufunc(a[part], b[part], out[part]))


@cache
def _ufunc(dtype: np.dtype[Any]) -> Ufunc:
    """``(m,n),(m,n)->(m)``: dot products of m pairs of vectors."""

    def vecdot(a: Any, b: Any, out: Any) -> None:
        if a.shape[1] <= TILE:
            _dot_whole(a, b, out)
        else:
            _dot_by_tiles(a, b, out)

    return small_vecdot.setdefault(dtype, build(vecdot, dtype, "(m,n),(m,n)->(m)", (2, 2, 1)))


def _wide(x: Any) -> Any:
    """The number in the type of its sums."""


@by_type(_wide)
def _wide_by_type(x: Any) -> Any:
    def real(x: Any) -> Any:
        return np.float64(x)

    def complex_(x: Any) -> Any:
        return np.complex128(x)

    def same(x: Any) -> Any:
        return x

    return {types.float32: real, types.complex64: complex_}.get(x, same)


def _product(x: Any, y: Any) -> Any:
    """``conj(x) * y`` in the type of sums, as free as those."""


@by_type(_product, fastmath=SUMS)
def _product_by_type(x: Any, y: Any) -> Any:
    def of_complex(x: Any, y: Any) -> Any:
        x, y = _wide(x), _wide(y)
        return complex(x.real * y.real + x.imag * y.imag, x.real * y.imag - x.imag * y.real)

    def of_real(x: Any, y: Any) -> Any:
        return _wide(x) * _wide(y)

    return of_complex if isinstance(x, types.Complex) else of_real


@inlined()
def _dot_whole(a: Any, b: Any, out: Any) -> None:
    """Dot products of vectors that fit into a tile: of all at once where they are packed already."""
    length = a.shape[1]
    count = out.size if are_packed(a, length) and are_packed(b, length) else TILE // max(1, length)
    spare_a, spare_b = np.empty(TILE, a.dtype), np.empty(TILE, b.dtype)
    for start in range(0, out.size, count):
        stop = min(start + count, out.size)
        x, y = packed(a[start:stop], length, spare_a), packed(b[start:stop], length, spare_b)
        for i in range(start, stop):
            out[i] = _sum_of_tile(x, y, (i - start) * length, length)


@inlined()
def _dot_by_tiles(a: Any, b: Any, out: Any) -> None:
    """Dot products of longer vectors."""
    length = a.shape[1]
    spare_a, spare_b = np.empty(TILE, a.dtype), np.empty(TILE, b.dtype)
    for i in range(out.size):
        total = _wide(a.dtype.type(0))
        for start in range(0, length, TILE):
            stop = min(start + TILE, length)
            x = packed(a[i : i + 1, start:stop], stop - start, spare_a)
            y = packed(b[i : i + 1, start:stop], stop - start, spare_b)
            total += _sum_of_tile(x, y, 0, stop - start)
        out[i] = total


@inlined(fastmath=SUMS)
def _sum_of_tile(a: Any, b: Any, start: int, length: int) -> Any:
    """The dot product of parts of two contiguous vectors."""
    total = _wide(a.dtype.type(0))
    for i in range(length):
        place = np.uint64(start) + np.uint64(i)  # unsigned: it needs no test for negative indices
        total += _product(a[place], b[place])
    return total
