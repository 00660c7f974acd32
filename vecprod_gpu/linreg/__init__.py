"""Linear regression: one gradient or step at a time, whole fits, and which columns to fit."""

from ._search.result import SearchResult
from .fit import linreg_fit
from .moments import CoMoments
from .result import FitResult
from .search import linreg_search
from .selection import FeatureSelection, select_features
from .steps import linreg_gradient, linreg_step
from .tsqr import TSQR

__all__ = [
    "TSQR",
    "CoMoments",
    "FeatureSelection",
    "FitResult",
    "SearchResult",
    "linreg_fit",
    "linreg_gradient",
    "linreg_search",
    "linreg_step",
    "select_features",
]
