"""What a job holds stays below its budget, the pages of mapped files included."""

import json
import re
import sys

import numpy as np
import pytest
import zarr

import vecprod_gpu as vp
from tests.stream.jobs import begin, finish
from tests.stream.stores import write_csv
from vecprod_gpu.stream import _run

MEGABYTE = 1 << 20


def peak(folder, *arguments):
    """The most that a job held, in bytes."""
    status, _, err = finish(begin(folder, *arguments, "--force"))
    assert (status, err) == (0, "")
    return told(folder)


def told(folder):
    """The most that the last job held, in bytes."""
    return 1024 * int((folder / "peak").read_text())


ROWS = 200 * MEGABYTE // (16 * 8)  # twice as much as the budget leaves


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with a large table and a small one, and their targets."""
    folder = tmp_path_factory.mktemp("tables")
    part = np.random.default_rng(1).normal(size=(1 << 16, 16))
    big = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float64, (ROWS, 16))
    for start in range(0, ROWS, len(part)):
        big[start : start + len(part)] = part
    del big
    np.save(folder / "y.npy", np.arange(ROWS) % 17.0)
    np.save(folder / "small.npy", np.ones((40, 16)) + np.eye(40, 16))
    np.save(folder / "few.npy", np.arange(40.0))
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak")
@pytest.mark.parametrize("solver", ["cholesky", "svd"])
def test_the_budget_is_kept(solver, tables):
    how = ("--solver", solver, "-o", "model.json")
    base = peak(tables, "fit", "small.npy", "--target", "few.npy", *how)
    budget = base + 100 * MEGABYTE
    found = peak(tables, "fit", "X.npy", "--target", "y.npy", "--memory", budget, *how)
    assert found < budget
    model = json.loads((tables / "model.json").read_text())
    assert model["data"]["rows"] == ROWS
    if solver == "cholesky":
        predicted = peak(tables, "predict", "model.json", "X.npy", "--memory", budget, "-o", "out.npy")
        assert predicted < budget
        assert np.load(tables / "out.npy", mmap_mode="r").shape == (ROWS,)


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak")
@pytest.mark.parametrize("more", [0, 100, 1000])
@pytest.mark.parametrize("solver", ["cholesky", "svd"])
def test_what_numpy_makes_of_segments_counts(solver, more, tables):
    words = ("fit", "X.npy", "--target", "y.npy", "--solver", solver, "-b", "reference", "-o", "model.json")
    status, _, err = finish(begin(tables, *words, "--force", "--memory", "1MB"))
    assert (status, err.count("\n")) == (2, 1)
    budget = int(re.search(r"needed are (\d+) or more", err)[1]) + (5 + more) * MEGABYTE
    assert peak(tables, *words, "--memory", budget) < budget


def test_counting_rows_leaves_room_for_what_sums_load(tmp_path, monkeypatch):
    write_csv(tmp_path / "t.csv", np.random.default_rng(1).normal(size=(40, 3)))
    sized, loaded = _run.batch_bytes, vp.CoMoments.from_rows
    seen = []
    monkeypatch.setattr(_run, "batch_bytes", lambda *how: seen.append("sized") or sized(*how))
    monkeypatch.setattr(vp.CoMoments, "from_rows", lambda rows: seen.append("loaded") or loaded(rows))
    vp.stream.linreg_search(tmp_path / "t.csv", target=-1, cv=3, memory="100GB")
    assert seen[0] == "loaded"


CHUNK = 48 * MEGABYTE


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with Zarr arrays of 144 MiB in large chunks, shards and small chunks; and one of few rows."""
    folder = tmp_path_factory.mktemp("stores")
    rows = CHUNK // 32
    part = np.random.default_rng(1).normal(size=(rows, 4))
    for name, how in {
        "rows.zarr": {"chunks": (rows, 4)},
        "columns.zarr": {"chunks": (rows, 1)},
        "shards.zarr": {"chunks": (1 << 14, 4), "shards": (rows // (1 << 14) * (1 << 14), 4)},
        "small.zarr": {"chunks": (10_000, 4)},
    }.items():
        array = zarr.create_array(folder / name, shape=(3 * rows, 4), dtype=float, **how)
        for start in range(0, 3 * rows, rows):
            array[start : start + rows] = part
    zarr.create_array(folder / "few.zarr", data=part[:40], chunks=(40, 4))
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak")
class TestChunks:
    FIT = ("--target", "-1", "--solver", "cholesky", "-o", "model.json")

    @pytest.mark.parametrize("store", ["rows.zarr", "columns.zarr", "shards.zarr", "small.zarr"])
    def test_count(self, store, stores):
        copies = 0 if store == "small.zarr" else 5
        budget = peak(stores, "fit", "few.zarr", *self.FIT) + copies * CHUNK + 120 * MEGABYTE
        assert peak(stores, "fit", store, *self.FIT, "--memory", budget) < budget

    def test_that_do_not_fit_are_refused_before_one_is_read(self, stores):
        base = peak(stores, "fit", "few.zarr", *self.FIT)
        words, budget = ("fit", "rows.zarr", *self.FIT, "--force", "--memory"), base + 4 * CHUNK
        status, _, err = finish(begin(stores, *words, budget))
        assert (status, err.count("\n")) == (2, 1)
        assert f"memory is {budget} bytes, of which " in err
        assert f"chunks of rows.zarr have {CHUNK} bytes, and 5 times as much is held; give it smaller" in err
        assert told(stores) < base + CHUNK // 2
        enough = int(re.search(r"needed are (\d+) or more", err)[1]) + 10 * MEGABYTE
        assert peak(stores, *words, enough) < enough

    def test_count_where_all_rows_are_read_at_once(self, stores):
        words = (*self.FIT[:2], "--solver", "gd", "--tol", "1", "-o", "model.json")
        peak(stores, "fit", "few.zarr", *words)  # compiles, which takes more than all that follows
        base = peak(stores, "fit", "few.zarr", *words)
        budget = base + (3 + 3) * CHUNK
        status, _, err = finish(begin(stores, "fit", "rows.zarr", *words, "--force", "--memory", budget))
        assert (status, err.count("\n")) == (2, 1)
        assert "--solver gd needs all rows in memory" in err
        assert f"{(3 + 5) * CHUNK} bytes beside the " in err
        assert told(stores) < base + CHUNK // 2
        budget = base + (3 + 5) * CHUNK + 10 * MEGABYTE
        assert peak(stores, "fit", "rows.zarr", *words, "--memory", budget) < budget

    def test_count_of_products_too(self, stores):
        np.save(stores / "one.npy", np.ones((1, 3)))
        product = ("one.npy", "--columns", "0,1,2", "--columns", "0,1,2", "-b", "reference", "-o", "out.npy")
        base = peak(stores, "cross", "few.zarr", *product)
        words, budget = ("cross", "rows.zarr", *product, "--force", "--memory"), base + 6 * CHUNK
        assert peak(stores, *words, budget) < budget
        status, _, err = finish(begin(stores, *words, base + 4 * CHUNK))
        assert (status, err.count("\n")) == (2, 1)
        assert f"chunks of rows.zarr have {CHUNK} bytes" in err
        assert told(stores) < base + CHUNK // 2
