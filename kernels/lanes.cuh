// One pass over a tile of rows that lies in shared memory, for rows that the registers of a block hold.
//
// A row of X is read by LANES threads, of which each keeps LANE_CHUNKS chunks of columns to itself: lane l takes
// chunks l, l + LANES, ...  It holds their coefficients of MODELS models, and their sums, in registers, so that
// X goes through it once: dot products, the lanes added by halves, residuals, and x * s * r added to the sums.
// THREADS / LANES groups of lanes take rows side by side.  The three sizes follow from (d, k, types) on the host
// (lane_cut), which compiles the kernel for them; IS_CENTRED says whether there is an offset.
//
// A thread copies the very chunks that it will read, and a warp the targets and weights of its rows, so that none
// waits for another.  Where rows are not whole aligned chunks of neighbours, the block copies a tile together,
// number by number along whichever axis has the smaller stride, and a barrier follows.
//
// The reduction over lanes halves as it goes: of the VALUES dot products (rows times models) that are reduced
// together, each lane hands half to the lane across and keeps half, until it owns OWNED of them.  Its registers
// hold the values in an order of its own, in which what it keeps comes first: slot i holds value i ^ first_value,
// and no instruction selects.  The owner subtracts the target, and s * r goes back the same way.  Rows that span
// several warps meet in shared memory in between, in two places by turns, so that one barrier is enough.
//
// At the end of a block of rows the groups are added: by halves within a warp, the warps in turn, in double.
// A thread has at most ROWS_PER_SUM rows of a block (lane_cut), and their sum in acc_t.  The order of every sum
// follows from (n, d, k, types) alone: not from the grid, nor from alignment or strides.
//
// Bank conflicts: none; neighbouring threads read neighbouring chunks.

constexpr int THREADS = 256;
constexpr int WARP = 32;
constexpr int TILE_CHUNKS = 4;  // of a thread, where LANE_CHUNKS divides it

constexpr int GROUPS = THREADS / LANES;
constexpr int ROWS = LANE_CHUNKS < TILE_CHUNKS ? TILE_CHUNKS / LANE_CHUNKS : 1;  // of a group in a tile
constexpr int TILE_ROWS = GROUPS * ROWS;
constexpr int SLOTS = ROWS * LANE_CHUNKS;  // chunks of a thread in a tile

// What is reduced at once.
constexpr int MOST_VALUES = 8;
constexpr int ROWS_AT_ONCE = ROWS * MODELS <= MOST_VALUES ? ROWS : MOST_VALUES / MODELS;
constexpr int BATCHES = ROWS / ROWS_AT_ONCE;
constexpr int VALUES = ROWS_AT_ONCE * MODELS;
constexpr int NEIGHBOURS = LANES < WARP ? LANES : WARP;  // lanes of a group within a warp
constexpr int OWNED = VALUES > NEIGHBOURS ? VALUES / NEIGHBOURS : 1;
constexpr int OWNERS = VALUES / OWNED;
constexpr int REPLICAS = NEIGHBOURS / OWNERS;  // lanes that own the same values
constexpr int WARPS_OF_ROW = LANES / NEIGHBOURS;
constexpr int GROUPS_OF_WARP = WARP / NEIGHBOURS;
constexpr int WARP_ROWS = GROUPS_OF_WARP * ROWS;            // of a tile
constexpr int WARP_SETS = THREADS / (WARPS_OF_ROW * WARP);  // of warps that work on rows of their own

constexpr int COLUMNS = LANES * LANE_CHUNKS * int(CHUNK);  // that there is room for

static_assert(THREADS % LANES == 0 && VALUES * BATCHES == ROWS * MODELS, "lane_cut gives powers of two");

extern __shared__ uint4 shared_memory[];

// ---- Shared memory ----------------------------------------------------------------------------

constexpr int STAGE_CHUNKS = SLOTS * THREADS;  // a stage holds a tile, ...
constexpr int WEIGHT_CHUNKS = WARP_ROWS * int(sizeof(acc_t)) * THREADS / WARP / 16;
constexpr int TARGET_CHUNKS = MODELS * WEIGHT_CHUNKS;  // ... its targets, and maybe its weights

