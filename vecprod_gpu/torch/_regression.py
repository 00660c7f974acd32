"""The gradient and the loss of linear regression as one operator of torch."""

from typing import Any

import torch
from torch import Tensor

from vecprod_gpu.errors import DTypeError
from vecprod_gpu.linreg import steps
from vecprod_gpu.linreg._derivatives import along_data, by_data

from ._tensors import NARROW, common_dtype, differentiable, is_autocast, operator, save


def linreg_gradient(
    X: Tensor,
    y: Tensor,
    w: Tensor,
    *,
    l2: float = 0.0,
    sample_weight: Tensor | None = None,
    return_loss: bool = False,
) -> Any:
    """Gradient of half the weighted mean squared error: ``Xᵀ S (X w - y) / W + l2 * w``, with ``W = sum(s)``.

    Parameters
    ----------
    X : (..., n, d) Tensor
        Observations in rows.
    y : (..., n) or (..., n, k) Tensor
        One target, or k of them.
    w : (..., d) or (..., d, k) Tensor
        Coefficients, as for `vecprod_gpu.linreg_gradient`.
    l2 : float, default 0.0
        Ridge penalty: ``l2 / 2 * |w|²`` is part of the objective.
    sample_weight : (..., n) Tensor, optional
        Weight s of each row.
    return_loss : bool, default False
        Whether to return the objective too, from the same pass.

    Returns
    -------
    gradient : Tensor of the shape of w
        In torch's promoted dtype; under autocast float32 at least, whatever that of X is.
    loss : (...) or (..., k) Tensor
        With ``return_loss`` only.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        As for `vecprod_gpu.linreg_gradient`.

    Notes
    -----
    X is read once.  Differentiated again, the gradient at w costs one more read of X for each product with
    its Hessian ``XᵀSX / W + l2``.  `torch.func.vmap` over w alone reads X once for all.

    Examples
    --------
    >>> import torch
    >>> from vecprod_gpu.torch import linreg_gradient
    >>> X, y = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]), torch.tensor([2.0, 3.0, 4.0])
    >>> linreg_gradient(X, y, torch.tensor([1.0, 0.0]))
    tensor([-2., -3.])
    """
    gradient, loss = _gradient_and_loss(*_operands(X, y, w, sample_weight), float(l2))
    return (gradient, loss) if return_loss else gradient


def linreg_loss(
    X: Tensor, y: Tensor, w: Tensor, *, l2: float = 0.0, sample_weight: Tensor | None = None
) -> Tensor:
    """Half the weighted mean squared error: ``sum(s * (X w - y)**2) / (2 W) + l2 / 2 * |w|²``.

    Parameters
    ----------
    X, y, w, l2, sample_weight
        As for `linreg_gradient`.

    Returns
    -------
    (...) or (..., k) Tensor
        The objective of each problem and model.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        As for `vecprod_gpu.linreg_gradient`.

    Notes
    -----
    The pass that computes the loss computes its gradient too, so that a backward pass for w reads X no more.

    Examples
    --------
    >>> import torch
    >>> from vecprod_gpu.torch import linreg_loss
    >>> X, y = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]), torch.tensor([2.0, 3.0, 4.0])
    >>> w = torch.tensor([1.0, 0.0], requires_grad=True)
    >>> loss = linreg_loss(X, y, w)
    >>> loss.backward()
    >>> loss.item(), w.grad
    (0.5, tensor([-2., -3.]))
    """
    _, loss = _gradient_and_loss(*_operands(X, y, w, sample_weight), float(l2))
    return loss


