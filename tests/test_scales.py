"""Columns of unlike sizes, and numbers whose squares leave the range of float64."""

import warnings

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu.errors import NotFiniteError
from vecprod_gpu.linreg._solvers.quadratic import lengths, penalty
from vecprod_gpu.linreg._solvers.stability import inverse_curvature

SMALL = [1e-155, 1e-160, 1e-170, 1e-300]
RATIOS = [1e2, 1e5, 1e9, 1e20, 1e50]  # of a column's size to 1, and of 1 to another's


def draw(rng, n=60):
    """Two columns, and a target that leans most on the second one."""
    u = rng.normal(size=(n, 2)).round(6)
    return u, u[:, 0] + 3 * u[:, 1] + 0.1 * rng.normal(size=n)


def spread(u, ratio):
    """A large column, its double, a small one and a constant."""
    return np.column_stack([ratio * u[:, 0], 2 * ratio * u[:, 0], u[:, 1] / ratio, np.full(len(u), 0.1)])


def ridge(u, y, sizes, l2):
    """Coefficients of two columns times their sizes, by Cramer's rule in longdouble; of the first u, too."""
    A, b = ((one - one.mean(0)) for one in (u.astype(np.longdouble), y.astype(np.longdouble)))
    # In units of the columns each has a penalty of its own.
    (p, q), (_, r) = A.T @ A / len(A) + np.diag(l2 / np.longdouble(sizes) ** 2)
    c, d = A.T @ b / len(A)
    return np.array([c * r - q * d, p * d - q * c]) / (p * r - q * q)


def predictions(u, y, ratio, l2):
    """Of the ridge regression on `spread`, whose first two columns are as one of √5 times the size."""
    sizes = np.longdouble(ratio) * np.sqrt(np.longdouble(5)), 1 / np.longdouble(ratio)
    w = ridge(u, y, sizes, l2)
    return np.asarray((u - u.mean(0)) @ w + y.mean(), float), w


def coefficients(w, ratio):
    """The same on `spread`, the shortest ones."""
    return np.asarray([w[0] / 5 / ratio, 2 * w[0] / 5 / ratio, w[1] * ratio, 0], float)


