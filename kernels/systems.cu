// Many small regressions from their co-moments: normal equations, scaled to a unit diagonal, by Cholesky's factors.
//
//     H = matrix_xx / W        c = matrix_xy / W        yy = matrix_yy / W        all + mean ⊗ mean where not centred
//     (H + l2) w = c           intercept = mean_y - mean_x·w, 0 where not centred
//     loss = max(yy - c·w - l2 |w|², 0) / 2 + l2 / 2 |w|²
//
// total (problems), means (problems, d + k) and matrix (problems, d + k, d + k) are the co-moments of [X Y]; coef is
// (problems, d, k), intercept and loss (problems, k).  summary (3) comes in as infinities, and leaves with the least
// of all problems: of the reciprocal condition number of the scaled matrix, in the 1-norm, 0 where it is not positive
// definite to rounding, that is where a pivot is at most d * eps, and then coef is NaN; of the share that a loss is of
// its terms, which cancel each other; and of whether the co-moments are finite, 1 or 0.
//
// One thread takes one problem.  Its numbers lie in shared memory, those of all threads side by side, so that d may
// be any number and no bank is met twice; only the matrices come and the results go by neighbouring threads.
//
// Bytes moved: co-moments and results once.  Flops: about d³ / 2 + 2 k d².
//
// Tried on an H100, 100,000 problems of 4 columns, 28 µs with a summary for each block: all numbers in registers, which
// needs d when it is compiled, 11 µs; blocks of 32, 64 or 128 threads, the same; CuPy's batched Cholesky factors 940 µs,
// its batched solve 220 µs.  A whole fit of 100,000 x 32 x 4 takes 329 µs, its Python included, where torch's normal
// equations take 688 (bench/results/h100).

constexpr int THREADS = 128;  // at most
constexpr int BLOCKS_AT_ONCE = 6;
constexpr double EPSILON = 2.220446049250313e-16;

extern __shared__ uint4 shared_memory[];

inline __device__ double infinity() { return 1 / 0.0; }

inline __device__ bool is_finite(double x) { return x - x == 0; }

// The numbers of a thread: the lower triangle of the columns of [X Y] and three vectors.
struct system_t {
    double* numbers;
    int stride, d, columns;

    __device__ double& entry(int i, int j) const { return numbers[(i * (i + 1) / 2 + j) * stride]; }

    __device__ double& behind(int i) const { return numbers[(columns * (columns + 1) / 2 + i) * stride]; }

    // Reciprocal roots of the diagonal: those that scale the matrix, and those of its factor.
    __device__ double& root(int i) const { return behind(i); }

    __device__ double& pivot_root(int i) const { return behind(d + i); }

    __device__ double& work(int i) const { return behind(2 * d + i); }

    __device__ double scaled_diagonal(int i, double l2) const { return (entry(i, i) + l2) * root(i) * root(i); }

    // An element of the inverse of the factor.
    __device__ double inverse(int i, int j) const { return i == j ? pivot_root(i) : entry(i, j); }

    // Makes normal equations of the co-moments.
    __device__ void divide_moments(double total, const double* mean, bool is_centred) const {
        const double share = 1 / total;
        for (int i = 0; i < columns; ++i)
            for (int j = 0; j <= i; ++j)
                entry(i, j) = share * entry(i, j) + (is_centred ? 0 : mean[i] * mean[j]);
    }

    // Scales the matrix to a unit diagonal, all of it but the diagonal in place; its 1-norm.
    __device__ double scale(double l2) const {
        for (int i = 0; i < d; ++i) {
            root(i) = 1 / sqrt(entry(i, i) + l2);
            work(i) = 0;
        }
        for (int i = 0; i < d; ++i) {
            for (int j = 0; j < i; ++j) {
                entry(i, j) = entry(i, j) * root(i) * root(j);
                work(i) += fabs(entry(i, j));
                work(j) += fabs(entry(i, j));
            }
            work(i) += fabs(scaled_diagonal(i, l2));
        }
        return largest_work();
    }

    __device__ double largest_work() const {
        double largest = 0;
        for (int i = 0; i < d; ++i) largest = work(i) > largest ? work(i) : largest;
        return largest;
    }

    // Cholesky's factor in place of the matrix; whether every pivot is sound.
    __device__ bool factorise(double l2) const {
        bool is_sound = true;
        for (int j = 0; j < d; ++j) {
            double pivot = scaled_diagonal(j, l2);
            for (int k = 0; k < j; ++k) pivot = fma(-entry(j, k), entry(j, k), pivot);
            is_sound = is_sound && pivot > d * EPSILON;
            pivot_root(j) = 1 / sqrt(pivot);
            for (int i = j + 1; i < d; ++i) {
                double rest = entry(i, j);
                for (int k = 0; k < j; ++k) rest = fma(-entry(i, k), entry(j, k), rest);
                entry(i, j) = rest * pivot_root(j);
            }
        }
        return is_sound;
    }

    // The solution for a target, which is left in `work`.
    __device__ void solve(int target) const {
        for (int i = 0; i < d; ++i) {
            double rest = entry(d + target, i) * root(i);
            for (int k = 0; k < i; ++k) rest = fma(-entry(i, k), work(k), rest);
            work(i) = rest * pivot_root(i);
        }
        for (int i = d - 1; i >= 0; --i) {
            double rest = work(i);
            for (int k = i + 1; k < d; ++k) rest = fma(-entry(k, i), work(k), rest);
            work(i) = rest * pivot_root(i);
        }
        for (int i = 0; i < d; ++i) work(i) *= root(i);
    }

