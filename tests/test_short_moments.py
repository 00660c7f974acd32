"""Gram matrices and covariances of small host arrays: the short way must not be told from the long one."""

import itertools
import warnings
from functools import partial

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.test_products import layouts
from vecprod_gpu import _dispatch

CALLS = {
    "gram": vp.gram,
    "gram of two": lambda X: vp.gram(X, np.asanyarray(X)[:, ::-1]),
    "gram of weighted rows": lambda X: vp.gram(X, weights=weights_of(X)),
    "cov": vp.cov,
    "cov of columns": partial(vp.cov, rowvar=False),
    "cov of all": partial(vp.cov, bias=True),
    "cov with ddof": partial(vp.cov, rowvar=False, ddof=-1),
    "corrcoef": vp.corrcoef,
    "corrcoef of columns": partial(vp.corrcoef, rowvar=False),
    "cov of a vector": lambda X: vp.cov(X[0]),
    "cov of a vector and one": lambda X: vp.cov(X[0], X[-1]),
    "corrcoef of a vector and one": lambda X: vp.corrcoef(X[0], X[-1]),
    "cov of a table and one": lambda X: vp.cov(X, X[:3]),
    "cov of columns and a vector": lambda X: vp.cov(X, np.transpose(X)[0], rowvar=False),
    "cov of columns and a row": lambda X: vp.cov(X, np.transpose(X)[:1], rowvar=False),
}


def weights_of(X):
    """One for each row, of its dtype where that is one of the short way."""
    return np.linspace(1, 2, len(X), dtype=np.float32 if np.asarray(X).dtype == np.float32 else np.float64)


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


@pytest.fixture
def at_once(call, no_long_way):
    """The call, which fails where it goes the long way."""
    return call


def by_the_long_way(call, X):
    with vp.use_backend("cpu"):
        return call(X)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", [(1, 2), (50, 4), (4, 50), (3, 1), (300, 17), (40, 40)])
def test_the_bits_are_those_of_the_long_way(call, shape, dtype, rng):
    X = (3 + rng.standard_normal(shape)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one observation leaves no degree of freedom
        expected = by_the_long_way(call, X)
        for view in layouts(X).values():
            found = call(view)
            assert (type(found), found.dtype, found.shape) == (type(expected), expected.dtype, expected.shape)
            np.testing.assert_array_equal(found, expected)
            assert not np.shares_memory(found, view)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", [(50, 4), (4, 50), (30, 17), (40, 40)])
def test_a_small_call_goes_it(at_once, shape, dtype, rng):
    for view in layouts(rng.standard_normal(shape).astype(dtype)).values():
        at_once(view)


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_gram_of_batches(lead, rng, no_long_way):
    X = rng.standard_normal((*lead, 20, 3))
    np.testing.assert_allclose(vp.gram(X), np.swapaxes(X, -1, -2) @ X, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_gram_into_out(dtype, rng, no_long_way):
    X, Y = rng.standard_normal((2, 20, 3)).astype(dtype), rng.standard_normal((2, 20, 4)).astype(dtype)
    weights = rng.random((2, 20)).astype(dtype)
    for args, weighted in itertools.product([(X,), (X, Y)], [{}, {"weights": weights}]):
        expected = vp.gram(*args, **weighted)
        out = np.full_like(expected, np.nan)
        assert vp.gram(*args, **weighted, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_gram_into_what_is_not_plain_goes_the_long_way(rng):
    X, memory = rng.standard_normal((5, 3)), np.zeros(73, np.uint8)
    expected = vp.gram(X)
    misaligned = memory[1:].view(np.float64).reshape(3, 3)
    for out in (misaligned, np.empty((3, 6))[:, ::2], np.empty((3, 3), np.float32), np.empty((3, 3), ">f8")):
        assert vp.gram(X, out=out) is out
        np.testing.assert_array_equal(out, expected.astype(out.dtype))
    with pytest.raises(vp.errors.ShapeError, match=r"out has shape \(3, 2\)"):
        vp.gram(X, out=np.empty((3, 2)))
    with pytest.raises(vp.errors.ArgumentError, match="out is read-only"):
        vp.gram(X, out=np.broadcast_to(0.0, (3, 3)))


def test_gram_into_an_input(rng, no_long_way):
    """Which goes the long way, as it is not read before it is written."""
    X = rng.standard_normal((4, 4))
    with pytest.raises(AssertionError, match="went the long way"):
        vp.gram(X, out=X)


def test_each_result_has_its_own_memory(at_once, rng):
    X, Z = rng.standard_normal((2, 6, 4))
    first = at_once(X)
    kept = first.copy()
    at_once(Z)
    np.testing.assert_array_equal(first, kept)


def test_a_constant_variable(rng, no_long_way):
    X = np.array([[1.0, 2, 4], [7, 7, 7]])
    assert vp.cov(X)[1].tolist() == [0, 0]
    with pytest.warns(RuntimeWarning, match="^invalid value encountered in divide"):
        found = vp.corrcoef(X)
    np.testing.assert_array_equal(np.isnan(found), [[False, True], [True, True]])


def test_overflow_is_told_by_the_state_of_numpy(call):
    X = np.array([[1e200, -1e200, 3], [1, 2, 1e200]])
    with np.errstate(over="raise", invalid="ignore"), pytest.raises(FloatingPointError, match=r"^overflow"):
        call(X)


@pytest.mark.parametrize(
    "X",
    [
        np.ones((4, 3), np.float16),
        np.arange(12).reshape(4, 3),
        np.arange(12.0).reshape(4, 3).astype(">f8"),
        np.arange(12.0).reshape(4, 3).astype(complex),
        np.ma.array(np.arange(12.0).reshape(4, 3)),
        [[1.0, 2, 3], [4, 5, 7]],
    ],
    ids=["half", "integers", "byte order", "complex", "masked", "list"],
)
def test_what_has_to_be_converted_goes_the_long_way(call, X):
    with np.errstate(all="ignore"):
        found, expected = call(X), by_the_long_way(call, X)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_no_degree_of_freedom_is_told_as_ever():
    with pytest.warns(RuntimeWarning, match="Degrees of freedom <= 0"), np.errstate(invalid="ignore"):
        assert np.isnan(vp.cov(np.ones((2, 1)))).all()


def test_a_backend_that_is_asked_for_takes_the_call(call, rng):
    X = rng.standard_normal((9, 3))
    with vp.use_backend("reference"):
        call(X)
        assert _dispatch.latest.backend == "reference"
        assert vp.explain(call, X).backend == "reference"
    call(X)
    assert _dispatch.latest.backend == "cpu"


def test_what_may_pay_on_a_gpu_is_weighed(call, no_long_way):
    X = np.ones((2, 1 << 20))
    with pytest.raises(AssertionError, match="went the long way"):
        call(X)


def test_without_the_cpu_backend(call, rng, monkeypatch):
    X = rng.standard_normal((9, 3))
    expected = call(X)
    monkeypatch.setattr(_dispatch, "_status", lambda name: _dispatch.Status(name == "reference", ""))
    np.testing.assert_allclose(call(X), expected, rtol=1e-12, atol=1e-14)
