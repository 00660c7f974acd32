"""Batched outer and cross products, and linear regression by gradient steps, on CUDA GPUs and CPUs."""

from . import errors
from ._dispatch import backends, explain, fallback_counts, use_backend
from ._version import __version__
from .linreg import FitResult, linreg_fit, linreg_gradient, linreg_step
from .products import batched_outer, cross, outer

__all__ = [
    "FitResult",
    "__version__",
    "backends",
    "batched_outer",
    "cross",
    "errors",
    "explain",
    "fallback_counts",
    "linreg_fit",
    "linreg_gradient",
    "linreg_step",
    "outer",
    "use_backend",
]