    // The inverse of the factor, in its place.
    __device__ void invert() const {
        for (int j = 0; j < d; ++j)
            for (int i = j + 1; i < d; ++i) {
                double rest = 0;
                for (int k = j; k < i; ++k) rest = fma(-entry(i, k), inverse(k, j), rest);
                entry(i, j) = rest * pivot_root(i);
            }
    }

    // The 1-norm of the inverse of the matrix, from that of its factor.
    __device__ double inverse_norm() const {
        for (int i = 0; i < d; ++i) work(i) = 0;
        for (int j = 0; j < d; ++j)
            for (int i = j; i < d; ++i) {
                double product = 0;
                for (int k = i; k < d; ++k) product = fma(inverse(k, i), inverse(k, j), product);
                work(i) += fabs(product);
                if (i != j) work(j) += fabs(product);
            }
        return largest_work();
    }

    __device__ bool has_finite_diagonal() const {
        bool is_sound = true;
        for (int i = 0; i < columns; ++i) is_sound = is_sound && is_finite(entry(i, i));
        return is_sound;
    }
};

enum { RECIPROCAL_CONDITION, LOSS_SHARE, IS_FINITE };

// What is said of all problems together: the least of three numbers, none of which is negative or NaN.
struct summary_t {
    double least[3] = {infinity(), infinity(), infinity()};

    __device__ void consider(int i, double value) { least[i] = value < least[i] ? value : least[i]; }
};

// Of numbers that are not negative the order is that of their bits.
inline __device__ void atomic_least(double* least, double value) {
    atomicMin(reinterpret_cast<long long*>(least), __double_as_longlong(value));
}

inline __device__ void summarise(const summary_t& own, double* summary) {
    summary_t* all = reinterpret_cast<summary_t*>(shared_memory);
    __syncthreads();  // the systems have been read
    all[threadIdx.x] = own;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        for (int i = 0; i < 3 && int(threadIdx.x) < half; ++i)
            all[threadIdx.x].consider(i, all[threadIdx.x + half].least[i]);
    }
    __syncthreads();
    if (threadIdx.x < 3) atomic_least(summary + threadIdx.x, all[0].least[threadIdx.x]);
}

// Solves one problem, and writes what it finds.
inline __device__ summary_t solve(const system_t& system, double total, const double* mean, bool is_centred, double l2,
                                  double* coef, double* intercept, double* loss) {
    const int d = system.d, k = system.columns - d;
    system.divide_moments(total, mean, is_centred);
    summary_t summary;
    summary.consider(IS_FINITE, system.has_finite_diagonal());
    const double norm = system.scale(l2);
    const bool is_sound = system.factorise(l2);
    for (int target = 0; target < k; ++target) {
        system.solve(target);
        const double yy = system.entry(d + target, d + target);
        double along = 0, square = 0, size = 0, height = is_centred ? mean[d + target] : 0;
        for (int i = 0; i < d; ++i) {
            const double w = system.work(i);
            coef[i * k + target] = w;
            along += system.entry(d + target, i) * w;
            square += w * w;
            size += sqrt(system.entry(i, i)) * fabs(w);
            height -= is_centred ? mean[i] * w : 0;
        }
        const double rest = yy - along - l2 * square, terms = yy + size * size;
        summary.consider(LOSS_SHARE, rest > 0 ? rest / terms : 0);
        intercept[target] = height;
        loss[target] = (rest > 0 ? rest : 0) / 2 + l2 / 2 * square;
    }
    system.invert();
    const double condition = norm * system.inverse_norm();
    const bool is_solved = is_sound && condition < infinity();
    summary.consider(RECIPROCAL_CONDITION, is_solved ? 1 / condition : 0);
    for (int i = 0; i < d * k && !is_solved; ++i) coef[i] = infinity() - infinity();
    return summary;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE)
solve_systems(const acc_t* total, const acc_t* means, const acc_t* matrix, acc_t* coef, acc_t* intercept, acc_t* loss,
              acc_t* summary, index_t problems, index_t d, index_t k, index_t is_centred, double l2) {
    const int threads = blockDim.x, columns = int(d + k), cells = columns * columns;
    double* numbers = reinterpret_cast<double*>(shared_memory);
    const index_t first = blockIdx.x * index_t(threads), own = first + threadIdx.x;
    const int count = int(smaller(threads, problems - first));
    counter_t<int, 3> place = {{1, columns, columns}}, step = {{1, columns, columns}};
    place.set(threadIdx.x);
    step.set(threads);
    for (int i = threadIdx.x; i < count * cells; i += threads) {
        const system_t system = {numbers + place.digit[0], threads, int(d), columns};
        if (place.digit[1] >= place.digit[2]) system.entry(place.digit[1], place.digit[2]) = matrix[first * cells + i];
        place.advance(step);
    }
    __syncthreads();
    summary_t found;
    if (own < problems)
        found = solve({numbers + threadIdx.x, threads, int(d), columns}, total[own], means + own * columns,
                      is_centred != 0, l2, coef + own * d * k, intercept + own * k, loss + own * k);
    summarise(found, summary);
}
