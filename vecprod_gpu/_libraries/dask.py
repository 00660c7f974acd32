"""Arrays of Dask: what works vector by vector stays lazy, chunk by chunk."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import dask
import dask.array as da
import numpy as np

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


class Dask(Library):
    """Nothing is computed before Dask is asked to, but for the functions that look at all rows at once.

    Those read the chunks into memory, as they do with any array_like, and return NumPy's arrays.
    """

    name = "dask"
    has_mutable_arrays = False
    is_lazy = True

    def apply(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The call as a task for each chunk."""
        layout = _VECTORS.get(function.__name__)
        if layout is None:
            args, kwargs = dask.compute(args, kwargs)
            return function(*args, **kwargs)
        bound = signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        count = layout.count(",(") + 1
        vectors = [da.asarray(vector) for vector in list(bound.arguments.values())[:count]]
        options = dict(list(bound.arguments.items())[count:])
        axes = _axes(layout, count, options)
        call = partial(function, **options)
        dtype = np.asarray(call(*(np.ones(3, vector.dtype) for vector in vectors))).dtype
        return da.apply_gufunc(call, layout, *vectors, axes=axes, allow_rechunk=True, output_dtypes=dtype)


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
