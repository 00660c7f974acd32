"""The array part of the contract for backends that compute on NumPy arrays in place."""

from typing import Any

import numpy as np
from numpy import asarray as native  # which sees a subclass, as `out` may be, as a plain array
from numpy import ascontiguousarray as contiguous
from numpy import empty

__all__ = [
    "address",
    "assign",
    "broadcast_to",
    "cast",
    "contiguous",
    "empty",
    "export",
    "moveaxis",
    "native",
    "overlaps",
    "reshape",
]

Array = np.ndarray[Any, Any]

reshape = np.ndarray.reshape


def cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """See the contract in `vecprod_gpu.backends`."""
    return array if array.dtype is dtype else array.astype(dtype, copy=False)


def address(array: Array) -> int:
    """See the contract in `vecprod_gpu.backends`."""
    return int(array.__array_interface__["data"][0])


def overlaps(array: Array, other: Array) -> bool:
    """See the contract in `vecprod_gpu.backends`."""
    return np.may_share_memory(array, other)


def broadcast_to(array: Array, shape: tuple[int, ...]) -> Array:
    """See the contract in `vecprod_gpu.backends`; the array itself where it has that shape."""
    return array if array.shape == shape else np.broadcast_to(array, shape)


def moveaxis(array: Array, source: int, target: int) -> Array:
    """See the contract in `vecprod_gpu.backends`; IndexError for an axis that the array has not."""
    axes = range(array.ndim)
    order = [*axes]
    order.insert(axes[target], order.pop(source))
    return array.transpose(order)


def assign(destination: Array, array: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    np.copyto(destination, array, casting="same_kind")


def export(array: Array, kind: str) -> Array:
    """See the contract in `vecprod_gpu.backends`."""
    return array
