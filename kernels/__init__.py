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
``vecdot``              a, b, out, outer_count, inner_count, length,
                        a_outer_stride, a_inner_stride, a_component_stride,
                        b_outer_stride, b_inner_stride, b_component_stride, lanes
``vector_angle``        as ``triple_product``
``parallelogram_area``  as ``triple_product``
``triangle_area``       as ``triple_product``
``triple_product``      a, b, c, out, outer_count, inner_count,
                        a_outer_stride, a_inner_stride, a_component_stride,
                        b_outer_stride, b_inner_stride, b_component_stride,
                        c_outer_stride, c_inner_stride, c_component_stride
``face_normals``        vertices, faces, out, first_bad, batch, vertex_count, face_count,
                        vertex_batch_stride, vertex_stride, vertex_component_stride, is_wide, is_unit
``vertex_normals``      vertices, faces, order, out, first_bad, batch, vertex_count, face_count,
                        vertex_batch_stride, vertex_stride, vertex_component_stride, is_wide
``grid_normals``        z, dx, out, batch, rows, columns,
                        z_batch_stride, z_row_stride, z_column_stride, dy
``co_moment_partials``  X, Y, weights, partials, n, p, q,
                        x_problem_stride, x_row_stride, x_column_stride,
                        y_problem_stride, y_row_stride, y_column_stride,
                        rows_per_block, is_joint, is_centred, has_weight
``co_moment_finish``    partials, total, means, out, blocks_per_problem, p, q,
                        is_joint, is_centred, is_correlation, scale
``small_co_moments``    X, Y, weights, total, means, out, problems, n, p, q,
                        x_problem_stride, x_row_stride, x_column_stride,
                        y_problem_stride, y_row_stride, y_column_stride,
                        problems_per_block, row_lanes, column_lanes,
                        is_joint, is_centred, is_correlation, has_weight, scale
``solve_systems``       total, means, matrix, coef, intercept, loss, summary,
                        problems, d, k, is_centred, l2
``linreg_partials``     X, y, w, sample_weight, x_offset, partials, n, d, k, y_columns,
                        x_problem_stride, x_row_stride, x_column_stride,
                        rows_per_block, rows_per_tile, has_weight, has_offset
``linreg_lane_partials``
                        X, y, w, sample_weight, x_offset, partials, n, d, k, y_columns,
                        x_problem_stride, x_row_stride, x_column_stride, rows_per_block, has_weight
``linreg_lane_steps``   X, y, w, sample_weight, x_offset, points, squares, weights, mail, n, d, k,
                        y_columns, x_problem_stride, x_row_stride, x_column_stride, rows_per_block,
                        has_weight, steps, lanes, l1, l2, learning_rate
``linreg_step_losses``  squares, weights, w, points, losses, steps, problems, blocks_per_problem,
                        d, k, lanes, l1, l2
``linreg_finish``       partials, w, out, loss, blocks_per_problem, d, k, lanes,
                        l1, l2, learning_rate, is_step, has_loss
======================  ==========================================================================

``out`` is C-contiguous everywhere, and so are the rows of a and b in ``batched_outer``.  Where a
flag says that an optional array is absent, its argument is any valid array and is never read; so is
c of ``vector_angle`` and ``parallelogram_area``.  ``alpha`` and ``beta`` are ``acc_t``; ``l1``,
``l2``, ``learning_rate``, ``scale`` and ``dy`` are double.

``partials`` of ``linreg`` is double, ``(problems, blocks_per_problem, d * k + k + 1)``: the sums of
``x * s * r``, of ``s * r**2`` and of ``s`` over one block of rows.  ``linreg_lane_partials`` writes them
for rows that registers hold; it is compiled for a shape, as Numba cannot, and so has no twin.  For the same
reason there is none of ``linreg_lane_steps``, which takes steps in one launch with X in shared memory, and of
``linreg_step_losses``, which makes losses of what it leaves: the other dialect launches pass after pass.

``faces`` holds int64 where ``is_wide``, else int32.  ``first_bad``, one int64, comes in as
``face_count`` and leaves as the smallest number of a face with an index out of range, if there is one.
``order`` is the stable order of the flat faces by vertex, int64.

The co-moments are those of the columns of ``[X Y]``: of all of them with all where ``is_joint``, else
of X with Y.  Their ``partials``, of the widest type of its kind (double, complex of double, the integer
itself), are ``(problems, blocks_per_problem, 1 + p + q + rows * columns)``: the weight of a block of
rows, the means of its columns (where ``is_centred``), and its matrix, of which a joint one lacks the
lower triangle.  ``small_co_moments`` writes results at once, of problems whose rows a block holds.

``solve_systems`` takes such results, of double, for the regression of the first d columns on the last k.
``summary`` (3,) comes in as infinities, and leaves with the least of all problems: of reciprocal condition
numbers, of the shares that losses are of their terms, and of whether the co-moments are finite, 1 or 0.
"""
