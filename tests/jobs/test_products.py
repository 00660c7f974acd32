"""Each product as a job against plain NumPy, from and to every format."""

import json
import os
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.jobs.tables import FORMATS, header, load, save
from vecprod_gpu.stream import _products, _results

EXACT = {"rtol": 0, "atol": 0}
SUMS = {"rtol": 1e-12, "atol": 1e-12}


def outer_of_rows(a, b):
    return a[..., :, np.newaxis] * b[..., np.newaxis, :]


def numpy_face_normals(vertices, faces):
    p, q, r = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(q - p, r - p)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def numpy_vertex_normals(vertices, faces):
    sums = np.zeros_like(vertices)
    for face in faces:
        p, q, r = vertices[face]
        for corner in face:
            sums[corner] += np.cross(q - p, r - p)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


JOBS = {
    "outer": (2, outer_of_rows, EXACT),
    "cross": (2, np.cross, EXACT),
    "cov": (1, lambda m: np.cov(m, rowvar=False), SUMS),
    "corr": (1, lambda m: np.corrcoef(m, rowvar=False), SUMS),
    "gram": (1, lambda x: x.T @ x, SUMS),
    "gram of two": (2, lambda x, y: x.T @ y, SUMS),
}


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("read", FORMATS)
@pytest.mark.parametrize("name", JOBS)
def test_every_format_in_and_out(name, read, written, folder, job, rng):
    count, expected, tolerance = JOBS[name]
    arrays = [rng.normal(size=(50, 3)) for _ in range(count)]
    files = [save(folder / f"in{i}{read}", array) for i, array in enumerate(arrays)]
    job(name.split()[0], *files, "-o", f"out{written}")
    result = load(folder / f"out{written}")
    wanted = expected(*arrays)
    if written in (".csv", ".parquet"):
        wanted = wanted.reshape(len(wanted), -1)
    assert result.shape == wanted.shape
    np.testing.assert_allclose(result, wanted, **tolerance)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint64", "bool", "complex64", ">f8"])
def test_the_dtype_is_numpys(dtype, folder, job, rng):
    a, b = (rng.integers(0, 2, (6, 3)).astype(dtype) for _ in range(2))
    save(folder / "a.npy", a), save(folder / "b.npy", b)
    job("outer", "a.npy", "b.npy", "-o", "out.npy")
    result, wanted = np.load("out.npy"), outer_of_rows(a, b)
    assert result.dtype == wanted.dtype
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint64", "bool", ">f8"])
def test_a_table_holds_the_numbers(dtype, suffix, folder, job, rng):
    a, b = (rng.integers(0, 2, (11, 3)).astype(dtype) for _ in range(2))
    save(folder / "a.npy", a), save(folder / "b.npy", b)
    job("outer", "a.npy", "b.npy", "-o", f"out{suffix}")
    np.testing.assert_array_equal(load(folder / f"out{suffix}"), outer_of_rows(a, b).reshape(11, 9))


def test_a_table_is_written_without_pandas(folder):
    np.save("a.npy", np.ones((4, 3)))
    script = (
        "import sys; from vecprod_gpu.cli import main; main(sys.argv[1:]); print('pandas' in sys.modules)"
    )
    words = ["cross", "a.npy", "a.npy", "-o", "out.parquet"]
    printed = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    assert printed.stdout.splitlines()[-1] == "False"


def test_face_and_vertex_normals(folder, job, rng):
    vertices = rng.normal(size=(9, 3))
    faces = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 4, 8], [2, 1, 3]])
    save(folder / "vertices.csv", vertices), save(folder / "faces.parquet", faces)
    job("normals", "vertices.csv", "faces.parquet", "-o", "faces.csv")
    np.testing.assert_allclose(load(folder / "faces.csv"), numpy_face_normals(vertices, faces), **SUMS)
    assert header(folder / "faces.csv") == ["nx", "ny", "nz"]
    job("normals", "vertices.csv", "faces.parquet", "--vertices", "-o", "vertices.npy")
    np.testing.assert_allclose(np.load("vertices.npy"), numpy_vertex_normals(vertices, faces), **SUMS)


