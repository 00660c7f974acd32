"""Gram matrices and co-moments of the two backends that compute on the host, called directly.

The yardstick is exact: fractions, for as many rows as is bearable, else two passes in extended precision.
"""

import io
import tracemalloc
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from tests.conftest import HOST_BACKENDS
from tests.test_products import layouts, poisoned
from tests.workers import run_with_narrow_registers
from vecprod_gpu.backends import reference

# (stored, summing)
PAIRS = [("float32", "float32"), ("float32", "float64"), ("float64", "float64")]
# (B, n, p): fewer and more rows and columns than vectors, tiles, blocks and panels have
SHAPES = [
    (1, 1, 1),
    (1, 1, 6),
    (2, 2, 3),
    (3, 17, 1),
    (2, 31, 5),
    (1, 64, 16),
    (2, 1100, 37),
    (1, 9001, 2),
    (1, 1500, 70),
    (70, 5, 4),
    (1, 700, 300),
]


@pytest.fixture(params=HOST_BACKENDS)
def host(request):
    """The module of each backend; that of ``cpu`` needs Numba."""
    return cpu() if request.param == "cpu" else reference


def cpu():
    from vecprod_gpu.backends import cpu

    return cpu


def gram(host, X, Y=None, weights=None, dtype=None):
    out = poisoned((X.shape[0], X.shape[2], (X if Y is None else Y).shape[2]), dtype or X.dtype)
    host.gram(X, Y, weights, out)
    return out


def co_moments(host, X, Y=None, weights=None, dtype=None, scale=1.0, correlation=False):
    """Co-moments, means and total weight."""
    dtype = np.dtype(dtype or X.dtype)
    d = X.shape[2] + (0 if Y is None else Y.shape[2])
    total, means = poisoned(X.shape[0], np.float64), poisoned((X.shape[0], d), dtype)
    out = poisoned((X.shape[0], d, d), dtype)
    host.co_moments(X, Y, weights, scale=scale, correlation=correlation, total=total, means=means, out=out)
    return out, means, total


def both(host, X, Y=None, weights=None, dtype=None):
    """All results that the inputs have."""
    return gram(host, X, Y, weights, dtype), *co_moments(host, X, Y, weights, dtype)


# --- The yardstick ---------------------------------------------------------------------------------


def exact_gram(X, Y=None, weights=None):
    """Sums of outer products, in extended precision."""
    X, Y = np.longdouble(X), np.longdouble(X if Y is None else Y)
    weighted = X if weights is None else X * np.longdouble(weights)[:, :, None]
    return np.stack([x.T @ y for x, y in zip(weighted, Y, strict=True)])


def exact_co_moments(X, Y=None, weights=None):
    """Co-moments, means and total weight, in two passes in extended precision."""
    Z = np.longdouble(X if Y is None else np.concatenate([X, Y], axis=2))
    s = np.ones(Z.shape[:2], np.longdouble) if weights is None else np.longdouble(weights)
    total = s.sum(axis=1)
    means = (s[:, :, None] * Z).sum(axis=1) / total[:, None]
    return exact_gram(Z - means[:, None], weights=s), means, total


def exact_covariance(x, y, weights):
    """The co-moment of two columns, as a fraction."""
    x, y, s = ([Fraction(float(number)) for number in column] for column in (x, y, weights))
    mean_x, mean_y = (sum(w * z for w, z in zip(s, column, strict=True)) / sum(s) for column in (x, y))
    return sum(w * (a - mean_x) * (b - mean_y) for w, a, b in zip(s, x, y, strict=True))


def assert_close(ours, exact, ulps=50):
    """Each element within the rounding of sums as large as the largest element of its matrix or vector."""
    scale = np.abs(exact).max(axis=tuple(range(1, exact.ndim)), keepdims=True)
    allowed = ulps * np.finfo(ours.dtype).eps * scale
    error = np.abs(ours - exact.astype(np.longdouble))
    assert (error <= allowed).all(), np.nanmax(error / allowed)


def assert_symmetric(matrices):
    assert matrices.tobytes() == np.swapaxes(matrices, 1, 2).copy().tobytes()


def draw(rng, shape, stored, summing, weighted, q=3):
    """X, Y and weights, some of them zero but the last."""
    X = rng.standard_normal(shape).astype(stored) + 1
    Y = rng.standard_normal((*shape[:2], q)).astype(stored) - 1
    weights = rng.uniform(0.5, 2, shape[:2]) * rng.integers(0, 4, shape[:2])
    weights[:, -1] = 1
    return X, Y, weights.astype(summing) if weighted else None


