"""``vecprod precompile``: afterwards no process has to compile, and what it says of that is so."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.workers import ROOT
from vecprod_gpu import _precompile, _precompile_command, cli
from vecprod_gpu.backends._cpu import processor
from vecprod_gpu.backends._cpu.products import operations


def run_in(cache, *arguments):
    """Run Python in the repository, with these folders for all kernels; a simulator compiles none."""
    folders = {"NUMBA_CACHE_DIR": str(cache), "CUPY_CACHE_DIR": str(cache / "cupy")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **folders, "NUMBA_ENABLE_CUDASIM": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def kernels(cache):
    """Files of compiled code."""
    return {file for file in cache.rglob("*") if file.suffix in (".nbc", ".cubin")}


CALLS = """
import numpy as np
import vecprod_gpu as vp

a = np.random.default_rng(0).standard_normal((1_000_000, 3)).astype(np.float32)
with vp.use_backend("cpu"):
    for count in (1, 1000, 100_000, 1_000_000):
        vp.cross(a[:count], a[0])
        vp.cross(a[:count], a[:count])
        vp.linalg.vecdot(a[:count], a[0])
    vp.linalg.vecdot(a[0], a[1, ::-1])
"""


def test_later_processes_find_what_was_compiled(tmp_path):
    command = ("-m", "vecprod_gpu", "precompile", "cross", "vecdot", "--dtype", "float32", "--json")
    first = json.loads(run_in(tmp_path, *command).stdout)
    compiled = kernels(tmp_path)
    assert [(one["operation"], one["dtype"]) for one in first["kernels"] if one["backend"] == "cpu"] == [
        ("cross", "float32"),
        ("vecdot", "float32"),
    ]
    assert all(one["compiled"] > 0 and one["seconds"] > 0 for one in first["kernels"])
    assert first["compiled"] == sum(one["compiled"] for one in first["kernels"]) == len(compiled)
    assert first["folders"]["cpu"].startswith(str(tmp_path))

    second = json.loads(run_in(tmp_path, *command).stdout)
    assert second["compiled"] == 0
    assert [one["compiled"] for one in second["kernels"]] == [0] * len(first["kernels"])

    run_in(tmp_path, "-c", CALLS)
    assert kernels(tmp_path) == compiled


ALL_OPERATIONS = """
import sys
from vecprod_gpu import cli

assert cli.main(["precompile", "--dtype", "float64", "--json"]) == 0
print("numba.np.linalg" in sys.modules, file=sys.stderr)
"""


def test_all_that_was_compiled_is_loaded_without_the_compiler(tmp_path):
    """What compiled code calls must then be known to LLVM, which ends a process that asks for what is not."""
    for missing, compiler in ((True, "True"), (False, "False")):
        done = run_in(tmp_path, "-c", ALL_OPERATIONS)
        assert bool(json.loads(done.stdout)["compiled"]) == missing
        assert done.stderr.splitlines()[-1] == compiler


JOBS = """
import sys
from vecprod_gpu import cli

data, folder = sys.argv[1:]
for job, inputs in [("cov", [data]), ("corr", [data]), ("outer", [data, data])]:
    assert cli.main([job, *inputs, "-o", f"{folder}/{job}.npy", "--backend", "cpu", "--force"]) == 0
"""


GRADIENTS = """
import numpy as np
import vecprod_gpu as vp

X = np.ones((4000, 64))
with vp.use_backend("cpu"):
    for count in (4000, 4000, 4000):
        vp.linreg_gradient(X[:count], X[:count, 0], X[0])
    vp.cross(*np.ones((2, 1_000_000, 3)))
