// Gradient, proximal step and loss of linear regression, in one read of X.
//
//     r = (X - x_offset) w - y        G = (X - x_offset)^T (s * r)        Q = sum s r^2        W = sum s
//     gradient = G / W + l2 w         step = soft_threshold(w - rate * gradient, rate * l1)
//     loss = Q / (2 W) + l1 |w|_1 + l2 / 2 |w|^2
//
// X (problems, n, d) with any strides; y (problems, n, k), or (problems, n, 1) for k models that share
// it; w and out (problems, d, k); sample_weight (problems, n); x_offset (problems, d); loss (problems, k).
//
// `linreg_partials`, grid (problems, blocks of rows), cuts a block's rows into tiles.  For each tile:
//   1. stage: X goes to shared memory, once, as acc_t, less the offset;
//   2. for each group of 8, 4, 2 or 1 models (the largest that is left):
//      a. dot: `lanes` threads a row, lane l sums columns l, l + lanes, ...; fold_lanes adds the lanes;
//      b. residuals: r and s * r of each (row, model);
//      c. columns: a thread sums x * s * r over rows g, g + groups, ... of one column; column d holds
//         r * s * r, and column d + 1 holds s.  The tile's sum, in acc_t, is added to a double.
// At the end fold_lanes adds the groups.  `linreg_finish`, grid (problems, outputs), adds the blocks in
// double, lane l of an output taking blocks l, l + lanes, ...
//
// The order of every sum follows from (n, d, k, types) alone: not from the grid, nor from the number of
// threads, alignment or strides, which only change how X reaches shared memory.
//
// Shared memory: tile, double sums, lanes, weights; `layout_t` applies the rule that the host applies in
// linreg_geometry.  Where a single row does not fit, X is read in 2a and again, out of the cache, in 2c;
// where the sums do not fit, the block keeps them in its own row of `partials`.  Same order, same bits.
//
// Bytes moved: X once; y, s and w (per tile, out of the cache); partials, at most 1/64 of X, twice.
// Bank conflicts: none in 2a and 2c, by the pitch of a tile's rows (row_pitch in the host module).
//
// Rows that the registers of a block hold are read four times as fast by linreg_lanes.cu.
//
// To try on a GPU: a ring of asynchronous copies; w in shared memory.

constexpr index_t SHARED_LIMIT = 65536;  // what every GPU since compute capability 7.5 grants a block
constexpr index_t LANES_PER_TILE = 256;
constexpr index_t COLUMN_SLOTS = 256;
constexpr int LOADS_IN_FLIGHT = 4;
constexpr int THREADS = 256;
// Blocks that share a multiprocessor: the most for which NVRTC 13 spills no register.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
constexpr int BLOCKS_AT_ONCE = sizeof(scalar_t) == 4 && sizeof(acc_t) == 4 ? 3 : 2;
#else
constexpr int BLOCKS_AT_ONCE = 2;
#endif

extern __shared__ uint4 shared_memory[];

// ---- Layout of shared memory ------------------------------------------------------------------

struct layout_t {
    int rows_per_tile, lanes, groups, pitch;
    index_t width;
    bool is_staged, has_shared_sums;
    acc_t *tile, *scratch, *weights;
    double* sums;
};

inline __device__ index_t row_pitch(index_t d, index_t lanes) {
    const index_t unit = smaller(lanes, 32);
    return (((d + unit - 1) / unit) | 1) * unit;
}

inline __device__ int row_groups(index_t d, index_t rows_per_tile) {
    int groups = 1;
    while (2 * groups <= rows_per_tile && 2 * groups * (d + 2) <= COLUMN_SLOTS) groups *= 2;
    return groups;
}

inline __device__ index_t largest_model_group(index_t models) {
    return models >= 8 ? 8 : models >= 4 ? 4 : models >= 2 ? 2 : 1;
}

inline __device__ layout_t make_layout(index_t d, index_t k, index_t rows_per_tile) {
    layout_t layout;
    layout.rows_per_tile = int(rows_per_tile);
    layout.lanes = int(larger(1, LANES_PER_TILE / rows_per_tile));
    const index_t pitch = row_pitch(d, layout.lanes);  // int holds it where the tile is staged
    layout.pitch = int(pitch);
    layout.groups = row_groups(d, rows_per_tile);
    layout.width = d * k + k + 1;

    const index_t scratch = rows_per_tile * larger(layout.lanes, 2) * largest_model_group(k);
    index_t bytes = (scratch + rows_per_tile) * sizeof(acc_t);
    const index_t tile_bytes = rows_per_tile * pitch * sizeof(acc_t);
    layout.is_staged = bytes + tile_bytes <= SHARED_LIMIT;
    bytes += layout.is_staged ? tile_bytes : 0;
    const index_t row_of_sums = layout.width * sizeof(double);
    while (layout.groups > 1 && bytes + layout.groups * row_of_sums > SHARED_LIMIT) layout.groups /= 2;
    layout.has_shared_sums = bytes + layout.groups * row_of_sums <= SHARED_LIMIT;

    layout.tile = reinterpret_cast<acc_t*>(shared_memory);
    layout.sums = reinterpret_cast<double*>(layout.tile + (layout.is_staged ? rows_per_tile * layout.pitch : 0));
    const index_t shared_sums = layout.has_shared_sums ? layout.groups * layout.width : 0;
    layout.scratch = reinterpret_cast<acc_t*>(layout.sums + shared_sums);
    layout.weights = layout.scratch + scratch;
    return layout;
}

