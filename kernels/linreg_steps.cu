// Many proximal gradient steps of linear regression in one launch, which reads X once and keeps it on chip.
//
//     w[t] = soft_threshold(w[t-1] - rate * gradient, rate * l1)      gradient = G / W + l2 w[t-1]
//     loss[t] = Q / (2 W) + l1 |w|_1 + l2 / 2 |w|^2 at w[t-1]
//
// G, Q and W are those of linreg_lanes.cu.  Arguments are those of linreg_lane_partials, and points (steps, problems,
// d, k), where each step leads; squares (steps, problems, blocks, k) and weights (problems, blocks), the sums of
// s r^2 and of s over a block of rows, of which linreg_step_losses makes losses (steps, problems, k) afterwards;
// mail, zeros: for each team d * MODELS * (blocks + 1) + blocks messages.
//
// Grid (teams, crew), one team for each problem and group of models.  The blocks of rows of a problem are dealt out
// among its crew, which holds them in shared memory: X, y and s are read before the first step.  In a step
//   1. each block sends its sums of each of its blocks of rows (lanes.cuh: three tiles unrolled at a time);
//   2. coefficient i belongs to member i % crew, which receives its sums, adds them, takes the step, sends the result;
//   3. each block receives all of w.
// Nothing else holds the team together: a message is seen when it is there (messages.cuh).  A place is used again
// one step later, when its reader is known to have read it: who sends sums of step t + 1 has received all of w[t],
// and who sends w[t + 1] has received sums of step t + 1 from all, each of which had received w[t].
// A problem of one block of rows needs no messages.
//
// Sums are added in the order of linreg_lane_partials and linreg_finish, and steps are taken by the same code, so
// the bits are those of single steps, for every crew.
//
// Waiting: a team of more than one is launched cooperatively, so that either all blocks of the grid run together or
// the launch fails; the driver does not start a part of one such grid beside a part of another.  A block waits
// only for what others of its team send without waiting for it, so it always ends, and needs no watchdog: one
// would need a time after which to give up, which a busy or a preempted GPU would overstep.
//
// Bytes moved: X, y, s once; points and squares once; messages, (blocks + 2 crew) * d * 16 a step, within L2.
//
// Ideas tried, on an H100 (a step of 20,000 x 64 in float32, where two launches in a graph take 8.66 us):
//   a barrier of the grid: red.release and ld.acquire, fences, cooperative groups   0.97, 1.27 and 1.12 us each
//   each block receives all sums and takes all steps; by messages, by a barrier     7.37 and 12.5 us
//   coefficients have owners, two barriers a step                                   5.33 us
//   coefficients have owners, messages; crews of 33, 66 and 105                     5.88, 3.74 and 2.97 us
//   4 and 16 copies of w for those who receive it                                   3.36 and 3.40 us
//   messages of one coefficient side by side                                        3.48 us
//   three tiles unrolled                                                            2.75 us; float64 4.57 to 3.98
//   256 x 8, one block of rows, without messages                                    0.81 us; two launches 6.47
//   this kernel, with penalties, weights and losses, by bench/results/h100          3.0 us, and 0.94 for 256 x 8
// To try: clusters, whose blocks send through distributed shared memory.

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
constexpr int TILES_AT_ONCE = 1;  // others spill a few registers (NVRTC 13.5)
#else
constexpr int TILES_AT_ONCE = 3;
#endif

// ---- Shared memory ----------------------------------------------------------------------------

inline __device__ constexpr int chunks_for(int numbers) { return (numbers * int(sizeof(acc_t)) + 15) / 16; }

constexpr int EXCHANGE_PLACE = chunks_for(SUM_COUNT);
constexpr int POINT_PLACE = EXCHANGE_PLACE + chunks_for(EXCHANGE_COUNT);
constexpr int STAGE_PLACE = POINT_PLACE + chunks_for(2 * COLUMNS * MODELS);
constexpr int STAGE_TOTAL = STAGE_CHUNKS + TARGET_CHUNKS + WEIGHT_CHUNKS;

inline __device__ acc_t* numbers_at(int chunk) { return reinterpret_cast<acc_t*>(shared_memory + chunk); }

inline __device__ acc_t* block_sums() { return numbers_at(0); }

inline __device__ acc_t* exchange() { return numbers_at(EXCHANGE_PLACE); }

// Coefficients before and after a step, by turns: (2, COLUMNS, MODELS).
inline __device__ acc_t* point_after(unsigned step) {
    return numbers_at(POINT_PLACE) + (step % 2) * (COLUMNS * MODELS);
}

