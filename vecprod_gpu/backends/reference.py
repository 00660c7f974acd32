"""NumPy alone, written to be read: what the other backends are held against, and the last resort."""

from typing import Any

import numpy as np
from numpy import cross as cross_by_numpy

from ._host_arrays import (
    address,
    assign,
    broadcast_to,
    cast,
    contiguous,
    empty,
    export,
    moveaxis,
    native,
    overlaps,
    reshape,
)
from ._reference.geometry import components, face_normals, grid_normals, measure, vertex_normals
from ._reference.moments import co_moments, gram
from ._reference.solvers import (
    coordinate_descent,
    normal_equations,
    proximal_descent,
    solution_loss,
    solve_positive,
)
from ._status import Status

__all__ = [
    "address",
    "assign",
    "batched_outer",
    "broadcast_to",
    "cast",
    "co_moments",
    "contiguous",
    "coordinate_descent",
    "cross",
    "cross_by_numpy",
    "empty",
    "export",
    "face_normals",
    "gram",
    "grid_normals",
    "linreg_is_kept",
    "linreg_pass",
    "linreg_steps",
    "measure",
    "moveaxis",
    "native",
    "normal_equations",
    "outer_adjoint",
    "overlaps",
    "proximal_descent",
    "reshape",
    "solution_loss",
    "solve_positive",
    "status",
    "supports",
    "vecdot",
    "vertex_normals",
]

Array = np.ndarray[Any, Any]


def status() -> Status:
    """Always available."""
    return Status(True, f"NumPy {np.__version__}")


def supports(operation: str, dtype: np.dtype[Any]) -> bool:
    """Whatever NumPy can multiply."""
    return True


def batched_outer(a: Array, b: Array, alpha: Any, beta: Any, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    columns, rows = a[..., :, np.newaxis], b[..., np.newaxis, :]
    if alpha != 1:
        columns = columns * alpha  # of the summing dtype, as alpha and beta are
    if beta == 0:
        np.multiply(columns, rows, out=out, casting="same_kind")
    else:
        product = np.multiply(columns, rows, dtype=np.result_type(columns, rows, beta))
        np.add(out * beta, product, out=out, casting="same_kind")


def cross(a: Array, b: Array, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    (a0, a1, a2), (b0, b1, b2) = components(a), components(b)
    products = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
    out[...] = np.concatenate(products, axis=-1)


def outer_adjoint(G: Array, a: Array, b: Array, of_a: Array, of_b: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    np.einsum("bmn,bn->bm", G, b, out=of_a)
    np.einsum("bmn,bm->bn", G, a, out=of_b)


def vecdot(a: Array, b: Array, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    wide = out.dtype if out.dtype.kind not in "fc" else np.result_type(out.dtype, np.float64)
    # The products in one layout, whatever that of a and b, since sums follow the layout.
    conjugate = a if a.dtype == bool else np.conj(a)  # np.conj of booleans are integers
    products = np.multiply(conjugate, b, dtype=wide, order="C")
    out[...] = products.sum(axis=-1, dtype=wide)


def linreg_pass(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    x_offset: Array | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float | None,
    out: Array,
    loss: Array | None,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    # The linear algebra library sums in another order where the layout differs: one layout, one result.
    X, y, w = (np.require(array, w.dtype, ["C", "A"]) for array in (X, y, w))
    if x_offset is not None:
        X = X - x_offset[:, np.newaxis, :]
    residual = X @ w - y
    weighted = residual if sample_weight is None else sample_weight[:, :, np.newaxis] * residual
    total = (
        np.float64(X.shape[1])
        if sample_weight is None
        else sample_weight.sum(axis=1, dtype=np.float64)[:, np.newaxis]
    )
    if loss is not None:
        squares = np.sum(weighted * residual, axis=1, dtype=np.float64)
        penalty = l1 * np.abs(w).sum(axis=1) + l2 / 2 * np.square(w).sum(axis=1)
        loss[...] = squares / (2 * total) + penalty
    gradient = np.swapaxes(X, 1, 2) @ weighted / np.expand_dims(total, -1) + l2 * w
    if learning_rate is None:
        out[...] = gradient
    else:
        out[...] = soft_threshold(w - learning_rate * gradient, learning_rate * l1)


def linreg_is_kept(X: Array, w: Array, x_offset: Array | None) -> bool:
    """See the contract in `vecprod_gpu.backends`."""
    return False


def linreg_steps(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    x_offset: Array | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float,
    points: Array,
    losses: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    how = {"l1": l1, "l2": l2, "learning_rate": learning_rate}
    for point, loss in zip(points, losses, strict=True):
        linreg_pass(X, y, w, sample_weight, x_offset, out=point, loss=loss, **how)
        w = point


def soft_threshold(w: Array, threshold: float) -> Array:
    """Proximal operator of ``threshold * |w|_1``: every coefficient moves towards zero and stops there."""
    return np.sign(w) * np.maximum(np.abs(w) - threshold, 0)