// ---- Stage ------------------------------------------------------------------------------------

// A chunk of X, centred and converted.
union staged_t {
    uint4 bits[CHUNK * sizeof(acc_t) / sizeof(uint4)];
    acc_t values[CHUNK];
};

// `at` counts (row, column) in the tile.
inline __device__ void stage_chunk(const problem_t& problem, const layout_t& layout, counter_t<int, 2> at,
                                   chunk_t chunk) {
    acc_t* destination = layout.tile + at.digit[0] * layout.pitch + at.digit[1];
    if (at.digit[1] + CHUNK <= problem.d && is_aligned(destination)) {
        staged_t staged;
#pragma unroll
        for (int v = 0; v < CHUNK; ++v) staged.values[v] = problem.centred(chunk.values[v], at.digit[1] + v);
#pragma unroll
        for (int i = 0; i < int(sizeof(staged_t) / sizeof(uint4)); ++i)
            reinterpret_cast<uint4*>(destination)[i] = staged.bits[i];
        return;
    }
    const counter_t<int, 2> one = {{}, {0, 1}};
#pragma unroll
    for (int v = 0; v < CHUNK; ++v) {
        layout.tile[at.digit[0] * layout.pitch + at.digit[1]] = problem.centred(chunk.values[v], at.digit[1]);
        at.advance(one);
    }
}

// Rows that follow one another without a gap are one flat range.
inline __device__ void stage_flat(const problem_t& problem, const layout_t& layout, index_t first_row, int rows) {
    const input_pointer source = problem.x(first_row, 0);
    const int d = int(problem.d), total = rows * d;
    const chunks_t chunks = aligned_chunks(address_of(source), total);
    const int first = int(chunks.first), count = int(chunks.count);

    counter_t<int, 2> at = {{rows, d}, {}}, step = at;
    at.set(first + threadIdx.x * CHUNK);
    step.set(blockDim.x * CHUNK);
    for (int start = threadIdx.x; start < count; start += LOADS_IN_FLIGHT * blockDim.x) {
        chunk_t loaded[LOADS_IN_FLIGHT];  // all are asked for before the first is needed
#pragma unroll
        for (int i = 0; i < LOADS_IN_FLIGHT; ++i) {
            const int chunk = start + i * int(blockDim.x);
            if (chunk < count) loaded[i] = load_chunk(source + (first + chunk * CHUNK));
        }
#pragma unroll
        for (int i = 0; i < LOADS_IN_FLIGHT; ++i) {
            if (start + i * int(blockDim.x) < count) stage_chunk(problem, layout, at, loaded[i]);
            at.advance(step);
        }
    }

    for (int k = threadIdx.x; k < total - count * CHUNK; k += blockDim.x) {
        const int element = int(chunks.leftover(k));
        at.set(element);
        layout.tile[at.digit[0] * layout.pitch + at.digit[1]] = problem.centred(load(source + element), at.digit[1]);
    }
}

// Neighbouring threads run along whichever axis has the smaller stride.
inline __device__ void stage_strided(const problem_t& problem, const layout_t& layout, index_t first_row,
                                     int rows) {
    const bool along_rows = llabs(problem.row_stride) < llabs(problem.column_stride);
    const int d = int(problem.d), fast_count = along_rows ? rows : d;
    for (int i = threadIdx.x; i < rows * d; i += blockDim.x) {
        const int slow = divide(i, fast_count), fast = i - slow * fast_count;
        const int row = along_rows ? fast : slow, column = along_rows ? slow : fast;
        layout.tile[row * layout.pitch + column] = problem.centred(load(problem.x(first_row + row, column)), column);
    }
}

inline __device__ void stage(const problem_t& problem, const layout_t& layout, index_t first_row, int rows) {
    for (index_t row = threadIdx.x; row < rows; row += blockDim.x)
        layout.weights[row] = problem.weight(first_row + row);
    if (layout.is_staged) {
        if (problem.row_stride == problem.d && problem.column_stride == 1)
            stage_flat(problem, layout, first_row, rows);
        else
            stage_strided(problem, layout, first_row, rows);
    }
    __syncthreads();
}