@pytest.mark.parametrize("steps", ["none", "numbers", "a file of steps", "a table of steps"])
def test_grid_normals(steps, folder, job, rng):
    z, dx, dy = rng.normal(size=(6, 8)), 1.0, 1.0
    arguments = []
    if steps == "numbers":
        dx, dy = 0.5, -2.0
        arguments = ["--dx", dx, "--dy", dy]
    elif steps != "none":
        dx = rng.uniform(1, 2, size=(6, 1))
        file = folder / ("dx.npy" if steps == "a file of steps" else "dx.csv")
        arguments = ["--dx", save(file, dx[:, 0] if file.suffix == ".npy" else dx)]
    save(folder / "z.npy", z)
    job("normals", "z.npy", *arguments, "-o", "normals.npz")
    by_y, by_x = np.gradient(z)
    normals = np.stack([-by_x / dx, -by_y / dy, np.ones_like(z)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    np.testing.assert_allclose(load(folder / "normals.npz"), normals, **SUMS)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((3,), (3,)),
        ((7, 3), (7, 3)),
        ((7, 3), (3,)),
        ((5, 1, 3), (4, 3)),
        ((1, 1, 3), (2, 6, 3)),
        ((0, 3), (0, 3)),
        ((2, 0, 3), (3,)),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 40, 200, 2**22])
