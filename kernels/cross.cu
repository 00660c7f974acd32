// Batched cross products of 3-vectors.
//
//     out = (a1*b2 - a2*b1,  a2*b0 - a0*b2,  a0*b1 - a1*b0)
//
// Each product and each difference is rounded to the stored type, as NumPy rounds them, and nothing
// is contracted (common.cuh says why): a × a is exactly 0.
//
// out (count, 3) contiguous.  It may be a or b itself: whoever writes a vector has read it, and all else
// that lies in its tile, before; and no pointer is __restrict__.
//
// Bytes moved: a, b and out once each.
//
// In `cross_contiguous` a thread takes as many vectors as a chunk has elements (4 of a 4-byte type),
// which are exactly three chunks of each operand.  Those lie 48 bytes apart from thread to thread, and so
// a block moves its chunks between global and shared memory in the order in which they lie there: each
// access of a warp is 512 bytes in a row.  In shared memory 48 bytes are 12 banks of 32, and the eight
// threads that are served at once meet none twice.
//
// Ideas tried, on an H100 at 50,000,000 float32, where a triad moves 3.05 TB/s and torch's kernel as much:
//   staged, blocks of 64 to 512 threads; by warps; by cp.async; with __stcs      3.03 to 3.05
//   chunks straight from and to global memory, 48 bytes apart                    2.59
//   staging out alone, in alone                                                  3.05, 3.02
//   a vector a thread, by single numbers, which the L1 cache puts together       3.06
// To try: that last one, which needs no shared memory, for narrower numbers too.

extern __shared__ uint4 shared_memory[];

inline __device__ scalar_t product(scalar_t x, scalar_t y) { return to_stored(multiply(to_sum(x), to_sum(y))); }

inline __device__ scalar_t difference(scalar_t x, scalar_t y) { return to_stored(subtract(to_sum(x), to_sum(y))); }

inline __device__ vector_t cross_product(vector_t a, vector_t b) {
    return {difference(product(a.y, b.z), product(a.z, b.y)), difference(product(a.z, b.x), product(a.x, b.z)),
            difference(product(a.x, b.y), product(a.y, b.x))};
}

inline __device__ group_t cross_product(group_t a, group_t b) {
    group_t result;
#pragma unroll
    for (int v = 0; v < CHUNK; ++v) result.vectors[v] = cross_product(a.vectors[v], b.vectors[v]);
    return result;
}

// Vectors before the first one from which 16-byte accesses can serve all three arrays; or `count`.
inline __device__ index_t vectors_before_groups(const scalar_t* a, const scalar_t* b, const scalar_t* out,
                                                index_t count) {
    for (index_t first = 0; first < CHUNK && first < count; ++first)
        if (is_aligned(a + 3 * first) && is_aligned(b + 3 * first) && is_aligned(out + 3 * first)) return first;
    return count;
}

// The chunks of so many threads' groups; thread t moves every blockDim.x-th of them from the t-th on.
struct tile_t {
    int chunks;

    __device__ group_t fetch(const scalar_t* source) const {
        group_t fetched = {};
#pragma unroll
        for (int c = 0; c < 3; ++c)
            if (place(c) < chunks) fetched.chunks[c] = load_chunk(source + place(c) * CHUNK);
        return fetched;
    }

    __device__ void stage(chunk_t* staged, group_t fetched) const {
#pragma unroll
        for (int c = 0; c < 3; ++c)
            if (place(c) < chunks) staged[place(c)] = fetched.chunks[c];
    }

    __device__ void write(scalar_t* destination, const chunk_t* staged) const {
#pragma unroll
        for (int c = 0; c < 3; ++c)
            if (place(c) < chunks) store_chunk(destination + place(c) * CHUNK, staged[place(c)]);
    }

    static __device__ int place(int c) { return c * blockDim.x + threadIdx.x; }
};

extern "C" __global__ void cross_contiguous(const scalar_t* a, const scalar_t* b, scalar_t* out, index_t count) {
    const index_t before = vectors_before_groups(a, b, out, count);
    const index_t groups = (count - before) / CHUNK;
    chunk_t* const left = reinterpret_cast<chunk_t*>(shared_memory);
    chunk_t* const right = left + 3 * blockDim.x;
    group_t* const own_left = reinterpret_cast<group_t*>(left) + threadIdx.x;
    const group_t* const own_right = reinterpret_cast<const group_t*>(right) + threadIdx.x;
    for (index_t first = index_t(blockIdx.x) * blockDim.x; first < groups; first += threads_in_grid()) {
        const index_t start = 3 * (before + first * CHUNK);
        const tile_t tile = {3 * int(smaller(blockDim.x, groups - first))};
        const group_t fetched_left = tile.fetch(a + start), fetched_right = tile.fetch(b + start);
        tile.stage(left, fetched_left);
        tile.stage(right, fetched_right);
        __syncthreads();
        *own_left = cross_product(*own_left, *own_right);  // behind the last group, of what nobody reads
        __syncthreads();
        tile.write(out + start, left);
    }
    for (index_t k = thread_in_grid(); k < count - groups * CHUNK; k += threads_in_grid()) {
        const index_t start = 3 * (k < before ? k : k + groups * CHUNK);
        store_vector(out + start, cross_product(load_vector(a + start, 1), load_vector(b + start, 1)));
    }
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
