"""Apache Parquet files, read page by page, so that the size of a row group does not matter."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._words import in_one_line
from ..errors import BadInputError
from ._reader import Host, Names
from ._tables import PLAIN_ROWS, ArrowColumn, ArrowType, TableFile, arrow_file, numbers, numpy_dtype

_BUFFER_BYTES = 1 << 16  # of each column: without a buffer, a row group's columns are held whole
_ROWS_OF_TEXT = 1 << 14
_UNNAMED = (None, "__null_dask_index__")  # an index in the words of pandas, and of Dask


class ParquetFile(TableFile):
    """A Parquet file, whose rows are known from its footer."""

    row_words = PLAIN_ROWS
    names: Names
    rows: int

    def __init__(self, file: str, path: Path) -> None:
        self.file, self.path = file, path
        with self._opened() as opened:
            schema = opened.schema_arrow
            hidden = _unnamed_indexes(schema)
            # Where the columns stand in the file, those last that are taken only by their names.
            self._order = sorted(range(len(schema)), key=lambda at: schema.names[at] in hidden)
            self.names = tuple(schema.names[at] for at in self._order)
            self._types = tuple(schema.types[at] for at in self._order)
            self._footer_columns = opened.metadata.num_columns  # more of them where columns are nested
            groups = range(opened.metadata.num_row_groups)
            self._group_rows = [opened.metadata.row_group(group).num_rows for group in groups]
        self.width = sum(name not in hidden for name in self.names)
        self.rows = sum(self._group_rows)
        self._row = 0

    def type_of(self, position: int) -> ArrowType:
        """Arrow's type of a column."""
        return self._types[position]

    def pieces(self, positions: Sequence[int], first_row: int, rows: int) -> Iterator[list[Host]]:
        """The columns from a row on; row groups before it are not read."""
        first = start = 0
        while first < len(self._group_rows) and start + self._group_rows[first] <= first_row:
            start += self._group_rows[first]
            first += 1
        self._row = start
        with self._opened() as opened:
            groups = range(first, len(self._group_rows))
            for batch in opened.iter_batches(rows, list(groups), self._chosen_names(positions)):
                dropped = max(0, first_row - self._row)
                self._row += len(batch)
                columns = self._columns(batch, positions)
                if dropped < len(batch):
                    yield [numbers(column)[dropped:] for column in columns]

    def load(self, positions: Sequence[int]) -> list[Host]:
        """All rows of the columns."""
        for position in positions:
            if numpy_dtype(self._types[position]) is None:
                raise self.not_numeric(position)
        self._row = 0
        with self._opened() as opened:
            table = opened.read(self._chosen_names(positions))
            return [numbers(column) for column in self._columns(table, positions)]

    def texts(self, position: int) -> Iterator[ArrowColumn]:
        """A column as it stands, in parts."""
        with self._opened() as opened:
            for batch in opened.iter_batches(_ROWS_OF_TEXT, None, self._chosen_names([position])):
                yield self._columns(batch, [position])[0]

    def has_empty(self, position: int) -> bool:
        """Whether a cell of the column is empty, by what the footer says, if it does."""
        if len(self._types) == self._footer_columns:
            at = self._order[position]
            with self._opened() as opened:
                groups = map(opened.metadata.row_group, range(len(self._group_rows)))
                counts = [
                    statistics.null_count if (statistics := group.column(at).statistics) else None
                    for group in groups
                ]
            if None not in counts:
                return any(counts)
        return super().has_empty(position)

    def progress(self) -> int:
        """How many bytes of the file go with the rows read."""
        return self.path.stat().st_size * self._row // max(1, self.rows)

    def _chosen_names(self, positions: Sequence[int]) -> list[str] | None:
        """The columns to read: all of them where names do not tell them apart."""
        if len(set(self.names)) < len(self.names):
            return None
        return [self.names[position] for position in positions]

    def _columns(self, table: Any, positions: Sequence[int]) -> list[ArrowColumn]:
        if table.num_columns == len(self.names):
            return [table.column(self._order[position]) for position in positions]
        return [table.column(self.names[position]) for position in positions]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file, named in what Arrow says of damage, by errors of its own or the system's."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with (
                arrow_file(self.path) as stream,
                parquet.ParquetFile(
                    stream, pre_buffer=False, buffer_size=_BUFFER_BYTES, page_checksum_verification=True
                ) as opened,
            ):
                yield opened
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise BadInputError(f"cannot read {self.file}: {os.strerror(error.errno)}") from None
            row = getattr(self, "_row", 0)
            after = f" (after row {row})" if row else ""
            raise BadInputError(
                f"{self.file} is no whole Parquet file{after}: {in_one_line(error)}"
            ) from None


def _unnamed_indexes(schema: Any) -> set[str]:
    """The columns that hold the index of a data frame, which has no name but was written with the rows."""
    with suppress(ValueError, TypeError, LookupError):  # of metadata that are none of pandas, or not there
        about = schema.pandas_metadata
        unnamed = {column["field_name"] for column in about["columns"] if column["name"] in _UNNAMED}
        return unnamed.intersection(name for name in about["index_columns"] if isinstance(name, str))
    return set()