// ---- Dot, residuals, columns ------------------------------------------------------------------

template <bool IS_STAGED>
inline __device__ acc_t x_at(const problem_t& problem, const layout_t& layout, index_t first_row, index_t row,
                             index_t column) {
    if (IS_STAGED) return layout.tile[row * layout.pitch + column];
    return problem.centred(load(problem.x(first_row + row, column)), column);
}

// scratch (lanes, rows, MODELS) receives the dot products by lane.
template <int MODELS, bool IS_STAGED>
inline __device__ void dot_rows(const problem_t& problem, const layout_t& layout, index_t first_row, int rows,
                                index_t first_model) {
    for (int task = threadIdx.x; task < rows * layout.lanes; task += blockDim.x) {
        const int row = task / layout.lanes, lane = task % layout.lanes;
        acc_t dot[MODELS] = {};
        for (index_t column = lane; column < problem.d; column += layout.lanes) {
            const acc_t x = x_at<IS_STAGED>(problem, layout, first_row, row, column);
            const acc_t* w = problem.coefficients(column, first_model);
#pragma unroll
            for (int m = 0; m < MODELS; ++m) dot[m] = fma(x, w[m], dot[m]);
        }
#pragma unroll
        for (int m = 0; m < MODELS; ++m) layout.scratch[(lane * rows + row) * MODELS + m] = dot[m];
    }
    fold_lanes(layout.scratch, layout.lanes, rows * MODELS);
}

// residuals (rows, MODELS) stand where the dot products stood, and s * r right after them.
template <int MODELS>
inline __device__ void subtract_targets(const problem_t& problem, const layout_t& layout, index_t first_row,
                                        int rows, index_t first_model) {
    acc_t* residuals = layout.scratch;
    acc_t* weighted = layout.scratch + rows * MODELS;
    for (int i = threadIdx.x; i < rows * MODELS; i += blockDim.x) {
        const int row = i / MODELS, model = i % MODELS;
        residuals[i] -= problem.target(first_row + row, first_model + model);
        weighted[i] = layout.weights[row] * residuals[i];
    }
    __syncthreads();
}

template <int MODELS, bool IS_STAGED>
inline __device__ void add_columns(const problem_t& problem, const layout_t& layout, index_t first_row, int rows,
                                   index_t first_model) {
    const acc_t* residuals = layout.scratch;
    const acc_t* weighted = layout.scratch + rows * MODELS;
    const bool sums_weights = first_model == 0;  // once a tile, not once a group of models
    const index_t columns = problem.d + (sums_weights ? 2 : 1);
    for (index_t slot = threadIdx.x; slot < layout.groups * columns; slot += blockDim.x) {
        const index_t group = divide(slot, columns), column = slot - group * columns;
        acc_t sum[MODELS] = {};
        for (int row = int(group); row < rows; row += layout.groups) {
            if (column < problem.d) {
                const acc_t x = x_at<IS_STAGED>(problem, layout, first_row, row, column);
#pragma unroll
                for (int m = 0; m < MODELS; ++m) sum[m] = fma(x, weighted[row * MODELS + m], sum[m]);
            } else if (column == problem.d) {
#pragma unroll
                for (int m = 0; m < MODELS; ++m)
                    sum[m] = fma(residuals[row * MODELS + m], weighted[row * MODELS + m], sum[m]);
            } else {
                sum[0] += layout.weights[row];
            }
        }
        double* sums = layout.sums + group * layout.width + column * problem.k + first_model;
        const int count = column <= problem.d ? MODELS : 1;
#pragma unroll
        for (int m = 0; m < MODELS; ++m)
            if (m < count) sums[m] += double(sum[m]);
    }
    __syncthreads();
}

template <int MODELS, bool IS_STAGED>
inline __device__ void add_models(const problem_t& problem, const layout_t& layout, index_t first_row, int rows,
                                  index_t first_model) {
    dot_rows<MODELS, IS_STAGED>(problem, layout, first_row, rows, first_model);
    subtract_targets<MODELS>(problem, layout, first_row, rows, first_model);
    add_columns<MODELS, IS_STAGED>(problem, layout, first_row, rows, first_model);
}

