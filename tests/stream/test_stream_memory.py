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


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak")
@pytest.mark.parametrize("solver", ["cholesky", "svd"])
def test_the_budget_is_kept(solver, tmp_path):
    rows = 300 * MEGABYTE // (16 * 8)
    big = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (rows, 16))
    rng = np.random.default_rng(1)
    for start in range(0, rows, 1 << 16):
        big[start : start + (1 << 16)] = rng.normal(size=big[start : start + (1 << 16)].shape)
    del big
    np.save(tmp_path / "y.npy", np.arange(rows) % 17.0)
    np.save(tmp_path / "small.npy", np.ones((40, 16)) + np.eye(40, 16))
    np.save(tmp_path / "few.npy", np.arange(40.0))
    how = ("--solver", solver, "-o", "model.json")
    base = peak(tmp_path, "fit", "small.npy", "--target", "few.npy", *how)
    budget = base + 100 * MEGABYTE
    found = peak(tmp_path, "fit", "X.npy", "--target", "y.npy", "--memory", budget, *how)
    assert found < budget
    model = json.loads((tmp_path / "model.json").read_text())
    assert model["data"]["rows"] == rows
    if solver == "cholesky":
        predicted = peak(tmp_path, "predict", "model.json", "X.npy", "--memory", budget, "-o", "out.npy")
        assert predicted < budget
        assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (rows,)
