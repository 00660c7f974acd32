"""What is wrong with a job's files ends in one line and status 2, with nothing written or touched."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.jobs.tables import save
from tests.test_cli import run_without

EARLIER = b"what an earlier job wrote"


@pytest.fixture
def refused(folder, command):
    """Run a command that must be refused, on its own and over an earlier output; the line that it prints."""

    def run(*arguments: object, output: str = "out.npy", overwrites: bool = True) -> str:
        words = [str(argument) for argument in arguments]
        before = sorted(folder.rglob("*"))
        status, out, err = command(*words, "-o", output)
        assert (status, out) == (2, "")
        assert err.startswith("vecprod: ")
        assert err.count("\n") == 1
        assert sorted(folder.rglob("*")) == before
        earlier = Path(output)
        if overwrites:
            earlier.write_bytes(EARLIER)
            assert command(*words, "--force", "-o", output) == (status, out, err)
            assert earlier.read_bytes() == EARLIER
            earlier.unlink()
            assert sorted(folder.rglob("*")) == before
        return err

    return run


def damage_npy(path: Path) -> None:
    np.save(path, np.ones((50, 3)))
    path.write_bytes(path.read_bytes()[:-8])


def damage_npz(path: Path) -> None:
    np.savez(path, a=np.ones((50, 3)))
    contents = bytearray(path.read_bytes())
    contents[300] ^= 255
    path.write_bytes(contents)


def damage_parquet(path: Path) -> None:
    save(path, np.random.default_rng(0).normal(size=(500, 3)))
    contents = bytearray(path.read_bytes())
    contents[20:4000] = bytes(3980)
    path.write_bytes(contents)


def pickled(path: Path) -> None:
    np.save(path, np.array([[1, None, 2]], object), allow_pickle=True)


def pickled_member(path: Path) -> None:
    np.savez(path, a=np.array([[1, None, 2]], object))


FILES = {
    "damaged.npy": damage_npy,
    "short.npy": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"),
    "empty.npy": lambda path: path.write_bytes(b""),
    "text.npy": lambda path: path.write_text("no array at all"),
    "pickled.npy": pickled,
    "words.npy": lambda path: np.save(path, np.array([["a", "b", "c"]])),
    "damaged.npz": damage_npz,
    "short.npz": lambda path: path.write_bytes(b"PK\x03\x04"),
    "empty.npz": lambda path: path.write_bytes(b""),
    "text.npz": lambda path: path.write_text("no archive at all"),
    "pickled.npz": pickled_member,
    "several.npz": lambda path: np.savez(path, first=np.ones(3), second=np.ones(3)),
    "damaged.parquet": damage_parquet,
    "text.parquet": lambda path: path.write_text("no Parquet at all"),
    "empty.parquet": lambda path: path.write_bytes(b""),
    "empty.csv": lambda path: path.write_bytes(b""),
    "blank.csv": lambda path: path.write_text("\n\n"),
    "numbers.csv": lambda path: path.write_text("1,2,3\n4,5,6\n"),
    "latin.csv": lambda path: path.write_bytes("höhe,b\n1,2\n".encode("latin-1")),
    "long-row.csv": lambda path: path.write_text("a,b,c\n1,2,3\n\n4,5,6,7\n"),
    "short-row.csv": lambda path: path.write_text("a,b,c\n1,2,3\n4,5,6\n7\n"),
    "text.csv": lambda path: path.write_text("x,city,z\n1,2,3\nNA,,1\n4, Oslo,6\n7,Rome,9\n"),
    "dates.csv": lambda path: path.write_text("x,y,when\n1,2,2020-01-02\n"),
    "truth.csv": lambda path: path.write_text("x,y,z\n1,2,3\n4,5,true\n"),
    "bytes.csv": lambda path: path.write_bytes(b"x,y,z\n1,2,3\n4,5,\xff\n"),
    "text.parquet.parquet": lambda path: parquet.write_table(
        pa.table({"x": [1.0, 2.0], "city": [None, "Oslo"], "z": [1, 2]}), path
    ),
    "nested.parquet": lambda path: parquet.write_table(pa.table({"x": [[1], [2]]}), path),
    "table.txt": lambda path: path.write_text("a,b,c\n1,2,3\n"),
    "folder.npy": lambda path: path.mkdir(),
    "pairs.npy": lambda path: np.save(path, np.ones((4, 2))),
    "bool.npy": lambda path: np.save(path, np.ones((4, 3), bool)),
    "number.npy": lambda path: np.save(path, 3.0),
}


@pytest.mark.parametrize(
    ("file", "fragments"),
    [
        ("missing.npy", ["No such file"]),
        ("missing/file.csv", ["No such file"]),
        ("x" * 300 + ".npy", ["name too long"]),
        ("folder.npy", ["folder"]),
        ("damaged.npy", [".npy"]),
        ("short.npy", [".npy"]),
        ("empty.npy", [".npy"]),
        ("text.npy", [".npy"]),
        ("pickled.npy", ["Python objects"]),
        ("words.npy", ["<U1", "numbers"]),
        ("damaged.npz", ["CRC"]),
        ("short.npz", [".npz"]),
        ("empty.npz", [".npz"]),
        ("text.npz", [".npz"]),
        ("pickled.npz", ["Object arrays"]),
        ("several.npz", ["first, second", "several.npz:KEY"]),
        ("several.npz:third", ["first, second"]),
        ("damaged.parquet", ["Parquet"]),
        ("text.parquet", ["Parquet"]),
        ("empty.parquet", ["Parquet"]),
        ("empty.csv", ["empty"]),
        ("blank.csv", ["empty"]),
        ("numbers.csv", ["--no-header", "--header"]),
        ("latin.csv", ["UTF-8"]),
        ("long-row.csv", ["data row 2 (row 1 is the first after the header)", "4 cells, not 3"]),
        ("short-row.csv", ["data row 3 ", "1 cells, not 3"]),
        ("text.csv", ["column 'city'", "data row 3 ", "' Oslo'", "--columns"]),
        ("dates.csv", ["column 'when'", "data row 1 ", "2020-01-02"]),
        ("truth.csv", ["column 'z'", "data row 2 ", "'true'"]),
        ("bytes.csv", ["column 'z'", "data row 2 "]),
        ("text.parquet.parquet", ["column 'city'", "row 2 (the first is row 1)", "'Oslo'"]),
        ("nested.parquet", ["column 'x'", "row 1 "]),
        ("table.txt", [".npy, .npz, .csv, .parquet or .zarr"]),
        ("pairs.npy", ["(4, 2)", "(..., 3)"]),
        ("bool.npy", ["bool"]),
        ("number.npy", ["()", "(..., 3)"]),
    ],
)
@pytest.mark.parametrize("position", ["first", "second"])
def test_a_file_that_cannot_be_used(position, file, fragments, folder, refused):
    name = file.partition(":")[0]
    if name in FILES:
        FILES[name](folder / name)
    np.save("good.npy", np.ones((1, 3)))
    files = (file, "good.npy") if position == "first" else ("good.npy", file)
    line = refused("cross", *files)
    for fragment in [file, *fragments]:
        assert fragment in line


def test_a_file_that_may_not_be_read(folder, refused, monkeypatch):
    np.save("secret.npy", np.ones((4, 3)))
    allowed = "vecprod_gpu.stream._paths.os.access"
    monkeypatch.setattr(allowed, lambda path, mode: Path(path).name != "secret.npy")
    assert "secret.npy: permission denied" in refused("cov", "secret.npy")


def test_text_far_down_a_table(folder, refused):
    numbers = "1,2.5\n" * 300_000
    (folder / "t.csv").write_text(f"a,b\n{numbers}1,2x\n{numbers}")
    assert "column 'b' is not numeric: data row 300001 " in refused("cov", "t.csv")


def test_a_row_with_too_many_cells_far_down_a_table(folder, refused):
    numbers = "1,2.5\n" * 300_000
    (folder / "t.csv").write_text(f"a,b\n{numbers}1,2,3\n{numbers}")
    assert "data row 300001 (row 1 is the first after the header) has 3 cells, not 2" in refused(
        "cov", "t.csv"
    )


def test_rows_are_counted_from_the_top_without_a_header(folder, refused):
    (folder / "t.csv").write_text("1,2\n3,4\n5,six\n")
    assert "column 1 is not numeric: row 3 (the first is row 1)" in refused("cov", "t.csv", "--no-header")


class TestColumns:
    @pytest.fixture(autouse=True)
    def files(self, folder):
        save(folder / "t.csv", np.ones((4, 3)), ["height", "weight", "weight"])
        save(folder / "wide.csv", np.ones((4, 20)), [f"c{i}" for i in range(20)])
        np.save(folder / "t.npy", np.ones((4, 3)))
        np.save(folder / "cube.npy", np.ones((4, 3, 2)))

    @pytest.mark.parametrize(
        ("file", "words", "fragments"),
        [
            ("t.csv", "heigth", ["no column 'heigth'", "near to it: 'height'"]),
            ("t.csv", "price", ["no column 'price'", "it has 'height', 'weight', 'weight'"]),
            ("wide.csv", "price", ["'c11' and 8 more"]),
            ("t.csv", "weight", ["2 columns 'weight'", "index"]),
            ("t.csv", "3", ["no column '3'"]),
            ("t.csv", "-4", ["no column '-4'"]),
            ("t.csv", "", ["--columns"]),
            ("t.npy", "height", ["no column 'height'", "from 0 to 2"]),
            ("t.npy", "3", ["no column '3'", "from 0 to 2"]),
            ("cube.npy", "1", ["no table"]),
        ],
    )
    def test_that_are_not_there(self, file, words, fragments, refused):
        line = refused("cov", file, "--columns", words)
        for fragment in fragments:
            assert fragment in line

    def test_that_are_given_too_often(self, refused):
        assert "2 times for 1 inputs" in refused("cov", "t.csv", "--columns", "0", "--columns", "1")


@pytest.mark.parametrize(
    ("words", "shapes", "fragments"),
    [
        (["outer"], [(4, 3), (5, 3)], ["a is 0.npy", "b is 1.npy", "(4,)", "(5,)"]),
        (["outer"], [(), (3,)], ["a is 0.npy", "()"]),
        (["cross"], [(4, 3), (5, 3)], ["a is 0.npy", "(4,)", "(5,)"]),
        (["cov", ""], [], ["the name of a file is empty"]),
        (["cov"], [(4,)], ["0.npy", "table of rows and columns"]),
        (["corr"], [(0, 3)], ["0.npy", "no rows"]),
        (["gram"], [(4, 3), (5, 3)], ["X is 0.npy", "Y is 1.npy"]),
        (["normals"], [(1, 5)], ["z is 0.npy", "(1, 5)"]),
        (["normals"], [(4, 3), (2, 3)], ["faces is 1.npy", "float64"]),
        (["normals", "--vertices"], [(4, 3)], ["--vertices", "FACES"]),
        (["normals", "--dx", "2"], [(4, 3), (2, 3)], ["--dx", "FACES"]),
        (["normals", "--dx", "steps.npy"], [(4, 3)], ["steps.npy", "No such file"]),
        (["normals", "--dx", "wide"], [(4, 3)], ["wide"]),
        (["normals", "--dx", "0"], [(4, 3)], ["z is 0.npy"]),
    ],
)
def test_shapes_that_do_not_fit(words, shapes, fragments, folder, refused):
    files = [f"{number}.npy" for number in range(len(shapes))]
    for file, shape in zip(files, shapes, strict=True):
        np.save(file, np.ones(shape))
    line = refused(words[0], *files, *words[1:])
    for fragment in fragments:
        assert fragment in line


def test_a_face_that_has_no_such_vertex(folder, refused):
    np.save("v.npy", np.eye(3))
    np.save("f.npy", np.array([[0, 1, 2], [0, 1, 3]]))
    line = refused("normals", "v.npy", "f.npy")
    assert "faces is f.npy" in line
    assert "3" in line


class TestOutputs:
    @pytest.fixture(autouse=True)
    def inputs(self, folder):
        np.save("a.npy", np.ones((4, 3)))
        np.save("cube.npy", np.ones((4, 3, 3)))
        np.save("complex.npy", np.ones((4, 3), complex))
        np.save("wide.npy", np.ones((1, 300)))
        np.save("faces.npy", np.array([[0, 1, 2], [2, 1, 0]]))

    @pytest.mark.parametrize(
        ("output", "fragments"),
        [
            ("out.txt", ["out.txt", ".npy, .npz, .csv or .parquet"]),
            ("out", ["out", ".npy, .npz, .csv or .parquet"]),
            ("missing/out.npy", ["missing/out.npy", "No such file"]),
            ("a.npy/out.npy", ["a.npy/out.npy", "Not a directory"]),
            ("s3://bucket/out.npy", ["s3://bucket/out.npy is a URL"]),
            ("x" * 300 + ".npy", ["name too long"]),
        ],
    )
    def test_that_have_no_place(self, output, fragments, refused):
        line = refused("cov", "a.npy", output=output, overwrites=False)
        for fragment in fragments:
            assert fragment in line

    @pytest.mark.parametrize("job", ["cov", "corr"])
    def test_beside_a_checkpoint_that_would_not_be_kept(self, job, refused):
        line = refused(job, "complex.npy", "--checkpoint", "state")
        assert "--checkpoint is state, but complex.npy holds complex numbers" in line

    def test_that_are_keys_of_a_store(self, refused):
        line = refused("cross", "a.npy", "a.npy", output="out.zarr:k", overwrites=False)
        needed = "a .zarr output is a single array, without a key; needed is out.zarr"
        assert line == f"vecprod: out.zarr:k: {needed}\n"

    def test_that_are_folders(self, folder, refused):
        (folder / "out.npy").mkdir()
        assert "out.npy: it is a folder" in refused("cov", "a.npy", overwrites=False)

    def test_in_a_folder_that_may_not_be_written(self, folder, refused, monkeypatch):
        def denied(path, *arguments, **keywords):
            if path.name.endswith(".tmp"):
                raise PermissionError(13, "Permission denied")
            return opened(path, *arguments, **keywords)

        opened = Path.open
        monkeypatch.setattr(Path, "open", denied)
        assert "cannot write out.npy: Permission denied" in refused("cov", "a.npy")

    def test_that_exist(self, folder, command):
        (folder / "out.npy").write_bytes(EARLIER)
        status, out, err = command("cov", "a.npy", "-o", "out.npy")
        assert (status, out) == (2, "")
        assert err == "vecprod: out.npy exists; --force replaces it\n"
        assert (folder / "out.npy").read_bytes() == EARLIER

    @pytest.mark.parametrize("name", ["a.npy", "./a.npy", "hard.npy", "soft.npy"])
    def test_that_are_inputs(self, name, folder, command):
        (folder / "hard.npy").hardlink_to("a.npy")
        (folder / "soft.npy").symlink_to("a.npy")
        before = (folder / "a.npy").read_bytes()
        status, _, err = command("cross", "cube.npy", "a.npy", "-o", name, "--force")
        assert status == 2
        assert "both an input and the output" in err
        assert (folder / "a.npy").read_bytes() == before

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    @pytest.mark.parametrize(
        ("words", "fragments"),
        [
            (["cross", "cube.npy", "cube.npy"], ["(4, 3, 3)"]),
            (["cross", "complex.npy", "a.npy"], ["complex128"]),
            (["outer", "cube.npy", "cube.npy"], ["(4, 3, 3, 3)"]),
            (["outer", "wide.npy", "wide.npy"], ["90000 columns"]),
            (["normals", "cube.npy", "faces.npy"], ["(4, 2, 3)"]),
        ],
    )
    def test_that_cannot_be_tables(self, suffix, words, fragments, refused):
        line = refused(*words, output=f"out{suffix}")
        for fragment in ["write .npy or .npz", *fragments]:
            assert fragment in line


def test_backends_that_are_not_there(folder, refused):
    np.save("a.npy", np.ones((4, 3)))
    assert "abacus" in refused("cov", "a.npy", "--backend", "abacus")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_need_pyarrow_and_arrays_do_not(suffix, folder):
    np.save("a.npy", np.ones((4, 3)))
    save(folder / f"a{suffix}", np.ones((4, 3)))
    needed = 'vecprod: pyarrow is not installed; run: pip install "vecprod-gpu[stream]"\n'
    reading = run_without("pyarrow", "cross", f"a{suffix}", "a.npy", "-o", "out.npy")
    writing = run_without("pyarrow", "cross", "a.npy", "a.npy", "-o", f"out{suffix}")
    neither = run_without("pyarrow", "cross", "a.npy", "a.npy", "-o", "out.npz")
    assert (reading.returncode, reading.stderr) == (writing.returncode, writing.stderr) == (2, needed)
    assert (neither.returncode, neither.stderr) == (0, "")
    assert {path.name for path in folder.iterdir()} == {"a.npy", f"a{suffix}", "out.npz"}


def test_memory_that_does_not_suffice_is_a_fault(folder, command):
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**50, 3)}
    with zipfile.ZipFile("vast.npz", "w") as archive, archive.open("vast.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
    status, out, err = command("gram", "vast.npz", "-o", "out.npy")
    assert (status, out) == (1, "")
    assert err.startswith("vecprod: not enough memory: ")
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["vast.npz"]
