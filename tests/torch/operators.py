"""The operators of `vecprod_gpu.torch`, with arguments to differentiate them by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import vecprod_gpu.torch as vt


@dataclass(frozen=True)
class Operator:
    """One call.

    Attributes
    ----------
    call : callable
        On tensors of `shapes`.
    peer : callable
        The same by torch's own functions.
    shapes : tuple of tuple of int
        Of the arguments.
    """

    call: Callable[..., Any]
    peer: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]

    def draw(self, dtype=torch.float64, *, requires_grad=False):
        """Arguments; what is a weight must be positive, so that `call` takes its square."""
        return [torch.randn(shape, dtype=dtype, requires_grad=requires_grad) for shape in self.shapes]


def gram_peer(X, Y=None, s=None):
    Y = X if Y is None else Y
    return X.mH @ (Y if s is None else s.unsqueeze(-1) * Y)


def linreg_peer(X, y, w, s=None, l2=0.0):
    """Gradient and loss; one model, or one for each target."""
    columns = w.unsqueeze(-1) if w.ndim == X.ndim - 1 else w
    residual = X @ columns - (y if y.ndim == X.ndim else y.unsqueeze(-1))
    s = torch.ones(X.shape[:-1], dtype=X.dtype) if s is None else s
    share = (s / s.sum(-1, keepdim=True)).unsqueeze(-1)
    gradient = X.mT @ (share * residual) + l2 * columns
    loss = (share * residual**2).sum(-2) / 2 + l2 / 2 * (columns**2).sum(-2)
    return gradient.reshape(w.shape), loss.reshape((*X.shape[:-2], *w.shape[X.ndim - 1 :]))


def gradient(X, y, w, s=None, l2=0.25):
    weight = None if s is None else s.square() + 0.1
    return vt.linreg_gradient(X, y, w, l2=l2, sample_weight=weight, return_loss=True)


def gradient_peer(X, y, w, s=None):
    return linreg_peer(X, y, w, None if s is None else s.square() + 0.1, 0.25)


def outer_peer(a, b):
    return a.unsqueeze(-1) * b.unsqueeze(-2)


def weighted_gram(X, s):
    return vt.gram(X, weights=s)


OPERATORS = {
    "batched_outer": Operator(vt.batched_outer, outer_peer, ((4, 3), (4, 2))),
    "batched_outer, one for all": Operator(vt.batched_outer, outer_peer, ((3,), (2, 4, 2))),
    "cross": Operator(vt.cross, torch.linalg.cross, ((4, 3), (4, 3))),
    "cross, one for all": Operator(
        vt.cross, lambda a, b: torch.linalg.cross(a.expand(b.shape), b), ((3,), (4, 3))
    ),
    "cross along the first axis": Operator(
        lambda a, b: vt.cross(a, b, 0), lambda a, b: torch.linalg.cross(a, b, dim=0), ((3, 4), (3, 4))
    ),
    "gram": Operator(vt.gram, gram_peer, ((5, 3),)),
    "gram of two": Operator(vt.gram, gram_peer, ((5, 3), (2, 5, 2))),
    "gram with weights": Operator(weighted_gram, lambda X, s: gram_peer(X, s=s), ((5, 3), (2, 5))),
    "linreg": Operator(gradient, gradient_peer, ((6, 3), (6,), (3,))),
    "linreg with weights": Operator(gradient, gradient_peer, ((2, 6, 3), (2, 6), (2, 3), (2, 6))),
    "linreg of two targets": Operator(gradient, gradient_peer, ((6, 3), (6, 2), (3, 2))),
    "linreg of two models": Operator(gradient, gradient_peer, ((6, 3), (6,), (3, 2), (6,))),
    "linreg_loss": Operator(
        lambda X, y, w: vt.linreg_loss(X, y, w, l2=0.25),
        lambda *its: gradient_peer(*its)[1],
        ((6, 3), (6,), (3,)),
    ),
}


def as_tuple(result):
    """The results of a call, one or several."""
    return result if isinstance(result, tuple) else (result,)
