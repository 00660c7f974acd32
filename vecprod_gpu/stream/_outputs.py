"""Where results go, block by block: a ``.npy`` file, a Zarr array, or an array that the caller gives."""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .. import _checks
from .._replace import DISK_FULL, drafted, new_file
from ..errors import BadInputError, DTypeError, ShapeError
from ..linreg._streaming.rows import _release
from ._paths import require_path

Host = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Cut = tuple[slice, ...]

BLOCK_BYTES = 1 << 22  # of a result: it stays in the cache between its computation and its writing

SUFFIXES = (".npy", ".zarr")


class Sink(ABC):
    """What takes the blocks of a result.

    Attributes
    ----------
    grain : tuple of int
        Lengths of which blocks should have whole multiples.
    """

    grain: Shape

    def place(self, cut: Cut) -> Host | None:
        """Where a block may be computed without a copy, if anywhere."""
        return None

    @abstractmethod
    def write(self, cut: Cut, block: Host) -> None:
        """Take a block, whose memory is used again afterwards."""

    @abstractmethod
    def sync(self) -> None:
        """Wait until what was written would survive the machine."""


class NpyFile(Sink):
    """A ``.npy`` file in C order; blocks are contiguous in it.

    They are written, not mapped: that is as fast, keeps no dirty page in this process, and a full disk is an
    error rather than a signal.
    """

    def __init__(self, path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.grain = (1,) * len(shape)
        self._shape, self._dtype = shape, dtype
        self._stream = path.open("r+b")
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(self._stream, header)
        self._start = self._stream.tell()

    def write(self, cut: Cut, block: Host) -> None:
        """Write where the block belongs."""
        first = int(np.ravel_multi_index([part.start for part in cut], self._shape)) if cut else 0
        self._stream.seek(self._start + first * self._dtype.itemsize)
        self._stream.write(np.ascontiguousarray(block, self._dtype).data)

    def sync(self) -> None:
        """Have the system write all of it to the disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Give the file back."""
        self._stream.close()


class ZarrArray(Sink):
    """A Zarr array; a block has whole chunks, or whole shards where there are any."""

    def __init__(self, array: Any) -> None:
        self.grain = tuple(array.shards or array.chunks)
        self._array = array

    def write(self, cut: Cut, block: Host) -> None:
        """Write the chunks."""
        self._array[cut] = block

    def sync(self) -> None:
        """Have the system write all to the disk: the chunks are too many files to be told one by one."""
        if hasattr(os, "sync"):
            os.sync()


class HostArray(Sink):
    """An array of NumPy, in which blocks are computed in place; pages of a memory map do not stay."""

    def __init__(self, array: Host) -> None:
        self.grain = (1,) * array.ndim
        self._array = array

    def place(self, cut: Cut) -> Host:
        """The part of the array."""
        return self._array[cut]

    def write(self, cut: Cut, block: Host) -> None:
        """Copy what was not computed in place, and let the system have the pages."""
        place = self._array[cut]
        if block.ctypes.data != place.ctypes.data:
            np.copyto(place, block, casting="same_kind")
        _release(place)  # of a shared map: the system writes what is new in them

    def sync(self) -> None:
        """Have the system write a memory map to the disk."""
        if isinstance(self._array, np.memmap):
            self._array.flush()


@contextmanager
def opened(
    out: Any,
    shape: Shape,
    dtype: np.dtype[Any],
    confirm: Callable[[], None] = lambda: None,
    checkpoint: Path | None = None,
) -> Iterator[Sink]:
    """What the blocks of a result go to; a file is whole, and in its place, when the block ends well.

    Parameters
    ----------
    out : path, ndarray or zarr.Array
        The output, which `check` has found fit.
    shape : tuple of int
        Of the result.
    dtype : numpy.dtype
        Of the result.
    confirm : callable, optional
        Called where an earlier file is about to be replaced; it may raise.
    checkpoint : Path, optional
        While there is such a file, what was written stays there for the same job to go on with.
    """
    if not isinstance(out, str | PathLike):
        sink = HostArray(out) if isinstance(out, np.ndarray) else ZarrArray(out)
        yield sink
        sink.sync()
        return
    path = Path(out)
    is_zarr = path.suffix.lower() == ".zarr"

    def make(draft: Path) -> None:
        try:
            if not draft.parent.is_dir():  # which Zarr would make
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if is_zarr:
                _create_zarr(draft, shape, dtype)
            else:
                new_file(draft)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise BadInputError(f"cannot write {path}: {error.strerror}") from None

    with _told(path), drafted(path, make, confirm, checkpoint) as draft:
        if is_zarr:
            import zarr

            array = ZarrArray(zarr.open_array(str(draft), mode="r+"))
            yield array
            array.sync()
            return
        file = NpyFile(draft, shape, dtype)
        try:
            yield file
            file.sync()
        finally:
            file.close()


def check(out: Any, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Raise unless a result of that shape and dtype can go there."""
    if isinstance(out, np.ndarray):
        _checks.output(out, "numpy", shape, dtype)
    elif isinstance(out, str | PathLike):
        require_path(os.fspath(out))
        _check_path(Path(out))
    elif not all(hasattr(out, name) for name in ("shape", "dtype", "chunks", "store")):
        raise DTypeError(f"out must be a path, a NumPy array or a zarr.Array, not {type(out).__name__}")
    elif tuple(out.shape) != shape:
        raise ShapeError(f"out has shape {tuple(out.shape)}; needed is {shape}, the shape of the result")
    elif not np.can_cast(dtype, out.dtype, "same_kind"):
        raise DTypeError(
            f"out has dtype {out.dtype}, which cannot hold a result of {dtype} under casting 'same_kind'"
        )


def _check_path(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInputError(f"{path}: the output must end in {' or '.join(SUFFIXES)}, or be an array")
    is_store = any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))
    if path.is_dir() and not (suffix == ".zarr" and is_store):
        raise BadInputError(
            f"cannot write {path}: it is a folder" + " without a Zarr store" * (suffix == ".zarr")
        )


def place_of(out: Any) -> str | None:
    """Where an output is found again by another process; None of one that lives in memory."""
    path = path_of(out)
    if path is None:
        return None
    return f"{path}:{out.offset}" if isinstance(out, np.memmap) else str(path)


def path_of(array: Any) -> Path | None:
    """The file or folder of a path, a shared memory map or a Zarr array; None of what has none."""
    if isinstance(array, str | PathLike):
        return Path(array).resolve()
    if isinstance(array, np.memmap):
        return None if array.filename is None or array.mode == "c" else Path(array.filename).resolve()
    root = getattr(getattr(array, "store", None), "root", None)
    return None if root is None else Path(root).resolve() / str(array.path)


def block_shape(shape: Shape, grain: Shape, itemsize: int, most_bytes: int) -> Shape:
    """The largest block of whole grains that so many bytes hold, contiguous in C order where grains are 1.

    Examples
    --------
    >>> block_shape((1000, 8, 16), (1, 1, 1), 8, 4096)
    (4, 8, 16)
    >>> block_shape((1000, 8, 16), (1, 1, 1), 8, 512)
    (1, 4, 16)
    >>> block_shape((1000, 8, 16), (10, 8, 16), 8, 25_000)
    (20, 8, 16)
    """
    block = [max(1, min(part, length)) for part, length in zip(grain, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        times = max(1, most_bytes // (prod(block) * itemsize))
        block[axis] = max(1, min(shape[axis], block[axis] * times))
        if block[axis] < shape[axis]:
            break
    return tuple(block)


def cuts(shape: Shape, block: Shape, first: int = 0, stop: int | None = None) -> Iterator[Cut]:
    """The blocks of an array in C order, from one number to another.

    Examples
    --------
    >>> [cut[0].start for cut in cuts((10, 3), (4, 3), first=1)]
    [4, 8]
    """
    counts = _counts(shape, block)
    for number in range(first, prod(counts) if stop is None else stop):
        index = np.unravel_index(number, counts) if counts else ()
        starts = [int(i) * part for i, part in zip(index, block, strict=True)]
        yield tuple(
            slice(start, min(start + part, length))
            for start, part, length in zip(starts, block, shape, strict=True)
        )


def count(shape: Shape, block: Shape) -> int:
    """How many blocks there are."""
    return prod(_counts(shape, block))


def cut_size(cut: Cut) -> int:
    """How many numbers there are in a block."""
    return prod(part.stop - part.start for part in cut)


def _counts(shape: Shape, block: Shape) -> Shape:
    return tuple(-(-length // part) for length, part in zip(shape, block, strict=True))


def _create_zarr(path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
    import zarr

    chunks = block_shape(shape, (1,) * len(shape), dtype.itemsize, BLOCK_BYTES)
    try:
        zarr.create_array(str(path), shape=shape, dtype=dtype, chunks=chunks, fill_value=0)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"a Zarr array holds no {dtype}: {error}") from None


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Name the output in whatever the system says against it."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise
