"""Rows of geometry on a GPU: each against the chain of calls that CuPy's and torch's users write."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..peers import TAKES_SECONDS
from ..row import Entry
from ..runner import Runner
from . import limits
from .gpu import Gpu
from .products import cross_by_components


def triangle_areas(gpu: Gpu, count: int) -> Entry:
    """Areas of triangles given by their corners."""
    cp = gpu.cupy
    p, q, r = (gpu.normal(count, 3, seed=i) for i in range(3))
    out = cp.empty(count, np.float32)

    def by_torch(p: Any, q: Any, r: Any) -> Any:
        return gpu.torch.linalg.cross(q - p, r - p).norm(dim=-1) / 2

    def expected(part: slice) -> Any:
        normals = cross_by_components(gpu, *(_wide(end[part]) - _wide(p[part]) for end in (q, r)))
        return _norm(cp, normals) / 2

    runners = [
        gpu.runner("ours", lambda: vp.triangle_area(p, q, r, out=out), out=out),
        gpu.runner("cupy", lambda: cp.linalg.norm(cp.cross(q - p, r - p), axis=-1) / 2),
        *_chains(gpu, by_torch, p, q, r),
        *limits.read(gpu, p, q, r),
    ]
    return Entry(runners, gpu.held_by_rows(expected, count), 40 * count)


def angles(gpu: Gpu, count: int) -> Entry:
    """Angles between pairs of vectors, by the formula that is accurate for all of them."""
    cp = gpu.cupy
    a, b = gpu.normal(count, 3), gpu.normal(count, 3, seed=1)
    out = cp.empty(count, np.float32)

    def by_torch(a: Any, b: Any) -> Any:
        torch = gpu.torch
        return torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), torch.linalg.vecdot(a, b))

    def expected(part: slice) -> Any:
        x, y = _wide(a[part]), _wide(b[part])
        return cp.arctan2(_norm(cp, cross_by_components(gpu, x, y)), (x * y).sum(axis=-1))

    def by_cupy() -> Any:
        return cp.arctan2(cp.linalg.norm(cp.cross(a, b), axis=-1), (a * b).sum(axis=-1))

    runners = [
        gpu.runner("ours", lambda: vp.vector_angle(a, b, out=out), out=out),
        gpu.runner("cupy", by_cupy),
        *_chains(gpu, by_torch, a, b),
        *limits.read(gpu, a, b),
    ]
    return Entry(runners, gpu.held_by_rows(expected, count), 28 * count)


def face_normals(gpu: Gpu, count: int) -> Entry:
    """Unit normals of a mesh with about half as many vertices as faces, as closed surfaces have."""
    cp = gpu.cupy
    vertices, faces = _mesh(gpu, math.isqrt(count // 2) + 1)
    out = cp.empty(faces.shape, np.float32)

    def by_torch(vertices: Any, faces: Any) -> Any:
        p, q, r = (vertices[faces[:, i]] for i in range(3))
        return gpu.torch.nn.functional.normalize(gpu.torch.linalg.cross(q - p, r - p), dim=-1)

    def by_cupy() -> Any:
        p, q, r = (vertices[faces[:, i]] for i in range(3))
        normals = cp.cross(q - p, r - p)
        return normals / cp.linalg.norm(normals, axis=-1, keepdims=True)

    def expected(part: slice) -> Any:
        p, q, r = (_wide(vertices[faces[part, i]]) for i in range(3))
        normals = cross_by_components(gpu, q - p, r - p)
        return normals / _norm(cp, normals)[:, None]

    runners = [
        gpu.runner("ours", lambda: vp.face_normals(vertices, faces, out=out), out=out),
        gpu.runner("cupy", by_cupy),
        *_chains(gpu, by_torch, vertices, faces),
        *limits.copy(gpu, faces, cp.empty_like(faces)),
    ]
    moved = vertices.nbytes + faces.nbytes + out.nbytes
    return Entry(runners, gpu.held_by_rows(expected, len(faces)), moved)


def _mesh(gpu: Gpu, side: int) -> tuple[Any, Any]:
    """Vertices over a square grid, and two triangles in each of its cells."""
    cp = gpu.cupy
    number = cp.arange(side * side, dtype=np.int32)
    across, along = number % side, number // side
    heights = gpu.normal(side * side)
    vertices = cp.stack([across.astype(np.float32), along.astype(np.float32), heights], axis=-1)
    table = number.reshape(side, side)
    a, b, c, d = (table[:-1, :-1], table[:-1, 1:], table[1:, :-1], table[1:, 1:])
    cells = [cp.stack([a, b, c], axis=-1), cp.stack([d, c, b], axis=-1)]
    return vertices, cp.ascontiguousarray(cp.stack(cells, axis=2).reshape(-1, 3))


def _chains(gpu: Gpu, by_torch: Callable[..., Any], *arrays: Any) -> list[Runner]:
    """Torch's calls one after another, and what its compiler makes of them."""

    def runners(torch: Any) -> Iterator[Runner]:
        tensors = list(map(gpu.tensor, arrays))
        yield gpu.runner("torch", lambda: by_torch(*tensors))
        if not gpu.compiles:
            gpu.missing["torch.compile"] = TAKES_SECONDS
            return
        torch.compiler.reset()  # else the ninth size of one function would be left uncompiled
        compiled = torch.compile(by_torch, dynamic=False)
        yield gpu.runner("torch.compile", lambda: compiled(*tensors))

    return gpu.with_torch(runners)


def _wide(array: Any) -> Any:
    return array.astype(np.float64)


def _norm(cp: Any, vectors: Any) -> Any:
    return cp.sqrt((vectors * vectors).sum(axis=-1))