class TestDependentColumnsOfUnlikeSizes:
    @pytest.mark.parametrize("ratio", RATIOS)
    @pytest.mark.parametrize("solver", ["auto", "eigh"])
    def test_least_squares_of_co_moments(self, host_backend, rng, ratio, solver):
        u, y = draw(rng)
        X = spread(u, ratio)
        with pytest.warns(np.exceptions.RankWarning, match="X has 4 columns, but only 2 are independent"):
            fit = vp.linreg_fit(vp.CoMoments.from_arrays(X, y), solver=solver)
        expected, w = predictions(u, y, ratio, 0)
        np.testing.assert_allclose(fit.predict(X), expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(fit.coef, coefficients(w, ratio), rtol=1e-11)
        assert (fit.solver, fit.rank, fit.coef[3]) == ("eigh", 2, 0)

    @pytest.mark.parametrize("ratio", RATIOS)
    @pytest.mark.parametrize("solver", ["auto", "svd"])
    def test_least_squares_of_rows(self, host_backend, rng, ratio, solver):
        u, y = draw(rng)
        X = spread(u, ratio)
        with pytest.warns(np.exceptions.RankWarning, match="X has 4 columns, but only 2 are independent"):
            fit = vp.linreg_fit(X, y, solver=solver)
        expected, w = predictions(u, y, ratio, 0)
        np.testing.assert_allclose(fit.predict(X), expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(fit.coef, coefficients(w, ratio), rtol=1e-11)
        assert (fit.solver, fit.rank, fit.coef[3]) == ("svd", 2, 0)

    @pytest.mark.parametrize("ratio", RATIOS)
    @pytest.mark.parametrize("share", [1e-25, 1e-13, 1e-3, 1.0, 1e6])
    @pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
    def test_ridge(self, host_backend, rng, ratio, share):
        """Penalties about that which halves the small column's coefficient."""
        u, y = draw(rng)
        X, l2 = spread(u, ratio), share / ratio**2
        expected, w = predictions(u, y, ratio, l2)
        for fit in (
            vp.linreg_fit(X, y, solver="eigh", l2=l2),
            vp.linreg_fit(X, y, solver="eigh", l2=[1.0, l2, 0.0]),
            vp.linreg_fit(X, y, solver="svd", l2=l2),
            vp.linreg_fit(vp.CoMoments.from_arrays(X, y), l2=l2),
        ):
            coef = fit.coef if fit.coef.ndim == 1 else fit.coef[:, 1]
            np.testing.assert_allclose(coef, coefficients(w, ratio), rtol=1e-9)
            np.testing.assert_allclose((X - X.mean(0)) @ coef + y.mean(), expected, rtol=1e-9, atol=1e-10)

    @pytest.mark.parametrize("ratio", RATIOS)
    @pytest.mark.parametrize("solver", ["auto", "eigh"])
    @pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
    def test_search(self, host_backend, rng, ratio, solver):
        u, y = draw(rng)
        X = spread(u, ratio)
        penalties = [0.0, *(share / ratio**2 for share in (1e-25, 1e-13, 1e-3, 1.0, 1e6)), ratio**2]
        search = vp.linreg_search(X, y, l2=penalties, solver=solver, cv=3, scoring="mse")
        errors = np.empty((3, len(penalties)))
        for fold, test in enumerate(np.split(np.arange(60), 3)):
            train = np.setdiff1d(np.arange(60), test)
            for point, l2 in enumerate(penalties):
                _, w = predictions(u[train], y[train], ratio, l2)
                found = (u[test] - u[train].mean(0)) @ w + y[train].mean()
                errors[fold, point] = np.square(found - y[test]).mean()
        np.testing.assert_allclose(search.scores, errors, rtol=1e-9)

    @pytest.mark.parametrize("ratio", [1.0, 10.0, 100.0])
    @pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
    def test_each_pair_has_its_least_norm(self, host_backend, rng, ratio):
        """Two pairs of columns that are multiples of each other, one pair small."""
        u, y = draw(rng)
        X = np.column_stack([ratio * u[:, 0], u[:, 1] / ratio, 2 * ratio * u[:, 0], -3 * u[:, 1] / ratio])
        for l2 in (0.0, 1e-13 / ratio**2, 0.1 / ratio**2):
            sizes = np.longdouble(ratio) * np.sqrt(np.longdouble(5)), np.sqrt(np.longdouble(10)) / ratio
            a, b = ridge(u, y, sizes, l2)
            expected = np.array(
                [a / 5 / ratio, b / 10 * ratio, 2 * a / 5 / ratio, -3 * b / 10 * ratio], float
            )
            fit = vp.linreg_fit(vp.CoMoments.from_arrays(X, y), l2=l2)
            # The squared length of one pair's coefficients is ratio**4 times that of the other's.
            np.testing.assert_allclose(fit.coef, expected, rtol=1e-14 * max(100, ratio**4))

    def test_a_batch(self, host_backend, rng):
        u, y = draw(rng)
        X = np.stack([spread(u, 1e9), spread(u, 1e-3) + [[0, 0, 0, 1]] * rng.normal(size=(60, 1))])
        targets = np.stack([y, y])
        with pytest.warns(np.exceptions.RankWarning):
            fit = vp.linreg_fit(vp.CoMoments.from_arrays(X, targets))
        assert fit.rank.tolist() == [2, 3]
        np.testing.assert_allclose(fit.coef[0], coefficients(predictions(u, y, 1e9, 0)[1], 1e9), rtol=1e-10)
        centred = X[1] - X[1].mean(0)
        np.testing.assert_allclose(fit.coef[1], np.linalg.lstsq(centred, y - y.mean())[0], rtol=1e-9)


class TestSquaresThatUnderflow:
    """The squares of numbers below 1e-154 have lost digits, and those below 1e-162 are 0."""

    @staticmethod
    def draw(rng):
        X = rng.normal(size=(30, 3))
        return X, X @ [1.0, 2.0, 3.0] + 1 + 0.1 * rng.normal(size=30)

    @pytest.mark.parametrize("small", SMALL)
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_auto_takes_singular_values(self, host_backend, rng, small, fit_intercept):
        X, y = self.draw(rng)
        far, near = (vp.linreg_fit(one, y, fit_intercept=fit_intercept) for one in (X * small, X))
        assert (far.solver, far.reason) == ("svd", "squares of columns of X underflow float64")
        np.testing.assert_allclose(far.coef * small, near.coef, rtol=1e-12)
        assert far.loss == pytest.approx(near.loss, rel=1e-10)

    @pytest.mark.parametrize("small", SMALL)
    @pytest.mark.parametrize("solver", ["cd", "gd", "sgd", "comoments", "cholesky", "eigh"])
    def test_others_say_so(self, host_backend, rng, small, solver):
        X, y = self.draw(rng)
        for sizes, column in (([small] * 3, 0), ([1, 1, small], 2), ([1, small, small], 1)):
            words = f"squares of column {column} of X underflow float64; scale it up"
            with pytest.raises(NotFiniteError, match=words) as raised:
                vp.linreg_fit(X * sizes, y, solver=solver, max_iter=50)
            assert (raised.value.argument, raised.value.column) == ("X", column)

    @pytest.mark.parametrize("small", SMALL)
    @pytest.mark.filterwarnings("error", "ignore::numpy.exceptions.RankWarning")
    def test_a_column_beside_others(self, host_backend, rng, small):
        X, y = self.draw(rng)
        sizes = np.array([1, small, 1])
        plain, far = vp.linreg_fit(X, y), vp.linreg_fit(X * sizes, y)
        assert (far.solver, far.reason, far.rank) == ("svd", "squares of columns of X underflow float64", 3)
        np.testing.assert_allclose(far.coef * sizes, plain.coef, rtol=1e-12)
        twice = vp.linreg_fit((X * sizes)[:, [0, 1, 2, 2]], y)
        assert twice.rank == 3
        np.testing.assert_allclose(twice.coef[1] * small, plain.coef[1], rtol=1e-12)
        with pytest.raises(NotFiniteError, match="squares of column 1 of X underflow"):
            vp.linreg_fit(vp.CoMoments.from_arrays(X * sizes, y))

    @pytest.mark.parametrize("how", [{}, {"solver": "eigh"}, {"learning_rate": [0.1, 0.2]}, {"l1": 1e-300}])
    def test_in_a_search(self, host_backend, rng, how):
        X, y = self.draw(rng)
        with pytest.raises(NotFiniteError, match="squares of column 1 of X in training set 0 underflow"):
            vp.linreg_search(X * [1, 1e-160, 1], y, **how)

    @pytest.mark.filterwarnings("error")
    def test_penalties_that_decide_alone(self, host_backend, rng):
        X, y = self.draw(rng)
        sizes = [1, 1e-165, 1]
        slope = (X[:, 1] - X[:, 1].mean()) @ (y - y.mean()) / 30
        plain = vp.linreg_fit(X[:, [0, 2]], y, l2=0.5)
        for solver in ("auto", "cholesky", "eigh", "comoments", "cd", "gd"):
            fit = vp.linreg_fit(X * sizes, y, l2=0.5, solver=solver, tol=1e-12, max_iter=10_000)
            np.testing.assert_allclose(fit.coef[[0, 2]], plain.coef, rtol=1e-9)
            assert abs(fit.coef[1]) < 10 * abs(slope) * 1e-165
        assert vp.linreg_fit(X * sizes, y, l1=1e-3).coef[1] == 0
        assert vp.linreg_search(X * sizes, y, l1=[1e-3, 1e-2], l2=[0.0, 0.5]).coef[1] == 0

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e-160, 1e300])
    @pytest.mark.filterwarnings("error", "ignore::numpy.exceptions.RankWarning")
    def test_constant_columns_stay_allowed(self, host_backend, rng, value):
        X, y = self.draw(rng)
        X[:, 1] = value
        plain = vp.linreg_fit(X[:, [0, 2]], y)
        for solver in ("auto", "eigh", "comoments", "cd", "gd"):
            if solver == "gd" and value > 1e200:
                continue  # whose products with such numbers overflow
            fit = vp.linreg_fit(X, y, solver=solver, tol=1e-13, max_iter=10_000)
            np.testing.assert_allclose(fit.coef[[0, 2]], plain.coef, rtol=1e-9)
            assert abs(fit.coef[1] * value) < 1e-12
            assert fit.coef[1] == 0 or solver in ("auto", "gd")  # which read the rows

    def test_small_weights(self, host_backend, rng):
        X, y = self.draw(rng)
        plain = vp.linreg_fit(X, y).coef
        for size, weight in ((1.0, 1e-300), (1e-60, 1e-200), (1e-160, 1e10)):
            weights = np.full(30, weight)
            np.testing.assert_allclose(vp.linreg_fit(X * size, y, sample_weight=weights).coef * size, plain)
        words = {
            "reference": "weighted squares of column 0 of X underflow float64; scale it up",
            "cpu": "sample_weight adds up to 3e-309, whose inverse overflows float64; scale it up",
        }
        for solver in ("comoments", "cd", "cholesky"):
            with pytest.raises(NotFiniteError, match=words[host_backend]):
                vp.linreg_fit(X, y, sample_weight=np.full(30, 1e-310), solver=solver)

    @pytest.mark.parametrize("solver", ["gd", "sgd", "comoments", "cd"])
    def test_of_the_target_alone_are_no_end(self, host_backend, rng, solver):
        X, y = self.draw(rng)
        how = {"solver": solver, "tol": 1e-9, "max_iter": 2000}
        near, far = (vp.linreg_fit(X, y * by, **how) for by in (1.0, 1e-175))
        np.testing.assert_allclose(far.coef * 1e175, near.coef, rtol=1e-4)
        assert far.converged == near.converged

    def test_no_step_is_no_convergence(self, host_backend, rng):
        X, y = self.draw(rng)
        for by in (1e-165, 1.0):
            assert not vp.linreg_fit(X * by, y, solver="gd", learning_rate=0.01, max_iter=2).converged

    def test_a_curvature_that_has_no_inverse(self):
        with pytest.raises(NotFiniteError, match="squares of X underflow"):
            inverse_curvature(1e-310, np.zeros(2))


