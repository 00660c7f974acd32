"""NumPy's arrays and files: ``.npy``, which is mapped into memory, and ``.npz``, which is streamed."""

import mmap
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from .._layout import size
from ..errors import BadInputError
from ..linreg._streaming import npz
from . import _fingerprints
from ._reader import Assembler, Block, Cursor, Group, Host, Reader

_PIECE_BYTES = 1 << 22
_FAULT_AROUND_BYTES = 1 << 16  # that Linux maps at once where one page is touched, those before it included


class ArrayReader(Reader):
    """An array in memory; one of two axes is a table without names."""

    paths: tuple[Path, ...] = ()
    names = None

    def __init__(self, file: str, values: Host) -> None:
        require_numbers(file, values.dtype)
        self.file, self.shape, self.nbytes = file, values.shape, values.nbytes
        self._values = values

    def dtype(self, group: Group) -> np.dtype[Any]:
        """The dtype of the array."""
        return np.dtype(self._values.dtype)

    def read(self, *groups: Group) -> list[Host]:
        """The groups of columns, as views where they stand side by side."""
        return [chosen(self._values, group) for group in groups]

    def cursor(self, groups: Sequence[Group], first_row: int, most_rows: int) -> Cursor:
        """A cursor whose rows are views of the array, or copies of columns that stand apart."""
        return _Views(self, groups, first_row)

    def part(self, start: int, stop: int) -> Host:
        """A view of some rows."""
        return self._values[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Say that the rows from start to stop are read no more."""

    def place(self, row: int, column: int | None) -> str:
        """The file and the index."""
        return f"{self.file}: [{row}]" if column is None else f"{self.file}: [{row}, {column}]"

    def fingerprint(self) -> dict[str, Any]:
        """Of the array itself."""
        return _fingerprints.of_array(self._values)


class NpyReader(ArrayReader):
    """An ``.npy`` file that is mapped into memory, however large it is."""

    def __init__(self, file: str, path: Path) -> None:
        self._stream = path.open("rb")
        with named(file, ".npy"):
            shape, fortran_order, dtype = read_header(self._stream)
            order: Literal["C", "F"] = "F" if fortran_order else "C"
            offset = self._stream.tell()
            if dtype.hasobject:
                raise ValueError("it holds Python objects")
            self._mapped: mmap.mmap | None = None
            if not size(shape):
                values: Host = np.empty(shape, dtype)
            else:
                # No numpy.memmap, whose pages sums give back part by part: here the cursor does.
                length = offset + size(shape) * dtype.itemsize
                self._mapped = mmap.mmap(self._stream.fileno(), length, access=mmap.ACCESS_READ)
                values = np.ndarray(shape, dtype, self._mapped, offset, order=order)
        super().__init__(file, values)
        self.paths = (path,)
        self._end = offset + values.nbytes

    def part(self, start: int, stop: int) -> Host:
        """A view of some rows, once it is known that they are there; the disk is told to bring them."""
        self._require_whole()
        self._advise("MADV_WILLNEED", start, stop)
        return self._values[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Let the system take back the pages of the rows from start to stop.

        Those before the first row too: a page fault maps pages on both sides.
        """
        self._advise("MADV_DONTNEED", start, stop, before=_FAULT_AROUND_BYTES)

    def fingerprint(self) -> dict[str, Any]:
        """Of the file."""
        about = {"shape": list(self.shape), "dtype": self._values.dtype.str}
        return {"files": [_fingerprints.of_file(self.paths[0])], **about}

    def _require_whole(self) -> None:
        """Raise where the file was cut short since it was opened: to touch its pages would be fatal."""
        found = os.fstat(self._stream.fileno()).st_size
        if found < self._end:
            raise BadInputError(
                f"{self.file} was cut short while it was read: it has {found} bytes; needed are {self._end}"
            )

    def _advise(self, advice: str, start: int, stop: int, before: int = 0) -> None:
        """Tell the system what is to become of the pages of some rows; of all, in Fortran's order."""
        mapped = self._mapped
        if mapped is None or not hasattr(mmap, advice):
            return
        if not self._values.flags.c_contiguous:
            start, stop = 0, self.shape[0]
        behind = len(mapped) - self._values.nbytes
        row_bytes = self._values.nbytes // self.shape[0]
        first = max(0, behind + start * row_bytes - before) // mmap.PAGESIZE * mmap.PAGESIZE
        last = behind + min(stop, self.shape[0]) * row_bytes
        if last > first and stop > start:
            mapped.madvise(getattr(mmap, advice), first, last - first)


class _Views:
    """A cursor over an array."""

    def __init__(self, reader: ArrayReader, groups: Sequence[Group], first_row: int) -> None:
        self._reader, self._groups = reader, groups
        self._row = self._last = self._released = first_row

    def take(self, rows: int) -> list[Host]:
        """Views of the next rows; those before the last that were taken are released."""
        self._reader.release(self._released, self._last)
        start, stop = self._row, min(self._row + rows, max(self._row, self._reader.shape[0]))
        self._released, self._last, self._row = self._last, start, stop
        part = self._reader.part(start, stop)
        return [chosen(part, group) for group in self._groups]

    def progress(self) -> int:
        """Bytes of the rows taken."""
        reader = self._reader
        return (reader.nbytes or 0) * self._row // max(1, reader.rows or 0)


class NpzReader(Reader):
    """An array of an ``.npz`` archive, read from its first byte to its last."""

    names = None
    overhead = 2

    def __init__(self, file: str, path: Path, key: str | None) -> None:
        self.file, self.paths = file, (path,)
        with named(file, ".npz"), zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            self._member = f"{_key_of_array(file, keys, key)}.npy"
            with archive.open(self._member) as stream:
                self.shape, self._fortran_order, self._dtype = read_header(stream)
            if self._dtype.hasobject:
                raise ValueError("Object arrays cannot be loaded")
        require_numbers(file, self._dtype)
        self.nbytes = size(self.shape) * self._dtype.itemsize
        if self._fortran_order and len(self.shape) > 1:
            self.held_bytes = self.nbytes  # its last row ends where the array does
            self.why_held = f"{file} is in Fortran's order and held whole; save it in C's, or as .npy"

    def dtype(self, group: Group) -> np.dtype[Any]:
        """The dtype of the array."""
        return self._dtype

    def read(self, *groups: Group) -> list[Host]:
        """The groups of columns of the whole array."""
        with named(self.file, ".npz"), np.load(self.paths[0], allow_pickle=False) as archive:
            values = archive[self._member.removesuffix(".npy")]
        return [chosen(values, group) for group in groups]

    def cursor(self, groups: Sequence[Group], first_row: int, most_rows: int) -> Cursor:
        """A cursor; rows before the first are passed over, which takes as long as to read them."""
        read = [first_row]
        templates = [chosen(np.empty((0, *self.shape[1:]), self._dtype), group) for group in groups]

        def progress() -> int:
            return (self.nbytes or 0) * read[0] // max(1, self.rows or 0)

        return Assembler(self._pieces(groups, first_row, read), templates, "C", progress)

    def place(self, row: int, column: int | None) -> str:
        """The file and the index."""
        return f"{self.file}: [{row}]" if column is None else f"{self.file}: [{row}, {column}]"

    def fingerprint(self) -> dict[str, Any]:
        """Of the archive, and which array of it."""
        about = {"member": self._member, "shape": list(self.shape), "dtype": self._dtype.str}
        return {"files": [_fingerprints.of_file(self.paths[0])], **about}

    def _pieces(self, groups: Sequence[Group], first_row: int, read: list[int]) -> Iterator[list[Block]]:
        if self.held_bytes:
            (values,) = self.read(None)
            read[0] = len(values)
            yield [chosen(values[first_row:], group) for group in groups]
            return
        row_bytes = size(self.shape[1:]) * self._dtype.itemsize
        rows = max(1, _PIECE_BYTES // max(1, row_bytes))
        with (
            named(self.file, ".npz"),
            zipfile.ZipFile(self.paths[0]) as archive,
            archive.open(self._member) as stream,
        ):
            read_header(stream)
            stream.seek(first_row * row_bytes, 1)
            for start in range(first_row, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                held = stream.read(count * row_bytes)
                if len(held) < count * row_bytes:
                    raise EOFError(f"it ends after {start} rows")
                piece = np.frombuffer(held, self._dtype).reshape(count, *self.shape[1:])
                read[0] = start + count
                yield [chosen(piece, group) for group in groups]


def chosen(values: Host, group: Group) -> Host:
    """A group of columns, as a view where they stand at equal distances."""
    if group is None:
        return values
    step = group[1] - group[0] if len(group) > 1 else 1
    if step > 0 and group == tuple(range(group[0], group[-1] + 1, step)):
        return values[:, group[0] : group[-1] + 1 : step]
    return np.take(values, group, axis=1)


def require_numbers(file: str, dtype: np.dtype[Any]) -> None:
    """Raise where the elements are text, dates, records or the like."""
    if dtype.kind not in "biufc":
        raise BadInputError(f"{file} holds {dtype}; needed are numbers")


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the order is Fortran's, and dtype of an ``.npy`` stream, which is then at its data."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _key_of_array(file: str, keys: list[str], key: str | None) -> str:
    if key is None and len(keys) == 1:
        return keys[0]
    if key in keys:
        return key
    listed = ", ".join(keys) or "no arrays"
    if key is None:
        raise BadInputError(f"{file} holds {listed}; choose one as {file}:KEY")
    raise BadInputError(f"{file}: there is no array of that key; the file holds {listed}")


def named(file: str, suffix: str) -> AbstractContextManager[None]:
    """Name the file in whatever goes wrong with its contents."""
    return npz.refusing(
        lambda reason: BadInputError(f"{file} is no whole {suffix} file of numbers: {reason}")
    )
