"""Observations of linear regressions as the caller gave them, checked, and cut into parts."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from ... import _checks, _dispatch
from ..._arrays import Array, Kind, as_arrays, common_kind, kind_of
from ..._finite import first_not_finite
from ..._layout import byte_bounds, size
from ...errors import NotFiniteError, ShapeError
from .._plan import look_of, read_observations, read_targets, result_dtype

Host = np.ndarray[Any, Any]

RELEASED_BYTES = 1 << 20  # of a memory map; smaller parts are not worth telling the system about


@dataclass(frozen=True)
class Layout:
    """What all rows of one object have in common.

    Attributes
    ----------
    lead : tuple of int
        Axes of the batch.
    d : int
        Columns of X.
    models : tuple of int
        ``(k,)`` for k targets, ``()`` for one that is a vector, ``(0,)`` for none.
    """

    lead: tuple[int, ...]
    d: int
    models: tuple[int, ...]

    @property
    def problems(self) -> int:
        """Problems of the batch."""
        return size(self.lead)

    @property
    def targets(self) -> int:
        """Columns of y in native form."""
        return size(self.models)

    @property
    def columns(self) -> int:
        """Columns of ``[X y]``."""
        return self.d + self.targets

    def __str__(self) -> str:
        """As the shapes of X and y."""
        X = ", ".join([*map(str, self.lead), "n", str(self.d)])
        y = ", ".join([*map(str, self.lead), "n", *map(str, self.models)])
        return f"X ({X})" + (f" and y ({y})" if self.targets else " and no y")


@dataclass(frozen=True)
class Rows:
    """Some rows of every problem of a batch.

    Attributes
    ----------
    kind : str
        Where the arrays live.
    layout : Layout
        Their shapes.
    dtype : numpy.dtype
        NumPy's promotion of them, integers counted as float64.
    X : (..., n, d) array
    y : (..., n) or (..., n, k) array, or None
    weights : (..., n) array or None
    """

    kind: Kind
    layout: Layout
    dtype: np.dtype[Any]
    X: Array
    y: Array | None
    weights: Array | None

    @classmethod
    def read(cls, X: Array, y: Array | None, sample_weight: Array | None) -> "Rows":
        """Check the arrays against each other; what the weights hold is for `check_weights`."""
        _checks.observations(X, y, sample_weight)
        kind = common_kind(X=X, y=y, sample_weight=sample_weight)
        X, y, weights = (
            None if array is None else as_arrays(kind, array)[0] for array in (X, y, sample_weight)
        )
        (X_shape, X_dtype), (y_shape, y_dtype), (s_shape, s_dtype) = map(look_of, (X, y, weights))
        lead, _, d = read_observations(X_shape, s_shape)
        models = (0,) if y is None else read_targets(X_shape, y_shape)
        if y is not None and 0 in models:
            raise ShapeError("y has no columns")
        dtype = result_dtype(X=X_dtype, y=y_dtype, sample_weight=s_dtype)
        return cls(kind, Layout(lead, d, models), dtype, X, y, weights)

    @property
    def n(self) -> int:
        """Rows of each problem."""
        return int(self.X.shape[len(self.layout.lead)])

    def part(self, start: int, stop: int) -> "Rows":
        """A view of the rows from start to stop."""
        if (start, stop) == (0, self.n):
            return self
        lead = (slice(None),) * len(self.layout.lead)
        rows = (*lead, slice(start, stop))
        return replace(
            self,
            X=self.X[rows],
            y=None if self.y is None else self.y[rows],
            weights=None if self.weights is None else self.weights[rows],
        )

    def parts(self, most: int) -> Iterator["Rows"]:
        """Views of all rows in order, of so many rows each; the last may have fewer."""
        for start in range(0, self.n, most):
            yield self.part(start, min(start + most, self.n))

    def take(self, indices: Host) -> "Rows":
        """A copy of some rows of a single problem."""
        chosen = indices if self.kind == "numpy" else indices.tolist()  # which CuPy takes as well
        return replace(
            self,
            X=self.X[chosen],
            y=None if self.y is None else self.y[chosen],
            weights=None if self.weights is None else self.weights[chosen],
        )

    def copy(self) -> "Rows":
        """Rows in memory of their own; of host arrays."""
        return replace(
            self,
            X=np.array(self.X, order="C"),
            y=None if self.y is None else np.array(self.y, order="C"),
            weights=None if self.weights is None else np.array(self.weights, order="C"),
        )

    def check_weights(self) -> None:
        """Raise where a weight is negative or NaN; on a GPU they are copied to the host for it."""
        if self.weights is not None:
            _checks.not_negative("sample_weight", on_host(self.weights))

    def is_finite(self) -> bool:
        """Whether X and y hold finite numbers alone; of host arrays."""
        return all(
            array is None or array.dtype.kind in "biu" or bool(np.isfinite(array).all())
            for array in (self.X, self.y, self.weights)
        )

    def raise_for_not_finite(self, first_row: int = 0) -> NoReturn:
        """Raise, naming the first row and column of X or y that holds NaN or infinity.

        Where there is none, what was computed has left the range of float64, and that is raised.
        """
        batch_axes = len(self.layout.lead)
        for name, array in (("X", self.X), ("y", self.y), ("sample_weight", self.weights)):
            values = None if array is None else np.moveaxis(on_host(array), batch_axes, 0)
            index = None if values is None else first_not_finite(values)
            if values is not None and index is not None:
                row, *others = index
                place = f"row {first_row + row}" + _place(others, batch_axes)
                message = f"{name} holds {values[index]} at {place}; needed are finite numbers"
                column = others[-1] if len(others) > batch_axes else None
                raise NotFiniteError.at(name, first_row + row, column, float(values[index]), message)
        raise NotFiniteError(self._out_of_range())

    def _out_of_range(self) -> str:
        """Why finite numbers give none."""
        weights = np.ones(1) if self.weights is None else on_host(self.weights)
        with np.errstate(over="ignore"):
            totals = weights.sum(axis=-1, dtype=np.float64)
        if np.isinf(totals).any():
            return "sample_weight adds up to more than float64 holds; scale it down"
        least, most = totals[totals > 0].min(), max(1.0, totals.max()) * self.n
        largest = max(np.abs(on_host(one)).max(initial=0.0) for one in (self.X, self.y) if one is not None)
        with np.errstate(over="ignore", divide="ignore"):
            if np.isinf(1 / least):
                return f"sample_weight adds up to {least:.3g}, whose inverse overflows float64; scale it up"
            if np.isinf(np.square(largest, dtype=np.float64) * most):
                return "sums of squares of X or y overflow float64; scale the data down"
        return "what follows from X, y and sample_weight overflows float64; scale them towards 1"

    def release(self) -> None:
        """Let the system take back the pages of memory maps that these rows were read from.

        A target is small beside X, but those of all rows are not.
        """
        arrays = [array for array in (self.X, self.y, self.weights) if isinstance(array, np.ndarray)]
        if sum(array.nbytes for array in arrays) >= RELEASED_BYTES:
            for array in arrays:
                _release(array)


def join(parts: list[Rows]) -> Rows:
    """The rows of all parts, one after another; of host arrays, if there are several."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    axis = len(first.layout.lead)
    weights = None
    if any(part.weights is not None for part in parts):
        lead = first.layout.lead
        weights = np.concatenate(
            [np.ones((*lead, part.n)) if part.weights is None else part.weights for part in parts], axis=axis
        )
    return Rows(
        first.kind,
        first.layout,
        np.result_type(*(part.dtype for part in parts)),
        np.concatenate([part.X for part in parts], axis=axis),
        None if first.y is None else np.concatenate([part.y for part in parts], axis=axis),
        weights,
    )