# --- What is computed ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("stored", "summing"), PAIRS)
@pytest.mark.parametrize("weighted", [False, True])
class TestSums:
    def test_gram_of_one(self, host, rng, shape, stored, summing, weighted):
        X, _, weights = draw(rng, shape, stored, summing, weighted)
        ours = gram(host, X, None, weights, summing)
        assert_close(ours, exact_gram(X, None, weights))
        assert_symmetric(ours)

    def test_gram_of_two(self, host, rng, shape, stored, summing, weighted):
        X, Y, weights = draw(rng, shape, stored, summing, weighted, q=9)
        assert_close(gram(host, X, Y, weights, summing), exact_gram(X, Y, weights))
        assert_close(gram(host, Y, X, weights, summing), exact_gram(Y, X, weights))

    @pytest.mark.parametrize("with_Y", [False, True])
    def test_co_moments(self, host, rng, shape, stored, summing, weighted, with_Y):
        X, Y, weights = draw(rng, shape, stored, summing, weighted)
        Y = Y if with_Y else None
        ours, means, total = co_moments(host, X, Y, weights, summing)
        exact, exact_means, exact_total = exact_co_moments(X, Y, weights)
        assert_close(ours, exact)
        assert_close(means, exact_means)
        assert_close(total, exact_total)
        assert_symmetric(ours)


@pytest.mark.parametrize(("stored", "summing"), PAIRS)
def test_every_edge_of_tiles_and_vectors(host, rng, stored, summing):
    """All numbers of rows and columns up to where the pattern repeats, in both orders of memory."""
    for n in range(1, 36):
        for d in (1 + n % 9, 1 + (n * 5) % 19):
            X = rng.standard_normal((2, n, d)).astype(stored)
            transposed = np.ascontiguousarray(X.swapaxes(1, 2)).swapaxes(1, 2)
            for form in (X, transposed):
                assert_close(gram(host, form, None, None, summing), exact_gram(X))
                ours, _, _ = co_moments(host, form, None, None, summing)
                assert_close(ours, exact_co_moments(X)[0])


def test_x_beside_y_is_their_concatenation(host, rng):
    X, Y, weights = draw(rng, (2, 600, 6), "float64", "float64", True, q=5)
    apart = co_moments(host, X, Y, weights)
    together = co_moments(host, np.concatenate([X, Y], axis=2), None, weights)
    assert [a.tobytes() for a in apart] == [t.tobytes() for t in together]


@pytest.mark.parametrize("d", [3, 270])
def test_scale(host, rng, d):
    X = rng.standard_normal((2, 40, d))
    plain, scaled = (co_moments(host, X, scale=scale)[0] for scale in (1.0, 0.3))
    np.testing.assert_allclose(scaled, 0.3 * plain, rtol=1e-15)


def test_scale_is_applied_before_the_result_is_rounded(host):
    """Sums of squares beyond float32, whose mean is not; squares of powers of two, which add up exactly."""
    X = np.float32(2**56) * np.array([1, -1] * 50_000, np.float32)[None, :, None]
    with np.errstate(over="raise"):
        ours, _, _ = co_moments(host, X, dtype="float32", scale=1e-5)
    np.testing.assert_allclose(ours, 2.0**112, rtol=1e-6)


class TestCorrelation:
    @pytest.mark.parametrize(("stored", "summing"), PAIRS)
    @pytest.mark.parametrize("d", [5, 270])
    def test_against_extended_precision(self, host, rng, stored, summing, d):
        X = rng.standard_normal((2, 500, d)).astype(stored)
        X[..., 1] += 3 * X[..., 0]
        ours, _, _ = co_moments(host, X, None, None, summing, scale=0.1, correlation=True)
        exact, _, _ = exact_co_moments(X)
        deviations = np.sqrt(np.diagonal(exact, axis1=1, axis2=2))
        assert_close(ours, exact / (deviations[:, :, None] * deviations[:, None, :]))
        assert_symmetric(ours)

    def test_stays_within_one(self, host, rng):
        """Columns that are multiples of each other, many times, so that some would round past 1."""
        X = rng.standard_normal((200, 7, 1)) * rng.uniform(0.1, 10, (200, 1, 4)) * [1, -1, 1, -1]
        ours, _, _ = co_moments(host, X, correlation=True)
        assert np.abs(ours).max() == 1
        np.testing.assert_allclose(np.abs(ours), 1, rtol=1e-14)

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("constant", [0.0, 0.1, -1e8])
    def test_with_a_constant_is_nan(self, host, rng, constant, weighted):
        X, _, weights = draw(rng, (1, 5000, 3), "float64", "float64", weighted)
        X[..., 1] = constant
        assert not co_moments(host, X, None, weights)[0][0, 1].any()
        with pytest.warns(RuntimeWarning, match="^invalid value encountered in divide$") as warned:
            ours, _, _ = co_moments(host, X, None, weights, correlation=True)
        assert len(warned) == 1
        assert np.isnan(ours[0, 1]).all()
        assert np.isnan(ours[0, :, 1]).all()
        assert np.isfinite(ours[0][np.ix_([0, 2], [0, 2])]).all()


