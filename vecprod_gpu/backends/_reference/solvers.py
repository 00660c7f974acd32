"""Small problems in plain NumPy: positive definite systems, and penalised quadratics."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

EPSILON = np.finfo(np.float64).eps


def normal_equations(
    total: Array, means: Array, matrix: Array, is_centred: bool, H: Array, c: Array, yy: Array
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    d = H.shape[1]
    moments = matrix / total[:, np.newaxis, np.newaxis]
    if not is_centred:
        moments += means[:, :, np.newaxis] * means[:, np.newaxis, :]
    H[...], c[...] = moments[:, :d, :d], moments[:, :d, d:]
    yy[...] = np.diagonal(moments, axis1=1, axis2=2)[:, d:]


def solve_positive(A: Array, b: Array, out: Array, condition: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    d = A.shape[1]
    diagonal = np.diagonal(A, axis1=1, axis2=2)
    is_sound = np.isfinite(A).all(axis=(1, 2)) & np.all(diagonal > 0, axis=1)
    roots = 1 / np.sqrt(np.where(is_sound[:, np.newaxis], diagonal, 1))[:, :, np.newaxis]
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = A * roots * roots.mT
        pivots = np.square(np.diagonal(_factor(scaled), axis1=1, axis2=2))
        is_sound &= (pivots > d * EPSILON).all(axis=1)
        scaled[~is_sound] = np.eye(d)
        norms = np.linalg.norm(scaled, 1, axis=(1, 2)) * np.linalg.norm(np.linalg.inv(scaled), 1, axis=(1, 2))
        out[...] = roots * np.linalg.solve(scaled, roots * b)
    out[~is_sound] = np.nan
    condition[...] = np.where(is_sound, norms, np.inf)


def solution_loss(H: Array, c: Array, yy: Array, w: Array, l2: Array, loss: Array, terms: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    spread = np.sqrt(np.diagonal(H, axis1=1, axis2=2))[:, :, np.newaxis]
    terms[...] = yy + np.square((spread * np.abs(w)).sum(axis=1))
    loss[...] = np.maximum(yy - (c * w).sum(axis=1) - l2 * np.square(w).sum(axis=1), 0.0) / 2


def _factor(matrices: Array) -> Array:
    """Cholesky's factors, NaN where there is none, which halving the batch finds out."""
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        half = len(matrices) // 2
        if half == 0:
            return np.full_like(matrices, np.nan)
        return np.concatenate([_factor(matrices[:half]), _factor(matrices[half:])])


def proximal_descent(
    H: Array,
    c: Array,
    w: Array,
    *,
    l1: Array,
    l2: Array,
    learning_rate: Array,
    values: Array,
    norms: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    with np.errstate(all="ignore"):  # a rate that is too large diverges, and the values tell
        for value, norm in zip(values, norms, strict=True):
            product = H @ w
            smooth = np.sum(w * (product / 2 - c), axis=1)
            value[...] = smooth + l1 * np.abs(w).sum(axis=1) + l2 / 2 * np.square(w).sum(axis=1)
            gradient = product - c + l2 * w
            after = _soft_threshold(w - learning_rate * gradient, learning_rate * l1)
            norm[...] = np.linalg.norm(w - after, axis=1) / learning_rate
            w[...] = after


def _soft_threshold(values: Any, threshold: Any) -> Any:
    """The proximal step of the L1 penalty; NaN stays NaN."""
    return values - np.clip(values, -threshold, threshold)


def coordinate_descent(
    H: Array,
    c: Array,
    yy: Array,
    w: Array,
    *,
    l1: Array,
    l2: Array,
    tol: float,
    max_iter: int,
    is_path: bool,
    n_iter: Array,
    gap: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    c, yy = np.broadcast_to(c, w.shape), np.broadcast_to(yy, gap.shape)
    for problem, model in np.ndindex(gap.shape):
        if is_path and model > 0:
            w[problem, :, model] = w[problem, :, model - 1]
        with np.errstate(all="ignore"):
            n_iter[problem, model], gap[problem, model] = _descend(
                H[problem],
                c[problem, :, model],
                float(yy[problem, model]),
                w[problem, :, model],
                float(l1[model]),
                float(l2[model]),
                tol,
                max_iter,
            )


def _descend(
    H: Array, c: Array, yy: float, w: Array, l1: float, l2: float, tol: float, max_iter: int
) -> tuple[int, float]:
    """Coordinate descent of one model in place; the sweeps, and the duality gap."""
    curvatures = np.diagonal(H) + l2
    is_dead = curvatures <= 0
    w[is_dead] = 0
    scales = np.sqrt(np.where(is_dead, 0, curvatures))
    sweeps = 0
    while sweeps < max_iter:
        before = w.copy()
        _sweep(H, c, w, l1, curvatures, np.flatnonzero(~is_dead))
        sweeps += 1
        if not np.isfinite(w).all():
            return sweeps, np.nan
        change, largest = np.abs(scales * (w - before)).max(), np.abs(scales * w).max()
        if change <= EPSILON * largest:
            break
        if change <= tol * largest and _certificate(H, c, yy, w, l1, l2, tol)[1]:
            break
    return sweeps, _certificate(H, c, yy, w, l1, l2, tol)[0]


def _sweep(H: Array, c: Array, w: Array, l1: float, curvatures: Array, columns: Array) -> None:
    """Minimise over each coefficient in turn, in place."""
    rest = c - H @ w
    for j in columns:
        step = _soft_threshold(rest[j] + H[j, j] * w[j], l1) / curvatures[j] - w[j]
        if step != 0:
            w[j] += step
            rest -= step * H[j]


def _certificate(
    H: Array, c: Array, yy: float, w: Array, l1: float, l2: float, tol: float
) -> tuple[float, bool]:
    """A bound on how far the objective is above its minimum, and whether that is small enough.

    With ``v = c - Hw - l2 w`` and ``yᵀr = r² + wᵀv + l2 w²`` for the residual r, scikit-learn's gap becomes a
    sum of terms that are not negative, and so loses no digits near the minimum.
    """
    is_live = np.diagonal(H) + l2 > 0
    v = np.where(is_live, c - H @ w - l2 * w, 0)
    dual = np.abs(v).max()
    if l1 == 0 and l2 == 0:
        return np.nan, bool(dual <= tol * np.abs(c[is_live]).max(initial=0))
    if l1 == 0:
        gap = v @ v / (2 * l2)
    else:
        share = l1 / dual if dual > l1 else 1.0
        squares = max(yy - w @ (2 * c - H @ w), 0) + l2 * (w @ w)
        gap = (1 - share) ** 2 / 2 * squares + np.sum(l1 * np.abs(w) - share * w * v)
    return float(gap), bool(gap <= tol * yy)
