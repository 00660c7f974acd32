// Tiles of a matrix of sums of outer products: how the matrix is cut, where a tile's columns lie in shared
// memory, and how its rows get there.
//
// A stage is some rows of the columns that a tile takes: those of its left side, and behind them those of its
// right side where that is another one.  It lies in a ring that copy_async fills while earlier stages are
// multiplied: there it stays where X has the summing type, and is centred in place.  Else it becomes acc_t in one of
// two buffers by turns.
//
// The host compiles this for the shape and the types (moments.py): THREADS of a block, BLOCKS_AT_ONCE on a
// multiprocessor, STAGES on their way at once, MOST_SLOTS for chunks of a thread in a stage, and SHARED_BYTES.

constexpr int EDGE = IS_INTEGER ? 4 : 32 / sizeof(acc_t);  // of a thread's entries, which stay in registers
constexpr bool HAS_QUADS = EDGE != 8;                      // threads in fours, see entries_t
constexpr int PATCH = 2 * EDGE < 8 ? 2 * EDGE : 8;         // columns of a tile come in patches
constexpr int MOST_COLUMNS = 64;                           // of one side of a tile
constexpr int EXTRA_ROWS = 2;                              // that Chan's formula asks for
constexpr int ROWS_PER_SUM = 256;
constexpr int DESCRIPTION_BYTES = 512;  // of a tile_t

constexpr int WARP = 32;
constexpr int BATCH = 2;  // chunks that a thread converts at once
constexpr int PIECE = 16 / sizeof(acc_t);                      // numbers in 16 bytes of a buffer
constexpr int PIECES = CHUNK * sizeof(acc_t) / sizeof(uint4);  // that a chunk of X or Y becomes there
constexpr int NUMBERS_IN_FLIGHT = 8;  // where a number is too small to be copied behind a thread's back

// Rows of a thread's entries that a flush brings to shared memory at once.
constexpr int FLUSH_BYTES = 8192;
constexpr int FLUSH_ROWS = FLUSH_BYTES / (THREADS * EDGE * int(sizeof(acc_t)));
constexpr int STRIPS = FLUSH_ROWS < EDGE ? FLUSH_ROWS : EDGE;

// What a flush and the sums of columns take of the memory of a stage.
constexpr int COLUMN_BYTES = THREADS * (int(CHUNK) + 1) * int(sizeof(wide_t));
constexpr int SPARE_BYTES = IS_INTEGER || COLUMN_BYTES < FLUSH_BYTES ? FLUSH_BYTES : COLUMN_BYTES;

template <class First, class Second>
constexpr bool ARE_ALIKE = false;

template <class Number>
constexpr bool ARE_ALIKE<Number, Number> = true;

constexpr bool IS_IN_PLACE = ARE_ALIKE<scalar_t, acc_t>;
constexpr int RING = IS_IN_PLACE ? STAGES + 1 : STAGES;
constexpr int BUFFERS = IS_IN_PLACE ? 0 : 2;

extern __shared__ uint4 shared_memory[];

// ---- Layout -----------------------------------------------------------------------------------

// Some columns of X or of Y on their way to columns `offset`, ... of a stage.
struct source_t {
    index_t start, row_stride, column_stride;
    int columns, offset;
    bool is_y;
    bool has_chunks;  // its rows are whole chunks, aligned here and there

    __device__ index_t step(index_t row, index_t column) const { return row * row_stride + column * column_stride; }
};

struct problem_t {
    int number;
    input_pointer X, Y;
    const acc_t* weights;
    index_t n;
    int p, q;
    index_t x_problem_stride, x_row_stride, x_column_stride, y_problem_stride, y_row_stride, y_column_stride;
    bool is_joint, is_centred, has_weight;

    __device__ int left_columns() const { return is_joint ? p + q : p; }

    __device__ int right_columns() const { return is_joint ? p + q : q; }

    __device__ index_t partials_width() const { return 1 + p + q + left_columns() * index_t(right_columns()); }

    // Where the columns of a source begin in a row.
    __device__ input_pointer input(const source_t& source, index_t row) const {
        return (source.is_y ? Y : X) + (source.start + source.step(row, 0));
    }