# --- Digits ----------------------------------------------------------------------------------------


class TestDigits:
    @pytest.mark.parametrize("mean", [1e4, 1e6, 1e8])
    @pytest.mark.parametrize(("stored", "summing"), PAIRS)
    def test_of_data_far_from_zero(self, host, rng, mean, stored, summing):
        """What the data have lost by being stored is lost; of the rest nothing is."""
        X = (rng.standard_normal((1, 9000, 4)) * max(1, mean * 1e-6) + mean).astype(stored)
        ours, means, _ = co_moments(host, X, None, None, summing)
        exact, exact_means, _ = exact_co_moments(X)
        assert_close(ours, exact)
        assert_close(means, exact_means, 2)

    @pytest.mark.parametrize("d", [3, 9])
    def test_of_means_that_drift(self, host, rng, d):
        """Blocks whose means differ by more than the spread within them, far from zero."""
        X = rng.standard_normal((1, 30_000, d)) + np.linspace(0, 100, 30_000)[:, None] + 1e8
        assert_close(co_moments(host, X)[0], exact_co_moments(X)[0])

    @pytest.mark.parametrize("mean", [0, 1e5, 1e8])
    def test_against_fractions(self, host, rng, mean):
        X = rng.standard_normal((1, 1500, 2)) + mean
        weights = rng.uniform(0.1, 1, (1, 1500))
        ours, _, _ = co_moments(host, X, None, weights)
        exact = [[exact_covariance(x, y, weights[0]) for x in X[0].T] for y in X[0].T]
        scale = max(exact[0][0], exact[1][1])
        for i in range(2):
            for j in range(2):
                assert abs(Fraction(float(ours[0, i, j])) - exact[i][j]) <= scale * Fraction(1, 2**46)

    @pytest.mark.parametrize("d", [3, 12])
    def test_an_outlier_in_the_first_row(self, host, rng, d):
        """The row that blocks are shifted by before their means are known."""
        X = rng.standard_normal((1, 3000, d)).astype("float32")
        X[0, 0, :3] = [1e6, -1e6, 0]
        ours, _, _ = co_moments(host, X, dtype="float32")
        exact, _, _ = exact_co_moments(X)
        deviations = np.sqrt(np.diagonal(exact[0]))
        unit = np.outer(deviations, deviations)
        assert_close((ours / unit).astype(np.float32), exact / unit)

    @pytest.mark.parametrize("d", [3, 20, 270])
    def test_rows_without_weight_do_not_count(self, host, rng, d):
        """Whatever they hold, and be they whole blocks."""
        X = rng.standard_normal((1, 6000, d)) + 1
        weights = rng.uniform(0.5, 2, (1, 6000))
        weights[0, :4500] = weights[0, 5000] = 0
        X[weights == 0] = 1e30
        kept = weights[0] > 0
        ours = both(host, X, X[:, :, :2], weights)
        left = both(host, X[:, kept], X[:, kept, :2], weights[:, kept])
        for mine, other in zip(ours, left, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-10)

    def test_weights_repeat_rows(self, host, rng):
        X = rng.standard_normal((1, 800, 4)) + 5
        times = rng.integers(0, 4, (1, 800))
        weighted = both(host, X, None, times.astype(float))
        repeated = both(host, np.repeat(X, times[0], axis=1))
        for mine, other in zip(weighted, repeated, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-10)


# --- What is not finite ----------------------------------------------------------------------------


