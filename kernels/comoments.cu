// Sums of outer products of the columns of X and Y, in one read of them.
//
//     not centred    M = sum_i s_i conj(x_i) ⊗ y_i                        (X with Y, or all of [X Y] with all)
//     centred        M = scale * sum_i s_i (z_i - mean) ⊗ conj(z_i - mean)        z_i = [x_i y_i]
//     correlation    M_ij / (sqrt(M_ii) sqrt(M_jj)), real and imaginary part clipped to [-1, 1]
//
// X (problems, n, p) and Y (problems, n, q) with any strides; weights (problems, n); total (problems);
// means (problems, p + q); out (problems, p, q), or (problems, p + q, p + q) where joint.  What is centred
// is joint.
//
// `co_moment_partials`, grid (problems * tiles of M, blocks of rows), THREADS threads: a block computes one tile
// of M, of a joint one only where it meets the upper triangle, over one block of rows after another, by stages:
//   1. copy: copy_async brings the rows' columns of the tile to a ring in shared memory, STAGES stages ahead;
//   2. convert: a thread takes away the centre from the chunks that it copied itself, and adds them to its sums of
//      their columns: in place, or on their way to a buffer where X does not have the summing type.  What is neither
//      converted nor centred skips this;
//   3. products: a thread keeps EDGE x EDGE entries in registers, and takes every `groups`-th row, two at a time, so
//      that those of the second are loaded while the first is multiplied: narrow tiles leave threads for several
//      groups.  The ring has a stage more than are on their way, or there are two buffers, so that the only barrier
//      of a stage lies between 2 and 3;
//   4. flush: after about ROWS_PER_SUM rows a thread the groups are added, in the wider type.
// `co_moment_finish`, grid (problems, entries), merges the blocks of rows by Chan's formula, or adds them: lane
// l takes blocks l, l + lanes, ..., and the lanes are merged by halves.  It mirrors the upper triangle, so that
// M is exactly Hermitian.
//
// Centring needs no second read of X.  Stages of one centre make a run.  At its end the sums of its columns say
// how far its mean lies from the centre; Chan's formula then asks for two more rows of products, the mean's
// distance from the centre, which weighs minus the run, and its distance from the mean of all before, which
// weighs w W / (w + W).  That mean is the centre of the next run, which may weigh RUN_SHARE times as much: what the
// first row takes away then is at most 1 + RUN_SHARE times what the second brings back, so that errors grow neither
// with the means nor where they drift; and a block of rows has few runs, log of its stages to the base 1 +
// RUN_SHARE.  A stage that outweighs all before it by more, as the first one does, has a centre of its own, its
// mean, which is found by converting it twice.
//
// The order of every sum follows from (n, p, q, types) and the number of threads alone: not from the grid,
// nor from alignment or strides, which only change how X and Y reach the ring.
//
// Bytes moved: X and Y once for one tile (up to 64 columns; 32 of complex doubles), else once for each tile
// along the other axis, out of the L2 cache but for the first: the tiles of one block of rows run side by side.
// partials, at most about 1/64 of X where rows are many, twice.  Flops: n d² real, 4 n d² complex.
//
// Bank conflicts: an odd pitch of 16-byte pieces keeps neighbouring rows apart.  Four neighbours take entries two by
// two, and share what they read.  The corner of such a patch below the diagonal is left out where strips are long;
// where they are short there are as many loads as products, and sharing is worth more than a thread.
//
// Instructions of a warp for a row of 32 float32, as counted in the machine code: 23 for the products, of which
// 20 are fused multiply-adds, about 2 to copy and 3 to convert and centre it.  Four schedulers issue them in 7
// cycles, and an H100 reads the row in 9.
//
// Ideas tried, on an H100 (X of 2 GiB, float32; shares of the read-only limit, plain / centred).  Times of one card
// scatter by 0.03.
//   columns                                                          8          16         32         64
//   a conversion to a buffer for all types, 3 blocks of 128      .82 / .70  .66 / .58  .61 / .51  .35 / .31
//   out of the ring, rows two at a time, 3 blocks of 128         .84 / .68  .76 / .56  .64 / .49  .38 / .31
//   no corner below the diagonal                                 .85 / .64  .73 / .54  .61 / .47  .37 / .32
//   ... 4 blocks of 128                                          .86 / .72  .73 / .54  .65 / .52  .38 / .32
//   ... and 8 chunks of a thread in a stage                      .86 / .79  .76 / .58  .73 / .57  .39 / .35
//   ... and 3 stages on their way                                .79 / .65  .71 / .53  .71 / .51  .40 / .32
//   ... 3 blocks of 64 KB, 2 stages on their way                 .87 / .79  .72 / .57  .71 / .56  .40 / .34
//   ... 2 blocks of 256, 64 KB, 2 stages on their way            .77 / .62  .67 / .49  .64 / .44  .40 / .33
//   ... 2 blocks of 256, 96 KB, 2 stages on their way            .79 / .74  .69 / .54  .68 / .54  .47 / .38
//   ... 2 blocks of 256, 96 KB, 3 stages on their way            .82 / .62  .72 / .48  .65 / .49  .41 / .38
//   cuBLAS, which does not centre                                .15        .28        .21        .40
//   the fifth without its products                               .87 / .86  .79 / .75  .81 / .77  .60 / .54
//   the fifth without all but the first copies, in ms            0.43       0.55       0.74       1.44
//   ... and chunks centred two at a time, 2 blocks of 64 KB
//   and 1 stage on its way where there are more columns          .91 / .83  .81 / .67  .79 / .65  .49 / .41
//   ... 1 stage on its way for all                               .92 / .87  .82 / .70  .80 / .67
//   ... 528 blocks in all, not 1,584                             .91 / .88  .84 / .72  .81 / .67  .50 / .43
//   ... stages of neighbouring blocks side by side in X          .89 / .86  .80 / .66  .79 / .65  .50 / .43
//   ... centred as strips are loaded, 3 blocks of 64 KB          .90 / .83  .80 / .65  .76 / .53  .46 / .35
//   ... 512 rows a thread before a flush, not 256                                                 .52 / .44
// Wide tiles gain by the rows of a stage alone: their times fit 0.86 ms + 72 ms / rows.  Two stages in 64 KB, one of
// them on its way, have as many rows as three in 96 KB, which is more than some GPUs grant a block.  One
// stage on its way and 528 blocks are both taken; they have been timed each by itself.
// float64, 32 columns: 0.53 by buffers, 0.65 out of the ring, 0.59 without corners below the diagonal.  float16 is
// summed at 0.20 at 64 columns by any of them: it multiplies what it converted.
// The rows of Chan's formula added by one group alone, whose sums then grow far beyond their own share: 96 roundings
// lost where 7 are.  Sums of columns kept in double by each thread: 32 bytes of registers spilt.
// To try: 512 rows a thread before a flush for wide tiles; tiles of 128 columns; double tensor cores.

