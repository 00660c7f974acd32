"""Tables: one file or many, whose columns pyarrow reads; it is imported with the first of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import BadInputError
from . import _fingerprints
from ._reader import Assembler, Block, Cursor, Group, Host, Names, Reader, unnamed

# pyarrow carries no types.
ArrowColumn = Any
ArrowType = Any

BELOW_HEADER = "data row {row} (row 1 is the first after the header)"
PLAIN_ROWS = "row {row} (the first is row 1)"

_MOST_SHOWN = 40
_ROWS_AT_ONCE = 1024  # of a transposition: rows that stay in the cache until all their columns have come


class TableFile(ABC):
    """One file of a table; each format adds how pyarrow loads it.

    Attributes
    ----------
    file : str
        As a message calls it.
    path : Path
        Where it is.
    names : tuple of str, optional
        What its columns are called; behind `width` of them those that are taken only by their names.
    width : int
        How many there are.
    rows : int, optional
        How many rows it has; None as long as it was not read.
    row_words : str
        How a message counts the rows, ``{row}`` being the number from 1.
    """

    file: str
    path: Path
    names: Names | None
    width: int
    rows: int | None
    row_words: str

    @abstractmethod
    def type_of(self, position: int) -> ArrowType:
        """Arrow's type of a column."""

    @abstractmethod
    def pieces(self, positions: Sequence[int], first_row: int, rows: int) -> Iterator[list[Host]]:
        """The columns at some positions from a row on, about as many rows at a time."""

    @abstractmethod
    def load(self, positions: Sequence[int]) -> list[Host]:
        """All rows of the columns, each of the type that its numbers have."""

    @abstractmethod
    def texts(self, position: int) -> Iterator[ArrowColumn]:
        """A column as it stands, in parts."""

    @abstractmethod
    def progress(self) -> int:
        """How many bytes have been read."""

    @property
    def is_named(self) -> bool:
        """Whether the file itself says what its columns are called."""
        return self.names is not None

    def has_empty(self, position: int) -> bool:
        """Whether a cell of the column is empty."""
        return any(column.null_count for column in self.texts(position))

    def not_numeric(self, position: int) -> BadInputError:
        """The error of a column that is no numbers, with its first value that is none."""
        row, held = first_that_is_no_number(self.texts(position))
        return self.holds_no_number(position, row, held)

    def holds_no_number(self, position: int, row: int, value: Any) -> BadInputError:
        """The error of a value that is no number."""
        held = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        held = held if len(held) <= _MOST_SHOWN else f"{held[:_MOST_SHOWN]}..."
        return BadInputError(
            f"{self.file}: {self.label(position)} is not numeric: {self.row_in_words(row)} holds {held!r}; "
            "choose other columns with columns (--columns)"
        )

    def label(self, position: int) -> str:
        """What a message calls a column."""
        return f"column {self.names[position]!r}" if self.names else f"column {position}"

    def row_in_words(self, row: int) -> str:
        """What a message calls a row."""
        return self.row_words.format(row=row + 1)


class Partitioned(TableFile):
    """A file with columns that its folders name, as ``year=2024``; they stand behind its own."""

    def __init__(self, inner: TableFile, keys: dict[str, Any]) -> None:
        self.file, self.path, self.row_words = inner.file, inner.path, inner.row_words
        names = inner.names or unnamed(inner.width)
        self.names = (*names[: inner.width], *keys, *names[inner.width :])
        self.width = inner.width + len(keys)
        self._inner, self._values = inner, list(keys.values())

    @property
    def is_named(self) -> bool:
        """Whether the file itself says what its columns are called."""
        return self._inner.is_named

    @property
    def rows(self) -> int | None:  # type: ignore[override]
        """How many rows the file has; None as long as it was not read."""
        return self._inner.rows

    def type_of(self, position: int) -> ArrowType:
        """Arrow's type of a column."""
        import pyarrow as pa

        inside = self._inside(position)
        return pa.scalar(self._value(position)).type if inside is None else self._inner.type_of(inside)

    def pieces(self, positions: Sequence[int], first_row: int, rows: int) -> Iterator[list[Host]]:
        """The columns from a row on, those of the folders among them."""
        for columns in self._inner.pieces(self._all_inside(positions), first_row, rows):
            yield self._with_constants(positions, columns)

    def load(self, positions: Sequence[int]) -> list[Host]:
        """All rows of the columns, those of the folders among them."""
        return self._with_constants(positions, self._inner.load(self._all_inside(positions)))

    def texts(self, position: int) -> Iterator[ArrowColumn]:
        """A column as it stands, in parts."""
        import pyarrow as pa

        inside = self._inside(position)
        return iter([pa.array([self._value(position)])]) if inside is None else self._inner.texts(inside)

    def progress(self) -> int:
        """How many bytes have been read."""
        return self._inner.progress()

    def label(self, position: int) -> str:
        """What a message calls a column."""
        inside = self._inside(position)
        return super().label(position) if inside is None else self._inner.label(inside)

    def _inside(self, position: int) -> int | None:
        """Where the file itself holds a column; None where the folders do."""
        if position < self._inner.width:
            return position
        return None if position < self.width else position - len(self._values)

    def _value(self, position: int) -> Any:
        """What the folders say."""
        return self._values[position - self._inner.width]

    def _all_inside(self, positions: Sequence[int]) -> list[int]:
        """Columns of the file itself; one of them, whose rows count, where there would be none."""
        return [at for at in map(self._inside, positions) if at is not None] or [0]

    def _with_constants(self, positions: Sequence[int], columns: list[Host]) -> list[Host]:
        read = iter(columns)
        rows = len(columns[0])
        return [
            np.full(rows, self._value(at)) if self._inside(at) is None else next(read) for at in positions
        ]