class TestExceptions:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("d", [6, 270])
    @pytest.mark.parametrize("row", [0, 700])
    def test_bad_columns_spoil_their_own_elements_alone(self, host, rng, bad, d, row):
        X = rng.standard_normal((1, 2500, d))
        good = np.delete(np.arange(d), 2)
        before = co_moments(host, X)[0][0][np.ix_(good, good)]
        gram_before = gram(host, X)[0][np.ix_(good, good)]
        X[0, row, 2] = bad
        with np.errstate(invalid="ignore"):
            ours = co_moments(host, X)[0][0]
            grams = gram(host, X)[0]
        assert np.isnan(ours[2]).all()
        assert np.isnan(ours[:, 2]).all()
        np.testing.assert_allclose(ours[np.ix_(good, good)], before, rtol=1e-12, atol=1e-10)
        assert not np.isfinite(grams[2]).any()
        np.testing.assert_allclose(grams[np.ix_(good, good)], gram_before, rtol=1e-12, atol=1e-10)

    def test_infinity_times_a_number_is_infinity(self, host, rng):
        X = rng.uniform(1, 2, (1, 50, 5))
        X[0, 7, 1] = np.inf
        with np.errstate(
            invalid="raise" if host is not reference else "ignore"
        ):  # NumPy's library may raise it
            ours = gram(host, X)[0]
        assert (ours[1] == np.inf).all()
        assert (ours[:, 1] == np.inf).all()

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize(("stored", "summing"), PAIRS)
    @pytest.mark.parametrize("d", [5, 270])
    def test_no_exception_without_cause(self, host, rng, stored, summing, weighted, d):
        X, Y, weights = draw(rng, (2, 600, d), stored, summing, weighted)
        with np.errstate(all="raise"):
            both(host, X, Y, weights, summing)
            co_moments(host, X, None, weights, summing, correlation=True)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("d", [5, 270])
    @pytest.mark.parametrize("operation", [gram, co_moments])
    def test_overflow_is_told(self, host, rng, operation, dtype, d):
        X = rng.standard_normal((1, 600, d)).astype(dtype)
        X[0, 3, 1] = np.finfo(dtype).max / 2
        with np.errstate(over="raise"), pytest.raises(FloatingPointError, match=r"^overflow encountered in "):
            operation(host, X)
        with pytest.warns(RuntimeWarning, match=r"^overflow encountered in "):
            operation(host, X)

    @pytest.mark.parametrize("operation", [gram, co_moments])
    def test_invalid_operations_are_told(self, host, rng, operation):
        X = rng.standard_normal((1, 20, 3))
        X[0, :2, 1] = np.inf, -np.inf
        with np.errstate(invalid="raise"), pytest.raises(FloatingPointError, match=r"^invalid value enc"):
            operation(host, X)

    @pytest.mark.parametrize(("limit", "told"), [("max", ("overflow", 2)), ("tiny", ("underflow", 4))])
    def test_what_seterrcall_installed_is_told_as_by_numpy(self, host, limit, told):
        X = np.full((1, 20, 3), getattr(np.finfo(np.float64), limit))
        calls = {"ours": [], "numpy": []}
        for whose, product in (("ours", partial(gram, host, X)), ("numpy", partial(np.multiply, X, X))):
            with np.errstate(all="call", call=lambda *call, whose=whose: calls[whose].append(call)):
                product()
        assert told in calls["ours"]
        assert told in calls["numpy"]
        log = io.StringIO()
        with np.errstate(all="log", call=log):
            gram(host, X)
        assert log.getvalue().startswith(f"Warning: {told[0]} encountered in ")

    def test_one_row_on_no_degree_of_freedom(self, host):
        """As in numpy.cov, whose factor is then infinite."""
        with pytest.warns(RuntimeWarning, match="^invalid value encountered in multiply$"):
            ours, means, total = co_moments(host, np.ones((1, 1, 2)), scale=np.inf)
        assert np.isnan(ours).all()
        assert (means.tolist(), total.tolist()) == ([[1, 1]], [1])

    @pytest.mark.parametrize("shape", [(8, 4), (8, 20), (3000, 20), (8, 300), (3000, 300)])
    def test_sums_and_their_scaling_are_told_apart(self, host, shape):
        large, factor = 2.0**500, 2.0**66  # with means of exactly 0, whatever the order of the sums
        X = np.zeros((1, *shape))
        X[0, :2, 0] = large, -large
        with pytest.warns(RuntimeWarning) as scaled:
            co_moments(host, X, scale=factor)
        with pytest.warns(RuntimeWarning) as summed:
            co_moments(host, factor * X)
        assert [str(told.message) for told in scaled] == ["overflow encountered in multiply"]
        assert "overflow encountered in multiply" not in [str(told.message) for told in summed]

    @pytest.mark.parametrize(("n", "d"), [(9000, 2), (9000, 270), (9, 270)])
    def test_without_any_weight_all_is_nan(self, host, rng, n, d):
        X = rng.standard_normal((2, n, d))
        weights = np.ones((2, n))
        weights[1] = 0
        with np.errstate(invalid="ignore"):
            ours, means, total = co_moments(host, X, None, weights)
        assert total.tolist() == [n, 0]
        assert np.isfinite(ours[0]).all()
        assert np.isfinite(means[0]).all()
        assert np.isnan(ours[1]).all()
        assert np.isnan(means[1]).all()


# --- What must not be seen -------------------------------------------------------------------------


def digests(*results):
    return [result.tobytes() for result in results]