constexpr int FINISH_LANES = 64;
constexpr int FINISH_AT_ONCE = 4;  // blocks of rows that a lane asks for before it needs the first
constexpr double FAR_HEAVIER = 64;
constexpr double RUN_SHARE = 3;

// ---- Products ---------------------------------------------------------------------------------

constexpr int STRIP_BYTES = EDGE * sizeof(acc_t);

struct alignas(STRIP_BYTES < 16 ? STRIP_BYTES : 16) strip_t {
    acc_t values[EDGE];

    __device__ void scale(real_t weight) {
#pragma unroll
        for (int i = 0; i < EDGE; ++i) values[i] = scaled(weight, values[i]);
    }
};

inline __device__ strip_t load_strip(const acc_t* values) { return *reinterpret_cast<const strip_t*>(values); }

// While entries are flushed, shared memory holds STRIPS rows of each thread's by pieces of 16 bytes: the first
// piece of all threads, the second, ...
inline __device__ int flushed_place(int thread, int entry) {
    return (entry / PIECE * int(blockDim.x) + thread) * PIECE + entry % PIECE;
}

// A thread's entries.
struct sums_t {
    acc_t entries[EDGE][EDGE];

    __device__ void clear() {
#pragma unroll
        for (int i = 0; i < EDGE * EDGE; ++i) entries[i / EDGE][i % EDGE] = acc_t();
    }