@pytest.mark.parametrize("name", ["outer", "cross"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_products_are_the_same_in_parts(
    name, suffix, block_bytes, a_shape, b_shape, folder, job, rng, monkeypatch
):
    monkeypatch.setattr(_products, "BLOCK_BYTES", block_bytes)
    a, b = rng.normal(size=a_shape), rng.normal(size=b_shape)
    np.save("a.npy", np.asfortranarray(a)), np.save("b.npy", b)
    job(name, "a.npy", "b.npy", "-o", f"out{suffix}")
    np.testing.assert_array_equal(load(folder / f"out{suffix}"), JOBS[name][1](a, b))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_written_in_parts(suffix, folder, job, rng, monkeypatch):
    monkeypatch.setattr(_products, "BLOCK_BYTES", 200)
    a, b = rng.normal(size=(2, 50, 3))
    np.save("a.npy", a), np.save("b.npy", b)
    job("cross", "a.npy", "b.npy", "-o", f"out{suffix}")
    np.testing.assert_array_equal(load(folder / f"out{suffix}"), np.cross(a, b))


@pytest.mark.parametrize("block_bytes", [1, 8, 100, 2**22])
@pytest.mark.parametrize("shape", [(), (0,), (17,), (3, 5), (2, 3, 4), (4, 0, 2), (1, 40, 1), (30, 1, 1, 2)])
def test_parts_cover_an_array_once_and_in_order(shape, block_bytes, monkeypatch):
    monkeypatch.setattr(_results, "_BLOCK_BYTES", block_bytes)
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    parts = [numbers[cut] for cut in _results.blocks_of(shape, 8)]
    assert [number for part in parts for number in part.ravel()] == numbers.ravel().tolist()
    assert all(part.ndim == len(shape) for part in parts)
    assert all(part.nbytes <= max(8, block_bytes) for part in parts)


class TestColumns:
    @pytest.fixture(autouse=True)
    def table(self, folder, rng):
        self.values = rng.normal(size=(20, 4))
        for suffix in FORMATS:
            save(folder / f"t{suffix}", self.values, ["one", "two, too", "3", "four"])
        return self.values

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    @pytest.mark.parametrize(
        ("words", "columns"),
        [
            ("one,four", [0, 3]),
            ("four, one", [3, 0]),
            ('"two, too",one', [1, 0]),
            ("0,-1", [0, 3]),
            ("3", [2]),  # a name comes before an index
            ("one,1,+2", [0, 1, 2]),
        ],
    )
    def test_by_name_and_by_index(self, suffix, words, columns, folder, job):
        job("gram", f"t{suffix}", "--columns", words, "-o", "gram.csv")
        chosen = self.values[:, columns]
        np.testing.assert_allclose(load(folder / "gram.csv"), chosen.T @ chosen, **SUMS)
        names = ["one", "two, too", "3", "four"]
        assert header(folder / "gram.csv") == [names[column] for column in columns]

    @pytest.mark.parametrize("suffix", [".npy", ".npz"])
    @pytest.mark.parametrize("words", ["0,3", "1,2", "-1", "2,0"])
    def test_of_an_array_by_index(self, suffix, words, folder, job):
        job("cov", f"t{suffix}", "--columns", words, "-o", "cov.csv")
        chosen = self.values[:, [int(word) for word in words.split(",")]]
        wanted = np.atleast_2d(np.cov(chosen, rowvar=False))
        np.testing.assert_allclose(load(folder / "cov.csv"), wanted, **SUMS)
        assert header(folder / "cov.csv") == [f"x{i}" for i in range(chosen.shape[1])]

    def test_once_for_each_input(self, folder, job):
        job("gram", "t.csv", "t.parquet", "--columns", "one", "--columns", "four,3", "-o", "gram.parquet")
        wanted = self.values[:, [0]].T @ self.values[:, [3, 2]]
        np.testing.assert_allclose(load(folder / "gram.parquet"), wanted, **SUMS)
        assert header(folder / "gram.parquet") == ["four", "3"]

    def test_products_are_called_after_their_factors(self, folder, job):
        job("outer", "t.csv", "t.csv", "--columns", "one,four", "--columns", "3", "-o", "out.csv")
        assert header(folder / "out.csv") == ["one*3", "four*3"]
        np.testing.assert_array_equal(load(folder / "out.csv"), self.values[:, [0, 3]] * self.values[:, [2]])

    def test_what_is_not_chosen_may_be_text(self, folder, job):
        (folder / "mixed.csv").write_text("name,x,when,y\nOslo,1,2020-01-01,2\nRome,3,2020-01-02,5\n")
        job("cov", "mixed.csv", "--columns", "x,y", "-o", "cov.npy")
        np.testing.assert_allclose(np.load("cov.npy"), [[2, 3], [3, 4.5]])


@pytest.mark.parametrize(
    ("text", "arguments", "values"),
    [
        ("a,b\n1,2\n\n3,4\n", [], [[1, 2], [3, 4]]),
        ("1,2\n3,4\n", ["--no-header"], [[1, 2], [3, 4]]),
        ("2019,2020\n3,4\n5,7\n", ["--header"], [[3, 4], [5, 7]]),
        ("\ufeffa,b\r\n1,2\r\n3,4\r\n", [], [[1, 2], [3, 4]]),
        ('"a\nb",c\n" 1 ",2\n3,4e0\n', [], [[1, 2], [3, 4]]),
        ("a,a\n1,2\n3,4\n", [], [[1, 2], [3, 4]]),
        ("a,b\ntrue,2\nfalse,4\n", [], [[1, 2], [0, 4]]),
        ("a,b\n,NA\n3,inf\n", [], [[np.nan, np.nan], [3, np.inf]]),
    ],
)
def test_csv_as_people_write_it(text, arguments, values, folder, job):
    (folder / "t.csv").write_text(text, newline="")
    np.save("one.npy", [1.0])
    job("outer", "t.csv", "one.npy", *arguments, "-o", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy")[:, :, 0], values)


def test_text_of_several_lines(folder, job):
    (folder / "t.csv").write_text("a,note,b\n" + '1,"of\n\nthree lines",2\n' * 300_000)
    job("gram", "t.csv", "--columns", "a,b", "-o", "gram.npy")
    np.testing.assert_array_equal(np.load("gram.npy"), [[300_000, 600_000], [600_000, 1_200_000]])


def test_parquet_of_many_types(folder, job):
    table = pa.table(
        {
            "small": pa.array([1, 2, None], pa.int8()),
            "truth": pa.array([True, None, False]),
            "decimal": pa.array([Decimal("1.25"), Decimal(2), Decimal(3)]),
            "coded": pa.array([1.5, 2.5, 1.5]).dictionary_encode(),
            "a.b": pa.array([1, 2, 3], pa.float32()),
            "nothing": pa.nulls(3),
            "text": ["x", "y", "z"],
        }
    )
    parquet.write_table(table, "t.parquet")
    np.save("one.npy", [[1.0]])
    job("outer", "t.parquet", "one.npy", "--columns", "0,1,2,3,4,5", "--columns", "0", "-o", "out.npy")
    nan = np.nan
    wanted = [[1, 1, 1.25, 1.5, 1, nan], [2, nan, 2, 2.5, 2, nan], [nan, 0, 3, 1.5, 3, nan]]
    np.testing.assert_array_equal(np.load("out.npy")[:, :, 0], wanted)


def test_archives(folder, job, rng):
    a, b = rng.normal(size=(2, 5, 3))
    np.savez("in.npz", first=a, **{"second one": b})
    job("cross", "in.npz:first", "in.npz:second one", "-o", "out.npz:normals")
    np.testing.assert_array_equal(load(folder / "out.npz", "normals"), np.cross(a, b))
    job("cross", "out.npz", "in.npz:first", "-o", "OUT.NPZ")
    with np.load("OUT.NPZ") as archive:
        np.testing.assert_array_equal(archive["result"], np.cross(np.cross(a, b), a))


def test_the_report_as_json(folder, job, rng):
    np.save("a.npy", rng.normal(size=(5, 3)).astype(np.float32))
    save(folder / "b.csv", rng.normal(size=(5, 2)))
    report = json.loads(job("outer", "a.npy", "b.csv", "-o", "out.npz:k", "--json", "--backend", "reference"))
    assert report.pop("seconds") > 0
    assert report == {
        "job": "outer",
        "inputs": [
            {"argument": "a", "file": "a.npy", "shape": [5, 3], "dtype": "float32"},
            {"argument": "b", "file": "b.csv", "shape": [5, 2], "dtype": "float64"},
        ],
        "output": {"file": "out.npz", "shape": [5, 3, 2], "dtype": "float64", "key": "k"},
        "backend": "reference",
    }


def test_the_report_as_a_line(folder, job):
    np.save("a.npy", np.eye(3))
    out = job("gram", "a.npy", "-o", "out.npy", "-b", "reference")
    assert out.count("\n") == 1
    assert "gram of a.npy (3, 3): out.npy (3, 3) float64, on reference in " in out


@pytest.mark.parametrize(
    ("encoding", "name", "shown"),
    [
        ("ascii", "däta.npy", r"d\xe4ta.npy"),
        ("latin-1", "dät∑.npy", r"dät\u2211.npy"),
        ("utf-8", "d∑.npy", "d∑.npy"),
    ],
)
def test_a_name_that_the_terminal_has_no_word_for(encoding, name, shown, folder):
    np.save(name, np.eye(3))
    finished = subprocess.run(
        [sys.executable, "-m", "vecprod_gpu", "cov", name, "-o", "out.npy"],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert finished.stdout.decode(encoding).startswith(f"cov of {shown} (3, 3): out.npy (3, 3) float64, on ")
    assert finished.stderr == b""


def test_a_warning_of_numpy_is_one_line(folder, command):
    np.save("one-row.npy", np.ones((1, 2)))
    status, _, err = command("cov", "one-row.npy", "-o", "cov.npy")
    assert status == 0
    assert "vecprod: warning: Degrees of freedom <= 0" in err
    assert all(line.startswith("vecprod: warning: ") for line in err.splitlines())
    assert np.isnan(np.load("cov.npy")).all()
