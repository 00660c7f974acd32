"""Co-moments of complex numbers on the host, from those of their real and imaginary parts.

With ``z = a + ib``, centred::

    z_j conj(z_k) = a_j a_k + b_j b_k + i (b_j a_k - a_j b_k)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def by_parts(
    compute: Callable[[Array, Array | None, Array | None, Array, Array], None],
    X: Array,
    Y: Array | None,
    weights: Array | None,
    means: Array,
    out: Array,
) -> None:
    """Fill means and out of complex numbers, by a function of the same arguments for real ones."""
    problems, d = means.shape
    parts = np.empty((problems, 2 * d), means.real.dtype)
    products = np.empty((problems, 2 * d, 2 * d), parts.dtype)
    compute(
        _interleaved(X),
        None if Y is None else _interleaved(Y),
        None if weights is None else np.ascontiguousarray(weights.real),
        parts,
        products,
    )
    a, b = slice(0, None, 2), slice(1, None, 2)
    means.real, means.imag = parts[:, a], parts[:, b]
    out.real = products[:, a, a] + products[:, b, b]
    with np.errstate(invalid="ignore"):  # of what overflowed, which was told
        out.imag = products[:, b, a] - products[:, a, b]
    diagonal = np.arange(d)
    out.imag[:, diagonal, diagonal] = 0


def _interleaved(Z: Array) -> Array:
    """``(B, n, 2 p)``: the real part of each column, and then its imaginary part.

    Of any layout, since the bits of the sums depend on the order of the columns.
    """
    dense = Z if Z.strides[2] == Z.itemsize else np.ascontiguousarray(Z)
    parts: Array = dense.view(dense.real.dtype)
    return parts
