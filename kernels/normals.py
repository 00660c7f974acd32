"""Normals of meshes and of height fields: the Numba twin of ``normals.cu``.

    face_normals:    out[b, f] = (q - p) × (r - p) of the corners p, q, r of face f; of length 1 where is_unit
    vertex_normals:  out[b, v] = sum of (q - p) × (r - p) over the corners at v, scaled to length 1
    grid_normals:    out[b, i, j] = (-∂z/∂x, -∂z/∂y, 1), scaled to length 1

Shapes: vertices ``(batch, vertex_count, 3)`` and z ``(batch, rows, columns)`` with any strides; faces
``(face_count, 3)``; order ``(3 * face_count,)``; dx ``(rows,)``; out with a last axis of 3.  Bytes moved:
out once; z, or faces and order, once; three vertices for each face (in vertex_normals for each of its
corners), mostly out of the cache.

One thread takes one face, vertex or grid point of one problem of the batch and strides over the grid.
A vertex finds its corners by a search in order, where they lie side by side in the order of faces: sums
are the same on every run, as atomic additions' would not be.  They are kept in double.

A face with an index out of range is skipped, and the first such face is reported.  Numba knows the type of
faces itself: is_wide is not read.
"""

from numba import cuda, float64

from .common import inlined, place_of, sum_dtype, widened
from .vectors import cross, difference, load, quotient, spanned_between, unit

# ---- Meshes -------------------------------------------------------------------------------------


@inlined
def _is_in_range(faces, face, vertex_count):
    """Whether all three corners of a face are vertices."""
    low = min(faces[3 * face], faces[3 * face + 1], faces[3 * face + 2])
    high = max(faces[3 * face], faces[3 * face + 1], faces[3 * face + 2])
    return low >= 0 and high < vertex_count


@inlined
def _corners(vertices, first, faces, face, vertex_stride, component_stride):
    """Three points of a face, of the problem whose vertices begin at `first`."""
    return (
        load(vertices, first + faces[3 * face] * vertex_stride, component_stride),
        load(vertices, first + faces[3 * face + 1] * vertex_stride, component_stride),
        load(vertices, first + faces[3 * face + 2] * vertex_stride, component_stride),
    )


@inlined
def _face_normal(p, q, r, is_unit):
    """Normal of a triangle, of length 1 or as long as twice its area; zeros for zeros."""
    normal, root = spanned_between(p, q, r)
    return unit(normal) if is_unit else quotient(quotient(normal, root), root)


@inlined
def _write(out, index, vector):
    """Write the vector of number `index`."""
    out[3 * index], out[3 * index + 1], out[3 * index + 2] = vector


@cuda.jit
def face_normals(
    vertices,
    faces,
    out,
    first_bad,
    batch,
    vertex_count,
    face_count,
    vertex_batch_stride,
    vertex_stride,
    vertex_component_stride,
    is_wide,
    is_unit,
):
    """Write the normal of each face; faces are looked at even where the batch is empty."""
    for index in range(cuda.grid(1), max(batch, 1) * face_count, cuda.gridsize(1)):
        problem = index // face_count
        face = index - problem * face_count
        if not _is_in_range(faces, face, vertex_count):
            cuda.atomic.min(first_bad, 0, face)
        elif batch > 0:
            first = problem * vertex_batch_stride
            p, q, r = _corners(vertices, first, faces, face, vertex_stride, vertex_component_stride)
            _write(out, index, _face_normal(p, q, r, is_unit != 0))


@inlined
def _in_double(a):
    """Return the vector in double."""
    return float64(a[0]), float64(a[1]), float64(a[2])


@cuda.jit
def vertex_normals(
    vertices,
    faces,
    order,
    out,
    first_bad,
    batch,
    vertex_count,
    face_count,
    vertex_batch_stride,
    vertex_stride,
    vertex_component_stride,
    is_wide,
):
    """Write the normal at each vertex; faces are looked at even where there is no vertex."""
    corner_count = 3 * face_count
    for face in range(cuda.grid(1), face_count, cuda.gridsize(1)):
        if not _is_in_range(faces, face, vertex_count):
            cuda.atomic.min(first_bad, 0, face)
    for index in range(cuda.grid(1), batch * vertex_count, cuda.gridsize(1)):
        problem = index // vertex_count
        vertex = index - problem * vertex_count
        x, y, z = float64(0), float64(0), float64(0)
        place = place_of(vertex, faces, order, 0, corner_count, False)
        while place < corner_count and faces[order[place]] == vertex:
            face = order[place] // 3
            if _is_in_range(faces, face, vertex_count):
                first = problem * vertex_batch_stride
                p, q, r = _corners(vertices, first, faces, face, vertex_stride, vertex_component_stride)
                origin = _in_double(p)
                normal = cross(difference(_in_double(q), origin), difference(_in_double(r), origin))
                x, y, z = x + normal[0], y + normal[1], z + normal[2]
            place += 1
        _write(out, index, unit((x, y, z)))


# ---- Height fields ------------------------------------------------------------------------------


@inlined
def _fall(z, start, position, count, stride, step):
    """Negative derivative along one axis at `position`; ``z[start]`` is the height there."""
    before = start - stride if position > 0 else start
    after = start + stride if position < count - 1 else start
    is_inside = 0 < position < count - 1
    return (widened(z[before]) - widened(z[after])) / (step + step if is_inside else step)


@cuda.jit
def grid_normals(z, dx, out, batch, rows, columns, z_batch_stride, z_row_stride, z_column_stride, dy):
    """Write the normal at each point of a grid."""
    real = sum_dtype(z).type
    for index in range(cuda.grid(1), batch * rows * columns, cuda.gridsize(1)):
        line = index // columns
        problem = line // rows
        row = line - problem * rows
        column = index - line * columns
        start = problem * z_batch_stride + row * z_row_stride + column * z_column_stride
        along_x = _fall(z, start, column, columns, z_column_stride, dx[row])
        along_y = _fall(z, start, row, rows, z_row_stride, real(dy))
        _write(out, index, unit((along_x, along_y, real(1))))
