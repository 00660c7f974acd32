"""Rows of products on a GPU: batched outer and cross."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..row import Entry
from ..runner import Runner
from . import limits
from .gpu import Gpu


def batched_outer(gpu: Gpu, batch: int, m: int, n: int) -> Entry:
    """Outer products of a batch, into memory that is there; the limit fills as many bytes as move."""
    cp = gpu.cupy
    a, b = gpu.normal(batch, m), gpu.normal(batch, n, seed=1)
    out = cp.empty((batch, m, n), np.float32)
    moved = a.nbytes + b.nbytes + out.nbytes
    columns, rows = a[:, :, None], b[:, None, :]

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tcolumns, trows, tout = map(gpu.tensor, (columns, rows, out))
        yield gpu.runner("torch.bmm", lambda: torch.bmm(tcolumns, trows, out=tout), out=out)
        yield gpu.runner("torch.mul", lambda: torch.mul(tcolumns, trows, out=tout), out=out)

    def expected(part: slice) -> Any:
        numbers = cp.arange(part.start, part.stop)
        factors = a.reshape(-1)[part].astype(np.float64)
        return factors[:, None] * b[numbers // m].astype(np.float64)

    runners = [
        gpu.runner("ours", lambda: vp.batched_outer(a, b, out=out), out=out),
        gpu.runner("cupy", lambda: cp.multiply(columns, rows, out=out), out=out),
        *gpu.with_torch(torch_runners),
        *limits.fill(gpu, cp.empty(moved, np.uint8)),
        limits.spread(gpu, cp.zeros(moved - out.nbytes, np.uint8), cp.empty_like(out)),
    ]
    check = gpu.held_by_rows(expected, batch * m, lambda result: result.reshape(-1, n))
    return Entry(runners, check, moved)


def cross(gpu: Gpu, count: int) -> Entry:
    """Cross products of `count` pairs, into memory that is there, on inputs that rotate past the cache."""
    cp = gpu.cupy
    sets = gpu.sets(count * 36)
    a, b = gpu.normal(sets, count, 3), gpu.normal(sets, count, 3, seed=1)
    out = cp.empty_like(a)

    def each(call: Callable[[Any, Any, Any], Any], *arrays: Any) -> Iterator[Callable[[], Any]]:
        for x, y, into in zip(*arrays, strict=True):
            yield partial(call, x, y, into)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tensors = map(gpu.tensor, (a, b, out))
        calls = each(lambda x, y, into: torch.linalg.cross(x, y, out=into), *tensors)
        yield gpu.runner("torch", *calls, out=out)

    runners = [
        gpu.runner("ours", *each(lambda x, y, into: vp.cross(x, y, out=into), a, b, out), out=out),
        gpu.runner("cupy", *each(lambda x, y, into: cp.cross(x, y), a, b, out)),
        *gpu.with_torch(torch_runners),
        *limits.triad(gpu, a, b, cp.empty_like(a), sets),
    ]
    return Entry(runners, cross_check(gpu, a[0], b[0]), 36 * count)


def cross_strided(gpu: Gpu, count: int) -> Entry:
    """Three of four columns, crossed with every other row."""
    a, b = gpu.normal(count, 4)[:, :3], gpu.normal(2 * count, 3, seed=1)[::2]
    return _one_cross(gpu, a, b, limits.triad(gpu, *(gpu.cupy.empty((count, 3), np.float32) for _ in "abc")))


def cross_broadcast(gpu: Gpu, count: int) -> Entry:
    """Many vectors crossed with one: half the reads, so that a copy is the limit."""
    a, b = gpu.normal(count, 3), gpu.normal(3, seed=1)
    return _one_cross(gpu, a, b, limits.copy(gpu, a, gpu.cupy.empty_like(a)))


def _one_cross(gpu: Gpu, a: Any, b: Any, limit: list[Runner]) -> Entry:
    cp = gpu.cupy
    out = cp.empty(a.shape, np.float32)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb, tout = map(gpu.tensor, (a, b, out))
        tb = tb.expand(ta.shape)
        yield gpu.runner("torch", lambda: torch.linalg.cross(ta, tb, out=tout), out=out)

    runners = [
        gpu.runner("ours", lambda: vp.cross(a, b, out=out), out=out),
        gpu.runner("cupy", lambda: cp.cross(a, b)),
        *gpu.with_torch(torch_runners),
        *limit,
    ]
    moved = sum(array.size * array.itemsize for array in (a, b, out))
    return Entry(runners, cross_check(gpu, a, b), moved)


def cross_check(gpu: Gpu, a: Any, b: Any) -> Callable[[Any], float]:
    """Holds cross products against float64."""

    def expected(part: slice) -> Any:
        x, y = ((array[part] if array.ndim == 2 else array).astype(np.float64) for array in (a, b))
        return cross_by_components(gpu, x, y)

    return gpu.held_by_rows(expected, len(a))


def cross_by_components(gpu: Gpu, x: Any, y: Any) -> Any:
    """Cross products in plain products and differences, in the type of the vectors."""
    (x0, x1, x2), (y0, y1, y2) = ([one[..., k] for k in range(3)] for one in (x, y))
    return gpu.cupy.stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0], axis=-1)