class Table(Reader):
    """The rows of one file after those of the other; the columns are those of the first.

    Parameters
    ----------
    file : str
        What the user calls all of it.
    parts : sequence of TableFile
        In the order of their rows.
    """

    is_table = True
    overhead = 2

    def __init__(self, file: str, parts: Sequence[TableFile]) -> None:
        first = parts[0]
        if not first.width:
            raise BadInputError(f"{first.file} has no columns")
        self.file, self.names, self._parts = file, first.names, parts
        self.paths = tuple(part.path for part in parts)
        counts = [part.rows for part in parts]
        rows = -1 if None in counts else sum(count or 0 for count in counts)
        self.shape = (rows, first.width)
        self.nbytes = sum(path.stat().st_size for path in self.paths)
        self._progress = 0
        self._positions = [_positions_of(part, first) for part in parts]

    def dtype(self, group: Group) -> np.dtype[Any]:
        """The dtype that holds all columns of a group in all files, if no cell is empty."""
        return np.result_type(*{self._dtype_of(position) for position in self._all(group)})

    def has_empty_integers(self, group: Group) -> bool:
        """Whether `dtype` is no float, but some cell is empty."""
        positions = self._all(group)
        if self.dtype(group).kind == "f":
            return False
        return any(part.has_empty(at) for part, where in self._where(positions) for at in where)

    def read(self, *groups: Group) -> list[Host]:
        """All rows of each group, in C order, of the dtype that their numbers have."""
        wanted = [self._all(group) for group in groups]
        union, places = _union(wanted)
        loaded = [part.load(where) for part, where in self._where(union)]
        return [_in_rows([[columns[at] for at in group] for columns in loaded]) for group in places]

    def cursor(self, groups: Sequence[Group], first_row: int, most_rows: int) -> Cursor:
        """A cursor; files and row groups before the first row are not read where their rows are known."""
        wanted = [self._all(group) for group in groups]
        templates = [np.empty((0, len(group)), self.dtype(group)) for group in wanted]
        rows = max(1, min(most_rows, max(1024, most_rows // 8)))
        return Assembler(self._pieces(wanted, first_row, rows), templates, "F", lambda: self._progress)

    def place(self, row: int, column: int | None) -> str:
        """The file, the column, and the row in the file."""
        part, row = self._part_of(row)
        return f"{part.file}: {part.label(column or 0)}, {part.row_in_words(row)}"

    def fingerprint(self) -> dict[str, Any]:
        """Of every file, and the names of the columns."""
        return {
            "files": [_fingerprints.of_file(path) for path in self.paths],
            "columns": self.names and list(self.names),
            "shape": list(self.shape),
        }

    def _all(self, group: Group) -> tuple[int, ...]:
        return tuple(range(self.shape[1])) if group is None else group

    def _where(self, positions: Sequence[int]) -> Iterator[tuple[TableFile, list[int]]]:
        """Each file, and where it holds the columns."""
        first = self._parts[0]
        for part, held in zip(self._parts, self._positions, strict=True):
            where = [held[position] for position in positions]
            if None in where:
                missing = first.label(positions[where.index(None)])
                raise BadInputError(f"{part.file} has no {missing} of its own, as {first.file} has")
            yield part, cast(list[int], where)

    def _dtype_of(self, position: int) -> np.dtype[Any]:
        """The dtype that holds a column in all files."""
        first = self._parts[0]
        found: dict[np.dtype[Any], None] = {}
        for part, (at,) in self._where([position]):
            kind = part.type_of(at)
            dtype = numpy_dtype(kind)
            if dtype is None and part is first:
                raise part.not_numeric(at)
            if dtype is None:
                wanted = first.type_of(position)
                raise BadInputError(f"{part.file}: {part.label(at)} is {kind}, but {wanted} in {first.file}")
            found[dtype] = None
        return np.result_type(*found)

    def _pieces(self, wanted: list[tuple[int, ...]], first_row: int, rows: int) -> Iterator[list[Block]]:
        union, places = _union(wanted)
        start = read = 0
        for part, where in self._where(union):
            skipped = max(0, first_row - start)
            if part.rows is None or skipped < part.rows:
                for columns in part.pieces(where, skipped, rows):
                    self._progress = read + part.progress()
                    yield [[columns[place] for place in group] for group in places]
            start += part.rows or 0
            read += part.path.stat().st_size

    def _part_of(self, row: int) -> tuple[TableFile, int]:
        """The file that holds a row, and the row's place in it."""
        for part in self._parts[:-1]:
            if part.rows is None or row < part.rows:
                return part, row
            row -= part.rows
        return self._parts[-1], row


def arrow_file(path: Path) -> Any:
    """A file that Arrow reads by itself, if it takes the name.

    Its threads read ahead, and one that wants the lock of an interpreter that ends aborts the process.
    """
    import pyarrow as pa

    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.open("rb")
    return pa.OSFile(str(path))


def numpy_dtype(kind: ArrowType) -> np.dtype[Any] | None:
    """The dtype that holds Arrow's numbers of that type where no cell is empty; None where they are none."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return np.dtype(np.float64)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    return None


def numbers(column: ArrowColumn) -> Host:
    """A column of numbers as an array, a view where it can be, empty cells being NaN."""
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(column, pa.ChunkedArray):
        chunks = [numbers(chunk) for chunk in column.chunks] or [numbers(pa.array([], column.type))]
        return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    is_cast = pa.types.is_decimal(column.type) or pa.types.is_null(column.type)
    if is_cast or (column.null_count and not pa.types.is_floating(column.type)):
        column = column.cast(pa.float64())
    if column.null_count:
        if pa.types.is_float16(column.type):  # of which Arrow fills no cell
            return numbers(column.cast(pa.float32())).astype(np.float16)
        column = compute.fill_null(column, float("nan"))
    if pa.types.is_boolean(column.type):
        return _elements(column.cast(pa.uint8())).view(bool)
    return _elements(column)


def _elements(column: ArrowColumn) -> Host:
    """The elements of a column without empty cells; Arrow's own way to NumPy imports pandas, of 40 MB."""
    dtype = numpy_dtype(column.type)
    assert dtype is not None
    if not len(column):
        return np.empty(0, dtype)
    return np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * dtype.itemsize)


def first_that_is_no_number(chunks: Iterator[ArrowColumn]) -> tuple[int, Any]:
    """Row and value of the first text that is no number; of the first value at all where none is text."""
    first_row, first_valid = 0, None
    for column in chunks:
        if not is_numeric_text(column):
            row = place_of_no_number(column)
            return first_row + row, column[row].as_py()
        if first_valid is None and column.null_count < len(column):
            row = next(row for row, value in enumerate(column) if value.is_valid)
            first_valid = first_row + row, column[row].as_py()
        first_row += len(column)
    return first_valid or (0, None)


def place_of_no_number(column: ArrowColumn) -> int:
    """Row of the first text that is no number, of which there is one."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        if is_numeric_text(column.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low


def is_numeric_text(column: ArrowColumn) -> bool:
    """Whether every value is a text that pyarrow reads as a number."""
    import pyarrow as pa

    return is_text_of(column, pa.float64())


def is_text_of(column: ArrowColumn, kind: ArrowType) -> bool:
    """Whether every value is a text that pyarrow reads as one of the type."""
    import pyarrow as pa
    from pyarrow import compute

    try:
        compute.utf8_trim_whitespace(column.cast(pa.string())).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _positions_of(part: TableFile, first: TableFile) -> Sequence[int | None]:
    """Where a file holds the columns of the first one, by their names if it has any."""
    if part.names == first.names and part.width == first.width:
        return range(len(first.names or ()) or first.width)
    if part.names is None or first.names is None or not part.is_named:
        raise BadInputError(f"{part.file} has {part.width} columns, but {first.file} has {first.width}")
    for names in (part.names, first.names):
        if len(set(names)) < len(names):
            raise BadInputError(
                f"{part.file} has other columns than {first.file}, and names that are repeated"
            )
    held = {name: position for position, name in enumerate(part.names)}
    return [held.get(name) for name in first.names]


def _union(groups: list[tuple[int, ...]]) -> tuple[list[int], list[list[int]]]:
    """The positions of all groups, in order, and for each group where its own stand among them."""
    union = sorted({position for group in groups for position in group})
    index = {position: place for place, position in enumerate(union)}
    return union, [[index[position] for position in group] for group in groups]


def _in_rows(parts: list[list[Host]]) -> Host:
    """Columns, of which each part holds some rows, as one array in C order."""
    dtype = np.result_type(*(column for columns in parts for column in columns))
    values = np.empty((sum(len(columns[0]) for columns in parts), len(parts[0])), dtype)
    row = 0
    for columns in parts:
        for start in range(0, len(columns[0]), _ROWS_AT_ONCE):
            for position, column in enumerate(columns):
                some = column[start : start + _ROWS_AT_ONCE]
                values[row + start : row + start + len(some), position] = some
        row += len(columns[0])
    return values
