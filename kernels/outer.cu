// Batched outer products.
//
//     out[p, i, j] = (alpha * a[p, i]) * b[p, j] + beta * out[p, i, j]        (the order of BLAS GER)
//
// a (outer, inner, m) and b (outer, inner, n) with any batch strides (0 repeats) and contiguous rows;
// out (outer, inner, m, n) contiguous, apart from both.  beta == 0 never reads out, and a factor of 1
// multiplies nothing, so that a plain product is rounded once and keeps complex infinities as NumPy does.
//
// Bytes moved: a, b and out once each (out twice with beta); a and b are reread n and m times, out of the
// caches.
//
// out is written as one flat array in 16-byte chunks, whatever n is: narrow rows leave no store half
// empty.  At 3.2 TB/s a multiprocessor of an H100 has time for 140 instructions of a warp for each 512
// bytes that one of its stores writes.  So positions are 32-bit numbers, divided by multiplying, and a
// thread asks for all that some chunks need before it uses any of it.  What they need is fetched
//
//   of long rows    with a chunk for each thread of a block: a thread keeps its chunk of b for many rows;
//   of whole rows   of a multiple of a chunk: one element of a, one aligned chunk of b;
//   of two rows     of at least a chunk, which holds the end of one and the start of another at most;
//   of many rows    of less than a chunk: element by element.
//
// Ideas tried, on an H100 in float32, all bytes counted, where a fill writes 3.28 TB/s and a triad moves 3.05:
//   a 64-bit counter of four digits for each chunk      0.58 at 8 x 8, 1.25 at 64 x 64, 1.42 at 16,384 x 16,384
//   this kernel                                         2.90, 2.89 and 3.22
//   2 chunks at once, 8                                 2.74 and 2.89 at 8 x 8: 4 are enough
//   blocks of 2, 4 and 8 tiles                          2.86 to 2.76 at 8 x 8; ragged rows gain 0.04 to 0.13
//   4, 5 and 6 blocks to a multiprocessor               1.99, 2.23 and 2.63 at 3 x 3; no difference for whole rows
//   __stcs                                              within 0.02
// What reads little beside what it writes stays near 2.9, as if it were a mix of reads and writes.
// To try: rows of less than two chunks by way of shared memory, since their stores wait for single loads.

constexpr int CHUNKS_AT_ONCE = 4;  // that a thread fetches together; half as many where out is read too
constexpr int THREADS = 256;
constexpr int BLOCKS_AT_ONCE = CHUNK > 8 ? 2 : CHUNK == 4 ? 6 : CHUNK == 2 ? 5 : 4;  // 128, 40, 48, 64 registers

// ---- Positions --------------------------------------------------------------------------------

// Takes the digits of one position after another below its value.  `carry` returns what the next digit gets.
template <class Integer>
struct divisor_t {
    Integer value;

    __device__ Integer carry(Integer& digit) const {
        const Integer quotient = divide(digit, value);
        digit -= quotient * value;
        return quotient;
    }
};

// The reciprocal is at most 1 below 2**32 / value, and so the estimate at most 1 below the quotient.
template <>
struct divisor_t<unsigned> {
    unsigned value, reciprocal;

    explicit __device__ divisor_t(unsigned value) : value(value), reciprocal(~0u / value) {}

    __device__ unsigned carry(unsigned& digit) const {
        const unsigned estimate = unsigned(static_cast<unsigned long long>(digit) * reciprocal >> 32);
        digit -= estimate * value;
        const bool is_below = digit >= value;
        digit -= is_below ? value : 0;
        return estimate + is_below;
    }
};

template <class Integer>
struct place_t {
    Integer problem, row, column;
};

struct operand_t {
    const scalar_t* start;
    index_t outer_stride, inner_stride;
};

template <class Integer>
struct outer_t {
    operand_t a, b;
    index_t outer_count;
    Integer inner_count;
    divisor_t<Integer> m, n;

    __device__ place_t<Integer> behind(place_t<Integer> at, Integer elements) const {
        at.column += elements;
        at.row += n.carry(at.column);
        at.problem += m.carry(at.row);
        return at;
    }

    __device__ place_t<Integer> place_of(index_t element) const {
        if (sizeof(Integer) == sizeof(index_t) || element >> 31 == 0) return behind({}, Integer(element));
        const index_t row = element / n.value, problem = row / m.value;
        return {Integer(problem), Integer(row - problem * m.value), Integer(element - row * n.value)};
    }

    __device__ place_t<Integer> next_row(place_t<Integer> at) const {
        at.column = 0;
        if (++at.row == m.value) {
            at.row = 0;
            ++at.problem;
        }
        return at;
    }

