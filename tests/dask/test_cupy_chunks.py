"""Chunks of CuPy are read where they are, and results keep their kind where that is promised."""

import cupy
import dask
import numpy as np
import pytest

import vecprod_gpu as vp
import vecprod_gpu.dask
from tests.conftest import REAL_GPU
from tests.dask.data import assert_same_summary, chunked, in_blocks, random_rows
from tests.shim import fake_cupy
from vecprod_gpu import CoMoments

CHUNKS = (70, 7, 64, 159)


@pytest.fixture
def problem(rng):
    """Rows on the device, and the same in chunks that are brought there by the workers."""
    arrays = random_rows(rng, sum(CHUNKS))
    lazy = [array.map_blocks(cupy.asarray) for array in chunked(CHUNKS, *arrays)]
    return [cupy.asarray(array) for array in arrays], lazy


@pytest.fixture(params=["synchronous", "threads"], autouse=True)
def _scheduler(request):
    with dask.config.set(scheduler=request.param):
        yield


def assert_same_on_the_device(ours, theirs):
    assert type(ours) is type(theirs) is cupy.ndarray
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours.get(), theirs.get())


def test_co_moments_are_those_of_the_blocks(problem):
    arrays, lazy = problem
    assert_same_summary(vecprod_gpu.dask.co_moments(*lazy).compute(), in_blocks(CoMoments, CHUNKS, *arrays))


def test_fits_and_searches_are_those_of_co_moments(problem):
    (X, y, s), (lazy, target, weights) = problem
    moments = in_blocks(CoMoments, CHUNKS, X, y, s)
    fit = vecprod_gpu.dask.linreg_fit(lazy, target, sample_weight=weights, l2=0.1).compute()
    np.testing.assert_array_equal(fit.coef, vp.linreg_fit(moments, l2=0.1).coef)
    how = {"l2": [0.01, 1.0], "cv": 3}
    search = vecprod_gpu.dask.linreg_search(lazy, target, sample_weight=weights, **how).compute()
    theirs = vp.linreg_search(X.get(), y.get(), sample_weight=s.get(), **how)
    np.testing.assert_allclose(search.scores, theirs.scores, rtol=1e-9, atol=1e-12)


def test_covariances_come_to_the_host(problem):
    (X, *_), (lazy, *_) = problem
    moments = in_blocks(CoMoments, CHUNKS, X)
    for ours, theirs in (
        (vecprod_gpu.dask.cov(lazy, rowvar=False), moments.cov()),
        (vecprod_gpu.dask.corrcoef(lazy, rowvar=False), moments.corrcoef()),
    ):
        assert type(ours._meta) is np.ndarray
        np.testing.assert_array_equal(ours.compute(), theirs)


def test_gram_stays_on_the_device(problem):
    (X, *_), (lazy, *_) = problem
    ours = vecprod_gpu.dask.gram(lazy)
    assert type(ours._meta) is type(ours.compute()) is cupy.ndarray
    np.testing.assert_allclose(ours.compute().get(), X.get().T @ X.get(), rtol=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(vecprod_gpu.dask.batched_outer, vp.batched_outer), (vecprod_gpu.dask.cross, vp.cross)],
)
def test_products_stay_on_the_device(ours, theirs, problem):
    (X, *_), (lazy, *_) = problem
    for other, lazy_other in ((X, lazy), (X[0], X[0])):
        product = ours(lazy, lazy_other)
        assert type(product._meta) is cupy.ndarray
        assert_same_on_the_device(product.compute(), theirs(X, other))


@pytest.mark.skipif(REAL_GPU, reason="only the stand-in counts what is launched")
@pytest.mark.parametrize(("name", "operands"), [("co_moments", 1), ("gram", 1), ("cross", 2)])
def test_each_block_is_computed_on_the_device(name, operands, problem, monkeypatch):
    seen, pack = [], fake_cupy._pack

    def counted(value):
        if isinstance(value, cupy.ndarray):
            seen.append(value.ctypes.data)
        return pack(value)

    monkeypatch.setattr(fake_cupy, "_pack", counted)
    _, (lazy, *_) = problem
    getattr(vecprod_gpu.dask, name)(*[lazy] * operands).compute()
    assert len(seen) >= operands * len(CHUNKS)
