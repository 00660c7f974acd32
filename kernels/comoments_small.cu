// Sums of outer products of the columns of X and Y of many small problems, several of them a block: what
// comoments.cu computes, which gives each problem blocks of its own.
//
// `small_co_moments`, grid (blocks of problems), THREADS threads.  The rows of `problems_per_block` problems lie in
// shared memory, as acc_t, all at once:
//   1. copy: copy_async brings them there, or a thread that widens them;
//   2. centre: `column_lanes` neighbouring threads take a column of a problem.  They sum it less the row of greatest
//      weight, which lies no farther from the mean than the spread allows, and makes a constant column exactly 0;
//      subtract the mean so found; and sum what is left, the mean's rounding error;
//   3. products: `row_lanes` neighbouring threads take EDGE x EDGE entries of a problem's matrix, in registers, over
//      its rows by turns; their sums are added in the wider type, less the rank one that the error of the mean makes;
//   4. finish: the matrices take the place of the rows, and go out in one piece.
//
// The order of every sum follows from (n, p, q, types) alone: not from the problems beside it, nor from alignment
// or strides, which only change how X and Y reach shared memory.
//
// Bytes moved: X and Y once, results once.  Flops: n d² real, 4 n d² complex.
//
// Bank conflicts: a strip of EDGE numbers is 16 bytes, where a number has 4 or more, and rows lie an odd number of
// strips apart, so that the threads of an entry, each on its own row, meet in no bank.
//
// Tried on an H100, 100,000 problems of 32 rows of 4 + 1 columns of double, whose 128 MB are read in 43 µs, and a
// kernel like this one, of 64 registers, needs 95: the kernel of large problems, 5,200 µs, a block for each; columns
// staged in registers, which needs the shape when it is compiled, 66 µs; one thread an entry, 117 µs; means subtracted
// as products are formed, which keeps what was copied, 134 µs; ordinary loads in place of copy_async, the same; four
// rows at once, which spills on some GPUs, no faster than two.  Blocks of 8, 12 and 24 KB took 190 to 102 µs where 16
// KB took 95, but problems of more than 2 KB are faster by 25 % in blocks of 32 KB, two of which would otherwise have
// more threads than rows.

constexpr int EDGE = 16 / sizeof(acc_t) > 4 ? 4 : 16 / sizeof(acc_t);
constexpr int THREADS = 128;  // at most
constexpr int BLOCKS_AT_ONCE = 6;

// Whether numbers are stored as they are summed, and may be copied behind a thread's back.
constexpr bool IS_COPIED = sizeof(scalar_t) == sizeof(acc_t) && sizeof(scalar_t) >= 4;

extern __shared__ uint4 shared_memory[];

struct alignas(EDGE * sizeof(acc_t)) strip_t {
    acc_t values[EDGE];
};

inline __device__ int ratio_up(int x, int y) { return divide(x + y - 1, y); }

inline __device__ int pieces(int bytes) { return (bytes + 15) / 16; }

// Arrays of one problem after another, and what is wanted of them.
struct problems_t {
    int n, p, q;
    bool is_joint, is_centred, is_correlation, has_weight;
    double scale;

    __device__ int both() const { return p + q; }

    __device__ int rows() const { return is_joint ? both() : p; }

    __device__ int columns() const { return is_joint ? both() : q; }
};

// Where the numbers of a block's problems lie.
struct places_t {
    int pitch;                    // numbers from one row to the next
    int right;                    // column of a row that is the right factor's first
    int left_strips, right_strips;
    acc_t* values;                // (problems, n, pitch)
    real_t* weights;              // (problems, n)
    wide_t* matrices;             // (problems, rows, columns), in place of the two
    wide_t* offsets;              // (problems, p + q): sums of the columns, less the centre
    double* totals;               // (problems,)