def gather(parts: list[Rows]) -> None:
    """Join the last parts, in place, until each has fewer rows than the one before it: they stay few."""
    while len(parts) > 1 and parts[-2].n <= parts[-1].n:
        parts[-2:] = [join(parts[-2:])]


def on_host(array: Array) -> Host:
    """The array, or a copy of it on the host."""
    kind = kind_of(array)
    if kind == "numpy":
        return np.asarray(array)
    backend = _dispatch.load("cupy" if kind == "cupy" else "numba-cuda")
    return np.asarray(backend.export(backend.contiguous(backend.native(array)), "numpy"))


def _place(others: list[int], batch_axes: int) -> str:
    """Problem and column of an element, as the rest of a sentence."""
    problem, column = others[:batch_axes], others[batch_axes:]
    words = f", column {column[0]}" if column else ""
    return words + (f" of problem {', '.join(map(str, problem))}" if problem else "")


def _release(array: Host) -> None:
    """Give back the whole pages of a memory map that lie under the array, where none can be dirty."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    if base is None or base.mode == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return
    mapped = getattr(base, "_mmap", None)
    if mapped is None:
        return
    origin = np.frombuffer(mapped, np.uint8).ctypes.data
    start, stop = byte_bounds(array.ctypes.data, array.shape, array.strides, array.itemsize)
    first = -(-(start - origin) // mmap.PAGESIZE) * mmap.PAGESIZE
    length = stop - origin - first
    if length > 0:
        mapped.madvise(mmap.MADV_DONTNEED, first, length)
