"""Sums over the rows of arrays and data frames of Dask: lazy, and with bits that no scheduler can change."""

import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.delayed import Delayed

import vecprod_gpu as vp
import vecprod_gpu.dask
from tests.dask.data import (
    SEGMENT,
    assert_same_summary,
    chunked,
    fitted_in_memory,
    in_blocks,
    random_chunks,
    random_rows,
    shrink_segments,
)
from vecprod_gpu import TSQR, CoMoments
from vecprod_gpu.backends._cpu.threads import pools
from vecprod_gpu.linreg._streaming import streamed

KINDS = {CoMoments: vecprod_gpu.dask.co_moments, TSQR: vecprod_gpu.dask.tsqr}


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch):
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", streamed.SEGMENT_BYTES)
    shrink_segments()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_chunks_of_whole_segments_cannot_be_seen(kind, seed):
    rng = np.random.default_rng(seed)
    X, y, s = random_rows(rng, int(rng.integers(1, 600)))
    lazy = KINDS[kind](*chunked(random_chunks(rng, len(X), SEGMENT), X, y, s))
    assert isinstance(lazy, Delayed)
    for scheduler in ("synchronous", "threads"):
        assert_same_summary(lazy.compute(scheduler=scheduler), kind.from_arrays(X, y, s))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_other_chunks_are_blocks(kind, seed):
    rng = np.random.default_rng(seed)
    X, y, s = random_rows(rng, int(rng.integers(20, 600)), (2,))
    chunks = (3, *random_chunks(rng, len(X) - 3))
    for scheduler in ("synchronous", "threads"):
        ours = KINDS[kind](*chunked(chunks, X, y, s)).compute(scheduler=scheduler, num_workers=4)
        assert_same_summary(ours, in_blocks(kind, chunks, X, y, s))
    np.testing.assert_allclose(ours.mean, np.average(X, axis=0, weights=s), rtol=1e-12)


def test_aligned_chunks_are_near(rng):
    X, y, _ = random_rows(rng, 1000)
    lazy = da.from_array(X, chunks=((100, 7, 393, 500), 3))
    chunks = vecprod_gpu.dask.aligned_chunks(lazy, y)
    assert chunks == (96, 16, 384, 504)
    ours = vecprod_gpu.dask.co_moments(lazy.rechunk({0: chunks}), y).compute()
    assert_same_summary(ours, CoMoments.from_arrays(X, y))
    assert vecprod_gpu.dask.aligned_chunks(lazy[:5]) == (5,)


def test_chunks_are_brought_together(rng):
    X, y, s = random_rows(rng, 200)
    lazy = da.from_array(X, chunks=(64, 2))
    ours = vecprod_gpu.dask.co_moments(lazy, da.from_array(y, chunks=50), s).compute()
    assert_same_summary(ours, CoMoments.from_arrays(X, y, s))


def test_chunks_without_rows(rng):
    X, y, _ = random_rows(rng, 80)
    for chunks in ((0, 32, 0, 48, 0), (10, 0, 70)):
        ours = vecprod_gpu.dask.co_moments(*chunked(chunks, X, y)).compute()
        theirs = CoMoments.from_arrays(X, y) if chunks[0] == 0 else in_blocks(CoMoments, (10, 70), X, y)
        assert_same_summary(ours, theirs)


def test_lengths_that_are_not_known(rng):
    X, y, _ = random_rows(rng, 96)
    lazy = da.from_array(X, chunks=(32, 3))
    kept = lazy[lazy[:, 0] > -np.inf]
    assert np.isnan(kept.shape[0])
    ours = vecprod_gpu.dask.co_moments(kept, da.from_array(y, chunks=32)).compute()
    assert_same_summary(ours, in_blocks(CoMoments, (32,) * 3, X, y))
    with pytest.raises(vp.errors.ShapeError, match="y has 2 chunks of rows; needed are 3"):
        vecprod_gpu.dask.co_moments(kept, da.from_array(y, chunks=48))
    with pytest.raises(vp.errors.ShapeError, match=r"in block \d"):
        vecprod_gpu.dask.co_moments(kept, da.from_array(y, chunks=((32, 31, 33),))).compute()


