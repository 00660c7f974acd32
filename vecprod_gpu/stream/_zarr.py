"""Zarr arrays, read chunk by chunk; zarr is imported with the first of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._layout import size
from .._words import in_one_line
from ..errors import BadInputError
from . import _fingerprints
from ._npy import chosen, require_numbers
from ._reader import Assembler, Block, Cursor, Group, Host, Reader

PIECE_BYTES = 1 << 23  # of small chunks that are read at a time, so that they are decoded beside each other

COPIES = 5
"""Of a piece, that are held at once: the one before, its rows, its chunks decoded and as stored, and what
chunks take that are decoded beside each other."""


class ZarrReader(Reader):
    """A Zarr array of format 2 or 3; one of two axes is a table without names."""

    names = None
    nbytes: int
    overhead = 2

    def __init__(self, file: str, array: Any, path: Path | None = None) -> None:
        self.file, self.paths = file, () if path is None else (path,)
        self._array = array
        self._dtype: np.dtype[Any] = np.dtype(array.dtype)
        require_numbers(file, self._dtype)
        self.shape = tuple(array.shape)
        self.nbytes = size(self.shape) * self._dtype.itemsize
        if self.shape:
            self._plan_pieces()

    def dtype(self, group: Group) -> np.dtype[Any]:
        """The dtype of the array."""
        return self._dtype

    @property
    def whole_bytes(self) -> int:
        """What is held while all of it is read at once: piece by piece as well."""
        return self.nbytes + self.held_bytes

    def read(self, *groups: Group) -> list[Host]:
        """The groups of columns of the whole array."""
        if not self.shape:
            return [chosen(self.part(), group) for group in groups]
        return self.cursor(groups, 0, self.shape[0]).take(self.shape[0])

    def part(self, *rows: int) -> Host:
        """Some rows, in memory; with no numbers, the element of an array without axes."""
        with self._named(rows):
            return np.asarray(self._array[slice(*rows) if rows else ()], self._dtype)

    def cursor(self, groups: Sequence[Group], first_row: int, most_rows: int) -> Cursor:
        """A cursor that reads no chunk twice; how many rows will be taken does not matter to it."""
        read = [first_row]
        templates = [chosen(np.empty((0, *self.shape[1:]), self._dtype), group) for group in groups]

        def progress() -> int:
            return self.nbytes * read[0] // max(1, self.rows or 0)

        return Assembler(self._pieces(groups, first_row, read), templates, "C", progress)

    def place(self, row: int, column: int | None) -> str:
        """The store and the index."""
        return f"{self.file}: [{row}]" if column is None else f"{self.file}: [{row}, {column}]"

    def fingerprint(self) -> dict[str, Any]:
        """Of the store's files, where they are known, and of the first rows and the last."""
        about = {"shape": list(self.shape), "dtype": self._dtype.str, "chunks": list(self._array.chunks)}
        ends = [self.part(0, 1), self.part(self.shape[0] - 1, self.shape[0])] if size(self.shape) else []
        of_path = [
            _fingerprints.of_folder(path) if path.is_dir() else _fingerprints.of_file(path)
            for path in self.paths
        ]
        return {"files": of_path, **about, "ends": [_fingerprints.of_array(rows) for rows in ends]}

    def _plan_pieces(self) -> None:
        """Find out how many rows are read at a time, in whole chunks of all columns, and what that takes."""
        shards = getattr(self._array, "shards", None)
        unit = shards or self._array.chunks
        padded = [-(-length // part) * part for length, part in zip(self.shape[1:], unit[1:], strict=True)]
        chunks_bytes = unit[0] * size(padded) * self._dtype.itemsize
        times = max(1, min(PIECE_BYTES // max(1, chunks_bytes), -(-self.shape[0] // unit[0])))
        self._rows_of_piece = times * unit[0]
        self.held_bytes = COPIES * times * chunks_bytes
        if chunks_bytes > PIECE_BYTES:
            self.why_held = (
                f"{'shards' if shards else 'chunks'} of {self.file} have {chunks_bytes} bytes, and "
                f"{COPIES} times as much is held; give it smaller ones"
            )

    def _pieces(self, groups: Sequence[Group], first_row: int, read: list[int]) -> Iterator[list[Block]]:
        """Whole chunks of all columns."""
        start = first_row
        while start < self.shape[0]:
            stop = min(self.shape[0], (start // self._rows_of_piece + 1) * self._rows_of_piece)
            piece = self.part(start, stop)
            read[0] = start = stop
            yield [chosen(piece, group) for group in groups]

    @contextmanager
    def _named(self, rows: tuple[int, ...]) -> Iterator[None]:
        """Name the store in whatever its codecs and its files bring up, which have no error in common."""
        try:
            yield
        except (BadInputError, MemoryError):
            raise
        except Exception as error:
            where = f"rows {rows[0]} to {rows[1]}" if rows else "the array"
            raise BadInputError(f"{self.file}: {where} cannot be read: {in_one_line(error)}") from None


def open_zarr(file: str, path: Path, key: str | None) -> ZarrReader:
    """Open an array of a store, a folder or a ``.zip`` of one: that of the key, or the only one."""
    import zarr

    try:
        store = (
            zarr.storage.ZipStore(path, mode="r")
            if path.is_file()
            else zarr.storage.LocalStore(path, read_only=True)
        )
        found: Any = zarr.open(store, mode="r")
    except Exception as error:
        raise BadInputError(f"{file} is no Zarr store that can be read: {in_one_line(error)}") from None
    if isinstance(found, zarr.Group):
        found = _array_of(file, found, key)
    elif key is not None:
        raise BadInputError(f"{file}: there is no array of that key; the store is a single array")
    return ZarrReader(file, found, path)


def is_zarr(source: Any) -> bool:
    """Whether an object is a Zarr array, found out without importing zarr."""
    return type(source).__module__.partition(".")[0] == "zarr" and hasattr(source, "chunks")


def _array_of(file: str, group: Any, key: str | None) -> Any:
    arrays = dict(group.arrays())
    if key is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if key in arrays:
        return arrays[key]
    listed = ", ".join(sorted(arrays)) or "no arrays"
    advice = f"choose one as {file}:KEY" if key is None else "there is no array of that key"
    raise BadInputError(f"{file} holds {listed}; {advice}")
