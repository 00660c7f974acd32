"""The operators that `vecprod_gpu.torch` registers for products: what each computes, and its derivatives."""

from typing import Any

import torch
from torch import Tensor

from vecprod_gpu import _dispatch, products

from ._tensors import batch_first, differentiable, operator, save


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    save(ctx, *inputs)


# --- Outer products --------------------------------------------------------------------------------


@operator("batched_outer(Tensor a, Tensor b) -> Tensor")
def _batched_outer(a: Tensor, b: Tensor) -> Tensor:
    return products.batched_outer(a.detach(), b.detach())


def _batched_outer_fake(a: Tensor, b: Tensor) -> Tensor:
    lead = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return a.new_empty((*lead, a.shape[-1], b.shape[-1]))


def _batched_outer_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    a, b = ctx.saved_tensors
    grad_a, grad_b = outer_adjoint(grad, a.conj(), b.conj())
    return grad_a.sum_to_size(a.shape), grad_b.sum_to_size(b.shape)


def _batched_outer_jvp(ctx: Any, of_a: Tensor, of_b: Tensor) -> Tensor:
    a, b = ctx.saved_tensors
    return batched_outer(of_a, b) + batched_outer(a, of_b)


def _batched_outer_vmap(info: Any, in_dims: Any, a: Tensor, b: Tensor) -> tuple[Tensor, int]:
    return batched_outer(*batch_first((a, b), in_dims, (1, 1))), 0


batched_outer = differentiable(
    _batched_outer,
    fake=_batched_outer_fake,
    setup_context=_save_inputs,
    backward=_batched_outer_backward,
    jvp=_batched_outer_jvp,
    vmap=_batched_outer_vmap,
)