@pytest.mark.parametrize("lengths", [None, True])
def test_data_frames(rng, lengths):
    X, y, s = random_rows(rng, 96)
    frame = pd.DataFrame(X, columns=list("abc")).assign(target=y, weight=s)
    lazy = dd.from_pandas(frame, npartitions=3)
    how = {"sample_weight": "weight", "lengths": lengths}
    ours = vecprod_gpu.dask.co_moments(lazy, "target", **how).compute()
    theirs = CoMoments.from_arrays(X, y, s) if lengths else in_blocks(CoMoments, (32,) * 3, X, y, s)
    assert_same_summary(ours, theirs)
    some = vecprod_gpu.dask.co_moments(lazy, ["target", "a"], columns=["c", "b"], lengths=lengths).compute()
    np.testing.assert_allclose(some.mean, X[:, [2, 1]].mean(axis=0), rtol=1e-12)
    assert some.y_mean.shape == (2,)
    filtered = lazy[lazy.weight > 2]
    assert vecprod_gpu.dask.co_moments(filtered, "target").compute().n_samples == 0
    fit = vecprod_gpu.dask.linreg_fit(lazy, "target", **how).compute()
    np.testing.assert_array_equal(fit.coef, vp.linreg_fit(theirs).coef)
    search = vecprod_gpu.dask.linreg_search(lazy, "target", sample_weight="weight", l2=[0.1, 1]).compute()
    theirs = vp.linreg_search(X, y, sample_weight=s, l2=[0.1, 1])
    np.testing.assert_allclose(search.scores, theirs.scores, rtol=1e-11)
    np.testing.assert_allclose(
        vecprod_gpu.dask.cov(lazy[["a", "b"]]).compute(), np.cov(X[:, :2].T), rtol=1e-12
    )
    with pytest.raises(vp.errors.ArgumentError, match="X has no column 'price'"):
        vecprod_gpu.dask.linreg_fit(lazy, "price")


