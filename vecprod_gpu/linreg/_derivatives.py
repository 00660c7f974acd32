"""Derivatives of one gradient and loss of linear regression by the data, for any library with operators.

Written with what tensors of torch and arrays of JAX have in common, so that each differentiates it further.
"""

from typing import Any

Array = Any


def by_data(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    of_gradient: Array | None,
    of_loss: Array | None,
) -> tuple[Array, Array, Array | None]:
    """What reaches X, y and sample_weight from the cotangents v of the gradient and g of the loss.

    One of the two may be None: nothing comes from there.
    With ``r = X w - y`` the part of row i in both is ``s_i P_i / W``, ``P_i = g r_i² / 2 + (x_i·v) r_i``.
    """
    is_single = w.ndim == X.ndim - 1
    w, residual, total, share = _parts(X, y, w, sample_weight)
    along, part, of_X = 0.0, 0.0, 0.0  # along is the derivative of P by r
    if of_loss is not None:
        g = (of_loss[..., None] if is_single else of_loss)[..., None, :]
        along, part = g * residual, g * residual**2 / 2
    if of_gradient is not None:
        v = of_gradient[..., None] if is_single else of_gradient
        product = X @ v
        along, part = along + product, part + product * residual
        of_X = (share * residual) @ v.mT
    along = share * along
    of_X = of_X + along @ w.mT
    of_y = -along if y.ndim == X.ndim else -along.sum(-1)
    if sample_weight is None:
        return of_X, of_y, None
    mean = (share * part).sum(-2)[..., None, :]
    return of_X, of_y, (part - mean).sum(-1) / total


def along_data(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    of_X: Array | None,
    of_y: Array | None,
    of_weight: Array | None,
) -> tuple[Array, Array]:
    """What reaches the gradient and the loss from tangents of X, y and sample_weight; None is one of zeros.

    With ``r = X w - y``, ``p = s / W`` it is ``X'ᵀ (p r) + Xᵀ (p r' + p' r)`` and ``p·(r r') + p'·r² / 2``.
    """
    is_single = w.ndim == X.ndim - 1
    w, residual, total, share = _parts(X, y, w, sample_weight)
    of_residual = (0 if of_X is None else of_X @ w) - (0 if of_y is None else _in_columns(of_y, X))
    of_share = 0
    if of_weight is not None:
        of_share = ((of_weight - share[..., 0] * of_weight.sum(-1)[..., None]) / total)[..., None]
    of_gradient = X.mT @ (share * of_residual + of_share * residual)
    if of_X is not None:
        of_gradient = of_gradient + of_X.mT @ (share * residual)
    of_loss = (share * residual * of_residual + of_share * residual**2 / 2).sum(-2)
    return (of_gradient[..., 0], of_loss[..., 0]) if is_single else (of_gradient, of_loss)


def _parts(X: Array, y: Array, w: Array, sample_weight: Array | None) -> tuple[Array, Array, Any, Any]:
    """The coefficients in columns, the residual, the total weight, and each row's share of it."""
    w = w[..., None] if w.ndim == X.ndim - 1 else w
    residual = X @ w - _in_columns(y, X)
    if sample_weight is None:
        return w, residual, X.shape[-2], 1 / X.shape[-2]
    total = sample_weight.sum(-1)[..., None]
    return w, residual, total, (sample_weight / total)[..., None]


def _in_columns(y: Array, X: Array) -> Array:
    """One target for each column."""
    return y if y.ndim == X.ndim else y[..., None]