// The kernel's file says where each of these begins.
inline __device__ uint4* stage_chunks(int stage);
inline __device__ acc_t* stage_targets(int stage);
inline __device__ acc_t* stage_weights(int stage);
inline __device__ bool has_stage_weights();  // or they are loaded when they are needed
inline __device__ acc_t* exchange();    // EXCHANGE_COUNT numbers, between the warps of a row
inline __device__ acc_t* block_sums();  // at the end of a block of rows, SUM_COUNT numbers

constexpr int SUM_COUNT = WARP_SETS * (COLUMNS * MODELS + 2 * VALUES);
constexpr int EXCHANGE_COUNT = WARPS_OF_ROW > 1 ? 2 * GROUPS * WARPS_OF_ROW * VALUES : 0;

// A slot of a stage holds one chunk for each thread, in an order that keeps both neighbouring threads and the
// same lane of neighbouring groups in different banks.  Copies of rows of fewer lanes would lose more by it.
inline __device__ uint4* ring_chunk(int stage, int slot, int thread) {
    const int swizzled = LANES < 8 ? thread : thread ^ (thread / LANES % 8);
    return stage_chunks(stage) + slot * THREADS + swizzled;
}

// Of the thread's warp, by row and model: one of y serves all models from the place of the first.
inline __device__ acc_t* ring_targets(int stage) {
    return stage_targets(stage) + threadIdx.x / WARP * (WARP_ROWS * MODELS);
}

// Of the thread's warp, by row.
inline __device__ acc_t* ring_weights(int stage) { return stage_weights(stage) + threadIdx.x / WARP * WARP_ROWS; }

// Dot products on their way between the warps of a row: (2, GROUPS, WARPS_OF_ROW, VALUES).
inline __device__ acc_t* exchanged_values(int parity, int group) {
    return exchange() + (parity * GROUPS + group) * WARPS_OF_ROW * VALUES;
}

// The sums of each set of warps, (WARP_SETS, COLUMNS, MODELS).
inline __device__ acc_t* column_sums(int set) { return block_sums() + set * COLUMNS * MODELS; }

// After them, by owned value: s r^2 and s, (2, WARP_SETS, VALUES).
inline __device__ acc_t* value_sums(int quantity, int set) {
    return column_sums(WARP_SETS) + (quantity * WARP_SETS + set) * VALUES;
}

// ---- Where a thread stands --------------------------------------------------------------------

struct place_t {
    int group, lane;  // of the block, and of the group

    __device__ place_t() : group(threadIdx.x / LANES), lane(threadIdx.x % LANES) {}

    __device__ int column(int chunk) const { return (chunk * LANES + lane) * int(CHUNK); }

    // The first of the values that it owns, and what that stands for among the rows of a batch and the models.
    __device__ int first_value() const { return lane % NEIGHBOURS / REPLICAS * OWNED; }

    __device__ int first_row() const { return first_value() / MODELS; }

    __device__ int first_model() const { return first_value() % MODELS; }

    // The row of the group and the model of one of the values that it owns of a batch.
    __device__ int row(int batch, int value) const { return batch * ROWS_AT_ONCE + first_row() + value / MODELS; }

    __device__ int model(int value) const { return first_model() + value % MODELS; }

    // Its place among the rows of the warp, ...
    __device__ int warp_row(int batch, int value) const {
        return row(batch, value) * GROUPS_OF_WARP + group % GROUPS_OF_WARP;
    }

    // ... and that of one of those among the rows of a tile.
    __device__ int tile_row(int warp_row) const {
        return warp_row / GROUPS_OF_WARP * GROUPS + group / GROUPS_OF_WARP * GROUPS_OF_WARP +
               warp_row % GROUPS_OF_WARP;
    }

    // Whether it alone speaks for them.
    __device__ bool is_speaker() const { return lane % REPLICAS == 0 && lane < NEIGHBOURS; }
};

// ---- Copy -------------------------------------------------------------------------------------

inline __device__ bool has_own_chunks(const problem_t& problem) {
    return problem.column_stride == 1 && problem.d % CHUNK == 0 && problem.row_stride % CHUNK == 0 &&
           is_aligned(address_of(problem.x(0, 0)));
}

