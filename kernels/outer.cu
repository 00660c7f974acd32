// Batched outer products.
//
//     out[p, i, j] = (alpha * a[p, i]) * b[p, j] + beta * out[p, i, j]        (the order of BLAS GER)
//
// a (outer, inner, m) and b (outer, inner, n) with any batch strides (0 repeats) and contiguous rows;
// out (outer, inner, m, n) contiguous.  beta == 0 never reads out, and a factor of 1 multiplies
// nothing, so that a plain product is rounded once and keeps complex infinities as NumPy does.
//
// Bytes moved: out once (twice with beta); a and b come out of the caches, since each is reread n or
// m times within a short while.
//
// out is written as one flat array in 16-byte chunks, whatever n is: narrow rows leave no store
// half empty.  The position of a chunk is kept as digits, because dividing for each chunk would cost
// more instructions than the stores leave time for.
//
// To try on a GPU: 8-byte stores and __stcs; b in registers for rows of at least a warp of chunks.

struct outer_t {
    const scalar_t *a, *b;
    index_t a_outer_stride, a_inner_stride, b_outer_stride, b_inner_stride;
    acc_t alpha, beta;

    // `at` counts (outer, inner, i, j).
    __device__ acc_t left(const counter_t<index_t, 4>& at) const {
        const index_t row = at.digit[0] * a_outer_stride + at.digit[1] * a_inner_stride;
        return scaled(alpha, a[row + at.digit[2]]);
    }

    __device__ const scalar_t* right(const counter_t<index_t, 4>& at) const {
        return b + at.digit[0] * b_outer_stride + at.digit[1] * b_inner_stride + at.digit[3];
    }

    __device__ scalar_t entry(acc_t left, scalar_t right, scalar_t previous) const {
        const acc_t product = multiply(left, to_sum(right));
        return to_stored(equals(beta, 0) ? product : add(product, scaled(beta, previous)));
    }

    static __device__ acc_t scaled(acc_t factor, scalar_t value) {
        return equals(factor, 1) ? to_sum(value) : multiply(factor, to_sum(value));
    }
};

// One chunk of out; `previous` holds what was there where beta asks for it.
inline __device__ chunk_t outer_chunk(const outer_t& outer, counter_t<index_t, 4> at, chunk_t previous) {
    chunk_t result;
    if (at.digit[3] + CHUNK <= at.radix[3]) {
        const acc_t left = outer.left(at);
        const chunk_t right = load_unaligned_chunk(outer.right(at));
#pragma unroll
        for (int v = 0; v < CHUNK; ++v) result.values[v] = outer.entry(left, right.values[v], previous.values[v]);
        return result;
    }
    const counter_t<index_t, 4> one = {{}, {0, 0, 0, 1}};
#pragma unroll
    for (int v = 0; v < CHUNK; ++v) {
        result.values[v] = outer.entry(outer.left(at), *outer.right(at), previous.values[v]);
        // The last element of all has no successor to look up.
        if (v + 1 < CHUNK) at.advance(one);
    }
    return result;
}

extern "C" __global__ void batched_outer(const scalar_t* a, const scalar_t* b, scalar_t* out, index_t outer_count,
                                         index_t inner_count, index_t m, index_t n, index_t a_outer_stride,
                                         index_t a_inner_stride, index_t b_outer_stride, index_t b_inner_stride,
                                         acc_t alpha, acc_t beta) {
    const outer_t outer = {a, b, a_outer_stride, a_inner_stride, b_outer_stride, b_inner_stride, alpha, beta};
    const bool reads_out = !equals(beta, 0);
    const index_t total = outer_count * inner_count * m * n;
    const chunks_t chunks = aligned_chunks(out, total);

    counter_t<index_t, 4> at = {{outer_count, inner_count, m, n}, {}}, step = at;
    at.set(chunks.first + thread_in_grid() * CHUNK);
    step.set(threads_in_grid() * CHUNK);
    for (index_t chunk = thread_in_grid(); chunk < chunks.count; chunk += threads_in_grid()) {
        scalar_t* destination = out + chunks.first + chunk * CHUNK;
        chunk_t previous = {};
        if (reads_out) previous = load_chunk(destination);
        store_chunk(destination, outer_chunk(outer, at, previous));
        at.advance(step);
    }

    for (index_t k = thread_in_grid(); k < total - chunks.count * CHUNK; k += threads_in_grid()) {
        const index_t element = chunks.leftover(k);
        at.set(element);
        const scalar_t previous = reads_out ? out[element] : scalar_t();
        out[element] = outer.entry(outer.left(at), *outer.right(at), previous);
    }
}