"""


def test_calls_that_follow_each_other_find_what_their_helpers_run(tmp_path):
    """And what sends these away, once a call needs the threads otherwise."""
    run_in(tmp_path, "-m", "vecprod_gpu", "precompile", "gradient", "cross", "--dtype", "float64")
    compiled = kernels(tmp_path)
    run_in(tmp_path, "-c", GRADIENTS)
    assert kernels(tmp_path) == compiled


def test_jobs_on_files_find_what_was_compiled(tmp_path):
    run_in(tmp_path, "-m", "vecprod_gpu", "precompile", "covariance", "outer", "--dtype", "float64")
    compiled = kernels(tmp_path)
    data = tmp_path / "data.npy"
    for columns in (6, 12):
        np.save(data, np.random.default_rng(0).standard_normal((5000, columns)))
        run_in(tmp_path, "-c", JOBS, data, tmp_path)
        assert {path.stem for path in tmp_path.glob("*.npy")} == {"data", "cov", "corr", "outer"}
        assert kernels(tmp_path) == compiled


# --- The command, whose operations are stood in for ------------------------------------------------


@pytest.fixture
def called(monkeypatch, tmp_path):
    """Calls of one operation, which leaves a file in the cache unless it is there: (backend, dtype) each."""
    calls = []

    def call(dtype):
        vectors = np.ones((2, 3), dtype)
        backend = vp.explain(vp.cross, vectors, vectors).backend
        calls.append((backend, dtype.name))
        (tmp_path / backend / f"{dtype.name}.nbc").touch()

    operation = _precompile.Operation(call, _precompile.NUMBERS)
    monkeypatch.setattr(_precompile, "OPERATIONS", {"cross": operation, "other": operation})
    monkeypatch.setattr(_precompile, "cache_folder", lambda backend: tmp_path / backend)
    return calls


def test_each_operation_is_called_on_the_cpu_and_on_the_gpu_for_each_dtype(called, capsys):
    assert cli.main(["precompile", "--json"]) == 0
    backends = ("cpu", "cupy")
    names = ("float32", "float64", "int64")
    assert called == [(name, dtype) for name in backends for _ in range(2) for dtype in names]
    report = json.loads(capsys.readouterr().out)
    assert [one["compiled"] for one in report["kernels"]] == [1, 1, 1, 0, 0, 0] * 2
    assert report["compiled"] == 6
    assert report["left_out"] == {}


def test_operations_and_dtypes_can_be_chosen(called, capsys):
    assert cli.main(["precompile", "other", "--dtype", "int64,float32"]) == 0
    assert called == [(name, dtype) for name in ("cpu", "cupy") for dtype in ("float32", "int64")]


def test_it_says_what_was_compiled_and_where_it_is_kept(called, capsys, tmp_path):
    assert cli.main(["precompile", "cross"]) == 0
    first = capsys.readouterr().out
    assert "6 kernels compiled in" in first
    assert f"cpu: kept in {tmp_path / 'cpu'}" in first.splitlines()
    assert cli.main(["precompile", "cross"]) == 0
    assert "All kernels were there already." in capsys.readouterr().out


def test_without_a_gpu_it_says_that_nothing_is_compiled_for_one(called, capsys, monkeypatch):
    monkeypatch.setattr(_precompile, "backends", lambda: ["cpu"])
    assert cli.main(["precompile"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("cupy: left out, ")
    assert last.endswith(_precompile_command.ONLY_WHERE_THE_GPU_IS)
    assert {backend for backend, _ in called} == {"cpu"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["crass"], "operation is 'crass'; it is one of cross, other"),
        (["--dtype", "float16"], "dtype is 'float16'; it is one of float32, float64, int64"),
        (["--arch", "90"], "--arch"),
    ],
)
def test_what_there_is_not_is_bad_input(called, capsys, arguments, named):
    assert cli.main(["precompile", *arguments]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert not called


def test_with_neither_numba_nor_a_gpu_there_is_nothing_to_do(called, capsys, monkeypatch):
    monkeypatch.setattr(_precompile, "backends", list)
    assert cli.main(["precompile"]) == 2
    assert "there is nothing to compile with: cpu: " in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_a_fault(called, capsys, tmp_path):
    (tmp_path / "cpu").touch()
    assert cli.main(["precompile"]) == 1
    assert str(tmp_path / "cpu") in capsys.readouterr().err
    assert not called


def test_every_operation_takes_each_of_its_dtypes_on_the_cpu_alone(monkeypatch):
    """None falls back to another backend, where it would compile nothing."""
    monkeypatch.setattr(_precompile, "SEVERAL_BLOCKS", 64)
    before = vp.fallback_counts()
    for task in _precompile.tasks("cpu", (), ()):
        if task.operation in ("outer", "cross", "vecdot", "geometry"):
            task.run()
    assert vp.fallback_counts() == before


@pytest.mark.parametrize("mebibytes", [4, 24])
def test_loops_past_the_cache_are_compiled_whatever_its_size(mebibytes, monkeypatch):
    built = set()

    def spy(name):
        build = getattr(operations, name)

        def building(dtype, past_cache=False):
            built.add((name, past_cache))
            return build(dtype, past_cache)

        monkeypatch.setattr(operations, name, building)

    for module in (operations, processor):
        monkeypatch.setattr(module, "LAST_CACHE_BYTES", mebibytes << 20)
    names = ("cross_rows_ufunc", "outer_rows_ufunc")
    for name in names:
        spy(name)
    with vp.use_backend("cpu"):
        _precompile._cross(np.dtype(np.float32))
        _precompile._outer(np.dtype(np.float32))
    assert {(name, True) for name in names} <= built
