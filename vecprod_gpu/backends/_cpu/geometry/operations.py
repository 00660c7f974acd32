"""Angles, areas and volumes on the host: one pass over the vectors, in tiles that become vector code.

A generalised ufunc walks its vectors in tiles: packed ones are read where they lie, others are packed
into a scratch tile first.  The loop over a tile is thus compiled once, for contiguous memory, where LLVM
finds vector instructions, and gives the same bits for every layout.

Ideas tried, 2 cores, angles of 5 million pairs of float32, whose areas take 4.9 ms at the memory's speed:
a loop that LLVM leaves scalar 23 ms, tiles that are always packed 11 ms, as here 7 ms.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from ..._small import ALONE_MEASURES, small_measures
from ..compiling import by_type, inlined
from ..packing import contiguous_view, on_stack, packed
from ..products.shared_loops import share_loop
from ..products.ufuncs import Ufunc, build
from ..threads.slices import in_lines, over_longest_axis
from .triples import (
    TINY,
    are_moderate,
    bits_of,
    cross,
    dot,
    far_cross,
    far_length,
    far_norm,
    far_triangle_cross,
    load,
    near_one,
    norm,
    triangle_cross,
)

Array = np.ndarray[Any, Any]

FEWEST_SHARED_MEASURES, MOST_SHARED_MEASURES = 1 << 14, 1 << 20  # for threads that wait awake
COSTLY = {("vector_angle", 4): 2, ("vector_angle", 8): 8}  # takes so many times as long, by bytes of a number
TILE = 256  # vectors: three tiles of float64 and their results take 20 KB of the first-level cache


def measure(quantity: str, vectors: tuple[Array, ...], out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if out.size == 0:
        return
    ufunc = _ufunc(quantity, out.dtype)
    operands = in_lines(vectors, out)
    most_shared = MOST_SHARED_MEASURES // COSTLY.get((quantity, out.itemsize), 1)
    can_share = FEWEST_SHARED_MEASURES <= out.size <= most_shared and operands[-1].ndim == 1
    if can_share and share_loop(ufunc, *operands):
        return
    if out.size <= ALONE_MEASURES:
        ufunc(*operands)
    else:
        shape, blocks = operands[-1].shape, out.size // ALONE_MEASURES
        over_longest_axis(shape, blocks, lambda part: ufunc(*(operand[part] for operand in operands)))


@cache
def _ufunc(quantity: str, dtype: np.dtype[Any]) -> Ufunc:
    """``(m,d),(m,d)->(m)``, or with three operands: `quantity` of m vectors."""
    kernel = _KERNELS[quantity]
    operands = kernel.__code__.co_argcount - 1
    layout = ",".join(["(m,d)"] * operands) + "->(m)"
    return small_measures.setdefault((quantity, dtype), build(kernel, dtype, layout, (2,) * operands + (1,)))


# --- Kernels ---------------------------------------------------------------------------------------


def vector_angle(a: Any, b: Any, out: Any) -> None:
    """Kernel of the ufunc."""
    _walk(_angles, a, b, b, out)


def parallelogram_area(a: Any, b: Any, out: Any) -> None:
    """Kernel of the ufunc."""
    _walk(_parallelograms, a, b, b, out)


def triangle_area(p: Any, q: Any, r: Any, out: Any) -> None:
    """Kernel of the ufunc."""
    _walk(_triangles, p, q, r, out)


def triple_product(a: Any, b: Any, c: Any, out: Any) -> None:
    """Kernel of the ufunc."""
    _walk(_volumes, a, b, c, out)


_KERNELS: dict[str, Callable[..., None]] = {
    kernel.__name__: kernel for kernel in (vector_angle, parallelogram_area, triangle_area, triple_product)
}


_one_tile, _three_tiles = on_stack(TILE), on_stack(3 * TILE)


@inlined()
def _walk(loop: Any, a: Any, b: Any, c: Any, out: Any) -> None:
    """``loop`` over tile after tile; whoever has two operands gives one of them twice."""
    spare_a, spare_b, spare_c = _three_tiles(a), _three_tiles(a), _three_tiles(a)
    results = _one_tile(out)
    is_dense = out.strides[0] == out.itemsize
    for start in range(0, out.size, TILE):
        stop = min(start + TILE, out.size)
        part = out[start:stop]
        loop(
            packed(a[start:stop], 3, spare_a),
            packed(b[start:stop], 3, spare_b),
            packed(c[start:stop], 3, spare_c),
            contiguous_view(part) if is_dense else results[: part.size],
        )
        if not is_dense:
            for i in range(part.size):
                part[i] = results[i]


# --- Loops over packed tiles -----------------------------------------------------------------------


def _angles(a: Any, b: Any, c: Any, out: Any) -> None:
    """Angles of pairs of vectors."""


@by_type(_angles)
def _angles_by_dtype(a: Any, b: Any, c: Any, out: Any) -> Any:
    def narrow(a: Any, b: Any, c: Any, out: Any) -> None:
        for i in range(out.size):
            left, right = load(a, i), load(b, i)
            out[i] = _arctan2(norm(cross(left, right)), dot(left, right) + 0.0)

    def wide(a: Any, b: Any, c: Any, out: Any) -> None:
        for i in range(out.size):
            left, _ = near_one(load(a, i))
            right, _ = near_one(load(b, i))
            out[i] = math.atan2(far_norm(cross(left, right)), dot(left, right) + 0.0)

    return narrow if a.dtype is types.float32 else wide


@inlined()
def _parallelograms(a: Any, b: Any, c: Any, out: Any) -> None:
    """Areas that pairs of vectors span."""
    if are_moderate(a) and are_moderate(b):
        for i in range(out.size):
            out[i] = norm(cross(load(a, i), load(b, i)))
    else:
        for i in range(out.size):
            mantissas, exponents = far_cross(load(a, i), load(b, i))
            out[i] = far_length(mantissas, exponents)


@inlined()
def _triangles(p: Any, q: Any, r: Any, out: Any) -> None:
    """Areas between three points."""
    if are_moderate(p) and are_moderate(q) and are_moderate(r):
        for i in range(out.size):
            out[i] = 0.5 * norm(triangle_cross(load(p, i), load(q, i), load(r, i)))
    else:
        for i in range(out.size):
            mantissas, (x, y, z) = far_triangle_cross(load(p, i), load(q, i), load(r, i))
            out[i] = far_length(mantissas, (x - 1, y - 1, z - 1))


@inlined()
def _volumes(a: Any, b: Any, c: Any, out: Any) -> None:
    """``a · (b × c)``, each product and each sum rounded by itself; integers wrap."""
    for i in range(out.size):
        b0, b1, b2 = b[3 * i], b[3 * i + 1], b[3 * i + 2]
        c0, c1, c2 = c[3 * i], c[3 * i + 1], c[3 * i + 2]
        x, y, z = b1 * c2 - b2 * c1, b2 * c0 - b0 * c2, b0 * c1 - b1 * c0
        out[i] = a[3 * i] * x + a[3 * i + 1] * y + a[3 * i + 2] * z


@inlined(fastmath={"contract"})
def _arctan2(y: float, x: float) -> float:
    """``atan2(y, x)`` to the accuracy of float32, where y is not negative; NaN for infinities.

    It compares integers alone and has no branches but those that become selections, so that the loop
    around it becomes vector code, which raises no exception for NaN.
    """
    length = abs(x)
    is_steep = bits_of(y) > bits_of(length)
    t = (length if is_steep else y) / ((y if is_steep else length) + TINY)
    z = t * t
    # atan(t) = t * p(z) on [0, 1], with a relative error below 3.8e-10, which is 0.007 units in the last
    # place of float32: the minimax polynomial of degree 10 for atan(sqrt(z)) / sqrt(z), by Remez' exchange.
    p = 0.0010911005682352943
    p = p * z - 0.007199335630653731
    p = p * z + 0.022274257451290077
    p = p * z - 0.04435738515853225
    p = p * z + 0.06716099871363738
    p = p * z - 0.08798768700072329
    p = p * z + 0.11054500317857302
    p = p * z - 0.14279159498253702
    p = p * z + 0.19999604627430995
    p = p * z - 0.33333323935260606
    p = p * z + 0.999999999628349
    angle = t * p
    angle = math.pi / 2 - angle if is_steep else angle
    return math.pi - angle if bits_of(x) < 0 else angle
