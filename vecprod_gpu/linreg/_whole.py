"""Whole fits, their results, what can be fitted from, and which columns to fit: the names come together."""

from ._search.result import SearchResult
from .fit import linreg_fit
from .moments import CoMoments
from .result import FitResult
from .search import linreg_search
from .selection import FeatureSelection, select_features
from .tsqr import TSQR

__all__ = [
    "TSQR",
    "CoMoments",
    "FeatureSelection",
    "FitResult",
    "SearchResult",
    "linreg_fit",
    "linreg_search",
    "select_features",
]