inline __device__ uint4* stage_chunks(int stage) { return shared_memory + (STAGE_PLACE + stage * STAGE_TOTAL); }

inline __device__ acc_t* stage_targets(int stage) {
    return reinterpret_cast<acc_t*>(stage_chunks(stage) + STAGE_CHUNKS);
}

inline __device__ acc_t* stage_weights(int stage) {
    return reinterpret_cast<acc_t*>(stage_chunks(stage) + STAGE_CHUNKS + TARGET_CHUNKS);
}

inline __device__ bool has_stage_weights() { return true; }

// ---- Who works on what ------------------------------------------------------------------------

// Blocks of threads that share a problem and a group of models; outputs are its coefficients, (d, MODELS).
struct team_t {
    int crew, member, blocks, outputs, models, lanes;
    index_t first_model;
    message_t* mail;

    __device__ bool has(int output) const { return output % MODELS < models; }

    __device__ message_t* sum(int block, int output) const { return mail + (block * outputs + output); }

    __device__ message_t* weight(int block) const { return mail + (blocks * outputs + block); }

    __device__ message_t* coefficient(int output) const { return mail + (blocks * (outputs + 1) + output); }

    // Where an output lies among the d * k coefficients of a problem.
    __device__ index_t entry(const problem_t& problem, int output) const {
        return output / MODELS * problem.k + first_model + output % MODELS;
    }
};

struct walk_t {
    unsigned steps;
    index_t problems, rows_per_block;
    double l1, l2, learning_rate;
    acc_t* points;
    double *squares, *weights;

    __device__ acc_t* point(const problem_t& problem, unsigned step) const {
        return points + ((step - 1) * problems + problem.number) * (problem.d * problem.k);
    }

    __device__ double* square(const problem_t& problem, const team_t& team, unsigned step, int block) const {
        return squares + (((step - 1) * problems + problem.number) * team.blocks + block) * problem.k;
    }

    __device__ acc_t next(double sum, double total_weight, acc_t w) const {
        return proximal_step(w, gradient_of(sum, total_weight, w, l2), learning_rate, l1);
    }

    __device__ int rows(const problem_t& problem, int block) const {
        return int(smaller(rows_per_block, problem.n - block * rows_per_block));
    }
};

// ---- Before the first step --------------------------------------------------------------------

// Copies the rows of this block of threads; what no copy reaches, behind the last column, stays 0.
template <bool IS_OWN>
inline __device__ void hold_rows(const problem_t& problem, const place_t& place, const team_t& team,
                                 const walk_t& walk) {
    const uint4 zeros = {0, 0, 0, 0};
    const int tiles = int(walk.rows_per_block) / TILE_ROWS;
    int stage = 0;
#pragma unroll 1
    for (int block = team.member; block < team.blocks; block += team.crew)
        for (int tile = 0; tile < tiles; ++tile, ++stage)
            for (int slot = 0; slot < SLOTS; ++slot) *ring_chunk(stage, slot, threadIdx.x) = zeros;
    if (!IS_OWN) __syncthreads();
    stage = 0;
#pragma unroll 1
    for (int block = team.member; block < team.blocks; block += team.crew)
        for (int tile = 0; tile < tiles; ++tile, ++stage) {
            const int row = tile * TILE_ROWS;
            copy_tile<IS_OWN>(problem, place, stage, block * walk.rows_per_block + row,
                              walk.rows(problem, block) - row, team.first_model);
        }
}

// What stands for no coefficient is 0 in every step.
inline __device__ void hold_start(const problem_t& problem, const team_t& team) {
    for (int i = threadIdx.x; i < COLUMNS * MODELS; i += THREADS) {
        const bool is_there = i < team.outputs && team.has(i);
        point_after(0)[i] = is_there ? *problem.coefficients(i / MODELS, team.first_model + i % MODELS) : acc_t(0);
        point_after(1)[i] = 0;
    }
}

// ---- A step -----------------------------------------------------------------------------------

inline __device__ void take_point(const place_t& place, const acc_t* point, columns_t& columns) {
#pragma unroll
    for (int c = 0; c < LANE_CHUNKS; ++c)
#pragma unroll
        for (int v = 0; v < int(CHUNK); ++v)
#pragma unroll
            for (int m = 0; m < MODELS; ++m)
                columns.w[c][v][m] = point[(place.column(c) + v) * MODELS + (m ^ place.first_model())];
}

