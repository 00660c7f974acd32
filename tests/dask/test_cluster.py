"""Clusters of processes: the same bits with any number of workers, whichever of them die."""

import json

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

import vecprod_gpu as vp
import vecprod_gpu.dask
from tests.dask.data import (
    COLUMNS,
    SEGMENT,
    assert_same_summary,
    chunked,
    deadly,
    fitted_in_memory,
    in_blocks,
    random_chunks,
    random_rows,
    shrink_segments,
)
from vecprod_gpu import TSQR, CoMoments
from vecprod_gpu.cli import main
from vecprod_gpu.dask import _files
from vecprod_gpu.linreg._streaming import streamed

WORKERS = 3


@pytest.fixture(scope="module", autouse=True)
def _small_segments():
    before = streamed.SEGMENT_BYTES
    shrink_segments()
    yield
    streamed.SEGMENT_BYTES = before


@pytest.fixture(scope="module")
def client():
    """Of three workers, which the tests may have fewer of, and which load no Numba, as nothing here does."""
    with (
        vp.use_backend("reference"),
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            env={"VECPROD_BACKEND": "reference"},
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_worker_callbacks(shrink_segments)
        yield client


def workers_of(client, count):
    client.wait_for_workers(WORKERS)
    return list(client.scheduler_info(n_workers=-1)["workers"])[:count]


@pytest.mark.parametrize("count", [1, 2, WORKERS])
def test_the_workers_cannot_be_seen(client, count, rng):
    workers = workers_of(client, count)
    X, y, s = random_rows(rng, 500)
    aligned, other = random_chunks(rng, 500, SEGMENT), (9, *random_chunks(rng, 491))
    lazies = [
        vecprod_gpu.dask.co_moments(*chunked(aligned, X, y, s)),
        vecprod_gpu.dask.tsqr(*chunked(aligned, X, y, s)),
        vecprod_gpu.dask.co_moments(*chunked(other, X, y, s)),
        vecprod_gpu.dask.linreg_fit(*chunked(aligned, X, y), sample_weight=s, l2=0.1),
        vecprod_gpu.dask.linreg_search(*chunked(aligned, X, y), sample_weight=s, l2=[0.1, 1.0]),
    ]
    moments, factor, blocks, fit, search = client.gather(client.compute(lazies, workers=workers))
    assert_same_summary(moments, CoMoments.from_arrays(X, y, s))
    assert_same_summary(moments, CoMoments().update(X[:77], y[:77], s[:77]).update(X[77:], y[77:], s[77:]))
    assert_same_summary(factor, TSQR.from_arrays(X, y, s))
    assert_same_summary(blocks, in_blocks(CoMoments, other, X, y, s))
    np.testing.assert_array_equal(fit.coef, fitted_in_memory(X, y, s, l2=0.1).coef)
    alone = vecprod_gpu.dask.linreg_search(*chunked(aligned, X, y), sample_weight=s, l2=[0.1, 1.0])
    np.testing.assert_array_equal(search.scores, alone.compute(scheduler="synchronous").scores)


def test_rows_stay_with_their_worker(client):
    workers_of(client, WORKERS)
    client.run(forget_transfers)
    X = da.random.default_rng(0).random((80_000, 3), chunks=(2000, 3))
    y = da.random.default_rng(1).random(80_000, chunks=2000)
    moments = client.compute(vecprod_gpu.dask.co_moments(X, y)).result()
    assert moments.n_samples == 80_000
    transfers = [log for logs in client.run(transfers_of).values() for log in logs]
    summary = sum(array.nbytes for array in vars(moments.summary).values())
    assert summary == 8 * (1 + COLUMNS + COLUMNS**2)
    rows_of_a_block = 2000 * COLUMNS * 8
    for nbytes, parts in transfers:
        assert nbytes / parts < rows_of_a_block / 8


def forget_transfers(dask_worker):
    dask_worker.transfer_incoming_log.clear()


def transfers_of(dask_worker):
    return [(log["total"], len(log["keys"])) for log in dask_worker.transfer_incoming_log]


def test_a_worker_that_dies_changes_nothing(client, rng, tmp_path):
    workers = set(workers_of(client, WORKERS))
    X, y, _ = random_rows(rng, 640)
    lazy = da.from_array(X, chunks=(64, 3))
    lazy = da.map_blocks(deadly, lazy, str(tmp_path / "killed"), dtype=X.dtype, meta=lazy._meta)
    moments = client.compute(vecprod_gpu.dask.co_moments(lazy, y)).result()
    assert (tmp_path / "killed").exists()
    assert_same_summary(moments, CoMoments.from_arrays(X, y))
    assert set(client.scheduler_info(n_workers=-1)["workers"]) != workers


def test_an_error_comes_back_from_a_worker(client, rng):
    X, y, _ = random_rows(rng, 100)
    X[73, 2] = np.nan
    with pytest.raises(vp.errors.NotFiniteError, match=r"^X holds nan at row 73, column 2;"):
        client.compute(vecprod_gpu.dask.linreg_fit(*chunked((30, 70), X, y))).result()


def test_files_are_read_by_the_workers_of_an_address(client, rng, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_files, "RANGE_BYTES", 2 * streamed.SEGMENT_BYTES)
    X, y, _ = random_rows(rng, 300)
    files = {name: str(tmp_path / f"{name}.npy") for name in "Xy"}
    for name, array in (("X", X), ("y", y)):
        np.save(files[name], array)
    address = client.scheduler.address
    fit, rows = _files.fit_files(files["X"], files["y"], scheduler=address, solver="svd")
    assert rows == 300
    np.testing.assert_array_equal(fit.coef, vp.linreg_fit(TSQR.from_arrays(X, y)).coef)
    words = ["fit", files["X"], "--target", files["y"], "--scheduler", address]
    assert main([*words, "-o", str(tmp_path / "model.json")]) == 0
    coef = json.loads((tmp_path / "model.json").read_text())["coef"]
    np.testing.assert_array_equal(coef, [vp.linreg_fit(CoMoments.from_arrays(X, y)).coef])
    X[211, 1] = np.nan
    np.save(files["X"], X)
    assert main([*words, "-o", str(tmp_path / "none.json")]) == 2
    assert "X.npy: [211, 1] is nan" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()