    __device__ const scalar_t* left(place_t<Integer> at) const { return vector(a, at.problem) + at.row; }

    __device__ const scalar_t* right(place_t<Integer> at) const { return vector(b, at.problem) + at.column; }

    __device__ const scalar_t* vector(operand_t operand, Integer problem) const {
        if (outer_count == 1) return operand.start + problem * operand.inner_stride;
        const Integer outer = problem / inner_count, inner = problem - outer * inner_count;
        return operand.start + outer * operand.outer_stride + inner * operand.inner_stride;
    }
};

// ---- The factors of a chunk -------------------------------------------------------------------

struct factors_t {
    scalar_t left[CHUNK];
    chunk_t right;
};

inline __device__ factors_t factors_of_row(scalar_t left, chunk_t right) {
    factors_t factors;
#pragma unroll
    for (int v = 0; v < CHUNK; ++v) factors.left[v] = left;
    factors.right = right;
    return factors;
}

struct whole_rows {
    static constexpr int AT_ONCE = CHUNKS_AT_ONCE;

    static __device__ factors_t factors(const outer_t<unsigned>& outer, place_t<unsigned> at) {
        return factors_of_row(*outer.left(at), load_chunk(outer.right(at)));
    }
};

struct two_rows {
    static constexpr int AT_ONCE = CHUNK > 4 ? 1 : 2;

    static __device__ factors_t factors(const outer_t<unsigned>& outer, place_t<unsigned> at) {
        const unsigned here = outer.n.value - at.column;
        // The last row has no successor to look up.
        const place_t<unsigned> next = here < CHUNK ? outer.next_row(at) : at;
        const scalar_t left = *outer.left(at), next_left = *outer.left(next);
        const scalar_t *right = outer.right(at), *next_right = outer.right(next) - here;
        factors_t factors;
#pragma unroll
        for (int v = 0; v < CHUNK; ++v) {
            factors.left[v] = v < here ? left : next_left;
            factors.right.values[v] = (v < here ? right : next_right)[v];
        }
        return factors;
    }
};

struct many_rows {
    static constexpr int AT_ONCE = 1;

    static __device__ factors_t factors(const outer_t<unsigned>& outer, place_t<unsigned> at) {
        factors_t factors;
#pragma unroll
        for (int v = 0; v < CHUNK; ++v) {
            // The last element of all has no successor to look up.
            if (v > 0 && ++at.column == outer.n.value) at = outer.next_row(at);
            factors.left[v] = *outer.left(at);
            factors.right.values[v] = *outer.right(at);
        }
        return factors;
    }
};

// ---- What is written --------------------------------------------------------------------------

template <bool READS_OUT>
struct writer_t {
    scalar_t* out;
    acc_t alpha, beta;

    static constexpr __device__ int at_once(int chunks) { return READS_OUT ? (chunks + 1) / 2 : chunks; }

    __device__ chunk_t previous(index_t element) const { return READS_OUT ? load_chunk(out + element) : chunk_t(); }

    __device__ acc_t scaled(acc_t factor, scalar_t value) const {
        return equals(factor, 1) ? to_sum(value) : multiply(factor, to_sum(value));
    }

    __device__ scalar_t entry(scalar_t left, scalar_t right, scalar_t previous) const {
        const acc_t product = multiply(scaled(alpha, left), to_sum(right));
        return to_stored(READS_OUT ? add(product, scaled(beta, previous)) : product);
    }

    __device__ void write_chunk(index_t element, const factors_t& factors, chunk_t previous) const {
        chunk_t result;
#pragma unroll
        for (int v = 0; v < CHUNK; ++v)
            result.values[v] = entry(factors.left[v], factors.right.values[v], previous.values[v]);
        store_chunk(out + element, result);
    }

    __device__ void write_element(index_t element, scalar_t left, scalar_t right) const {
        out[element] = entry(left, right, READS_OUT ? out[element] : scalar_t());
    }
};

