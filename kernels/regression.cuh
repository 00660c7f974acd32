// One problem of linear regression, as the kernels of regression read it.

// The kernel's own arguments, which cost no registers where they stand, and the number of the problem.
struct problem_t {
    index_t number;
    input_pointer X;
    const acc_t *y, *w, *sample_weight, *x_offset;
    index_t n, d, k, y_columns, problem_stride, row_stride, column_stride;
    bool has_weight, has_offset;

    __device__ input_pointer x(index_t row, index_t column) const {
        return X + (number * problem_stride + row * row_stride + column * column_stride);
    }

    __device__ acc_t offset(index_t column) const { return x_offset[number * d + column]; }

    __device__ acc_t centred(scalar_t x, index_t column) const {
        return has_offset ? to_sum(x) - offset(column) : to_sum(x);
    }

    // The targets of a row, from a column of y on.
    __device__ const acc_t* targets(index_t row, index_t y_column) const {
        return y + (number * n + row) * y_columns + y_column;
    }

    __device__ acc_t target(index_t row, index_t model) const { return *targets(row, y_columns == 1 ? 0 : model); }

    __device__ const acc_t* weights(index_t row) const { return sample_weight + number * n + row; }

    __device__ acc_t weight(index_t row) const { return has_weight ? *weights(row) : acc_t(1); }

    __device__ const acc_t* coefficients(index_t column, index_t model) const {
        return w + (number * d + column) * k + model;
    }
};
