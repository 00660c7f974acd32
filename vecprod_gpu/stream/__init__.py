"""Data larger than memory: read in batches, with the bits of the call on all of it."""

from ._moments import co_moments, corrcoef, cov, tsqr
from ._prediction import predict
from ._products import batched_outer, cross
from ._regression import linreg_fit, linreg_search

__all__ = [
    "batched_outer",
    "co_moments",
    "corrcoef",
    "cov",
    "cross",
    "linreg_fit",
    "linreg_search",
    "predict",
    "tsqr",
]
