"""What an array is: its kind, which decides the device that a call runs on."""

import sys
from typing import Any, Literal

import numpy as np
from numpy import ndarray

from .errors import DeviceError, DTypeError

Array = Any
Kind = Literal["numpy", "cupy", "numba"]


def kind_of(value: object) -> Kind:
    """Kind of array that `value` is; anything that is not on a GPU counts as NumPy's.

    Other libraries' arrays that offer ``__cuda_array_interface__`` and have NumPy's dtypes are taken
    without a copy, as CuPy arrays.
    """
    if type(value) is np.ndarray:
        return "numpy"
    if isinstance(value, getattr(sys.modules.get("cupy"), "ndarray", ())):
        return "cupy"  # without the description that CuPy puts together for who asks
    if getattr(value, "__cuda_ndarray__", False):
        return "numba"
    return "cupy" if hasattr(value, "__cuda_array_interface__") else "numpy"


def common_kind(**arguments: object) -> Kind:
    """Kind that all the arguments given (those that are not None) share.

    Raises
    ------
    DeviceError
        If they live in different places; the message names each one's.
    DTypeError
        If one is another library's device array whose dtype is not NumPy's, as a tensor of torch.
    """
    for value in arguments.values():
        if type(value) is not ndarray and value is not None:
            break
    else:
        return "numpy"
    kinds = {name: kind_of(value) for name, value in arguments.items() if value is not None}
    for name, kind in kinds.items():
        value = arguments[name]
        if kind == "cupy" and not isinstance(getattr(value, "dtype", None), np.dtype):
            raise DTypeError(
                f"{name} is a {type(value).__module__}.{type(value).__name__}, whose dtype is not NumPy's; "
                f"pass a view of it: cupy.from_dlpack({name})"
            )
    if len(set(kinds.values())) > 1:
        places = ", ".join(f"{name} is a {_PLACES[kind]}" for name, kind in kinds.items())
        raise DeviceError(
            f"all arrays of one call must live in one place, but {places}; "
            "move them first, for example with cupy.asarray(...) or cupy.asnumpy(...)"
        )
    return next(iter(kinds.values()), "numpy")


_PLACES = {"numpy": "host array", "cupy": "CuPy array", "numba": "Numba device array"}


def as_array(kind: Kind, value: Array) -> Array:
    """The value as an array: a list, a scalar or a NumPy subclass becomes a plain NumPy array."""
    return np.asarray(value) if kind == "numpy" else value


def as_arrays(kind: Kind, *values: Array) -> list[Array]:
    """The values as arrays."""
    return [as_array(kind, value) for value in values]


def result_dtype(*arrays: Array) -> np.dtype[Any]:
    """The dtype that NumPy's promotion gives the product of the arrays."""
    return np.result_type(*(np.dtype(array.dtype) for array in arrays))


def native_order(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in the byte order of the machine: the same object, where it can be, is soonest compared."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def summing_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float16 is stored narrow and summed in float32; everything else is summed in its own dtype."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def stored_dtype(X: np.dtype[Any], sums: np.dtype[Any]) -> np.dtype[Any]:
    """How X is read: as it is where a kernel can widen it in registers, without a copy of X."""
    as_it_is = {("e", "f"), ("f", "f"), ("f", "d"), ("d", "d"), ("F", "F"), ("F", "D"), ("D", "D")}
    if (X.char, sums.char) in as_it_is:
        return native_order(X)
    return np.dtype(np.float32) if (X.char, sums.char) == ("e", "d") else sums


def moved(backend: Any, array: Array, source: int, target: int) -> Array:
    """The native array with one axis moved; nearly always it stays where it is."""
    axes = array.ndim
    return array if not axes or source % axes == target % axes else backend.moveaxis(array, source, target)