    // The real part of a weight, which comes first.
    __device__ const real_t* weight(index_t row) const {
        return reinterpret_cast<const real_t*>(weights + (number * n + row));
    }
};

template <class Number>
inline __device__ Number* shared_at(int place) {
    return reinterpret_cast<Number*>(shared_memory + place);
}

// The columns of [X Y] that a tile takes along one axis; column `offset` of a stage is the first of them.
struct side_t {
    int first, columns, offset;

    __device__ int chunks() const { return (columns + int(CHUNK) - 1) / int(CHUNK); }
};

// What a block computes.  It lies at the beginning of shared memory, because registers are scarce.  Places in
// shared memory count 16 bytes: a pointer would take two registers and forget which memory it points to.
struct tile_t {
    side_t left, right;  // along the rows of the matrix and along its columns; alike on the diagonal of a joint one
    source_t source[4];
    int sources;
    bool is_diagonal, has_numbers;  // the second where a source has no chunks

    int columns, chunks;    // of a stage
    int step, lanes;        // rows that the threads cover with a chunk each, and those of them in a stage
    int raw_pitch, pitch;   // 16-byte pieces from one row to the next, in the ring and in a buffer
    int stage_rows;
    int slot;  // pieces from one stage of the ring to the next
    int stages_per_sum;

    int tasks, groups;  // threads for a row, and rows at a time

    int corners_place, mean_place, run_place, centre_place, weights_place, extra_weights_place, extra_place;
    int raw_place, buffer_place;
    index_t first_entry, entry_stride;  // where partials hold the tile

    // The block of rows that is summed now.
    index_t first_row;
    int rows;
    wide_t* partials;

    __device__ int left_strips() const { return (left.columns + EDGE - 1) / EDGE; }

    __device__ int right_strips() const { return (right.columns + EDGE - 1) / EDGE; }

    // Of the columns of all rows that have been merged.
    __device__ wide_t* mean() const { return shared_at<wide_t>(mean_place); }

    // Sums of the columns of a run, less its centre.
    __device__ wide_t* run_sums() const { return shared_at<wide_t>(run_place); }

    // What the rows of a run are relative to.
    __device__ acc_t* centre() const { return shared_at<acc_t>(centre_place); }

    // The rows of Chan's formula, and their weights.
    __device__ acc_t* extra() const { return shared_at<acc_t>(extra_place); }

    __device__ real_t* extra_weights() const { return shared_at<real_t>(extra_weights_place); }

    // A stage's weights outlast its copy in the ring.
    __device__ real_t* weights(int stage) const {
        return shared_at<real_t>(weights_place) + stage % (STAGES + 1) * stage_rows;
    }

    __device__ uint4* raw(int stage) const {
        return shared_memory + raw_place + stage % RING * slot;
    }

    __device__ uint4* buffer(int stage) const {
        if constexpr (IS_IN_PLACE)
            return raw(stage);
        else
            return shared_memory + buffer_place + stage % BUFFERS * (stage_rows * pitch);
    }

    // Memory that is free while a stage waits to be multiplied.
    __device__ uint4* spare(int stage) const { return IS_IN_PLACE ? raw(stage + STAGES) : buffer(0); }

    __device__ unsigned* corners() const { return shared_at<unsigned>(corners_place); }

    __device__ int rows_of(int stage) const { return int(smaller(stage_rows, rows - stage * stage_rows)); }
};

static_assert(sizeof(tile_t) <= DESCRIPTION_BYTES, "what a block computes has its place in shared memory");

inline __device__ int ratio_up(int x, int y) { return divide(x + y - 1, y); }

inline __device__ int power_of_two_up_to(int limit) {
    int power = 1;
    while (2 * power <= limit) power *= 2;
    return power;
}

inline __device__ int pieces(int bytes) { return (bytes + 15) / 16; }

// How an axis of the matrix falls into tiles: even shares of whole patches, for each of which there is a thread.
struct cut_t {
    int width, tiles;

    __device__ explicit cut_t(int columns) {
        int most = EDGE;
        while (2 * most <= MOST_COLUMNS && 4 * most * most <= EDGE * EDGE * int(blockDim.x)) most *= 2;
        width = ratio_up(ratio_up(columns, ratio_up(columns, most)), PATCH) * PATCH;
        tiles = ratio_up(columns, width);
    }