class TestBits:
    @pytest.mark.parametrize("layout", sorted(layouts(np.ones((1, 1, 1)))))
    @pytest.mark.parametrize("shape", [(1, 3000, 9), (3, 21, 5), (1, 1100, 270), (70, 37, 3)])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_of_any_layout(self, host, rng, layout, shape, dtype):
        X, Y, weights = draw(rng, shape, dtype, dtype, True)
        kept = X.copy()
        odd = [layouts(array)[layout] for array in (X, Y)]
        fixed = layouts(weights)["read-only"]
        assert digests(*both(host, *odd, fixed)) == digests(*both(host, X, Y, weights))
        columns_first = np.ascontiguousarray(X.swapaxes(1, 2)).swapaxes(1, 2)
        assert digests(gram(host, columns_first)) == digests(gram(host, X))
        np.testing.assert_array_equal(X, kept)

    @pytest.mark.parametrize("shape", [(1, 40_000, 9), (2, 3000, 270), (200, 1100, 5)])
    def test_of_any_number_of_threads(self, host, rng, monkeypatch, shape):
        X, Y, weights = draw(rng, shape, "float32", "float64", True)
        results = []
        for threads in ("1", "2", "5"):
            monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
            results.append(digests(*both(host, X, Y, weights, "float64")))
        assert results[0] == results[1] == results[2]

    @pytest.mark.parametrize("shape", [(66, 40, 3), (66, 1024, 3), (66, 20_000, 3), (3, 50, 270)])
    def test_of_any_neighbours(self, host, rng, shape):
        """Alone, where threads share its rows or its matrix, and among others, where each has its own."""
        X, _, weights = draw(rng, shape, "float64", "float64", True)
        batch = both(host, X, None, weights)
        alone = both(host, X[2:3], None, weights[2:3])
        assert digests(*(result[2:3] for result in batch)) == digests(*alone)

    def test_of_no_problems(self, host):
        grams, moments, means, total = both(host, np.ones((0, 5, 3)), None, np.ones((0, 5)))
        assert (grams.shape, moments.shape, means.shape, total.shape) == ((0, 3, 3), (0, 3, 3), (0, 3), (0,))

    def test_nothing_but_the_results_is_written(self, host, rng):
        X, Y, weights = draw(rng, (2, 1000, 7), "float64", "float64", True)
        kept = digests(X, Y, weights)
        room = poisoned((4, 10, 10), np.float64)
        around = room[[0, 3]].tobytes()
        host.co_moments(
            X,
            Y,
            weights,
            scale=1.0,
            correlation=True,
            total=np.empty(2),
            means=np.empty((2, 10)),
            out=room[1:3],
        )
        assert digests(X, Y, weights) == kept
        assert room[[0, 3]].tobytes() == around


class TestComplex:
    """Of which each part is rounded as a real number."""

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("dtype", ["complex64", "complex128"])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("layout", ["columns", "rows", "rows beside others", "columns beside others"])
    def test_co_moments(self, host, rng, shape, dtype, weighted, layout):
        B, n, p = shape
        X, Y = (7 - 3j + rng.standard_normal((2, B, p, n, 2))).view(complex)[..., 0].astype(dtype)
        if layout.startswith("columns"):
            X, Y = X.swapaxes(1, 2).copy(), Y.swapaxes(1, 2).copy()
        else:
            X, Y = X.swapaxes(1, 2), Y.swapaxes(1, 2)
        Y = Y if "beside" in layout else None
        weights = rng.uniform(0.5, 2, (B, n)).astype(complex) if weighted else None
        ours, means, total = co_moments(host, X, Y, weights, "complex128")
        Z = (X if Y is None else np.concatenate([X, Y], axis=2)).astype(np.clongdouble)
        s = np.ones((B, n, 1)) if weights is None else weights.real[:, :, np.newaxis]
        mean = (s * Z).sum(axis=1, keepdims=True) / s.sum(axis=1, keepdims=True)
        exact = (s * (Z - mean)).swapaxes(1, 2) @ (Z - mean).conj()
        scale = s.sum(axis=1).max() * (1 + np.abs(Z - mean).max()) ** 2
        np.testing.assert_allclose(ours, exact.astype(complex), rtol=0, atol=1e-14 * scale)
        np.testing.assert_array_equal(ours, ours.conj().swapaxes(1, 2))
        np.testing.assert_allclose(means, mean[:, 0].astype(complex), rtol=1e-14)
        np.testing.assert_allclose(total, s.sum(axis=(1, 2)), rtol=1e-14)

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("shape", [(1, 300, 4), (3, 20, 3), (1, 3000, 20)])
    def test_no_layout_can_be_seen(self, host, rng, shape, weighted):
        X = rng.standard_normal((*shape, 2)).view(complex)[..., 0]
        weights = rng.random(shape[:2]).astype(complex) if weighted else None
        expected = co_moments(host, X, None, weights)[0]
        for view in (
            np.asfortranarray(X),
            X.swapaxes(1, 2).copy().swapaxes(1, 2),
            np.repeat(X, 2, 2)[..., ::2],
        ):
            np.testing.assert_array_equal(co_moments(host, view, None, weights)[0], expected)

    @pytest.mark.skipif("cpu" not in HOST_BACKENDS, reason="needs Numba")
    def test_variances_that_overflow_stay_real(self):
        X = np.array([[[1e25j, 1], [-1e25j, 2j], [1e25, 3]]], "F")
        with pytest.warns(RuntimeWarning, match="^overflow"):
            found = co_moments(cpu(), X, scale=0.5)[0]
        assert found[0, 0, 0] == np.inf
        assert found[0, 0, 0].imag == 0

    def test_what_is_constant_has_no_spread(self, host, rng):
        X = np.full((1, 50, 2), 0.1 + 0.7j)
        X[0, :, 1] = rng.standard_normal(50)
        assert co_moments(host, X)[0][0, 0].tolist() == [0, 0]


