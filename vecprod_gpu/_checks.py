"""What a call's arguments must be; each check names the argument, what came and what is needed."""

import math
import numbers
import operator
from typing import Any

import numpy as np

from ._arrays import Kind, kind_of
from .errors import ArgumentError, DeviceError, DTypeError, ShapeError

Shape = tuple[int, ...]


def at_least_1d(name: str, array: Any) -> None:
    """Raise unless the array has an axis to be a vector along."""
    if array.ndim < 1:
        raise ShapeError(f"{name} must have at least one axis, of vectors; it has shape ()")


def broadcast(name_a: str, shape_a: Shape, name_b: str, shape_b: Shape) -> Shape:
    """Shape of the leading axes of two arguments, broadcast together."""
    if shape_a == shape_b:
        return shape_a
    try:
        return np.broadcast_shapes(shape_a, shape_b)
    except ValueError:
        raise ShapeError(
            f"the leading axes of {name_a} and {name_b} do not broadcast: {shape_a} and {shape_b}; "
            "each pair of lengths, from the right, must be equal or hold a 1"
        ) from None


def shape_is(name: str, shape: Shape, needed: Shape, why: str) -> None:
    """Raise unless an array's shape is exactly the one `needed`, which `why` derives."""
    if shape != needed:
        raise ShapeError(f"{name} has shape {shape}; needed is {needed}, {why}")


def output(out: Any, kind: Kind, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Raise unless `out` can receive a result of that shape and dtype where it lives."""
    if not hasattr(out, "shape") or not hasattr(out, "dtype"):
        raise DTypeError(f"out must be an array, not {type(out).__name__}")
    if kind_of(out) != kind:
        raise DeviceError(f"out is a {kind_of(out)} array, but the inputs are {kind} arrays")
    if kind == "numpy" and not isinstance(out, np.ndarray):
        raise DTypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if tuple(out.shape) != shape:
        raise ShapeError(f"out has shape {tuple(out.shape)}; needed is {shape}, the shape of the result")
    if out.dtype != dtype and not np.can_cast(dtype, out.dtype, "same_kind"):
        raise DTypeError(
            f"out has dtype {out.dtype}, which cannot hold a result of {dtype} under casting 'same_kind'"
        )
    if kind == "numpy" and not out.flags.writeable:
        raise ArgumentError("out is read-only; give an array that can be written to")


def observations(X: Any, y: Any, sample_weight: Any) -> None:
    """Raise where X is missing, and for sparse arrays, which NumPy takes for objects without axes."""
    for name, value in (("X", X), ("y", y), ("sample_weight", sample_weight)):
        if hasattr(value, "toarray") and hasattr(value, "nnz"):
            kind = type(value).__name__
            raise DTypeError(f"{name} is sparse, a {kind}; needed is a dense array: {name}.toarray()")
    if X is None:
        raise ArgumentError("X is None; needed are observations in rows")


def number_dtype(name: str, array: Any, kinds: str = "iufcO") -> np.dtype[Any]:
    """The dtype of an array that has to hold numbers, or objects that behave like them."""
    dtype: np.dtype[Any] = np.dtype(array.dtype)
    if dtype.kind not in kinds:
        raise DTypeError(f"{name} has dtype {dtype}; needed are numbers")
    return dtype


def scalar_of(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """`value` as a scalar of `dtype` (float32 for float16), refusing what would lose its meaning."""
    if not isinstance(value, numbers.Number | np.generic) or isinstance(value, bool | np.bool_):
        raise DTypeError(f"{name} must be a number, not {type(value).__name__}")
    if dtype.kind == "O":
        return value
    kinds = {"b": "", "u": "i", "i": "i", "f": "if", "c": "ifc"}.get(dtype.kind, "")
    kind = "i" if isinstance(value, numbers.Integral) else "f" if isinstance(value, numbers.Real) else "c"
    if kind not in kinds:
        if value not in (0, 1):
            raise DTypeError(
                f"{name} is {value!r}, which arrays of {dtype} cannot be scaled by without a cast"
            )
        value = int(value == 1)
    elif kind == "i":
        value = int(value)  # type: ignore[arg-type]  # so that NumPy refuses what does not fit
    scalar_type = np.float32 if dtype == np.float16 else dtype.type
    try:
        return scalar_type(value) if dtype.kind in "buifc" else value
    except OverflowError:
        raise ArgumentError(f"{name} is {value!r}, which {dtype} cannot hold") from None


def real(name: str, value: Any, *, minimum: float = -math.inf, above: float = -math.inf) -> float:
    """`value` as a float, finite, at least `minimum` and more than `above`."""
    number = value if type(value) is float else _as_float(name, value)
    if not math.isfinite(number) or number < minimum or number <= above:
        bound = f"more than {above}" if above > -math.inf else f"at least {minimum}"
        bound = "finite" if minimum == above == -math.inf else f"finite and {bound}"
        raise ArgumentError(f"{name} must be {bound}; it is {value!r}")
    return number


def _as_float(name: str, value: Any) -> float:
    """A real number as a float, infinite where it is too large for one."""
    if isinstance(value, np.ndarray):
        if value.ndim:
            raise ShapeError(f"{name} must be one number; it has shape {value.shape}")
        value = value[()]
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise DTypeError(f"{name} must be a real number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def count(name: str, value: Any, *, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise DTypeError(f"{name} must be an integer, not {value!r}")
    if number < minimum:
        raise ArgumentError(f"{name} must be at least {minimum}; it is {value!r}")
    return number


def flag(name: str, value: Any) -> bool:
    """`value`, which is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise DTypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def not_negative(name: str, values: np.ndarray[Any, Any]) -> None:
    """Raise where a weight, of a row along the last axis, is negative or NaN."""
    if not (values >= 0).all():
        row = tuple(int(i) for i in np.argwhere(~(values >= 0))[0])
        raise ArgumentError(f"{name} must not be negative or NaN; it is {values[row]} at row {row[-1]}")


def weights(name: str, values: np.ndarray[Any, Any]) -> None:
    """Raise unless the weights of each problem, along the last axis, are not negative and not all 0."""
    not_negative(name, values)
    if not (values > 0).any(axis=-1).all():  # their sum may be more than their dtype holds
        raise ArgumentError(f"{name} must not add up to 0: no row would count")