    __device__ side_t side(int origin, int columns, int tile, int offset) const {
        return {origin + tile * width, int(smaller(width, columns - tile * width)), offset};
    }
};

inline __device__ int tile_pairs(const problem_t& problem) {
    const cut_t left(problem.left_columns()), right(problem.right_columns());
    return problem.is_joint ? left.tiles * (left.tiles + 1) / 2 : left.tiles * right.tiles;
}

// The part of a side that lies in X, its first columns, or in Y, whose first is the p-th of [X Y].
inline __device__ source_t make_source(const problem_t& problem, const side_t& side, bool is_y) {
    const int of_x = int(larger(0, smaller(side.columns, problem.p - side.first)));
    const index_t problem_stride = is_y ? problem.y_problem_stride : problem.x_problem_stride;
    source_t source;
    source.row_stride = is_y ? problem.y_row_stride : problem.x_row_stride;
    source.column_stride = is_y ? problem.y_column_stride : problem.x_column_stride;
    source.columns = is_y ? side.columns - of_x : of_x;
    source.offset = side.offset + (is_y ? of_x : 0);
    source.is_y = is_y;
    const int first_column = is_y ? side.first + of_x - problem.p : side.first;
    source.start = problem.number * problem_stride + source.step(0, first_column);
    source.has_chunks = source.column_stride == 1 && source.row_stride % CHUNK == 0 && source.columns % CHUNK == 0 &&
                        source.offset % CHUNK == 0 && is_aligned(address_of(problem.input(source, 0)));
    return source;
}

inline __device__ void make_sources(const problem_t& problem, tile_t& tile) {
    tile.sources = 0;
    tile.has_numbers = false;
    for (int part = 0; part < (tile.is_diagonal ? 2 : 4); ++part) {
        const source_t source = make_source(problem, part < 2 ? tile.left : tile.right, part % 2);
        if (source.columns == 0) continue;
        tile.source[tile.sources++] = source;
        tile.has_numbers = tile.has_numbers || !source.has_chunks;
    }
}

inline __device__ void make_tasks(tile_t& tile) {
    const int left = tile.left_strips(), right = tile.right_strips();
    tile.tasks = tile.is_diagonal ? left * (left + 1) / 2 + (HAS_QUADS ? left / 2 : 0) : left * right;
    tile.groups = divide(int(blockDim.x), tile.tasks);
}

// Shares out the memory of a block: to stages as many rows as it has room for, in whole rounds of the groups.
inline __device__ void make_places(tile_t& tile) {
    constexpr int REAL = sizeof(real_t), ACC = sizeof(acc_t), WIDE = sizeof(wide_t);
    const int behind_last_row = pieces(2 * PATCH * ACC);  // read with its last strips, and of no use
    tile.corners_place = DESCRIPTION_BYTES / 16;
    tile.mean_place = tile.corners_place + pieces(tile.tasks * int(sizeof(unsigned)));
    tile.run_place = tile.mean_place + pieces(tile.columns * WIDE);
    tile.centre_place = tile.run_place + pieces(tile.columns * WIDE);
    tile.extra_weights_place = tile.centre_place + pieces(tile.columns * ACC);
    tile.extra_place = tile.extra_weights_place + pieces(EXTRA_ROWS * REAL);
    tile.raw_place = tile.extra_place + EXTRA_ROWS * tile.pitch + behind_last_row;

    const int row_bytes = 16 * (RING * tile.raw_pitch + BUFFERS * tile.pitch) + (STAGES + 1) * REAL;
    const int limit = divide(SHARED_BYTES - 16 * (tile.raw_place + behind_last_row + 1), row_bytes);
    const int rows = int(smaller(limit, MOST_SLOTS * tile.step));
    tile.stage_rows = rows < tile.groups ? rows : divide(rows, tile.groups) * tile.groups;
    tile.lanes = int(smaller(tile.step, tile.stage_rows));
    tile.stages_per_sum = int(larger(1, divide(ROWS_PER_SUM * tile.groups, tile.stage_rows)));
    tile.slot = int(larger(tile.stage_rows * tile.raw_pitch, IS_IN_PLACE ? pieces(SPARE_BYTES) : 0));
    tile.weights_place = tile.raw_place + RING * tile.slot;
    tile.buffer_place = tile.weights_place + pieces((STAGES + 1) * tile.stage_rows * REAL);
}

