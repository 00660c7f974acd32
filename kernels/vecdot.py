"""Batched dot product: the Numba twin of ``vecdot.cu``.

    out[i] = sum over j of conj(a[i, j]) * b[i, j]

Shapes: a and b hold an ``(outer_count, inner_count)`` batch of vectors of ``length`` numbers with any
strides, 0 where a or b repeats; out is ``(outer_count, inner_count)``, C-contiguous.  Bytes moved:
``(2 * length + 1) * count * sizeof(scalar_t)``.

``lanes`` threads, a power of two, share a vector: lane l sums components l, l + lanes, ..., so that
neighbouring threads read neighbouring numbers, and ``fold_lanes`` adds the lanes.  A block takes as many
vectors at a time as it has threads for, and strides over the grid.  Sums are kept in the summing type and
follow from length and lanes alone.  Shared memory: one number of the summing type for each thread.

To try on a GPU: warp shuffles in place of shared memory, which the simulator lacks.
"""

from numba import cuda

from .common import fold_lanes, inlined, product, sum_dtype, widened


@inlined
def _sum_lane(a, a_start, a_step, b, b_start, b_step, first, length, lanes):
    """Sum components `first`, ``first + lanes``, ... of one vector."""
    total = sum_dtype(a).type(0)
    for i in range(first, length, lanes):
        left, right = widened(a[a_start + i * a_step]), widened(b[b_start + i * b_step])
        total += product(left.conjugate(), right)
    return total


@cuda.jit
def vecdot(
    a,
    b,
    out,
    outer_count,
    inner_count,
    length,
    a_outer_stride,
    a_inner_stride,
    a_component_stride,
    b_outer_stride,
    b_inner_stride,
    b_component_stride,
    lanes,
):
    """Write the dot product of each pair of vectors."""
    sums = cuda.shared.array(0, sum_dtype(a))
    vectors = cuda.blockDim.x // lanes
    slot = cuda.threadIdx.x // lanes
    lane = cuda.threadIdx.x - slot * lanes
    count = outer_count * inner_count
    for first in range(cuda.blockIdx.x * vectors, count, cuda.gridDim.x * vectors):
        vector = first + slot
        cuda.syncthreads()  # the sums of the round before have been read
        if vector < count:
            outer = vector // inner_count
            inner = vector - outer * inner_count
            a_start = outer * a_outer_stride + inner * a_inner_stride
            b_start = outer * b_outer_stride + inner * b_inner_stride
            sums[lane * vectors + slot] = _sum_lane(
                a, a_start, a_component_stride, b, b_start, b_component_stride, lane, length, lanes
            )
        fold_lanes(sums, lanes, vectors)
        if vector < count and lane == 0:
            out[vector] = sums[slot]
