"""What a fit or a prediction reads: rows of features, and what else there is to each of them, in batches."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInputError, NotFiniteError
from ._paths import has_suffix, split_key
from ._reader import Group, Host, Names, Reader, unnamed
from ._sources import is_array, is_path, open_reader


@dataclass(frozen=True)
class Batch:
    """Some rows, all of them of one source, which nobody writes to.

    Attributes
    ----------
    X : (r, d) ndarray
        Features, in any layout; of mapped files a view, whose pages are read where it is.
    y : (r,) or (r, k) ndarray, or None
        Targets.
    sample_weight : (r,) ndarray, or None
        Weights, none of them negative.
    first_row : int
        Index of the first of the rows.
    bytes_done : int
        How much of the observations' `nbytes` goes with the rows up to the last of these.
    """

    X: Host
    y: Host | None
    sample_weight: Host | None
    first_row: int
    bytes_done: int


class Observations(ABC):
    """Rows of X, and of y and sample weights where those were given.

    Attributes
    ----------
    files : dict of str to str
        What the user calls the source of each argument, "X", "y" and "sample_weight".
    paths : tuple of Path
        The files that are read.
    rows : int or None
        How many rows there are; None where only reading tells.
    nbytes : int or None
        How much there is to read; None where nothing tells.
    whole_bytes : int or None
        What is held while `read` is at work; None where nothing tells.
    held_bytes : int
        What is held beside the batches, from the first to the last.
    why_held : str
        Why, and what would make it less, in words; nothing where it is little.
    width : int
        How many features there are.
    dtype : numpy.dtype
        Of the features; of batches that are iterated, of those of the first.
    names : tuple of str or None
        What they are called.
    resumable : bool
        Whether the rows can be read again.
    """

    files: dict[str, str]
    paths: tuple[Path, ...]
    rows: int | None
    nbytes: int | None
    whole_bytes: int | None
    held_bytes: int
    why_held: str
    width: int
    dtype: np.dtype[Any]
    names: Names | None
    resumable: bool

    @abstractmethod
    def batches(self, first_row: int, most_bytes: int) -> Iterator[Batch]:
        """The rows from one on, in order, in batches which with the making of each take no more bytes.

        Rows before the first are not read where the format allows.

        Raises
        ------
        BadInputError
            If something is wrong with a file; the message is one line that names it, and the place.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What tells these rows from others, or from themselves once a file was changed, as JSON has it."""

    @abstractmethod
    def place(self, argument: str, row: int, column: int | None) -> str:
        """Where an element of an argument is, in words that begin with the file."""

    @abstractmethod
    def read(self) -> Batch:
        """All rows at once; those of files that are mapped as views."""

    @abstractmethod
    def target_names(self) -> Names:
        """What the targets are called."""

    def describe(self, argument: str, value: Any) -> str:
        """What a message calls a value that is not finite."""
        return str(value)

    def not_finite(self, argument: str, row: int, column: int | None, value: Any) -> BadInputError:
        """The error of an element that is NaN or infinite."""
        what = self.describe(argument, value)
        return BadInputError(f"{self.place(argument, row, column)} is {what}; needed are finite numbers")

    def located(self, error: NotFiniteError) -> BadInputError:
        """The error of the library, which counts rows from the first of all, with the file and the place."""
        if error.row is None or error.argument is None:
            called = ", ".join(f"{argument} is {file}" for argument, file in self.files.items())
            return BadInputError(f"{error} ({called})")
        return self.not_finite(error.argument, error.row, error.column, error.value)

    def require_weights(self, weights: Host | None, first_row: int) -> None:
        """Raise where a weight is negative or NaN."""
        if weights is None or (weights >= 0).all():
            return
        row = int(np.argmin(weights >= 0))
        if np.isnan(weights[row]):
            raise self.not_finite("sample_weight", first_row + row, None, weights[row])
        where = self.place("sample_weight", first_row + row, None)
        raise BadInputError(f"{where} is {weights[row]}; a weight must not be negative")


@dataclass(frozen=True)
class _Part:
    """Where an argument comes from."""

    reader: Reader
    group: Group
    is_vector: bool

    def column(self, column: int | None) -> int | None:
        """Position in the source of a column of the argument."""
        if self.group is not None:
            return self.group[column or 0]
        return column if column is not None or len(self.reader.shape) < 2 else 0


class StoredObservations(Observations):
    """Observations of files and arrays.

    Parameters
    ----------
    table : Reader
        Rows and columns.
    target, sample_weight
        A column of the table, a path, or an array.
    columns
        The features; by default all columns that are nothing else.
    header : bool, optional
        Of CSV files.
    """

    resumable = True

    def __init__(
        self,
        table: Reader,
        *,
        target: Any = None,
        sample_weight: Any = None,
        columns: Any = None,
        header: bool | None = None,
    ) -> None:
        if table.width is None:
            raise BadInputError(f"{table.file} is no table of rows and columns, of which rows are read")
        self._table, self._header = table, header
        beside = {"y": target, "sample_weight": sample_weight}
        parts = {name: self._part(name, what) for name, what in beside.items() if what is not None}
        features = self._features(columns, parts)
        self._parts = {"X": _Part(table, features, False), **parts}
        for part in self._parts.values():
            require_real(part.reader, part.group)
        self._require_weights_in_a_row()
        self.files = {argument: part.reader.file for argument, part in self._parts.items()}
        self._readers = list({id(part.reader): part.reader for part in self._parts.values()}.values())
        self.paths = tuple(path for reader in self._readers for path in reader.paths)
        self.rows = table.rows
        self.nbytes = sum(reader.nbytes or 0 for reader in self._readers)
        self.whole_bytes = sum(reader.whole_bytes or 0 for reader in self._readers)
        self.held_bytes = sum(reader.held_bytes for reader in self._readers)
        self.why_held = "; ".join(reader.why_held for reader in self._readers if reader.why_held)
        self.width, self.dtype = len(features), table.dtype(features)
        self.names = table.names_of(features)
        known = [(reader, reader.rows) for reader in self._readers if reader.rows is not None]
        for reader, rows in known:
            if rows != known[0][1]:
                raise BadInputError(
                    f"{reader.file} has {rows} rows, but {known[0][0].file} has {known[0][1]}"
                )

    def batches(self, first_row: int, most_bytes: int) -> Iterator[Batch]:
        """As the base says; batches begin on multiples of a power of two, as the segments of sums do."""
        length = self._batch_rows(most_bytes)
        groups = [[part for part in self._parts.values() if part.reader is one] for one in self._readers]
        cursors = [
            reader.cursor([part.group for part in parts], first_row, length)
            for reader, parts in zip(self._readers, groups, strict=True)
        ]
        row, is_last = first_row, False
        while not is_last:
            asked = length - row % length
            taken = [cursor.take(asked) for cursor in cursors]
            count = len(taken[0][0])
            is_last = count < asked
            self._require_as_many(row, asked, [len(arrays[0]) for arrays in taken])
            if not count:
                break
            arrays: dict[int, Host] = {}
            for parts, values in zip(groups, taken, strict=True):
                arrays |= {id(part): array for part, array in zip(parts, values, strict=True)}
            done = sum(cursor.progress() for cursor in cursors)
            yield self._batch({name: arrays[id(part)] for name, part in self._parts.items()}, row, done)
            row += count
        if not row and "y" in self._parts:
            raise BadInputError(f"{self._table.file} has no rows")

    def read(self) -> Batch:
        """All rows at once; a table's numbers are then of the type that they all have."""
        arrays: dict[str, Host] = {}
        for reader in self._readers:
            mine = {name: part for name, part in self._parts.items() if part.reader is reader}
            values = reader.read(*(part.group for part in mine.values()))
            arrays |= dict(zip(mine, values, strict=True))
        rows = len(arrays["X"])
        if not rows and "y" in arrays:
            raise BadInputError(f"{self._table.file} has no rows")
        for name, array in arrays.items():
            if len(array) != rows:
                raise BadInputError(
                    f"{self.files[name]} has {len(array)} rows, but {self.files['X']} has {rows}"
                )
        return self._batch(arrays, 0, self.nbytes or 0)

    def fingerprint(self) -> dict[str, Any]:
        """What tells these rows from others: of each argument the source, and which columns of it."""
        sources = [reader.fingerprint() for reader in self._readers]
        return {
            "sources": sources,
            "arguments": {
                name: {"source": self._readers.index(part.reader), "columns": part.group and list(part.group)}
                for name, part in self._parts.items()
            },
        }

    def place(self, argument: str, row: int, column: int | None) -> str:
        """The file, the column and the row in it."""
        part = self._parts[argument]
        return part.reader.place(row, part.column(column))

    def describe(self, argument: str, value: Any) -> str:
        """What a message calls a value that is not finite; an empty cell of a table is NaN."""
        return "empty or NaN" if self._parts[argument].reader.is_table and np.isnan(value) else str(value)

    def target_names(self) -> Names:
        """What the targets are called: as their columns or, where those do not tell, as their file or key."""
        part = self._parts["y"]
        positions = part.group or range(part.reader.width or 1)
        names = part.reader.names_of(part.group)
        if names is not None and len(set(names)) == len(names):
            return names
        if part.reader is self._table:
            return unnamed(positions[0] + 1)[-1:]
        path, key = split_key(part.reader.file)
        name = key or path.stem
        return (
            (name,) if len(positions) == 1 else tuple(f"{name}{target}" for target in range(len(positions)))
        )

    def _part(self, argument: str, what: Any) -> _Part:
        """The part that a column, a path or an array is."""
        if isinstance(what, int | np.integer) and not isinstance(what, bool):
            return _Part(self._table, (self._table.column(int(what)),), True)
        if is_path(what):
            word = fspath(what)
            if not isinstance(what, str) or (self._table.find(word) is None and has_suffix(word)):
                return _whole(open_reader(word, argument, self._header))
            return _Part(self._table, (self._table.column(word),), True)
        return _whole(open_reader(what, argument))

    def _features(self, columns: Any, parts: dict[str, _Part]) -> tuple[int, ...]:
        """All columns that are nothing else, or those that were chosen."""
        taken = {part.group[0] for part in parts.values() if part.reader is self._table and part.group}
        if columns is None:
            features = tuple(at for at in range(self._table.width or 0) if at not in taken)
        else:
            features = self._table.columns(columns)
        file, labels = self._table.file, self._table.names_of(features) or features
        if not features:
            raise BadInputError(f"{file} has no columns left to fit on")
        if repeated := [at for at, times in Counter(features).items() if times > 1]:
            label = labels[features.index(repeated[0])]
            raise BadInputError(f"{file}: two features are the column {label!r}; choose with --columns")
        if repeated_names := [label for label, times in Counter(labels).items() if times > 1]:
            raise BadInputError(
                f"{file}: two features are the column {repeated_names[0]!r}; choose with --columns"
            )
        if both := taken.intersection(features):
            label = labels[features.index(both.pop())]
            raise BadInputError(
                f"{file}: column {label!r} is a feature, and the target or the weight as well"
            )
        return features

    def _require_weights_in_a_row(self) -> None:
        part = self._parts.get("sample_weight")
        if part is not None and not part.is_vector and len(part.reader.shape) != 1:
            raise BadInputError(
                f"{part.reader.file} has shape {part.reader.shape}; needed is one weight for each row"
            )

    def _batch_rows(self, most_bytes: int) -> int:
        row_bytes = 0
        for part in self._parts.values():
            columns = part.reader.width or 1 if part.group is None else len(part.group)
            row_bytes += columns * part.reader.dtype(part.group).itemsize * part.reader.overhead
        return 1 << max(0, (most_bytes // row_bytes).bit_length() - 1)

    def _require_as_many(self, row: int, asked: int, counts: list[int]) -> None:
        """Raise where one source has ended, and another has not."""
        if len(set(counts)) == 1:
            return
        short = counts.index(min(counts))
        other = next(index for index, count in enumerate(counts) if count != counts[short])
        ends, goes_on = self._readers[short], self._readers[other]
        more = "" if counts[other] < asked else " or more"
        raise BadInputError(
            f"{ends.file} has {row + counts[short]} rows, but {goes_on.file} has {row + counts[other]}{more}"
        )

    def _batch(self, arrays: dict[str, Host], row: int, done: int) -> Batch:
        y, weights = (
            array[:, 0] if array is not None and self._parts[name].is_vector and array.ndim == 2 else array
            for name, array in ((name, arrays.get(name)) for name in ("y", "sample_weight"))
        )
        self.require_weights(weights, row)
        return Batch(arrays["X"], y, weights, row, done)


def open_observations(
    source: Any,
    *,
    target: Any = None,
    sample_weight: Any = None,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
) -> Observations:
    """Find out what a source holds, without reading its rows where its format allows that.

    Parameters
    ----------
    source : path, (n, d) array, or iterable of batches
        A path of ``.npy``, ``.npz`` (``FILE.npz:KEY`` of several arrays), ``.csv``, ``.parquet`` or
        ``.zarr`` (a folder or ``.zarr.zip``; ``STORE.zarr:KEY``); of a folder or a pattern of ``.csv`` or
        ``.parquet`` files, whose rows follow each other in the order of the files' names; an array of
        NumPy or Zarr; or an iterable of ``X``, ``(X, y)`` or ``(X, y, sample_weight)``, the rows of each
        after those of the one before.
    target : str, int, path or array, optional
        A column of the source by name or index, a file of its own, ``(n,)`` or ``(n, k)``, or an array.
        Batches bring their own.
    sample_weight : str, int, path or array, optional
        The same, ``(n,)``, for the weight of each row.
    columns : sequence of str and int, or str, optional
        The features, by name or index; or one line of them, quoted as in a CSV file. By default all
        columns that are nothing else.
    header : bool, optional
        Whether the first line of a CSV file names its columns; by default it does, and must not be all
        numbers.

    Returns
    -------
    Observations
        What is to be read.

    Raises
    ------
    BadInputError
        If there is no such file or column, or it holds something else than real numbers.

    Examples
    --------
    >>> observations = open_observations(np.arange(12.0).reshape(4, 3), target=-1)
    >>> [(batch.X.shape, batch.y.tolist()) for batch in observations.batches(0, 48)]
    [((2, 2), [2.0, 5.0]), ((2, 2), [8.0, 11.0])]
    """
    if is_path(source) or is_array(source):
        return StoredObservations(
            open_reader(source, "X", header),
            target=target,
            sample_weight=sample_weight,
            columns=columns,
            header=header,
        )
    if not isinstance(source, Iterable):
        raise BadInputError(f"X is a {type(source).__name__}; needed is a path, an array or batches")
    if not (target is sample_weight is columns is None):
        raise BadInputError(
            "batches bring their own y and sample_weight, and all of their columns are features"
        )
    from ._batches import IteratedObservations

    return IteratedObservations(source)


def require_real(reader: Reader, group: Group) -> None:
    """Raise unless the data are real numbers, in rows."""
    dtype = reader.dtype(group)
    if dtype.kind not in "biuf":
        raise BadInputError(f"{reader.file} holds {dtype}; needed are real numbers")
    if len(reader.shape) not in (1, 2):
        raise BadInputError(f"{reader.file} has shape {reader.shape}; needed are rows, or rows and columns")


def _whole(reader: Reader) -> _Part:
    return _Part(reader, None, reader.width == 1)