// The pair-th tile of a matrix, row by row.
inline __device__ void make_tile(const problem_t& problem, int pair, tile_t& tile) {
    const cut_t left(problem.left_columns()), right(problem.right_columns());
    int row = 0, column = pair;
    if (problem.is_joint) {
        for (int across = left.tiles; column >= across; --across, ++row) column -= across;
        column += row;
    } else {
        row = divide(pair, right.tiles);
        column -= row * right.tiles;
    }
    tile.is_diagonal = problem.is_joint && row == column;
    tile.left = left.side(0, problem.left_columns(), row, 0);
    tile.right = tile.left;
    if (!tile.is_diagonal)
        tile.right = right.side(problem.is_joint ? 0 : problem.p, problem.right_columns(), column,
                                tile.left.chunks() * int(CHUNK));
    make_sources(problem, tile);
    tile.chunks = tile.left.chunks() + (tile.is_diagonal ? 0 : tile.right.chunks());
    tile.columns = tile.chunks * int(CHUNK);
    tile.step = divide(int(blockDim.x), tile.chunks);
    // An odd pitch: threads at the same column of neighbouring rows meet in no bank.
    tile.raw_pitch = tile.chunks > 2 ? tile.chunks | 1 : tile.chunks;
    tile.pitch = IS_IN_PLACE ? tile.raw_pitch : tile.chunks * PIECES | 1;
    make_tasks(tile);
    make_places(tile);
    tile.entry_stride = problem.right_columns();
    tile.first_entry = 1 + problem.p + problem.q + tile.left.first * tile.entry_stride + column * right.width;
}

// The first row and column of the entries that a thread of a group computes.  Four neighbours take two strips by
// two, those on the diagonal come last: three of them, but four where threads come in fours, so that threads i and
// i ^ 1 read the same left strip, i and i ^ 2 the same right one.
struct entries_t {
    int row, column;

    __device__ explicit entries_t(unsigned packed) : row(packed >> 16), column(packed & 0xffff) {}

    __device__ unsigned packed() const { return unsigned(row) << 16 | unsigned(column); }

    __device__ entries_t(const tile_t& tile, int task) : row(0), column(0) {
        const int left = tile.left_strips(), right = tile.right_strips();
        for (int pass = 0; pass <= int(tile.is_diagonal); ++pass)
            for (int above = 0; above < left; above += 2) {
                const int end = pass ? above + 1 : right;
                for (int across = pass ? above : tile.is_diagonal ? above + 2 : 0; across < end; across += 2) {
                    const int width = right - across < 2 ? 1 : 2, height = left - above < 2 ? 1 : 2;
                    const bool is_cut = pass && !HAS_QUADS;
                    const int count = is_cut ? width * (width + 1) / 2 : width * height;
                    if (0 <= task && task < count) {
                        const int corner = task + (is_cut && task == 2);
                        row = (above + corner / width) * EDGE;
                        column = (across + corner % width) * EDGE;
                    }
                    task -= count;
                }
            }
    }
};

// ---- Copy -------------------------------------------------------------------------------------

// A thread's part of every stage: a chunk of a row, and of every `step`-th row after it.
struct feeder_t {
    int lane, chunk;
    int source;  // of the tile, or -1 where the chunk is not copied whole

    __device__ explicit feeder_t(const tile_t& tile) : source(-1) {
        lane = divide(int(threadIdx.x), tile.chunks);
        chunk = int(threadIdx.x) - lane * tile.chunks;
        for (int number = 0; number < tile.sources; ++number) {
            const source_t& candidate = tile.source[number];
            const int column = first_column() - candidate.offset;
            if (candidate.has_chunks && 0 <= column && column < candidate.columns) source = number;
        }
    }

    __device__ int first_column() const { return chunk * int(CHUNK); }
};

