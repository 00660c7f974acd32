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
    w = w[..., None] if is_single else w
    residual = X @ w - (y if y.ndim == X.ndim else y[..., None])
    if sample_weight is None:
        total, share = X.shape[-2], 1 / X.shape[-2]
    else:
        total = sample_weight.sum(-1)[..., None]
        share = (sample_weight / total)[..., None]
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