template <int TILES>
inline __device__ void add_tiles(const problem_t& problem, const place_t& place, columns_t& columns,
                                 totals_t& totals, int stage, index_t first_row, int rows, int& parity) {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int batch = 0; batch < BATCHES; ++batch, parity ^= 1)
            add_batch(problem, place, columns, totals, stage + tile, batch, first_row + tile * TILE_ROWS,
                      rows - tile * TILE_ROWS, parity);
}

// The sums over a block of rows, which lie in shared memory from `stage` on, for all threads.
inline __device__ void add_rows(const problem_t& problem, const place_t& place, columns_t& columns, int stage,
                                index_t first_row, int rows, bool has_weights) {
    columns.clear();
    totals_t totals = {};
    int row = 0, parity = 0;
#pragma unroll 1
    for (; rows - row > (TILES_AT_ONCE - 1) * TILE_ROWS; row += TILES_AT_ONCE * TILE_ROWS, stage += TILES_AT_ONCE)
        add_tiles<TILES_AT_ONCE>(problem, place, columns, totals, stage, first_row + row, rows - row, parity);
#pragma unroll 1
    for (; row < rows; row += TILE_ROWS, ++stage)
        add_tiles<1>(problem, place, columns, totals, stage, first_row + row, rows - row, parity);
    share_sums(place, columns, totals, has_weights);
    __syncthreads();
}

// Sums of s r^2, and in the first step of s, for linreg_step_losses.
inline __device__ void write_totals(const problem_t& problem, const team_t& team, const walk_t& walk, unsigned step,
                                    int block) {
    const int model = THREADS - 1 - int(threadIdx.x);  // the last threads have the fewest columns
    if (model < team.models)
        walk.square(problem, team, step, block)[team.first_model + model] = add_values(0, model);
    if (step == 1 && threadIdx.x == 0 && team.first_model == 0)
        walk.weights[problem.number * team.blocks + block] = add_values(1, 0);
}

inline __device__ void send_sums(const team_t& team, unsigned step, int block) {
    for (int i = threadIdx.x; i < team.outputs; i += THREADS)
        if (team.has(i)) send(team.sum(block, i), add_column(i / MODELS, i % MODELS), step);
    if (step == 1 && threadIdx.x == 0) send(team.weight(block), add_values(1, 0), step);
}

// Takes the step of the coefficients that belong to this member.
inline __device__ void move_own(const problem_t& problem, const team_t& team, const walk_t& walk, unsigned step,
                                double total_weight) {
    const int width = team.lanes < WARP ? team.lanes : WARP, at_once = THREADS / width;
    const int count = (team.outputs - team.member + team.crew - 1) / team.crew;
#pragma unroll 1
    for (int first = 0; first < count; first += at_once) {
        const int number = first + int(threadIdx.x) / width, output = team.member + number * team.crew;
        const bool is_there = number < count && team.has(output);
        const double sum =
            receive_sum(team.sum(0, output), team.outputs, team.blocks, team.lanes, step, is_there);
        if (!is_there || threadIdx.x % width != 0) continue;
        const acc_t next = walk.next(sum, total_weight, point_after(step - 1)[output]);
        send(team.coefficient(output), widened(next), step);
        walk.point(problem, step)[team.entry(problem, output)] = next;
    }
}

inline __device__ void receive_point(const team_t& team, unsigned step) {
    for (int i = threadIdx.x; i < team.outputs; i += THREADS)
        if (team.has(i)) point_after(step)[i] = conversion<acc_t, double>::of(receive(team.coefficient(i), step));
}

// The step of a problem of one block of rows, whose sums are all there.
inline __device__ void move_all(const problem_t& problem, const team_t& team, const walk_t& walk, unsigned step,
                                double total_weight) {
    for (int i = threadIdx.x; i < team.outputs; i += THREADS) {
        if (!team.has(i)) continue;
        const double sum = add_column(i / MODELS, i % MODELS);
        const acc_t next = walk.next(sum, total_weight, point_after(step - 1)[i]);
        point_after(step)[i] = next;
        walk.point(problem, step)[team.entry(problem, i)] = next;
    }
}

