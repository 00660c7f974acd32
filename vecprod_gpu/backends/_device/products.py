"""Launches of the outer, cross and dot products."""

import math
from typing import Any

from vecprod_gpu._layout import is_contiguous, size

from .launcher import CHUNK_BYTES, Launcher, collapsed_batch, flat_grid, int64, strides_of, sum_dtype

CHUNKS_AT_ONCE = 4
"""Chunks of an outer product that a thread of ``outer.cu`` fetches the factors of together."""

COMPONENTS_PER_LANE = 4
"""Products of a dot product that one thread adds up before another one is given a part."""

MOST_LANES = 32
"""Threads that share one dot product, at most: they read neighbouring components together."""


def batched_outer(launcher: Launcher, a: Any, b: Any, alpha: Any, beta: Any, out: Any) -> None:
    """``out = (alpha * a) ⊗ b + beta * out``, as the contract of `vecprod_gpu.backends` says."""
    if not size(out.shape):
        return
    *batch, m, n = out.shape
    a, b = (_with_contiguous_rows(launcher, operand) for operand in (a, b))
    (a, b), counts, strides = collapsed_batch(launcher, tuple(batch), (a, b))
    target = out if is_contiguous(out) else launcher.empty(out.shape, out.dtype)
    if target is not out and beta != 0:
        launcher.assign(target, out)
    summed = sum_dtype(out.dtype)
    scalars = (summed.type(alpha), summed.type(beta))
    args = (a, b, target, *int64(*counts, m, n, *strides[0], *strides[1]), *scalars)
    work = math.ceil(size(out.shape) * out.dtype.itemsize / (CHUNK_BYTES * CHUNKS_AT_ONCE))
    grid = flat_grid(launcher, work)
    launcher.launch("outer", "batched_outer", out.dtype, summed, grid, launcher.threads, args, 0)
    if target is not out:
        launcher.assign(out, target)


def cross(launcher: Launcher, a: Any, b: Any, out: Any) -> None:
    """``out = a × b`` over the last axis, as the contract of `vecprod_gpu.backends` says."""
    if not size(out.shape):
        return
    target = out if is_contiguous(out) else launcher.empty(out.shape, out.dtype)
    count = size(out.shape) // 3
    if all(operand.shape == out.shape and is_contiguous(operand) for operand in (a, b)):
        kernel, args = "cross_contiguous", (a, b, target, *int64(count))
    else:
        (a, b), counts, strides = collapsed_batch(launcher, tuple(out.shape[:-1]), (a, b))
        by_operand = (*strides[0], strides_of(a)[-1], *strides[1], strides_of(b)[-1])
        kernel, args = "cross_strided", (a, b, target, *int64(*counts, *by_operand))
    grid = flat_grid(launcher, count)
    summed = sum_dtype(out.dtype)
    launcher.launch("cross", kernel, out.dtype, summed, grid, launcher.threads, args, 0)
    if target is not out:
        launcher.assign(out, target)


def vecdot(launcher: Launcher, a: Any, b: Any, out: Any) -> None:
    """``out = sum(conj(a) * b)`` over the last axis, as the contract of `vecprod_gpu.backends` says."""
    if not size(out.shape):
        return
    target = out if is_contiguous(out) else launcher.empty(out.shape, out.dtype)
    (a, b), counts, strides = collapsed_batch(launcher, tuple(out.shape), (a, b))
    length = a.shape[-1]
    lanes = vecdot_lanes(length)
    by_operand = (*strides[0], strides_of(a)[-1], *strides[1], strides_of(b)[-1])
    args = (a, b, target, *int64(*counts, length, *by_operand, lanes))
    summed = sum_dtype(out.dtype)
    grid = flat_grid(launcher, size(out.shape) * lanes)
    shared_bytes = launcher.threads * summed.itemsize
    launcher.launch("vecdot", "vecdot", out.dtype, summed, grid, launcher.threads, args, shared_bytes)
    if target is not out:
        launcher.assign(out, target)


def vecdot_lanes(length: int) -> int:
    """Threads that share one dot product: a power of two, by the length alone, as are then the bits.

    Examples
    --------
    >>> [vecdot_lanes(length) for length in (0, 3, 4, 5, 64, 65, 10**9)]
    [1, 1, 1, 2, 16, 32, 32]
    """
    lanes = 1
    while lanes < MOST_LANES and lanes * COMPONENTS_PER_LANE < length:
        lanes *= 2
    return lanes


def _with_contiguous_rows(launcher: Launcher, native: Any) -> Any:
    rows_are_contiguous = native.shape[-1] == 1 or native.strides[-1] == native.dtype.itemsize
    return native if rows_are_contiguous else launcher.contiguous(native, native.shape)
