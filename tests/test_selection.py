"""Choosing columns: against scikit-learn, NumPy's correlations, and least squares on every candidate."""

import warnings

import numpy as np
import pytest
from sklearn.feature_selection import f_regression

import vecprod_gpu as vp
from tests.test_device_arrays import KINDS
from tests.test_gram import quick

METHODS = ["f", "forward", "correlation"]


def draw(rng, n=60, d=6):
    """Columns of several scales and means, each in y by a share of its own, and correlated."""
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.4 * rng.standard_normal((d, d)))
    X = X * 10.0 ** rng.integers(-3, 4, d) + rng.uniform(-50, 50, d)
    shares = rng.permutation(np.arange(d)) / X.std(axis=0)
    return X, X @ shares + 2 * rng.standard_normal(n)


def r_squared(X, y, weights=None):
    """Of the regression on all of X with an intercept."""
    root = np.sqrt(np.ones(len(y)) if weights is None else weights)
    mean = np.average(y, weights=weights)
    columns = np.column_stack([X - np.average(X, axis=0, weights=weights), np.ones(len(y))])
    columns /= np.abs(columns).max(axis=0)
    fitted = columns @ np.linalg.lstsq(columns * root[:, None], (y - mean) * root, rcond=None)[0]
    return 1 - (root**2 * (y - mean - fitted) ** 2).sum() / (root**2 * (y - mean) ** 2).sum()


def forward(X, y, k, weights=None):
    """The greedy choice, by a regression on every candidate."""
    chosen, scores = [], []
    for _ in range(k):
        others = [column for column in range(X.shape[1]) if column not in chosen]
        found = [r_squared(X[:, [*chosen, column]], y, weights) for column in others]
        chosen.append(others[int(np.argmax(found))])
        scores.append(max(found))
    return chosen, scores


def test_every_backend(backend, rng):
    X, y = draw(rng)
    weights = rng.random(len(y))
    for method in METHODS:
        ours = vp.select_features(X, y, 3, method=method, sample_weight=weights)
        with vp.use_backend("reference"):
            same = vp.select_features(X, y, 3, method=method, sample_weight=weights)
        np.testing.assert_array_equal(ours.indices, same.indices)
        np.testing.assert_allclose(ours.scores, same.scores, rtol=1e-10)


@quick
class TestMethods:
    @pytest.mark.parametrize("k", [1, 3, 6])
    def test_f_is_scikit_learns(self, backend, rng, k):
        X, y = draw(rng)
        statistics, _ = f_regression(X - X.mean(axis=0), y)  # far from 0 it loses digits
        ours = vp.select_features(X, y, k)
        best = np.argsort(-statistics)[:k]
        np.testing.assert_array_equal(ours.indices, best)
        np.testing.assert_allclose(ours.scores, statistics[best], rtol=1e-9)
        assert ours.pruned == {}

    @pytest.mark.parametrize("k", [1, 4, 6])
    def test_correlation_is_numpys(self, backend, rng, k):
        X, y = draw(rng)
        correlation = np.abs(np.corrcoef(X, y, rowvar=False)[:-1, -1])
        ours = vp.select_features(X, y, k, method="correlation")
        best = np.argsort(-correlation)[:k]
        np.testing.assert_array_equal(ours.indices, best)
        np.testing.assert_allclose(ours.scores, correlation[best], rtol=1e-10)

    @pytest.mark.parametrize("k", [1, 4, 6])
    def test_forward_is_the_best_regression_each_time(self, backend, rng, k):
        X, y = draw(rng)
        indices, scores = forward(X, y, k)
        ours = vp.select_features(X, y, k, method="forward")
        np.testing.assert_array_equal(ours.indices, indices)
        np.testing.assert_allclose(ours.scores, scores, rtol=1e-9)

    def test_forward_sees_what_columns_say_together(self, backend, rng):
        a, b = rng.standard_normal((2, 50))
        noise = rng.standard_normal((50, 2))
        X = np.column_stack([a + b, noise, b])
        y = a + 0.01 * rng.standard_normal(50)
        assert set(vp.select_features(X, y, 2, method="forward").indices) == {0, 3}
        scores = vp.select_features(X, y, 4, method="forward").scores
        assert (np.diff(scores) >= 0).all()
        assert scores[-1] <= 1

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("dtype", ["float32", "int16", "bool", ">f8"])
    def test_dtypes(self, backend, rng, method, dtype):
        X, y = (40 * rng.random((30, 4))).astype(dtype), rng.standard_normal(30)
        if dtype == "bool":
            X = rng.random((30, 4)) < 0.5
        ours = vp.select_features(X, y, 3, method=method)
        wide = vp.select_features(X.astype(float), y, 3, method=method)
        np.testing.assert_array_equal(ours.indices, wide.indices)
        np.testing.assert_allclose(ours.scores, wide.scores, rtol=1e-12)
        assert ours.scores.dtype == np.float64
        assert ours.indices.dtype.kind == "i"

    def test_far_means_do_not_hide_the_order(self, backend, rng):
        X, y = draw(rng)
        shifted = X / X.std(axis=0) + 1e7
        ours, plain = (vp.select_features(columns, y + 1e7, 6, method="forward") for columns in (shifted, X))
        np.testing.assert_array_equal(ours.indices, plain.indices)
        # The columns themselves were rounded, by 1e-9 of their spread.
        np.testing.assert_allclose(ours.scores, plain.scores, rtol=1e-6)

    def test_layouts_give_the_same_bits(self, backend, rng):
        X, y = draw(rng)
        plain = vp.select_features(X, y, 4)
        for odd in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1].copy()[::-1]):
            assert vp.select_features(odd, y, 4).scores.tobytes() == plain.scores.tobytes()
        assert vp.select_features(X.tolist(), y.tolist(), 4).scores.tobytes() == plain.scores.tobytes()