inline __device__ void take_steps(const problem_t& problem, const place_t& place, const team_t& team,
                                  const walk_t& walk) {
    columns_t columns;
    columns.load(problem, place, team.first_model);
    const int tiles = int(walk.rows_per_block) / TILE_ROWS;
    const bool is_one_block = team.blocks == 1;
    double total_weight = 0;
#pragma unroll 1
    for (unsigned step = 1; step <= walk.steps; ++step) {
        take_point(place, point_after(step - 1), columns);
        int stage = 0;
#pragma unroll 1
        for (int block = team.member; block < team.blocks; block += team.crew, stage += tiles) {
            add_rows(problem, place, columns, stage, block * walk.rows_per_block, walk.rows(problem, block),
                     step == 1);
            write_totals(problem, team, walk, step, block);
            if (!is_one_block) send_sums(team, step, block);
            if (block + team.crew < team.blocks) __syncthreads();  // before other sums take their place
        }
        if (is_one_block) {
            if (step == 1) total_weight = add_values(1, 0);
            move_all(problem, team, walk, step, total_weight);
        } else {
            if (step == 1) total_weight = receive_sum(team.weight(0), 1, team.blocks, team.lanes, step, true);
            move_own(problem, team, walk, step, total_weight);
            receive_point(team, step);
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
linreg_lane_steps(input_pointer X, const acc_t* y, const acc_t* w, const acc_t* sample_weight, const acc_t* x_offset,
                  acc_t* points, double* squares, double* weights, message_t* mail, index_t n, index_t d, index_t k,
                  index_t y_columns, index_t x_problem_stride, index_t x_row_stride, index_t x_column_stride,
                  index_t rows_per_block, index_t has_weight, index_t steps, index_t lanes, double l1, double l2,
                  double learning_rate) {
    const int model_groups = int((k + MODELS - 1) / MODELS);
    const index_t number = blockIdx.x / model_groups;
    const index_t first_model = (blockIdx.x - number * model_groups) * MODELS;
    const problem_t problem = {number, X, y, w, sample_weight, x_offset, n, d, k, y_columns, x_problem_stride,
                               x_row_stride, x_column_stride, has_weight != 0, IS_CENTRED};
    const int blocks = int((n + rows_per_block - 1) / rows_per_block), outputs = int(d) * MODELS;
    const index_t messages = index_t(outputs) * (blocks + 1) + blocks;
    const team_t team = {int(gridDim.y), int(blockIdx.y), blocks, outputs, int(smaller(MODELS, k - first_model)),
                         int(lanes), first_model, mail + blockIdx.x * messages};
    const walk_t walk = {unsigned(steps), gridDim.x / model_groups, rows_per_block, l1, l2, learning_rate, points,
                         squares, weights};
    const place_t place;
    if (has_own_chunks(problem))
        hold_rows<true>(problem, place, team, walk);
    else
        hold_rows<false>(problem, place, team, walk);
    hold_start(problem, team);
    wait_for_copies<0>();
    __syncthreads();
    take_steps(problem, place, team, walk);
}

// ---- Losses -----------------------------------------------------------------------------------

// The losses of all steps, each by `lanes` threads as linreg_finish has it; a block takes blockDim / lanes at a time.
extern "C" __global__ void linreg_step_losses(const double* squares, const double* weights, const acc_t* w,
                                              const acc_t* points, double* losses, index_t steps, index_t problems,
                                              index_t blocks_per_problem, index_t d, index_t k, index_t lanes,
                                              double l1, double l2) {
    double* sums = reinterpret_cast<double*>(shared_memory);
    const index_t outputs = steps * problems * k, entries = d * k;
    const int lanes_each = int(lanes), slots = divide(int(blockDim.x), lanes_each);
    const int lane = divide(int(threadIdx.x), slots), slot = int(threadIdx.x) - lane * slots;
    for (index_t first = blockIdx.x * index_t(slots); first < outputs; first += gridDim.x * index_t(slots)) {
        const index_t output = smaller(first + slot, outputs - 1), start = divide(output, k);
        const index_t model = output - start * k, problem = start % problems;
        const acc_t* from = start < problems ? w + start * entries : points + (start - problems) * entries;
        __syncthreads();  // the lanes of the round before have been read
        sums[threadIdx.x] =
            sum_blocks(weights + problem * blocks_per_problem, blocks_per_problem, 1, 0, lane, lanes_each);
        fold_lanes(sums, lanes_each, slots);
        const double total_weight = sums[slot];
        __syncthreads();
        const double square =
            sum_blocks(squares + start * blocks_per_problem * k, blocks_per_problem, k, model, lane, lanes_each);
        sums[threadIdx.x] =
            square / (2 * total_weight) + sum_penalties(from + model, d, k, l1, l2, lane, lanes_each);
        fold_lanes(sums, lanes_each, slots);
        if (lane == 0 && first + slot < outputs) losses[output] = sums[slot];
    }
}