inline __device__ void copy_chunks(const problem_t& problem, const tile_t& tile, const feeder_t& own, int stage,
                                   int rows) {
    if (own.source < 0 || own.lane >= tile.lanes) return;
    const source_t& source = tile.source[own.source];
    const index_t row = tile.first_row + stage * tile.stage_rows + own.lane;
    const int step = tile.step, raw_step = step * tile.raw_pitch;
    const index_t source_step = step * source.row_stride;
    input_pointer next = problem.input(source, row) + (own.first_column() - source.offset);
    uint4* destination = tile.raw(stage) + own.lane * tile.raw_pitch + own.chunk;
#pragma unroll
    for (int slot = 0; slot < MOST_SLOTS; ++slot, next = next + source_step)
        if (own.lane + slot * step < rows) copy_async(destination + slot * raw_step, reading(next, CHUNK));
}

template <class Number>
inline __device__ void copy_number(Number* shared, const Number* global) {
    if constexpr (sizeof(Number) == 4 || sizeof(Number) == 8)
        copy_async_scalar(shared, global);
    else
        *shared = *global;
}

// Its parts: the whole may be aligned like one of them.
template <class Real>
inline __device__ void copy_number(complex_t<Real>* shared, const complex_t<Real>* global) {
    copy_async_scalar(&shared->real, &global->real);
    copy_async_scalar(&shared->imag, &global->imag);
}

// Copies `count` numbers, so many apart; those that are small are all asked for before the first is needed.
inline __device__ void copy_run(scalar_t* shared, int shared_step, input_pointer next, index_t step, int count) {
    if constexpr (sizeof(scalar_t) < 4) {
        for (int i = 0; i < count; i += NUMBERS_IN_FLIGHT) {
            scalar_t loaded[NUMBERS_IN_FLIGHT] = {};
#pragma unroll
            for (int k = 0; k < NUMBERS_IN_FLIGHT; ++k, next = next + step)
                if (i + k < count) loaded[k] = load(next);
#pragma unroll
            for (int k = 0; k < NUMBERS_IN_FLIGHT; ++k, shared += shared_step)
                if (i + k < count) *shared = loaded[k];
        }
    } else {
#pragma unroll 4
        for (int i = 0; i < count; ++i, next = next + step, shared += shared_step)
            copy_number(shared, reading(next, 1));
    }
}

// Neighbouring threads run along whichever axis has the smaller stride.
inline __device__ void copy_numbers(const problem_t& problem, const tile_t& tile, const source_t& source, int stage,
                                    int rows) {
    const bool along_rows = llabs(source.row_stride) < llabs(source.column_stride);
    const int row_pitch = tile.raw_pitch * int(CHUNK);
    const int fast_count = along_rows ? rows : source.columns, slow_count = along_rows ? source.columns : rows;
    const int fast_pitch = along_rows ? row_pitch : 1, slow_pitch = along_rows ? 1 : row_pitch;
    const index_t fast_stride = along_rows ? source.row_stride : source.column_stride;
    const index_t slow_stride = along_rows ? source.column_stride : source.row_stride;
    const int across = int(smaller(fast_count, blockDim.x)), step = divide(int(blockDim.x), across);
    const int slow = divide(int(threadIdx.x), across);
    if (slow >= step || slow >= slow_count) return;
    const input_pointer start = problem.input(source, tile.first_row + stage * tile.stage_rows);
    scalar_t* destination = reinterpret_cast<scalar_t*>(tile.raw(stage)) + source.offset;
    for (int fast = int(threadIdx.x) - slow * across; fast < fast_count; fast += across)
        copy_run(destination + fast * fast_pitch + slow * slow_pitch, step * slow_pitch,
                 start + (fast * fast_stride + slow * slow_stride), step * slow_stride,
                 ratio_up(slow_count - slow, step));
}

// Sends a stage on its way to the ring, if the block of rows has one of that number.
inline __device__ void copy_stage(const problem_t& problem, const tile_t& tile, const feeder_t& own, int stage) {
    const int rows = tile.rows_of(stage);
    if (rows > 0) {
        copy_chunks(problem, tile, own, stage, rows);
        for (int number = 0; tile.has_numbers && number < tile.sources; ++number)
            if (!tile.source[number].has_chunks) copy_numbers(problem, tile, tile.source[number], stage, rows);
        const index_t first_row = tile.first_row + stage * tile.stage_rows;
        for (int row = threadIdx.x; problem.has_weight && row < rows; row += blockDim.x)
            copy_number(tile.weights(stage) + row, problem.weight(first_row + row));
    }
    commit_copies();
}