    __device__ places_t(const problems_t& given, int count) {
        constexpr int REAL = sizeof(real_t), ACC = sizeof(acc_t), WIDE = sizeof(wide_t);
        left_strips = ratio_up(given.rows(), EDGE);
        right_strips = ratio_up(given.columns(), EDGE);
        right = given.is_joint ? 0 : left_strips * EDGE;
        pitch = ((given.is_joint ? left_strips : left_strips + right_strips) | 1) * EDGE;
        const int weights_place = pieces(count * given.n * pitch * ACC);
        const int rows_end = weights_place + (given.has_weight ? pieces(count * given.n * REAL) : 0);
        const int matrices_end = pieces(count * given.rows() * given.columns() * WIDE);
        const int offsets_place = int(larger(rows_end, matrices_end));
        values = reinterpret_cast<acc_t*>(shared_memory);
        weights = reinterpret_cast<real_t*>(shared_memory + weights_place);
        matrices = reinterpret_cast<wide_t*>(shared_memory);
        offsets = reinterpret_cast<wide_t*>(shared_memory + offsets_place);
        totals = reinterpret_cast<double*>(
            shared_memory + offsets_place + (given.is_centred ? pieces(count * given.both() * WIDE) : 0));
    }

    // Of the columns of [X Y], where Y begins.
    __device__ int of_y(const problems_t& given) const { return given.is_joint ? given.p : right; }
};

// ---- Copy -------------------------------------------------------------------------------------

// X or Y from the first problem of a block on.
struct source_t {
    input_pointer start;
    index_t problem_stride, row_stride, column_stride;
    int columns;

    __device__ input_pointer at(const counter_t<int, 3>& place, int width) const {
        return start + (place.digit[0] * problem_stride + place.digit[1] * row_stride +
                        place.digit[2] * width * column_stride);
    }

    // Whether its rows are whole chunks, aligned, also where they go.
    __device__ bool has_chunks(int offset) const {
        return column_stride == 1 && row_stride % CHUNK == 0 && problem_stride % CHUNK == 0 && columns % CHUNK == 0 &&
               offset % CHUNK == 0 && is_aligned(address_of(start));
    }
};

inline __device__ void copy_number(acc_t* place, input_pointer source) {
    if constexpr (IS_COPIED && sizeof(scalar_t) <= 8)
        copy_async_scalar(reinterpret_cast<scalar_t*>(place), reading(source, 1));
    else
        *place = to_sum(load(source));
}

inline __device__ void copy_chunk(acc_t* place, input_pointer source) {
    if constexpr (IS_COPIED) {
        copy_async(place, reading(source, CHUNK));
    } else {
        const chunk_t chunk = load_chunk(source);
#pragma unroll
        for (int v = 0; v < CHUNK; ++v) place[v] = to_sum(chunk.values[v]);
    }
}

// Brings the rows of `count` problems to shared memory, from column `offset` of a row on.
inline __device__ void copy_rows(const source_t& source, int count, int n, acc_t* values, int pitch, int offset) {
    const bool has_chunks = source.has_chunks(offset);
    const int width = has_chunks ? int(CHUNK) : 1, per_row = divide(source.columns, width);
    counter_t<int, 3> place = {{1, n, per_row}}, step = {{1, n, per_row}};
    place.set(threadIdx.x);
    step.set(blockDim.x);
#pragma unroll 4
    for (int i = threadIdx.x; i < count * n * per_row; i += blockDim.x) {
        acc_t* destination = values + ((place.digit[0] * n + place.digit[1]) * pitch + offset + place.digit[2] * width);
        if (has_chunks)
            copy_chunk(destination, source.at(place, width));
        else
            copy_number(destination, source.at(place, width));
        place.advance(step);
    }
}

// ---- Centre -----------------------------------------------------------------------------------

// A row that may be the one of greatest weight, the first of equals.
struct heaviest_t {
    real_t weight;
    int row;

    __device__ void consider(real_t other, int other_row) {
        if (!(other > weight || (other == weight && other_row < row))) return;
        weight = other;
        row = other_row;
    }
};

// A column of a problem, for one of the lanes that share it.
struct column_t {
    acc_t* values;
    const real_t* weights;
    int rows;  // 0 where there is no such problem
    int pitch, lane, lanes;
    bool has_weight;

    __device__ double weight() const {
        if (!has_weight) return rows;
        double sum = 0;
        for (int row = lane; row < rows; row += lanes) sum += conversion<double, real_t>::of(weights[row]);
        return add_neighbours(sum, lanes);
    }

    // The number in the row of greatest weight.
    __device__ acc_t heaviest() const {
        heaviest_t found = {real_t(-1), 0};
        for (int row = lane; row < rows && has_weight; row += lanes) found.consider(weights[row], row);
        for (int across = has_weight ? lanes / 2 : 0; across > 0; across /= 2) {
            const real_t weight = from_across(found.weight, across);
            found.consider(weight, from_across(found.row, across));
        }
        return rows > 0 ? values[found.row * pitch] : acc_t();
    }

