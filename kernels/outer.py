"""Batched outer product: the Numba twin of ``outer.cu``.

    out[i, r, c] = (alpha * a[i, r]) * b[i, c] + beta * out[i, r, c]

Shapes: out ``(outer_count, inner_count, m, n)``, C-contiguous; a and b hold contiguous rows of m and
of n numbers, whose two-level batch has any strides, 0 where a or b repeats.  Bytes moved:
``outer_count * inner_count * (m * n + m + n) * sizeof(scalar_t)``, and out once more unless beta is 0:
it is then never read.

Neighbouring threads write neighbouring numbers and stride over the grid, so that narrow rows fill
warps as wide ones do.  A thread's position is a number of four digits, (outer, inner, row, column),
and so is its stride; it moves on by adding the two with carries, since four divisions of 64-bit
numbers for each number written would take longer than writing it.

Products are rounded before they are added (see ``common.product``).  A factor alpha of 1 is not
multiplied by: ``(1 + 0j) * complex(inf, 0)`` would be NaN.

Ideas tried: 16 bytes a thread, as in the ``.cu``, needs pointer casts that Numba lacks.
"""

from numba import cuda

from .common import inlined, product


@inlined
def _digits(index, inner_count, m, n):
    """Write `index` as (outer, inner, row, column)."""
    rows = index // n
    batch = rows // m
    outer = batch // inner_count
    return outer, batch - outer * inner_count, rows - batch * m, index - rows * n


@cuda.jit
def batched_outer(
    a,
    b,
    out,
    outer_count,
    inner_count,
    m,
    n,
    a_outer_stride,
    a_inner_stride,
    b_outer_stride,
    b_inner_stride,
    alpha,
    beta,
):
    """Write every product, one number at a time."""
    first, stride = cuda.grid(1), cuda.gridsize(1)
    outer, inner, row, column = _digits(first, inner_count, m, n)
    more_outer, more_inner, more_rows, more_columns = _digits(stride, inner_count, m, n)
    for index in range(first, outer_count * inner_count * m * n, stride):
        left = a[outer * a_outer_stride + inner * a_inner_stride + row]
        right = b[outer * b_outer_stride + inner * b_inner_stride + column]
        value = product(left if alpha == 1 else product(alpha, left), right)
        if beta != 0:
            value = value + product(beta, out[index])
        out[index] = value

        column += more_columns
        carry = column >= n
        column -= n * carry
        row += more_rows + carry
        carry = row >= m
        row -= m * carry
        inner += more_inner + carry
        carry = inner >= inner_count
        inner -= inner_count * carry
        outer += more_outer + carry