class TestSquaresThatOverflow:
    @pytest.mark.parametrize("solver", ["auto", "cholesky", "eigh", "svd", "comoments", "cd"])
    @pytest.mark.filterwarnings("error")
    def test_of_coefficients_do_not_harm_the_loss(self, host_backend, rng, solver):
        X = rng.normal(size=(30, 3))
        y = X @ [1.0, 2.0, 3.0] + 1 + 0.1 * rng.normal(size=30)
        near, far = (vp.linreg_fit(X / by, y * by, solver=solver, tol=1e-10) for by in (1.0, 1e90))
        np.testing.assert_allclose(far.coef * 1e-180, near.coef, rtol=1e-7)
        assert far.loss * 1e-180 == pytest.approx(near.loss, rel=1e-7)
        assert far.loss_history[-1] == far.loss
        assert far.gradient_norm < 1e-6

    @pytest.mark.parametrize("solver", ["gd", "sgd"])
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_of_a_descent_are_no_convergence(self, host_backend, rng, solver):
        X = rng.normal(size=(30, 3))
        with pytest.raises(vp.errors.VecprodError):
            vp.linreg_fit(X * 1e-90, X[:, 0] * 1e90, solver=solver)

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_what_overflowed_is_told(self, host_backend, rng):
        X = rng.normal(size=(30, 3))
        with pytest.raises(
            NotFiniteError, match="sums of squares of X or y overflow float64; scale the data"
        ):
            vp.linreg_fit(2 * X, X[:, 0], sample_weight=np.full(30, 5e306))
        with pytest.raises(NotFiniteError, match="sample_weight adds up to more than float64 holds"):
            vp.linreg_fit(X, X[:, 0], sample_weight=np.full(30, 1e307))
        with pytest.raises(NotFiniteError, match="follows from X, y and sample_weight overflows"):
            vp.linreg_fit(X, X[:, 0] * 1e150, solver="gd", w0=np.full(3, 1e200))


