"""Device code, and nothing else: ``.cu`` files and their Numba twins, with one binary interface.

Each pair ``NAME.cu`` / ``NAME.py`` holds kernels of the same names with the same arguments in the
same order.  ``scalar_t`` is the stored type and ``acc_t`` the summing type; counts and strides are
64-bit, strides count elements, and a stride of 0 broadcasts.

======================  ==========================================================================
kernel                  arguments
======================  ==========================================================================
``batched_outer``       a, b, out, outer_count, inner_count, m, n,
                        a_outer_stride, a_inner_stride, b_outer_stride, b_inner_stride,
                        alpha, beta
``cross_contiguous``    a, b, out, count
``cross_strided``       a, b, out, outer_count, inner_count,
                        a_outer_stride, a_inner_stride, a_component_stride,
                        b_outer_stride, b_inner_stride, b_component_stride
``linreg_partials``     X, y, w, sample_weight, x_offset, partials, n, d, k, y_columns,
                        x_problem_stride, x_row_stride, x_column_stride,
                        rows_per_block, rows_per_tile, has_weight, has_offset
``linreg_finish``       partials, w, out, loss, blocks_per_problem, d, k,
                        l1, l2, learning_rate, is_step, has_loss
======================  ==========================================================================

``out`` is C-contiguous everywhere, and so are the rows of a and b in ``batched_outer``.  Where a
flag says that an optional array is absent, its argument is any valid array and is never read.
``alpha`` and ``beta`` are ``acc_t``; ``l1``, ``l2`` and ``learning_rate`` are double.  ``partials``
is double, ``(problems, blocks_per_problem, d * k + k + 1)``: the sums of ``x * s * r``, of
``s * r**2`` and of ``s`` over one block of rows.
"""
