"""Positive definite systems and penalised quadratics of the two backends on the host, called directly.

The yardsticks are extended precision, plain loops, the conditions of a minimum, and scikit-learn.
"""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, lasso_path

from tests.conftest import HOST_BACKENDS
from tests.test_products import poisoned
from vecprod_gpu.backends import reference

EPS = np.finfo(np.float64).eps


@pytest.fixture(params=HOST_BACKENDS)
def host(request):
    """The module of each backend; that of ``cpu`` needs Numba."""
    if request.param == "reference":
        return reference
    from vecprod_gpu.backends import cpu

    return cpu


@pytest.mark.parametrize("is_centred", [True, False])
@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (3, 20, 4, 2), (40, 9, 5, 1)])
def test_normal_equations_are_those_of_the_rows(host, rng, shape, is_centred):
    problems, n, d, k = shape
    Z = (rng.standard_normal((problems, n, d + k)) + 3).astype(np.longdouble)
    total, means = np.full(problems, float(n)), Z.mean(axis=1)
    centred = Z - means[:, np.newaxis]
    matrix = (centred.mT @ centred).astype(np.float64)
    sizes = (problems, d, d), (problems, d, k), (problems, k)
    H, c, yy = (poisoned(size, np.float64) for size in sizes)
    host.normal_equations(total, means.astype(np.float64), matrix, is_centred, H, c, yy)
    used = centred if is_centred else Z
    expected = used.mT @ used / n
    # Two products of numbers near 10, rounded, and the rounding of the matrix itself.
    close = {"rtol": 0, "atol": 100 * EPS}
    np.testing.assert_allclose(H, expected[:, :d, :d].astype(np.float64), **close)
    np.testing.assert_allclose(c, expected[:, :d, d:].astype(np.float64), **close)
    np.testing.assert_allclose(yy, np.einsum("bkk->bk", expected)[:, d:].astype(np.float64), **close)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 4, 3, 3), (300, 4, 1, 1), (2, 6, 1, 5)])
def test_solution_loss_is_that_of_the_quadratic_form(host, rng, shape):
    problems, d, targets, k = shape
    X = rng.standard_normal((problems, 3 * d, d))
    y = rng.standard_normal((problems, 3 * d, targets))
    H, c, yy = X.mT @ X, X.mT @ y, np.square(y).sum(axis=1)
    l2 = rng.uniform(0.5, 2, k)
    each = H[:, np.newaxis] + l2[:, np.newaxis, np.newaxis] * np.eye(d)
    sides = np.broadcast_to(c, (problems, d, k)).transpose(0, 2, 1)[..., np.newaxis]
    w = np.ascontiguousarray(np.linalg.solve(each, sides)[..., 0].transpose(0, 2, 1))
    loss, terms = (poisoned((problems, k), np.float64) for _ in range(2))
    host.solution_loss(H, c, yy, w, l2, loss, terms)
    residuals = y - X @ w
    # Sums of 3 d squares of a few units, against a form that is as large and cancels by a factor of ten.
    np.testing.assert_allclose(loss, np.square(residuals).sum(axis=1) / 2, rtol=1e-10, atol=1e-11)
    spread = np.sqrt(np.einsum("bdd->bd", H))
    np.testing.assert_allclose(terms, yy + np.einsum("bd,bdk->bk", spread, np.abs(w)) ** 2, rtol=1e-12)