@pytest.mark.filterwarnings("error")
def test_a_penalty_of_nothing_is_0():
    w = np.array([[[1e200, 2.0], [3.0, -4.0]]])
    np.testing.assert_array_equal(penalty(w, np.zeros(1), np.array([0.0, 0.1])), [[0, 1.0]])
    np.testing.assert_array_equal(penalty(w, np.array([0.0, 0.5]), np.zeros(1)), [[0, 3.0]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("by", [1e-300, 1e-170, 1.0, 1e170, 1e300])
def test_lengths_that_have_no_square(by):
    vectors = np.array([[[3.0, 0.0], [4.0, 0.0]]]) * by
    np.testing.assert_allclose(lengths(vectors), [[5 * by, 0]], rtol=1e-15)
    assert np.isnan(lengths(np.full((1, 2, 1), np.nan)))


class TestSweepsThatWereTooFew:
    @staticmethod
    def draw(rng):
        X = rng.normal(size=(80, 6)) + 5 * rng.normal(size=(80, 1))
        return X, X @ np.arange(6.0) + rng.normal(size=80)

    def test_are_told_once(self, host_backend, rng):
        X, y = self.draw(rng)
        words = (
            "did not converge within max_iter sweeps at 2 of its 3 points, on 4 of 4 training sets, so that "
            "their scores are off: raise max_iter"
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            vp.linreg_search(X, np.stack([y, -y], 1), l1=[1e4, 1e-3, 1e-4], max_iter=2, solver="cd", cv=4)
        (warning,) = caught
        assert words in str(warning.message)
        assert (warning.category, warning.filename) == (RuntimeWarning, __file__)

    @pytest.mark.filterwarnings("error")
    def test_enough_are_not(self, host_backend, rng):
        X, y = self.draw(rng)
        vp.linreg_search(X, y, l1=[1e4, 1e-3, 1e-4], l2=[0.0, 0.1], max_iter=100_000, solver="cd")
        vp.linreg_search(X, np.full(80, 2.0), l1=[1e-3])

    def test_points_and_training_sets_are_counted(self, host_backend, rng):
        """One training set alone has columns that depend on each other nearly."""
        X, y = self.draw(rng)
        X = np.linalg.qr(X - X.mean(0))[0] * 9
        X[40:, 1] = X[40:, 0] + 0.01 * X[40:, 1]
        pairs = [(np.arange(40), np.arange(40, 80)), (np.arange(40, 80), np.arange(40))]
        with pytest.warns(RuntimeWarning, match="at 1 of its 4 points, on 1 of 2 training sets"):
            vp.linreg_search(X, y, l1=[1e-4, 1e4], max_iter=[60, 100_000], solver="cd", cv=pairs)


def test_small_squares_of_one_problem_and_small_weights_of_another_are_no_underflow(rng):
    """Their product tells of neither."""
    X = rng.standard_normal((2, 10, 1))
    y = 2 * X[..., 0] + 1
    X[0] *= 1e-150
    weights = np.ones((2, 10))
    weights[1] *= 1e-20
    moments = vp.CoMoments.from_arrays(X, y, sample_weight=weights)
    with np.errstate(under="raise"):
        fitted = vp.linreg_fit(moments)
    np.testing.assert_allclose(fitted.coef[:, 0], [2e150, 2])