@quick
class TestWeights:
    @pytest.mark.parametrize("method", METHODS)
    def test_are_repeated_rows(self, backend, rng, method):
        X, y = draw(rng)
        times = rng.integers(0, 4, len(y))
        ours = vp.select_features(X, y, 5, method=method, sample_weight=times)
        theirs = vp.select_features(np.repeat(X, times, axis=0), np.repeat(y, times), 5, method=method)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-10)

    def test_of_f_are_those_of_scikit_learn_on_repeated_rows(self, backend, rng):
        X, y = draw(rng)
        times = rng.integers(0, 4, len(y))
        repeated = np.repeat(X, times, axis=0)
        statistics, _ = f_regression(repeated - repeated.mean(axis=0), np.repeat(y, times))
        ours = vp.select_features(X, y, 6, sample_weight=times)
        np.testing.assert_array_equal(ours.indices, np.argsort(-statistics))
        np.testing.assert_allclose(ours.scores, statistics[ours.indices], rtol=1e-9)

    @pytest.mark.parametrize("method", METHODS)
    def test_of_one_change_nothing(self, backend, rng, method):
        X, y = draw(rng)
        ours = vp.select_features(X, y, 6, method=method, sample_weight=np.ones(len(y)))
        theirs = vp.select_features(X, y, 6, method=method)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-12)

    @pytest.mark.parametrize("method", METHODS)
    def test_of_zero_are_rows_that_are_not_there(self, backend, rng, method):
        X, y = draw(rng)
        weights = rng.random(len(y))
        weights[::3] = 0
        there = weights > 0
        X[~there] *= 1e6
        ours = vp.select_features(X, y, 6, method=method, sample_weight=weights)
        theirs = vp.select_features(X[there], y[there], 6, method=method, sample_weight=weights[there])
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-10)

    @pytest.mark.parametrize(("weight", "scale"), [(1e-305, 1e-8), (1e-200, 1e-60), (1e-150, 1e-85)])
    def test_that_are_small_do_not_lose_digits_in_silence(self, backend, rng, weight, scale):
        X, y = draw(rng)
        words = "weighted squares of column 0 of X underflow float64; scale it up"
        with pytest.raises(vp.errors.NotFiniteError, match=words):
            vp.select_features(X * scale, y, 2, sample_weight=np.full(len(y), weight))
        words = "weighted squares of y underflow float64; scale it up"
        with pytest.raises(vp.errors.NotFiniteError, match=words):
            vp.select_features(X * 1e10, y * scale, 2, sample_weight=np.full(len(y), weight))
        ours = vp.select_features(X * 1e10, y * 1e10, 2, sample_weight=np.full(len(y), weight))
        np.testing.assert_array_equal(ours.indices, vp.select_features(X, y, 2).indices)

    def test_that_add_up_to_two_leave_f_no_degree_of_freedom(self, backend, rng):
        X, y = draw(rng)
        weights = rng.random(len(y))
        weights *= 2 / weights.sum() * (1 - 1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = vp.select_features(X, y, 6, sample_weight=weights)
        same = vp.select_features(X, y, 6, method="correlation", sample_weight=weights)
        np.testing.assert_array_equal(ours.indices, same.indices)
        assert np.isnan(ours.scores).all()

    def test_in_the_regression(self, backend, rng):
        X, y = draw(rng)
        weights = rng.random(len(y))
        indices, scores = forward(X, y, 4, weights)
        ours = vp.select_features(X, y, 4, method="forward", sample_weight=weights)
        np.testing.assert_array_equal(ours.indices, indices)
        np.testing.assert_allclose(ours.scores, scores, rtol=1e-9)

    def test_of_zero_hide_rows(self, backend, rng):
        X, y = draw(rng, n=20, d=3)
        X[3:, 1] = 4.0
        weights = np.ones(20)
        weights[:3] = 0
        assert vp.select_features(X, y, 1, sample_weight=weights).pruned == {1: "constant"}
        assert vp.select_features(X, y, 1).pruned == {}


@quick
class TestPruning:
    @pytest.mark.parametrize("method", METHODS)
    def test_of_constants_and_duplicates(self, backend, rng, method):
        X, y = draw(rng, d=2)
        first, second = X.T
        X = np.column_stack(
            [first, np.full(60, 0.1), second, first, -3 * second + 7, np.zeros(60), 1e-9 * first]
        )
        ours = vp.select_features(X, y, 7, method=method)
        assert ours.pruned == {
            1: "constant",
            3: "duplicate of 0",
            4: "duplicate of 2",
            5: "constant",
            6: "duplicate of 0",
        }
        assert sorted(ours.indices) == [0, 2]
        assert len(ours.scores) == 2

    @pytest.mark.parametrize("mean", [1e6, 1e9])
    def test_of_constants_that_round(self, backend, rng, mean):
        X, y = draw(rng, n=997, d=1)
        X = np.column_stack([np.full(997, mean + 1 / 3), X, mean + rng.standard_normal(997)])
        assert vp.select_features(X, y, 3, method="correlation").pruned == {0: "constant"}

    def test_of_tiny_columns_that_vary(self, backend, rng):
        X, y = draw(rng, d=3)
        ours = vp.select_features(X * [1e-100, 1e100, 1], y * 1e-50, 3)
        assert ours.pruned == {}
        np.testing.assert_array_equal(ours.indices, vp.select_features(X, y, 3).indices)

    def test_keeps_what_is_nearly_the_same(self, backend, rng):
        X, y = draw(rng, d=2)
        X[:, 1] = X[:, 0] + 1e-4 * X[:, 0].std() * rng.standard_normal(60)
        assert vp.select_features(X, y, 2).pruned == {}

    @pytest.mark.parametrize("scale", [1e-155, 1e-160, 1e-200, 1e-300, 5e-324])
    def test_tells_columns_whose_squares_underflow(self, backend, rng, scale):
        X, y = rng.integers(-9, 10, (60, 3)).astype(float), rng.integers(-9, 10, 60).astype(float)
        for method in METHODS:
            assert vp.select_features(X, y, 3, method=method).pruned == {}
            with pytest.raises(
                vp.errors.NotFiniteError, match="squares of column 1 of X underflow"
            ) as raised:
                vp.select_features(X * [1, scale, 1], y, 2, method=method)
            assert (raised.value.argument, raised.value.column) == ("X", 1)
            with pytest.raises(vp.errors.NotFiniteError, match="squares of y underflow float64; scale it up"):
                vp.select_features(X, y * scale, 2, method=method)

    def test_of_tiny_constants(self, backend, rng):
        X, y = draw(rng, d=4)
        X = X * [1, 0, 0, 0] + [0, 1e-200, 0, -1e-145]
        X[::2, 2] = 1e-300
        weights = np.ones(60)
        weights[::2] = 0
        pruned = vp.select_features(X, y, 3, sample_weight=weights).pruned
        assert pruned == {1: "constant", 2: "constant", 3: "constant"}

    def test_forward_stops_where_nothing_new_is_left(self, backend, rng):
        X, y = draw(rng, d=3)
        X = np.column_stack([X, X @ [1, -2, 0.5] + 4])
        ours = vp.select_features(X, y, 4, method="forward")
        assert ours.pruned == {}
        assert len(ours.indices) == len(ours.scores) == 3
        assert len(vp.select_features(X, y, 4, method="f").indices) == 4

    def test_may_leave_nothing(self, backend):
        for method in METHODS:
            ours = vp.select_features(np.full((5, 2), 3), np.arange(5), 1, method=method)
            assert ours.indices.shape == ours.scores.shape == (0,)
            assert ours.pruned == {0: "constant", 1: "constant"}
            assert ours.transform(np.ones((4, 2))).shape == (4, 0)


@quick
class TestEdges:
    @pytest.mark.parametrize("method", METHODS)
    def test_ties_go_to_the_earlier_column(self, backend, method):
        X = np.array([[0, 1, 0, 2], [0, -1, 0, 1], [1, 0, 0, 0], [-1, 0, 0, 1]], float)
        ours = vp.select_features(X, [1, -1, 1, -1], 2, method=method)
        np.testing.assert_array_equal(ours.indices, [0, 1])
        assert ours.scores[0] > 0

    @pytest.mark.parametrize("method", METHODS)
    def test_a_perfect_fit(self, backend, rng, method):
        X, _ = draw(rng, d=3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = vp.select_features(X, 5 - 2 * X[:, 1], 1, method=method)
        assert ours.indices.tolist() == [1]
        best = {"f": 1e12, "forward": 1 - 1e-14, "correlation": 1 - 1e-14}[method]
        assert ours.scores[0] >= best
        assert ours.scores[0] <= (np.inf if method == "f" else 1)

    def test_two_rows_fit_any_column(self, backend):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = vp.select_features([[1.0], [2.0]], [3.0, 5.0], 1, method="correlation")
            f = vp.select_features([[1.0], [2.0]], [3.0, 5.0], 1)
        assert ours.scores == pytest.approx([1])
        assert f.indices == [0]
        assert np.isnan(f.scores)

    def test_the_result_is_frozen(self, backend, rng):
        ours = vp.select_features(*draw(rng), 2)
        assert isinstance(ours, vp.FeatureSelection)
        with pytest.raises(AttributeError):
            ours.indices = None

    def test_transform_takes_the_columns_in_order(self, backend, rng):
        X, y = draw(rng)
        ours = vp.select_features(X, y, 3)
        np.testing.assert_array_equal(ours.transform(X), X[:, ours.indices])
        batch = rng.standard_normal((2, 4, 6))
        np.testing.assert_array_equal(ours.transform(batch), batch[..., ours.indices])
        np.testing.assert_array_equal(ours.transform(X[0].tolist()), X[0, ours.indices])
        taken = ours.transform(X)
        taken[:] = 0
        assert X[:, ours.indices].all()

    def test_inputs_are_kept(self, backend, rng):
        X, y = draw(rng)
        held = X.tobytes(), y.tobytes()
        X.flags.writeable = y.flags.writeable = False
        vp.select_features(X, y, 3, method="forward")
        assert (X.tobytes(), y.tobytes()) == held


@quick
class TestErrors:
    @staticmethod
    def spoilt(value, place):
        array = np.random.default_rng(1).random((5, 3))
        array[place] = value
        return array

    @pytest.mark.parametrize(
        ("how", "error", "words"),
        [
            ({"k": 0}, "ArgumentError", "k must be at least 1; it is 0"),
            ({"k": 4}, "ArgumentError", "k is 4, but X has only 3 columns"),
            ({"k": 1.0}, "DTypeError", "k must be an integer, not 1.0"),
            ({"method": "g"}, "ArgumentError", "method is 'g'; there are 'f', 'forward', 'correlation'"),
            ({"method": ["f"]}, "ArgumentError", "method is ['f']; there are 'f', 'forward', 'correlation'"),
            ({"k": True}, "DTypeError", "k must be an integer, not True"),
            ({"X": np.ones(5)}, "ShapeError", "X has shape (5,); needed is (n, d)"),
            ({"X": np.ones((1, 5, 3))}, "ShapeError", "X has shape (1, 5, 3)"),
            ({"X": np.ones((0, 3)), "y": np.ones(0)}, "ShapeError", "X has shape (0, 3)"),
            ({"X": np.ones((5, 0))}, "ShapeError", "X has shape (5, 0)"),
            ({"y": np.ones(4)}, "ShapeError", "y has shape (4,); needed is (5,), one target for each row"),
            ({"y": np.ones((5, 1))}, "ShapeError", "y has shape (5, 1); needed is (5,)"),
            ({"sample_weight": np.ones(3)}, "ShapeError", "sample_weight has shape (3,); needed is (5,)"),
            (
                {"sample_weight": [1, 1, -1, 1, 1]},
                "ArgumentError",
                "sample_weight must not be negative or NaN",
            ),
            ({"sample_weight": [1, 1, 1, 1, np.nan]}, "ArgumentError", "it is nan at row 4"),
            ({"sample_weight": np.zeros(5)}, "ArgumentError", "sample_weight must not add up to 0"),
            ({"sample_weight": np.ones(5, complex)}, "DTypeError", "sample_weight has dtype complex128"),
            ({"X": np.ones((5, 3), complex)}, "DTypeError", "X has dtype complex128"),
            ({"y": np.ones(5, "U1")}, "DTypeError", "y has dtype <U1"),
            ({"y": np.full(5, 0.1)}, "ArgumentError", "y is constant: no column of X can explain it"),
            ({"y": [1, 2, np.nan, 3, 4]}, "NotFiniteError", "y holds nan at row 2"),
            ({"X": spoilt(np.nan, (2, 1))}, "NotFiniteError", "X holds nan at row 2, column 1"),
            ({"X": spoilt(-np.inf, (4, 2))}, "NotFiniteError", "X holds -inf at row 4, column 2"),
            ({"X": spoilt(1e200, (0, 0))}, "NotFiniteError", "sums of squares of X or y overflow"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_name_the_argument(self, backend, how, error, words):
        given = {"X": self.spoilt(0.5, 0), "y": np.arange(5.0), "k": 1, **how}
        with pytest.raises(getattr(vp.errors, error)) as raised:
            vp.select_features(**given)
        assert words in str(raised.value)

    @pytest.mark.parametrize("columns", [5, 7])
    def test_transform_needs_as_many_columns(self, backend, rng, columns):
        ours = vp.select_features(*draw(rng), 6)
        with pytest.raises(vp.errors.ShapeError, match="X has"):
            ours.transform(np.ones((4, columns)))


class TestDeviceArrays:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("value", [0.0, 1e-200])
    def test_columns_that_seem_constant_are_looked_at(self, kind, value):
        convert, backend = KINDS[kind]
        X, y, weights = np.arange(10.0).reshape(5, 2) % 3, np.arange(5.0), np.ones(5)
        X[:, 1], weights[0] = 0, 0
        X[3, 1] = value
        with vp.use_backend(backend):
            if value:
                with pytest.raises(vp.errors.NotFiniteError, match="squares of column 1 of X underflow"):
                    vp.select_features(*map(convert, (X, y)), 1, sample_weight=convert(weights))
            else:
                ours = vp.select_features(*map(convert, (X, y)), 1, sample_weight=convert(weights))
                assert ours.pruned == {1: "constant"}


class TestOnTheHost:
    def test_of_many_rows(self, host_backend, rng):
        X, y = draw(rng, n=3_000, d=12)
        statistics, _ = f_regression(X - X.mean(axis=0), y)
        ours = vp.select_features(X, y, 12)
        np.testing.assert_array_equal(ours.indices, np.argsort(-statistics))
        np.testing.assert_allclose(ours.scores, statistics[ours.indices], rtol=1e-9)
        indices, scores = forward(X, y, 4)
        ours = vp.select_features(X, y, 4, method="forward")
        np.testing.assert_array_equal(ours.indices, indices)
        np.testing.assert_allclose(ours.scores, scores, rtol=1e-9)

    @pytest.mark.parametrize("value", [0.1, 1 / 3, 1e9 + 0.1])
    def test_of_long_constants(self, host_backend, rng, value):
        X = rng.standard_normal((100_003, 2))
        X[:, 1] = value
        assert vp.select_features(X, X[:, 0], 2).pruned == {1: "constant"}
