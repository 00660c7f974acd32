"""Arrays of Dask: what works vector by vector stays lazy, chunk by chunk."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import signature
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array

from ..backends._cpu.threads.pools import sharing_processors
from ._library import Library

# The axes of vectors that each function takes, and those that it gives.
_VECTORS = {
    "cross": "(i),(i)->(i)",
    "batched_outer": "(i),(j)->(i,j)",
    "vecdot": "(i),(i)->()",
    "vector_angle": "(i),(i)->()",
    "parallelogram_area": "(i),(i)->()",
    "triangle_area": "(i),(i),(i)->()",
    "triple_product": "(i),(i),(i)->()",
}


# Those that look at all rows, of which `vecprod_gpu.dask` has its own.
_SUMS = ("cov", "corrcoef", "gram")


class Dask(Library):
    """Nothing is computed before Dask is asked to, but for the functions that look at all rows at once.

    Of those Gram matrices, covariance and correlation stay lazy as well.  The others read the chunks into
    memory, as they do with any array_like, and return NumPy's arrays.
    """

    name = "dask"
    has_mutable_arrays = False
    is_lazy = True

    def apply(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The call as a task for each chunk."""
        name = function.__name__
        if name in _VECTORS:
            return self.vector_by_vector(function, args, kwargs)
        bound = signature(function).bind(*args, **kwargs).arguments
        if name in _SUMS and _takes_sums(bound):
            return getattr(import_module("vecprod_gpu.dask"), name)(**bound)
        args, kwargs = dask.compute(args, kwargs)
        return function(*args, **kwargs)

    def vector_by_vector(self, function: Callable[..., Any], args: Any, kwargs: Any) -> da.Array:
        """A function of vectors, on those of all chunks."""
        layout = _VECTORS[function.__name__]
        bound = signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        count = layout.count(",(") + 1
        vectors = [da.asarray(vector) for vector in list(bound.arguments.values())[:count]]
        options = dict(list(bound.arguments.items())[count:])
        axes = _axes(layout, count, options)
        call = partial(function, **options)
        dtype = np.asarray(call(*(np.ones(3, vector.dtype) for vector in vectors))).dtype
        return da.apply_gufunc(
            partial(_as_one_of_many, call),
            layout,
            *vectors,
            axes=axes,
            allow_rechunk=True,
            meta=meta_from_array(vectors[0]._meta, dtype=dtype),
        )


def _as_one_of_many(call: Callable[..., Any], *vectors: Any) -> Any:
    """The call of a task, beside which others run."""
    with sharing_processors():
        return call(*vectors)


def _takes_sums(arguments: dict[str, Any]) -> bool:
    """Whether the first array is of Dask, none has a batch, and all are real, but for those of `gram`."""
    first = next(iter(arguments.values()))
    given = [value for value in arguments.values() if hasattr(value, "ndim")]
    is_gram = "X" in arguments
    return (
        isinstance(first, da.Array)
        and arguments.get("out") is None
        and all(array.ndim <= 2 and array.dtype.kind in ("iufc" if is_gram else "biuf") for array in given)
        and (not is_gram or first.ndim == 2)
    )


def _axes(layout: str, count: int, options: dict[str, Any]) -> list[tuple[int, ...]]:
    """Where the vectors of the arguments and of the result lie; what says so is taken out of the options."""
    if layout.endswith("(i,j)"):
        return [(-1,), (-1,), (-2, -1)]
    axis = options.pop("axis", -1)
    own = [options.pop(name, -1) for name in ("axisa", "axisb", "axisc")]
    places = [(axis,)] * count if axis is not None else [(place,) for place in own[:2]]
    if not layout.endswith("(i)"):
        return [*places, ()]
    return [*places, (own[2] if axis is None else axis,)]


LIBRARY = Dask()
