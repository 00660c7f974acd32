"""Operators for PyTorch that autograd, vmap, autocast and torch.compile see through.

``pip install "vecprod-gpu[torch]"``.  The functions of `vecprod_gpu` itself take tensors too, with less to do
for each call; those here carry gradients of any order, stay whole in a compiled graph
(``torch.compile(fullgraph=True)``), and are registered as ``torch.ops.vecprod_gpu.*``.

In a program that torch compiles, `vecprod_gpu.cross` and `vecprod_gpu.batched_outer` of two tensors of one
dtype, without options, are these operators; other functions of `vecprod_gpu` are called between two graphs.
"""

from ._products import batched_outer, cross, gram
from ._regression import linreg_gradient, linreg_loss

__all__ = ["batched_outer", "cross", "gram", "linreg_gradient", "linreg_loss"]
