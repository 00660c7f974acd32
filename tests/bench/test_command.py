"""``vecprod bench``: runs, keeps, shows, renders and compares."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from vecprod_gpu.bench import results
from vecprod_gpu.bench.suite import QUICK

from tests.bench.documents import two_sizes
from vecprod_gpu import cli


@pytest.fixture
def command(capsys):
    def run(*words):
        status = cli.main(["bench", *map(str, words)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def kept(tmp_path):
    """Results in a file, and what writes more of them."""

    def keep(name, factor=1.0):
        results.save(two_sizes(factor), tmp_path / name)
        return tmp_path / name

    return keep


def test_a_quick_run_of_one_row_on_the_cpu(command, tmp_path):
    file = tmp_path / "results.json"
    status, out, err = command("--device", "cpu", "--quick", "--rows", "8 vectors", "--json", file)
    assert (status, err) == (0, "")
    assert "cross, 8 vectors" in " ".join(out.split())
    found = results.load(file)
    assert (found["device"], found["turns"]) == ("cpu", QUICK.turns)
    (row,) = found["rows"]
    assert row["bars"] == []  # which bind the full sizes
    assert [runner["name"] for runner in row["runners"]][:2] == ["ours", "numpy"]
    assert not any(runner["is_wrong"] for runner in row["runners"])
    left_out = "torch.compile" if find_spec("torch") else "torch"
    assert left_out in row["missing"]
    assert f"{left_out} is missing: " in out
    assert len(row["runners"][0]["seconds"]) == found["turns"]


def test_the_module_is_the_command(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "vecprod_gpu.bench", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TERMINAL_WIDTH": "120"},
    )
    for option in (
        "--quick",
        "--json",
        "--output",
        "--compare",
        "--rows",
        "--device",
        "--render",
        "--markdown",
    ):
        assert option in finished.stdout


def test_results_are_rendered_without_a_run(command, kept, tmp_path):
    status, out, _ = command("--render", kept("results.json"), "-o", tmp_path / "folder")
    assert status == 0
    assert "cross, 5,000,000 vectors" in out
    assert (tmp_path / "folder" / "report.html").exists()


def test_markdown_alone_is_printed(command, kept):
    status, out, _ = command("--render", kept("results.json"), "--markdown")
    assert status == 0
    assert out.count("\n|") == 4


@pytest.mark.parametrize(
    ("factor", "status", "words"),
    [(1.0, 0, "nothing moved"), (2.0, 1, "2.00x slower"), (0.5, 0, "2.00x faster")],
)
def test_what_got_slower_makes_the_status_1(command, kept, factor, status, words):
    found, out, _ = command("--render", kept("new.json", factor), "--compare", kept("old.json"))
    assert found == status
    assert words in out


@pytest.fixture
def no_race(monkeypatch):
    def measure(*_):
        raise AssertionError("it raced")

    monkeypatch.setattr("vecprod_gpu.bench.session.measure", measure)


@pytest.mark.parametrize(
    ("option", "place", "words"),
    [
        ("--json", "nowhere/x.json", "No such file or directory"),
        ("--json", "plain/x.json", "Not a directory"),
        ("--json", "folder", "Is a directory"),
        ("--output", "plain", "File exists"),
        ("--output", "plain/below", "Not a directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_race(
    option, place, words, command, tmp_path, no_race
):
    (tmp_path / "plain").write_text("mine")
    (tmp_path / "folder").mkdir()
    status, out, err = command("--device", "cpu", option, tmp_path / place)
    assert (status, out) == (2, "")
    assert err == f"vecprod: {option} is {tmp_path / place}, which cannot be written: {words}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "plain"]
    assert (tmp_path / "plain").read_text() == "mine"


@pytest.mark.parametrize("where", ["vecprod_gpu.bench.results.save", "vecprod_gpu.bench.report.write"])
def test_what_was_measured_is_shown_though_it_cannot_be_kept(where, command, kept, tmp_path, monkeypatch):
    def full(found, file):
        raise OSError(28, "No space left on device", str(file))

    old, new = kept("old.json"), kept("new.json", 2.0)
    monkeypatch.setattr(where, full)
    status, out, err = command(
        *("--render", new, "--compare", old, "--json", tmp_path / "x.json", "-o", tmp_path / "folder")
    )
    assert status == 1
    assert "No space left on device" in err
    assert "cross, 5,000,000 vectors" in out
    assert "2.00x slower" in out


@pytest.mark.parametrize("option", ["--compare", "--render"])
def test_results_that_are_not_there(option, command, tmp_path, no_race):
    status, _, err = command("--device", "cpu", option, "nope.json", "-o", tmp_path / "folder")
    assert (status, err) == (2, "vecprod: cannot read nope.json: No such file or directory\n")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_leaves_the_results_that_were_there(command, kept, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    old, new = kept("old.json"), kept("new.json", 2.0)
    before = old.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    status, _, err = command("--render", new, "--json", old)
    assert (status, err.count("\n")) == (1, 1)
    assert "No space left on device" in err
    assert old.read_bytes() == before


def test_no_such_row(command):
    status, _, err = command("--device", "cpu", "--rows", "nonsense")
    assert status == 2
    assert "no row on cpu holds any of nonsense" in err


def test_no_such_device(command):
    status, _, err = command("--device", "abacus")
    assert status == 2
    assert "it is cpu, cuda or auto" in err


def test_a_gpu_that_is_not_there(command, monkeypatch):
    from vecprod_gpu import _bench_command
    from vecprod_gpu.backends._status import Status

    monkeypatch.setattr(
        _bench_command, "backends", lambda: {"cupy": Status(False, "CuPy is not installed", "pip install it")}
    )
    status, _, err = command("--device", "cuda")
    assert status == 2
    assert "CuPy is not installed; pip install it" in err
    assert _bench_command.chosen_device("auto") == "cpu"


def test_results_of_another_schema(command, tmp_path):
    (tmp_path / "old.json").write_text(json.dumps({"schema": 0}))
    status, _, err = command("--render", tmp_path / "old.json")
    assert status == 2
    assert "holds no results of schema 1" in err
