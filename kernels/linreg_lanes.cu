// Sums behind the gradient of linear regression, in one read of X, for rows that the registers of a block hold.
//
//     r = (X - x_offset) w - y        G = (X - x_offset)^T (s * r)        Q = sum s r^2        W = sum s
//
// Arguments and `partials` are those of linreg_partials (linreg.cu), whose linreg_finish makes gradients, steps
// and losses of them.
//
// lanes.cuh says how a tile of rows goes through the registers, and in what order all is added.  Loads are what
// limits it, so they are asked for early: a ring of STAGES tiles in shared memory, which copy_async fills.
//
// Grid (problems * groups of models, blocks of rows): the groups of models that read the same rows run side by
// side, so that all but the first find them in the L2 cache.
//
// Bytes moved: X, y and s once; partials, at most 1/64 of X where rows are many, twice.  For MODELS models
// 4 MODELS flops for each number of X.
//
// Ideas tried, on an H100 (X of 2 GiB, float32; what is read is X and y, as a share of a read-only kernel's rate):
//   the tile in shared memory, staged by barriers (linreg.cu)     0.25 at d = 64
//   four blocks to a multiprocessor, 64 registers; two, 128       0.93 and 0.98 at d = 4096; two are kept
//   rings of 2, 3 and 4 stages                                    within 0.02
//   selecting what a lane keeps and gives, not an order of slots  8 models of d = 64 took 1.27 times one, then 1.06
//   targets in registers, loaded a tile ahead                     that 1.06, and registers spilt
//   targets through the ring, copied by each lane                 8 models took 1.32 times one
//   targets through the ring, copied once for a warp              1.04
//   the same swizzle of the ring for 2 and 4 lanes                0.87 at d = 8, without it 0.96
//   numbers of ragged rows by divisions, a counter, and by lanes  0.42, 0.52 and 0.95 for misaligned rows of d = 64
//   evict-first loads, 256-byte prefetches into L2                no gain
// To try: bulk copies; clusters for rows beyond a block.

constexpr int MOST_RING_BYTES = 61440;  // with what else there is, within 64 KB
constexpr int BLOCKS_AT_ONCE = 2;       // on a multiprocessor, at least

// ---- Shared memory: the ring, and between the warps of a row --------------------------------------

constexpr int STAGES = 3 * (STAGE_CHUNKS + TARGET_CHUNKS) * 16 <= MOST_RING_BYTES ? 3 : 2;
constexpr int RING_CHUNKS = STAGES * STAGE_CHUNKS;
constexpr bool HAS_RING_WEIGHTS = STAGES * (STAGE_CHUNKS + TARGET_CHUNKS + WEIGHT_CHUNKS) * 16 <= MOST_RING_BYTES;
constexpr int NUMBER_CHUNKS = STAGES * (TARGET_CHUNKS + (HAS_RING_WEIGHTS ? WEIGHT_CHUNKS : 0));

inline __device__ acc_t* numbers_at(int chunk) { return reinterpret_cast<acc_t*>(shared_memory + chunk); }

inline __device__ uint4* stage_chunks(int stage) { return shared_memory + stage * STAGE_CHUNKS; }

inline __device__ acc_t* stage_targets(int stage) { return numbers_at(RING_CHUNKS + stage * TARGET_CHUNKS); }

inline __device__ acc_t* stage_weights(int stage) {
    return numbers_at(RING_CHUNKS + STAGES * TARGET_CHUNKS + stage * WEIGHT_CHUNKS);
}

inline __device__ bool has_stage_weights() { return HAS_RING_WEIGHTS; }

inline __device__ acc_t* exchange() { return numbers_at(RING_CHUNKS + NUMBER_CHUNKS); }

// In place of the ring.
inline __device__ acc_t* block_sums() { return numbers_at(0); }

static_assert(SUM_COUNT * int(sizeof(acc_t)) <= (RING_CHUNKS + NUMBER_CHUNKS) * 16,
              "the sums take the place of the ring");

// ---- Blocks of rows ---------------------------------------------------------------------------

