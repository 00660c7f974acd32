"""The Numba twins of the sums of outer products, against oracles: in Numba's simulator, or on a GPU.

Sizes are tiny: the simulator runs every thread as one of Python.
"""

import contextlib
import importlib
from dataclasses import replace

import numpy as np
import pytest

from vecprod_gpu.backends import numba_cuda
from vecprod_gpu.backends._device import moments, windows

from . import oracles
from .test_numba_simulator import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    REAL_GPU,
    assert_close,
    numbers,
    poisoned,
)

KERNELS = ("vecprod_gpu.kernels.tiles", "vecprod_gpu.kernels.comoments")

PAIRS = [
    ("float16", "float32"),
    ("float16", "float64"),
    ("float32", "float32"),
    ("float32", "float64"),
    ("float64", "float64"),
    ("complex64", "complex64"),
    ("complex64", "complex128"),
    ("complex128", "complex128"),
]


@pytest.fixture(autouse=True)
def large_problems(monkeypatch):
    """Whatever their size: `tests.kernels.test_small_problems` holds the kernels of small ones."""
    monkeypatch.setattr(moments, "small_cut", lambda *_: None)


@contextlib.contextmanager
def short_stages(is_one_block):
    """Let a few rows make a stage, and one stage or all of them a block; a GPU compiles its own numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "small_cut", lambda *_: None)
        patch.setattr(moments, "PARTIALS_SHARE", 0)
        patch.setattr(moments, "BLOCK_BYTES", 10**9 if is_one_block else 0)
        patch.setattr(moments, "FEWEST_ROWS", 10**9 if is_one_block else 1)
        if not REAL_GPU:
            tiles, comoments = map(importlib.import_module, KERNELS)
            patch.setattr(tiles, "STAGE_BYTES", 1200)
            patch.setattr(tiles, "MOST_STAGE_ROWS", 8)
            for module in (tiles, comoments):
                patch.setattr(module, "ROWS_PER_SUM", 4)
        yield


@pytest.fixture(params=[True, False], ids=["one block", "many blocks"])
def stages(request):
    with short_stages(request.param):
        yield


def native(array):
    return None if array is None else numba_cuda.native(array)


def host(window):
    return numba_cuda.export(window, "numpy")


def summing(dtype):
    return np.dtype(np.float32 if dtype == "float16" else dtype)


def positive(shape, dtype, seed=7):
    """Weights: real and positive, or any integers."""
    values = numbers(shape, dtype, seed)
    return values if values.dtype.kind in "iu" else (np.abs(values.real) + 0.1).astype(dtype)


def gram(X, Y=None, weights=None):
    """Run the backend on arrays or windows, and compare; returns the matrix."""
    X, Y = native(X), native(Y)
    out = poisoned((X.shape[0], X.shape[2], (X if Y is None else Y).shape[2]), summing(str(X.dtype)))
    numba_cuda.gram(X, Y, native(weights), out)
    expected = oracles.gram(host(X), None if Y is None else host(Y), weights)
    assert_close(host(out), expected, roundings=16)
    if Y is None:
        np.testing.assert_array_equal(host(out), np.conj(np.swapaxes(host(out), 1, 2)))
    return host(out)


def co_moments(X, Y=None, weights=None, dtype=None, roundings=16, **options):
    """Run the backend on arrays or windows, and compare; returns matrix, means and total."""
    X, Y = native(X), native(Y)
    dtype = np.dtype(dtype or summing(str(X.dtype)))
    problems, d = X.shape[0], X.shape[2] + (0 if Y is None else Y.shape[2])
    out, means = poisoned((problems, d, d), dtype), poisoned((problems, d), dtype)
    total = poisoned((problems,), np.float64)
    s = None if weights is None else weights.astype(dtype)
    options = {"scale": 1.0, "correlation": False, **options}
    numba_cuda.co_moments(X, Y, native(s), **options, total=total, means=means, out=out)
    expected = oracles.co_moments(host(X), None if Y is None else host(Y), s, **options)
    np.testing.assert_allclose(host(total), expected[0].astype(float), rtol=1e-14)
    assert_close(host(means), expected[1])
    assert_close(host(out), expected[2], roundings)
    np.testing.assert_array_equal(host(out), np.conj(np.swapaxes(host(out), 1, 2)))
    return host(out), host(means), host(total)


# --- Gram matrices ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *INTEGERS])
def test_gram_of_every_dtype(dtype):
    X, Y = numbers((2, 7, 5), dtype), numbers((2, 7, 3), dtype, seed=1)
    gram(X, Y, positive((2, 7), summing(dtype)))
    gram(X)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "uint8"])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 35), (18, 9)])
def test_gram_over_several_tiles(dtype, p, q):
    X, Y = numbers((1, 3, p), dtype), numbers((1, 3, q), dtype, seed=1)
    gram(X, Y)
    gram(X)


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int16"])
def test_gram_over_several_stages(dtype, stages):
    X, Y = numbers((1, 29, 5), dtype), numbers((1, 29, 2), dtype, seed=1)
    gram(X, Y, positive((1, 29), summing(dtype)))
    gram(X)


def test_gram_conjugates_its_first_argument():
    X, Y = np.array([[[1 + 2j]]]), np.array([[[3 - 1j]]])
    np.testing.assert_array_equal(gram(X, Y), np.conj(X) * Y)


def test_gram_of_no_problems():
    assert gram(np.ones((0, 3, 2))).shape == (0, 2, 2)


# --- Co-moments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("types", PAIRS, ids=str)
def test_co_moments_of_every_dtype(types, has_weight):
    for problems, n, p, q in [(2, 1, 1, 0), (1, 9, 4, 2)]:
        X = numbers((problems, n, p), types[0])
        Y = numbers((problems, n, q), types[0], seed=1) if q else None
        weights = positive((problems, n), types[1]) if has_weight else None
        co_moments(X, Y, weights, types[1], scale=0.25)


@pytest.mark.parametrize("types", PAIRS[2:7:2], ids=str)
def test_co_moments_over_several_tiles(types):
    X, Y = numbers((1, 5, 19), types[0]), numbers((1, 5, 4), types[0], seed=1)
    co_moments(X, Y, positive((1, 5), types[1]), types[1])


@pytest.mark.parametrize("types", PAIRS[2:7:2], ids=str)
def test_co_moments_over_several_stages(types, stages):
    X, Y = numbers((1, 29, 5), types[0]), numbers((1, 29, 2), types[0], seed=1)
    co_moments(X, Y, None, types[1], scale=1 / 28)
    co_moments(X, None, positive((1, 29), types[1]), types[1])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-9)])
def test_a_large_mean_costs_no_digits(dtype, tolerance, stages):
    X = (1e4 + np.random.default_rng(2).standard_normal((1, 30, 2))).astype("f")
    out, *_ = co_moments(X, None, None, dtype, roundings=10**6, scale=1 / 29)
    assert np.abs(out - oracles.co_moments(X, scale=1 / 29)[2]).max() <= tolerance


def test_rows_without_weight_leave_no_trace(stages):
    X, weights = numbers((1, 40, 2), "float32"), positive((1, 40), "float32")
    weights[0, :9], weights[0, 15:25], weights[0, -1] = 0, 0, 0
    X[weights == 0] = 1e30
    co_moments(X, None, weights, roundings=64)


def test_weights_that_grow_cost_no_digits(stages):
    """The first rows weigh next to nothing, and lie far from all others."""
    X, weights = numbers((1, 40, 2), "float32"), np.ones((1, 40), "f")
    X[0, :12] += 1e4
    weights[0, :12] = 1e-12
    co_moments(X, None, weights, roundings=64)


def test_weights_of_nothing_divide_by_nothing():
    X, weights = numbers((1, 9, 3), "float64"), np.zeros((1, 9))
    out, means, total = (poisoned(shape, "float64") for shape in [(1, 3, 3), (1, 3), (1,)])
    options = {"scale": 1.0, "correlation": False, "total": total, "means": means, "out": out}
    numba_cuda.co_moments(native(X), None, native(weights), **options)
    assert not host(out).any()
    assert host(total) == 0


@pytest.mark.parametrize("has_weight", [False, True])
def test_constant_columns_do_not_vary_at_all(has_weight, stages):
    X = numbers((1, 29, 3), "float32")
    X[..., 2] = 0.1
    out, means, _ = co_moments(X, None, positive((1, 29), "float32") if has_weight else None)
    assert not out[:, 2].any()
    np.testing.assert_array_equal(means[:, 2], X[:, 0, 2])


def test_co_moments_conjugate_their_second_factor():
    out, *_ = co_moments(np.array([[[1, 1j], [-1, -1j]]]))
    np.testing.assert_array_equal(out[0], [[2, -2j], [2j, 2]])


# --- Correlation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("types", PAIRS[2:], ids=str)
def test_correlation_of_every_dtype(types):
    X = numbers((2, 12, 4), types[0])
    X[..., 0] = -2 * X[..., 3]  # correlated as far as the clipping allows
    out, *_ = co_moments(X, None, None, types[1], scale=1 / 11, correlation=True)
    assert np.abs([out.real, out.imag]).max() <= 1
    np.testing.assert_allclose(np.einsum("bii->bi", out), 1, rtol=4 * np.finfo(out.dtype).eps)


def test_correlation_over_several_stages(stages):
    X = numbers((1, 29, 5), "float64")
    out, *_ = co_moments(X, scale=1 / 28, correlation=True)
    np.testing.assert_allclose(out[0], np.corrcoef(X[0], rowvar=False), rtol=0, atol=1e-14)


def test_correlation_of_what_does_not_vary_is_no_number():
    X = numbers((1, 9, 3), "float64")
    X[..., 1] = 0.1
    out, *_ = co_moments(X, scale=1 / 8, correlation=True)
    is_number = np.outer([True, False, True], [True, False, True])
    np.testing.assert_array_equal(np.isnan(out[0]), ~is_number)


# --- The same bits ---------------------------------------------------------------------------------


def test_the_same_bits_for_any_grid_and_strides(monkeypatch, stages):
    X, Y = numbers((2, 19, 4), "float32"), numbers((2, 19, 2), "float32", seed=1)
    weights = positive((2, 19), "float32")
    expected = gram(X, Y, weights).tobytes(), co_moments(X, Y, weights)[0].tobytes()
    monkeypatch.setattr(windows, "max_blocks", lambda: 1)
    x, y = (numba_cuda.moveaxis(native(array.transpose(0, 2, 1).copy()), 1, 2) for array in (X, Y))
    assert (gram(x, y, weights).tobytes(), co_moments(x, y, weights)[0].tobytes()) == expected


def test_columns_first_and_repeated_problems_are_read_in_place():
    X = numbers((2, 9, 5), "float64")
    columns_first = numba_cuda.moveaxis(native(X.transpose(0, 2, 1).copy()), 1, 2)
    np.testing.assert_array_equal(host(columns_first), X)
    once = native(X[:1])
    repeated = replace(once, shape=X.shape, strides=(0, *once.strides[1:]))
    np.testing.assert_array_equal(host(repeated), X[[0, 0]])
    co_moments(columns_first, repeated)
    gram(repeated, columns_first)


# --- Geometry --------------------------------------------------------------------------------------


def in_pieces(*sizes):
    """Bytes that arrays of these take, each by whole pieces of 16."""
    return sum(-(-size // 16) * 16 for size in sizes)


def shared_bytes(columns, dtype, threads):
    """Bytes that a block of a kernel keeps of two sides of so many columns."""
    tiles = importlib.import_module(KERNELS[0])
    width, _ = moments.tile_width(columns, dtype, threads)
    item, wide = dtype.itemsize, moments.wide_dtype(dtype).itemsize
    lanes = 2 ** int(np.log2(tiles.COLUMN_SLOTS // width))
    pitch = in_pieces(width * item) // 16 | 1
    rows = tiles.EXTRA_ROWS + min(tiles.STAGE_BYTES // (16 * pitch) // 8 * 8, tiles.MOST_STAGE_ROWS)
    side = in_pieces(width * wide, lanes * width * wide, 2 * width * item, rows * 16 * pitch)
    return in_pieces(tiles.WEIGHT_LANES * 8, rows * item) + 2 * side


@pytest.mark.parametrize("dtype", [*FLOATS[1:], *COMPLEX, *INTEGERS], ids=str)
def test_stages_fit_into_the_shared_memory_of_a_block(dtype):
    dtype = np.dtype(dtype)
    limit = numba_cuda._LAUNCHER.shared_bytes_limit
    for columns in (1, 3, 8, 13, 33, 64, 100):
        threads = moments.tile_constants(columns, 0, True, dtype, dtype)["THREADS"]
        assert shared_bytes(columns, dtype, threads) <= limit
        assert threads * moments.edge(dtype) * dtype.itemsize <= limit // 2
