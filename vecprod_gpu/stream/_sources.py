"""From what a user names, a path or an array, to the reader of its format."""

from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInputError
from ._csv import CsvFile
from ._npy import ArrayReader, NpyReader, NpzReader
from ._parquet import ParquetFile
from ._paths import (
    ARRAYS,
    SUFFIXES,
    is_folder,
    is_pattern,
    list_of,
    partition_keys,
    require_path,
    require_readable,
    split_key,
    suffix_of,
    table_files,
)
from ._reader import Reader
from ._tables import Partitioned, Table, TableFile
from ._zarr import ZarrReader, is_zarr, open_zarr


def require(module: str) -> None:
    """Raise, naming what brings it, where a module is not installed."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        message = f'{module} is not installed; run: pip install "vecprod-gpu[stream]"'
        raise ModuleNotFoundError(message, name=module) from None


def is_path(source: Any) -> bool:
    """Whether a source is the name of files."""
    return isinstance(source, str | PathLike)


def is_array(source: Any) -> bool:
    """Whether a source is an array, on the host or in chunks of its own, and not batches of them."""
    return is_zarr(source) or (hasattr(source, "__array__") and hasattr(source, "shape"))


def open_reader(source: Any, called: str, header: bool | None = None) -> Reader:
    """The reader of a path or an array; an array goes by the name of its argument.

    Parameters
    ----------
    source : path or array
        What is to be read.
    called : str
        The argument.
    header : bool, optional
        Whether the first line of a CSV file names its columns; by default it must not be all numbers.
    """
    if is_path(source):
        return open_path(fspath(source), header)
    if is_zarr(source):
        return ZarrReader(called, source)
    if is_array(source):
        return ArrayReader(called, np.asarray(source))
    raise BadInputError(f"{called} is a {type(source).__name__}; needed is a path or an array")


def open_path(word: str, header: bool | None) -> Reader:
    """The reader of a file, a folder or a pattern, which is looked at without reading its numbers."""
    require_path(word)
    path, key = split_key(word)
    suffix = suffix_of(path)
    if is_pattern(word) or (is_folder(path) and suffix not in ARRAYS):
        return _open_tables(word, header)
    if suffix not in SUFFIXES:
        raise BadInputError(f"{word}: an input must end in {list_of(SUFFIXES)}")
    require_readable(path, may_be_folder=suffix == ".zarr")
    match suffix:
        case ".npy":
            return NpyReader(word, path)
        case ".npz":
            return NpzReader(word, path, key)
        case ".zarr":
            require("zarr")
            return open_zarr(word, path, key)
        case _:
            return Table(word, [_open_table(path, word, header)])


def _open_tables(word: str, header: bool | None) -> Table:
    files = table_files(word)
    parts = [_open_table(path, str(path), header) for path in files]
    keys = partition_keys(files, None if is_pattern(word) else Path(word))
    return Table(word, [Partitioned(part, of) if of else part for part, of in zip(parts, keys, strict=True)])


def _open_table(path: Path, file: str, header: bool | None) -> TableFile:
    require("pyarrow")
    require_readable(path)
    return CsvFile(file, path, header) if suffix_of(path) == ".csv" else ParquetFile(file, path)
