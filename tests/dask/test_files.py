"""Files that the workers read by themselves, in ranges of rows."""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest

import vecprod_gpu as vp
import vecprod_gpu.dask
from tests.dask.data import (
    SEGMENT,
    assert_same_summary,
    chunked,
    random_chunks,
    random_rows,
    shrink_segments,
)
from vecprod_gpu import CoMoments
from vecprod_gpu.cli import main
from vecprod_gpu.dask import _files
from vecprod_gpu.linreg._streaming import streamed


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch):
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", streamed.SEGMENT_BYTES)
    shrink_segments()
    monkeypatch.setattr(_files, "RANGE_BYTES", 2 * streamed.SEGMENT_BYTES)


@pytest.fixture
def files(rng, tmp_path):
    """A table without and one with names, of the same numbers."""
    X, y, _ = random_rows(rng, 300)
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    table = {**dict(zip("abc", X.T, strict=True)), "price": y}
    parquet.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=70)
    lines = [",".join(table), *(",".join(map(repr, map(float, row))) for row in np.column_stack([X, y]))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return tmp_path, X, y


@pytest.mark.parametrize("how", [{}, {"solver": "svd"}, {"l2": 0.1}])
@pytest.mark.parametrize("source", ["X.npy", "t.parquet", "t.csv"])
def test_a_fit_has_the_bits_of_the_streamed_one(files, source, how):
    folder, X, y = files
    target = str(folder / "y.npy") if source == "X.npy" else "price"
    fit, rows = _files.fit_files(str(folder / source), target, scheduler="threads", **how)
    assert rows == len(X)
    kind = vp.TSQR if how.get("solver") == "svd" else CoMoments
    np.testing.assert_array_equal(fit.coef, vp.linreg_fit(kind.from_arrays(X, y), **how).coef)


@pytest.fixture(scope="module")
def pool():
    """Two processes that begin anew, as those do that the scheduler of this name starts by itself."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn, initializer=shrink_segments) as processes:
        yield processes


class TestProcesses:
    @pytest.fixture(autouse=True)
    def _of_the_pool(self, pool):
        with dask.config.set(pool=pool):
            yield

    def test_cannot_be_seen_in_the_bits(self, rng):
        X, y, s = random_rows(rng, 300)
        lazy = chunked(random_chunks(rng, 300, SEGMENT), X, y, s)
        moments, fit, matrix, products = dask.compute(
            vecprod_gpu.dask.co_moments(*lazy),
            vecprod_gpu.dask.linreg_fit(*lazy[:2], sample_weight=lazy[2]),
            vecprod_gpu.dask.cov(lazy[0], rowvar=False),
            vecprod_gpu.dask.cross(lazy[0], X[0]),
            scheduler="processes",
        )
        theirs = CoMoments.from_arrays(X, y, s)
        assert_same_summary(moments, theirs)
        np.testing.assert_array_equal(fit.coef, vp.linreg_fit(theirs).coef)
        np.testing.assert_array_equal(matrix, CoMoments.from_arrays(X).cov())
        np.testing.assert_array_equal(products, np.cross(X, X[0]))

    def test_read_files(self, files, capsys):
        folder, X, y = files
        coef = vp.linreg_fit(CoMoments.from_arrays(X, y)).coef
        fit, rows = _files.fit_files(str(folder / "t.parquet"), "price", scheduler="processes")
        assert rows == len(X)
        np.testing.assert_array_equal(fit.coef, coef)
        out = folder / "model.json"
        words = ("fit", folder / "t.csv", "--target", "price", "--scheduler", "processes", "-o", out)
        assert main([str(word) for word in words]) == 0
        np.testing.assert_array_equal(json.loads(out.read_text())["coef"], [coef])

    def test_name_what_is_wrong(self, files, capsys):
        folder, X, _ = files
        X[211, 1] = np.nan
        np.save(folder / "X.npy", X)
        words = ("fit", folder / "X.npy", "--target", folder / "y.npy", "--scheduler", "processes")
        assert main([str(word) for word in (*words, "-o", folder / "model.json")]) == 2
        assert "X.npy: [211, 1] is nan" in capsys.readouterr().err
        with pytest.raises(vp.errors.NotFiniteError, match="at row 211, column 1"):
            vecprod_gpu.dask.co_moments(da.from_array(X, chunks=(100, 3))).compute(scheduler="processes")


class TestTheCommand:
    def run(self, folder, *options, source="t.parquet"):
        out = folder / "model.json"
        words = ("fit", folder / source, "--target", "price", "-o", out, "--force", *options)
        return main([str(word) for word in words]), out

    @pytest.mark.parametrize("solver", ["cholesky", "svd"])
    @pytest.mark.parametrize("source", ["t.parquet", "t.csv"])
    def test_writes_the_model_of_the_streamed_fit(self, files, solver, source):
        folder, _, _ = files
        models = []
        for options in ((), ("--scheduler", "threads")):
            status, out = self.run(folder, "--solver", solver, *options, source=source)
            assert status == 0
            models.append(json.loads(out.read_text()))
        streamed_model, model = models
        assert model["coef"] == streamed_model["coef"]
        assert model["intercept"] == streamed_model["intercept"]
        assert model["data"] == streamed_model["data"]

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (("--cv", "3", "--l2", "0.1,1"), "--cv"),
            (("--checkpoint", "half.ckpt"), "--checkpoint"),
            (("--memory", "1GB"), "--memory"),
            (("--solver", "sgd"), "--solver sgd"),
        ],
    )
    def test_says_what_does_not_go_with_a_scheduler(self, files, options, why, capsys):
        folder, _, _ = files
        status, out = self.run(folder, "--scheduler", "threads", *options)
        assert status == 2
        assert not out.exists()
        assert f"--scheduler does not go with {why}" in capsys.readouterr().err

    @pytest.mark.parametrize("of", ["cov", "corr"])
    def test_writes_the_matrix_of_the_streamed_columns(self, files, of, capsys):
        folder, X, _ = files
        out, words = str(folder / "out.npy"), [of, str(folder / "t.csv"), "--columns", "c,a", "--json"]
        assert main([*words, "--scheduler", "threads", "-o", out]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["inputs"] == [
            {"argument": "m", "file": words[1], "shape": [300, 2], "dtype": "float64"}
        ]
        moments = CoMoments.from_arrays(X[:, [2, 0]])
        np.testing.assert_array_equal(np.load(out), moments.cov() if of == "cov" else moments.corrcoef())
        assert main([*words, "--scheduler", "threads", "-b", "reference", "-o", out, "--force"]) == 2
        assert "--scheduler does not go with --backend" in capsys.readouterr().err

    @pytest.mark.parametrize("scheduler", [(), ("--scheduler", "threads")])
    @pytest.mark.parametrize("file", ["t.csv", "t.parquet", "t.npy"])
    @pytest.mark.parametrize("job", [("cov",), ("corr",), ("fit", "--target", "0")])
    def test_says_that_there_are_no_rows(self, job, file, scheduler, tmp_path, capsys):
        (tmp_path / "t.csv").write_text("a,b\n")
        np.save(tmp_path / "t.npy", np.empty((0, 2)))
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"a": np.empty(0), "b": np.empty(0)}), tmp_path / "t.parquet")
        source, out = tmp_path / file, tmp_path / ("out.json" if "fit" in job else "out.npy")
        words = (job[0], source, *job[1:], *scheduler, "-o", out)
        assert main([str(word) for word in words]) == 2
        assert capsys.readouterr().err == f"vecprod: {source} has no rows\n"

    def test_needs_dask_and_says_so(self, files, capsys, monkeypatch):
        folder, _, _ = files
        for name in [name for name in sys.modules if name.startswith("vecprod_gpu.dask")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "dask", None)
        assert self.run(folder, "--scheduler", "threads")[0] == 2
        needed = 'vecprod: dask is not installed; run: pip install "vecprod-gpu[dask]"\n'
        assert capsys.readouterr().err == needed

    def test_names_a_scheduler_that_is_not_there(self, files, capsys):
        folder, _, _ = files
        status, out = self.run(folder, "--scheduler", "nowhere")
        assert status == 2
        assert not out.exists()
        assert "--scheduler is 'nowhere'" in capsys.readouterr().err


def test_co_moments_of_columns(files):
    folder, X, _ = files
    moments = _files.moments_of_files(str(folder / "t.parquet"), scheduler="synchronous", columns=["c", "a"])
    np.testing.assert_array_equal(moments.cov(), CoMoments.from_arrays(X[:, [2, 0]]).cov())


def test_what_is_wrong_is_named(files):
    folder, X, _ = files
    X[211, 1] = np.nan
    np.save(folder / "X.npy", X)
    with pytest.raises(vp.errors.BadInputError, match=r"X\.npy.*211.*nan"):
        _files.fit_files(str(folder / "X.npy"), str(folder / "y.npy"), scheduler="synchronous")
    with pytest.raises(vp.errors.ArgumentError, match="anew for each step"):
        _files.fit_files(str(folder / "X.npy"), str(folder / "y.npy"), solver="sgd")