class TestCpu:
    """How that backend works."""

    pytestmark = pytest.mark.skipif("cpu" not in HOST_BACKENDS, reason="needs Numba")

    @pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5, 7, 64, 65, 130, 200])
    def test_stripes_follow_one_tree(self, rng, monkeypatch, blocks):
        """However many blocks a stripe has, up to all of them."""
        from vecprod_gpu.backends._cpu.moments import operations

        rows = operations.rows_per_block(40, np.dtype(float))
        X = rng.standard_normal((1, rows * (blocks - 1) + 3, 40))
        striped = digests(*both(cpu(), X))
        monkeypatch.setattr(operations, "STRIPES", 1)
        assert digests(*both(cpu(), X)) == striped

    @pytest.mark.parametrize("group_bytes", [1, 64 << 20])
    def test_groups_of_blocks_do_not_show(self, rng, monkeypatch, group_bytes):
        from vecprod_gpu.backends._cpu.moments import operations

        X, _, weights = draw(rng, (1, 3000, 300), "float64", "float64", True)
        usual = digests(*both(cpu(), X, None, weights))
        monkeypatch.setattr(operations, "GROUP_BYTES", group_bytes)
        assert digests(*both(cpu(), X, None, weights)) == usual

    def test_one_compilation_serves_every_layout(self, rng):
        from vecprod_gpu.backends._cpu.moments import block_sums

        for shape, kernel in (((2, 30, 5), "sum_stripes"), ((1, 30, 260), "pack_blocks")):
            X, Y, weights = draw(rng, shape, "float32", "float64", True)
            for odd in layouts(X).values():
                both(cpu(), odd, Y, weights, "float64")
                both(cpu(), odd, None, None, "float64")
            function = getattr(block_sums, kernel)
            dispatcher = block_sums.for_dtypes(function, np.dtype("float32"), np.dtype("float64"))
            assert len(dispatcher.signatures) == 1
        for helper in (block_sums.merge_heads, block_sums.merge_panels):
            assert len(helper.signatures) <= 2  # the summing dtypes

    def test_memory_of_wide_matrices_is_bounded(self, rng):
        """Not one matrix for each stripe."""
        from vecprod_gpu.backends._cpu.moments import operations

        X = rng.standard_normal((1, 20_000, 400), np.float32)
        out = np.empty((1, 400, 400), np.float32)
        cpu().gram(X, None, None, out)
        tracemalloc.start()
        try:
            cpu().gram(X, None, None, out)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * 8 * out.size + 2 * operations.GROUP_BYTES

    def test_supports_what_it_computes(self):
        for operation in ("gram", "co_moments"):
            taken = "".join(char for char in "?bhilqefdgFDGO" if cpu().supports(operation, np.dtype(char)))
            assert taken == {"gram": "fd", "co_moments": "fdFD"}[operation]

    def test_with_narrow_registers(self, tmp_path):
        """As on processors without 64-byte vectors, whose tiles are smaller."""
        ended = run_with_narrow_registers(NARROW, tmp_path)
        assert ended.returncode == 0, ended.stderr


