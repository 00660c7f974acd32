"""Linear regression: one gradient or step at a time, whole fits, and which columns to fit."""

from typing import TYPE_CHECKING

from .. import _later
from .steps import linreg_gradient, linreg_step

if TYPE_CHECKING:
    from ._whole import (
        TSQR,
        CoMoments,
        FeatureSelection,
        FitResult,
        SearchResult,
        linreg_fit,
        linreg_search,
        select_features,
    )

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

_later.import_later(globals(), "_whole", modules=("fit", "moments", "result", "search", "selection", "tsqr"))