// A tile is one chunk of AT_ONCE rows of a problem for each thread of the block.
template <bool READS_OUT>
inline __device__ void write_long_rows(const outer_t<index_t>& outer, const writer_t<READS_OUT>& writer,
                                       index_t problems) {
    constexpr int AT_ONCE = writer_t<READS_OUT>::at_once(CHUNKS_AT_ONCE);
    const index_t m = outer.m.value, n = outer.n.value, bands = (m + AT_ONCE - 1) / AT_ONCE;
    const index_t parts = divide(n / CHUNK + blockDim.x - 1, index_t(blockDim.x));
    counter_t<index_t, 3> tile = {{problems, bands, parts}, {}};
    for (index_t number = blockIdx.x; number < problems * bands * parts; number += gridDim.x) {
        tile.set(number);
        const place_t<index_t> at = {tile.digit[0], tile.digit[1] * AT_ONCE,
                                     (tile.digit[2] * blockDim.x + threadIdx.x) * CHUNK};
        if (at.column >= n) continue;
        const index_t first = (at.problem * m + at.row) * n + at.column;
        const int last = int(smaller(AT_ONCE, m - at.row)) - 1;
        const scalar_t* left = outer.left(at);
        const chunk_t right = load_chunk(outer.right(at));
        factors_t factors[AT_ONCE];
        chunk_t previous[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            const int row = k < last ? k : last;
            factors[k] = factors_of_row(left[row], right);
            previous[k] = writer.previous(first + row * n);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k)
            if (k <= last) writer.write_chunk(first + k * n, factors[k], previous[k]);
    }
}

// A tile is AT_ONCE chunks for each thread of the block.
template <class Rows, bool READS_OUT>
inline __device__ void write_chunks(const outer_t<unsigned>& outer, const writer_t<READS_OUT>& writer,
                                    chunks_t chunks) {
    constexpr int AT_ONCE = writer_t<READS_OUT>::at_once(Rows::AT_ONCE);
    const index_t tile = AT_ONCE * index_t(blockDim.x);
    for (index_t start = blockIdx.x * tile; start < chunks.count; start += gridDim.x * tile) {
        const index_t first = chunks.first + start * CHUNK;
        const place_t<unsigned> origin = outer.place_of(first);
        const int last = int(smaller(tile, chunks.count - start)) - 1;
        factors_t factors[AT_ONCE];
        chunk_t previous[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            // Past the end the last chunk is fetched again, so that no load waits behind a branch.
            const int chunk = k * blockDim.x + threadIdx.x, element = (chunk < last ? chunk : last) * CHUNK;
            factors[k] = Rows::factors(outer, outer.behind(origin, element));
            previous[k] = writer.previous(first + element);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            const int chunk = k * blockDim.x + threadIdx.x;
            if (chunk <= last) writer.write_chunk(first + chunk * CHUNK, factors[k], previous[k]);
        }
    }
}

// ---- The kernel -------------------------------------------------------------------------------

template <bool READS_OUT>
inline __device__ void write_products(const outer_t<index_t>& outer, const writer_t<READS_OUT>& writer) {
    const index_t problems = outer.outer_count * outer.inner_count, m = outer.m.value, n = outer.n.value;
    const index_t total = problems * m * n;
    const bool rows_are_whole = is_aligned(writer.out) && is_aligned(outer.b.start) &&
                                (n | outer.b.outer_stride | outer.b.inner_stride) % CHUNK == 0;
    chunks_t chunks = aligned_chunks(writer.out, total);

    if (rows_are_whole && n >= CHUNK * blockDim.x && m > 1) {
        write_long_rows(outer, writer, problems);
    } else if ((problems | m | n) >> 31) {
        chunks = {};
    } else {
        const outer_t<unsigned> narrow = {outer.a, outer.b, outer.outer_count, unsigned(outer.inner_count),
                                          divisor_t<unsigned>(m), divisor_t<unsigned>(n)};
        if (rows_are_whole)
            write_chunks<whole_rows>(narrow, writer, chunks);
        else if (n >= CHUNK)
            write_chunks<two_rows>(narrow, writer, chunks);
        else
            write_chunks<many_rows>(narrow, writer, chunks);
    }

    for (index_t k = thread_in_grid(); k < total - chunks.count * CHUNK; k += threads_in_grid()) {
        const index_t element = chunks.leftover(k);
        const place_t<index_t> at = outer.place_of(element);
        writer.write_element(element, *outer.left(at), *outer.right(at));
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE)
    batched_outer(const scalar_t* a, const scalar_t* b, scalar_t* out, index_t outer_count, index_t inner_count,
                  index_t m, index_t n, index_t a_outer_stride, index_t a_inner_stride, index_t b_outer_stride,
                  index_t b_inner_stride, acc_t alpha, acc_t beta) {
    const outer_t<index_t> outer = {{a, a_outer_stride, a_inner_stride},
                                    {b, b_outer_stride, b_inner_stride},
                                    outer_count,
                                    inner_count,
                                    {m},
                                    {n}};
    if (equals(beta, 0))
        write_products(outer, writer_t<false>{out, alpha, beta});
    else
        write_products(outer, writer_t<true>{out, alpha, beta});
}