class TestSolvePositive:
    # (P, d, k): lanes filled and not, one column, and wider than what is compiled
    SHAPES = ((1, 1, 1), (7, 1, 2), (8, 2, 1), (19, 4, 3), (3, 17, 2), (1, 64, 1), (1, 90, 2))

    @staticmethod
    def solve(host, A, b):
        out, condition = poisoned(b.shape, np.float64), poisoned(len(A), np.float64)
        host.solve_positive(A, b, out, condition)
        return out, condition

    @staticmethod
    def inverse(A):
        """By Gauss and Jordan in extended precision, without pivots: the matrices are positive definite."""
        d = len(A)
        table = np.hstack([A, np.eye(d)]).astype(np.longdouble)
        for i in range(d):
            table[i] /= table[i, i]
            others = np.arange(d) != i
            table[others] -= np.outer(table[others, i], table[i])
        return table[:, d:]

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("decades", [0, 8])
    def test_against_extended_precision(self, host, rng, shape, decades):
        problems, d, _ = shape
        X = rng.standard_normal((problems, 2 * d + 2, d))
        scales = 10.0 ** rng.uniform(-decades, decades, (problems, 1, d))
        A, b = (X * scales).mT @ (X * scales), rng.standard_normal(shape)
        out, condition = self.solve(host, A, b)
        for i in range(problems):
            roots = np.sqrt(np.longdouble(np.diagonal(A[i])))
            scaled = A[i] / np.outer(roots, roots)
            inverse = self.inverse(scaled)
            number = np.abs(scaled).sum(axis=0).max() * np.abs(inverse).sum(axis=0).max()
            # A change of the inverse is one of the matrix times the condition, and d roundings add up.
            np.testing.assert_allclose(condition[i], float(number), rtol=4 * d * EPS * float(number))
            expected = (inverse @ (b[i] / roots[:, None])).astype(np.float64)
            error = np.abs(out[i] * roots[:, None] - expected).max(axis=0)
            assert np.all(error <= 8 * d * EPS * number * np.abs(expected).max(axis=0))

    @pytest.mark.parametrize(
        ("d", "spoil"),
        [
            *itertools.product([1, 2, 4, 9, 70], ["zero", "negative", "nan", "inf", "all zero"]),
            *itertools.product([2, 4, 9, 70], ["duplicate", "indefinite", "upper nan"]),
        ],
    )
    def test_what_is_singular_harms_no_neighbour(self, host, rng, d, spoil):
        X = rng.standard_normal((11, d + 5, d))
        A, b = X.mT @ X, rng.standard_normal((11, d, 2))
        sound, number = self.solve(host, A, b)
        bad = np.array([0, 4, 10])
        for i in bad:
            if spoil == "duplicate":
                A[i] = np.ones((d, d)) * 3.0
            elif spoil == "zero":
                A[i, -1], A[i, :, -1] = 0, 0
            elif spoil == "negative":
                A[i, -1, -1] *= -1
            elif spoil == "indefinite":
                A[i, 0, -1] = A[i, -1, 0] = 2 * np.sqrt(A[i, 0, 0] * A[i, -1, -1])
            elif spoil == "upper nan":
                A[i, 0, -1] = np.nan
            elif spoil == "all zero":
                A[i] = 0
            else:
                A[i, -1, -1] = float(spoil)
        out, condition = self.solve(host, A, b)
        is_bad = np.isin(np.arange(11), bad)
        assert np.all(condition[bad] == np.inf)
        assert np.isnan(out[bad]).all()
        np.testing.assert_array_equal(out[~is_bad], sound[~is_bad])
        np.testing.assert_array_equal(condition[~is_bad], number[~is_bad])

    def test_inputs_may_be_read_only_and_shared(self, host, rng):
        X = rng.standard_normal((6, 3))
        A = np.broadcast_to(X.T @ X, (5, 3, 3))
        b = np.broadcast_to(rng.standard_normal((3, 2)), (5, 3, 2))
        out, condition = self.solve(host, A, b)
        # The condition of a 3 x 3 matrix of this kind is small, and so is the error.
        np.testing.assert_allclose(out, np.linalg.solve(A, b), rtol=1e-10)
        assert np.all(condition == condition[0])

    def test_of_any_number_of_threads(self, host, rng, monkeypatch):
        X = rng.standard_normal((40_003, 6, 4))
        A, b = X.mT @ X, rng.standard_normal((40_003, 4, 1))
        results = []
        for threads in ("1", "2", "5"):
            monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
            results.append(self.solve(host, A, b))
        for out, condition in results[1:]:
            np.testing.assert_array_equal(out, results[0][0])
            np.testing.assert_array_equal(condition, results[0][1])


def quadratics(rng, problems, d, k, rows=50, scales=None):
    """Co-moments of centred data: H, c (P, d, k), yy (P, k), and the data."""
    X = rng.standard_normal((problems, rows, d)) + rng.standard_normal((problems, rows, 1))
    X *= 1 if scales is None else scales
    y = X @ (rng.standard_normal((problems, d, k)) * (rng.random((problems, d, k)) < 0.5))
    y += rng.standard_normal((problems, rows, k))
    X, y = X - X.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    H, c = X.mT @ X / rows, X.mT @ y / rows
    return (H + H.mT) / 2, np.ascontiguousarray(c), np.mean(y * y, axis=1), X, y


def shrink(value, threshold):
    return np.sign(value) * np.maximum(np.abs(value) - threshold, 0)