def _operands(
    X: Tensor, y: Tensor, w: Tensor, sample_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The arguments as real numbers; under autocast the result, which takes the dtype of w, is not narrow."""
    for name, value in (("X", X), ("y", y), ("w", w), ("sample_weight", sample_weight)):
        if not isinstance(value, Tensor) and (value is not None or name != "sample_weight"):
            raise DTypeError(f"{name} must be a Tensor, not {type(value).__name__}")
    X, y, w = (tensor if tensor.is_floating_point() else _as_real(tensor) for tensor in (X, y, w))
    if is_autocast(w) and w.dtype in NARROW:
        w = w.float()
    return X, y, w, sample_weight


def _as_real(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_complex() else tensor.to(torch.get_default_dtype())


@operator(
    "linreg_gradient(Tensor X, Tensor y, Tensor w, Tensor? sample_weight, float l2) -> (Tensor, Tensor)"
)
def _linreg_gradient(
    X: Tensor, y: Tensor, w: Tensor, sample_weight: Tensor | None, l2: float
) -> tuple[Tensor, Tensor]:
    X, y, w = X.detach(), y.detach(), w.detach()
    weights = None if sample_weight is None else sample_weight.detach()
    gradient, loss = steps.linreg_gradient(X, y, w, l2=l2, sample_weight=weights, return_loss=True)
    return gradient, loss


def _fake(X: Tensor, y: Tensor, w: Tensor, sample_weight: Tensor | None, l2: float) -> tuple[Tensor, Tensor]:
    dtype = common_dtype(X, y, w, sample_weight)
    models = w.shape[X.ndim - 1 :]
    return w.new_empty(w.shape, dtype=dtype), w.new_empty((*X.shape[:-2], *models), dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.l2 = inputs
    save(ctx, *tensors, output[0])
    ctx.set_materialize_grads(False)  # a pass over X is not made for an output that nobody used


def _backward(ctx: Any, grad_gradient: Tensor | None, grad_loss: Tensor | None) -> tuple[Tensor | None, ...]:
    X, y, w, sample_weight, gradient = ctx.saved_tensors
    of_X, of_y, of_w, of_weight, _ = ctx.needs_input_grad
    grad_w = None
    if of_w and grad_loss is not None:
        grad_w = gradient * grad_loss.unsqueeze(X.ndim - 2)
    if of_w and grad_gradient is not None:
        product = _hessian_product(X, y, grad_gradient, sample_weight, ctx.l2)
        grad_w = product if grad_w is None else grad_w + product
    grad_X = grad_y = grad_weight = None
    if (of_X or of_y or of_weight) and not (grad_gradient is None and grad_loss is None):
        grad_X, grad_y, grad_weight = by_data(X, y, w, sample_weight, grad_gradient, grad_loss)
    return (
        grad_X if of_X else None,
        grad_y if of_y else None,
        grad_w,
        grad_weight if of_weight else None,
        None,
    )


def _jvp(
    ctx: Any, of_X: Tensor | None, of_y: Tensor | None, of_w: Tensor | None, of_weight: Tensor | None, _: None
) -> tuple[Tensor, Tensor]:
    X, y, w, sample_weight, gradient = ctx.saved_tensors
    tangents = []
    if of_w is not None:
        product = _hessian_product(X, y, of_w, sample_weight, ctx.l2)
        tangents.append((product, (gradient * of_w).sum(X.ndim - 2)))
    if not (of_X is None and of_y is None and of_weight is None):
        tangents.append(along_data(X, y, w, sample_weight, of_X, of_y, of_weight))
    of_gradient, of_loss = map(sum, zip(*tangents, strict=True))
    return of_gradient, of_loss


def _hessian_product(X: Tensor, y: Tensor, vector: Tensor, sample_weight: Tensor | None, l2: float) -> Tensor:
    """``(XᵀSX / W + l2) v``: the gradient at v for a target of zeros."""
    zeros = y.new_zeros((1,) * y.ndim).expand(y.shape)
    return _gradient_and_loss(X, zeros, vector, sample_weight, l2)[0]


def _vmap(
    info: Any, in_dims: Any, X: Tensor, y: Tensor, w: Tensor, sample_weight: Tensor | None, l2: float
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    of_X, of_y, of_w, of_weight, _ = in_dims
    shares_data = of_X is None and of_y is None and of_weight is None
    if shares_data and X.ndim == 2 and y.ndim == 1 and w.ndim == 2:
        models = w.movedim(of_w, 1)  # one read of X for all of them
        return _gradient_and_loss(X, y, models, sample_weight, l2), (1, 0)
    tensors = [
        None if tensor is None else _batched(tensor, axis, info.batch_size)
        for tensor, axis in ((X, of_X), (y, of_y), (w, of_w), (sample_weight, of_weight))
    ]
    return _gradient_and_loss(*tensors, l2), (0, 0)


def _batched(tensor: Tensor, axis: int | None, batch_size: int) -> Tensor:
    return tensor.expand(batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)


_gradient_and_loss = differentiable(
    _linreg_gradient, fake=_fake, setup_context=_setup_context, backward=_backward, jvp=_jvp, vmap=_vmap
)
