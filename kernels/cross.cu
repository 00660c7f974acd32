// Batched cross products of 3-vectors.
//
//     out = (a1*b2 - a2*b1,  a2*b0 - a0*b2,  a0*b1 - a1*b0)
//
// Each product and each difference is rounded to the stored type, as NumPy rounds them, and nothing
// is contracted (common.cuh says why): a × a is exactly 0.
//
// out (count, 3) contiguous.  It may be a or b itself: whoever writes a vector has read it before; and no
// pointer is __restrict__.
//
// Bytes moved: a, b and out once each.
//
// A thread takes one vector, number by number.  Three loads of a warp touch the same lines one after another, and
// the L1 cache makes one read of memory of them, as the L2 cache makes one write of three stores.
//
// Ideas tried, on an H100; microseconds for 8, 1,000, 100,000 and 50,000,000 vectors of float32, where a triad
// takes 608 for the last:
//   this kernel                                                                   1.1   1.2   1.9   610
//   four vectors a thread, 16 bytes at a time in order by way of shared memory    1.6   1.9   2.5   608
//   blocks of 64 and 128 threads                                                  within the spread
// At 50,000,000: by warps; by cp.async; with __stcs; chunks straight from global memory, 48 bytes apart: no better,
// and 0.85 of it for the last.  In shared memory 1-byte numbers reach 0.98 of a triad, and here 0.63; 2-byte ones
// and wider lose nothing.

inline __device__ scalar_t product(scalar_t x, scalar_t y) { return to_stored(multiply(to_sum(x), to_sum(y))); }

inline __device__ scalar_t difference(scalar_t x, scalar_t y) { return to_stored(subtract(to_sum(x), to_sum(y))); }

inline __device__ vector_t cross_product(vector_t a, vector_t b) {
    return {difference(product(a.y, b.z), product(a.z, b.y)), difference(product(a.z, b.x), product(a.x, b.z)),
            difference(product(a.x, b.y), product(a.y, b.x))};
}

extern "C" __global__ void cross_contiguous(const scalar_t* a, const scalar_t* b, scalar_t* out, index_t count) {
#pragma unroll 1  // few calls come round again, and all would load more code
    for (index_t i = thread_in_grid(); i < count; i += threads_in_grid())
        store_vector(out + 3 * i, cross_product(load_vector(a + 3 * i, 1), load_vector(b + 3 * i, 1)));
}

extern "C" __global__ void cross_strided(const scalar_t* a, const scalar_t* b, scalar_t* out, index_t outer_count,
                                         index_t inner_count, index_t a_outer_stride, index_t a_inner_stride,
                                         index_t a_component_stride, index_t b_outer_stride, index_t b_inner_stride,
                                         index_t b_component_stride) {
    const index_t count = outer_count * inner_count;
    for (index_t i = thread_in_grid(); i < count; i += threads_in_grid()) {
        const index_t outer = divide(i, inner_count), inner = i - outer * inner_count;
        const vector_t left = load_vector(a + outer * a_outer_stride + inner * a_inner_stride, a_component_stride);
        const vector_t right = load_vector(b + outer * b_outer_stride + inner * b_inner_stride, b_component_stride);
        store_vector(out + 3 * i, cross_product(left, right));
    }
}
