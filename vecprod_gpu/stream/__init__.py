"""Data larger than memory: read in batches, with the bits of the call on all of it."""

from ._moments import co_moments, corrcoef, cov, tsqr
from ._prediction import predict
from ._regression import linreg_fit, linreg_search

__all__ = ["co_moments", "corrcoef", "cov", "linreg_fit", "linreg_search", "predict", "tsqr"]
