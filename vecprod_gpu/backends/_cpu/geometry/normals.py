"""Normals of meshes and of height fields on the host.

Faces are taken in tiles: the corners of some hundred faces are gathered side by side, checked on the way,
and the loop over them becomes vector code.  Normals at vertices are summed in float64, each thread for a
range of vertices of its own: it looks at all faces and computes those that touch its range, so that
the sums follow the order of faces however many threads there are.
"""

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numba import types

from ..._reference.geometry import first_bad_face
from .. import float_status
from ..compiling import by_type, compiled, inlined
from ..float_status import clear_flags, raised_flags
from ..memory import empty
from ..packing import contiguous_view, frozen
from ..threads import pools
from .triples import (
    BIAS,
    EXPONENT,
    MAGNITUDE,
    aligned,
    are_moderate,
    bits_of,
    far_triangle_cross,
    far_unit,
    float_of,
    load,
    scaled_by_powers,
    triangle_cross,
    unit,
)

Array = np.ndarray[Any, Any]
Task = Callable[[int, int], tuple[int, int]]

TILE = 256  # faces: their corners in float64 take 18 KB of the first-level cache
BLOCK = 1 << 15  # faces or grid points, for one thread at a time
SERIAL = 1 << 13  # faces; below this a second thread costs more than it brings
ROOM = 480  # the largest coordinate becomes 2**ROOM before normals are summed: 2**60 of them do not overflow
NO_FACE = -1


def face_normals(vertices: Array, faces: Array, unit: bool, out: Array) -> int:
    """See the contract in `vecprod_gpu.backends`."""
    if out.size == 0:
        return first_bad_face(faces, vertices.shape[1])
    normals = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    vertices, corners, flat = frozen(vertices), frozen(faces.reshape(-1)), normals.reshape(-1)
    bad = _run(
        lambda start, stop: _face_normals(vertices, corners, unit, flat, start, stop),
        out.size // 3,
        BLOCK,
        "face_normals",
    )
    if normals is not out:
        out[...] = normals
    return bad


