"""Vector products and linear regression on clusters: on arrays and data frames of Dask, block by block.

``pip install "vecprod-gpu[dask]"``.  Nothing is read before it is computed.  A block of rows is read once, by
the worker that holds it, and only sums with a row and a column for each variable go from worker to worker:
neither the number of workers nor their order can be seen in a single bit of a result.
"""

from ._chunks import aligned_chunks
from ._covariance import corrcoef, cov
from ._products import batched_outer, cross, gram
from ._regression import linreg_fit, linreg_search
from ._summaries import co_moments, tsqr

__all__ = [
    "aligned_chunks",
    "batched_outer",
    "co_moments",
    "corrcoef",
    "cov",
    "cross",
    "gram",
    "linreg_fit",
    "linreg_search",
    "tsqr",
]
