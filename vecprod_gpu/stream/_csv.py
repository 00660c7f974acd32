"""Comma-separated text in UTF-8, with or without a header; lines that hold nothing are passed over."""

import codecs
import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._words import in_one_line
from ..errors import BadInputError
from ._reader import Host
from ._tables import (
    BELOW_HEADER,
    PLAIN_ROWS,
    ArrowColumn,
    ArrowType,
    TableFile,
    arrow_file,
    is_text_of,
    numbers,
    numpy_dtype,
    place_of_no_number,
)

_BLOCK_BYTES = 1 << 21
_BLANK_LINE = re.compile(rb"(?:\n|\r)(?:\r?\n|\r(?!\n))")


class CsvFile(TableFile):
    """A CSV file, whose rows only reading counts."""

    def __init__(self, file: str, path: Path, header: bool | None) -> None:
        self.file, self.path, self.rows = file, path, None
        first, self._start = _first_line(file, path)
        if header is None and all(map(_is_number, first)):
            raise BadInputError(
                f"{file}: the first line holds nothing but numbers; "
                "say --no-header if it is data, or --header if it names the columns"
            )
        if header is False:
            self._start = 0
        self.names, self.row_words = (None, PLAIN_ROWS) if header is False else (tuple(first), BELOW_HEADER)
        self.width = len(first)
        self._read_bytes = 0

    def type_of(self, position: int) -> ArrowType:
        """Truth values, where the first rows hold them; all else is read as float64."""
        import pyarrow as pa

        kind = self._first_types[position]
        return kind if pa.types.is_boolean(kind) else pa.float64()

    def pieces(self, positions: Sequence[int], first_row: int, rows: int) -> Iterator[list[Host]]:
        """The columns from a row on; those before it are made no numbers, unless lines are blank."""
        import pyarrow as pa

        skipped = first_row if first_row and not self._has_blank_lines() else 0
        types = {position: self.type_of(position) for position in positions}
        row = skipped
        try:
            for batch in self._batches(types, skipped):
                dropped = max(0, first_row - row)
                row += len(batch)
                if dropped < len(batch):
                    yield [numbers(column)[dropped:] for column in batch.columns]
            if row == skipped:  # perhaps there were not as many to skip
                row = sum(map(len, self._batches({positions[0]: pa.binary()})))
        except pa.ArrowInvalid as error:
            raise self._diagnosis(types, error) from None
        self.rows = row

    def load(self, positions: Sequence[int]) -> list[Host]:
        """All rows of the columns; those that hold whole numbers alone are integers."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        if not self._has_rows():
            return [np.empty(0) for _ in positions]
        try:
            with self._stream() as stream:
                options = self._options(dict.fromkeys(positions))
                table = arrow_csv.read_csv(stream, *options)
        except pa.ArrowInvalid as error:
            raise self._diagnosis(dict.fromkeys(positions, pa.float64()), error) from None
        for position, kind in zip(positions, table.schema.types, strict=True):
            if numpy_dtype(kind) is None:
                raise self.not_numeric(position)
        self.rows = len(table)
        return [numbers(column) for column in table.columns]

    def texts(self, position: int) -> Iterator[ArrowColumn]:
        """A column as it stands, in parts."""
        import pyarrow as pa

        return (batch.column(0) for batch in self._batches({position: pa.binary()}))

    def progress(self) -> int:
        """How many bytes were read, those included that are not numbers yet."""
        return self._read_bytes

    @cached_property
    def _first_types(self) -> list[ArrowType]:
        """What the columns seem to hold, from the first rows."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        if not self._has_rows():
            return [pa.null()] * self.width
        everything = dict.fromkeys(range(self.width))
        try:
            with self._stream() as stream, arrow_csv.open_csv(stream, *self._options(everything)) as reader:
                return list(reader.schema.types)
        except pa.ArrowInvalid as error:
            raise self._diagnosis({}, error) from None

    def _has_rows(self) -> bool:
        with self._lines() as stream:
            return any(line.strip(b"\r\n") for line in stream)

    def _stream(self) -> Any:
        """The file at its first row, for Arrow."""
        return self._opened(arrow_file)

    def _lines(self) -> IO[bytes]:
        """The same for Python."""
        stream: IO[bytes] = self._opened(lambda path: path.open("rb"))
        return stream

    def _opened(self, opened: Callable[[Path], Any]) -> Any:
        try:
            stream = opened(self.path)
        except OSError as error:  # it was there when it was looked at
            reason = os.strerror(error.errno) if error.errno else in_one_line(error)
            raise BadInputError(f"cannot read {self.file}: {reason}") from None
        stream.seek(self._start)
        return stream

    def _batches(self, types: dict[int, ArrowType], skipped: int = 0, on_misfit: Any = None) -> Iterator[Any]:
        """Record batches of the columns, each of its type, from a row on."""
        from pyarrow import csv as arrow_csv

        if not self._has_rows():
            return
        options = self._options(types, skipped, on_misfit)
        with self._stream() as stream, arrow_csv.open_csv(stream, *options) as reader:
            for batch in reader:
                self._read_bytes = stream.tell()
                yield batch

    def _options(
        self, types: Mapping[int, ArrowType | None], skipped: int = 0, on_misfit: Any = None
    ) -> tuple[Any, Any, Any]:
        """How Arrow reads the columns; it calls them by their positions, so that no name is there twice."""
        from pyarrow import csv as arrow_csv

        return (
            arrow_csv.ReadOptions(
                use_threads=on_misfit is None,  # one thread alone counts the rows
                block_size=_BLOCK_BYTES,
                column_names=[str(position) for position in range(self.width)],
                skip_rows_after_names=skipped,
            ),
            arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_misfit),
            arrow_csv.ConvertOptions(
                strings_can_be_null=True,
                include_columns=[str(position) for position in types],
                column_types={str(position): kind for position, kind in types.items() if kind},
            ),
        )

    def _diagnosis(self, types: Mapping[int, ArrowType], error: Exception) -> BadInputError:
        """What is wrong with the first row that cannot be read: how many cells it has, or what they hold."""
        import pyarrow as pa

        misfits: list[Any] = []

        def remember(row: Any) -> str:
            misfits.append(row)
            return "error"

        first_row = 0
        with suppress(pa.ArrowInvalid):
            for batch in self._batches(dict.fromkeys(types or [0], pa.binary()), on_misfit=remember):
                for (position, kind), column in zip(types.items(), batch.columns, strict=False):
                    if not (is_text_of(column, pa.float64()) or is_text_of(column, kind)):
                        row = place_of_no_number(column)
                        return self.holds_no_number(position, first_row + row, column[row].as_py())
                first_row += len(batch)
        if not misfits and "straddling object" in str(error):
            return BadInputError(
                f"{self.file}: a row has more than {_BLOCK_BYTES} bytes, the most that is read; perhaps the "
                "second of two quotation marks is missing"
            )
        if not misfits:
            return BadInputError(f"{self.file}: {in_one_line(error)}")
        where = self.row_words.format(row=misfits[0].number)
        cells, needed = misfits[0].actual_columns, misfits[0].expected_columns
        return BadInputError(f"{self.file}: {where} has {cells} cells, not {needed}")

    def _has_blank_lines(self) -> bool:
        """Whether a line holds nothing: Arrow counts it where it skips rows, not where it reads them."""
        last = b"\n"
        with self._lines() as stream:
            while block := stream.read(_BLOCK_BYTES):
                if _BLANK_LINE.search(last + block):
                    return True
                last = block[-2:]
        return False


def _first_line(file: str, path: Path) -> tuple[list[str], int]:
    """The cells of the first line that holds any, and how many bytes there are up to its end."""
    read = 0

    def lines(stream: IO[bytes]) -> Iterator[bytes]:
        nonlocal read
        for line in stream:
            read += len(line)
            yield line

    try:
        with path.open("rb") as stream:
            for cells in csv.reader(codecs.iterdecode(lines(stream), "utf-8-sig")):
                if cells:
                    return cells, read
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{file} is no CSV file in UTF-8: {error}") from None
    raise BadInputError(f"{file} is empty")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