template <bool IS_STAGED>
inline __device__ void add_tile(const problem_t& problem, const layout_t& layout, index_t first_row, int rows) {
    for (index_t model = 0, group; model < problem.k; model += group) {
        group = largest_model_group(problem.k - model);
        if (group == 8) add_models<8, IS_STAGED>(problem, layout, first_row, rows, model);
        if (group == 4) add_models<4, IS_STAGED>(problem, layout, first_row, rows, model);
        if (group == 2) add_models<2, IS_STAGED>(problem, layout, first_row, rows, model);
        if (group == 1) add_models<1, IS_STAGED>(problem, layout, first_row, rows, model);
    }
}

// The sums of rows [first_row, end) of one problem, into one row of `partials`.
inline __device__ void add_block(const problem_t& problem, layout_t layout, index_t first_row, index_t end,
                                 double* partials) {
    if (!layout.has_shared_sums) layout.sums = partials;
    const index_t count = layout.groups * layout.width;
    for (index_t i = threadIdx.x; i < count; i += blockDim.x) layout.sums[i] = 0;
    for (index_t row = first_row; row < end; row += layout.rows_per_tile) {
        const int rows = int(smaller(layout.rows_per_tile, end - row));
        stage(problem, layout, row, rows);
        if (layout.is_staged)
            add_tile<true>(problem, layout, row, rows);
        else
            add_tile<false>(problem, layout, row, rows);
    }
    fold_lanes(layout.sums, layout.groups, layout.width);
    if (layout.has_shared_sums)
        for (index_t i = threadIdx.x; i < layout.width; i += blockDim.x) partials[i] = layout.sums[i];
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE)
linreg_partials(input_pointer X, const acc_t* y, const acc_t* w, const acc_t* sample_weight, const acc_t* x_offset,
                double* partials, index_t n, index_t d, index_t k, index_t y_columns, index_t x_problem_stride,
                index_t x_row_stride, index_t x_column_stride, index_t rows_per_block, index_t rows_per_tile,
                index_t has_weight, index_t has_offset) {
    const problem_t problem = {blockIdx.x, X, y, w, sample_weight, x_offset, n, d, k, y_columns, x_problem_stride,
                               x_row_stride, x_column_stride, has_weight != 0, has_offset != 0};
    const index_t blocks = (n + rows_per_block - 1) / rows_per_block;
    const layout_t layout = make_layout(d, k, rows_per_tile);
    for (index_t block = blockIdx.y; block < blocks; block += gridDim.y) {
        const index_t first_row = block * rows_per_block;
        double* sums = partials + (problem.number * blocks + block) * layout.width;
        add_block(problem, layout, first_row, smaller(first_row + rows_per_block, n), sums);
    }
}

// ---- Finish -----------------------------------------------------------------------------------

// The outputs are the d * k entries of the gradient and then, where asked for, the k losses; `lanes` threads
// share one, and a block takes blockDim / lanes of them at a time.  out may be w: whoever writes an entry alone
// has read it (the host gives a copy of w where the losses read all of it).
extern "C" __global__ void linreg_finish(const double* partials, const acc_t* w, acc_t* out, double* loss,
                                         index_t blocks_per_problem, index_t d, index_t k, index_t lanes, double l1,
                                         double l2, double learning_rate, index_t is_step, index_t has_loss) {
    double* sums = reinterpret_cast<double*>(shared_memory);
    const index_t p = blockIdx.x, entries = d * k, width = entries + k + 1;
    const index_t outputs = entries + (has_loss ? k : 0);
    partials += p * blocks_per_problem * width;
    w += p * entries;
    out += p * entries;

    const int lanes_each = int(lanes), columns = divide(int(blockDim.x), lanes_each);
    const int lane = divide(int(threadIdx.x), columns), slot = int(threadIdx.x) - lane * columns;
    sums[threadIdx.x] = sum_blocks(partials, blocks_per_problem, width, entries + k, lane, lanes_each);
    fold_lanes(sums, lanes_each, columns);
    const double total_weight = sums[slot];

    for (index_t first = blockIdx.y * index_t(columns); first < outputs; first += gridDim.y * index_t(columns)) {
        const index_t output = first + slot;
        __syncthreads();  // the lanes of the round before have been read
        if (output < outputs)
            sums[threadIdx.x] = sum_blocks(partials, blocks_per_problem, width, output, lane, lanes_each);
        if (output >= entries && output < outputs)
            sums[threadIdx.x] = sums[threadIdx.x] / (2 * total_weight) +
                                sum_penalties(w + (output - entries), d, k, l1, l2, lane, lanes_each);
        fold_lanes(sums, lanes_each, columns);
        if (lane != 0 || output >= outputs) continue;
        if (output >= entries) {
            loss[p * k + (output - entries)] = sums[slot];
            continue;
        }
        const double gradient = gradient_of(sums[slot], total_weight, w[output], l2);
        out[output] = is_step ? proximal_step(w[output], gradient, learning_rate, l1) : gradient;
    }
}