def vertex_normals(vertices: Array, faces: Array, out: Array) -> int:
    """See the contract in `vecprod_gpu.backends`."""
    if out.size == 0:
        return first_bad_face(faces, vertices.shape[1])
    batch, count, _ = vertices.shape
    threads = min(pools.thread_count(), 1 + len(faces) // SERIAL)
    length = -(-count // -(-threads // batch))
    ranges = -(-count // length)
    vertices, corners = frozen(vertices), frozen(faces.reshape(-1))

    def task(start: int, stop: int) -> tuple[int, int]:
        sums = empty((length, 3), np.dtype(np.float64))
        return _vertex_normals(vertices, corners, sums, out, start, stop)

    return _run(task, batch * ranges, max(1, SERIAL // max(1, len(faces))), "vertex_normals")


def grid_normals(z: Array, dx: Array, dy: float, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if out.size == 0:
        return
    normals = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    batch, rows, columns = z.shape
    if z.strides[-1] != z.itemsize:
        z = np.ascontiguousarray(z)
    z, dx, flat = frozen(z), frozen(dx), normals.reshape(-1)
    _run(
        lambda start, stop: _grid_normals(z, dx, dy, flat, start, stop),
        batch * rows,
        max(1, BLOCK // columns),
        "grid_normals",
    )
    if normals is not out:
        out[...] = normals


def _run(task: Task, count: int, block: int, name: str) -> int:
    """``task(start, stop)`` over ``range(count)``; the first bad face of all, or one warning for all."""
    results: list[tuple[int, int]] = []
    pools.for_each_block(lambda start, stop: results.append(task(start, stop)), count, block)
    bad = min((face for face, _ in results if face != NO_FACE), default=NO_FACE)
    if bad == NO_FACE:
        float_status.report(reduce(or_, (flags for _, flags in results)), name)
    return bad


# --- Meshes ----------------------------------------------------------------------------------------


@compiled()
def _face_normals(
    vertices: Any, faces: Any, is_unit: bool, out: Any, start: int, stop: int
) -> tuple[int, int]:
    """Normals of faces start to stop, counted over all problems; the first bad face and the flags raised."""
    clear_flags()
    face_count = faces.size // 3
    corners = np.empty((3, 3 * TILE), vertices.dtype)
    while start < stop:
        problem = start // face_count
        first = start - problem * face_count
        last = min(first + TILE, face_count, first + stop - start)
        points = vertices[problem]
        for face in range(first, last):
            if not _gather(points, faces, face, 1, corners, face - first):
                return face, raised_flags()
        end = start + last - first
        p, q, r = corners[0], corners[1], corners[2]
        if is_unit:
            _unit_normals(p, q, r, out[3 * start : 3 * end])
        else:
            _raw_normals(p, q, r, out[3 * start : 3 * end])
        start = end
    return NO_FACE, raised_flags()


@compiled()
def _vertex_normals(vertices: Any, faces: Any, sums: Any, out: Any, start: int, stop: int) -> tuple[int, int]:
    """Normals at ranges start to stop of as many vertices as sums, counted over all problems."""
    clear_flags()
    length, count = sums.shape[0], vertices.shape[1]
    ranges = -(-count // length)
    corners = np.empty((3, 3 * TILE), vertices.dtype)
    normals = np.empty(3 * TILE)
    found = np.empty(TILE, np.int64)
    for each in range(start, stop):
        problem = each // ranges
        low = each % ranges * length
        high = min(low + length, count)
        sums[:] = 0
        points = vertices[problem]
        factor = _room_factor(points)
        filled = 0
        for face in range(faces.size // 3):
            if not _touches(faces, face, low, high, count):
                continue
            if not _gather(points, faces, face, factor, corners, filled):
                return face, raised_flags()
            found[filled] = face
            filled += 1
            if filled == TILE:
                _add_normals(corners, normals, faces, found, low, sums)
                filled = 0
        _add_normals(corners, normals, faces, found[:filled], low, sums)
        for vertex in range(low, high):
            i = vertex - low
            x, y, z = far_unit((sums[i, 0], sums[i, 1], sums[i, 2]))
            out[problem, vertex, 0], out[problem, vertex, 1], out[problem, vertex, 2] = x, y, z
    return NO_FACE, raised_flags()


@inlined()
def _corner(faces: Any, face: int, k: int) -> Any:
    """A vertex of a face: unsigned, so that a negative one is too large."""
    return np.uint64(faces[3 * face + k])


@inlined()
def _gather(vertices: Any, faces: Any, face: int, factor: Any, corners: Any, place: int) -> bool:
    """Copy the corners of a face, times `factor`, to a place in the tile; False where one does not exist."""
    for k in range(3):
        vertex = _corner(faces, face, k)
        if vertex >= np.uint64(vertices.shape[0]):
            return False
        for axis in range(3):
            corners[k, 3 * place + axis] = vertices[vertex, axis] * vertices.dtype.type(factor)
    return True


@inlined()
def _touches(faces: Any, face: int, low: int, high: int, count: int) -> bool:
    """Whether a corner of the face is among vertices `low` to `high`, or does not exist."""
    for k in range(3):
        vertex = _corner(faces, face, k)
        if vertex - np.uint64(low) < np.uint64(high - low) or vertex >= np.uint64(count):
            return True
    return False


@inlined()
def _add_normals(corners: Any, normals: Any, faces: Any, found: Any, low: int, sums: Any) -> None:
    """Add the unscaled normals of a tile of faces to the sums of the vertices from `low` on."""
    p, q, r = corners[0], corners[1], corners[2]
    for i in range(found.size):
        _store(normals, i, triangle_cross(load(p, i), load(q, i), load(r, i)))
    for i in range(found.size):
        for k in range(3):
            vertex = _corner(faces, found[i], k) - np.uint64(low)
            if vertex < np.uint64(sums.shape[0]):
                for axis in range(3):
                    sums[vertex, axis] += normals[3 * i + axis]


def _room_factor(vertices: Any) -> Any:
    """The power of two by which coordinates are multiplied before normals are summed: 1 for float32."""


@by_type(_room_factor)
def _room_factor_by_dtype(vertices: Any) -> Any:
    def from_largest(vertices: Any) -> Any:
        largest = 0
        for i in range(vertices.shape[0]):
            for axis in range(3):
                magnitude = bits_of(vertices[i, axis]) & MAGNITUDE
                if magnitude < EXPONENT:
                    largest = max(largest, magnitude)
        return float_of(min(2 * BIAS + ROOM - (largest >> 52), 2 * BIAS) << 52)

    def one(vertices: Any) -> float:
        return 1.0

    return from_largest if vertices.dtype is types.float64 else one


@inlined()
def _store(flat: Any, i: int, vector: Any) -> None:
    """Vector i of packed ones."""
    flat[3 * i], flat[3 * i + 1], flat[3 * i + 2] = vector


@inlined()
def _unit_normals(p: Any, q: Any, r: Any, out: Any) -> None:
    """Normals of length 1 of the triangles whose corners are packed in p, q and r."""
    size = out.size
    if are_moderate(p[:size]) and are_moderate(q[:size]) and are_moderate(r[:size]):
        for i in range(size // 3):
            _store(out, i, unit(triangle_cross(load(p, i), load(q, i), load(r, i))))
    else:
        for i in range(size // 3):
            mantissas, exponents = far_triangle_cross(load(p, i), load(q, i), load(r, i))
            normal, _ = aligned(mantissas, exponents)
            _store(out, i, unit(normal))


@inlined()
def _raw_normals(p: Any, q: Any, r: Any, out: Any) -> None:
    """Normals as long as twice the area of each triangle."""
    size = out.size
    if are_moderate(p[:size]) and are_moderate(q[:size]) and are_moderate(r[:size]):
        for i in range(size // 3):
            _store(out, i, triangle_cross(load(p, i), load(q, i), load(r, i)))
    else:
        for i in range(size // 3):
            mantissas, exponents = far_triangle_cross(load(p, i), load(q, i), load(r, i))
            _store(out, i, scaled_by_powers(mantissas, exponents))


# --- Height fields ---------------------------------------------------------------------------------


@compiled()
def _grid_normals(z: Any, dx: Any, dy: float, out: Any, start: int, stop: int) -> tuple[int, int]:
    """Normals along rows start to stop, counted over all problems; no face is bad; the flags raised."""
    clear_flags()
    _, rows, columns = z.shape
    for each in range(start, stop):
        problem = each // rows
        row = each - problem * rows
        first, last = max(row - 1, 0), min(row + 1, rows - 1)
        _row_normals(
            contiguous_view(z[problem, first]),
            contiguous_view(z[problem, row]),
            contiguous_view(z[problem, last]),
            1 / np.float64(dx[row]),
            1 / (dy * (last - first)),
            out[3 * columns * each : 3 * columns * (each + 1)],
        )
    return NO_FACE, raised_flags()


@inlined()
def _row_normals(before: Any, row: Any, after: Any, per_x: float, per_y: float, out: Any) -> None:
    """Normals along a row: `per_x` and `per_y` are the inverse steps to its neighbours of both kinds."""
    last = row.size - 1
    for i in range(1, last):
        rise_x = (np.float64(row[i + 1]) - np.float64(row[i - 1])) * (0.5 * per_x)
        rise_y = (np.float64(after[i]) - np.float64(before[i])) * per_y
        _store(out, i, far_unit((-rise_x, -rise_y, 1.0)))
    for i, left in ((0, 0), (last, last - 1)):
        rise_x = (np.float64(row[left + 1]) - np.float64(row[left])) * per_x
        rise_y = (np.float64(after[i]) - np.float64(before[i])) * per_y
        _store(out, i, far_unit((-rise_x, -rise_y, 1.0)))