class TestShortRows:
    """Few columns, whose rows are multiplied as they are read, and centred after."""

    pytestmark = pytest.mark.skipif("cpu" not in HOST_BACKENDS, reason="needs Numba")

    @pytest.mark.parametrize("d", [5, 8, 13, 24, 32])
    @pytest.mark.parametrize(("stored", "summing"), PAIRS)
    @pytest.mark.parametrize("weighted", [False, True])
    def test_of_rows_and_one_target(self, rng, d, stored, summing, weighted):
        """Whatever their layout, they are what both are side by side."""
        X, y, weights = draw(rng, (2, 1301, d), stored, summing, weighted, q=1)
        ours = co_moments(cpu(), X, y, weights, summing)
        assert_close(ours[0], exact_co_moments(X, y, weights)[0])
        together = co_moments(cpu(), np.concatenate([X, y], axis=2), None, weights, summing)
        assert digests(*ours) == digests(*together)
        columns_first = np.ascontiguousarray(X.swapaxes(1, 2)).swapaxes(1, 2)
        for odd in (columns_first, layouts(X)["reversed"]):
            same = co_moments(cpu(), odd, layouts(y)["reversed"], weights, summing)
            assert digests(*ours) == digests(*same)

    @pytest.mark.parametrize("beside", ["X", "y"])
    @pytest.mark.parametrize("shift", [0.0, 1.0, 1e3, 1e9, np.inf, np.nan])
    def test_blocks_that_would_lose_digits_are_left_to_be_centred(self, rng, shift, beside):
        """Those in which rows that the pivot is taken from lie apart from all others."""
        from vecprod_gpu.backends._cpu.moments import short_rows

        X, y, weights = rng.standard_normal((1, 500, 6)), rng.standard_normal((1, 500, 1)), np.empty((1, 0))
        (X[0, :8, 5] if beside == "X" else y[0, :8, 0])[...] += shift
        vectors, targets = short_rows.vectors_of(6, 1, X.dtype)
        memory = short_rows.short_row_memory(500, 6, X.dtype, X.dtype, vectors)
        head, matrix = poisoned(8, np.float64), poisoned((7, 7), np.float64)
        keeps_digits = short_rows.sum_short_rows(
            (0,) * vectors, (0,) * targets, X, y, weights, 0, 0, 500, np.zeros(7), memory, head, matrix
        )
        assert keeps_digits == (shift < 1e3)
        if keeps_digits:
            upper = np.triu_indices(7)
            assert_close(matrix[None][:, *upper], exact_co_moments(X, y)[0][:, *upper])
        with np.errstate(invalid="ignore"):
            ours, exact = co_moments(cpu(), X, y)[0], exact_co_moments(X, y)[0]
        if np.isfinite(shift):
            assert_close(ours, exact)

    @pytest.mark.parametrize("row", [0, 300])
    def test_a_way_that_is_not_taken_raises_nothing(self, rng, row):
        """Only the overflow that there is, though differences from the pivot overflow in both directions."""
        X = rng.standard_normal((1, 600, 6))
        X[0, row, 1] = 1e300
        with np.errstate(invalid="raise", over="ignore"):
            ours, _, _ = co_moments(cpu(), X)
        assert ours[0, 1, 1] == np.inf


@pytest.mark.skipif("cpu" not in HOST_BACKENDS, reason="needs Numba")
class TestShortBlocks:
    """Blocks of few rows, whose products are summed row by row."""

    @pytest.mark.parametrize("n", [1, 7, 16, 63, 64, 65, 128, 129])
    @pytest.mark.parametrize("d", [33, 65, 100, 300, 515])
    @pytest.mark.parametrize(("stored", "summing"), PAIRS)
    def test_of_any_shape(self, rng, n, d, stored, summing):
        X, Y, weights = draw(rng, (1, n, d), stored, summing, True, q=d + 3)
        for s in (None, weights):
            ours = gram(cpu(), X, None, s, summing)
            assert_close(ours, exact_gram(X, None, s))
            assert_symmetric(ours)
            assert_close(gram(cpu(), X, Y, s, summing), exact_gram(X, Y, s))
            ours, _, _ = co_moments(cpu(), X, None, s, summing)
            assert_close(ours, exact_co_moments(X, None, s)[0])
            assert_symmetric(ours)

    @pytest.mark.parametrize("d", [70, 300])
    def test_floating_point_errors_are_those_of_the_products(self, rng, d):
        """What fills a vector up is an element of the column beside it: no 0 times infinity."""
        X = rng.standard_normal((1, 9, d))
        X[0, 4, -1] = np.inf
        with np.errstate(all="raise"):
            ours = gram(cpu(), X, np.abs(X) + 1)
        assert np.isinf(ours[0, -1]).all()

    def test_infinity_beside_others(self, rng):
        X = rng.standard_normal((1, 20, 67))
        X[0, 3, 5] = np.inf
        expected = exact_gram(X)
        np.testing.assert_array_equal(np.isfinite(gram(cpu(), X)), np.isfinite(expected))


