"""Batched cross product of 3-vectors: the Numba twin of ``cross.cu``.

    out[i] = a[i] × b[i],    out[i, 0] = a[i, 1] b[i, 2] - a[i, 2] b[i, 1]    and cyclically

Shapes: a, b and out hold vectors of 3 components; ``cross_contiguous`` takes ``count`` of them end to
end, ``cross_strided`` an ``(outer_count, inner_count)`` batch with any strides, 0 where a or b
repeats.  Bytes moved: ``9 * count * sizeof(scalar_t)``, two reads and one write, the least there is.

One thread takes one vector and strides over the grid, so that any grid covers any batch.  All six
components are read before the first is written: out may be a or b itself.  Products are rounded
before they are subtracted (see ``common.product``), so that ``a × a`` is exactly 0.

Neighbouring threads share their cache lines; what else was tried says the ``.cu``.
"""

from numba import cuda

from .common import inlined, product


@inlined
def _cross_one(a, a_start, a_step, b, b_start, b_step, out, out_start):
    """Write the cross product of the vectors that start at ``a[a_start]`` and ``b[b_start]``."""
    a0, a1, a2 = a[a_start], a[a_start + a_step], a[a_start + 2 * a_step]
    b0, b1, b2 = b[b_start], b[b_start + b_step], b[b_start + 2 * b_step]
    out[out_start] = product(a1, b2) - product(a2, b1)
    out[out_start + 1] = product(a2, b0) - product(a0, b2)
    out[out_start + 2] = product(a0, b1) - product(a1, b0)


@cuda.jit
def cross_contiguous(a, b, out, count):
    """Cross `count` vectors that lie end to end in all three arrays."""
    for vector in range(cuda.grid(1), count, cuda.gridsize(1)):
        start = 3 * vector
        _cross_one(a, start, 1, b, start, 1, out, start)


@cuda.jit
def cross_strided(
    a,
    b,
    out,
    outer_count,
    inner_count,
    a_outer_stride,
    a_inner_stride,
    a_component_stride,
    b_outer_stride,
    b_inner_stride,
    b_component_stride,
):
    """Cross a two-level batch of vectors that lie at any strides into a contiguous `out`."""
    for vector in range(cuda.grid(1), outer_count * inner_count, cuda.gridsize(1)):
        outer = vector // inner_count
        inner = vector - outer * inner_count
        a_start = outer * a_outer_stride + inner * a_inner_stride
        b_start = outer * b_outer_stride + inner * b_inner_stride
        _cross_one(a, a_start, a_component_stride, b, b_start, b_component_stride, out, 3 * vector)
