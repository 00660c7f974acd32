"""What goes wrong with a job half way ends in one line, and leaves the earlier output and the checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.stream.jobs import begin, finish, kept

ROWS = 5000


def rows(count=ROWS):
    rng = np.random.default_rng(8)
    return rng.normal(size=(count, 3))


def table(values, names="abc"):
    return pa.table(dict(zip(names, values.T, strict=True)))


def late_nan(folder: Path) -> str:
    X = rows()
    X[4321, 1] = np.nan
    np.save(folder / "data.npy", X)
    return "data.npy"


def late_gap(folder: Path) -> str:
    lines = [",".join(map(repr, row)) for row in rows().tolist()]
    lines[4321] = "1.0,,3.0"
    (folder / "data.csv").write_text("a,b,c\n" + "\n".join(lines) + "\n")
    return "data.csv"


def late_nan_in_a_part(folder: Path) -> str:
    (folder / "parts").mkdir()
    for part in range(3):
        values = rows()
        if part == 2:
            values[700, 1] = np.inf
        parquet.write_table(table(values), folder / "parts" / f"{part}.parquet", row_group_size=1000)
    return "parts"


def cut_short(folder: Path) -> str:
    np.save(folder / "data.npy", rows())
    contents = (folder / "data.npy").read_bytes()
    (folder / "data.npy").write_bytes(contents[:-1000])
    return "data.npy"


def corrupt_footer(folder: Path) -> str:
    parquet.write_table(table(rows()), folder / "data.parquet")
    contents = bytearray((folder / "data.parquet").read_bytes())
    contents[-400:-8] = bytes(392)
    (folder / "data.parquet").write_bytes(contents)
    return "data.parquet"


def corrupt_page(folder: Path) -> str:
    parquet.write_table(table(rows()), folder / "data.parquet", row_group_size=1000)
    contents = bytearray((folder / "data.parquet").read_bytes())
    middle = len(contents) // 2
    contents[middle : middle + 4000] = bytes(4000)
    (folder / "data.parquet").write_bytes(contents)
    return "data.parquet"


def other_schema(folder: Path) -> str:
    (folder / "parts").mkdir()
    parquet.write_table(table(rows()), folder / "parts" / "0.parquet")
    parquet.write_table(table(rows(), "axc"), folder / "parts" / "1.parquet")
    return "parts"


def other_width(folder: Path) -> str:
    lines = [",".join(map(repr, row)) for row in rows().tolist()]
    lines[4321] = "1.0,2.0"
    (folder / "data.csv").write_text("a,b,c\n" + "\n".join(lines) + "\n")
    return "data.csv"


def text_far_down(folder: Path) -> str:
    lines = [",".join(map(repr, row)) for row in rows().tolist()]
    lines[4321] = "1.0,many,3.0"
    (folder / "data.csv").write_text("a,b,c\n" + "\n".join(lines) + "\n")
    return "data.csv"


@pytest.mark.parametrize(
    ("make", "fragments"),
    [
        (late_nan, ["data.npy: [4321, 1] is nan"]),
        (late_gap, ["data.csv: column 'b', data row 4322 ", "is empty or NaN"]),
        (late_nan_in_a_part, ["2.parquet: column 'b', row 701 ", "inf"]),
        (cut_short, ["data.npy", ".npy"]),
        (corrupt_footer, ["data.parquet is no whole Parquet file"]),
        (corrupt_page, ["data.parquet"]),
        (other_schema, ["1.parquet", "'b'", "0.parquet"]),
        (other_width, ["data.csv: data row 4322 ", "2 cells, not 3"]),
        (text_far_down, ["data.csv: column 'b' is not numeric: data row 4322 ", "'many'"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(make, fragments, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make(tmp_path)
    target = "c" if data != "data.npy" else "2"
    (tmp_path / "model.json").write_text("earlier")
    status, out, err = command(
        *("fit", data, "--target", target, "--force", "-o", "model.json"),
        *("--checkpoint", "half.ckpt", "--every", "0"),
    )
    assert (status, out) == (2, "")
    assert err.startswith("vecprod: ")
    assert err.count("\n") == 1
    for fragment in fragments:
        assert fragment in err
    assert (tmp_path / "model.json").read_text() == "earlier"
    assert not kept(tmp_path)


# The system itself refuses to let a file grow, as a full disk does.
LIMITED = """
import resource, sys
from vecprod_gpu.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX's")
@pytest.mark.parametrize(
    ("limit", "words", "named"),
    [
        (20_000, ["predict", "model.json", "data.npy", "-o", "out.npy", "--force"], "out.npy"),
        (20_000, ["predict", "model.json", "data.npy", "-o", "out.csv", "--force"], "out.csv"),
        (20_000, ["predict", "model.json", "data.npy", "-o", "out.parquet", "--force"], "out.parquet"),
        (
            200,
            [
                "fit",
                "data.npy",
                "--target",
                "2",
                "-o",
                "out.json",
                "--force",
                "--checkpoint",
                "c",
                "--every",
                "0",
            ],
            "'c'",
        ),
        (200, ["fit", "data.npy", "--target", "2", "-o", "out.json", "--force"], "out.json"),
    ],
)
def test_a_full_disk_is_a_fault_that_names_the_file(limit, words, named, tmp_path):
    np.save(tmp_path / "data.npy", np.concatenate([rows(30_000)] * 2))
    model = '{"format": "vecprod-linear-model", "version": 1, "features": null, "targets": ["y"], '
    (tmp_path / "model.json").write_text(
        model + '"coef": [[1.0, 2.0, 3.0]], "intercept": [0.5], "dtype": "float64"}'
    )
    for suffix in ("npy", "csv", "parquet", "json"):
        (tmp_path / f"out.{suffix}").write_text("earlier")
    finished = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *words],
        cwd=tmp_path,
        env=os.environ | {"VECPROD_BACKEND": "reference"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("vecprod: ")
    assert finished.stderr.count("\n") == 1
    assert named in finished.stderr
    assert {path.read_text() for path in tmp_path.glob("out.*")} == {"earlier"}
    assert not kept(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cuts no file that is mapped")
def test_a_file_that_is_cut_short_while_it_is_read(tmp_path):
    np.save(tmp_path / "X.npy", rows(50_000))
    running = begin(
        *(tmp_path, "fit", "X.npy", "--target", "2", "-o", "model.json", "--checkpoint", "half.ckpt"),
        *("--every", "0"),
        pause=0.02,
        backend="reference",
    )
    while not (tmp_path / "half.ckpt").exists() and running.poll() is None:
        pass
    with (tmp_path / "X.npy").open("r+b") as stream:
        stream.truncate(800_000)
    status, out, err = finish(running)
    assert (status, out) == (2, "")
    assert "X.npy" in err
    assert err.count("\n") == 1
    assert (tmp_path / "half.ckpt").exists()
    assert not (tmp_path / "model.json").exists()


@pytest.mark.parametrize(
    ("output", "checkpoint", "told"),
    [
        ("x" * 300 + ".npy", "state", "cannot write {output}: File name too long"),
        ("out.npy", "x" * 300, "cannot write the checkpoint {checkpoint}: File name too long"),
        ("out.npy", "X.npy/state", "cannot write the checkpoint {checkpoint}: there is no such folder"),
    ],
)
@pytest.mark.parametrize("job", [("cov", "X.npy"), ("cross", "X.npy", "X.npy")])
def test_names_that_cannot_be_are_told_before_any_work(
    output, checkpoint, told, job, tmp_path, command, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", rows(20))
    Path("state").touch()
    Path("out.npy").touch()
    status, _, err = command(*job, "-o", output, "--checkpoint", checkpoint, "--force")
    assert (status, err) == (2, f"vecprod: {told.format(output=output, checkpoint=checkpoint)}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["X.npy", "out.npy", "state"]


def test_what_needs_all_rows_says_so_where_they_do_not_fit(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", rows(100_000))
    words = ["fit", "X.npy", "--target", "2", "-o", "model.json"]
    status, _, err = command(*words, "--solver", "gd", "--memory", "1MB")
    assert status == 2
    assert "--solver gd needs all rows in memory" in err
    assert "cholesky" in err
    status, _, err = command(*words, "--cv", "3", "--seed", "1", "--checkpoint", "file")
    assert status == 2
    assert "--seed" in err
    status, _, err = command(*words, "--memory", "lots")
    assert (status, err) == (2, "vecprod: memory is 'lots'; needed is a number of bytes, as 1GB or 512MiB\n")
    status, _, err = command(*words, "--checkpoint", "model.json")
    assert status == 2
    assert "--checkpoint is model.json" in err
