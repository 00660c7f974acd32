"""Arrays of more than 2**31 elements, where a 32-bit index would go round."""

import gc

import numpy as np
import pytest

import vecprod_gpu as vp

LIMIT = 2**31
SAMPLES = 200  # rows that are compared

pytestmark = pytest.mark.skipif(np.iinfo(np.intp).max < 2**40, reason="the system has no such arrays")


@pytest.fixture(autouse=True)
def give_memory_back():
    """Results of some gigabytes do not wait for the garbage collector."""
    yield
    gc.collect()


def sampled(rng, length):
    """Indices that include both ends."""
    return np.unique(np.append(rng.integers(0, length, SAMPLES), [0, length - 1]))


def integers(rng, *shape):
    """Small integers, whose products go round in int8 as in NumPy."""
    return rng.integers(-128, 128, shape, np.int8)


@pytest.mark.parametrize("columns", [46_400, 46_401], ids=["whole vectors", "a ragged end"])
def test_batched_outer(columns, rng):
    a, b = integers(rng, 46_350), integers(rng, columns)
    with vp.use_backend("cpu"):
        result = vp.batched_outer(a, b)
    assert result.size > LIMIT
    for i in sampled(rng, len(a)):
        np.testing.assert_array_equal(result[i], a[i] * b)


def test_batched_outer_of_many_vectors(rng):
    """One of the two that have as many elements as the result has pairs."""
    a, b = integers(rng, 27_000, 1, 1), integers(rng, 27_000, 3)
    with vp.use_backend("cpu"):
        result = vp.batched_outer(a, b)
    assert result.shape == (27_000, 27_000, 1, 3)
    assert result.size > LIMIT
    for i in sampled(rng, len(a)):
        np.testing.assert_array_equal(result[i, :, 0], a[i, 0, 0] * b)


def test_cross(rng):
    a, b = integers(rng, 27_000, 1, 3), integers(rng, 27_000, 3)
    with vp.use_backend("cpu"):
        result = vp.cross(a, b)
    assert result.size > LIMIT
    for i in sampled(rng, len(a)):
        np.testing.assert_array_equal(result[i], np.cross(a[i], b))


@pytest.mark.parametrize("columns", [1024, 64])
def test_linreg_gradient(columns, rng):
    """X is a window that slides along a series, ``X[i, j] = series[i + j]``, which needs no memory."""
    rows = LIMIT // columns + 1000
    series = rng.integers(-4, 5, rows + columns - 1).astype(np.float32)
    X = np.lib.stride_tricks.sliding_window_view(series, columns)
    assert X.size > LIMIT
    w = np.zeros(columns, np.float32)
    w[[0, -1]] = 1, -2
    y = np.roll(X[:, -1], 1)
    residual = series[:rows] - 2 * series[columns - 1 :] - y
    expected = np.correlate(series.astype(np.float64), residual.astype(np.float64), "valid") / rows
    with vp.use_backend("cpu"):
        gradient, loss = vp.linreg_gradient(X, y, w, return_loss=True)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-4)
    assert loss == pytest.approx(np.square(residual, dtype=np.float64).mean() / 2, rel=1e-6)