class TestProximalDescent:
    @staticmethod
    def descend(host, H, c, w, l1, l2, rate, steps):
        w = w.copy()
        values = poisoned((steps, len(H), w.shape[2]), np.float64)
        norms = values.copy()
        host.proximal_descent(H, c, w, l1=l1, l2=l2, learning_rate=rate, values=values, norms=norms)
        return w, values, norms

    @pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (2, 33, 9), (1, 7, 20)])
    @pytest.mark.parametrize("steps", [0, 1, 40])
    def test_steps_are_those_of_a_plain_loop(self, host, rng, shape, steps):
        problems, d, k = shape
        H, c, *_ = quadratics(rng, *shape)
        start = rng.standard_normal(shape)
        l1, l2 = rng.uniform(0, 0.3, k), rng.uniform(0, 0.3, k)
        rate = rng.uniform(0.1, 1, k) / np.linalg.eigvalsh(H).max()
        w, values, norms = self.descend(host, H, c, start, l1, l2, rate, steps)
        for p in range(problems):
            for m in range(k):
                # Extended precision: what is left is the rounding of the steps, which shrinks with them.
                v, h, target = (np.longdouble(a) for a in (start[p, :, m], H[p], c[p, :, m]))
                for t in range(steps):
                    q = v @ h @ v / 2 - target @ v + l1[m] * np.abs(v).sum() + l2[m] / 2 * v @ v
                    scale = np.abs(v) @ np.abs(h) @ np.abs(v) + np.abs(target) @ np.abs(v)
                    assert abs(values[t, p, m] - q) <= 100 * d * EPS * scale
                    after = shrink(v - rate[m] * (h @ v - target + l2[m] * v), rate[m] * l1[m])
                    change = np.sqrt(np.sum((v - after) ** 2)) / rate[m]
                    # A difference of two vectors keeps the roundings of their length.
                    atol = 100 * d * EPS * float(np.abs(v).max() / rate[m])
                    np.testing.assert_allclose(norms[t, p, m], float(change), rtol=1e-12, atol=atol)
                    v = after
                np.testing.assert_allclose(w[p, :, m], v.astype(float), rtol=1e-12, atol=1e-13)

    def test_zeros_are_exact(self, host, rng):
        H, c, *_ = quadratics(rng, 1, 12, 1)
        penalty = np.array([0.5 * np.abs(c).max()])
        rate = np.array([1 / np.linalg.eigvalsh(H).max()])
        w, *_ = self.descend(host, H, c, np.ones((1, 12, 1)), penalty, np.zeros(1), rate, 500)
        assert 0 < np.count_nonzero(w) < 12

    def test_divergence_is_told_by_the_values(self, host, rng):
        H, c, *_ = quadratics(rng, 1, 3, 2)
        rate = np.array([100.0, 0.01])
        w, values, _ = self.descend(host, H, c, np.ones((1, 3, 2)), np.ones(2), np.zeros(2), rate, 400)
        assert not np.isfinite(values[-1, 0, 0])
        assert np.isfinite(values[:, 0, 1]).all()
        assert np.isfinite(w[0, :, 1]).all()

    def test_of_any_number_of_threads(self, host, rng, monkeypatch):
        H, c, *_ = quadratics(rng, 3, 20, 17)
        penalty, rate = np.full(17, 0.01), np.full(17, 1 / np.linalg.eigvalsh(H).max())
        results = []
        for threads in ("1", "2", "5"):
            monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
            results.append(self.descend(host, H, c, np.zeros(c.shape), penalty, penalty, rate, 80))
        for result in results[1:]:
            for got, expected in zip(result, results[0], strict=True):
                np.testing.assert_array_equal(got, expected)


def gap_by_sklearn(H, c, yy, w, l1, l2):
    """The gap as scikit-learn's `gap_enet_gram` sums it, and the size of what it sums, for one model."""
    squares, overlap = yy - 2 * c @ w + w @ H @ w, yy - c @ w
    if l1 == 0:
        gap = squares + l2 / 2 * w @ w - overlap + np.sum((c - H @ w) ** 2) / (2 * l2)
        return gap, yy + np.sum(c * c) / l2
    dual = np.abs(c - H @ w - l2 * w).max()
    s = min(1.0, l1 / dual)
    gap = (1 + s * s) / 2 * (squares + l2 * w @ w) + l1 * np.abs(w).sum() - s * overlap
    return gap, yy + np.abs(c) @ np.abs(w)


