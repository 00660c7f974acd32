"""Files of a table in every format, written without the code that is tested."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import zarr
from pyarrow import parquet

NAMES = list("abcdefgh")


def write_csv(path: Path, array: np.ndarray, names: list[str] | None = None) -> None:
    """Text, with a header."""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([names or NAMES[: array.shape[1]], *array.tolist()])


def write_parquet(path: Path, array: np.ndarray, names: list[str] | None = None, rows: int = 700) -> None:
    """Row groups of some rows."""
    columns = dict(zip(names or NAMES, array.T, strict=False))
    parquet.write_table(pa.table(columns), path, row_group_size=rows)


def write_parts(folder: Path, array: np.ndarray, cuts: list[int], suffix: str) -> None:
    """A folder of files, each with the rows up to a cut."""
    folder.mkdir()
    write = write_csv if suffix == ".csv" else write_parquet
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(array)], strict=True)):
        write(folder / f"part-{number}{suffix}", array[start:stop])


def write_zarr(store: object, array: np.ndarray, chunks: tuple[int, ...], version: int = 3) -> None:
    """A single array."""
    made = zarr.create_array(store, shape=array.shape, chunks=chunks, dtype=array.dtype, zarr_format=version)
    made[:] = array


def write_all(folder: Path, array: np.ndarray) -> dict[str, object]:
    """The same rows in every kind of source, by what a test is called."""
    np.save(folder / "c.npy", array)
    np.save(folder / "fortran.npy", np.asfortranarray(array))
    np.savez(folder / "one.npz", T=array)
    np.savez_compressed(folder / "two.npz", T=array, F=np.asfortranarray(array))
    write_csv(folder / "t.csv", array)
    write_parquet(folder / "t.parquet", array)
    cuts = [len(array) // 3, len(array) // 3 + 1, len(array) // 2]
    write_parts(folder / "csv", array, cuts, ".csv")
    write_parts(folder / "parquet", array, cuts, ".parquet")
    write_zarr(folder / "v2.zarr", array, (100, 3), version=2)
    write_zarr(folder / "v3.zarr", array, (100, 3))
    zipped = zarr.storage.ZipStore(folder / "zipped.zarr.zip", mode="w")
    write_zarr(zipped, array, (64, 2))
    zipped.close()
    group = zarr.create_group(folder / "group.zarr")
    group.create_array("T", data=array, chunks=(128, 4))
    group.create_array("other", data=array[:3])
    paths = [
        *("c.npy", "fortran.npy", "one.npz", "two.npz:T", "two.npz:F", "t.csv", "t.parquet", "csv"),
        *("parquet", "csv/*.csv", "parquet/part-?.parquet", "v2.zarr", "v3.zarr", "zipped.zarr.zip"),
        "group.zarr:T",
    ]
    arrays = {
        "array": array,
        "strided": np.repeat(array, 2, axis=0)[::2],
        "zarr.Array": zarr.open_array(folder / "v3.zarr", mode="r"),
    }
    return {path: str(folder / path) for path in paths} | arrays
