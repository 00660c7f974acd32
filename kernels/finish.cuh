// From sums over blocks of rows to coefficients and losses: the arithmetic that several kernels have to share,
// so that a step has the same bits whichever of them takes it.

// Written so that a NaN stays one: fmax would turn it into 0.
inline __device__ double soft_threshold(double value, double threshold) {
    const double shrunk = fabs(value) - threshold;
    return copysign(shrunk < 0 ? 0.0 : shrunk, value);
}

// One lane of the sum of `column` over the blocks of rows.
inline __device__ double sum_blocks(const double* partials, index_t blocks, index_t width, index_t column, int lane,
                                    int lanes) {
    double sum = 0;
#pragma unroll 8
    for (index_t block = lane; block < blocks; block += lanes) sum += partials[block * width + column];
    return sum;
}

// One lane of the penalties of a model; w points at its first coefficient.
inline __device__ double sum_penalties(const acc_t* w, index_t d, index_t k, double l1, double l2, int lane,
                                       int lanes) {
    double sum = 0;
    for (index_t column = lane; column < d; column += lanes) {
        const double coefficient = w[column * k];
        sum += l1 * fabs(coefficient) + l2 / 2 * coefficient * coefficient;
    }
    return sum;
}

inline __device__ double gradient_of(double sum, double total_weight, acc_t w, double l2) {
    return sum / total_weight + l2 * w;
}

inline __device__ double proximal_step(acc_t w, double gradient, double learning_rate, double l1) {
    return soft_threshold(w - learning_rate * gradient, learning_rate * l1);
}