    __device__ void store_strips(acc_t* flushed) const {
#pragma unroll
        for (int i = 0; i < STRIPS * EDGE; ++i) flushed[flushed_place(threadIdx.x, i)] = entries[i / EDGE][i % EDGE];
    }

    // Brings the next strips to the front: by an index they would not stay in registers.
    __device__ void drop_strips() {
#pragma unroll
        for (int i = 0; i < EDGE * (EDGE - STRIPS); ++i)
            entries[i / EDGE][i % EDGE] = entries[i / EDGE + STRIPS][i % EDGE];
    }

    // Adds the products of every `step`-th row of a buffer.
    template <bool HAS_WEIGHT>
    __device__ void add_rows(const tile_t& tile, const entries_t& at, const uint4* rows, const real_t* weights,
                             int first, int end, int step) {
        const acc_t* values = reinterpret_cast<const acc_t*>(rows + first * tile.pitch);
        const acc_t* left_values = values + at.row;
        const acc_t* right_values = values + tile.right.offset + at.column;
        const int pitch = step * tile.pitch * PIECE;
        int row = first;
#pragma unroll 1
        for (; row + step < end; row += 2 * step) {
            strip_t left = load_strip(left_values), next_left = load_strip(left_values + pitch);
            const strip_t right = load_strip(right_values), next_right = load_strip(right_values + pitch);
            if (HAS_WEIGHT) {
                left.scale(weights[row]);
                next_left.scale(weights[row + step]);
            }
            add_strips(left, right);
            add_strips(next_left, next_right);
            left_values += 2 * pitch;
            right_values += 2 * pitch;
        }
        if (row < end) {
            strip_t left = load_strip(left_values);
            if (HAS_WEIGHT) left.scale(weights[row]);
            add_strips(left, load_strip(right_values));
        }
    }

    __device__ void add_strips(const strip_t& left, const strip_t& right) {
#pragma unroll
        for (int i = 0; i < EDGE * EDGE; ++i)
            entries[i / EDGE][i % EDGE] =
                add_product(entries[i / EDGE][i % EDGE], left.values[i / EDGE], right.values[i % EDGE]);
    }
};

// Adds STRIPS rows of the entries of all tasks, from row `first` of each, over the groups to the partials.
inline __device__ void add_groups(const tile_t& tile, const acc_t* flushed, int first, bool is_first) {
    const int entries = tile.tasks * STRIPS * EDGE;
    const int lanes = power_of_two_up_to(int(smaller(WARP, divide(int(blockDim.x), entries))));
    for (int k = threadIdx.x; k < ratio_up(entries * lanes, int(blockDim.x)) * int(blockDim.x); k += blockDim.x) {
        const int number = divide(k, lanes), task = number / (STRIPS * EDGE), entry = number % (STRIPS * EDGE);
        const unsigned corner = number < entries ? tile.corners()[task] : 0;
        const int row = int(corner >> 16) + first + entry / EDGE, column = int(corner & 0xffff) + entry % EDGE;
        const bool is_needed = number < entries && k == number * lanes && row < tile.left.columns &&
                               column < tile.right.columns && (!tile.is_diagonal || row <= column);
        wide_t* partial = tile.partials + (tile.first_entry + row * tile.entry_stride + column);
        const wide_t before = is_needed && !is_first ? *partial : wide_t();
        wide_t total = wide_t();
#pragma unroll 4
        for (int group = k - number * lanes; group < tile.groups && number < entries; group += lanes)
            total = add(total, widened(flushed[flushed_place(group * tile.tasks + task, entry)]));
        total = add_neighbours(total, lanes);
        if (is_needed) *partial = is_first ? total : add(before, total);
    }
}