// Rows from `rows` on become 0.
inline __device__ void copy_own_chunks(const problem_t& problem, const place_t& place, int stage, index_t first_row,
                                       int rows) {
    const index_t step = GROUPS * problem.row_stride;
    input_pointer next = problem.x(first_row + place.group, place.column(0));
#pragma unroll
    for (int j = 0; j < ROWS; ++j, next = next + step) {
#pragma unroll
        for (int c = 0; c < LANE_CHUNKS; ++c) {
            const bool is_there = j * GROUPS + place.group < rows;
            if (place.column(c) < int(problem.d))
                copy_async(ring_chunk(stage, j * LANE_CHUNKS + c, threadIdx.x),
                           reading(next + c * LANES * CHUNK, is_there ? CHUNK : 0), is_there);
        }
    }
}

template <class Number>
inline __device__ void copy_number(Number* destination, const Number* source, bool is_there) {
    copy_async_scalar(destination, source, is_there);
}

inline __device__ void copy_number(half_t* destination, const half_t* source, bool is_there) {
    *destination = is_there ? *source : half_t();
}

// Neighbouring threads copy numbers that lie near each other: of one row, every LANES-th, or of one column.
inline __device__ void copy_together(const problem_t& problem, int stage, index_t first_row, int rows) {
    const bool along_rows = llabs(problem.row_stride) < llabs(problem.column_stride);
    const int group = along_rows ? threadIdx.x % GROUPS : threadIdx.x / LANES;
    const int lane = along_rows ? threadIdx.x / GROUPS : threadIdx.x % LANES;
    const index_t column_step = LANES * problem.column_stride;
#pragma unroll 1
    for (int j = 0; j < ROWS; ++j) {
        const bool is_there = j * GROUPS + group < rows;
        input_pointer next = problem.x(first_row + j * GROUPS + group, lane);
#pragma unroll
        for (int c = 0; c < LANE_CHUNKS; ++c)
#pragma unroll
            for (int v = 0; v < CHUNK; ++v, next = next + column_step) {
                const int number = v * LANES + lane;  // of those in chunks c of the row
                if (c * LANES * int(CHUNK) + number >= int(problem.d)) continue;
                uint4* chunk = ring_chunk(stage, j * LANE_CHUNKS + c, group * LANES + number / int(CHUNK));
                copy_number(reinterpret_cast<scalar_t*>(chunk) + number % int(CHUNK), reading(next, is_there), is_there);
            }
    }
}

// The targets and weights of the warp's rows, each by one of its threads; those of rows from `rows` on become 0.
inline __device__ void copy_targets(const problem_t& problem, const place_t& place, int stage, index_t first_row,
                                    int rows, index_t first_model) {
    const bool is_one = problem.y_columns == 1;
    const acc_t* targets = problem.targets(first_row, is_one ? 0 : first_model);
    const int y_columns = int(problem.y_columns), models = is_one ? 1 : int(smaller(MODELS, problem.k - first_model));
#pragma unroll 1
    for (int i = threadIdx.x % WARP; i < WARP_ROWS * (is_one ? 1 : MODELS); i += WARP) {
        const int warp_row = is_one ? i : i / MODELS, model = is_one ? 0 : i % MODELS, row = place.tile_row(warp_row);
        copy_async_scalar(ring_targets(stage) + (warp_row * MODELS + model), targets + (row * y_columns + model),
                          row < rows && model < models);
    }
    if (!has_stage_weights() || !problem.has_weight) return;
    const acc_t* weights = problem.weights(first_row);
    for (int i = threadIdx.x % WARP; i < WARP_ROWS; i += WARP)
        copy_async_scalar(ring_weights(stage) + i, weights + place.tile_row(i), place.tile_row(i) < rows);
}

template <bool IS_OWN>
inline __device__ void copy_tile(const problem_t& problem, const place_t& place, int stage, index_t first_row,
                                 int rows, index_t first_model) {
    if (rows > 0) {
        if constexpr (IS_OWN)
            copy_own_chunks(problem, place, stage, first_row, rows);
        else
            copy_together(problem, stage, first_row, rows);
        copy_targets(problem, place, stage, first_row, rows, first_model);
    }
    commit_copies();
}

// ---- Registers --------------------------------------------------------------------------------

// A thread's columns: coefficients, sums of x * s * r, and offsets.  Slot m of the models is m ^ first_model().
struct columns_t {
    acc_t w[LANE_CHUNKS][CHUNK][MODELS];
    acc_t sums[LANE_CHUNKS][CHUNK][MODELS];
    acc_t offset[LANE_CHUNKS][CHUNK];

