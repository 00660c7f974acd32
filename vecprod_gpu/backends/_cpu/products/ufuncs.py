"""The products on the host, as generalised ufuncs: one compiled inner loop per operation and dtype.

NumPy's ufunc machinery gives them what its own functions have: broadcasting, any strides, read-only
and misaligned inputs, overlap with `out`, floating-point warnings under np.errstate, and about one
microsecond a call.  For real dtypes they follow ``cross`` and ``outer`` of NumPy bit by bit: nothing is
contracted, as NumPy's own products of complex numbers may be.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc.ufuncbuilder import GUFuncBuilder
from numba.np.ufunc.wrappers import GufWrapperCache, _GufuncWrapper

from ..._cache import LateFiles
from ..._small import small_cross, small_cross_rows, small_outer, small_outer_rows
from ..compiling import by_type, inlined
from .crosses import (
    stream_cross_of_rows,
    stream_packed_cross,
    write_cross_of_columns,
    write_cross_of_rows,
    write_packed_cross,
    write_packed_cross_of_columns,
)
from .halves import element_dtype, element_type
from .outers import stream_outer_rows, stream_small_squares, write_outer_rows, write_small_squares
from .streaming import STREAM_BYTES

Ufunc = np.ufunc


class Loop(NamedTuple):
    """The loop of a ufunc.

    Attributes
    ----------
    address : int
        Where its code lies.
    axes : tuple of str
        The names of all axes of its operands, in their order.
    dtypes : sequence of int
        NumPy's number of the dtype of each operand.
    """

    address: int
    axes: tuple[str, ...]
    dtypes: Sequence[int]


loop_of: dict[Ufunc, Loop] = {}
ROWS, PAIRS = "(n,d),(n,d)->(n,d)", "(k,m),(k,n)->(k,m,n)"


@cache
def cross_ufunc(dtype: np.dtype[Any]) -> Ufunc:
    """``(3),(3)->(3)``: the cross product of two vectors."""

    def cross(a: Any, b: Any, out: Any) -> None:
        out[0], out[1], out[2] = _components(a, b)

    return small_cross.setdefault(dtype, build(cross, dtype, "(d),(d)->(d)", (1, 1, 1)))


@cache
def cross_rows_ufunc(dtype: np.dtype[Any], past_cache: bool = False) -> Ufunc:
    """``(n,3),(n,3)->(n,3)``: as `cross_ufunc` for many vectors at once, soonest for those without gaps.

    Or for one vector, which is broadcast, and for dense columns.  Past the cache, where real numbers alone
    go, the rows of a and b are dense, and out has no gaps and starts on 16 bytes.
    """

    def cross(a: Any, b: Any, out: Any) -> None:
        one_a, one_b = _one_if_broadcast(a), _one_if_broadcast(b)
        done = 0
        if _is_packed(one_a) and _is_packed(one_b) and _is_packed(out):
            done = write_packed_cross(out, one_a, one_b)
        elif _has_dense_columns(one_a) and _has_dense_columns(one_b):
            if _is_packed(out):
                done = write_packed_cross_of_columns(out, one_a, one_b)
            elif _has_dense_columns(out):
                done = write_cross_of_columns(out, one_a, one_b)
        elif _has_dense_rows(a) and _has_dense_rows(b) and _has_dense_rows(out):
            done = write_cross_of_rows(out, a, b)
        cross_rows_from(done, one_a, one_b, out)

    def cross_past_cache(a: Any, b: Any, out: Any) -> None:
        one_a, one_b = _one_if_broadcast(a), _one_if_broadcast(b)
        if _is_packed(one_a) and _is_packed(one_b):
            done = stream_packed_cross(out, one_a, one_b)
        else:
            done = stream_cross_of_rows(out, a, b)
        cross_rows_from(done, one_a, one_b, out)

    def cross_of_complex(a: Any, b: Any, out: Any) -> None:  # which no vector of the machine holds
        cross_rows_from(0, a, b, out)

    if past_cache:
        return build(cross_past_cache, dtype, ROWS, (2, 2, 2), "cross")
    kernel = cross_of_complex if dtype.kind == "c" else cross
    return small_cross_rows.setdefault(dtype, build(kernel, dtype, ROWS, (2, 2, 2), "cross"))


@cache
def outer_ufunc(dtype: np.dtype[Any]) -> Ufunc:
    """``(m),(n)->(m,n)``: every element of a times every element of b."""

    def outer(a: Any, b: Any, out: Any) -> None:
        for i in range(a.shape[0]):
            scale = a[i]
            for j in range(b.shape[0]):
                out[i, j] = times(scale, b[j])

    return small_outer.setdefault(dtype, build(outer, dtype, "(m),(n)->(m,n)", (1, 1, 2)))


@cache
def outer_rows_ufunc(dtype: np.dtype[Any], past_cache: bool = False) -> Ufunc:
    """``(k,m),(k,n)->(k,m,n)``: as `outer_ufunc` for many pairs at once.

    Past the cache, the columns of b and of out lie side by side; a row of out starts on 16 bytes and spans a
    multiple of them, or out has no gaps and starts on so many.
    """

    def outer(a: Any, b: Any, out: Any) -> None:
        if b.shape[1] == 1:  # a column is written as a row, piece by piece
            a, b, out = b, a, out.transpose((0, 2, 1))
        one_a, one_b = _one_if_broadcast(a), _one_if_broadcast(b)
        done = 0
        if _is_packed(one_a) and _is_packed(one_b) and _has_packed_squares(out):
            done = write_small_squares(out, one_a, one_b)
        if _has_dense_rows(b) and out.strides[2] == out.itemsize:
            write_outer_rows(out, a, b, done)
        else:
            for k in range(done, a.shape[0]):
                for i in range(a.shape[1]):
                    for j in range(b.shape[1]):
                        out[k, i, j] = times(a[k, i], b[k, j])

    def outer_past_cache(a: Any, b: Any, out: Any) -> None:
        one_a, one_b = _one_if_broadcast(a), _one_if_broadcast(b)
        done = 0
        if _is_packed(one_a) and _is_packed(one_b) and _has_packed_squares(out):
            done = stream_small_squares(out, one_a, one_b)
        if b.shape[1] * b.itemsize % STREAM_BYTES == 0:
            stream_outer_rows(out, a, b, done)
        else:
            write_outer_rows(out, a, b, done)

    if past_cache:
        return build(outer_past_cache, dtype, PAIRS, (2, 2, 3), "outer")
    return small_outer_rows.setdefault(dtype, build(outer, dtype, PAIRS, (2, 2, 3)))


def times(x: Any, y: Any) -> Any:
    """``x * y``, in which each product and sum of the parts of complex numbers is rounded by itself.

    Numba compiles its own product of them once a process, with the freedom of whoever comes first.
    """


@by_type(times)
def _times_by_type(x: Any, y: Any) -> Any:
    def of_complex(x: Any, y: Any) -> Any:
        return complex(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)

    def of_real(x: Any, y: Any) -> Any:
        return x * y

    return of_complex if isinstance(x, numba.types.Complex) else of_real


@inlined()
def cross_rows_from(first: int, a: Any, b: Any, out: Any) -> None:
    """Cross products of the rows from `first` on; one row of a or b stands for all."""
    step_a, step_b = int(a.shape[0] > 1), int(b.shape[0] > 1)
    for i in range(first, out.shape[0]):
        out[i, 0], out[i, 1], out[i, 2] = _components(a[i * step_a], b[i * step_b])


@inlined()
def _components(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """The three of one cross product."""
    a0, a1, a2 = a[0], a[1], a[2]
    b0, b1, b2 = b[0], b[1], b[2]
    return times(a1, b2) - times(a2, b1), times(a2, b0) - times(a0, b2), times(a0, b1) - times(a1, b0)


@inlined()
def _one_if_broadcast(rows: Any) -> Any:
    """The one row that stands for all, or the rows."""
    return rows[:1] if rows.strides[0] == 0 else rows


@inlined()
def _is_packed(rows: Any) -> bool:
    """Whether an array of two axes has no gaps."""
    follow = rows.shape[0] == 1 or rows.strides[0] == rows.shape[1] * rows.itemsize
    return _has_dense_rows(rows) and follow


@inlined()
def _has_dense_rows(rows: Any) -> bool:
    """Whether the elements of each row lie side by side."""
    # NumPy gives an axis of one element any stride
    return rows.shape[1] == 1 or rows.strides[1] == rows.itemsize  # type: ignore[no-any-return]


@inlined()
def _has_dense_columns(rows: Any) -> bool:
    """Whether the elements of each column lie side by side."""
    return rows.shape[0] == 1 or rows.strides[0] == rows.itemsize  # type: ignore[no-any-return]


@inlined()
def _has_packed_squares(out: Any) -> bool:
    """Whether an array of three axes has no gaps."""
    row_bytes = out.shape[2] * out.itemsize
    is_dense = out.strides[2] == out.itemsize and out.strides[1] == row_bytes
    is_one_each = out.shape[1] == out.shape[2] == 1
    return (is_dense or is_one_each) and out.strides[0] == out.shape[1] * row_bytes  # type: ignore[no-any-return]


def build(
    function: Callable[..., None], dtype: np.dtype[Any], layout: str, ranks: tuple[int, ...], name: str = ""
) -> Ufunc:
    """Compile `function` for arrays of `dtype` with the given core ranks; warnings tell the name."""
    element = element_type(dtype)
    signature = tuple(numba.types.Array(element, rank, "A") for rank in ranks)
    # A symbol is made of this name and of a number that each process counts from 1: of two functions of one
    # name, compiled by two processes, a third process would call the first that it loads for both.
    function.__qualname__ = f"{function.__name__}.{function.__code__.co_firstlineno}"
    function.__name__ = name or function.__name__

    with global_compiler_lock:  # a builder imports modules of Numba: a fork waits for them
        builder = _Builder(function, layout, targetoptions={"nopython": True})
        builder.nb_func.cache = LateFiles(function)
        builder.add(signature)
        ufunc: Ufunc = builder.build_ufunc()
    loop_of[ufunc] = Loop(builder.address, tuple(re.findall(r"\w", layout)), builder.dtypes)
    return ufunc


class _Builder(GUFuncBuilder):  # type: ignore[misc]
    """A generalised ufunc, whose loop is kept where this package keeps its files.

    `numba.guvectorize` would import what compiled code needs to call the ufunc, which none here does.
    """

    def build(self, cres: Any) -> Any:
        """The numbers of the types, the address of the loop, and what keeps it there.

        Numba keeps a function and its loop in two files, each by a name that the process numbered.  A loop
        from before its function was compiled anew has another name, and Numba takes its address for 0.
        """
        files = LateFiles(self.py_func, GufWrapperCache)
        address, environment = self._loop(cres, files)
        if not address:
            files.flush()
            address, environment = self._loop(cres, files)
        self.address = address
        self.dtypes = [element_dtype(each.dtype).num for each in cres.signature.args]
        return self.dtypes, address, environment

    def _loop(self, cres: Any, files: LateFiles) -> Any:
        wrapper = _GufuncWrapper(self.py_func, cres, self.sin, self.sout, cache=False, is_parfors=False)
        wrapper.cache = files
        loop = wrapper.build()
        return loop.library.get_pointer_to_function(loop.name), loop.env