// Adds the sums of all groups, in the wider type, to the block's partials, and clears them.
inline __device__ void flush(const tile_t& tile, sums_t& sums, int stage, bool is_first) {
    acc_t* flushed = reinterpret_cast<acc_t*>(tile.spare(stage));
#pragma unroll 1
    for (int first = 0; first < EDGE; first += STRIPS) {
        __syncthreads();
        if (int(threadIdx.x) < tile.groups * tile.tasks) sums.store_strips(flushed);
        sums.drop_strips();
        __syncthreads();
        add_groups(tile, flushed, first, is_first);
    }
    sums.clear();
    __syncthreads();
}

// ---- Centre -----------------------------------------------------------------------------------

// Stages that have a centre in common.
struct run_t {
    column_sums_t sums;  // less the centre, of the rows since the last flush
    double weight_before, weight;
    int stages;
};

// Every warp by itself, in the same order.
inline __device__ double weigh_stage(const problem_t& problem, const tile_t& tile, int stage, int rows) {
    if (!problem.has_weight) return rows;
    double sum = 0;
    for (int row = threadIdx.x % WARP; row < rows; row += WARP)
        sum += conversion<double, real_t>::of(tile.weights(stage)[row]);
    return add_neighbours(sum, WARP);
}

// Adds the threads' sums of columns, in spare memory, and leaves them where it says.
inline __device__ const wide_t* add_columns(const tile_t& tile, const feeder_t& own, int stage,
                                          const column_sums_t& sums) {
    const int columns = tile.columns, count = power_of_two_up_to(divide(int(blockDim.x), columns));
    wide_t* lanes = reinterpret_cast<wide_t*>(tile.spare(stage));
    wide_t* ways = lanes + tile.lanes * columns;
    __syncthreads();
#pragma unroll
    for (int v = 0; v < CHUNK; ++v)
        if (own.lane < tile.lanes) lanes[own.lane * columns + own.first_column() + v] = widened(sums.values[v]);
    __syncthreads();
    for (int i = threadIdx.x; i < count * columns; i += blockDim.x) {
        const int way = divide(i, columns), column = i - way * columns;
        wide_t sum = wide_t();
        for (int lane = way; lane < tile.lanes; lane += count) sum = add(sum, lanes[lane * columns + column]);
        ways[i] = sum;
    }
    fold_lanes(ways, count, columns);
    return ways;
}

// Adds the threads' sums of columns to those of the run, and clears them.
inline __device__ void flush_columns(const tile_t& tile, const feeder_t& own, int stage, run_t& run) {
    const wide_t* column_sums = add_columns(tile, own, stage, run.sums);
    for (int column = threadIdx.x; column < tile.columns; column += blockDim.x)
        tile.run_sums()[column] = add(tile.run_sums()[column], column_sums[column]);
    run.sums = {};
}

// Ends a run: adds its two rows to the sums, and moves the mean of all rows, and the centre, by what it brings.
// Every group takes an equal share of the weights: it takes away about what it has added.
inline __device__ void close_run(const tile_t& tile, const feeder_t& own, const entries_t& at, bool has_task,
                                 int stage, run_t& run, sums_t& sums) {
    flush_columns(tile, own, stage, run);
    const double weight = run.weight_before + run.weight, share = run.weight == 0 ? 0 : run.weight / weight;
    for (int column = threadIdx.x; column < tile.columns; column += blockDim.x) {
        const wide_t rest = divided(tile.run_sums()[column], run.weight == 0 ? 1 : run.weight);
        const wide_t mean = tile.mean()[column];
        const wide_t distance = add(subtract(widened(tile.centre()[column]), mean), rest);
        const wide_t moved = add(mean, scaled(share, distance));
        tile.extra()[column] = narrowed(rest);
        tile.extra()[tile.pitch * PIECE + column] = narrowed(distance);
        tile.mean()[column] = moved;
        tile.run_sums()[column] = wide_t();
        tile.centre()[column] = narrowed(moved);
    }
    if (threadIdx.x == 0) {
        tile.extra_weights()[0] = conversion<real_t, double>::of(-run.weight / tile.groups);
        tile.extra_weights()[1] = conversion<real_t, double>::of(run.weight_before * share / tile.groups);
    }
    __syncthreads();
    if (has_task)
        sums.add_rows<true>(tile, at, shared_memory + tile.extra_place, tile.extra_weights(), 0, EXTRA_ROWS, 1);
    run = {column_sums_t(), weight, 0, 0};
}