def violation(H, c, w, l1, l2):
    """How far the subgradient of one model is from holding 0, relative to the terms of the gradient."""
    gradient = H @ w - c + l2 * w
    error = np.where(w == 0, np.maximum(np.abs(gradient) - l1, 0), np.abs(gradient + l1 * np.sign(w)))
    return np.max(error / np.sqrt(np.diagonal(H))) / np.max(np.abs(c) / np.sqrt(np.diagonal(H)))


class TestCoordinateDescent:
    @staticmethod
    def descend(host, H, c, yy, l1, l2, start=None, tol=1e-14, max_iter=100_000, is_path=False):
        w = np.zeros((len(H), H.shape[1], len(l1))) if start is None else start.copy()
        n_iter = np.full((len(H), len(l1)), -1)
        gap = poisoned(n_iter.shape, np.float64)
        host.coordinate_descent(
            H,
            c,
            yy,
            w,
            l1=l1,
            l2=l2,
            tol=tol,
            max_iter=max_iter,
            is_path=is_path,
            n_iter=n_iter,
            gap=gap,
        )
        return w, n_iter, gap

    @pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (2, 30, 4), (1, 50, 2)])
    @pytest.mark.parametrize("ridge", [0.0, 0.05])
    def test_the_conditions_of_a_minimum_hold(self, host, rng, shape, ridge):
        problems, _, k = shape
        H, c, yy, *_ = quadratics(rng, *shape, rows=200 if shape[1] < 50 else 40)
        l1 = np.abs(c).max() * 10.0 ** -rng.uniform(0.5, 2.5, k)
        l2 = np.full(k, ridge)
        w, n_iter, gap = self.descend(host, H, c, yy, l1, l2)
        assert np.all(n_iter >= 1)
        assert np.all(gap <= 1e-14 * yy)
        for p in range(problems):
            for m in range(k):
                assert violation(H[p], c[p, :, m], w[p, :, m], l1[m], l2[m]) <= 1e-10

    def test_columns_of_any_scale(self, host, rng):
        scales = 10.0 ** np.linspace(-4, 4, 12)
        H, c, yy, *_ = quadratics(rng, 1, 12, 1, scales=scales)
        l1, l2 = np.array([1e-3 * np.sqrt(yy[0, 0]) * 1e-4]), np.zeros(1)
        w, n_iter, _ = self.descend(host, H, c, yy, l1, l2)
        # The roundings of the widest columns exceed the penalty's share in the gap: they end it.
        assert n_iter[0, 0] < 100_000
        assert violation(H[0], c[0, :, 0], w[0, :, 0], l1[0], 0.0) <= 1e-10

    @pytest.mark.parametrize("max_iter", [0, 1, 3, 12])
    @pytest.mark.parametrize(("l1", "l2"), [(0.05, 0.0), (0.05, 0.2), (0.0, 0.2), (10.0, 0.0)])
    def test_the_gap_is_that_of_scikit_learn(self, host, rng, max_iter, l1, l2):
        H, c, yy, *_ = quadratics(rng, 2, 9, 3)
        start = rng.standard_normal(c.shape)
        penalties = np.full(3, l1), np.full(3, l2)
        w, n_iter, gap = self.descend(host, H, c, yy, *penalties, start, 0.0, max_iter)
        assert np.all(n_iter <= max_iter)
        for p in range(2):
            for m in range(3):
                expected, size = gap_by_sklearn(H[p], c[p, :, m], yy[p, m], w[p, :, m], l1, l2)
                # Its terms cancel, and leave the roundings of their sizes.
                np.testing.assert_allclose(gap[p, m], expected, rtol=1e-12, atol=1e3 * EPS * size)
                assert gap[p, m] >= 0
        if max_iter == 0:
            np.testing.assert_array_equal(w, start)

    def test_a_path_is_that_of_scikit_learn(self, host, rng):
        H, c, yy, X, y = quadratics(rng, 1, 20, 1)
        l1 = np.abs(c).max() * np.logspace(0, -3, 15)
        w, n_iter, _ = self.descend(host, H, c, yy, l1, np.zeros(15), tol=1e-13, is_path=True)
        _, expected, _ = lasso_path(X[0], y[0, :, 0], alphas=l1, tol=1e-13, max_iter=100_000)
        # A gap of 1e-13 of yy lets coefficients differ by its root, over that of the smallest curvature.
        np.testing.assert_allclose(w[0], expected, atol=1e-5)
        assert n_iter[0, 0] == 1
        assert not w[0, :, 0].any()

    @pytest.mark.parametrize("shape", [(2, 8, 6), (1, 40, 4)])
    def test_a_path_equals_separate_solves(self, host, rng, shape):
        H, c, yy, *_ = quadratics(rng, *shape[:2], 1, rows=200)
        k = shape[2]
        l1, l2 = np.abs(c).max() * np.logspace(-0.2, -2.5, k), np.full(k, 0.01)
        together, *_ = self.descend(host, H, c, yy, l1, l2, is_path=True)
        separate, *_ = self.descend(host, H, c, yy, l1, l2)
        # Both meet the conditions of the minimum to 1e-10, and the curvatures are at least l2.
        np.testing.assert_allclose(together, separate, atol=1e-8)
        # Each solve of the path is the one that starts where the last one ended.
        for m in range(1, k):
            start = together[:, :, m - 1 : m]
            alone, *_ = self.descend(host, H, c, yy, l1[m : m + 1], l2[m : m + 1], start)
            np.testing.assert_array_equal(alone[:, :, 0], together[:, :, m])

    def test_a_path_ignores_all_starts_but_the_first(self, host, rng):
        H, c, yy, *_ = quadratics(rng, 2, 6, 1)
        l1, start = np.array([0.3, 0.1, 0.02]), np.zeros((2, 6, 3))
        expected = self.descend(host, H, c, yy, l1, np.zeros(3), start, is_path=True)
        start[:, :, 1:] = np.nan
        got = self.descend(host, H, c, yy, l1, np.zeros(3), start, is_path=True)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("l1_ratio", [0.2, 0.9])
    def test_an_elastic_net_is_that_of_scikit_learn(self, host, rng, l1_ratio):
        H, c, yy, X, y = quadratics(rng, 3, 7, 2)
        alpha = np.array([0.3, 0.01])
        w, *_ = self.descend(host, H, c, yy, alpha * l1_ratio, alpha * (1 - l1_ratio))
        for p in range(3):
            for m in range(2):
                model = ElasticNet(alpha=alpha[m], l1_ratio=l1_ratio, tol=1e-14, max_iter=100_000)
                expected = model.fit(X[p], y[p, :, m]).coef_
                # Gaps of 1e-14 of yy, over curvatures of 1e-3 and more.
                np.testing.assert_allclose(w[p, :, m], expected, atol=1e-5)

    def test_models_may_share_a_target(self, host, rng):
        H, c, yy, *_ = quadratics(rng, 2, 6, 1)
        l1, l2 = np.array([0.2, 0.05, 0.01]), np.array([0.0, 0.1, 0.0])
        shared = self.descend(host, H, c, yy, l1, l2)
        repeated = self.descend(host, H, np.repeat(c, 3, axis=2), np.repeat(yy, 3, axis=1), l1, l2)
        for a, b in zip(shared, repeated, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_without_the_absolute_penalty(self, host, rng):
        H, c, yy, *_ = quadratics(rng, 2, 6, 2)
        l2 = np.array([0.3, 0.0])
        w, _, gap = self.descend(host, H, c, yy, np.zeros(2), l2, tol=1e-12)
        for m in range(2):
            expected = np.linalg.solve(H + l2[m] * np.eye(6), c[:, :, m : m + 1])[:, :, 0]
            # Gradients of 1e-6 of c over l2 for the first; of 1e-12, over curvatures of 1e-2, for the other.
            np.testing.assert_allclose(w[:, :, m], expected, atol=1e-6)
        assert np.all(gap[:, 0] <= 1e-12 * yy[:, 0])
        assert np.isnan(gap[:, 1]).all()

    @pytest.mark.parametrize("penalty", [(0.05, 0.0), (0.0, 0.1), (0.05, 0.1), (0.0, 0.0)])
    def test_columns_of_zeros_keep_zero(self, host, rng, penalty):
        H, c, yy, *_ = quadratics(rng, 1, 5, 1)
        wider, target, start = np.zeros((1, 8, 8)), np.zeros((1, 8, 1)), np.ones((1, 8, 1))
        live = np.array([1, 2, 4, 5, 7])
        wider[np.ix_([0], live, live)], target[:, live] = H, c
        wider[0, 0, 0] = -1e-18  # as rounding may leave it
        l1, l2 = np.array([penalty[0]]), np.array([penalty[1]])
        w, _, gap = self.descend(host, wider, target, yy, l1, l2, start, tol=1e-12)
        narrow, _, narrow_gap = self.descend(host, H, c, yy, l1, l2, start[:, live], tol=1e-12)
        dead = np.array([0, 3, 6])
        # A ridge penalty alone shrinks what started at 1 to nothing, in one step.
        assert not w[:, dead].any()
        np.testing.assert_allclose(w[:, live], narrow, atol=1e-9)
        np.testing.assert_array_equal(np.isnan(gap), np.isnan(narrow_gap))

    def test_nothing_to_fit(self, host):
        H, zero = np.zeros((1, 3, 3)), np.zeros((1, 3, 1))
        w, n_iter, gap = self.descend(host, H, zero, np.zeros((1, 1)), np.ones(1), np.zeros(1), zero + 1)
        assert not w.any()
        assert (n_iter[0, 0], gap[0, 0]) == (1, 0)

    @pytest.mark.parametrize("tol", [0.0, 1e-14])
    def test_rounding_ends_what_no_tolerance_can(self, host, rng, tol):
        H, c, yy, *_ = quadratics(rng, 1, 10, 1)
        w, n_iter, _ = self.descend(host, H, c, yy * 1e-6, np.full(1, 0.01), np.zeros(1), tol=tol)
        assert n_iter[0, 0] < 10_000
        assert violation(H[0], c[0, :, 0], w[0, :, 0], 0.01, 0.0) <= 1e-13

    def test_a_looser_tolerance_is_met_sooner_and_never_by_active_columns_alone(self, host, rng):
        H, c, yy, *_ = quadratics(rng, 1, 70, 1)
        sweeps = []
        for tol in (1e-3, 1e-6, 1e-9):
            _, n_iter, gap = self.descend(host, H, c, yy, np.full(1, 0.1), np.zeros(1), tol=tol)
            assert gap[0, 0] <= tol * yy[0, 0]
            sweeps.append(n_iter[0, 0])
        assert sweeps == sorted(sweeps)
        assert sweeps[0] < sweeps[-1]

    def test_one_column_enters_late(self, host):
        """It explains what the other's coefficient hides: the nonzero ones settle without it at first."""
        H = np.array([[[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]]])
        c = np.array([[[0.0], [1.0], [0.0]]])
        l1 = np.array([0.1])
        w, *_ = self.descend(host, H, c, np.full((1, 1), 3.0), l1, np.zeros(1))
        assert w[0, 0, 0] < 0 < w[0, 1, 0]
        assert violation(H[0], c[0, :, 0], w[0, :, 0], 0.1, 0.0) <= 1e-13

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("place", ["H", "c"])
    def test_what_is_not_finite_ends_in_nan_and_harms_no_neighbour(self, host, rng, value, place):
        H, c, yy, *_ = quadratics(rng, 2, 5, 1)
        expected, *_ = self.descend(host, H, c, yy, np.full(1, 0.01), np.zeros(1))
        (H if place == "H" else c)[0, 2] = value
        w, n_iter, gap = self.descend(host, H, c, yy, np.full(1, 0.01), np.zeros(1))
        assert not np.isfinite(w[0]).all()
        assert np.isnan(gap[0, 0])
        assert n_iter[0, 0] < 5
        np.testing.assert_array_equal(w[1], expected[1])

    @pytest.mark.parametrize("is_path", [False, True])
    def test_of_any_number_of_threads(self, host, rng, monkeypatch, is_path):
        H, c, yy, *_ = quadratics(rng, 3, 64, 1, rows=200)
        l1 = np.abs(c).max() * np.logspace(-0.5, -1.5, 8)
        results = []
        for threads in ("1", "2", "5"):
            monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
            results.append(self.descend(host, H, c, yy, l1, np.zeros(8), tol=1e-2, is_path=is_path))
        for result in results[1:]:
            for got, expected in zip(result, results[0], strict=True):
                np.testing.assert_array_equal(got, expected)

    def test_inputs_may_be_read_only_and_shared(self, host, rng):
        H, c, yy, *_ = quadratics(rng, 1, 5, 1)
        many = (np.broadcast_to(a, (4, *a.shape[1:])) for a in (H, c, yy))
        l1, l2 = np.broadcast_to(0.05, (2,)), np.broadcast_to(0.0, (2,))
        w, *_ = self.descend(host, *many, l1, l2)
        expected, *_ = self.descend(host, H, c, yy, l1, l2)
        np.testing.assert_array_equal(w, np.broadcast_to(expected, w.shape))
