"""Batched vector products and linear regression by gradient steps, on CUDA GPUs and CPUs."""

from typing import TYPE_CHECKING

from . import _later, errors, linalg
from ._dispatch import backends, explain, fallback_counts, use_backend
from ._version import __version__
from .covariance import batched_corrcoef, batched_cov, corrcoef, cov
from .geometry import (
    face_normals,
    grid_normals,
    parallelogram_area,
    triangle_area,
    triple_product,
    vector_angle,
    vertex_normals,
)
from .products import batched_outer, cross, gram, outer
from .threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from .linreg import (
        TSQR,
        CoMoments,
        FeatureSelection,
        FitResult,
        SearchResult,
        linreg_fit,
        linreg_gradient,
        linreg_search,
        linreg_step,
        select_features,
    )

__all__ = [
    "TSQR",
    "CoMoments",
    "FeatureSelection",
    "FitResult",
    "SearchResult",
    "__version__",
    "backends",
    "batched_corrcoef",
    "batched_cov",
    "batched_outer",
    "corrcoef",
    "cov",
    "cross",
    "errors",
    "explain",
    "face_normals",
    "fallback_counts",
    "get_num_threads",
    "gram",
    "grid_normals",
    "linalg",
    "linreg_fit",
    "linreg_gradient",
    "linreg_search",
    "linreg_step",
    "outer",
    "parallelogram_area",
    "select_features",
    "set_num_threads",
    "triangle_area",
    "triple_product",
    "use_backend",
    "vector_angle",
    "vertex_normals",
]

# Most of the package, and of the time that its import takes; gradients and steps need little of it.
_later.import_later(globals(), "linreg._whole", {"linreg.steps": ("linreg_gradient", "linreg_step")})
