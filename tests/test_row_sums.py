"""Gradients of rows of every width: those that stay in registers, those read twice, and what is left over."""

import warnings
from itertools import product

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.workers import run_python, run_with_narrow_registers
from vecprod_gpu.backends import cpu
from vecprod_gpu.backends._cpu.linreg.row_groups import ROWS, SHORT

NARROW_AND_WIDE = [("f", "f"), ("d", "d"), ("f", "d")]  # of X, and of all else

# Around every number of columns, float32 or float64, at which rows become one vector longer.
EDGES = sorted(
    {size // itemsize for size in (vector * count for vector, count in SHORT) for itemsize in (4, 8)}
)
WIDTHS = sorted({1, 2, 3, 100, 131, 1030} | {edge + step for edge in EDGES for step in (-1, 0, 1)})


@pytest.fixture(autouse=True)
def on_cpu():
    with vp.use_backend("cpu"):
        yield


def surrounded(values, step=1):
    """The same numbers in memory with NaN before, behind and, for a larger step, between them."""
    shape = (len(values) * step + 2, *values.shape[1:])
    around = np.full(shape, np.nan, values.dtype)
    inside = around[1 : 1 + len(values) * step : step]
    inside[...] = values
    return inside


def expected(X, y, w, s=None):
    """The gradient, as everyone writes it, in float64."""
    X, y, w = (array.astype(np.float64) for array in (X, y, w))
    s = np.ones(len(X)) if s is None else s.astype(np.float64)
    by_row = (slice(None), *[None] * (w.ndim - 1))
    return X.T @ (s[by_row] * (X @ w - y[by_row])) / s.sum()


def assert_close(ours, exact, columns, dtype):
    """Within the rounding of sums of products of about 1."""
    tolerance = 40 * np.sqrt(columns) * np.finfo(dtype).eps
    np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance * np.abs(exact).max())


@pytest.mark.parametrize(("stored", "summed"), NARROW_AND_WIDE)
@pytest.mark.parametrize("columns", WIDTHS)
class TestWidths:
    def draw(self, rng, rows, columns, stored, summed):
        """X, y and weights whose neighbours in memory are NaN; y lies apart."""
        X = surrounded(rng.standard_normal((rows, columns)).astype(stored))
        y = surrounded(rng.standard_normal(rows).astype(summed), step=3)
        return X, y, surrounded(rng.uniform(0.5, 2, rows).astype(summed))

    def test_one_model(self, columns, stored, summed, rng):
        w = rng.standard_normal(columns).astype(summed)
        for rows in (1, ROWS - 1, ROWS, 9 * ROWS + 1):
            X, y, s = self.draw(rng, rows, columns, stored, summed)
            assert_close(vp.linreg_gradient(X, y, w), expected(X, y, w), columns, summed)
            weighted = vp.linreg_gradient(X, y, w, sample_weight=s)
            assert_close(weighted, expected(X, y, w, s), columns, summed)

    def test_several_models(self, columns, stored, summed, rng):
        X, y, s = self.draw(rng, 70, columns, stored, summed)
        w = rng.standard_normal((columns, 3)).astype(summed)
        ours = vp.linreg_gradient(X, y, w, sample_weight=s)
        assert_close(ours, expected(X, y, w, s), columns, summed)

    def test_of_the_mean(self, columns, stored, summed, rng):
        """As in a fit with an intercept, whose columns are moved by their means in each pass."""
        X, y, _ = self.draw(rng, 70, columns, stored, summed)
        middle = X.mean(axis=0, dtype=np.float64).astype(summed)
        w = rng.standard_normal(columns).astype(summed)
        out = np.full((1, columns, 1), np.nan, summed)
        native = X[None], np.ascontiguousarray(y)[None, :, None], w[None, :, None]
        cpu.linreg_pass(*native, None, middle[None], l1=0.0, l2=0.0, learning_rate=None, out=out, loss=None)
        exact = expected(X.astype(np.float64) - middle, y, w)
        assert_close(out[0, :, 0], exact, columns, summed)

    def test_squares(self, columns, stored, summed, rng):
        X, y, s = self.draw(rng, 30, columns, stored, summed)
        w = rng.standard_normal(columns).astype(summed)
        _, loss = vp.linreg_gradient(X, y, w, sample_weight=s, return_loss=True)
        residual = X.astype(np.float64) @ w.astype(np.float64) - y
        exact = (s * residual**2).sum() / s.astype(np.float64).sum() / 2
        np.testing.assert_allclose(loss, exact, rtol=100 * np.sqrt(columns) * np.finfo(summed).eps)


@pytest.mark.parametrize("columns", [3, 5, 21, 70])
def test_lanes_that_hold_no_column_warn_of_nothing(columns):
    """Of a residual that is infinite they would say that infinity times zero is invalid."""
    X = np.ones((8, columns))
    X[:, 0] = 1e200
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        gradient = vp.linreg_gradient(X, np.zeros(8), np.full(columns, 1e200))
    assert np.isposinf(gradient).all()
    assert {str(warning.message) for warning in raised} == {"overflow encountered in linreg_pass"}


@pytest.mark.parametrize("columns", [3, 5, 21, 70])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_residual_that_is_not_finite_reaches_every_column(columns, bad, rng):
    X = rng.standard_normal((9, columns))
    X[2, 1] = bad
    w = np.ones(columns)
    w[1] = 0.0
    with np.errstate(invalid="ignore"):
        residual = X @ w
    assert np.isnan(residual[2])
    with np.errstate(invalid="ignore"):
        assert np.isnan(vp.linreg_gradient(X, np.zeros(9), w)).all()


def test_with_narrow_registers(tmp_path):
    """As on processors without 64-byte vectors, whose rows stay in fewer and shorter ones."""
    ended = run_with_narrow_registers(NARROW, tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_what_is_asked_for_ahead_changes_no_bit(tmp_path):
    """As on processors of another maker, and from memory as from a cache: other lines, in another order."""
    results = [
        run_python(OTHERS_ASK.format(is_zen=is_zen, cache=cache), NUMBA_CACHE_DIR=str(tmp_path / str(case)))
        for case, (is_zen, cache) in enumerate(product((False, True), (0, 1 << 40)))
    ]
    assert [ended.returncode for ended in results] == [0] * len(results), results[-1].stderr
    assert len({ended.stdout for ended in results}) == 1


OTHERS_ASK = """
import numpy as np
from vecprod_gpu.backends._cpu import processor

processor.IS_ZEN = {is_zen}
processor.LAST_CACHE_BYTES = {cache}

import vecprod_gpu as vp
from tests.workers import digest

rng = np.random.default_rng(3)
for stored, summed in ("ff", "fd"):
    for columns in (8, 65, 130, 513, 1030):
        X, y = rng.standard_normal((50, columns)).astype(stored), rng.standard_normal(50).astype(summed)
        print(digest(vp.linreg_gradient(X, y, rng.standard_normal(columns).astype(summed))))
"""


NARROW = """
import numpy as np
import vecprod_gpu as vp
from tests import test_row_sums as tests

rng = np.random.default_rng(3)
for columns in (3, 4, 8, 11, 16, 17, 70):
    X, y, s = tests.TestWidths().draw(rng, 37, columns, "d", "d")
    w = rng.standard_normal(columns)
    ours = vp.linreg_gradient(X, y, w, sample_weight=s)
    tests.assert_close(ours, tests.expected(X, y, w, s), columns, "d")
"""
