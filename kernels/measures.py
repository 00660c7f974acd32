"""Angles, areas and volumes of batched 3-vectors: the Numba twin of ``measures.cu``.

    vector_angle = atan2(|a × b|, a · b)            parallelogram_area = |a × b|
    triangle_area = |(b - a) × (c - a)| / 2         triple_product = a · (b × c)

Shapes: a, b and c hold an ``(outer_count, inner_count)`` batch of vectors of 3 components with any strides,
0 where one repeats; out is ``(outer_count, inner_count)``, C-contiguous.  Bytes moved:
``(6 or 9) * count * sizeof(scalar_t)`` in and ``count * sizeof(scalar_t)`` out.

One thread takes one pair or triple and strides over the grid.  float16 is computed in float32 and rounded
once.  The first three see their vectors times powers of two, so that nothing overflows or underflows on
the way, and a cross product with the errors of its products (see ``vectors``), so that angles near 0
and π and the areas of thin triangles keep their digits.  ``triple_product`` rounds each product and each
sum instead, as NumPy does, and wraps integers.
"""

import math

from numba import cuda

from .common import inlined, product
from .vectors import cross, dot, length, load, scaled, spanned, spanned_between


@inlined
def _vector_at(array, index, inner_count, outer_stride, inner_stride, component_stride):
    """Return one vector of a two-level batch."""
    outer = index // inner_count
    inner = index - outer * inner_count
    return load(array, outer * outer_stride + inner * inner_stride, component_stride)


@inlined
def _angle(a, b):
    """Angle of two vectors, whatever their lengths."""
    a, _ = scaled(a)
    b, _ = scaled(b)
    along = dot(a, b)
    # A zero vector may give -0, and atan2(0, -0) is π.
    return math.atan2(length(cross(a, b)), along if along != 0 else abs(along))


@inlined
def _parallelogram(a, b):
    """Area that two vectors span."""
    normal, root = spanned(a, b)
    return length(normal) / root / root


@inlined
def _triangle(p, q, r):
    """Area between three points."""
    normal, root = spanned_between(p, q, r)
    return length(normal) / (root + root) / root


@inlined
def _volume(a, b, c):
    """``a · (b × c)``, each product and each sum rounded by itself."""
    x = product(b[1], c[2]) - product(b[2], c[1])
    y = product(b[2], c[0]) - product(b[0], c[2])
    z = product(b[0], c[1]) - product(b[1], c[0])
    return product(a[0], x) + product(a[1], y) + product(a[2], z)


@cuda.jit
def vector_angle(
    a,
    b,
    c,
    out,
    outer_count,
    inner_count,
    a_outer_stride,
    a_inner_stride,
    a_component_stride,
    b_outer_stride,
    b_inner_stride,
    b_component_stride,
    c_outer_stride,
    c_inner_stride,
    c_component_stride,
):
    """Write the angle of each pair."""
    for index in range(cuda.grid(1), outer_count * inner_count, cuda.gridsize(1)):
        left = _vector_at(a, index, inner_count, a_outer_stride, a_inner_stride, a_component_stride)
        right = _vector_at(b, index, inner_count, b_outer_stride, b_inner_stride, b_component_stride)
        out[index] = _angle(left, right)


@cuda.jit
def parallelogram_area(
    a,
    b,
    c,
    out,
    outer_count,
    inner_count,
    a_outer_stride,
    a_inner_stride,
    a_component_stride,
    b_outer_stride,
    b_inner_stride,
    b_component_stride,
    c_outer_stride,
    c_inner_stride,
    c_component_stride,
):
    """Write the area that each pair spans."""
    for index in range(cuda.grid(1), outer_count * inner_count, cuda.gridsize(1)):
        left = _vector_at(a, index, inner_count, a_outer_stride, a_inner_stride, a_component_stride)
        right = _vector_at(b, index, inner_count, b_outer_stride, b_inner_stride, b_component_stride)
        out[index] = _parallelogram(left, right)


@cuda.jit
def triangle_area(
    a,
    b,
    c,
    out,
    outer_count,
    inner_count,
    a_outer_stride,
    a_inner_stride,
    a_component_stride,
    b_outer_stride,
    b_inner_stride,
    b_component_stride,
    c_outer_stride,
    c_inner_stride,
    c_component_stride,
):
    """Write the area of the triangle between each three points."""
    for index in range(cuda.grid(1), outer_count * inner_count, cuda.gridsize(1)):
        left = _vector_at(a, index, inner_count, a_outer_stride, a_inner_stride, a_component_stride)
        right = _vector_at(b, index, inner_count, b_outer_stride, b_inner_stride, b_component_stride)
        third = _vector_at(c, index, inner_count, c_outer_stride, c_inner_stride, c_component_stride)
        out[index] = _triangle(left, right, third)


@cuda.jit
def triple_product(
    a,
    b,
    c,
    out,
    outer_count,
    inner_count,
    a_outer_stride,
    a_inner_stride,
    a_component_stride,
    b_outer_stride,
    b_inner_stride,
    b_component_stride,
    c_outer_stride,
    c_inner_stride,
    c_component_stride,
):
    """Write the volume that each three vectors span."""
    for index in range(cuda.grid(1), outer_count * inner_count, cuda.gridsize(1)):
        left = _vector_at(a, index, inner_count, a_outer_stride, a_inner_stride, a_component_stride)
        right = _vector_at(b, index, inner_count, b_outer_stride, b_inner_stride, b_component_stride)
        third = _vector_at(c, index, inner_count, c_outer_stride, c_inner_stride, c_component_stride)
        out[index] = _volume(left, right, third)