@operator("outer_adjoint(Tensor g, Tensor a, Tensor b) -> (Tensor, Tensor)")
def _outer_adjoint(g: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``(g b, gᵀ a)``: the gradients of a and of b from that of their outer product."""
    if g.device.type == "cpu" and g.dtype in (torch.float32, torch.float64) and g.numel():
        return _in_one_read(g.detach(), a.detach(), b.detach())
    return (g @ b.unsqueeze(-1)).squeeze(-1), (a.unsqueeze(-2) @ g).squeeze(-2)


def _in_one_read(g: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Of tensors on the host."""
    *lead, m, n = g.shape
    g, a, b = g.reshape(-1, m, n), a.expand(*lead, m).reshape(-1, m), b.expand(*lead, n).reshape(-1, n)
    of_a, of_b = a.new_empty(a.shape), b.new_empty(b.shape)
    inputs = (one.contiguous().numpy() for one in (g, a, b))
    _dispatch.host().outer_adjoint(*inputs, of_a.numpy(), of_b.numpy())
    return of_a.reshape(*lead, m), of_b.reshape(*lead, n)


def _outer_adjoint_fake(g: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return g.new_empty(g.shape[:-1]), g.new_empty((*g.shape[:-2], g.shape[-1]))


def _outer_adjoint_backward(ctx: Any, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    g, a, b = ctx.saved_tensors
    grad_g = batched_outer(u, b.conj()) + batched_outer(a.conj(), v)
    grad_a, grad_b = outer_adjoint(g.conj(), u, v)
    return grad_g, grad_a.sum_to_size(a.shape), grad_b.sum_to_size(b.shape)


def _outer_adjoint_jvp(ctx: Any, of_g: Tensor, of_a: Tensor, of_b: Tensor) -> tuple[Tensor, Tensor]:
    g, a, b = ctx.saved_tensors
    by_g, by_factors = outer_adjoint(of_g, a, b), outer_adjoint(g, of_a, of_b)
    return by_g[0] + by_factors[0], by_g[1] + by_factors[1]


def _outer_adjoint_vmap(
    info: Any, in_dims: Any, g: Tensor, a: Tensor, b: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    g, a, b = batch_first((g, a, b), in_dims, (2, 1, 1))
    return outer_adjoint(g.expand(info.batch_size, *g.shape[1:]), a, b), (0, 0)


outer_adjoint = differentiable(
    _outer_adjoint,
    fake=_outer_adjoint_fake,
    setup_context=_save_inputs,
    backward=_outer_adjoint_backward,
    jvp=_outer_adjoint_jvp,
    vmap=_outer_adjoint_vmap,
)


# --- Cross products --------------------------------------------------------------------------------


@operator("cross(Tensor a, Tensor b) -> Tensor")
def _cross(a: Tensor, b: Tensor) -> Tensor:
    return products.cross(a.detach(), b.detach())


def _cross_fake(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(torch.broadcast_shapes(a.shape, b.shape))


def _cross_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    a, b = ctx.saved_tensors
    return cross(b.conj(), grad).sum_to_size(a.shape), cross(grad, a.conj()).sum_to_size(b.shape)


def _cross_jvp(ctx: Any, of_a: Tensor, of_b: Tensor) -> Tensor:
    a, b = ctx.saved_tensors
    return cross(of_a, b) + cross(a, of_b)


def _cross_vmap(info: Any, in_dims: Any, a: Tensor, b: Tensor) -> tuple[Tensor, int]:
    return cross(*batch_first((a, b), in_dims, (1, 1))), 0


cross = differentiable(
    _cross,
    fake=_cross_fake,
    setup_context=_save_inputs,
    backward=_cross_backward,
    jvp=_cross_jvp,
    vmap=_cross_vmap,
)


# --- Gram matrices ---------------------------------------------------------------------------------


@operator("gram(Tensor X, Tensor? Y, Tensor? weights) -> Tensor")
def _gram(X: Tensor, Y: Tensor | None, weights: Tensor | None) -> Tensor:
    X, Y, weights = (None if tensor is None else tensor.detach() for tensor in (X, Y, weights))
    return products.gram(X, Y, weights=weights)


def _gram_fake(X: Tensor, Y: Tensor | None, weights: Tensor | None) -> Tensor:
    right = X if Y is None else Y
    leads = [X.shape[:-2], right.shape[:-2], *([] if weights is None else [weights.shape[:-1]])]
    return X.new_empty((*torch.broadcast_shapes(*leads), X.shape[-1], right.shape[-1]))


def _gram_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    X, Y, weights = ctx.saved_tensors
    right = X if Y is None else Y
    along_X, along_Y = right @ grad.mH, X @ grad
    grad_weights = None
    if weights is not None:
        grad_weights = (along_Y.conj() * right).sum(-1).real.sum_to_size(weights.shape)
        along_X, along_Y = (weights.unsqueeze(-1) * along for along in (along_X, along_Y))
    if Y is None:
        return (along_X + along_Y).sum_to_size(X.shape), None, grad_weights
    return along_X.sum_to_size(X.shape), along_Y.sum_to_size(Y.shape), grad_weights


def _gram_jvp(ctx: Any, of_X: Tensor, of_Y: Tensor | None, of_weights: Tensor | None) -> Tensor:
    X, Y, weights = ctx.saved_tensors
    right, of_right = (X, of_X) if Y is None else (Y, of_Y)
    tangent = gram(of_X, right, weights) + gram(X, of_right, weights)
    return tangent if weights is None else tangent + gram(X, Y, of_weights)


def _gram_vmap(
    info: Any, in_dims: Any, X: Tensor, Y: Tensor | None, weights: Tensor | None
) -> tuple[Tensor, int]:
    operands = zip((X, Y, weights), in_dims, (2, 2, 1), strict=True)
    tensors, axes, core_axes = zip(*(one for one in operands if one[0] is not None), strict=True)
    ready = iter(batch_first(tensors, axes, core_axes))
    return gram(*(None if tensor is None else next(ready) for tensor in (X, Y, weights))), 0


gram = differentiable(
    _gram,
    fake=_gram_fake,
    setup_context=_save_inputs,
    backward=_gram_backward,
    jvp=_gram_jvp,
    vmap=_gram_vmap,
)
