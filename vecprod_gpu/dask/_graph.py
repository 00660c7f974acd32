"""Graphs: a task for each block, a tree of tasks that join what they know, and one that finishes."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask._task_spec import Task, convert_legacy_graph
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.utils import ensure_dict

from ._tasks import finish, join_blocks

FAN_IN = 8  # what is known of so many neighbours meets in one task


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
    (known,) = dask.optimize(known)
    if dask.config.get("optimization.fuse.active") is False:
        return known
    graph = _fused(known.__dask_graph__(), [(known.name, i) for i in range(len(places))])
    graph = HighLevelGraph.from_collections(known.name, graph)
    return da.Array(graph, known.name, known.chunks, meta=known._meta)


def _fused(graph: Any, keys: Sequence[Any]) -> dict[Any, Any]:
    """The graph in which each key's task contains all tasks that only it needs.

    Dask fuses chains alone: X and y of one block may then be made by two workers, one of which would have to
    send its rows.
    """
    tasks: dict[Any, Any] = convert_legacy_graph(ensure_dict(graph))
    uses = Counter(needed for task in tasks.values() for needed in task.dependencies)
    for key in keys:
        own, found = [], [key]
        while found:
            own.append(tasks.pop(found.pop()))
            found += [needed for needed in own[-1].dependencies if uses[needed] == 1]
        tasks[key] = Task.fuse(*own, key=key)
    return tasks


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
