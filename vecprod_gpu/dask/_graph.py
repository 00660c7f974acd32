"""Graphs: a task for each block, a tree of tasks that join what they know, and one that finishes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from ._tasks import finish, join_blocks

FAN_IN = 8  # what is known of so many neighbours meets in one task
MOST_FUSED = 8  # inputs of a block's task that become a part of it, so that rows stay where they are


def of_blocks(summarise: Callable[..., Any], arrays: Sequence[da.Array], places: Sequence[Any]) -> da.Array:
    """``summarise(place, *blocks)`` of the blocks of rows of all arrays, as an array of what it returns.

    What makes the rows of a block and what summarises them become one task, where no other needs them.
    """
    numbers = np.empty(len(places), object)
    numbers[:] = places
    operands: list[Any] = [da.from_array(numbers, chunks=1), "i"]
    for array in arrays:
        operands += [array, "ij"[: array.ndim]]
    known = da.blockwise(
        summarise,
        "i",
        *operands,
        dtype=object,
        meta=np.empty(0, object),
        align_arrays=False,
        concatenate=True,
        adjust_chunks={"i": (1,) * len(places)},
    )
    with dask.config.set({"optimization.fuse.ave-width": MOST_FUSED}):
        return dask.optimize(known)[0]


def as_delayed(prefix: str, known: da.Array, function: Callable[..., Any]) -> Delayed:
    """``function(what is known of all blocks)``, as an object that Dask will compute."""
    name, graph = _reduced(prefix, known, function, ())
    return Delayed(name, graph, layer=name)


def as_array(
    prefix: str,
    known: da.Array,
    function: Callable[..., Any],
    *others: da.Array,
    shape: tuple[int, ...],
    meta: Any,
) -> da.Array:
    """``function(what is known of all blocks, *others)``, as an array of one chunk."""
    name, graph = _reduced(prefix, known, function, others, is_array=True, axes=len(shape))
    return da.Array(graph, name, tuple((length,) for length in shape), meta=meta)


def _reduced(
    prefix: str,
    known: da.Array,
    function: Callable[..., Any],
    others: Sequence[da.Array],
    *,
    is_array: bool = False,
    axes: int = 0,
) -> tuple[str, HighLevelGraph]:
    """The name of the result, and the graph that makes it."""
    name = f"vecprod-{prefix}-{tokenize(known, function, *others)}"
    layer: dict[Any, Any] = {}
    keys: list[Any] = [(known.name, i) for i in range(known.numblocks[0])]
    height = 0
    while len(keys) > 1:
        groups = [keys[first : first + FAN_IN] for first in range(0, len(keys), FAN_IN)]
        keys = [(f"{name}-join-{height}", i) for i in range(len(groups))]
        layer |= {key: (join_blocks, group) for key, group in zip(keys, groups, strict=True)}
        height += 1
    last = (name, *(0,) * axes) if is_array else name
    layer[last] = (partial(finish, function), keys[0], *((other.name,) for other in others))
    return name, HighLevelGraph.from_collections(name, layer, dependencies=[known, *others])
