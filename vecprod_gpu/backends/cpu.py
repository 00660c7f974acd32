"""Numba on the host: compiled at first use, one pass over the data, results written past the cache.

The products are generalised ufuncs (`_ufuncs`), sliced over threads; the sums of linear regression
are `_sums`.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from . import _float_status, _sums
from ._host_arrays import address, assign, cast, contiguous, export, moveaxis, native, overlaps, reshape
from ._memory import empty
from ._status import Status
from ._streaming import VECTOR_BYTES, publish
from ._threads import for_each_block
from ._ufuncs import cross_ufunc, outer_ufunc, streamed_outer_ufunc

__all__ = [
    "address",
    "assign",
    "batched_outer",
    "cast",
    "contiguous",
    "cross",
    "empty",
    "export",
    "linreg_pass",
    "moveaxis",
    "native",
    "overlaps",
    "reshape",
    "status",
    "supports",
]

Array = np.ndarray[Any, Any]

_PRODUCT_DTYPES = frozenset(map(np.dtype, "bBhHiIlLqQfdFD"))
_REGRESSION_DTYPES = frozenset(map(np.dtype, "fd"))

SERIAL_BYTES = 1 << 18  # below this a second thread costs more than it brings
STREAMED_BYTES = 8 << 20  # results past the usual share of the last-level cache
_NO_LOSS = np.empty((0, 0))

BLOCK_BYTES = 1 << 20  # of a result, for one thread at a time


def status() -> Status:
    """Available: the module could be imported."""
    return Status(True, f"Numba {numba.__version__}")


def supports(operation: str, dtype: np.dtype[Any]) -> bool:
    """Real and complex numbers for the products; float32 and float64 for the regression."""
    return dtype in (_REGRESSION_DTYPES if operation == "linreg" else _PRODUCT_DTYPES)


def cross(a: Array, b: Array, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    ufunc = cross_ufunc(out.dtype)
    if out.nbytes <= SERIAL_BYTES:
        ufunc(a, b, out)
        return
    a, b = np.broadcast_to(a, out.shape), np.broadcast_to(b, out.shape)
    _over_longest_axis(out.shape[:-1], out.nbytes, lambda part: ufunc(a[part], b[part], out[part]))


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

    _over_rows(multiply, a, b, out)


def _update(a: Array, b: Array, beta: Any, out: Array) -> None:
    """``out = beta * out + a ⊗ b``, in blocks that stay in the cache between the three steps."""
    ufunc = outer_ufunc(out.dtype)

    def update(a: Array, b: Array, out: Array) -> None:
        if beta != 1:
            np.multiply(out, beta, out=out)
        np.add(out, ufunc(a, b), out=out)

    _over_rows(update, a, b, out)


def _can_stream(b: Array, out: Array) -> bool:
    """Whether the result is large, real, and made of whole aligned vectors."""
    return (
        out.nbytes >= STREAMED_BYTES
        and out.dtype.kind in "iuf"
        and out.flags.c_contiguous
        and out.ctypes.data % VECTOR_BYTES == 0
        and out.shape[-1] * out.itemsize % VECTOR_BYTES == 0
        and b.strides[-1] == b.itemsize
    )


def _over_rows(task: Callable[[Array, Array, Array], Any], a: Array, b: Array, out: Array) -> None:
    """``task`` on matching parts of a, b and out, cut along the longest axis but the columns."""
    a = np.broadcast_to(a, out.shape[:-1])
    b = np.broadcast_to(b, (*out.shape[:-2], out.shape[-1]))
    batch_axes = out.ndim - 2

    def part_task(part: tuple[slice, ...]) -> None:
        task(a[part], b[part[:batch_axes]], out[part])

    _over_longest_axis(out.shape[:-1], out.nbytes, part_task)


def _over_longest_axis(
    shape: tuple[int, ...], result_bytes: int, task: Callable[[tuple[slice, ...]], Any]
) -> None:
    """``task(part)`` for slices of the longest axis, each worth about BLOCK_BYTES of the result."""
    longest = max(range(len(shape)), key=shape.__getitem__)
    length = shape[longest]
    before = (slice(None),) * longest
    blocks = max(1, result_bytes // BLOCK_BYTES)
    for_each_block(lambda start, stop: task((*before, slice(start, stop))), length, -(-length // blocks))


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
    partials, flags = _sums.partial_sums(X, y, w, sample_weight, x_offset)
    is_step = learning_rate is not None
    flags |= _sums.finish(
        partials, w, l1, l2, learning_rate or 0.0, is_step, out, _NO_LOSS if loss is None else loss
    )
    _float_status.report(flags, "linreg_pass")