// Lets the centre be the mean of a stage.  It is found less the first row, so that a constant column comes to
// exactly 0; but less no row of little weight, which might be far from all others.
inline __device__ void find_centre(const problem_t& problem, const tile_t& tile, const feeder_t& own, int stage,
                                   int rows, double weight) {
    const double first_weight = problem.has_weight ? conversion<double, real_t>::of(*tile.weights(stage)) : 1;
    __syncthreads();
    if (own.lane == 0 && FAR_HEAVIER * rows * first_weight >= weight)
        raw_chunk(tile.raw(stage) + own.chunk).store(shared_memory + tile.centre_place + own.chunk * PIECES);
    __syncthreads();
    column_sums_t sums = {};
    convert_stage<false>(problem, tile, own, stage, rows, sums);
    const wide_t* column_sums = add_columns(tile, own, stage, sums);
    for (int column = threadIdx.x; column < tile.columns; column += blockDim.x) {
        acc_t& centre = tile.centre()[column];
        centre = narrowed(add(widened(centre), divided(column_sums[column], weight)));
    }
    __syncthreads();
}

// Adds a stage to the run, or to a new one where the run would outweigh the rows before.
inline __device__ void centre_stage(const problem_t& problem, const tile_t& tile, const feeder_t& own,
                                    const entries_t& at, bool has_task, int stage, int rows, run_t& run,
                                    sums_t& sums) {
    const double weight = weigh_stage(problem, tile, stage, rows);
    if (run.stages > 0 && run.weight + weight > RUN_SHARE * run.weight_before)
        close_run(tile, own, at, has_task, stage, run, sums);
    if (run.stages == 0 && weight > RUN_SHARE * run.weight_before)
        find_centre(problem, tile, own, stage, rows, weight);
    run.weight += weight;
    ++run.stages;
}

// ---- Blocks of rows ---------------------------------------------------------------------------

inline __device__ void clear_means(const tile_t& tile) {
    for (int column = threadIdx.x; column < tile.columns; column += blockDim.x) {
        tile.mean()[column] = wide_t();
        tile.run_sums()[column] = wide_t();
        tile.centre()[column] = acc_t();
    }
}

inline __device__ void write_means(const tile_t& tile, double weight) {
    if (!tile.is_diagonal) return;
    for (int column = threadIdx.x; column < tile.left.columns; column += blockDim.x)
        tile.partials[1 + tile.left.first + column] = tile.mean()[column];
    if (tile.left.first == 0 && threadIdx.x == 0) *tile.partials = conversion<wide_t, double>::of(weight);
}

// The sums over a block of rows, into its row of partials.
inline __device__ void add_block(const problem_t& problem, const tile_t& tile) {
    const feeder_t own(tile);
    const int group = divide(int(threadIdx.x), tile.tasks), stages = ratio_up(tile.rows, tile.stage_rows);
    const entries_t at(tile.corners()[int(threadIdx.x) - group * tile.tasks]);
    const bool has_task = group < tile.groups;
    sums_t sums;
    sums.clear();
    run_t run = {};
    bool is_first = true;
#pragma unroll 1
    for (int stage = 0; stage < STAGES; ++stage) copy_stage(problem, tile, own, stage);
#pragma unroll 1
    for (int stage = 0, until_flush = tile.stages_per_sum; stage < stages; ++stage, --until_flush) {
        if (until_flush == 0) {
            if (problem.is_centred) flush_columns(tile, own, stage, run);
            flush(tile, sums, stage, is_first);
            is_first = false;
            until_flush = tile.stages_per_sum;
        }
        const int rows = tile.rows_of(stage);
        wait_for_copies<STAGES - 1>();
        if (problem.is_centred || !IS_IN_PLACE) {
            if (tile.has_numbers || problem.has_weight) __syncthreads();
            if (problem.is_centred) centre_stage(problem, tile, own, at, has_task, stage, rows, run, sums);
            convert_stage<true>(problem, tile, own, stage, rows, run.sums);
        }
        __syncthreads();
        copy_stage(problem, tile, own, stage + STAGES);
        const int end = has_task ? rows : 0;
        if (problem.has_weight)
            sums.add_rows<true>(tile, at, tile.buffer(stage), tile.weights(stage), group, end, tile.groups);
        else
            sums.add_rows<false>(tile, at, tile.buffer(stage), tile.weights(stage), group, end, tile.groups);
    }
    if (problem.is_centred) {
        close_run(tile, own, at, has_task, stages, run, sums);
        write_means(tile, run.weight_before);
    }
    flush(tile, sums, stages, is_first);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE)
