"""An array of vectors, read by ranges of its rows."""

from collections.abc import Sequence
from typing import Any

from ..errors import BadInputError
from ._npy import ArrayReader, chosen
from ._reader import Cursor, Group, Host, Names, Reader
from ._sources import open_reader
from ._tables import Table

_MOST_ROWS = 1 << 16


class Vectors:
    """Vectors of one source, which stand along its last axis.

    Attributes
    ----------
    name : str
        What the user calls the source.
    paths : tuple of pathlib.Path
        The files that are read.
    shape : tuple of int
        ``(..., d)``. Of one axis it is a single vector, which `read` gives whole.
    dtype : numpy.dtype
        Of what is read.
    names : tuple of str or None
        What the components are called.
    held_bytes : int
        What will be held while they are read, beside what is returned.
    why_held : str
        Why, and what would make it less, in words; nothing where it is little.
    """

    def __init__(self, reader: Reader, group: Group) -> None:
        self._reader, self._group = reader, group
        self._held: Host | None = None
        if isinstance(reader, Table) and (reader.rows is None or reader.has_empty_integers(group)):
            # Neither the rows nor the dtype are known before all of it was read.
            (self._held,) = reader.read(group)
        self.name, self.paths = reader.file, reader.paths
        shape = reader.shape if self._held is None else self._held.shape
        self.shape = shape if group is None else (shape[0], len(group))
        self.dtype = reader.dtype(group) if self._held is None else self._held.dtype
        self.names: Names | None = reader.names_of(group)
        self.held_bytes = reader.held_bytes if self._held is None else 0
        self.why_held = reader.why_held
        self._cursor: Cursor | None = None
        self._row = 0
        self._last: tuple[int, int, Host] | None = None

    def read(self, start: int, stop: int) -> Host:
        """The rows from start to stop, a view where the file is mapped; nobody writes to them.

        Ranges in order are read once, without what lies between; one before the last begins anew.
        """
        if len(self.shape) < 2 and self._held is None:
            (self._held,) = self._reader.read(self._group)
        if self._held is not None:
            return self._held if len(self.shape) < 2 else self._held[start:stop]
        if isinstance(self._reader, ArrayReader):
            return chosen(self._reader.part(start, stop), self._group)
        if self._last is None or self._last[:2] != (start, stop):
            self._last = start, stop, self._next(start, stop)
        return self._last[2]

    def release(self, start: int, stop: int) -> None:
        """Let the system take back the memory of rows that are read no more."""
        if isinstance(self._reader, ArrayReader):
            self._reader.release(start, stop)
        self._last = None

    def place(self, row: int, column: int | None = None) -> str:
        """Where an element of a table is, in words that begin with the file."""
        return self._reader.place(row, self._group[column or 0] if self._group else column)

    def fingerprint(self) -> dict[str, Any]:
        """What tells these vectors from others, or from themselves once a file was changed."""
        return {"source": self._reader.fingerprint(), "columns": self._group and list(self._group)}

    def _next(self, start: int, stop: int) -> Host:
        if self._cursor is None or start != self._row:
            self._cursor = self._reader.cursor([self._group], start, min(stop - start, _MOST_ROWS))
        (rows,) = self._cursor.take(stop - start)
        if len(rows) < min(stop, self.shape[0]) - start:
            raise BadInputError(
                f"{self.name} ends after {start + len(rows)} rows; needed are {self.shape[0]}"
            )
        self._row = start + len(rows)
        return rows


def open_vectors(
    source: Any, *, columns: str | Sequence[str | int] | None = None, header: bool | None = None
) -> Vectors:
    """Find out what a source of vectors holds, without reading it where its format allows that.

    Parameters
    ----------
    source : path or (..., d) array
        As `open_observations` takes it, batches excepted; arrays may have any number of axes. A CSV file
        is read at once, and so is a Parquet file with whole numbers in columns that have empty cells.
    columns : sequence of str and int, or str, optional
        The components to take, by name or index; or one line of them, quoted as in a CSV file.
    header : bool, optional
        Whether the first line of a CSV file names its columns.

    Returns
    -------
    Vectors
        What is to be read.

    Raises
    ------
    BadInputError
        If there is no such file or column, or it holds no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> vectors = open_vectors(np.arange(12.0).reshape(4, 3), columns=[2, 0])
    >>> vectors.shape, vectors.read(1, 3).tolist()
    ((4, 2), [[5.0, 3.0], [8.0, 6.0]])
    """
    reader = open_reader(source, "the array", header)
    return Vectors(reader, None if columns is None else reader.columns(columns))