    __device__ void load(const problem_t& problem, const place_t& place, index_t first_model) {
#pragma unroll
        for (int c = 0; c < LANE_CHUNKS; ++c)
#pragma unroll
            for (int v = 0; v < CHUNK; ++v) {
                const int column = place.column(c) + v;
                const bool is_there = column < problem.d;
                offset[c][v] = IS_CENTRED && is_there ? problem.offset(column) : acc_t(0);
#pragma unroll
                for (int m = 0; m < MODELS; ++m) {
                    const index_t model = first_model + (m ^ place.first_model());
                    w[c][v][m] = is_there && model < problem.k ? *problem.coefficients(column, model) : acc_t(0);
                }
            }
    }

    __device__ void clear() {
#pragma unroll
        for (int c = 0; c < LANE_CHUNKS; ++c)
#pragma unroll
            for (int v = 0; v < CHUNK; ++v)
#pragma unroll
                for (int m = 0; m < MODELS; ++m) sums[c][v][m] = 0;
    }
};

// Sums over the rows of a block by owned value: s r^2, and s.
struct totals_t {
    acc_t square[OWNED], weight[OWNED];
};

// A thread's columns of the rows of a batch.  Slot j of the rows is j ^ first_row().
struct rows_t {
    acc_t x[ROWS_AT_ONCE][LANE_CHUNKS][CHUNK];

    __device__ void load(const place_t& place, const columns_t& columns, int stage, int batch) {
#pragma unroll
        for (int j = 0; j < ROWS_AT_ONCE; ++j)
#pragma unroll
            for (int c = 0; c < LANE_CHUNKS; ++c) {
                chunk_t chunk;
                const int row = batch * ROWS_AT_ONCE + (j ^ place.first_row());
                chunk.bits = *ring_chunk(stage, row * LANE_CHUNKS + c, threadIdx.x);
#pragma unroll
                for (int v = 0; v < CHUNK; ++v) {
                    const acc_t number = to_sum(chunk.values[v]);
                    x[j][c][v] = IS_CENTRED ? subtract(number, columns.offset[c][v]) : number;
                }
            }
    }
};

// ---- Dot, residuals, columns ------------------------------------------------------------------

inline __device__ acc_t from_across(acc_t value, int across) { return __shfl_xor_sync(0xffffffff, value, across); }

// Adds COUNT values over 2 * ACROSS lanes.  While there are several, a lane keeps the first half of them and
// gives the other, which the lane across keeps; then all keep the one.
template <int COUNT, int ACROSS>
inline __device__ void add_lanes(acc_t* values) {
    if constexpr (ACROSS > 0 && COUNT > 1) {
#pragma unroll
        for (int i = 0; i < COUNT / 2; ++i) values[i] = add(values[i], from_across(values[i + COUNT / 2], ACROSS));
        add_lanes<COUNT / 2, ACROSS / 2>(values);
    } else if constexpr (ACROSS > 0) {
        values[0] = add(values[0], from_across(values[0], ACROSS));
        add_lanes<1, ACROSS / 2>(values);
    }
}

// Adds the owned values over the warps of a row.
inline __device__ void add_warps(const place_t& place, int parity, acc_t* values) {
    if constexpr (WARPS_OF_ROW > 1) {
        acc_t* exchanged = exchanged_values(parity, place.group);
        const int first = place.first_value();
        if (place.lane % REPLICAS == 0)
#pragma unroll
            for (int i = 0; i < OWNED; ++i) exchanged[place.lane / WARP * VALUES + first + i] = values[i];
        __syncthreads();
#pragma unroll
        for (int i = 0; i < OWNED; ++i) {
            values[i] = exchanged[first + i];
#pragma unroll
            for (int warp = 1; warp < WARPS_OF_ROW; ++warp)
                values[i] = add(values[i], exchanged[warp * VALUES + first + i]);
        }
    }
}

// The weight of a row of the warp; one from `rows` on weighs nothing.
inline __device__ acc_t weight_of(const problem_t& problem, const place_t& place, int stage, int warp_row,
                                  index_t first_row, int rows) {
    if (has_stage_weights() && problem.has_weight) return ring_weights(stage)[warp_row];
    const int row = place.tile_row(warp_row);
    return row < rows ? problem.weight(first_row + row) : acc_t(0);
}