    // The sum of the column less a number, which stays so where IS_KEPT.
    template <bool IS_KEPT>
    __device__ wide_t sum_less(acc_t centre) const {
        acc_t sum = acc_t();
#pragma unroll 4
        for (int row = lane; row < rows; row += lanes) {
            const acc_t distance = subtract(values[row * pitch], centre);
            if (IS_KEPT) values[row * pitch] = distance;
            sum = add(sum, has_weight ? scaled(weights[row], distance) : distance);
        }
        return add_neighbours(widened(sum), lanes);
    }
};

// Subtracts the means from all columns, and leaves sums and totals for the products to come.
inline __device__ void centre(const problems_t& given, const places_t& places, int count, int lanes, acc_t* means,
                              double* total) {
    const int both = given.both(), tasks = count * both * lanes;
    for (int i = threadIdx.x; i < ratio_up(tasks, int(blockDim.x)) * int(blockDim.x); i += blockDim.x) {
        const int task = divide(i, lanes), problem = divide(task, both), number = task - problem * both;
        const column_t column = {places.values + (problem * given.n * places.pitch + number),
                                 places.weights + problem * given.n, i < tasks ? given.n : 0, places.pitch,
                                 i - task * lanes, lanes, given.has_weight};
        const double weight = column.weight(), share = weight == 0 ? 0 : 1 / weight;
        const acc_t near = column.heaviest();
        const acc_t centre = narrowed(add(widened(near), scaled(share, column.sum_less<false>(near))));
        const wide_t offset = column.sum_less<true>(centre);
        if (i >= tasks || column.lane != 0) continue;
        places.offsets[task] = offset;
        means[task] = narrowed(add(widened(centre), scaled(share, offset)));
        if (number > 0) continue;
        places.totals[problem] = weight;
        total[problem] = weight;
    }
}

// ---- Products ---------------------------------------------------------------------------------

// A thread's entries, which it shares with its neighbours: the `lane`-th of them takes every `lanes`-th row.
struct patch_t {
    int problem, row, column, lane, lanes;
    acc_t entries[EDGE][EDGE];

    __device__ patch_t(const problems_t& given, const places_t& places, int row_lanes) {
        const int task = divide(int(threadIdx.x), row_lanes);
        const int of_problem = given.is_joint ? places.left_strips * (places.left_strips + 1) / 2
                                              : places.left_strips * places.right_strips;
        lane = int(threadIdx.x) - task * row_lanes;
        lanes = row_lanes;
        problem = divide(task, of_problem);
        int left = 0, right = task - problem * of_problem;
        for (int in_row = places.right_strips; right >= in_row; ++left) {
            right -= in_row;
            if (given.is_joint) --in_row;
        }
        row = left * EDGE;
        column = (given.is_joint ? left + right : right) * EDGE;
    }

    template <bool HAS_WEIGHT>
    __device__ void add_rows(const places_t& places, int n) {
        const acc_t* values = places.values + (problem * n + lane) * places.pitch;
        const real_t* weights = places.weights + problem * n;
#pragma unroll
        for (int i = 0; i < EDGE * EDGE; ++i) entries[i / EDGE][i % EDGE] = acc_t();
#pragma unroll 2
        for (int k = lane; k < n; k += lanes) {
            strip_t left = *reinterpret_cast<const strip_t*>(values + row);
            const strip_t right = *reinterpret_cast<const strip_t*>(values + places.right + column);
#pragma unroll
            for (int i = 0; i < EDGE; ++i) {
                if (HAS_WEIGHT) left.values[i] = scaled(weights[k], left.values[i]);
#pragma unroll
                for (int j = 0; j < EDGE; ++j)
                    entries[i][j] = add_product(entries[i][j], left.values[i], right.values[j]);
            }
            values += lanes * places.pitch;
        }
    }

