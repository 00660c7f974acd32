"""Sums of products and normals as jobs: each from the data of its files to a result."""

from collections.abc import Callable
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..errors import BadInputError
from ..stream._results import Result
from .data import Data, Names


def cov(m: Data) -> Result:
    """Covariances of the columns."""
    return _of_columns(vp.cov, m)


def corr(m: Data) -> Result:
    """Correlations of the columns."""
    return _of_columns(vp.corrcoef, m)


def gram(X: Data, Y: Data | None = None) -> Result:
    """The sum over rows of the outer products of the rows of X with those of Y, or with themselves."""
    if Y is None:
        return _computed(vp.gram, X.values, names=X.names)
    return _computed(vp.gram, X.values, Y.values, names=Y.names)


def grid_normals(z: Data, dx: Data | float, dy: float) -> Result:
    """Unit normals of heights on a grid, dx being one number or a file with one for each row."""
    return _computed(vp.grid_normals, z.values, dx.vector() if isinstance(dx, Data) else dx, dy)


def face_normals(vertices: Data, faces: Data) -> Result:
    """Unit normals of triangles."""
    return _computed(vp.face_normals, vertices.values, faces.values, names=("nx", "ny", "nz"))


def vertex_normals(vertices: Data, faces: Data) -> Result:
    """Unit normals at the corners of triangles."""
    return _computed(vp.vertex_normals, vertices.values, faces.values, names=("nx", "ny", "nz"))


def _of_columns(function: Callable[..., Any], m: Data) -> Result:
    if m.values.ndim != 2 or not m.values.size:
        raise BadInputError(
            f"{m.file} has shape {m.values.shape}; needed is a table, with observations in its rows "
            "and variables in its columns"
        )
    return _computed(function, m.values, rowvar=False, names=m.names, at_least=2)


def _computed(
    function: Callable[..., Any], *arrays: Any, names: Names | None = None, at_least: int = 0, **options: Any
) -> Result:
    """What one call returns; a single variable's covariance, which has no axes, gets `at_least` so many."""
    backend = vp.explain(function, *arrays, **options).backend
    values = np.asarray(function(*arrays, **options))
    return Result.whole(values.reshape((1,) * (at_least - values.ndim) + values.shape), backend, names)
