"""Launches of angles, areas, volumes and normals."""

import math
from typing import Any

import numpy as np

from vecprod_gpu._layout import is_contiguous, size

from .launcher import (
    CHUNK_BYTES,
    Launcher,
    collapsed_batch,
    flat_grid,
    int64,
    strides_of,
    sum_dtype,
    with_whole_strides,
)


def measure(launcher: Launcher, quantity: str, vectors: tuple[Any, ...], out: Any) -> None:
    """Angle, area or volume of each pair or triple, as the contract of `vecprod_gpu.backends` says."""
    if not size(out.shape):
        return
    target = _target(launcher, out)
    arrays, counts, strides = collapsed_batch(launcher, tuple(out.shape), vectors)
    by_vector = [(*batch, strides_of(array)[-1]) for array, batch in zip(arrays, strides, strict=True)]
    if len(arrays) == 2:  # no kernel of pairs reads the third
        arrays, by_vector = (*arrays, arrays[0]), [*by_vector, (0, 0, 0)]
    sizes = (*counts, *by_vector[0], *by_vector[1], *by_vector[2])
    has_groups = all(is_contiguous(array) and array.shape[:-1] == out.shape for array in arrays)
    work = math.ceil(size(out.shape) * out.dtype.itemsize / CHUNK_BYTES) if has_groups else size(out.shape)
    _launch(launcher, "measures", quantity, (*arrays, target, *int64(*sizes)), out, work)
    _deliver(launcher, target, out)


def face_normals(launcher: Launcher, vertices: Any, faces: Any, unit: bool, out: Any) -> int:
    """Normal of each face, as the contract of `vecprod_gpu.backends` says."""
    face_count = faces.shape[0]
    if not face_count:
        return -1
    target = _target(launcher, out)
    first_bad = launcher.to_device(np.array([face_count], np.int64))
    vertices = with_whole_strides(launcher, vertices)
    args = (vertices, faces, target, first_bad, *_mesh_sizes(vertices, faces), *int64(unit))
    # The faces of an empty batch are checked too.
    _launch(launcher, "normals", "face_normals", args, out, max(vertices.shape[0], 1) * face_count)
    _deliver(launcher, target, out)
    return _found(launcher, first_bad, face_count)


def vertex_normals(launcher: Launcher, vertices: Any, faces: Any, out: Any) -> int:
    """Mean normal around each vertex, as the contract of `vecprod_gpu.backends` says."""
    (batch, vertex_count), face_count = vertices.shape[:2], faces.shape[0]
    work = max(batch * vertex_count, face_count)
    if not work:
        return -1
    target = _target(launcher, out)
    first_bad = launcher.to_device(np.array([face_count], np.int64))
    order = launcher.stable_order(faces) if face_count else first_bad  # which is never read then
    vertices = with_whole_strides(launcher, vertices)
    args = (vertices, faces, order, target, first_bad, *_mesh_sizes(vertices, faces))
    _launch(launcher, "normals", "vertex_normals", args, out, work)
    _deliver(launcher, target, out)
    return _found(launcher, first_bad, face_count)


def grid_normals(launcher: Launcher, z: Any, dx: Any, dy: float, out: Any) -> None:
    """Normal of a surface at each point of a grid, as the contract of `vecprod_gpu.backends` says."""
    if not size(z.shape):
        return
    target = _target(launcher, out)
    z = with_whole_strides(launcher, z)
    args = (z, dx, target, *int64(*z.shape, *strides_of(z)), np.float64(dy))
    _launch(launcher, "normals", "grid_normals", args, out, size(z.shape))
    _deliver(launcher, target, out)


def _launch(launcher: Launcher, file: str, kernel: str, args: tuple[Any, ...], out: Any, work: int) -> None:
    grid = flat_grid(launcher, work)
    launcher.launch(file, kernel, out.dtype, sum_dtype(out.dtype), grid, launcher.threads, args, 0)


def _target(launcher: Launcher, out: Any) -> Any:
    """What the kernel writes: `out`, or an array to be assigned to it."""
    return out if is_contiguous(out) else launcher.empty(out.shape, out.dtype)


def _deliver(launcher: Launcher, target: Any, out: Any) -> None:
    if target is not out:
        launcher.assign(out, target)


def _mesh_sizes(vertices: Any, faces: Any) -> tuple[np.int64, ...]:
    """Counts and strides of a mesh, and whether its indices have 64 bits."""
    batch, vertex_count, _ = vertices.shape
    return int64(batch, vertex_count, faces.shape[0], *strides_of(vertices), faces.dtype == np.int64)


def _found(launcher: Launcher, first_bad: Any, face_count: int) -> int:
    """Return the first bad face, or -1; waits for the device."""
    face = int(launcher.to_host(first_bad)[0])
    return face if face < face_count else -1