// ---- Convert ----------------------------------------------------------------------------------

// A chunk of X or Y in the summing type.  It is stored by whole pieces only where the compiler sees from the
// address that it counts 16 bytes: as numbers one by one it would meet four times as many banks.
union staged_t {
    uint4 pieces[PIECES];
    acc_t values[CHUNK];

    __device__ void load(const uint4* place) {
#pragma unroll
        for (int i = 0; i < PIECES; ++i) pieces[i] = place[i];
    }

    __device__ void store(uint4* place) const {
#pragma unroll
        for (int i = 0; i < PIECES; ++i) place[i] = pieces[i];
    }
};

inline __device__ staged_t raw_chunk(const uint4* place) {
    chunk_t chunk;
    chunk.bits = *place;
    staged_t converted;
#pragma unroll
    for (int v = 0; v < CHUNK; ++v) converted.values[v] = to_sum(chunk.values[v]);
    return converted;
}

// Sums of a thread's columns.
struct column_sums_t {
    acc_t values[CHUNK];
};

// Converts AT_ONCE chunks of a thread: all are loaded before the first is stored, which the compiler could not know
// to be allowed.  What is centred is relative to `centre`, and its weighted sum is added to `sums`.
template <int AT_ONCE, bool IS_CENTRED, bool HAS_WEIGHT, bool IS_KEPT>
inline __device__ void convert_chunks(const uint4* source, int raw_step, uint4* destination, int buffer_step,
                                      const real_t* weights, int step, const staged_t& centre, column_sums_t& sums) {
    staged_t chunks[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) chunks[k] = raw_chunk(source + k * raw_step);
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
#pragma unroll
        for (int v = 0; IS_CENTRED && v < CHUNK; ++v) {
            acc_t& value = chunks[k].values[v];
            value = subtract(value, centre.values[v]);
            acc_t& sum = sums.values[v];
            sum = add(sum, HAS_WEIGHT ? scaled(weights[k * step], value) : value);
        }
        if (IS_KEPT) chunks[k].store(destination + k * buffer_step);
    }
}

// Brings a thread's chunks of a stage, which have arrived, to its buffer.
template <bool IS_CENTRED, bool HAS_WEIGHT, bool IS_KEPT>
inline __device__ void convert(const tile_t& tile, const feeder_t& own, int stage, int rows, column_sums_t& sums) {
    if (own.lane >= tile.lanes) return;
    staged_t centre = {};
    if (IS_CENTRED) centre.load(shared_memory + tile.centre_place + own.chunk * PIECES);
    const int step = tile.step, raw_step = step * tile.raw_pitch;
    const int buffer_step = IS_IN_PLACE ? raw_step : step * tile.pitch;
    const uint4* source = tile.raw(stage) + own.lane * tile.raw_pitch + own.chunk;
    uint4* destination = tile.buffer(stage) + own.lane * tile.pitch + own.chunk * PIECES;
    const real_t* weights = tile.weights(stage);
    int row = own.lane;
#pragma unroll 1
    for (; row + (BATCH - 1) * step < rows; row += BATCH * step) {
        convert_chunks<BATCH, IS_CENTRED, HAS_WEIGHT, IS_KEPT>(source, raw_step, destination, buffer_step,
                                                               weights + row, step, centre, sums);
        source += BATCH * raw_step;
        destination += BATCH * buffer_step;
    }
#pragma unroll 1
    for (; row < rows; row += step) {
        convert_chunks<1, IS_CENTRED, HAS_WEIGHT, IS_KEPT>(source, raw_step, destination, buffer_step, weights + row,
                                                           step, centre, sums);
        source += raw_step;
        destination += buffer_step;
    }
}

template <bool IS_KEPT>
inline __device__ void convert_stage(const problem_t& problem, const tile_t& tile, const feeder_t& own, int stage,
                                     int rows, column_sums_t& sums) {
    if (!problem.is_centred)
        convert<false, false, IS_KEPT>(tile, own, stage, rows, sums);
    else if (problem.has_weight)
        convert<true, true, IS_KEPT>(tile, own, stage, rows, sums);
    else
        convert<true, false, IS_KEPT>(tile, own, stage, rows, sums);
}
