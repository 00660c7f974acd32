"""Cross and outer products: generalised ufuncs (`ufuncs`), sliced over threads and written past the cache."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import reference
from ..._host_arrays import address, broadcast_to
from ..._small import (
    ALONE_CROSS_BYTES,
    ALONE_OUTER_BYTES,
    FEW_ELEMENTS,
    LONG,
    PAIR_ELEMENTS,
    SMALL_CROSS_BYTES,
)
from ..processor import LAST_CACHE_BYTES
from ..threads.pools import call_ends
from ..threads.slices import MOST, all_packed, over_longest_axis
from .outers import SMALL
from .shared_loops import helpers_awake, share_cross, share_loop, shared
from .stores import StoresBySize
from .streaming import STREAM_BYTES
from .ufuncs import Ufunc, cross_rows_ufunc, cross_ufunc, outer_rows_ufunc, outer_ufunc

Array = np.ndarray[Any, Any]

BROADCAST_BYTES = 1 << 16  # below this NumPy broadcasts at less cost than a faster loop brings
FEWEST_SHARED_BYTES = 1 << 21  # of outer products, for threads that wait awake
MOST_SHARED_BYTES = 1 << 28  # of a result that they write in one go, which no interrupt comes into
BLOCK_BYTES = 1 << 20  # of a result, for one thread at a time: the last ones of a product, all of an update

_REAL = "biuf"
_HALF = np.dtype(np.float16)
_OUTER_STORES, _CROSS_STORES = StoresBySize(), StoresBySize()
_OUTER_STORES, _CROSS_STORES = (
    StoresBySize(),
    StoresBySize(),
)  # of results that are written in one go

_Task = Callable[[Array, Array, Array], Any]


def cross(a: Array, b: Array, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if out.ndim == 1 or (a.shape != b.shape and out.nbytes <= BROADCAST_BYTES):
        cross_ufunc(out.dtype)(a, b, out)
        return
    a, b = broadcast_to(a, out.shape), broadcast_to(b, out.shape)
    can_share = out.nbytes > ALONE_CROSS_BYTES and out.dtype.kind in _REAL and _is_apart(out, a, b)
    if can_share and share_cross(a, b, out) is not None:
        return
    # of two axes they are rows already
    if out.ndim > 2 and (packed := all_packed(a, b, out)) is not None:
        a, b, out = packed
        a, b = broadcast_to(a, out.shape), broadcast_to(b, out.shape)
    ufunc_of = cross_ufunc if out.ndim > 2 and out.shape[-2] < LONG else cross_rows_ufunc
    task: _Task = ufunc_of(out.dtype)
    are_dense = out.dtype.kind in _REAL and a.strides[-1] == b.strides[-1] == out.itemsize
    if out.ndim == 2 and are_dense and _goes_to_memory(a, b, out):
        if can_share and _share_large(_CROSS_STORES, cross_rows_ufunc, a, b, out):
            return
        task = _CROSS_STORES.writer(task, cross_rows_ufunc(out.dtype, past_cache=True), out.nbytes)
    _over_vectors(task, a, b, out)


def _is_apart(out: Array, a: Array, b: Array) -> bool:
    """Whether out overlaps no operand; of one that it does NumPy makes a copy, which is small in parts."""
    return not (np.may_share_memory(out, a) or np.may_share_memory(out, b))


def _over_vectors(task: _Task, a: Array, b: Array, out: Array) -> None:
    """``task`` on matching parts of a, b and out, cut along the longest axis but that of the components."""
    blocks = out.nbytes // BLOCK_BYTES if out.nbytes > SMALL_CROSS_BYTES else 1
    over_longest_axis(out.shape[:-1], blocks, lambda part: task(a[part], b[part], out[part]))


def batched_outer(a: Array, b: Array, alpha: Any, beta: Any, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if out.size == 0:
        return
    if out.dtype == _HALF and (alpha != 1 or beta != 0):  # which are rounded to half once
        reference.batched_outer(a, b, alpha, beta, out)
        return
    if alpha != 1:
        a = a * alpha
    if beta != 0:
        _update(a, b, beta, out)
    elif a.size * b.size <= (PAIR_ELEMENTS if out.ndim == 2 else FEW_ELEMENTS):
        outer_ufunc(out.dtype)(a, b, out)
    elif out.strides[-1] == out.itemsize:
        _outer_rows(a, b if b.strides[-1] == b.itemsize else np.ascontiguousarray(b), out)
    else:
        _over_rows(outer_ufunc(out.dtype), a, b, out)


def _outer_rows(a: Array, b: Array, out: Array) -> None:
    """Outer products whose columns lie side by side."""
    if out.ndim == 2:
        a, b, out = a[np.newaxis], b[np.newaxis], out[np.newaxis]
    *batch, m, n = out.shape
    packed = all_packed(*(broadcast_to(x, (*batch, x.shape[-1])) for x in (a, b)))
    is_packed = packed is not None and out.flags.c_contiguous
    if packed is not None and is_packed:
        (a, b), out = packed, out.reshape(-1, m, n)
    ufunc = outer_rows_ufunc(out.dtype)
    task: _Task = ufunc
    fills_lines = (is_packed and m == n and n in SMALL) or n * out.itemsize % STREAM_BYTES == 0
    if fills_lines and _goes_to_memory(a, b, out):
        if is_packed and _share_large(_OUTER_STORES, outer_rows_ufunc, *_in_batch(a, b, out)):
            return
        task = _OUTER_STORES.writer(ufunc, outer_rows_ufunc(out.dtype, past_cache=True), out.nbytes)
    elif is_packed and _is_medium(out) and share_loop(ufunc, *_in_batch(a, b, out)):
        return
    _over_rows(task, a, b, out)


def _is_medium(out: Array) -> bool:
    """Whether outer products take long enough for threads that wait awake, and stay in the cache."""
    return FEWEST_SHARED_BYTES <= out.nbytes <= LAST_CACHE_BYTES


def _in_batch(a: Array, b: Array, out: Array) -> tuple[Array, Array, Array]:
    """As many rows of each as there are products; of a single one the rows, which are products as well."""
    _, m, n = out.shape
    if len(out) == 1:
        a, out = a.reshape(m, 1), out.reshape(m, 1, n)
    return broadcast_to(a, out.shape[:2]), broadcast_to(b, (len(out), n)), out


def _share_large(
    stores: StoresBySize, ufunc_of: Callable[..., Ufunc], a: Array, b: Array, out: Array
) -> bool:
    """Whether threads that wait awake have written a product, in the way that is known to be the better."""
    if out.nbytes > MOST_SHARED_BYTES or not (helpers := helpers_awake()):
        return False
    if (past_cache := stores.settled(out.nbytes)) is None:
        return False
    ufunc = ufunc_of(out.dtype, past_cache=True) if past_cache else ufunc_of(out.dtype)
    shared(ufunc, helpers, past_cache)(a, b, out)
    call_ends()
    return True


def _update(a: Array, b: Array, beta: Any, out: Array) -> None:
    """``out = beta * out + a ⊗ b``, in blocks that stay in the cache between the three steps."""
    ufunc = outer_ufunc(out.dtype)

    def update(a: Array, b: Array, out: Array) -> None:
        if beta != 1:
            np.multiply(out, beta, out=out)
        np.add(out, ufunc(a, b), out=out)

    _over_rows(update, a, b, out, alone_bytes=BLOCK_BYTES, most=1)


def _goes_to_memory(a: Array, b: Array, out: Array) -> bool:
    """Whether a product is larger than the caches, and its result of vectors that pass them."""
    # an operand that is broadcast lies in the cache as one row
    is_large = sum(array.nbytes for array in (a, b, out) if array.strides[0]) > LAST_CACHE_BYTES
    return is_large and out.flags.c_contiguous and address(out) % STREAM_BYTES == 0


def _over_rows(
    task: _Task,
    a: Array,
    b: Array,
    out: Array,
    alone_bytes: int = ALONE_OUTER_BYTES,
    most: int = MOST,
) -> None:
    """``task`` on matching parts of a, b and out, cut along the longest axis but the columns."""
    a, b = broadcast_to(a, out.shape[:-1]), broadcast_to(b, (*out.shape[:-2], out.shape[-1]))
    if out.nbytes <= alone_bytes:
        task(a, b, out)
        return
    batch_axes = out.ndim - 2

    def part_task(part: tuple[slice, ...]) -> None:
        task(a[part], b[part[:batch_axes]], out[part])

    over_longest_axis(out.shape[:-1], out.nbytes // BLOCK_BYTES, part_task, most)
