"""Gram matrices and co-moments in plain NumPy."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def gram(X: Array, Y: Array | None, weights: Array | None, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    left = _plain(X, out.dtype)
    right = left if Y is None else _plain(Y, out.dtype)
    weighted = right if weights is None else weights[:, :, np.newaxis] * right
    product = np.conj(np.swapaxes(left, 1, 2)) @ weighted
    out[...] = _mirrored(product) if Y is None else product


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
    wide = np.result_type(out.dtype, np.float64)
    Z = _plain(X if Y is None else np.concatenate([X, Y], axis=2), wide)
    s = np.ones((*Z.shape[:2], 1)) if weights is None else weights[:, :, np.newaxis].astype(wide)
    W = s.sum(axis=1, keepdims=True)
    # Shifted by the row that weighs most, a constant column has no rounding error for a spread.
    heaviest = np.take_along_axis(Z, s.real.argmax(axis=1, keepdims=True), axis=1)
    shifted = Z - heaviest
    mean = (s * shifted).sum(axis=1, keepdims=True) / W
    centred = shifted - mean
    total[...] = W[:, 0, 0].real
    means[...] = (heaviest + mean)[:, 0]
    out[...] = scale * _mirrored(np.swapaxes(s * centred, 1, 2) @ np.conj(centred))
    if correlation:
        correlate(out)


def correlate(out: Array) -> None:
    """Divide co-moments, in place, by the square roots of those on the diagonal."""
    deviations = np.sqrt(np.diagonal(out, axis1=1, axis2=2).real)
    out /= deviations[:, :, np.newaxis] * deviations[:, np.newaxis, :]
    np.clip(out.real, -1, 1, out=out.real)
    if np.iscomplexobj(out):
        np.clip(out.imag, -1, 1, out=out.imag)


def _plain(array: Array, dtype: np.dtype[Any]) -> Array:
    """In C order: the linear algebra library sums in another order where the layout differs."""
    return np.require(array, dtype, ["C", "A"])


def _mirrored(product: Array) -> Array:
    """The Hermitian matrices that have the same upper triangles."""
    upper = np.triu(product, 1)
    diagonal = np.arange(product.shape[-1])
    result = upper + np.conj(np.swapaxes(upper, 1, 2))
    result[:, diagonal, diagonal] = product[:, diagonal, diagonal].real
    return result