inline __device__ void add_batch(const problem_t& problem, const place_t& place, columns_t& columns,
                                 totals_t& totals, int stage, int batch, index_t first_row, int rows_left, int parity) {
    rows_t rows;
    rows.load(place, columns, stage, batch);
    acc_t values[VALUES] = {};
#pragma unroll
    for (int j = 0; j < ROWS_AT_ONCE; ++j)
#pragma unroll
        for (int c = 0; c < LANE_CHUNKS; ++c)
#pragma unroll
            for (int v = 0; v < CHUNK; ++v)
#pragma unroll
                for (int m = 0; m < MODELS; ++m)
                    values[j * MODELS + m] = fused(rows.x[j][c][v], columns.w[c][v][m], values[j * MODELS + m]);
    add_lanes<VALUES, NEIGHBOURS / 2>(values);
    add_warps(place, parity, values);

#pragma unroll
    for (int i = 0; i < OWNED; ++i) {
        const int row = place.warp_row(batch, i), model = problem.y_columns == 1 ? 0 : place.model(i);
        const acc_t weight = weight_of(problem, place, stage, row, first_row, rows_left);
        const acc_t residual = subtract(values[i], ring_targets(stage)[row * MODELS + model]);
        values[i] = multiply(weight, residual);
        totals.square[i] = fused(residual, values[i], totals.square[i]);
        totals.weight[i] = add(totals.weight[i], weight);
    }
#pragma unroll
    for (int slot = 0; slot < VALUES; ++slot) {
        const int j = slot / MODELS, m = slot % MODELS;
        const acc_t own = values[slot % OWNED], weighted = slot < OWNED ? own : from_across(own, slot / OWNED * REPLICAS);
#pragma unroll
        for (int c = 0; c < LANE_CHUNKS; ++c)
#pragma unroll
            for (int v = 0; v < CHUNK; ++v)
                columns.sums[c][v][m] = fused(rows.x[j][c][v], weighted, columns.sums[c][v][m]);
    }
}

// ---- The end of a block of rows ----------------------------------------------------------------

// The value over the groups of lanes in a warp, for each of them.
inline __device__ acc_t add_groups(acc_t value) {
#pragma unroll
    for (int across = WARP / 2; across >= NEIGHBOURS; across /= 2) value = add(value, from_across(value, across));
    return value;
}

// What each set of warps has of the columns and of s r^2, and of s where that is asked for.
inline __device__ void share_sums(const place_t& place, const columns_t& columns, const totals_t& totals,
                                  bool has_weights) {
    const int set = threadIdx.x / (WARPS_OF_ROW * WARP);
    const bool is_first_group = threadIdx.x % WARP < NEIGHBOURS;
#pragma unroll
    for (int c = 0; c < LANE_CHUNKS; ++c)
#pragma unroll
        for (int v = 0; v < CHUNK; ++v)
#pragma unroll
            for (int m = 0; m < MODELS; ++m) {
                const acc_t sum = add_groups(columns.sums[c][v][m]);
                const int model = m ^ place.first_model();
                if (is_first_group) column_sums(set)[(place.column(c) + v) * MODELS + model] = sum;
            }
#pragma unroll
    for (int i = 0; i < OWNED; ++i) {
        const acc_t square = add_groups(totals.square[i]);
        const acc_t weight = has_weights ? add_groups(totals.weight[i]) : acc_t(0);
        if (!is_first_group || !place.is_speaker()) continue;
        value_sums(0, set)[place.first_value() + i] = square;
        if (has_weights) value_sums(1, set)[place.first_value() + i] = weight;
    }
}

inline __device__ double widened(acc_t value) { return conversion<double, acc_t>::of(value); }

// Of one model: over the sets of warps, and the rows that were reduced at once.
inline __device__ double add_values(int quantity, int model) {
    double sum = 0;
    for (int set = 0; set < WARP_SETS; ++set)
        for (int j = 0; j < ROWS_AT_ONCE; ++j) sum += widened(value_sums(quantity, set)[j * MODELS + model]);
    return sum;
}

inline __device__ double add_column(int column, int model) {
    double sum = 0;
    for (int set = 0; set < WARP_SETS; ++set) sum += widened(column_sums(set)[column * MODELS + model]);
    return sum;
}
