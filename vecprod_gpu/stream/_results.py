"""What a job computes, block by block, and how each format takes the blocks."""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np

from .._progress import Bar
from ..errors import BadInputError
from ._output_file import Output
from ._reader import Host, Names, unnamed

_BLOCK_BYTES = 2**22
_MOST_COLUMNS = 2**16


@dataclass(frozen=True)
class Result:
    """An array that comes in parts.

    Attributes
    ----------
    shape : tuple of int
        Shape of the whole.
    dtype : dtype
        Its dtype.
    blocks : iterable of ndarray
        Its parts in C order.
    backend : str
        The backend that computes it.
    names : iterable of str, optional
        What a table calls its columns; every axis but the first is laid out in columns.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Iterable[Host]
    backend: str
    names: Iterable[str] | None = None

    @classmethod
    def whole(cls, values: Host, backend: str, names: Names | None = None) -> "Result":
        """A result that is there already."""
        blocks = (values[cut] for cut in blocks_of(values.shape, values.itemsize))
        return cls(values.shape, values.dtype, blocks, backend, names)


def blocks_of(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Cut an array in C order, by slices along every axis, into parts of 4 MiB at most."""
    if not shape or prod(shape) * itemsize <= _BLOCK_BYTES:
        yield (slice(None),) * len(shape)
        return
    axis, below = len(shape) - 1, itemsize
    while below * shape[axis] <= _BLOCK_BYTES:
        below *= shape[axis]
        axis -= 1
    step = max(1, _BLOCK_BYTES // below)
    inner = (slice(None),) * (len(shape) - axis - 1)
    for index in np.ndindex(shape[:axis]):
        outer = tuple(slice(i, i + 1) for i in index)
        for start in range(0, shape[axis], step):
            yield (*outer, slice(start, start + step), *inner)


def write(stream: IO[bytes], output: Output, result: Result, bar: Bar) -> None:
    """Write a result in the format that the output's suffix names."""
    suffix = output.path.suffix.lower()
    names = _table_names(output, result) if output.is_table else None
    bar.stage(f"writing {output.path.name}", prod(result.shape))
    if names is not None:
        _write_table(stream, suffix, names, result, bar)
    elif suffix == ".npy":
        _write_array(stream, result, bar)
    else:
        with (
            zipfile.ZipFile(stream, "w") as archive,
            archive.open(f"{output.key}.npy", "w", force_zip64=True) as member,
        ):
            _write_array(member, result, bar)


def _write_array(stream: IO[bytes], result: Result, bar: Bar) -> None:
    descr = np.lib.format.dtype_to_descr(result.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": result.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for block in result.blocks:
        stream.write(np.ascontiguousarray(block, result.dtype).data)
        bar.advance(block.size)


def _table_names(output: Output, result: Result) -> Names:
    """A name for each column of a result, which must be one that a table holds."""
    columns = prod(result.shape[1:])
    if result.dtype.kind not in "biuf" or result.dtype.itemsize > 8:
        problem = f"no {result.dtype}"
    elif not 0 < columns <= _MOST_COLUMNS:
        problem = f"no {columns} columns"
    else:
        names = unnamed(columns) if result.names is None else tuple(result.names)
        if len(names) == columns and (result.names or len(result.shape) in (1, 2)):
            return names
        problem = f"no result of shape {result.shape}"
    raise BadInputError(f"{output.path}: a table holds {problem}; write .npy or .npz")


def _write_table(stream: IO[bytes], suffix: str, names: Names, result: Result, bar: Bar) -> None:
    import pyarrow as pa

    # Arrow's text has no float16.
    dtype = np.dtype(np.float32) if result.dtype == np.float16 else result.dtype
    schema = pa.schema([(name, pa.from_numpy_dtype(dtype)) for name in names])
    with _table_writer(stream, suffix, schema) as writer:
        for block in result.blocks:
            columns = np.ascontiguousarray(np.reshape(block, (-1, len(names))).T, dtype)
            arrays = [_as_arrow(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            bar.advance(block.size)


def _as_arrow(column: Host, kind: Any) -> Any:
    """A column as Arrow has it; Arrow's own way from NumPy imports pandas, of 40 MB."""
    import pyarrow as pa

    held = np.packbits(column, bitorder="little") if column.dtype == bool else column
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(held)])


def _table_writer(stream: IO[bytes], suffix: str, schema: Any) -> Any:
    from pyarrow import csv, parquet

    if suffix == ".parquet":
        return parquet.ParquetWriter(stream, schema)
    return csv.CSVWriter(stream, schema, write_options=csv.WriteOptions(quoting_style="needed"))
