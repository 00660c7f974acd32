"""Rows read in batches are those of the source, from any row on and however small the batches."""

import json
import mmap
import os
from dataclasses import fields
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import zarr
from pyarrow import parquet

from tests.stream.stores import write_all, write_csv, write_parquet, write_zarr
from vecprod_gpu import CoMoments
from vecprod_gpu.errors import ArgumentError, BadInputError
from vecprod_gpu.stream import _zarr
from vecprod_gpu.stream._memory import batch_bytes, parse_memory, resident_bytes
from vecprod_gpu.stream._observations import Observations, open_observations
from vecprod_gpu.stream._sources import open_reader
from vecprod_gpu.stream._vectors import open_vectors

ROWS, COLUMNS = 2501, 5
KINDS = [
    *("c.npy", "fortran.npy", "one.npz", "two.npz:T", "two.npz:F", "t.csv", "t.parquet", "csv", "parquet"),
    *("csv/*.csv", "parquet/part-?.parquet", "v2.zarr", "v3.zarr", "zipped.zarr.zip", "group.zarr:T"),
    *("array", "strided", "zarr.Array"),
]


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).normal(size=(ROWS, COLUMNS))


@pytest.fixture(scope="module")
def sources(table, tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("stores"), table)


def rows_of(observations: Observations, first_row: int = 0, most_bytes: int = 1 << 20) -> list[np.ndarray]:
    """X, y and weights of all batches, which must follow each other."""
    parts, row = [], first_row
    for batch in observations.batches(first_row, most_bytes):
        assert batch.first_row == row
        assert len(batch.X) > 0
        parts.append([part for part in (batch.X, batch.y, batch.sample_weight) if part is not None])
        assert {len(part) for part in parts[-1]} == {len(batch.X)}
        row += len(batch.X)
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_hold_every_row_once(kind, sources, table):
    observations = open_observations(sources[kind], target=-1, sample_weight=None, columns=[3, 0, 1])
    assert observations.rows == (None if "csv" in kind else ROWS)
    assert observations.width == 3
    assert observations.resumable
    for most_bytes in (1, 3000, 1 << 20) if kind in ("c.npy", "parquet") else (3000, 1 << 20):
        X, y = rows_of(observations, most_bytes=most_bytes)
        np.testing.assert_array_equal(X, table[:, [3, 0, 1]])
        np.testing.assert_array_equal(y, table[:, -1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first_row", [1, ROWS // 3, ROWS // 3 + 1, 1000, ROWS - 1])
def test_batches_begin_at_any_row(kind, first_row, sources, table):
    observations = open_observations(sources[kind], target="4" if isinstance(sources[kind], str) else 4)
    X, y = rows_of(observations, first_row, 4096)
    np.testing.assert_array_equal(X, table[first_row:, :4])
    np.testing.assert_array_equal(y, table[first_row:, 4])
    assert list(observations.batches(ROWS, 4096)) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [None, "4,0,1"])
def test_vectors_are_read_by_ranges(kind, columns, sources, table):
    vectors = open_vectors(sources[kind], columns=columns)
    wanted = table if columns is None else table[:, [4, 0, 1]]
    assert (vectors.shape, vectors.dtype) == (wanted.shape, wanted.dtype)
    for start, stop in [(0, 10), (10, 900), (10, 900), (2000, ROWS), (5, 7)]:
        np.testing.assert_array_equal(vectors.read(start, stop), wanted[start:stop])
        vectors.release(start, stop)
    np.testing.assert_array_equal(vectors.read(5, 7), wanted[5:7])


@pytest.mark.parametrize("kind", ["c.npy", "one.npz", "v3.zarr"])
def test_vectors_may_have_any_axes(kind, tmp_path):
    cube = np.arange(3 * 4 * 5.0).reshape(3, 4, 5)
    for array in (cube, cube[0, 0]):
        np.save(tmp_path / "c.npy", array)
        np.savez(tmp_path / "one.npz", array)
        write_zarr(zarr.storage.LocalStore(tmp_path / f"v3.{array.ndim}.zarr"), array, (2,) * array.ndim)
        name = f"v3.{array.ndim}.zarr" if kind == "v3.zarr" else kind
        vectors = open_vectors(str(tmp_path / name))
        assert vectors.shape == array.shape
        np.testing.assert_array_equal(vectors.read(1, 3), array if array.ndim == 1 else array[1:3])


@pytest.mark.parametrize("shape", [(), (0, 3), (4, 0)])
def test_stores_of_no_rows_or_no_axes(shape, tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=shape, dtype=float, chunks=(2,) * len(shape))
    reader = open_reader(tmp_path / "a.zarr", "X")
    (read,) = reader.read(None)
    assert read.shape == shape
    if shape:
        (taken,) = reader.cursor([None], 0, 10).take(10)
        assert taken.shape == shape


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_give_the_same_bits(kind, sources, table):
    in_memory = CoMoments.from_arrays(table[:, :4], table[:, 4])
    streamed = CoMoments()
    for batch in open_observations(sources[kind], target=4).batches(0, 10_000):
        streamed.update(batch.X, batch.y)
    for part in fields(in_memory.summary):
        streamed_part, part_in_memory = (getattr(one.summary, part.name) for one in (streamed, in_memory))
        np.testing.assert_array_equal(streamed_part, part_in_memory)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_at_once(kind, sources, table):
    batch = open_observations(sources[kind], target=4).read()
    np.testing.assert_array_equal(np.column_stack([batch.X, batch.y]), table)


def test_targets_and_weights_of_their_own(sources, table, tmp_path):
    weights = np.arange(1.0, ROWS + 1)
    write_csv(tmp_path / "y.csv", table[:, :2])
    write_parquet(tmp_path / "w.parquet", weights[:, None], rows=333)
    observations = open_observations(
        sources["v2.zarr"], target=tmp_path / "y.csv", sample_weight=str(tmp_path / "w.parquet")
    )
    X, y, sample_weight = rows_of(observations, 77, 5000)
    np.testing.assert_array_equal(X, table[77:])
    np.testing.assert_array_equal(y, table[77:, :2])
    np.testing.assert_array_equal(sample_weight, weights[77:])
    assert observations.target_names() == ("a", "b")
    in_memory = open_observations(table, target=table[:, 0], sample_weight=weights)
    np.testing.assert_array_equal(rows_of(in_memory)[2], weights)


def test_a_mapped_file_is_not_copied(sources):
    observations = open_observations(sources["c.npy"], target=0, columns=[1, 3])
    batch = next(observations.batches(0, 1 << 20))
    for array in (batch.X, batch.y):
        while not isinstance(array, mmap.mmap):
            assert array.base is not None
            array = array.base


def test_batches_begin_where_segments_of_sums_do(sources):
    starts = [batch.first_row for batch in open_observations(sources["t.parquet"]).batches(100, 40_000)]
    step = starts[-1] - starts[-2]
    assert step & (step - 1) == 0
    assert all(start % step == 0 for start in starts[1:])


class TestFolders:
    def test_partitions_are_columns(self, tmp_path, table):
        for number, year in enumerate((2023, 2024)):
            folder = tmp_path / f"year={year}" / "place=a%20b"
            folder.mkdir(parents=True)
            write_parquet(folder / "part.parquet", table[number * 100 : number * 100 + 100, :2])
        (tmp_path / "_SUCCESS").touch()
        (tmp_path / "_ignored.parquet").touch()
        observations = open_observations(tmp_path, columns=["b", "year"])
        assert observations.rows == 200
        (X,) = rows_of(observations, 50, 1000)
        np.testing.assert_array_equal(X[:, 0], table[50:200, 1])
        np.testing.assert_array_equal(X[:, 1], np.repeat([2023, 2024], [50, 100]))
        (only,) = rows_of(open_observations(tmp_path, columns=["year"]), 99)
        assert only[:, 0].tolist() == [2023] + [2024] * 100

    def test_partitions_of_text_without_a_header(self, tmp_path):
        for year in (2020, 2021):
            (tmp_path / f"year={year}").mkdir()
            (tmp_path / f"year={year}" / "a.csv").write_text("1,2,3\n4,9,1\n")
        years = [[2020], [2020], [2021], [2021]]
        for columns, wanted in (
            ("year", years),
            ("0", [[1], [4], [1], [4]]),
            ("2,1", [[3, 2], [1, 9], [3, 2], [1, 9]]),
            ("-1", years),
        ):
            (X,) = rows_of(open_observations(tmp_path, header=False, columns=columns))
            assert X.tolist() == wanted
        X, y = rows_of(open_observations(tmp_path, header=False, target=0))
        np.testing.assert_array_equal(X, np.column_stack([[2, 9, 2, 9], [3, 1, 3, 1], years]))
        assert y.tolist() == [1, 4, 1, 4]
        observations = open_observations(tmp_path, header=False, target="year")
        assert observations.names == ("x0", "x1", "x2")  # as a result calls columns that have none
        assert observations.target_names() == ("year",)
        vectors = open_vectors(tmp_path, header=False)
        assert vectors.names == ("x0", "x1", "x2", "year")
        assert vectors.read(0, 1).tolist() == [[1, 2, 3, 2020]]

    def test_columns_go_by_their_names(self, tmp_path, table):
        (tmp_path / "parts").mkdir()
        write_csv(tmp_path / "parts" / "0.csv", table[:10, :3], ["a", "b", "c"])
        write_csv(tmp_path / "parts" / "1.csv", table[10:20, [2, 3, 0, 1]], ["c", "more", "a", "b"])
        (X,) = rows_of(open_observations(tmp_path / "parts"))
        np.testing.assert_array_equal(X, table[:20, :3])

    def test_wider_numbers_in_a_later_file(self, tmp_path):
        (tmp_path / "parts").mkdir()
        for number, kind in enumerate((np.int32, np.float32, np.float64)):
            write_parquet(
                tmp_path / "parts" / f"{number}.parquet", np.full((3, 2), number + 0.1).astype(kind)
            )
        (X,) = rows_of(open_observations(tmp_path / "parts"))
        wanted = np.repeat([0, np.float32(1.1), 2.1], 3)
        assert X.dtype == np.float64
        np.testing.assert_array_equal(X, np.column_stack([wanted, wanted]))


class TestTables:
    def test_empty_cells_are_nan(self, tmp_path):
        columns = {
            "half": pa.array(np.array([1, 2, 3], np.float16), mask=np.array([False, True, False])),
            "whole": pa.array([1, None, 3]),
            "part": pa.array([1.5, 2.5, None]),
            "truth": pa.array([True, None, False]),
            "none": pa.nulls(3),
            "exact": pa.array([1, 2, None]).cast(pa.decimal128(30, 2)),
            "coded": pa.array([4, 4, 5]).dictionary_encode(),
        }
        parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
        wanted = np.array([[1, 1, 1.5, 1, np.nan, 1, 4], [np.nan, np.nan, 2.5, np.nan, np.nan, 2, 4]])
        wanted = np.vstack([wanted, [3, 3, np.nan, 0, np.nan, np.nan, 5]])
        (X,) = rows_of(open_observations(tmp_path / "t.parquet"))
        np.testing.assert_array_equal(X, wanted)
        for names in (None, "whole", "truth,coded"):
            vectors = open_vectors(tmp_path / "t.parquet", columns=names)
            read = vectors.read(0, 3)
            assert read.dtype == vectors.dtype == np.float64
        whole = open_vectors(tmp_path / "t.parquet", columns="coded")
        assert whole.dtype == whole.read(0, 2).dtype == np.int64

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_names_that_are_there_twice(self, suffix, tmp_path, table):
        path = tmp_path / f"t{suffix}"
        if suffix == ".csv":
            write_csv(path, table[:9, :3], ["x", "y", "x"])
        else:
            columns = [pa.array(column) for column in table[:9, :3].T]
            parquet.write_table(pa.Table.from_arrays(columns, ["x", "y", "x"]), path)
        X, y = rows_of(open_observations(path, target=0, columns=[2, "y"]))
        np.testing.assert_array_equal(np.column_stack([y, X]), table[:9, [0, 2, 1]])

    @pytest.mark.parametrize("first_row", [0, 1, 2, 3, 4])
    def test_text_as_people_write_it(self, first_row, tmp_path):
        text = '\ufeff\n"name\nof it",y,truth\r\n\r\n"a ""b""\n\nc",1,true\r\n\n,NA,false\n'
        text += "z, 3 ,true\n-,4e0,false\n"
        (tmp_path / "t.csv").write_bytes(text.encode())
        observations = open_observations(tmp_path / "t.csv", columns=["y", "truth"])
        parts = rows_of(observations, first_row)
        wanted = np.array([[1, 1], [np.nan, 0], [3, 1], [4, 0]])[first_row:]
        np.testing.assert_array_equal(parts[0] if parts else np.empty((0, 2)), wanted)

    def test_text_without_a_header(self, tmp_path):
        (tmp_path / "t.csv").write_text("1,2\n3,4\n")
        observations = open_observations(tmp_path / "t.csv", header=False, target=1)
        assert [part.tolist() for part in rows_of(observations)] == [[[1], [3]], [2, 4]]

    def test_whole_numbers_stay_whole_for_products(self, tmp_path):
        (tmp_path / "t.csv").write_text("a,b\n1,2\n3,9007199254740993\n")
        vectors = open_vectors(tmp_path / "t.csv")
        assert vectors.dtype == np.int64
        assert vectors.read(1, 2).tolist() == [[3, 9007199254740993]]


class TestTheIndexOfADataFrame:
    """One without a name is written as a column by pandas where rows were left out, and by Dask."""

    HIDDEN = "__index_level_0__"
    ROWS = [[1.0, 1.0], [4.0, 16.0], [5.0, 25.0]]  # noqa: RUF012

    @pytest.fixture
    def file(self, tmp_path):
        frame = pd.DataFrame({"a": np.arange(6.0), "b": np.arange(6.0) ** 2})
        frame.loc[[1, 4, 5]].to_parquet(tmp_path / "t.parquet")
        assert self.HIDDEN in parquet.read_schema(tmp_path / "t.parquet").names
        return tmp_path / "t.parquet"

    def check(self, source, names, values):
        observations, vectors = open_observations(source), open_vectors(source)
        assert observations.names == vectors.names == names
        assert (vectors.shape, vectors.dtype) == (np.shape(values), np.asarray(values).dtype)
        for X in (*rows_of(observations), observations.read().X, vectors.read(0, len(values))):
            np.testing.assert_array_equal(X, values)

    def test_is_no_column(self, file):
        self.check(file, ("a", "b"), self.ROWS)
        X, y = rows_of(open_observations(file, target=-1, sample_weight=None))
        assert (X.tolist(), y.tolist()) == ([[1], [4], [5]], [1, 16, 25])
        with pytest.raises(BadInputError, match=r"no column '2'; it has 'a', 'b'$"):
            open_observations(file, columns="2")

    def test_is_one_by_its_name(self, file):
        observations = open_observations(file, columns=[self.HIDDEN, "b"], target="a")
        assert observations.names == (self.HIDDEN, "b")
        X, y = rows_of(observations)
        assert (X.tolist(), y.tolist()) == (self.ROWS, [1, 4, 5])
        assert open_vectors(file, columns=self.HIDDEN).read(0, 3).tolist() == [[1], [4], [5]]
        text = pd.DataFrame({"a": [1.0, 2.0]}, index=["x", "y"])
        text.to_parquet(file)
        with pytest.raises(BadInputError, match=f"column '{self.HIDDEN}' is not numeric"):
            open_observations(file, columns=self.HIDDEN)
        self.check(file, ("a",), [[1.0], [2.0]])

    def test_that_has_a_name_is_a_column(self, file):
        pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index([7, 8], name="id")).to_parquet(file)
        assert open_observations(file).names == ("a", "id")

    @pytest.mark.parametrize("names", [("a", "b"), ("a", "a")])
    def test_may_stand_before_the_columns(self, names, file):
        written = parquet.read_table(file)
        columns = [written[name] for name in (self.HIDDEN, "a", "b")]
        schema = pa.schema([(self.HIDDEN, pa.int64()), *((name, pa.float64()) for name in names)])
        schema = schema.with_metadata(written.schema.metadata)
        parquet.write_table(pa.Table.from_arrays(columns, schema=schema), file)
        vectors = open_vectors(file)
        assert vectors.names == names
        assert vectors.read(0, 3).tolist() == self.ROWS
        assert open_vectors(file, columns=["1", self.HIDDEN]).read(1, 2).tolist() == [[16, 4]]

    def test_in_folders_that_name_columns(self, file, tmp_path):
        rows = [[*row, year] for year in (2020, 2021) for row in self.ROWS]
        for year in (2020, 2021):
            (tmp_path / f"parts/year={year}").mkdir(parents=True)
            (tmp_path / f"parts/year={year}/t.parquet").write_bytes(file.read_bytes())
        self.check(tmp_path / "parts", ("a", "b", "year"), rows)
        (X,) = rows_of(open_observations(tmp_path / "parts", columns=["year", self.HIDDEN]))
        assert X.tolist() == [[year, a] for a, _, year in rows]

    def test_of_dask(self, tmp_path):
        frame = dd.from_pandas(pd.DataFrame({"a": np.arange(6.0)}), npartitions=2)
        frame.to_parquet(tmp_path / "parts", write_index=True)
        self.check(tmp_path / "parts", ("a",), np.arange(6.0)[:, None])

    def test_of_metadata_that_make_no_sense(self, file):
        for text in (b"{", b"[]", b'{"index_columns": 3, "columns": [7]}'):
            table = pa.table({"a": [1.0, 2.0]}).replace_schema_metadata({"pandas": text})
            parquet.write_table(table, file)
            assert open_observations(file).names == ("a",)


