"""Products of plain host arrays with as little Python as can be; None where the call has to go the long way.

A small call takes about a microsecond in the compiled ufunc, and as much to get there.  The long way costs a
large one a tenth of a millisecond: its data have driven Python's from the caches.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from . import _dispatch
from ._arrays import Array
from ._costs import cross_work, outer_work
from ._layout import size
from .backends._cpu.memory import empty
from .backends._host_arrays import moveaxis
from .backends._small import (
    ALONE_CROSS_BYTES,
    CALLS_BYTES,
    FEW_ELEMENTS,
    LONG,
    PAIR_ELEMENTS,
    SMALL_CROSS_BYTES,
    SMALL_ELEMENTS,
    SMALL_OUTER_BYTES,
    SMALL_VECTORS_BYTES,
    shared_cross_rows,
    small_cross,
    small_cross_rows,
    small_measures,
    small_outer,
    small_outer_rows,
    small_vecdot,
)

_LAST = -1  # compared by identity: an axis may be of any type

current_mode = _dispatch.mode.get


def cross(a: Array, b: Array, out: Array | None) -> Array | None:
    """Cross products of as many vectors, or of one with many."""
    dtype, shape = a.dtype, a.shape
    if b.dtype is not dtype or current_mode() is not None:
        return None
    try:
        if shape != b.shape:
            shape = shape if (a.size, a.ndim) > (b.size, b.ndim) else b.shape
            a, b = _everywhere(a, shape), _everywhere(b, shape)
        if shape[-1] != 3:
            return None
        ufunc = (small_cross_rows if len(shape) > 1 else small_cross)[dtype]
    except (IndexError, KeyError, ValueError):  # no axis; none compiled; neither of that shape nor one vector
        return None
    if out is not None and not _fits(out, dtype, shape):
        return None
    if len(shape) > 2 and _are_few_rows(a):
        return None
    if (nbytes := a.nbytes) > ALONE_CROSS_BYTES:
        if nbytes > SMALL_CROSS_BYTES:
            return _large_cross(a, b, out)
        if (share := shared_cross_rows.get(dtype)) is not None and (shared := share(a, b, out)) is not None:
            return shared
    return ufunc(a, b, order="C") if out is None else ufunc(a, b, out)


def cross_along(a: Array, b: Array, axisa: int, axisb: int, axisc: int, out: Array | None) -> Array | None:
    """As `cross`, of components along any axes."""
    try:
        a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
        into = None if out is None else moveaxis(out, axisc, -1)
        axis = range(max(a.ndim, b.ndim))[axisc]
    except (AttributeError, IndexError, TypeError):  # axes that are none: the long way says which
        return None
    product = cross(a, b, into)
    if product is None or out is not None:
        return None if product is None else out
    return moveaxis(product, -1, axis)


def outer(a: Array, b: Array, out: Array | None) -> Array | None:
    """Outer products of a pair of vectors, or of a batch of pairs."""
    if b.dtype is not (dtype := a.dtype) or current_mode() is not None:
        return None
    if a.size * b.size > FEW_ELEMENTS or (ufunc := small_outer.get(dtype)) is None:
        return _more_outer(dtype, a, b, out)
    try:  # the checks of the ufunc take less time than any here
        if out is None:
            return ufunc(a, b, order="C")  # not that of the operands: as the long way
        if type(out) is ndarray and out.dtype is dtype and out.shape == a.shape + b.shape[-1:]:
            return ufunc(a, b, out)
    except ValueError:  # the shapes do not fit, or out is read-only: the long way says which
        pass
    return None


def _more_outer(dtype: np.dtype[Any], a: Array, b: Array, out: Array | None) -> Array | None:
    """Outer products whose elements take longer than what is asked here."""
    shape, other = a.shape, b.shape
    batch, columns = shape[:-1], other[-1:]
    elements = a.size * b.size
    is_whole = bool(shape and other) and batch == other[:-1]  # nothing is broadcast
    if is_whole and (batch or elements > PAIR_ELEMENTS):
        ufunc, is_small = small_outer_rows.get(dtype), a.nbytes * columns[0] <= SMALL_OUTER_BYTES
    else:
        ufunc, is_small = small_outer.get(dtype), elements <= SMALL_ELEMENTS
    if ufunc is None or not (is_small or is_whole):
        return None
    if out is not None and not (is_whole and _fits(out, dtype, shape + columns)):
        return None
    if len(shape) > 2 and _are_few_rows(a):
        return None
    if not is_small:
        return _large_outer(a, b, out, shape + columns)
    if ufunc is small_outer_rows.get(dtype):
        out = empty(shape + columns, dtype) if out is None else out
        if batch:
            return ufunc(a, b, out)
        ufunc(a[np.newaxis], b[np.newaxis], out[np.newaxis])
        return out
    try:
        return ufunc(a, b, order="C") if out is None else ufunc(a, b, out)
    except ValueError:  # the shapes do not fit: the long way says which
        return None


def vecdot(a: Array, b: Array, axis: int) -> Any:
    """Dot products of as many vectors of one length."""
    dtype = _dtype_of((a, b), axis)
    if dtype is None or (ufunc := small_vecdot.get(dtype)) is None or 2 * a.nbytes > SMALL_VECTORS_BYTES:
        return None
    return ufunc(a, b) if a.ndim == 2 else ufunc(a[np.newaxis], b[np.newaxis])[0]


def measure(quantity: str, vectors: tuple[Array, ...], axis: int, out: Array | None) -> Any:
    """A number of each of as many three-vectors."""
    first = vectors[0]
    dtype = _dtype_of(vectors, axis)
    if dtype is None or (ufunc := small_measures.get((quantity, dtype))) is None:
        return None
    if first.shape[-1] != 3 or len(vectors) * first.nbytes > SMALL_VECTORS_BYTES:
        return None
    if first.ndim == 2 and out is None:
        return ufunc(*vectors)
    if first.ndim == 2:
        return ufunc(*vectors, out) if _fits(out, dtype, first.shape[:-1]) else None
    return ufunc(*(vector[np.newaxis] for vector in vectors))[0] if out is None else None


def _dtype_of(vectors: tuple[Array, ...], axis: int) -> np.dtype[Any] | None:
    """Of some plain arrays of one shape, ``(n,)`` or ``(m, n)``, whose vectors lie along the last axis."""
    first = vectors[0]
    if type(first) is not ndarray or axis is not _LAST or first.size == 0 or current_mode() is not None:
        return None
    dtype, shape = first.dtype, first.shape
    for other in vectors[1:]:
        if type(other) is not ndarray or other.dtype is not dtype or other.shape != shape:
            return None
    return dtype if 1 <= len(shape) <= 2 else None


def _are_few_rows(vectors: Array) -> bool:
    """Whether the last of several batch axes is so short that the long way, which joins them, is sooner."""
    return bool(vectors.shape[-2] < LONG and vectors.nbytes > CALLS_BYTES)


def _large_cross(a: Array, b: Array, out: Array | None) -> Array | None:
    choice = _dispatch.choose("cross", "numpy", a.dtype, cross_work(a.size // 3, a.dtype))
    destination = _host_destination(choice, a, b, out, a.shape)
    if destination is not None:
        choice.module.cross(a, b, destination)
    return destination


def _large_outer(a: Array, b: Array, out: Array | None, shape: tuple[int, ...]) -> Array | None:
    elements = size(shape)
    choice = _dispatch.choose(
        "batched_outer", "numpy", a.dtype, outer_work(elements, elements + a.size + b.size, a.dtype)
    )
    destination = _host_destination(choice, a, b, out, shape)
    if destination is not None:
        choice.module.batched_outer(a, b, 1, 0, destination)
    return destination


def _host_destination(
    choice: _dispatch.Choice, a: Array, b: Array, out: Array | None, shape: tuple[int, ...]
) -> Array | None:
    """Where ``cpu`` is to write; None where it is not chosen, or out overlaps a or b."""
    if choice.backend != "cpu":
        return None
    if out is None:
        return choice.module.empty(shape, a.dtype)
    return None if np.may_share_memory(out, a) or np.may_share_memory(out, b) else out


def _everywhere(vectors: Array, shape: tuple[int, ...]) -> Array:
    """Vectors of that shape, or one at each place of it: `numpy.broadcast_to` takes ten times as long."""
    if vectors.shape == shape:
        return vectors
    if vectors.size != 3 or vectors.shape[-1] != 3 or vectors.ndim > len(shape):
        raise ValueError(f"{vectors.shape} is not one vector")
    return ndarray(shape, vectors.dtype, vectors, 0, (0,) * (len(shape) - 1) + vectors.strides[-1:])


def _fits(out: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether a ufunc may write a result of that dtype and shape; it minds overlaps by itself."""
    return type(out) is ndarray and out.dtype is dtype and out.shape == shape and out.flags.writeable
