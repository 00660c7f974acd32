"""What is wrong with a source ends in one line that names the file and the place."""

import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zarr
from pyarrow import parquet

from tests.stream.stores import write_csv, write_parquet, write_parts, write_zarr
from tests.test_archives import damaged
from vecprod_gpu import CoMoments
from vecprod_gpu.errors import BadInputError, NotFiniteError
from vecprod_gpu.stream import _zarr
from vecprod_gpu.stream._observations import open_observations
from vecprod_gpu.stream._vectors import open_vectors

TABLE = np.random.default_rng(0).normal(size=(3000, 3))


def refusal(source: object, first_row: int = 0, most_bytes: int = 20_000, **options: object) -> str:
    """The one line in which reading a source must end."""
    with pytest.raises(BadInputError) as caught:
        for _ in open_observations(source, **options).batches(first_row, most_bytes):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut(path: Path, nbytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-nbytes])


class TestFilesThatAreNotWhole:
    def test_an_array_cut_short(self, tmp_path):
        np.save(tmp_path / "a.npy", TABLE)
        cut(tmp_path / "a.npy", 1)
        assert "a.npy is no whole .npy file" in refusal(tmp_path / "a.npy")

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_an_array_cut_short_while_it_is_read(self, order, tmp_path):
        """Pages of a map that the file does not have any more end the process when they are touched."""
        np.save(tmp_path / "a.npy", np.asarray(TABLE, order=order))
        batches = open_observations(tmp_path / "a.npy").batches(0, 20_000)
        next(batches)
        os.truncate(tmp_path / "a.npy", 30_000)
        with pytest.raises(
            BadInputError, match=r"a\.npy was cut short while it was read: it has 30000 bytes"
        ):
            next(batches)
        vectors = tmp_path / "b.npy"
        np.save(vectors, TABLE)
        opened = open_vectors(vectors)
        os.truncate(vectors, 30_000)
        with pytest.raises(BadInputError, match=r"b\.npy was cut short"):
            opened.read(2000, 2001)

    def test_a_member_of_an_archive_that_was_damaged(self, tmp_path):
        np.savez(tmp_path / "a.npz", TABLE)
        contents = bytearray((tmp_path / "a.npz").read_bytes())
        contents[40_000] ^= 255
        (tmp_path / "a.npz").write_bytes(contents)
        line = refusal(tmp_path / "a.npz")
        assert "a.npz is no whole .npz file" in line
        assert "CRC" in line

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_an_archive_damaged_at_random(self, save, tmp_path, rng):
        save(tmp_path / "a.npz", TABLE[:20])
        whole = (tmp_path / "a.npz").read_bytes()
        for _ in range(600):
            (tmp_path / "a.npz").write_bytes(damaged(whole, whole.index(b"PK\x01\x02"), rng))
            for read in (
                lambda: open_observations(tmp_path / "a.npz").read().X,
                lambda: next(open_observations(tmp_path / "a.npz").batches(0, 20_000)).X,
            ):
                with suppress(BadInputError):
                    np.testing.assert_array_equal(read(), TABLE[:20])

    def test_a_member_that_is_short_of_rows(self, tmp_path):
        header = {"descr": "<f8", "fortran_order": False, "shape": (3000, 3)}
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("a.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)
            member.write(TABLE[:1500].tobytes())
        assert "a.npz is no whole .npz file" in refusal(tmp_path / "a.npz")

    def test_a_footer_that_is_gone(self, tmp_path):
        write_parts(tmp_path / "parts", TABLE, [1000, 2000], ".parquet")
        cut(tmp_path / "parts" / "part-1.parquet", 30)
        assert "part-1.parquet is no whole Parquet file" in refusal(tmp_path / "parts")

    def test_a_page_that_is_damaged(self, tmp_path):
        write_parts(tmp_path / "parts", TABLE, [1000, 2000], ".parquet")
        path = tmp_path / "parts" / "part-1.parquet"
        at = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
        contents = bytearray(path.read_bytes())
        contents[at : at + 1000] = bytes(1000)
        path.write_bytes(contents)
        line = refusal(tmp_path / "parts")
        assert "part-1.parquet is no whole Parquet file" in line

    def test_a_chunk_that_is_damaged(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_zarr, "PIECE_BYTES", 100 * 3 * 8)
        write_zarr(tmp_path / "a.zarr", TABLE, (100, 3))
        (tmp_path / "a.zarr" / "c" / "7" / "0").write_bytes(b"no chunk")
        line = refusal(tmp_path / "a.zarr")
        assert "a.zarr: rows 700 to 800 cannot be read" in line

    @pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
    def test_what_is_no_store(self, suffix, tmp_path):
        (tmp_path / f"a{suffix}").write_bytes(b"no store")
        assert f"a{suffix} is no Zarr store" in refusal(tmp_path / f"a{suffix}")


class TestThatNothingIsThere:
    @pytest.mark.parametrize(
        ("name", "fragment"),
        [
            ("empty", "empty holds no file that ends in .csv or .parquet"),
            ("*.parquet", "no file matches"),
            ("missing.npy", "missing.npy: No such file"),
            ("missing.zarr", "missing.zarr: No such file"),
            ("mixed", "mixed holds files of .csv or .parquet both"),
            ("folder.npy", "folder.npy: it is a folder"),
            ("t.txt", "t.txt: an input must end in .npy, .npz, .csv, .parquet or .zarr"),
            ("group.zarr", "group.zarr holds a, b; choose one as"),
            ("group.zarr:c", "holds a, b; there is no array of that key"),
        ],
    )
    def test_at_a_path(self, name, fragment, tmp_path):
        for folder in ("empty", "mixed", "folder.npy"):
            (tmp_path / folder).mkdir()
        for file in ("t.txt", "mixed/a.csv", "mixed/b.parquet"):
            (tmp_path / file).touch()
        group = zarr.create_group(tmp_path / "group.zarr")
        for key in "ab":
            group.create_array(key, data=TABLE[:3])
        assert fragment in refusal(str(tmp_path / name))

    def test_without_a_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_csv(tmp_path / "t.csv", TABLE[:3])
        assert refusal("") == "the name of a file is empty"

    @pytest.mark.parametrize("word", ["s3://bucket/t.parquet", "https://host/a/*.csv", "gs://b/X.zarr:key"])
    def test_at_an_address(self, word):
        assert refusal(word) == f"{word} is a URL; needed is a file or a folder of this machine"

    def test_that_may_be_read(self, tmp_path, monkeypatch):
        write_parts(tmp_path / "parts", TABLE, [1000], ".csv")
        denied = str(tmp_path / "parts" / "part-1.csv")
        monkeypatch.setattr("vecprod_gpu.stream._paths.os.access", lambda path, mode: str(path) != denied)
        assert refusal(tmp_path / "parts") == f"cannot read {denied}: permission denied"

    @pytest.mark.parametrize(("module", "file"), [("pyarrow", "t.csv"), ("zarr", "t.zarr")])
    def test_a_library(self, module, file, tmp_path):
        write_csv(tmp_path / "t.csv", TABLE[:3])
        write_zarr(tmp_path / "t.zarr", TABLE, (100, 3))
        script = f"import sys; sys.modules[{module!r}] = None\n" + (
            "from vecprod_gpu.stream._observations import open_observations\n"
            f"open_observations({str(tmp_path / file)!r})"
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert f'{module} is not installed; run: pip install "vecprod-gpu[stream]"' in ended.stderr

    def test_in_a_table(self, tmp_path):
        (tmp_path / "t.csv").write_text("a,b\n")
        assert "t.csv has no rows" in refusal(tmp_path / "t.csv", target="a")
        assert list(open_observations(tmp_path / "t.csv").batches(0, 100)) == []

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_any_more(self, suffix, tmp_path):
        write_parts(tmp_path / "parts", TABLE, [1000], suffix)
        observations = open_observations(tmp_path / "parts", target="a")
        batches = observations.batches(0, 5000)
        next(batches)
        (tmp_path / "parts" / f"part-1{suffix}").unlink()
        with pytest.raises(BadInputError, match=rf"cannot read .*part-1{suffix}: No such file"):
            list(batches)

    def test_in_an_iterable(self):
        assert "no batches" in refusal([])


class TestColumnsThatChangeHalfWay:
    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_by_one_that_is_missing(self, suffix, tmp_path):
        write_parts(tmp_path / "parts", TABLE, [1000], suffix)
        write = write_csv if suffix == ".csv" else write_parquet
        write(tmp_path / "parts" / f"part-2{suffix}", TABLE[:, :2], ["a", "c"])
        line = refusal(tmp_path / "parts")
        assert f"part-2{suffix} has no column 'b'" in line
        assert f"part-0{suffix}" in line
        assert list(open_observations(tmp_path / "parts", columns=["c"]).batches(0, 1 << 20))

    def test_by_another_type(self, tmp_path):
        write_parts(tmp_path / "parts", TABLE, [1000], ".parquet")
        changed = pa.table({"a": TABLE[:, 0], "b": pa.array(["x"] * 3000), "c": TABLE[:, 2]})
        parquet.write_table(changed, tmp_path / "parts" / "part-1.parquet")
        line = refusal(tmp_path / "parts")
        assert "part-1.parquet: column 'b' is string, but double in" in line
        assert "part-0.parquet" in line

    def test_by_a_number_of_columns_without_names(self, tmp_path):
        write_parts(tmp_path / "parts", TABLE, [1000], ".csv")
        (tmp_path / "parts" / "part-1.csv").write_text("1,2\n")
        assert "part-1.csv has 2 columns, but" in refusal(tmp_path / "parts", header=False)

    @pytest.mark.parametrize("row", ["1,2", "1,2,3,4"])
    def test_by_such_a_number_in_folders_that_name_columns(self, row, tmp_path):
        for year, text in ((2020, "1,2,3\n"), (2021, f"{row}\n")):
            (tmp_path / f"year={year}").mkdir()
            (tmp_path / f"year={year}" / "a.csv").write_text(text)
        line = refusal(tmp_path, header=False)
        assert f"year=2021/a.csv has {row.count(',') + 2} columns, but" in line
        assert "a.csv has 4" in line


class TestTextAmongNumbers:
    @pytest.mark.parametrize("first_row", [0, 2000])
    def test_far_down_a_later_file(self, first_row, tmp_path):
        write_parts(tmp_path / "parts", TABLE, [1000], ".csv")
        numbers = "1,2.5,3\n" * 300_000
        (tmp_path / "parts" / "part-2.csv").write_text(f"a,b,c\n{numbers}1,2,x3\n{numbers}")
        line = refusal(tmp_path / "parts", first_row, 1 << 20)
        assert "part-2.csv: column 'c' is not numeric: data row 300001 (row 1 is the first after" in line
        assert "'x3'" in line

    def test_in_too_many_cells(self, tmp_path):
        numbers = "1,2.5\n" * 300_000
        (tmp_path / "t.csv").write_text(f"a,b\n{numbers}1,2,3\n{numbers}")
        assert "t.csv: data row 300001 " in refusal(tmp_path / "t.csv")
        assert "has 3 cells, not 2" in refusal(tmp_path / "t.csv")

    @pytest.mark.parametrize(("cell", "shown"), [(b"1'2", '"1\'2"'), (b"1\xff", "'1\ufffd'")])
    def test_is_shown_as_text(self, cell, shown, tmp_path):
        (tmp_path / "t.csv").write_bytes(b"a,b\n1,2\n3," + cell + b"\n")
        assert f"holds {shown};" in refusal(tmp_path / "t.csv")
        with pytest.raises(BadInputError) as caught:
            open_vectors(tmp_path / "t.csv")
        assert f"holds {shown};" in str(caught.value)

    @pytest.mark.parametrize("first_row", [0, 1000])
    @pytest.mark.parametrize("long", ["1" * 3_000_000, '"1\n' + "1,2\n" * 1_000_000])
    def test_in_a_line_that_is_too_long(self, long, first_row, tmp_path):
        (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 500_000 + f"{long},2\n" + "1,2\n" * 500_000)
        line = refusal(tmp_path / "t.csv", first_row)
        assert "t.csv: a row has more than 2097152 bytes, the most that is read" in line
        assert "quotation mark" in line

    def test_without_a_header_in_folders_that_name_columns(self, tmp_path):
        (tmp_path / "year=2020").mkdir()
        (tmp_path / "year=2020" / "a.csv").write_text("1,2,3\n4,five,6\n")
        line = refusal(tmp_path, header=False)
        assert "a.csv: column 1 is not numeric: row 2 (the first is row 1) holds 'five'" in line

    def test_in_a_column_of_texts(self, tmp_path):
        table = pa.table({"a": [1.0, 2.0], "b": ["1", "zwei"]})
        parquet.write_table(table, tmp_path / "t.parquet")
        line = refusal(tmp_path / "t.parquet")
        assert "column 'b' is not numeric: row 2 (the first is row 1) holds 'zwei'" in line

    def test_in_the_name_of_a_folder(self, tmp_path):
        (tmp_path / "place=Rome").mkdir()
        write_parquet(tmp_path / "place=Rome" / "t.parquet", TABLE)
        line = refusal(tmp_path)
        assert "t.parquet: column 'place' is not numeric" in line
        assert "'Rome'" in line


class TestNumbersThatAreNotFinite:
    """The sums raise with the index of the row among all; the place is that in the file of a folder."""

    @pytest.mark.parametrize(
        ("source", "argument", "words"),
        [
            ("a.npy", "X", "a.npy: [2345, 1] is nan"),
            ("a.zarr", "X", "a.zarr: [2345, 1] is nan"),
            ("parquet", "X", "part-1.parquet: column 'c', row 1346 (the first is row 1) is empty or NaN"),
            (
                "csv",
                "X",
                "part-1.csv: column 'c', data row 1346 (row 1 is the first after the header) is empty",
            ),
            (
                "csv",
                "y",
                "part-1.csv: column 'c', data row 1346 (row 1 is the first after the header) is empty",
            ),
            ("array", "y", "y: [2345] is nan"),
            ("batches", "X", "X of batch 2: [345, 2] is nan"),
        ],
    )
    @pytest.mark.parametrize("first_row", [0, 1500])
    def test_are_placed(self, source, argument, words, first_row, tmp_path):
        table = TABLE.copy()
        table[2345, 2] = np.nan
        np.save(tmp_path / "a.npy", table[:, 1:])
        write_zarr(tmp_path / "a.zarr", table[:, 1:], (100, 2))
        for suffix in ("csv", "parquet"):
            write_parts(tmp_path / suffix, table, [1000], f".{suffix}")
        opened = {
            "array": lambda: open_observations(table[:, :2], target=table[:, 2]),
            "batches": lambda: open_observations([table[:1000], table[1000:2000], table[2000:]]),
        }.get(source, lambda: open_observations(tmp_path / source, target="c" if argument == "y" else None))
        observations = opened()
        moments = CoMoments()
        if first_row:
            moments.update(
                np.zeros((first_row, observations.width)), *([np.zeros(first_row)] * (argument == "y"))
            )

        def read() -> object:
            for batch in observations.batches(first_row, 20_000):
                moments.update(batch.X, batch.y)
            return moments.summary

        with pytest.raises(NotFiniteError) as caught:
            read()
        assert words in str(observations.located(caught.value))

    def test_that_overflow_only_in_sums_name_the_files(self):
        observations = open_observations(np.full((10, 2), 1e200))
        error = NotFiniteError("sums of squares of X or y overflow float64; scale the data down")
        assert "X is X" in str(observations.located(error))


class TestWeights:
    @pytest.mark.parametrize("first_row", [0, 1000])
    def test_below_zero(self, first_row, tmp_path):
        weights = np.ones(3000)
        weights[2345] = -0.5
        np.save(tmp_path / "w.npy", weights)
        line = refusal(TABLE, first_row, sample_weight=tmp_path / "w.npy")
        assert "w.npy: [2345] is -0.5; a weight must not be negative" in line

    def test_that_are_missing(self, tmp_path):
        weights = np.ones((3000, 1))
        weights[17] = np.nan
        write_csv(tmp_path / "w.csv", weights)
        line = refusal(TABLE, sample_weight=tmp_path / "w.csv")
        assert "w.csv: column 'a', data row 18 (row 1 is the first after the header) is empty or NaN" in line

    def test_of_two_columns(self, tmp_path):
        np.save(tmp_path / "w.npy", np.ones((3000, 2)))
        assert "w.npy has shape (3000, 2); needed is one weight" in refusal(
            TABLE, sample_weight=tmp_path / "w.npy"
        )

    def test_of_a_batch(self):
        line = refusal([(TABLE, TABLE[:, 0], np.ones(3000)), (TABLE, TABLE[:, 0], -np.ones(3000))])
        assert "sample_weight of batch 1: [0] is -1.0" in line


class TestRowsThatDoNotMatch:
    def test_are_found_before_any_is_read(self, tmp_path):
        np.save(tmp_path / "X.npy", TABLE)
        write_parquet(tmp_path / "y.parquet", TABLE[:2999, :1])
        with pytest.raises(BadInputError, match=r"y\.parquet has 2999 rows, but .*X\.npy has 3000"):
            open_observations(tmp_path / "X.npy", target=tmp_path / "y.parquet")

    @pytest.mark.parametrize(("rows", "words"), [(2999, "y.csv has 2999"), (3001, "X has 3000")])
    def test_are_found_at_the_end(self, rows, words, tmp_path):
        write_csv(tmp_path / "y.csv", np.ones((rows, 1)))
        line = refusal(TABLE, target=tmp_path / "y.csv", most_bytes=1 << 16)
        assert f"{words} rows, but" in line

    def test_of_a_batch(self):
        assert "batch 1 has X (3000, 3), y (2999,)" in refusal([(TABLE, TABLE[:, 0]), (TABLE, TABLE[1:, 0])])

    def test_of_batches_of_other_shapes(self):
        assert "batch 1 has X (n, 2); needed is X (n, 3), as before" in refusal([TABLE, TABLE[:, :2]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": 7}, "X has no column '7'"),
        ({"target": "price"}, "no column 'price'"),
        ({"target": TABLE.astype(complex)}, "y holds complex128"),
        ({"target": np.ones((3000, 2, 2))}, "y has shape (3000, 2, 2)"),
        ({"target": 0, "columns": [0, 1]}, "column 0 is a feature, and the target"),
        ({"columns": [1, 1]}, "two features are the column 1"),
        ({"columns": []}, "names no column"),
        ({"sample_weight": object()}, "sample_weight is a object"),
    ],
)
def test_options_that_do_not_fit(options, words):
    assert words in refusal(TABLE, **options)


def test_batches_take_no_options():
    assert "bring their own" in refusal([TABLE], target=0)


def test_a_source_that_is_none():
    assert "X is a int; needed is a path, an array or batches" in refusal(3)


def test_an_iterator_is_not_read_twice():
    observations = open_observations(iter([TABLE]))
    assert len(list(observations.batches(0, 1 << 20))) == 1
    with pytest.raises(BadInputError, match="read before"):
        next(observations.batches(0, 1 << 20))


# What Python reads is slow behind the first blocks, as a network may be; the process ends before it is there.
ENDING = """
import io, sys, time
from pathlib import Path
import pyarrow.csv
from vecprod_gpu.stream._csv import CsvFile
class Slow(io.FileIO):
    def read(self, size=-1):
        if self.tell() > 5 << 20:
            time.sleep(0.5)
        return super().read(size)
file, opened = CsvFile(sys.argv[1], Path(sys.argv[1]), None), Path.open
Path.open = lambda self, mode: Slow(self) if mode == "rb" else opened(self, mode)
pieces = file.pieces([0], 0, 1000)
print(next(pieces)[0][0])
"""


def test_a_process_ends_while_arrow_reads_ahead(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "1.5,2.5\n" * 2**20)
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, str(tmp_path / "t.csv")], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1.5\n", "")