NARROW = """
import numpy as np
from tests import test_host_moments as tests

rng = np.random.default_rng(3)
for stored, summing in tests.PAIRS[::2]:
    for shape in [(2, 31, 5), (1, 1100, 37), (1, 600, 270), (1, 20, 270), (3, 50, 41)]:
        X, Y, weights = tests.draw(rng, shape, stored, summing, True)
        tests.assert_close(tests.gram(tests.cpu(), X, Y, weights, summing), tests.exact_gram(X, Y, weights))
        ours, _, _ = tests.co_moments(tests.cpu(), X, Y, weights, summing)
        tests.assert_close(ours, tests.exact_co_moments(X, Y, weights)[0])
        tests.assert_symmetric(ours)
"""


# --- Other dtypes ----------------------------------------------------------------------------------


class TestReference:
    """What falls to it because no other backend takes the dtype."""

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("dtype", ["complex64", "complex128", "clongdouble"])
    def test_complex(self, rng, dtype, weighted):
        X, Y = (rng.standard_normal((2, 30, d)) + 1j * rng.standard_normal((2, 30, d)) for d in (4, 3))
        X, Y = X.astype(dtype), Y.astype(dtype)
        real = X.real.dtype
        s = rng.uniform(0.5, 2, (2, 30)).astype(real) if weighted else np.ones((2, 30), real)
        weights = s.astype(dtype) if weighted else None
        close = partial(np.testing.assert_allclose, rtol=0, atol=200 * np.finfo(real).eps)
        pairs = [(X, None), (X, Y)]
        for left, right in pairs:
            ours = gram(reference, left, right, weights)
            other = left if right is None else right
            close(ours, np.einsum("bn,bni,bnj->bij", s, left.conj(), other))
        ours, means, total = co_moments(reference, X, Y, weights, correlation=True, scale=2.0)
        Z = np.concatenate([X, Y], axis=2)
        mean = np.einsum("bn,bni->bi", s, Z) / s.sum(axis=1)[:, None]
        centred = Z - mean[:, None]
        exact = np.einsum("bn,bni,bnj->bij", s, centred, centred.conj())
        deviations = np.sqrt(np.diagonal(exact, axis1=1, axis2=2).real)
        close(means, mean)
        np.testing.assert_allclose(total, s.sum(axis=1), rtol=1e-14 + 10 * np.finfo(real).eps)
        close(ours, exact / (deviations[:, :, None] * deviations[:, None, :]))
        for hermitian in (ours, gram(reference, X, None, weights)):
            assert hermitian.dtype == dtype
            np.testing.assert_array_equal(hermitian, hermitian.conj().swapaxes(1, 2))

    def test_parts_of_complex_correlations_stay_within_one(self, rng):
        column = rng.standard_normal((300, 5, 1)) + 1j * rng.standard_normal((300, 5, 1))
        ours, _, _ = co_moments(reference, column * [1, 3, 1j, -7j], correlation=True)
        assert max(np.abs(ours.real).max(), np.abs(ours.imag).max()) == 1

    @pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
    def test_integers_wrap(self, rng, dtype):
        info = np.iinfo(dtype)
        X = rng.integers(info.min, info.max, (2, 20, 3), dtype)
        Y = rng.integers(info.min, info.max, (2, 20, 4), dtype)
        for other in (None, Y):
            ours = gram(reference, X, other)
            assert ours.dtype == dtype
            for mine, x, y in zip(ours, X, X if other is None else other, strict=True):
                sums = [[sum(int(a) * int(b) for a, b in zip(i, j, strict=True)) for j in y.T] for i in x.T]
                wrapped = [
                    [(s - info.min) % (info.max - info.min + 1) + info.min for s in row] for row in sums
                ]
                assert mine.tolist() == wrapped

    def test_float16_is_summed_in_float32(self, rng):
        X = rng.standard_normal((1, 5000, 3)).astype(np.float16)
        assert_close(gram(reference, X, dtype="float32"), exact_gram(X), 500)
        assert_close(co_moments(reference, X, dtype="float32")[0], exact_co_moments(X)[0])

    def test_long_double_keeps_its_digits(self, rng):
        X = rng.standard_normal((1, 50, 3)).astype(np.longdouble) + np.longdouble(1) / 3
        assert_close(gram(reference, X), exact_gram(X))
        assert_close(co_moments(reference, X)[0], exact_co_moments(X)[0])

    def test_objects(self):
        X = np.array([[[Fraction(1, 3), Fraction(2)], [Fraction(1, 7), Fraction(-1, 2)]]])
        out = np.empty((1, 2, 2), object)
        reference.gram(X, None, None, out)
        assert out.tolist() == [[[Fraction(58, 441), Fraction(25, 42)], [Fraction(25, 42), Fraction(17, 4)]]]