class TestCovariance:
    @pytest.mark.parametrize("how", [{}, {"bias": True}, {"ddof": 0}, {"rowvar": False}])
    @pytest.mark.parametrize("weights", [(), ("fweights",), ("aweights",), ("fweights", "aweights")])
    def test_is_that_of_numpy(self, rng, how, weights):
        m, y, s = random_rows(rng, 50)
        given = {"fweights": rng.integers(0, 3, 50), "aweights": s}
        how = how | {name: given[name] for name in weights}
        if how.get("rowvar", True):
            m = m.T
        lazy = vecprod_gpu.dask.cov(da.from_array(m, chunks=7), y, **how)
        assert (lazy.shape, lazy.dtype) == ((4, 4), np.float64)
        np.testing.assert_allclose(lazy.compute(), np.cov(m, y, **how), rtol=1e-11, atol=1e-12)

    def test_has_the_bits_of_co_moments(self, rng):
        X, _, _ = random_rows(rng, 300)
        lazy = da.from_array(X, chunks=(SEGMENT * 4, 3))
        streamed_moments = CoMoments.from_arrays(X)
        ours = vecprod_gpu.dask.cov(lazy, rowvar=False), vecprod_gpu.dask.corrcoef(lazy, rowvar=False)
        theirs = streamed_moments.cov(), streamed_moments.corrcoef()
        for one, other in zip(dask.compute(*ours), theirs, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_of_one_variable(self, rng):
        x = rng.random(40)
        lazy = da.from_array(x, chunks=9)
        assert vecprod_gpu.dask.cov(lazy).shape == ()
        np.testing.assert_allclose(vecprod_gpu.dask.cov(lazy).compute(), np.cov(x), rtol=1e-12)
        assert vecprod_gpu.dask.corrcoef(lazy).compute() == 1
        assert vecprod_gpu.dask.cov(lazy, dtype=np.float32).compute().dtype == np.float32

    def test_nothing_to_divide_by(self):
        one = da.ones((2, 1), chunks=1)
        with pytest.warns(RuntimeWarning, match="Degrees of freedom"):
            assert np.isnan(vecprod_gpu.dask.cov(one).compute(scheduler="synchronous")).all()
        with pytest.raises(ZeroDivisionError):
            vecprod_gpu.dask.cov(one, aweights=[0.0]).compute()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(vecprod_gpu.dask.corrcoef(da.ones((2, 5), chunks=5)).compute()).all()

    def test_what_it_does_not_take(self):
        with pytest.raises(vp.errors.ShapeError, match="more than 2 dim"):
            vecprod_gpu.dask.cov(da.ones((2, 2, 2)))
        with pytest.raises(vp.errors.DTypeError, match="complex128"):
            vecprod_gpu.dask.cov(da.ones((2, 2), dtype=complex))
        with pytest.raises(vp.errors.DTypeError, match="fweights must be integer"):
            vecprod_gpu.dask.cov(da.ones((2, 2)), fweights=[1.0, 2.0])
        with pytest.raises(vp.errors.DTypeError, match="array or a data frame of Dask"):
            vecprod_gpu.dask.cov(np.ones((2, 2)))


class TestRegression:
    HOW = ({}, {"l2": 0.1}, {"l1": 0.1}, {"solver": "comoments", "learning_rate": 0.01}, {"l2": [0.1, 1.0]})

    @pytest.mark.parametrize("how", HOW)
    def test_is_that_of_co_moments(self, rng, how):
        X, y, s = random_rows(rng, 200)
        lazy = vecprod_gpu.dask.linreg_fit(*chunked((64, 136), X, y), sample_weight=s, **how)
        ours, theirs = lazy.compute(), fitted_in_memory(X, y, s, **how)
        for name in ("coef", "intercept", "loss"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert (ours.solver, ours.n_iter) == (theirs.solver, theirs.n_iter)

    def test_by_triangular_factors(self, rng):
        X, y, _ = random_rows(rng, 200)
        fit = vecprod_gpu.dask.linreg_fit(*chunked((64, 136), X, y), solver="svd").compute()
        np.testing.assert_array_equal(fit.coef, vp.linreg_fit(TSQR.from_arrays(X, y)).coef)

    @pytest.mark.parametrize("chunks", [(200,), (64, 136), (50, 50, 50, 50), (7, 93, 11, 89)])
    @pytest.mark.parametrize("scoring", ["r2", "mse"])
    def test_a_search_is_that_of_rows_in_memory(self, rng, chunks, scoring):
        X, y, s = random_rows(rng, 200, (2,))
        how = {"l2": [0.01, 1.0], "l1": [0.0, 0.1], "cv": 4, "scoring": scoring}
        lazy = vecprod_gpu.dask.linreg_search(*chunked(chunks, X, y), sample_weight=s, **how)
        ours, theirs = lazy.compute(), vp.linreg_search(X, y, sample_weight=s, **how)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.coef, theirs.coef, rtol=1e-9, atol=1e-12)
        assert ours.best_params == theirs.best_params
        assert ours.reads == 1

    def test_a_search_of_whole_folds_has_their_bits(self, rng):
        X, y, _ = random_rows(rng, 200)
        ours = vecprod_gpu.dask.linreg_search(*chunked((50,) * 4, X, y), l2=[0.1, 1.0], cv=4).compute()
        theirs = vp.linreg_search(X, y, l2=[0.1, 1.0], cv=4)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        np.testing.assert_array_equal(ours.coef, theirs.coef)

    def test_what_they_do_not_take(self):
        X, y = da.ones((9, 2), chunks=3), np.ones(9)
        for arguments, how, message in (
            ((X, None), {}, "y is missing"),
            ((X, y), {"solver": "gd"}, "anew for each step"),
            ((X, y), {"max_iter": -1}, "max_iter must be at least"),
            ((X, np.ones(8)), {}, "y has 8 rows; needed are 9"),
            ((X, y), {"columns": ["a"]}, "go with a data frame"),
        ):
            with pytest.raises(ValueError, match=message):
                vecprod_gpu.dask.linreg_fit(*arguments, **how)
        for how, message in (({"cv": 10}, "cv is 10"), ({"scoring": "mae"}, "scoring is 'mae'")):
            with pytest.raises(ValueError, match=message):
                vecprod_gpu.dask.linreg_search(X, y, **how)
        with pytest.raises(vp.errors.ShapeError, match=r"needed is \(n, d\)"):
            vecprod_gpu.dask.co_moments(X[0])
        with pytest.raises(vp.errors.DTypeError, match="complex"):
            vecprod_gpu.dask.co_moments(X.astype(complex))


class TestGram:
    @pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i4", "f2"])
    def test_is_that_of_all_rows(self, rng, dtype):
        X, Y = (rng.integers(-9, 9, (70, width)).astype(dtype) for width in (3, 2))
        weights = rng.integers(0, 4, 70).astype(np.float32 if dtype != "i4" else dtype)
        lazy = da.from_array(X, chunks=(9, 2))
        for ours, theirs in (
            (vecprod_gpu.dask.gram(lazy), vp.gram(X)),
            (vecprod_gpu.dask.gram(lazy, Y, weights=weights), vp.gram(X, Y, weights=weights)),
        ):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
            np.testing.assert_array_equal(ours.compute(), theirs)  # whole numbers are added without rounding

    def test_schedulers_cannot_be_seen(self, rng):
        lazy = vecprod_gpu.dask.gram(da.from_array(rng.random((300, 5), np.float32), chunks=(11, 5)))
        one = lazy.compute(scheduler="synchronous")
        np.testing.assert_array_equal(lazy.compute(scheduler="threads", num_workers=6), one)
        np.testing.assert_array_equal(one, one.T)


class TestManners:
    def test_names_are_those_of_the_arguments(self, rng):
        X, y, _ = random_rows(rng, 60)
        lazy = chunked((20, 40), X, y)
        names = [
            [
                vecprod_gpu.dask.co_moments(*lazy).key,
                vecprod_gpu.dask.linreg_fit(*lazy, l2=0.1).key,
                vecprod_gpu.dask.linreg_search(*lazy, l2=[0.1]).key,
                vecprod_gpu.dask.cov(lazy[0], rowvar=False).name,
                vecprod_gpu.dask.gram(lazy[0]).name,
            ]
            for _ in range(2)
        ]
        assert names[0] == names[1]
        assert vecprod_gpu.dask.linreg_fit(*lazy, l2=0.2).key != names[0][1]

    def test_no_fusion_is_needed(self, rng):
        X, y, _ = random_rows(rng, 60)
        with dask.config.set({"optimization.fuse.active": False}):
            ours = vecprod_gpu.dask.co_moments(*chunked((20, 40), X, y)).compute()
        assert_same_summary(ours, in_blocks(CoMoments, (20, 40), X, y))

    def test_a_block_and_its_summary_are_one_task(self):
        X = da.random.default_rng(0).random((100, 3), chunks=(10, 3))
        y = da.random.default_rng(1).random(100, chunks=10)
        (lazy,) = dask.optimize(vecprod_gpu.dask.co_moments(X, y))
        assert len(lazy.__dask_graph__()) == 10 + 2 + 1 + 1  # blocks, what joins them, and the result

    def test_one_thread_a_task(self, monkeypatch):
        monkeypatch.setattr(pools, "_limit", None)
        count = dask.delayed(threads_of_a_task)()
        assert count.compute(scheduler="threads") == 1
        assert count.compute(scheduler="synchronous") == pools.most_threads()

    def test_the_row_is_named(self, rng):
        X, y, s = random_rows(rng, 100)
        X[73, 2] = np.nan
        lazy = da.from_array(X, chunks=(30, 3))
        with pytest.raises(vp.errors.NotFiniteError, match=r"^X holds nan at row 73, column 2;"):
            vecprod_gpu.dask.co_moments(lazy, y).compute()
        with pytest.raises(vp.errors.NotFiniteError, match=r"at row 13, column 2;.*\(in block 2"):
            vecprod_gpu.dask.co_moments(lazy[lazy[:, 0] > -9e9]).compute()
        lazy, s[40] = da.from_array(np.ones((100, 3)), chunks=(30, 3)), -1
        with pytest.raises(vp.errors.ArgumentError, match=r"must not be negative.* at row 10 \(in block 1"):
            vecprod_gpu.dask.co_moments(lazy, y, s).compute()

    def test_the_functions_of_numpy_arrays_stay_lazy(self, rng):
        X, y, _ = random_rows(rng, 60)
        lazy = da.from_array(X, chunks=(20, 3))
        for ours, theirs in (
            (vp.cov(lazy, rowvar=False), np.cov(X, rowvar=False)),
            (vp.corrcoef(lazy, y, rowvar=False), np.corrcoef(X, y, rowvar=False)),
            (vp.gram(lazy), X.T @ X),
        ):
            assert isinstance(ours, da.Array)
            np.testing.assert_allclose(ours.compute(), theirs, rtol=1e-11, atol=1e-11)
        assert isinstance(vp.gram(da.ones((2, 4, 3))), np.ndarray)
        assert isinstance(vp.cov(lazy.astype(complex)), np.ndarray)

    def test_vectors(self, rng):
        a, b = rng.random((2, 9, 3))
        lazy = da.from_array(a, chunks=(4, 2))
        np.testing.assert_array_equal(vecprod_gpu.dask.cross(lazy, b).compute(), np.cross(a, b))
        ours = vecprod_gpu.dask.batched_outer(lazy, b, alpha=2.0)
        assert (ours.shape, ours.dtype) == ((9, 3, 3), np.float64)
        np.testing.assert_array_equal(ours.compute(), vp.batched_outer(a, b, alpha=2.0))


def threads_of_a_task():
    with pools.sharing_processors():
        return pools.thread_count()