co_moment_partials(input_pointer X, input_pointer Y, const acc_t* weights, wide_t* partials, index_t n, index_t p,
                   index_t q, index_t x_problem_stride, index_t x_row_stride, index_t x_column_stride,
                   index_t y_problem_stride, index_t y_row_stride, index_t y_column_stride, index_t rows_per_block,
                   index_t is_joint, index_t is_centred, index_t has_weight) {
    problem_t problem = {0, X, Y, weights, n, int(p), int(q), x_problem_stride, x_row_stride, x_column_stride,
                         y_problem_stride, y_row_stride, y_column_stride, is_joint != 0,
                         is_centred != 0 && !IS_INTEGER, has_weight != 0};
    const int pairs = tile_pairs(problem);
    problem.number = divide(int(blockIdx.x), pairs);
    tile_t& tile = *shared_at<tile_t>(0);
    if (threadIdx.x == 0) make_tile(problem, int(blockIdx.x) - problem.number * pairs, tile);
    __syncthreads();
    for (int task = threadIdx.x; task < tile.tasks; task += blockDim.x)
        tile.corners()[task] = entries_t(tile, task).packed();
    const index_t blocks = divide(n + rows_per_block - 1, rows_per_block);
    for (index_t block = blockIdx.y; block < blocks; block += gridDim.y) {
        if (threadIdx.x == 0) {
            tile.first_row = block * rows_per_block;
            tile.rows = int(smaller(rows_per_block, n - tile.first_row));
            tile.partials = partials + (problem.number * blocks + block) * problem.partials_width();
        }
        clear_means(tile);
        __syncthreads();
        add_block(problem, tile);
    }
}

// ---- Finish -----------------------------------------------------------------------------------

// What some blocks of rows come to: their weight, the means of the two columns of an entry, and the entry.
struct merged_t {
    double weight;
    wide_t left_mean, right_mean, entry;
};

// Chan's formula.
inline __device__ merged_t merge(const merged_t& first, const merged_t& second) {
    const double weight = first.weight + second.weight;
    const double share = weight == 0 ? 0 : second.weight / weight;
    const wide_t left = subtract(second.left_mean, first.left_mean);
    const wide_t right = subtract(second.right_mean, first.right_mean);
    const wide_t between = scaled(first.weight * share, left);
    return {weight, add(first.left_mean, scaled(share, left)), add(first.right_mean, scaled(share, right)),
            add_product(add(first.entry, second.entry), between, right)};
}

// One problem's blocks of rows, and the threads that share an entry of them: `lanes`, `slots` apart.
struct blocks_t {
    const wide_t* partials;
    index_t count, both, columns, width;  // the columns of [X Y], of the matrix, and the numbers of a block
    bool is_centred;
    int lanes, slots;

    __device__ merged_t read(index_t block, index_t row, index_t column) const {
        const wide_t* own = partials + block * width;
        const wide_t entry = own[1 + both + row * columns + column];
        if (!is_centred) return {0, wide_t(), wide_t(), entry};
        return {double(real_part(own[0])), own[1 + row], own[1 + column], entry};
    }

