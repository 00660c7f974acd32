"""Numba on the host: compiled at first use, one pass over the data, results written past the cache.

The products are generalised ufuncs (`_ufuncs`), sliced over threads; dot products are `_vecdot`, what is
computed of three-vectors `_geometry` and `_normals`, and the sums of linear regression `_sums`.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from . import _float_status, _sums
from ._adjoints import outer_adjoint
from ._geometry import measure
from ._host_arrays import (
    address,
    assign,
    broadcast_to,
    cast,
    contiguous,
    export,
    moveaxis,
    native,
    overlaps,
    reshape,
)
from ._memory import empty
from ._moments import co_moments, gram
from ._normals import face_normals, grid_normals, vertex_normals
from ._packing import frozen
from ._slices import over_longest_axis
from ._solvers import coordinate_descent, normal_equations, proximal_descent, solution_loss, solve_positive
from ._status import Status
from ._streaming import VECTOR_BYTES, publish
from ._threads import for_each_block
from ._ufuncs import cross_ufunc, outer_ufunc, streamed_cross_ufunc, streamed_outer_ufunc
from ._vecdot import vecdot

__all__ = [
    "address",
    "assign",
    "batched_outer",
    "broadcast_to",
    "cast",
    "co_moments",
    "contiguous",
    "coordinate_descent",
    "cross",
    "empty",
    "export",
    "face_normals",
    "gram",
    "grid_normals",
    "linreg_is_kept",
    "linreg_pass",
    "linreg_steps",
    "measure",
    "moveaxis",
    "native",
    "normal_equations",
    "outer_adjoint",
    "overlaps",
    "proximal_descent",
    "reshape",
    "solution_loss",
    "solve_positive",
    "status",
    "supports",
    "vecdot",
    "vertex_normals",
]

Array = np.ndarray[Any, Any]

_PRODUCT_DTYPES = frozenset(map(np.dtype, "bBhHiIlLqQfdFD"))
_REAL_DTYPES = frozenset(map(np.dtype, "fd"))
_DTYPES = {
    "batched_outer": _PRODUCT_DTYPES,
    "cross": _PRODUCT_DTYPES,
    "vecdot": _PRODUCT_DTYPES,
    "measure": _REAL_DTYPES,
    "triple_product": frozenset(map(np.dtype, "bBhHiIlLqQfd")),
    "normals": _REAL_DTYPES,
    "gram": _REAL_DTYPES,
    "co_moments": _REAL_DTYPES,
    "linreg": _REAL_DTYPES,
}

SERIAL_BYTES = 1 << 18  # below this a second thread costs more than it brings
STREAMED_BYTES = 8 << 20  # results past the usual share of the last-level cache
_NO_LOSS = np.empty((0, 0))

BLOCK_BYTES = 1 << 20  # of a result, for one thread at a time
STREAMED_BLOCK_BYTES = 4 << 20  # nothing of it stays in the cache, so that fewer blocks only cost less


def status() -> Status:
    """Available: the module could be imported."""
    return Status(True, f"Numba {numba.__version__}")


def supports(operation: str, dtype: np.dtype[Any]) -> bool:
    """Integers, real and complex numbers for the products; float32 and float64 for the rest."""
    return dtype in _DTYPES.get(operation, ())


def cross(a: Array, b: Array, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    ufunc = cross_ufunc(out.dtype)
    if out.nbytes <= SERIAL_BYTES:
        ufunc(a, b, out)
        return
    if _takes_stream(out) and all(x.shape == out.shape and x.flags.c_contiguous for x in (a, b)):
        _stream_cross(a, b, out)
        return
    a, b = np.broadcast_to(a, out.shape), np.broadcast_to(b, out.shape)
    blocks = out.nbytes // BLOCK_BYTES
    over_longest_axis(out.shape[:-1], blocks, lambda part: ufunc(a[part], b[part], out[part]))


def _stream_cross(a: Array, b: Array, out: Array) -> None:
    """The whole groups of vectors past the cache, and the rest after them."""
    ufunc, rest = streamed_cross_ufunc(out.dtype), cross_ufunc(out.dtype)
    group = 3 * VECTOR_BYTES // out.itemsize
    a, b, out = a.reshape(-1), b.reshape(-1), out.reshape(-1)

    def multiply(start: int, stop: int) -> None:
        part = slice(start * group, stop * group)
        ufunc(a[part], b[part], out[part])
        publish()

    groups = out.size // group
    for_each_block(multiply, groups, STREAMED_BLOCK_BYTES // (3 * VECTOR_BYTES))
    last = (x[groups * group :].reshape(-1, 3) for x in (a, b, out))
    rest(*last)


def batched_outer(a: Array, b: Array, alpha: Any, beta: Any, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if alpha != 1:
        a = a * alpha
    if beta != 0:
        _update(a, b, beta, out)
        return
    if out.nbytes <= SERIAL_BYTES:
        outer_ufunc(out.dtype)(a, b, out)
        return
    streamed = _can_stream(b, out)
    ufunc = streamed_outer_ufunc(out.dtype) if streamed else outer_ufunc(out.dtype)

    def multiply(a: Array, b: Array, out: Array) -> None:
        ufunc(a, b, out)
        if streamed:
            publish()

    _over_rows(multiply, a, b, out, STREAMED_BLOCK_BYTES if streamed else BLOCK_BYTES)


def _update(a: Array, b: Array, beta: Any, out: Array) -> None:
    """``out = beta * out + a ⊗ b``, in blocks that stay in the cache between the three steps."""
    ufunc = outer_ufunc(out.dtype)

    def update(a: Array, b: Array, out: Array) -> None:
        if beta != 1:
            np.multiply(out, beta, out=out)
        np.add(out, ufunc(a, b), out=out)

    _over_rows(update, a, b, out, BLOCK_BYTES)


def _can_stream(b: Array, out: Array) -> bool:
    """Whether the outer products are made of whole aligned vectors."""
    return (
        _takes_stream(out)
        and out.shape[-1] * out.itemsize % VECTOR_BYTES == 0
        and b.strides[-1] == b.itemsize
    )


def _takes_stream(out: Array) -> bool:
    """Whether the result is real, larger than the caches, and laid out for aligned vectors."""
    return (
        out.nbytes >= STREAMED_BYTES
        and out.dtype.kind in "iuf"
        and out.flags.c_contiguous
        and out.ctypes.data % VECTOR_BYTES == 0
    )


def _over_rows(
    task: Callable[[Array, Array, Array], Any], a: Array, b: Array, out: Array, block_bytes: int
) -> None:
    """``task`` on matching parts of a, b and out, cut along the longest axis but the columns."""
    a = np.broadcast_to(a, out.shape[:-1])
    b = np.broadcast_to(b, (*out.shape[:-2], out.shape[-1]))
    batch_axes = out.ndim - 2

    def part_task(part: tuple[slice, ...]) -> None:
        task(a[part], b[part[:batch_axes]], out[part])

    over_longest_axis(out.shape[:-1], out.nbytes // block_bytes, part_task)


def linreg_pass(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    x_offset: Array | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float | None,
    out: Array,
    loss: Array | None,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    X, y, w = frozen(X), frozen(y), frozen(w)
    sample_weight = None if sample_weight is None else frozen(sample_weight)
    x_offset = None if x_offset is None else frozen(x_offset)
    partials, flags = _sums.partial_sums(X, y, w, sample_weight, x_offset)
    is_step = learning_rate is not None
    flags |= _sums.finish(
        partials, w, l1, l2, learning_rate or 0.0, is_step, out, _NO_LOSS if loss is None else loss
    )
    _float_status.report(flags, "linreg_pass")


def linreg_is_kept(X: Array, w: Array, x_offset: Array | None) -> bool:
    """See the contract in `vecprod_gpu.backends`."""
    return False


def linreg_steps(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    x_offset: Array | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float,
    points: Array,
    losses: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if _sums.is_small(X, w.shape[-1]):
        weights = None if sample_weight is None else frozen(sample_weight)
        offset = None if x_offset is None else frozen(x_offset)
        inputs = frozen(X), frozen(y), frozen(w), weights, offset
        flags = _sums.small_steps(*inputs, l1, l2, learning_rate, points, losses)
        _float_status.report(flags, "linreg_pass")
        return
    how = {"l1": l1, "l2": l2, "learning_rate": learning_rate}
    for point, loss in zip(points, losses, strict=True):
        linreg_pass(X, y, w, sample_weight, x_offset, out=point, loss=loss, **how)
        w = point