    // Adds the entries over the lanes, and puts them into the problem's matrix.
    __device__ void store(const problems_t& given, const places_t& places, bool is_there) const {
        const wide_t* offsets = places.offsets + problem * given.both();
        const double total = is_there && given.is_centred ? places.totals[problem] : 0;
        const double share = total == 0 ? 0 : 1 / total;
        wide_t* matrix = places.matrices + problem * given.rows() * given.columns();
#pragma unroll
        for (int k = 0; k < EDGE * EDGE; ++k) {
            const int i = row + k / EDGE, j = column + k % EDGE;
            wide_t sum = add_neighbours(widened(entries[k / EDGE][k % EDGE]), lanes);
            if (!is_there || lane != 0 || i >= given.rows() || j >= given.columns()) continue;
            if (given.is_centred) sum = add_product(sum, scaled(-share, offsets[i]), offsets[j]);
            matrix[i * given.columns() + j] = sum;
        }
    }
};

// ---- Finish -----------------------------------------------------------------------------------

// The square root of a diagonal entry of the scaled matrix.
inline __device__ double deviation(const wide_t* matrix, int columns, int column, double scale) {
    return sqrt(scale * double(real_part(matrix[column * columns + column])));
}

// An entry that is asked for, out of a matrix that has those of the upper triangle.
inline __device__ wide_t finished(const problems_t& given, const wide_t* matrix, int row, int column) {
    const int columns = given.columns();
    const bool is_mirrored = given.is_joint && row > column;
    const wide_t entry = matrix[is_mirrored ? column * columns + row : row * columns + column];
    wide_t value = given.is_centred ? scaled(given.scale, entry) : conjugate(entry);
    if (given.is_joint && row == column) value = without_imaginary(value);
    if (given.is_correlation) {
        value = divided(value, deviation(matrix, columns, is_mirrored ? column : row, given.scale));
        value = clipped(divided(value, deviation(matrix, columns, is_mirrored ? row : column, given.scale)));
    }
    return is_mirrored ? conjugate(value) : value;
}

inline __device__ void finish(const problems_t& given, const places_t& places, int count, acc_t* out) {
    const int rows = given.rows(), columns = given.columns();
    counter_t<int, 3> place = {{1, rows, columns}}, step = {{1, rows, columns}};
    place.set(threadIdx.x);
    step.set(blockDim.x);
    for (int i = threadIdx.x; i < count * rows * columns; i += blockDim.x) {
        const wide_t* matrix = places.matrices + place.digit[0] * rows * columns;
        out[i] = narrowed(finished(given, matrix, place.digit[1], place.digit[2]));
        place.advance(step);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE)
small_co_moments(input_pointer X, input_pointer Y, const acc_t* weights, double* total, acc_t* means, acc_t* out,
                 index_t problems, index_t n, index_t p, index_t q, index_t x_problem_stride, index_t x_row_stride,
                 index_t x_column_stride, index_t y_problem_stride, index_t y_row_stride, index_t y_column_stride,
                 index_t problems_per_block, index_t row_lanes, index_t column_lanes, index_t is_joint,
                 index_t is_centred, index_t is_correlation, index_t has_weight, double scale) {
    const problems_t given = {int(n), int(p), int(q), is_joint != 0, is_centred != 0 && !IS_INTEGER,
                              is_correlation != 0, has_weight != 0, scale};
    const places_t places(given, int(problems_per_block));
    patch_t patch(given, places, int(row_lanes));
    for (index_t first = blockIdx.x * problems_per_block; first < problems; first += gridDim.x * problems_per_block) {
        const int count = int(smaller(problems_per_block, problems - first));
        copy_rows({X + first * x_problem_stride, x_problem_stride, x_row_stride, x_column_stride, given.p}, count,
                  given.n, places.values, places.pitch, 0);
        if (given.q > 0)
            copy_rows({Y + first * y_problem_stride, y_problem_stride, y_row_stride, y_column_stride, given.q}, count,
                      given.n, places.values, places.pitch, places.of_y(given));
        for (int i = threadIdx.x; given.has_weight && i < count * given.n; i += blockDim.x)
            places.weights[i] = real_part(weights[first * n + i]);
        commit_copies();
        wait_for_copies<0>();
        __syncthreads();
        if (given.is_centred) {
            centre(given, places, count, int(column_lanes), means + first * given.both(), total + first);
            __syncthreads();
        }
        const bool is_there = patch.problem < count;
        if (is_there && given.has_weight) patch.add_rows<true>(places, given.n);
        if (is_there && !given.has_weight) patch.add_rows<false>(places, given.n);
        __syncthreads();  // the rows have been read
        patch.store(given, places, is_there);
        __syncthreads();
        finish(given, places, count, out + first * given.rows() * given.columns());
        __syncthreads();  // before the next rows come
    }
}