class TestBatchesOfTheCaller:
    @pytest.mark.parametrize("parts", [1, 2, 3])
    def test_are_read_in_order(self, parts, table):
        def batch(start, stop):
            rows = (table[start:stop, :3], table[start:stop, 3], np.abs(table[start:stop, 4]))[:parts]
            return rows if parts > 1 else rows[0]

        batches = [batch(0, 100), batch(100, 100), batch(100, 1000), batch(1000, ROWS)]
        wanted = (table[:, :3], table[:, 3], np.abs(table[:, 4]))[:parts]
        observations = open_observations(batches)
        assert observations.resumable
        assert observations.width == 3
        for first_row in (0, 99, 100, 1700):
            for part, whole in zip(rows_of(observations, first_row, 2000), wanted, strict=True):
                np.testing.assert_array_equal(part, whole[first_row:])

    def test_of_a_generator_are_read_once(self, table):
        def generate():
            buffer = np.empty((100, COLUMNS))
            for start in range(0, 500, 100):
                buffer[:] = table[start : start + 100]
                yield buffer

        observations = open_observations(generate())
        assert not observations.resumable
        assert observations.width == COLUMNS
        batches = list(observations.batches(0, 1 << 20))  # all of them held, over the caller's one buffer
        np.testing.assert_array_equal(np.concatenate([batch.X for batch in batches]), table[:500])


