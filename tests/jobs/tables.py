"""Files for the tests, written and read without the code that is tested."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

FORMATS = (".npy", ".npz", ".csv", ".parquet")


def save(path: Path, array: np.ndarray, names: list[str] | None = None) -> Path:
    """Write an array in the format of the suffix; a table calls its columns a, b, c, ... unless told."""
    names = names or list("abcdefghijklmnopqrstuvwxyz"[: array.shape[-1]])
    match path.suffix:
        case ".npy":
            np.save(path, array)
        case ".npz":
            np.savez(path, only=array)
        case ".csv":
            with path.open("w", newline="") as stream:
                csv.writer(stream).writerows([names, *array.tolist()])
        case ".parquet":
            parquet.write_table(pa.table(dict(zip(names, array.T, strict=True))), path)
    return path


def load(path: Path, key: str = "result") -> np.ndarray:
    """Read what `save` or a job wrote; every number of a table as float64."""
    match path.suffix:
        case ".npy":
            return np.load(path)
        case ".npz":
            with np.load(path) as archive:
                assert archive.files == [key]
                return archive[key]
        case ".csv":
            with path.open(newline="") as stream:
                _, *rows = csv.reader(stream)
            truths = {"true": "1", "false": "0"}
            return np.array([[float(truths.get(cell, cell)) for cell in row] for row in rows])
        case _:
            table = parquet.read_table(path)
            return np.column_stack([column.to_numpy() for column in table.columns])


def header(path: Path) -> list[str]:
    """The names of a table's columns."""
    if path.suffix == ".parquet":
        return parquet.read_schema(path).names
    with path.open(newline="") as stream:
        return next(csv.reader(stream))