    __device__ merged_t joined(const merged_t& first, const merged_t& second) const {
        if (is_centred) return merge(first, second);
        return {0, wide_t(), wide_t(), add(first.entry, second.entry)};
    }
};

// One entry over all blocks of rows, for the threads of every slot alike.
inline __device__ merged_t merge_blocks(const blocks_t& blocks, bool is_needed, index_t row, index_t column) {
    merged_t* lanes = reinterpret_cast<merged_t*>(shared_memory);
    const int lane = divide(int(threadIdx.x), blocks.slots), slot = int(threadIdx.x) - lane * blocks.slots;
    merged_t merged = merged_t();
    for (index_t block = lane; is_needed && block < blocks.count; block += FINISH_AT_ONCE * blocks.lanes) {
        merged_t read[FINISH_AT_ONCE];
#pragma unroll
        for (int k = 0; k < FINISH_AT_ONCE; ++k)
            read[k] = blocks.read(smaller(block + k * blocks.lanes, blocks.count - 1), row, column);
#pragma unroll
        for (int k = 0; k < FINISH_AT_ONCE; ++k)
            if (block + k * blocks.lanes < blocks.count) merged = blocks.joined(merged, read[k]);
    }
    __syncthreads();  // the entry before has been read
    lanes[threadIdx.x] = merged;
    for (int half = blocks.lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half)
            lanes[threadIdx.x] = blocks.joined(lanes[threadIdx.x], lanes[threadIdx.x + half * blocks.slots]);
    }
    __syncthreads();
    return lanes[slot];
}

// The square root of a diagonal entry of the scaled matrix.
inline __device__ double deviation(const blocks_t& blocks, bool is_needed, index_t column, double scale) {
    return sqrt(scale * double(real_part(merge_blocks(blocks, is_needed, column, column).entry)));
}

extern "C" __global__ void co_moment_finish(const wide_t* partials, double* total, acc_t* means, acc_t* out,
                                            index_t blocks_per_problem, index_t p, index_t q, index_t is_joint,
                                            index_t is_centred, index_t is_correlation, double scale) {
    const index_t both = p + q, rows = is_joint ? both : p, columns = is_joint ? both : q;
    const index_t width = 1 + both + rows * columns;
    const int lanes = power_of_two_up_to(int(smaller(blocks_per_problem, smaller(blockDim.x, FINISH_LANES))));
    const blocks_t blocks = {partials + blockIdx.x * blocks_per_problem * width, blocks_per_problem, both, columns,
                             width, is_centred != 0 && !IS_INTEGER, lanes, int(blockDim.x) / lanes};
    total += blockIdx.x;
    means += blockIdx.x * both;
    out += blockIdx.x * rows * columns;

    const index_t first_slot = divide(index_t(threadIdx.x), index_t(blocks.slots)) * blocks.slots;
    const index_t entries = rows * columns, step = gridDim.y * index_t(blocks.slots);
    for (index_t first = blockIdx.y * index_t(blocks.slots); first < entries; first += step) {
        const index_t entry = first + threadIdx.x - first_slot;
        const index_t row = divide(entry, columns), column = entry - row * columns;
        const bool is_needed = entry < entries && (!is_joint || row <= column);
        const merged_t merged = merge_blocks(blocks, is_needed, row, column);
        wide_t value = blocks.is_centred ? scaled(scale, merged.entry) : conjugate(merged.entry);
        if (is_joint && row == column) value = without_imaginary(value);
        if (is_correlation) {
            value = divided(value, deviation(blocks, is_needed, row, scale));
            value = clipped(divided(value, deviation(blocks, is_needed, column, scale)));
        }
        if (first_slot != 0 || !is_needed) continue;
        out[entry] = narrowed(value);
        if (is_joint && row != column) out[column * columns + row] = narrowed(conjugate(value));
        if (blocks.is_centred && row == column) {
            means[row] = narrowed(merged.left_mean);
            if (row == 0) *total = merged.weight;
        }
    }
}
