"""What follows from the look of a linear regression's arrays alone: axes, dtypes and work, found out once."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from .._arrays import Array, stored_dtype, summing_dtype
from .._checks import Shape, shape_is
from .._costs import Work
from .._layout import size
from ..errors import DTypeError, ShapeError

DType = np.dtype[Any]
Look = tuple[Any, Any]  # a shape and a dtype, or twice None where there is no array

MOST_PLANS = 1024
"""Looks of calls that are remembered; past them the plan that was not asked for longest is made anew."""


@dataclass(frozen=True)
class Shapes:
    """The axes of one call, read off the callers' shapes.

    Attributes
    ----------
    lead : tuple of int
        Batch axes that X, y, w and sample_weight share; B is their product.
    n, d : int
        Rows and columns of X.
    targets : int
        Columns of y in native form: 1 where there is one target.
    models : tuple of int
        ``()`` for one model, ``(k,)`` for k of them.
    """

    lead: Shape
    n: int
    d: int
    targets: int
    models: Shape

    @cached_property
    def w(self) -> Shape:
        """The caller's shape of w and of a gradient."""
        return (*self.lead, self.d, *self.models)

    @cached_property
    def loss(self) -> Shape:
        """The caller's shape of a loss."""
        return (*self.lead, *self.models)

    @cached_property
    def native_X(self) -> tuple[int, int, int]:
        """``(B, n, d)``."""
        return (*self.native_weight, self.d)

    @cached_property
    def native_y(self) -> tuple[int, int, int]:
        """``(B, n, k)``, k being the number of targets."""
        return (*self.native_weight, self.targets)

    @cached_property
    def native_weight(self) -> tuple[int, int]:
        """``(B, n)``."""
        return (size(self.lead), self.n)

    @cached_property
    def native_w(self) -> tuple[int, int, int]:
        """``(B, d, k)``."""
        return (size(self.lead), self.d, size(self.models))

    @cached_property
    def native_loss(self) -> tuple[int, int]:
        """``(B, k)``."""
        return (size(self.lead), size(self.models))


@dataclass(frozen=True)
class Plan:
    """What calls whose arrays look the same have in common.

    Attributes
    ----------
    shapes : Shapes
        Axes of the call.
    dtype : numpy.dtype
        Of the results.
    stored : numpy.dtype
        Of X, inside the backend.
    """

    shapes: Shapes
    dtype: DType
    stored: DType

    @cached_property
    def sums(self) -> DType:
        """Dtype of w, of gradients and of all else but X, inside the backend."""
        return summing_dtype(self.dtype)

    @cached_property
    def work(self) -> Work:
        """X is read once; every element of it is multiplied and added twice for each model."""
        elements = size(self.shapes.native_X)
        return Work(bytes=elements * self.stored.itemsize, flops=4 * elements * size(self.shapes.models))

    def with_axes(self, **axes: Any) -> "Plan":
        """The same but for some of the axes."""
        return replace(self, shapes=replace(self.shapes, **axes))


def look_of(array: Array | None) -> Look:
    """Shape and dtype of an array, if there is one."""
    return (None, None) if array is None else (tuple(array.shape), array.dtype)


@lru_cache(MOST_PLANS)
def plan_of(X: Look, y: Look, w: Look, sample_weight: Look) -> Plan:
    """Check the shapes and dtypes of a call against each other; what is wrong is found anew each time."""
    (X_shape, X_dtype), (y_shape, y_dtype), (w_shape, w_dtype), (s_shape, s_dtype) = X, y, w, sample_weight
    shapes = read_shapes(X_shape, y_shape, w_shape, s_shape)
    dtype = result_dtype(X=X_dtype, y=y_dtype, w=w_dtype, sample_weight=s_dtype)
    return Plan(shapes, dtype, stored_dtype(X_dtype, summing_dtype(dtype)))


def read_shapes(X: Shape, y: Shape, w: Shape | None, sample_weight: Shape | None) -> Shapes:
    """Check the shapes against each other; without w there is one model for each target."""
    lead, n, d = read_observations(X, sample_weight)
    targets = read_targets(X, y)
    models = read_models(lead, d, targets, w, "w")
    if 0 in models:
        raise ShapeError("there is no model: y has no columns" if 0 in targets else "w has no columns")
    return Shapes(lead, n, d, size(targets), models)


def read_observations(X: Shape, sample_weight: Shape | None) -> tuple[Shape, int, int]:
    """Batch axes, rows and columns of X, with a weight for each row where there are any."""
    if len(X) < 2:
        raise ShapeError(
            f"X has shape {X}; needed is (..., n, d), a row for each observation"
            + (": for a single feature give X[:, None]" if len(X) == 1 else "")
        )
    *lead, n, d = X
    if n < 1 or d < 1:
        raise ShapeError(f"X has shape {X}; it needs at least one row and one column")
    if sample_weight is not None:
        shape_is("sample_weight", sample_weight, (*lead, n), "one weight for each row of X")
    return tuple(lead), n, d


def read_targets(X: Shape, y: Shape) -> Shape:
    """``()`` where y is one target for each row of X, ``(k,)`` where it has a column for each of k."""
    rows = X[:-1]
    if len(y) == len(X):
        shape_is("y", y, (*rows, y[-1]), "a row for each row of X and a column for each target")
    else:
        shape_is("y", y, rows, "one target for each row of X")
    return y[len(rows) :]


def read_models(lead: Shape, d: int, targets: Shape, w: Shape | None, w_name: str) -> Shape:
    """``()`` or ``(k,)``: from w where it is given, else from the targets."""
    if w is None:
        return targets
    if not targets and len(w) == len(lead) + 2:
        needed: Shape = (*lead, d, w[-1])
        why = "a coefficient for each column of X, and a column for each model"
    else:
        needed = (*lead, d, *targets)
        why = "a coefficient for each column of X" + (", and a column for each target" if targets else "")
    if w != needed:
        raise ShapeError(f"{w_name} has shape {w}; needed is {needed}, {why}")
    return needed[len(lead) + 1 :]


def result_dtype(**given: DType | None) -> DType:
    """NumPy's promotion of the dtypes of the arrays there are, integers counted as float64.

    Raises
    ------
    DTypeError
        If one holds complex numbers, or no numbers at all.
    """
    dtypes = []
    for name, dtype in given.items():
        if dtype is None:
            continue
        if dtype.kind in "biu":
            dtype = np.dtype(np.float64)
        if dtype.kind != "f":
            raise DTypeError(f"{name} has dtype {dtype}; linear regression takes real numbers")
        dtypes.append(dtype)
    return np.result_type(*dtypes)
