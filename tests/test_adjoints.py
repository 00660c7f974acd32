"""The gradient of outer products on the host, by `outer_adjoint`, against float64."""

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu import _dispatch

SHAPES = [(1, 1, 1), (3, 5, 7), (1, 3001, 100), (2, 1, 70_000), (1001, 8, 3), (4, 600, 301)]


def adjoint(G, a, b):
    results = np.full(a.shape, np.nan, a.dtype), np.full(b.shape, np.nan, b.dtype)
    _dispatch.host().outer_adjoint(G, a, b, *results)
    return results


def draw(rng, shape, dtype):
    problems, m, n = shape
    return [rng.normal(size=size).astype(dtype) for size in (shape, (problems, m), (problems, n))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_products(host_backend, rng, shape, dtype):
    G, a, b = draw(rng, shape, dtype)
    wide = G.astype(np.longdouble)
    expected = (wide * b[:, None, :]).sum(axis=2), (wide * a[:, :, None]).sum(axis=1)
    for result, exact in zip(adjoint(G, a, b), expected, strict=True):
        # A sum of k numbers of either sign is off by some sqrt(k) roundings.
        bound = 4 * np.finfo(dtype).eps * np.sqrt(max(shape)) * np.abs(exact).max()
        np.testing.assert_allclose(result, exact.astype(float), rtol=0, atol=bound)


def test_threads_cannot_be_seen(rng):
    arrays = draw(rng, (3, 3001, 100), np.float32)
    most = vp.get_num_threads()
    try:
        results = []
        for count in (1, most):
            vp.set_num_threads(count)
            results.append(np.concatenate([one.ravel() for one in adjoint(*arrays)]))
    finally:
        vp.set_num_threads(most)
    assert results[0].tobytes() == results[1].tobytes()


def test_not_finite_numbers_stay_where_they_are(host_backend):
    G = np.ones((1, 3, 4))
    G[0, 1, 2] = np.nan
    of_a, of_b = adjoint(G, np.ones((1, 3)), np.ones((1, 4)))
    np.testing.assert_array_equal(np.isnan(of_a), [[False, True, False]])
    np.testing.assert_array_equal(np.isnan(of_b), [[False, False, True, False]])
