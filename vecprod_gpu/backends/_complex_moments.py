"""Co-moments of real and of complex numbers on the host; these from those of their real and imaginary parts.

With ``z = a + ib``, centred::

    z_j conj(z_k) = a_j a_k + b_j b_k + i (b_j a_k - a_j b_k)
"""

from typing import Any

import numpy as np

from . import _moments
from ._reference_moments import correlate

Array = np.ndarray[Any, Any]


def co_moments(
    X: Array,
    Y: Array | None,
    weights: Array | None,
    *,
    scale: float,
    correlation: bool,
    total: Array,
    means: Array,
    out: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if X.dtype.kind != "c":
        _moments.co_moments(
            X, Y, weights, scale=scale, correlation=correlation, total=total, means=means, out=out
        )
        return
    problems, d = means.shape
    parts = np.empty((problems, 2 * d), means.real.dtype)
    products = np.empty((problems, 2 * d, 2 * d), parts.dtype)
    _moments.co_moments(
        _interleaved(X),
        None if Y is None else _interleaved(Y),
        None if weights is None else np.ascontiguousarray(weights.real),
        scale=scale,
        correlation=False,
        total=total,
        means=parts,
        out=products,
    )
    a, b = slice(0, None, 2), slice(1, None, 2)
    means.real, means.imag = parts[:, a], parts[:, b]
    out.real = products[:, a, a] + products[:, b, b]
    with np.errstate(invalid="ignore"):  # of what overflowed, which was told
        out.imag = products[:, b, a] - products[:, a, b]
    diagonal = np.arange(d)
    out.imag[:, diagonal, diagonal] = 0
    if correlation:
        correlate(out)


def _interleaved(Z: Array) -> Array:
    """``(B, n, 2 p)``: the real part of each column, and then its imaginary part.

    Of any layout, since the bits of the sums depend on the order of the columns.
    """
    dense = Z if Z.strides[2] == Z.itemsize else np.ascontiguousarray(Z)
    parts: Array = dense.view(dense.real.dtype)
    return parts
