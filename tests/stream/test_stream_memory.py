"""What a job holds stays below its budget, the pages of mapped files included."""

import json
import sys

import numpy as np
import pytest

from tests.stream.jobs import begin, finish

MEGABYTE = 1 << 20


def peak(folder, *arguments):
    """The most that a job held, in bytes."""
    status, _, err = finish(begin(folder, *arguments, "--force"))
    assert (status, err) == (0, "")
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
