"""The sums of a gradient over a tile of rows, for every model: groups of rows, and the few left over.

``residual = (x - offset)·w - y``, ``gradient += weight * residual * (x - offset)`` and ``square += weight *
residual**2``, in the summing dtype.
"""

from typing import Any

from numba import types

from ..compiling import SUMS, by_type, compiled
from ..processor import VECTOR_BYTES
from .row_groups import ROWS, add_row_groups

SHARED_BYTES = 1 << 14  # of rows that several models read one after another, from the first-level cache


@compiled()
def padded(columns: int, itemsize: int) -> int:
    """Columns of a row of whole vectors, as those of w and of gradient are here."""
    lanes = VECTOR_BYTES // itemsize
    return -(-columns // lanes) * lanes


@compiled()  # of sums that say themselves what is fused, none may be reordered
def add_rows(
    X: Any,
    y: Any,
    w: Any,
    weights: Any,
    is_weighted: bool,
    x_offset: Any,
    is_far: bool,
    gradient: Any,
    squares: Any,
) -> None:
    """Add the sums over a contiguous tile of rows to gradient and squares.

    A model is a row of w and of gradient, `padded`, and an element of squares.  ``is_far`` tells whether
    the tile comes from memory.
    """
    rows, columns = X.shape
    models = w.shape[0]
    whole = rows - rows % ROWS
    shared = max(ROWS, SHARED_BYTES // (columns * X.itemsize) // ROWS * ROWS)
    step = max(ROWS, whole) if models == 1 else shared
    for start in range(0, whole, step):
        stop = min(start + step, whole)
        for model in range(models):
            target = 0 if y.shape[1] == 1 else model
            from_memory = is_far and model == 0  # the other models find it in a cache
            add_row_groups(
                X,
                start,
                stop,
                y,
                target,
                w,
                model,
                weights,
                is_weighted,
                x_offset,
                from_memory,
                gradient,
                squares,
            )
    if whole < rows:
        _add_single_rows(X, whole, y, w, weights, is_weighted, x_offset, gradient, squares)


@compiled(fastmath=SUMS)
def _add_single_rows(
    X: Any,
    start: int,
    y: Any,
    w: Any,
    weights: Any,
    is_weighted: bool,
    x_offset: Any,
    gradient: Any,
    squares: Any,
) -> None:
    """As `add_rows`, of the rows from start on."""
    rows, columns = X.shape
    for i in range(start, rows):
        for model in range(w.shape[0]):
            residual = w.dtype.type(0)
            for j in range(columns):
                residual += _centred(X, x_offset, i, j) * w[model, j]
            residual -= y[i, 0 if y.shape[1] == 1 else model]
            weighted = weights[i] * residual if is_weighted else residual
            squares[model] += weighted * residual
            for j in range(columns):
                gradient[model, j] += weighted * _centred(X, x_offset, i, j)


@compiled(fastmath=SUMS)
def _centred(X: Any, x_offset: Any, row: int, column: int) -> Any:
    """One element of X less its column's offset; Numba drops the branch when it compiles."""
    if x_offset is None:
        return X[row, column]
    return X[row, column] - x_offset[column]


def tile_of(X: Any, problem: int, start: int, stop: int, scratch: Any) -> Any:
    """Rows of one problem as a contiguous array: a view of X, if it `is_viewed`, else packed into scratch."""


def is_viewed(X: Any) -> bool:
    """Whether tiles of X are views of it: by its type, so that compiled code knows."""
    raise NotImplementedError


@by_type(tile_of)
def _tile_by_layout(X: Any, problem: Any, start: Any, stop: Any, scratch: Any) -> Any:
    def view(X: Any, problem: Any, start: Any, stop: Any, scratch: Any) -> Any:
        return X[problem, start:stop]

    def packed(X: Any, problem: Any, start: Any, stop: Any, scratch: Any) -> Any:
        for i in range(start, stop):
            for j in range(X.shape[2]):
                scratch[i - start, j] = X[problem, i, j]
        return scratch[: stop - start]

    return view if _is_dense(X) else packed


@by_type(is_viewed)
def _viewed_by_layout(X: Any) -> Any:
    viewed = _is_dense(X)

    def told(X: Any) -> bool:
        return viewed

    return told


def _is_dense(kind: Any) -> bool:
    """Of Numba's type of an array."""
    return bool(kind.layout == "C" and kind.aligned)


def offset_of(x_offset: Any, problem: int) -> Any:
    """The offset of one problem, or None: chosen by type, so that compiled code knows which."""


@by_type(offset_of)
def _offset_by_type(x_offset: Any, problem: Any) -> Any:
    def none(x_offset: Any, problem: Any) -> Any:
        return None

    def row(x_offset: Any, problem: Any) -> Any:
        return x_offset[problem]

    return none if isinstance(x_offset, types.NoneType) else row
