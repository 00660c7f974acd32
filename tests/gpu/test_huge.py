"""Arrays of more than 2**31 numbers, in which a 32-bit index would go astray."""

import numpy as np
import pytest

import vecprod_gpu as vp

BEYOND = 2**31
COLUMNS = 32
ROWS = BEYOND // COLUMNS + 1001


def pattern(cp, shape):
    """Bytes that repeat nowhere near a power of two."""
    return cp.ElementwiseKernel("", "int8 y", "y = i % 251", "pattern")(cp.empty(shape, np.int8))


def samples(count, width):
    """Slices at both ends of an axis, in the middle, and at random."""
    starts = np.random.default_rng(1).integers(0, count - width, 20)
    return [slice(start, start + width) for start in (0, count // 2, count - width, *starts.tolist())]


def test_outer(cp, dialect):
    length = int(BEYOND**0.5) + 9
    a, b = pattern(cp, (length,)), pattern(cp, (length,))[::-1].copy()
    result = vp.outer(a, b)
    assert result.size > BEYOND
    for rows in samples(length, 100):
        assert (result[rows] == a[rows, None] * b).all()


def test_batched_outer(cp, dialect):
    count = BEYOND // 64 + 1001
    a, b = pattern(cp, (count, 8)), pattern(cp, (count, 8))[::-1].copy()
    result = vp.batched_outer(a, b)
    assert result.size > BEYOND
    for rows in samples(count, 10_000):
        assert (result[rows] == a[rows, :, None] * b[rows, None, :]).all()


@pytest.mark.parametrize("is_broadcast", [False, True])
def test_cross(cp, dialect, is_broadcast):
    count = BEYOND // 3 + 1001
    whole = pattern(cp, (3 * count,))
    a, b = whole.reshape(count, 3), whole[:3] if is_broadcast else whole[::-1].copy().reshape(count, 3)
    result = vp.cross(a, b)
    assert result.size > BEYOND
    for rows in samples(count, 10_000):
        left, right = a[rows], b if is_broadcast else b[rows]
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            expected = left[:, j] * right[..., k] - left[:, k] * right[..., j]
            assert (result[rows, i] == expected).all()


@pytest.fixture
def sparse(cp):
    """Where the rows of a table that are not zero lie, those rows on the host, and the table."""
    rng = np.random.default_rng(2)
    ends = np.r_[:9, ROWS // 2 : ROWS // 2 + 9, ROWS - 9 : ROWS]
    at = np.unique(np.concatenate([ends, rng.integers(ROWS, size=500)]))
    rows = rng.integers(-3, 4, (len(at), COLUMNS))
    table = cp.zeros((ROWS, COLUMNS), np.float16)
    assert table.size > BEYOND
    table[cp.asarray(at)] = cp.asarray(rows.astype(np.float16))
    return at, rows, table


def test_linreg_gradient(cp, dialect, sparse):
    at, rows, X = sparse
    targets = np.random.default_rng(3).integers(-9, 10, len(at))
    y, w = cp.full(ROWS, 5, np.float32), cp.asarray(np.arange(COLUMNS) % 5 - 2, np.float32)
    y[cp.asarray(at)] = cp.asarray(targets, np.float32)
    gradient, loss = vp.linreg_gradient(X, y, w, return_loss=True)
    residuals = rows @ w.get().astype(np.int64) - targets
    np.testing.assert_allclose(gradient.get(), rows.T @ residuals / ROWS, rtol=1e-6)
    squares = (residuals**2).sum() + 25 * (ROWS - len(at))
    np.testing.assert_allclose(float(loss), squares / (2 * ROWS), rtol=1e-6)


def test_gram(cp, dialect, sparse):
    _, rows, X = sparse
    expected = (rows.T @ rows[:, :7]).astype(np.float16)  # of sums that float32 holds
    np.testing.assert_array_equal(vp.gram(X, X[:, :7]).get(), expected)


def test_cov(cp, dialect, sparse):
    _, rows, X = sparse
    total = rows.sum(axis=0)
    expected = (rows.T @ rows - np.outer(total, total) / ROWS) / (ROWS - 1)
    result = vp.cov(X, rowvar=False, dtype=np.float32).get()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
