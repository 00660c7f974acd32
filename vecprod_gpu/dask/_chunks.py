"""Blocks of rows: arrays and data frames checked, and brought to the same chunks."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import dask.array as da
import numpy as np

from .._arrays import Array, Kind, kind_of
from ..errors import ArgumentError, DTypeError, ShapeError
from ..linreg._plan import result_dtype
from ..linreg._streaming.rows import Layout
from ..linreg._streaming.streamed import rows_of_segment
from ._tasks import Piece, Place, Read, read_arrays, read_table

Names = Sequence[Hashable]


@dataclass(frozen=True)
class Blocks:
    """The rows of one problem, in blocks.

    Attributes
    ----------
    arrays : list of dask.array.Array
        Of the same row chunks, each with all its columns in one chunk.
    read : callable
        From the blocks of the arrays to their rows.
    layout : Layout
    kind : str
        Of the blocks.
    lengths : tuple of int or None
        Rows of each block; None where they are not known.
    """

    arrays: list[da.Array]
    read: Read
    layout: Layout
    kind: Kind
    lengths: tuple[int, ...] | None
    count: int

    @classmethod
    def of(
        cls, X: Any, y: Any, sample_weight: Any, columns: Names | None = None, lengths: bool | None = None
    ) -> "Blocks":
        """Of arrays, or of a data frame and the names of its columns."""
        if isinstance(X, da.Array):
            if columns is not None or lengths is not None:
                raise ArgumentError("columns and lengths go with a data frame; X is an array")
            return cls._of_arrays(X, y, sample_weight)
        if hasattr(X, "to_dask_array"):
            return cls._of_frame(X, y, sample_weight, columns, bool(lengths))
        raise DTypeError(f"X must be an array or a data frame of Dask, not {type(X).__name__}")

    @classmethod
    def _of_arrays(cls, X: da.Array, y: Any, sample_weight: Any) -> "Blocks":
        if X.ndim != 2:
            raise ShapeError(f"X has shape {X.shape}; needed is (n, d), a row for each observation")
        given = {"X": whole_rows(X)}
        for name, array in (("y", y), ("sample_weight", sample_weight)):
            if array is not None:
                given[name] = beside(name, array, X, most_axes=2 if name == "y" else 1)
        result_dtype(**{name: array.dtype for name, array in given.items()})
        models = (0,) if y is None else given["y"].shape[1:]
        layout = _layout(X.shape[1], models)
        read = partial(read_arrays, tuple(given))
        return cls(list(given.values()), read, layout, kind_of(X._meta), known_lengths(X), X.numblocks[0])

    @classmethod
    def _of_frame(
        cls, frame: Any, y: Any, sample_weight: Any, columns: Names | None, lengths: bool
    ) -> "Blocks":
        targets = [] if y is None else [y] if not isinstance(y, list | tuple) else list(y)
        weights = [] if sample_weight is None else [sample_weight]
        others = {*targets, *weights}
        features = [name for name in frame.columns if name not in others] if columns is None else [*columns]
        chosen = [*features, *targets, *weights]
        missing = [name for name in chosen if name not in frame.columns]
        if missing:
            raise ArgumentError(
                f"X has no column {missing[0]!r}; it has {', '.join(map(repr, frame.columns))}"
            )
        if not features or len(set(chosen)) < len(chosen):
            raise ArgumentError(f"the columns are {chosen}; needed are features, and none of them twice")
        table = whole_rows(frame[chosen].optimize().to_dask_array(lengths=True if lengths else None))
        result_dtype(X=table.dtype)
        models = (0,) if y is None else () if not isinstance(y, list | tuple) else (len(targets),)
        layout = _layout(len(features), models)
        read = partial(read_table, layout.d, models, bool(weights))
        return cls([table], read, layout, kind_of(table._meta), known_lengths(table), table.numblocks[0])

    def places(self) -> list[Place]:
        """Where each block stands in one tree of all rows."""
        if self.lengths is None:
            return [Place(i, None, (Piece(0, slice(None), i, True),)) for i in range(self.count)]
        return self.places_of([(0, sum(self.lengths))])

    def places_of(self, bounds: Iterable[tuple[int, int]]) -> list[Place]:
        """Where each block stands in a tree for each of some ranges of rows."""
        if self.lengths is None:
            raise ArgumentError(
                "the lengths of the blocks are not known: X.compute_chunk_sizes(), or lengths=True"
            )
        starts = [0, *accumulate(self.lengths)]
        segment = rows_of_segment(self.kind, self.layout.columns)
        pieces: list[list[Piece]] = [[] for _ in self.lengths]
        for group, (begin, end) in enumerate(bounds):
            cut = [
                (block, max(first, begin), min(last, end))
                for block, (first, last) in enumerate(pairwise(starts))
                if max(first, begin) < min(last, end)
            ]
            is_aligned = all((start - begin) % segment == 0 for _, start, _ in cut)
            for number, (block, start, stop) in enumerate(cut):
                rows = slice(start - starts[block], stop - starts[block])
                number = (start - begin) // segment if is_aligned else number
                pieces[block].append(Piece(group, rows, number, not is_aligned))
        return [Place(i, starts[i], tuple(its)) for i, its in enumerate(pieces)]


def aligned_chunks(X: da.Array, y: Any = None) -> tuple[int, ...]:
    """Row chunks near those of X that begin on boundaries of the one tree of sums.

    Chunks then begin at multiples of ``2**floor(log2(2**25 / (8 D)))`` rows, with D the columns of X and y:
    at most 32 MiB of float64, and 512 MiB for CuPy. Results then have the bits of the same rows in memory,
    however many of these a chunk has.

    Parameters
    ----------
    X : (n, d) dask.array.Array
        Observations in rows.
    y : (n,) or (n, k) array_like, optional
        Targets.

    Returns
    -------
    tuple of int
        Rows of each chunk, for ``X.rechunk({0: ...})``.

    Raises
    ------
    ShapeError
        If X has not two axes.
    ArgumentError
        If the lengths of its chunks are not known.

    Examples
    --------
    >>> import dask.array as da, vecprod_gpu.dask
    >>> X = da.zeros((1_000_000, 60), chunks=(300_000, 60))
    >>> vecprod_gpu.dask.aligned_chunks(X)
    (327680, 262144, 327680, 82496)
    >>> X = X.rechunk({0: vecprod_gpu.dask.aligned_chunks(X)})
    """
    blocks = Blocks.of(X, y, None)
    if blocks.lengths is None:
        raise ArgumentError(
            "the lengths of the chunks of X are not known: X.compute_chunk_sizes() tells them"
        )
    segment, n = rows_of_segment(blocks.kind, blocks.layout.columns), sum(blocks.lengths)
    inner = {round(stop / segment) * segment for stop in accumulate(blocks.lengths[:-1])}
    stops = sorted(stop for stop in {*inner, n} if 0 < stop <= n)
    return tuple(stop - start for start, stop in zip([0, *stops], stops, strict=False))


def whole_rows(array: da.Array) -> da.Array:
    """The array with its columns in one chunk."""
    return array.rechunk({1: -1}) if array.ndim > 1 and array.numblocks[1] > 1 else array


def known_lengths(array: da.Array) -> tuple[int, ...] | None:
    """Rows of each block; None where they are not known."""
    return None if any(map(math.isnan, array.chunks[0])) else array.chunks[0]


def beside(name: str, array: Array, X: da.Array, most_axes: int) -> da.Array:
    """An array that has a row for each of X, in blocks of the same rows."""
    lengths = known_lengths(X)
    if not isinstance(array, da.Array):
        array = array if kind_of(array) == "cupy" else np.asarray(array)
        if lengths is None:
            raise ArgumentError(
                f"{name} must be an array of Dask where the lengths of the chunks of X are not known"
            )
        array = da.from_array(array, chunks=array.shape)
    if not 1 <= array.ndim <= most_axes:
        axes = "one axis" if most_axes == 1 else "one or two axes"
        raise ShapeError(f"{name} has shape {array.shape}; needed is {axes}, with a row for each row of X")
    its = known_lengths(array)
    if lengths is None or its is None:
        if array.numblocks[0] != X.numblocks[0]:
            raise ShapeError(
                f"{name} has {array.numblocks[0]} chunks of rows; needed are {X.numblocks[0]}, as in X, as "
                "lengths are not known: compute_chunk_sizes() tells them"
            )
        return whole_rows(array)
    if sum(its) != sum(lengths):
        raise ShapeError(f"{name} has {sum(its)} rows; needed are {sum(lengths)}, one for each row of X")
    return whole_rows(array if its == lengths else array.rechunk({0: lengths}))


def _layout(d: float, models: tuple[float, ...]) -> Layout:
    if any(map(math.isnan, (d, *models))):
        raise ShapeError("the number of columns of X or y is not known: compute_chunk_sizes() tells it")
    if not d:
        raise ShapeError("X has no columns")
    return Layout((), int(d), tuple(map(int, models)))