class TestFingerprints:
    @pytest.mark.parametrize("kind", KINDS)
    def test_are_json_and_repeat(self, kind, sources):
        first, second = (open_observations(sources[kind], target=1).fingerprint() for _ in range(2))
        assert json.loads(json.dumps(first)) == second

    def test_tell_columns_apart(self, sources):
        prints = [open_observations(sources["c.npy"], target=target).fingerprint() for target in (0, 1)]
        assert prints[0] != prints[1]

    @pytest.mark.parametrize("kind", ["c.npy", "t.csv", "t.parquet"])
    def test_tell_a_changed_file(self, kind, sources, tmp_path):
        path = tmp_path / Path(kind).name
        path.write_bytes(Path(sources[kind]).read_bytes())
        before = open_vectors(path).fingerprint()
        times = path.stat()
        contents = bytearray(path.read_bytes())
        contents[-20:-19] = b"7"
        if kind != "t.parquet":
            path.write_bytes(contents)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        else:
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
        assert open_vectors(path).fingerprint() != before

    def test_tell_changed_arrays(self, table):
        other = table.copy()
        other[-1, 0] += 1
        assert open_observations(table).fingerprint() != open_observations(other).fingerprint()


class TestMemory:
    @pytest.mark.parametrize(
        ("text", "nbytes"),
        [("1GB", 10**9), ("512MiB", 2**29), ("1.5 kb", 1500), ("2g", 2 * 10**9), ("77", 77), (4096, 4096)],
    )
    def test_amounts(self, text, nbytes):
        assert parse_memory(text) == nbytes

    @pytest.mark.parametrize("text", ["", "GB", "1 XB", "-1GB", "0", 0, "0.0001k", "1e9", "1 G B", "nan"])
    def test_no_amounts(self, text):
        with pytest.raises(ArgumentError, match="memory is"):
            parse_memory(text)

    def test_an_archive_in_the_order_of_fortran_is_held_whole_and_says_so(self, sources):
        held = resident_bytes()
        observations = open_observations(sources["two.npz:F"])
        assert observations.held_bytes == ROWS * COLUMNS * 8
        with pytest.raises(
            ArgumentError, match=r"two\.npz:F is in Fortran's order and held whole; save it in C's"
        ):
            batch_bytes(held + 1000, 3, observations.held_bytes, why=observations.why_held)

    @pytest.mark.parametrize(("columns", "wide"), [([3], 2000), (None, 2000), (None, 3)])
    def test_pieces_of_a_store_are_small_whatever_is_taken(self, columns, wide, tmp_path, monkeypatch):
        monkeypatch.setattr(_zarr, "PIECE_BYTES", 1 << 16)
        read, part = [], _zarr.ZarrReader.part
        monkeypatch.setattr(
            _zarr.ZarrReader, "part", lambda self, *rows: read.append(part(self, *rows)) or read[-1]
        )
        values = np.arange(200.0 * wide).reshape(200, wide)
        write_zarr(tmp_path / "a.zarr", values, (2, min(wide, 100)))
        (X,) = rows_of(open_observations(tmp_path / "a.zarr", columns=columns))
        np.testing.assert_array_equal(X, values[:, columns or slice(None)])
        assert max(array.nbytes for array in read) <= 1 << 16
        assert len(read) == max(1, values.nbytes // 64000)

    def test_a_batch_is_a_share_of_what_is_left(self):
        held = resident_bytes()
        assert held > 1 << 20
        assert batch_bytes(None, 3) == batch_bytes(held + 2**40, 3)
        assert batch_bytes(held + 300 * 2**20, 30) < 12 * 2**20
        with pytest.raises(ArgumentError, match="taken already"):
            batch_bytes(held // 2, 3)
