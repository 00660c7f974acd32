"""Which library an array is of; none is imported to find out."""

import importlib
import sys
from typing import Any, cast

import numpy as np
from numpy import ndarray

from .._by_type import ByType
from ._library import Library

# The adapter of an array type, and where that is found once whoever has such arrays has imported the library.
_ARRAY_TYPES = (
    ("torch", "torch", "Tensor"),
    ("jax", "jax", "Array"),
    ("jax", "jax.core", "Tracer"),
    ("dask", "dask.array", "Array"),
)


def library_of(*values: Any) -> Library | None:
    """The library of the first guest among the values; None, the usual case, if all are native."""
    for value in values:
        kind = type(value)
        if kind is ndarray:
            if value.dtype.kind == "V" and value.dtype.name == "bfloat16":
                return _adapter("ml_dtypes")
        elif (library := _LIBRARIES[kind]) is not None:
            return library
    return None


def _library_by_type(kind: type) -> Library | None:
    """The library whose arrays are of that type."""
    for name, module, array_type in _ARRAY_TYPES:
        base = getattr(sys.modules.get(module), array_type, None)
        if base is not None and issubclass(kind, base):
            return _adapter(name)
    is_native = issubclass(kind, np.ndarray | np.generic) or any(
        hasattr(kind, mark) for mark in ("__cuda_array_interface__", "__cuda_ndarray__")
    )
    if is_native or not hasattr(kind, "__dlpack__"):
        return None
    if hasattr(kind, "__array_namespace__"):
        return _adapter("standard")
    return None if hasattr(kind, "__array__") else Library()


_LIBRARIES = ByType(_library_by_type)


def _adapter(name: str) -> Library:
    """What is known of one library; imported when its first array arrives."""
    if name == "torch":
        from .torch import LIBRARY  # by a statement, which torch.compile carries out while it traces

        return LIBRARY
    return cast(Library, importlib.import_module(f"{__package__}.{name}").LIBRARY)