// Writes a row of partials: d * k sums of columns, k sums of s r^2, and the sum of s.
inline __device__ void write_partials(const problem_t& problem, index_t first_model, double* partials) {
    const index_t entries = problem.d * problem.k;
    const int models = int(smaller(MODELS, problem.k - first_model));
    for (int i = threadIdx.x; i < int(problem.d) * MODELS; i += THREADS) {
        const int column = i / MODELS, model = i % MODELS;
        if (model < models) partials[column * problem.k + first_model + model] = add_column(column, model);
    }
    if (int(threadIdx.x) < models) partials[entries + first_model + threadIdx.x] = add_values(0, threadIdx.x);
    if (first_model == 0 && threadIdx.x == THREADS - 1) partials[entries + problem.k] = add_values(1, 0);
}

// What no copy reaches, behind the last column, stays 0.
inline __device__ void clear_ring() {
    const uint4 zeros = {0, 0, 0, 0};
#pragma unroll
    for (int slot = 0; slot < STAGES * SLOTS; ++slot) *ring_chunk(0, slot, threadIdx.x) = zeros;
}

// The sums over `rows` rows of one problem.
template <bool IS_OWN>
inline __device__ void add_block(const problem_t& problem, const place_t& place, columns_t& columns,
                                 index_t first_model, index_t first_row, int rows, double* partials) {
    columns.clear();
    totals_t totals = {};
    clear_ring();
    if (!IS_OWN) __syncthreads();
#pragma unroll 1
    for (int stage = 0; stage < STAGES - 1; ++stage)
        copy_tile<IS_OWN>(problem, place, stage, first_row + stage * TILE_ROWS, rows - stage * TILE_ROWS, first_model);

    int stage = 0, parity = 0;
#pragma unroll 1
    for (int row = 0; row < rows; row += TILE_ROWS) {
        wait_for_copies<STAGES - 2>();
        if (IS_OWN)
            __syncwarp();
        else
            __syncthreads();
        const int ahead = row + (STAGES - 1) * TILE_ROWS, last_stage = stage == 0 ? STAGES - 1 : stage - 1;
        copy_tile<IS_OWN>(problem, place, last_stage, first_row + ahead, rows - ahead, first_model);
#pragma unroll
        for (int batch = 0; batch < BATCHES; ++batch, parity ^= 1)
            add_batch(problem, place, columns, totals, stage, batch, first_row + row, rows - row, parity);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    __syncthreads();
    share_sums(place, columns, totals, true);
    __syncthreads();
    write_partials(problem, first_model, partials);
    __syncthreads();
}

// All blocks of rows that fall to this block of threads.
template <bool IS_OWN>
inline __device__ void add_blocks(const problem_t& problem, index_t first_model, index_t rows_per_block,
                                  double* partials) {
    const place_t place;
    columns_t columns;
    columns.load(problem, place, first_model);
    const int blocks = int((problem.n + rows_per_block - 1) / rows_per_block);
    for (int block = blockIdx.y; block < blocks; block += gridDim.y) {
        const index_t first_row = block * rows_per_block, width = problem.d * problem.k + problem.k + 1;
        const int rows = int(smaller(rows_per_block, problem.n - first_row));
        add_block<IS_OWN>(problem, place, columns, first_model, first_row, rows,
                          partials + (problem.number * blocks + block) * width);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE)
linreg_lane_partials(input_pointer X, const acc_t* y, const acc_t* w, const acc_t* sample_weight,
                     const acc_t* x_offset, double* partials, index_t n, index_t d, index_t k, index_t y_columns,
                     index_t x_problem_stride, index_t x_row_stride, index_t x_column_stride, index_t rows_per_block,
                     index_t has_weight) {
    const int model_groups = int((k + MODELS - 1) / MODELS);
    const index_t number = blockIdx.x / model_groups;
    const index_t first_model = (blockIdx.x - number * model_groups) * MODELS;
    const problem_t problem = {number, X, y, w, sample_weight, x_offset, n, d, k, y_columns, x_problem_stride,
                               x_row_stride, x_column_stride, has_weight != 0, IS_CENTRED};
    if (has_own_chunks(problem))
        add_blocks<true>(problem, first_model, rows_per_block, partials);
    else
        add_blocks<false>(problem, first_model, rows_per_block, partials);
}
