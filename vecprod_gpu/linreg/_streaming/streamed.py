"""Summaries of rows that arrive in chunks, by a tree in which the chunks cannot be seen.

Rows are cut into segments by their index and by the number of columns alone.  A segment is summarised in
one pass, and the summaries are merged pairwise, by the tree of `tree.py`.  Rows that do not fill a segment
yet wait for the next chunk.  Parts of the rows that begin with a segment may be read anywhere and joined.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from contextvars import ContextVar
from functools import reduce
from itertools import islice
from os import PathLike
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..._arrays import Array, Kind
from ..._libraries import takes_any_library
from ...backends._cpu.threads.pools import as_one_of_many, for_each_block, roam, thread_count
from ...errors import ArgumentError, ShapeError
from . import archive, npz
from .rows import Host, Layout, Rows, gather, join
from .tree import Part, Tree

SEGMENT_BYTES = 1 << 25  # of a host problem's rows in float64: milliseconds, beside which a call is free
DEVICE_SEGMENT_BYTES = 1 << 29  # a GPU reads it in less than a millisecond
ROUNDS = 4  # of segments for each thread, before their summaries are merged

Summarise = Callable[[Rows], Any]


def in_turn(summarise: Summarise, segments: Iterable[Rows]) -> Generator[tuple[Rows, Any], None, None]:
    """Each segment with its summary, one after another; of memory maps they then leave the memory."""
    for segment in segments:
        with np.errstate(over="ignore", invalid="ignore"):  # told where the summary is checked
            summary = summarise(segment)
        segment.release()
        yield segment, summary


def side_by_side(summarise: Summarise, segments: Iterable[Rows]) -> Generator[tuple[Rows, Any], None, None]:
    """As `in_turn`, of host rows as many at a time as there are threads.

    A thread with a segment for itself waits for no other, as those do that share one.
    """
    segments = iter(segments)
    while group := list(islice(segments, ROUNDS * thread_count())):
        if 1 < thread_count() <= len(group) and group[0].kind == "numpy":
            yield from zip(group, _at_once(summarise, group), strict=True)
        else:
            yield from in_turn(summarise, group)


def _at_once(summarise: Summarise, segments: list[Rows]) -> list[Any]:
    """The summaries of segments, each made by one thread."""
    found: dict[int, list[Any]] = {}

    def task(start: int, stop: int) -> None:
        roam()  # a task takes long, and what it reads may start threads
        with as_one_of_many():
            found[start] = [summary for _, summary in in_turn(summarise, segments[start:stop])]

    for_each_block(task, len(segments), 1)
    return [summary for start in sorted(found) for summary in found[start]]


Summaries = Callable[[Summarise, Iterator[Rows]], Generator[tuple[Rows, Any], None, None]]
summaries: ContextVar[Summaries | None] = ContextVar("vecprod_gpu.summaries", default=None)
"""Another way to summarise segments of one length, in their order."""

Self = TypeVar("Self", bound="Streamed")


class Streamed:
    """Base of what is updated by chunks of rows, merged, saved and loaded."""

    _format: ClassVar[str]
    _summary_type: ClassVar[type[Any]]

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._dtype: np.dtype[Any] = np.dtype(np.float64)
        self._tree = Tree()
        self._waiting: list[Rows] = []
        self._n_samples = 0
        self._folded: Any = None

    @classmethod
    @takes_any_library
    def from_arrays(
        cls: type[Self], X: Array, y: Array | None = None, sample_weight: Array | None = None
    ) -> Self:
        """Read all rows; the arguments are those of `update`."""
        return cls().update(X, y, sample_weight)

    @classmethod
    def from_rows(cls: type[Self], rows: Rows) -> Self:
        """As `from_arrays`, without keeping a copy of the last rows: for what is never updated."""
        return cls.from_part(cls.part_of(rows))

    @classmethod
    def from_blocks(cls: type[Self], parts: Iterable[Self]) -> Self:
        """What is known of the rows of all parts, which may have been read anywhere.

        The parts are the leaves of one tree, in their order: with ``m(a, b)`` for a merge of two, those of
        five parts are merged as ``m(m(m(p0, p1), m(p2, p3)), p4)``.

        Parameters
        ----------
        parts : iterable of this type
            Read from rows of the same shapes; a part without rows is a leaf that holds nothing.

        Returns
        -------
        Self
            A new object, which can be updated. The parts are not changed.

        Raises
        ------
        ShapeError
            If two were read from rows of different shapes.
        TypeError
            If a part is of another type.

        See Also
        --------
        merge : Of two, with the same bits.

        Notes
        -----
        One tree for any number of parts loses fewer digits than merging them one after another does: errors
        grow with its height.

        Examples
        --------
        >>> import numpy as np, vecprod_gpu as vp
        >>> X = np.arange(12.0).reshape(6, 2)
        >>> parts = [vp.CoMoments.from_arrays(X[i : i + 2]) for i in (0, 2, 4)]
        >>> moments = vp.CoMoments.from_blocks(parts)
        >>> moments.n_samples, moments.mean
        (6, array([5., 6.]))
        >>> bool((moments.xx == parts[0].merge(parts[1]).merge(parts[2]).xx).all())
        True
        """
        leaves = [part._as_leaf(number) for number, part in enumerate(map(cls._checked, parts))]
        return cls.from_part(reduce(Part.join, leaves)) if leaves else cls()

    @classmethod
    def part_of(cls, rows: Rows, first_segment: int = 0, first_row: int = 0) -> Part:
        """What is known of rows that begin with a segment of that number, for `Part.join`.

        Rows that are not the last ones must fill their segments.  Messages count from `first_row`.
        """
        reader = cls()
        reader._n_samples = first_row
        tree = Tree(first_segment)
        rest = reader._absorb(tree, [], rows)
        if rest:
            tree.push(reader._summary_of_last(rest, first_row + rows.n))
        return Part(rows.layout, rows.dtype, rows.n, tree)

    @classmethod
    def from_part(cls: type[Self], part: Part) -> Self:
        """All that a part knows, as one leaf, to which updates add others."""
        new = cls()
        new._tree, new._n_samples = part.as_leaf(0).tree, part.n_samples
        new._layout, new._dtype = part.layout, part.dtype or new._dtype
        return new

    @property
    def n_samples(self) -> int:
        """Rows read, of each problem."""
        return self._n_samples

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's promotion of all data read, integers counted as float64."""
        return self._dtype

    @property
    def layout(self) -> Layout:
        """What the rows have in common; there must be some."""
        if self._layout is None:
            raise self._empty()
        return self._layout

    @property
    def summary(self) -> Any:
        """What is known of all rows; there must be some."""
        if self._folded is None:
            if not self._n_samples:
                raise self._empty()
            self._folded = self._tree.total(self._summary_of_last(self._waiting, self._n_samples))
        return self._folded

    @property
    def weight_sum(self) -> Any:
        """Sum of the weights; the number of rows where there were none."""
        return self._of_caller(self.summary.total, ())

    @property
    def mean(self) -> Host:
        """Means of the columns of X."""
        d = self.layout.d
        return self._of_caller(self.summary.means[:, :d], (d,))  # type: ignore[no-any-return]

    @property
    def y_mean(self) -> Any:
        """Means of the targets."""
        return self._of_caller(self.summary.means[:, self.layout.d :], self._models())

    @takes_any_library
    def update(self: Self, X: Array, y: Array | None = None, sample_weight: Array | None = None) -> Self:
        """Read more rows, in place.

        Parameters
        ----------
        X : (..., n, d) array_like
            Observations in rows. A memory map is read once, and does not stay in memory.
        y : (..., n) or (..., n, k) array_like, optional
            One target or k of them; in every call or in none.
        sample_weight : (..., n) array_like, optional
            Weight of each row, not negative; 1 unless given.

        Returns
        -------
        Self
            This object.

        Raises
        ------
        ShapeError
            If the shapes do not fit each other, or those of earlier rows.
        DTypeError, DeviceError
            If an array is not real, or they live on different devices.
        ArgumentError
            If a weight is negative, or X or y holds NaN or infinity: the message names the row,
            counted from the first one ever read, and the column. The object is then as it was before.

        Notes
        -----
        The same rows give the same bits, in however many calls they come. Device arrays are the
        exception: each call then begins a new part of the tree.
        """
        rows = Rows.read(X, y, sample_weight)
        if self._layout is not None and rows.layout != self._layout:
            raise ShapeError(f"the new rows are {rows.layout}; needed is {self._layout}, as before")
        rows.check_weights()
        n_samples = self._n_samples + rows.n
        tree, waiting = self._tree.copy(), self._waiting
        if rows.kind != "numpy" and waiting:  # those are on the host: a part of the tree by themselves
            tree.push(self._summary_of_last(waiting, self._n_samples))
            waiting = []
        waiting = self._absorb(tree, waiting, rows)
        if rows.kind != "numpy" and waiting:
            tree.push(self._summary_of_last(waiting, n_samples))
            waiting = []
        elif waiting:
            last = waiting[-1]
            if not last.is_finite():
                last.raise_for_not_finite(n_samples - last.n)
            waiting[-1] = last.copy()  # the caller may change what was read
            last.release()
            gather(waiting)
        self._dtype = rows.dtype if self._layout is None else np.result_type(self._dtype, rows.dtype)
        self._layout, self._tree, self._waiting = rows.layout, tree, waiting
        self._n_samples, self._folded = n_samples, None
        return self

    def merge(self: Self, other: Self) -> Self:
        """What would be known of the rows of both; neither is changed.

        Parameters
        ----------
        other : same type
            Read from rows of the same shapes.

        Returns
        -------
        same type
            A new object, which can be updated. The rows of the two are two parts of its tree.

        Raises
        ------
        ShapeError
            If the two were read from rows of different shapes.
        """
        self._checked(other)
        if None not in (self._layout, other._layout) and self._layout != other._layout:
            raise ShapeError(f"other was read from {other._layout}; needed is {self._layout}")
        return self.from_blocks([self, other])

    def save(self, file: str | PathLike[str]) -> None:
        """Write all that is known to a file, from which `load` goes on with the same bits.

        Parameters
        ----------
        file : path
            An ``.npz`` archive of plain arrays, without pickles: ``header``, a JSON text with the
            fields ``format``, ``version``, ``layout`` (``lead``, ``d`` and ``models``, see the shapes
            of X and y), ``dtype``, ``n_samples``, ``levels`` and ``waiting``, the names of the arrays of
            the rows that wait; for each level of the tree that holds something its arrays, as
            ``level0.total``; and the rows that wait, as ``waiting.X``. It is written beside its place and
            then renamed: an earlier file stays whole until the new one is.
        """
        npz.write(file, self.packed())

    def packed(self) -> dict[str, Host]:
        """All that is known, as plain arrays; `save` writes them."""
        header = archive.Header(self._layout, self._dtype, self._n_samples)
        waiting = join(self._waiting) if self._waiting else None
        return archive.packed(self._format, header, self._tree.levels, waiting)

    @classmethod
    def load(cls: type[Self], file: str | PathLike[str]) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        file : path
            The archive.

        Returns
        -------
        Self
            Equal to what was saved, further updates included.

        Raises
        ------
        ArchiveError
            If the file is none of this format and version, or damaged.
        OSError
            If it cannot be opened.
        """
        return cls._of(*archive.read(file, cls._format, cls._summary_type))

    @classmethod
    def unpacked(cls: type[Self], arrays: Mapping[str, Host]) -> Self:
        """What `packed` gave, as the object that it was made from."""
        return cls._of(*archive.unpacked(arrays, cls._format, cls._summary_type))

    @classmethod
    def _of(cls: type[Self], header: archive.Header, levels: list[Any], waiting: list[Rows]) -> Self:
        new = cls()
        new._layout = header.layout
        new._dtype, new._n_samples = header.dtype, header.n_samples
        new._tree, new._waiting = Tree.of_levels(levels), waiting
        return new

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}()" if self._layout is None else f"{name}({self.n_samples} rows of {self._layout})"

    _summaries = staticmethod(in_turn)

    @staticmethod
    def _summarise(rows: Rows) -> Any:
        """Read the rows, once."""
        raise NotImplementedError

    def _empty(self) -> ArgumentError:
        return ArgumentError(f"the {type(self).__name__} is empty: give it rows with update")

    @classmethod
    def _checked(cls: type[Self], part: Any) -> Self:
        """What is to be merged, if it can be."""
        if not isinstance(part, cls):
            raise TypeError(f"cannot merge a {cls.__name__} with a {type(part).__name__}")
        return part

    def _as_leaf(self, number: int) -> Part:
        """All that is known, as the leaf of that number."""
        if not self._n_samples:
            return Part.without_rows(number)
        tree = Tree(number)
        tree.push(self.summary)
        return Part(self._layout, self._dtype, self._n_samples, tree)

    def _models(self) -> tuple[int, ...]:
        """Axes of the targets; there must be some."""
        layout = self.layout
        if not layout.targets:
            raise ArgumentError(f"the {type(self).__name__} was read without y")
        return layout.models

    def _of_caller(self, array: Host, shape: tuple[int, ...]) -> Any:
        """A copy with the batch's axes; a scalar where there are none."""
        return array.reshape((*self.layout.lead, *shape)).copy()[()]

    def _absorb(self, tree: Tree, waiting: list[Rows], rows: Rows) -> list[Rows]:
        """Push every segment that is full; return the rows that wait, the newest of them last."""
        length = segment_rows(rows)
        held = sum(part.n for part in waiting)
        start = 0
        if waiting and held + rows.n >= length:
            start = length - held
            self._push(tree, join([*waiting, rows.part(0, start)]), length, self._n_samples - held)
            waiting = []
        if not waiting:
            stop = start + (rows.n - start) // length * length
            self._push(tree, rows.part(start, stop), length, self._n_samples + start)
            start = stop
        return [*waiting, rows.part(start, rows.n)] if start < rows.n else waiting

    def _push(self, tree: Tree, rows: Rows, length: int, first_row: int) -> None:
        """Push the summaries of rows that are whole segments of that length."""
        segments = (rows.part(start, start + length) for start in range(0, rows.n, length))
        with closing((summaries.get() or self._summaries)(self._summarise, segments)) as summarised:
            for segment, summary in summarised:
                tree.push(_checked(summary, segment, first_row))
                first_row += length

    def _summary_of_last(self, waiting: list[Rows], n_samples: int) -> Any:
        """The summary of the rows that fill no segment, None if there are none."""
        if not waiting:
            return None
        ((rows, summary),) = in_turn(self._summarise, [join(waiting)])
        return _checked(summary, rows, n_samples - rows.n)


def _checked(summary: Any, rows: Rows, first_row: int) -> Any:
    if not summary.is_finite():
        rows.raise_for_not_finite(first_row)
    return summary


def segment_rows(rows: Rows) -> int:
    """Rows of a segment."""
    return rows_of_segment(rows.kind, rows.layout.columns)


def rows_of_segment(kind: Kind, columns: int) -> int:
    """Rows of a segment of so many columns: a power of two."""
    nbytes = SEGMENT_BYTES if kind == "numpy" else DEVICE_SEGMENT_BYTES
    return 1 << max(0, (nbytes // (8 * columns)).bit_length() - 1)
