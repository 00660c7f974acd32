"""Rows of geometry: each against the chain of calls that NumPy's and torch's users write."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..peers import Peers
from ..row import Entry
from ..runner import Runner
from . import limits
from .limits import Array


def triangle_areas(peers: Peers, count: int) -> Entry:
    """Areas of triangles given by their corners."""
    p, q, r = np.random.default_rng(0).standard_normal((3, count, 3), dtype=np.float32)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        def by_torch(p: Any, q: Any, r: Any) -> Any:
            return torch.linalg.cross(q - p, r - p).norm(dim=-1) / 2

        tensors = list(map(torch.from_numpy, (p, q, r)))
        yield Runner("torch", lambda: by_torch(*tensors))
        yield from peers.compiled(torch, by_torch, *tensors)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jp, jq, jr = map(jax.numpy.asarray, (p, q, r))
        compiled = jax.jit(lambda p, q, r: jax.numpy.linalg.norm(jax.numpy.cross(q - p, r - p), axis=-1) / 2)
        yield Runner("jax", lambda: compiled(jp, jq, jr).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.triangle_area(p, q, r)),
        Runner("numpy", lambda: np.linalg.norm(np.cross(q - p, r - p), axis=-1) / 2),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *limits.read(np.stack([p, q, r])),
    ]
    wide = (array.astype(np.float64) for array in (p, q, r))
    return Entry(runners, _areas(*wide), 40 * count)


def angles(peers: Peers, count: int) -> Entry:
    """Angles between pairs of vectors, by the accurate formula and, for NumPy, by the usual one too."""
    a, b = np.random.default_rng(0).standard_normal((2, count, 3), dtype=np.float32)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        def by_torch(a: Any, b: Any) -> Any:
            return torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), torch.linalg.vecdot(a, b))

        tensors = list(map(torch.from_numpy, (a, b)))
        yield Runner("torch", lambda: by_torch(*tensors))
        yield from peers.compiled(torch, by_torch, *tensors)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jnp = jax.numpy
        ja, jb = map(jnp.asarray, (a, b))
        compiled = jax.jit(
            lambda a, b: jnp.arctan2(jnp.linalg.norm(jnp.cross(a, b), axis=-1), jnp.vecdot(a, b))
        )
        yield Runner("jax", lambda: compiled(ja, jb).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.vector_angle(a, b)),
        Runner("numpy", lambda: _angles(a, b)),
        Runner("numpy, by arccos", lambda: _angles_by_cosine(a, b)),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *limits.read(np.stack([a, b])),
    ]
    return Entry(runners, _angles(a.astype(np.float64), b.astype(np.float64)), 28 * count)


def face_normals(peers: Peers, count: int) -> Entry:
    """Unit normals of a mesh with about half as many vertices as faces, as closed surfaces have."""
    side = int(np.sqrt(count / 2)) + 1
    heights = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    vertices = np.stack([x, y, heights], axis=-1).reshape(-1, 3)
    number = np.arange(side * side, dtype=np.int32).reshape(side, side)
    corners = (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:])
    upper, lower = np.stack(corners[:3], axis=-1), np.stack(corners[3:0:-1], axis=-1)
    faces = np.stack([upper, lower], axis=2).reshape(-1, 3)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tv, tf = torch.from_numpy(vertices), torch.from_numpy(faces)

        def by_torch() -> Any:
            p, q, r = (tv[tf[:, i]] for i in range(3))
            return torch.nn.functional.normalize(torch.linalg.cross(q - p, r - p), dim=-1)

        yield Runner("torch", by_torch)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jnp = jax.numpy
        jv, jf = jnp.asarray(vertices), jnp.asarray(faces)

        @jax.jit  # type: ignore[untyped-decorator]
        def by_jax(vertices: Any, faces: Any) -> Any:
            p, q, r = (vertices[faces[:, i]] for i in range(3))
            normals = jnp.cross(q - p, r - p)
            return normals / jnp.linalg.norm(normals, axis=-1, keepdims=True)

        yield Runner("jax", lambda: by_jax(jv, jf).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.face_normals(vertices, faces)),
        Runner("numpy", lambda: _normals(vertices, faces)),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
    ]
    return Entry(runners, _normals(vertices.astype(np.float64), faces), vertices.nbytes + 2 * faces.nbytes)


def _areas(p: Array, q: Array, r: Array) -> Array:
    areas: Array = np.linalg.norm(np.cross(q - p, r - p), axis=-1) / 2
    return areas


def _angles(a: Array, b: Array) -> Array:
    angles: Array = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.vecdot(a, b))
    return angles


def _angles_by_cosine(a: Array, b: Array) -> Array:
    cosine = np.vecdot(a, b) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    angles: Array = np.arccos(np.clip(cosine, -1, 1))
    return angles


def _normals(vertices: Array, faces: Array) -> Array:
    p, q, r = (vertices[faces[:, i]] for i in range(3))
    normals: Array = np.cross(q - p, r - p)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals
