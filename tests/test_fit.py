"""A whole fit by gradient steps, against closed forms and against the same iteration in NumPy."""

import warnings
from functools import partial

import numpy as np
import pytest

import vecprod_gpu as vp

descend = partial(vp.linreg_fit, solver="gd")


def draw(rng, n=40, d=3, tail=(), lead=()):
    X = rng.standard_normal((*lead, n, d)) + 2
    return X, rng.standard_normal((*lead, n, *tail)) + X[..., :1].reshape(*lead, n, *(1 for _ in tail))


def iterate(X, y, rate, steps, l1=0.0, l2=0.0, weights=None):
    """Proximal descent on centred data in plain NumPy: coefficients, intercept and losses."""
    s = np.ones(len(X)) if weights is None else weights
    x_mean, y_mean = np.average(X, 0, s), np.average(y, weights=s)
    A, b, w, losses = X - x_mean, y - y_mean, np.zeros(X.shape[1]), []
    for _ in range(steps + 1):
        r = A @ w - b
        losses.append((s * r * r).sum() / (2 * s.sum()) + l1 * np.abs(w).sum() + l2 / 2 * w @ w)
        last, w = w, w - rate * (A.T @ (s * r) / s.sum() + l2 * w)
        w = np.sign(w) * np.maximum(np.abs(w) - rate * l1, 0)
    return last, y_mean - x_mean @ last, losses


@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_same_steps_in_numpy(backend, rng, weighted):
    X, y = draw(rng, 25)
    s = rng.uniform(0.5, 2, 25) if weighted else None
    fit = descend(X, y, learning_rate=0.1, max_iter=7, tol=0, l1=0.05, l2=0.1, sample_weight=s)
    coef, intercept, losses = iterate(X, y, 0.1, 7, 0.05, 0.1, s)
    assert fit.n_iter == 7
    assert not fit.converged
    # Sums of 25 products in another order: some eps, and 1e-12 leaves a factor of 100.
    np.testing.assert_allclose(fit.coef, coef, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fit.intercept, intercept, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fit.loss_history, losses, rtol=1e-12)


def test_converges_to_least_squares(host_backend, rng):
    X, y = draw(rng)
    fit = descend(X, y, learning_rate=0.5, tol=1e-10, max_iter=5000)
    exact = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y, rcond=None)[0]
    assert fit.converged
    assert fit.n_iter < 5000
    assert len(fit.loss_history) == fit.n_iter + 1
    np.testing.assert_allclose([*fit.coef, fit.intercept], exact, rtol=1e-8)


def test_ridge_has_its_closed_form(host_backend, rng):
    X, y = draw(rng)
    fit = descend(X, y, learning_rate=0.3, tol=1e-12, max_iter=5000, l2=0.7)
    A, b = X - X.mean(0), y - y.mean()
    exact = np.linalg.solve(A.T @ A / len(X) + 0.7 * np.eye(3), A.T @ b / len(X))
    np.testing.assert_allclose(fit.coef, exact, rtol=1e-9)


def test_lasso_meets_its_optimality_conditions(host_backend, rng):
    X, y = draw(rng, d=8)
    fit = descend(X, y, learning_rate=0.3, tol=1e-12, max_iter=20_000, l1=0.2)
    A, b = X - X.mean(0), y - y.mean()
    slope = A.T @ (A @ fit.coef - b) / len(X)
    inactive = fit.coef == 0
    assert 0 < inactive.sum() < 8
    assert (np.abs(slope[inactive]) <= 0.2 + 1e-9).all()
    np.testing.assert_allclose(slope[~inactive], -0.2 * np.sign(fit.coef[~inactive]), atol=1e-9)


def test_far_offsets_do_not_harm_float32(host_backend, rng):
    X = (rng.standard_normal((500, 3)) + 1e4).astype(np.float32)
    true = np.array([1.0, -2.0, 0.5])
    y = X.astype(np.float64) @ true
    fit = descend(X, (y - y.mean()).astype(np.float32), learning_rate=0.5, max_iter=200)
    # The spacing of float32 at 1e4 is 1e-3 of the spread of X; without centring the error is above 1.
    np.testing.assert_allclose(fit.coef, true, atol=2e-3)


@pytest.mark.parametrize("weight", [np.float16(60_000), np.float32(3e38)])
@pytest.mark.parametrize("solver", ["auto", "svd", "cd"])
def test_weights_may_add_up_to_more_than_their_dtype_holds(host_backend, rng, solver, weight):
    X, y = draw(rng)
    s = np.full(len(y), weight)
    s[::3] /= 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = vp.linreg_fit(X, y, sample_weight=s, solver=solver)
        search = vp.linreg_search(X, y, sample_weight=s, cv=4)
    root = np.sqrt(s.astype(float) / s.max())[:, np.newaxis]
    columns = np.column_stack([X, np.ones(len(y))])
    expected = np.linalg.lstsq(root * columns, root[:, 0] * y, rcond=None)[0]
    np.testing.assert_allclose([*fit.coef, fit.intercept], expected, rtol=1e-3 if solver == "cd" else 1e-10)
    np.testing.assert_allclose(search.coef, expected[:-1], rtol=1e-10)


def test_integer_weights_repeat_rows(host_backend, rng):
    X, y = draw(rng)
    times = rng.integers(0, 3, len(X))
    weighted = descend(X, y, learning_rate=0.2, l1=0.01, sample_weight=times)
    repeated = descend(np.repeat(X, times, 0), np.repeat(y, times), learning_rate=0.2, l1=0.01)
    assert weighted.n_iter == repeated.n_iter
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-10)


@pytest.mark.parametrize(("lead", "tail"), [((), (2,)), ((3,), ()), ((2, 2), (3,))])
def test_targets_and_batches_are_fits_of_their_own(host_backend, rng, lead, tail):
    X, y = draw(rng, lead=lead, tail=tail)
    fit = descend(X, y, learning_rate=0.1, max_iter=20, tol=0)
    assert fit.coef.shape == (*lead, 3, *tail)
    assert fit.intercept.shape == (*lead, *tail)
    assert fit.loss_history.shape == (21, *lead, *tail)
    assert fit.predict(X).shape == y.shape
    for batch in np.ndindex(*lead):
        for target in np.ndindex(*tail):
            alone = descend(
                X[batch], y[(*batch, slice(None), *target)], learning_rate=0.1, max_iter=20, tol=0
            )
            np.testing.assert_allclose(fit.coef[(*batch, slice(None), *target)], alone.coef, rtol=1e-10)
            np.testing.assert_allclose(fit.intercept[(*batch, *target)], alone.intercept, rtol=1e-10)


def test_w0_is_where_it_starts_and_stays(host_backend, rng):
    X, y = draw(rng)
    w0 = np.array([1.0, 2.0, 3.0])
    fit = descend(X, y, learning_rate=0.1, max_iter=0, w0=w0)
    np.testing.assert_array_equal(fit.coef, w0)
    assert fit.n_iter == 0
    assert fit.loss_history.shape == (1,)
    descend(X, y, learning_rate=0.1, max_iter=5, w0=w0)
    np.testing.assert_array_equal(w0, [1.0, 2.0, 3.0])


def test_callback_sees_every_step_and_may_stop(host_backend, rng):
    X, y = draw(rng)
    seen = []

    def watch(iteration, coef, loss):
        seen.append((iteration, coef, float(loss)))
        coef[:] = np.nan
        if iteration == 4:
            raise StopIteration

    fit = descend(X, y, learning_rate=0.1, tol=0, callback=watch)
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3, 4]
    assert fit.n_iter == 4
    np.testing.assert_array_equal(fit.loss_history[:-1], [loss for _, _, loss in seen])
    assert np.isfinite(fit.coef).all()


def test_zero_tolerance_takes_every_step(host_backend):
    fit = descend(np.eye(3), np.zeros(3), learning_rate=0.1, max_iter=6, tol=0)
    assert (fit.n_iter, fit.converged) == (6, False)


def test_result_is_frozen_and_keeps_the_dtype(host_backend, rng):
    X, y = (array.astype(np.float32) for array in draw(rng))
    fit = descend(X, y, learning_rate=0.1, max_iter=3)
    assert fit.coef.dtype == np.float32
    assert np.asarray(fit.intercept).dtype == np.float32
    with pytest.raises(AttributeError):
        fit.coef = None


def test_score_is_the_coefficient_of_determination(host_backend, rng):
    X, y = draw(rng, tail=(2,))
    s = rng.uniform(0.5, 2, len(X))
    fit = descend(X, y, learning_rate=0.2)
    residual = y - (X @ fit.coef + fit.intercept)
    for weights in (None, s):
        mean = np.average(y, axis=0, weights=weights)
        w = np.ones(len(X)) if weights is None else weights
        exact = 1 - (w[:, None] * residual**2).sum(0) / (w[:, None] * (y - mean) ** 2).sum(0)
        assert fit.score(X, y, weights) == pytest.approx(exact.mean(), rel=1e-12)


def test_score_of_a_constant_target(host_backend):
    fit = descend(np.arange(4.0)[:, None], np.full(4, 2.0), learning_rate=0.1)
    assert fit.score(np.arange(4.0)[:, None], np.full(4, 2.0)) == 1.0
    assert fit.score(np.arange(4.0)[:, None], np.full(4, 3.0)) == 0.0


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"learning_rate": -1}, ValueError, "learning_rate must be finite and more than 0.0"),
        ({"max_iter": 1.5}, TypeError, "max_iter must be an integer, not 1.5"),
        ({"max_iter": -1}, ValueError, "max_iter must be at least 0; it is -1"),
        ({"max_iter": True}, TypeError, "max_iter must be an integer, not True"),
        ({"fit_intercept": "no"}, TypeError, "fit_intercept must be True or False, not 'no'"),
        ({"fit_intercept": None}, TypeError, "fit_intercept must be True or False, not None"),
        ({"fit_intercept": np.ones(2, bool)}, TypeError, "fit_intercept must be True or False, not array"),
        ({"momentum": 0.5, "nesterov": "yes"}, TypeError, "nesterov must be True or False, not 'yes'"),
        ({"callback": 5}, TypeError, "callback must be a function, not 5"),
        ({"tol": -1e-3}, ValueError, "tol must be finite and at least 0.0"),
        (
            {"sample_weight": [1, -1, 1, 1]},
            ValueError,
            "sample_weight must not be negative or NaN; it is -1 at row 1",
        ),
        ({"sample_weight": [0, 0, 0, 0]}, ValueError, "sample_weight must not add up to 0"),
        ({"w0": np.ones(3)}, ValueError, "w0 has shape (3,); needed is (2,)"),
    ],
)
def test_errors(backend, how, error, words):
    with pytest.raises(error) as raised:
        descend(np.ones((4, 2)), np.arange(4.0), **{"learning_rate": 0.1, **how})
    assert words in str(raised.value)


SUMMARIES = [vp.CoMoments.from_arrays, vp.TSQR.from_arrays]


@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "coo_array", "dok_array"])
def test_sparse_arrays_are_refused(host_backend, kind, name):
    sparse = getattr(pytest.importorskip("scipy.sparse"), kind)
    given = {"X": np.ones((4, 2)), "y": np.ones((4, 1)), "sample_weight": np.ones((4, 1))}
    given[name] = sparse(given[name])
    with pytest.raises(
        vp.errors.DTypeError, match=rf"{name} is sparse, .* needed is a dense array: {name}.toarray"
    ):
        vp.linreg_fit(**given)
    for of in (vp.linreg_search, partial(vp.select_features, k=1), *SUMMARIES):
        with pytest.raises(vp.errors.DTypeError, match=rf"{name} is sparse"):
            of(**given)


@pytest.mark.parametrize(
    "of", [vp.linreg_fit, vp.linreg_search, partial(vp.select_features, k=1), *SUMMARIES]
)
def test_x_that_is_missing(of):
    with pytest.raises(vp.errors.ArgumentError, match="X is None; needed are observations in rows"):
        of(None, np.ones(4))


def test_flags_and_counts_of_numpy(host_backend, rng):
    X, y = draw(rng)
    ours = descend(X, y, fit_intercept=np.False_, max_iter=np.int8(7), momentum=0.5, nesterov=np.True_)
    theirs = descend(X, y, fit_intercept=False, max_iter=7, momentum=0.5, nesterov=True)
    np.testing.assert_array_equal(ours.coef, theirs.coef)
    assert ours.n_iter == theirs.n_iter


def test_predict_checks_its_columns(host_backend, rng):
    X, y = draw(rng)
    fit = descend(X, y, learning_rate=0.1, max_iter=2)
    with pytest.raises(vp.errors.ShapeError, match=r"X has shape \(4, 2\); needed is \(..., m, 3\)"):
        fit.predict(np.ones((4, 2)))


def test_a_batch_of_no_problems(host_backend):
    fit = descend(np.ones((0, 4, 2)), np.ones((0, 4)), learning_rate=0.1, max_iter=3)
    assert fit.coef.shape == (0, 2)
    assert fit.loss_history.shape[1:] == (0,)


def test_score_of_constants_that_round_and_of_float16(host_backend, rng):
    X = rng.standard_normal((50, 2))
    fit = descend(X, rng.standard_normal(50), learning_rate=0.1, max_iter=3)
    assert fit.score(X, np.full(50, 0.1)) == 0.0
    narrow = descend(X.astype("e"), (X[:, 0] + 3000).astype("e"), learning_rate=0.1, max_iter=100)
    assert np.isfinite(narrow.score(X.astype("e"), (X[:, 0] + 3000).astype("e")))


@pytest.mark.parametrize("value", ["0.5", np.str_("0.5"), 1j, np.complex128(1), True, None])
def test_numbers_that_are_not_real(host_backend, value):
    with pytest.raises(TypeError, match="l2 must be a real number"):
        descend(np.ones((4, 2)), np.ones(4), learning_rate=0.1, l2=value)


def test_numbers_beyond_all_bounds(host_backend):
    with pytest.raises(ValueError, match="l2 must be finite"):
        descend(np.ones((4, 2)), np.ones(4), learning_rate=0.1, l2=10**400)
    with pytest.raises(TypeError, match="max_iter must be an integer"):
        descend(np.ones((4, 2)), np.ones(4), learning_rate=0.1, max_iter=np.ones(2))


class TestAutomaticLearningRate:
    """One over the largest eigenvalue of the Hessian: no shorter step is safe, no longer one is as fast."""

    @staticmethod
    def rate(X, centred=True, l2=0.0, weights=None):
        s = np.ones(len(X)) if weights is None else weights
        A = X.astype(float) - (np.average(X, axis=0, weights=s) if centred else 0)
        return 1 / (np.linalg.eigvalsh(A.T @ (s[:, None] * A) / s.sum())[-1] + l2)

    @pytest.mark.parametrize(
        ("centred", "weighted", "l2"),
        [(True, False, 0.0), (False, False, 0.7), (False, True, 0.0), (True, True, 0.7)],
    )
    def test_is_the_curvatures_inverse(self, backend, rng, centred, weighted, l2):
        X, y = draw(rng)
        s = rng.uniform(0, 2, len(X)) if weighted else None
        fit = descend(X, y, max_iter=0, l2=l2, fit_intercept=centred, sample_weight=s)
        assert isinstance(fit.learning_rate, float)
        assert fit.learning_rate == pytest.approx(self.rate(X, centred, l2, s), rel=1e-10)

    @pytest.mark.may_fall_back  # cpu fits no float16
    @pytest.mark.parametrize(("dtype", "close"), [("float16", 1e-5), ("float32", 1e-5), ("int64", 1e-10)])
    def test_in_other_dtypes(self, backend, rng, dtype, close):
        X = (9 * rng.random((30, 3))).astype(dtype)
        fit = descend(X, X[:, 0], max_iter=0, fit_intercept=False)
        assert fit.learning_rate == pytest.approx(self.rate(X, centred=False), rel=close)

    def test_is_the_least_of_a_batch(self, host_backend, rng):
        X, y = draw(rng, lead=(2, 2))
        X[1, 0] *= 3
        fit = descend(X, y, max_iter=2)
        rates = [self.rate(one) for one in X.reshape(4, *X.shape[-2:])]
        assert fit.learning_rate == pytest.approx(min(rates), rel=1e-10)

    def test_never_overshoots(self, host_backend, rng):
        X, y = draw(rng, d=8)
        X *= 10.0 ** np.arange(-3, 5)
        for how in ({}, {"l1": 0.1}, {"l2": 3.0}, {"fit_intercept": False}):
            losses = descend(X, y, max_iter=60, tol=0, **how).loss_history
            assert (np.diff(losses) <= 1e-12 * losses[0]).all()

    def test_converges_to_least_squares(self, host_backend, rng):
        X, y = draw(rng)
        fit = descend(X, y, tol=1e-10, max_iter=5_000)
        exact = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y, rcond=None)[0]
        assert fit.converged
        np.testing.assert_allclose([*fit.coef, fit.intercept], exact, rtol=1e-8)

    def test_far_means_do_not_shorten_it(self, host_backend, rng):
        X, y = draw(rng)
        near, far = (descend(X + mean, y, max_iter=1).learning_rate for mean in (0, 1e6))
        assert far == pytest.approx(near, rel=1e-8)

    def test_of_targets_is_one(self, host_backend, rng):
        X, y = draw(rng, tail=(2,))
        assert descend(X, y, max_iter=1).learning_rate == pytest.approx(self.rate(X), rel=1e-10)

    @pytest.mark.parametrize("value", [0.0, 3.0, 0.1])
    def test_of_constant_columns(self, host_backend, rng, value):
        y = rng.standard_normal(30)
        fit = descend(np.full((30, 2), value), y, max_iter=20)
        np.testing.assert_allclose(fit.predict(np.full((3, 2), value)), y.mean(), rtol=1e-6)
        assert np.abs(fit.coef).max() < 1

    def test_of_a_single_row(self, backend):
        fit = descend([[1.0, 2.0]], [3.0], max_iter=5)
        assert fit.learning_rate == 1.0
        assert fit.intercept == 3

    def test_of_no_problems(self, host_backend):
        assert descend(np.ones((0, 4, 2)), np.ones((0, 4)), max_iter=2).learning_rate == 1.0

    def test_one_that_is_given_is_kept(self, host_backend, rng):
        assert descend(*draw(rng), learning_rate=np.float32(0.25), max_iter=1).learning_rate == 0.25

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_needs_finite_data(self, backend, rng, value):
        X, y = draw(rng)
        X[3, 1] = value
        words = {np.inf: "X holds inf at row 3, column 1", 1e200: "sums of squares of X or y overflow"}
        expected = words.get(value, "X holds nan at row 3, column 1")
        with pytest.raises(vp.errors.NotFiniteError, match=expected):
            descend(X, y)

    @pytest.mark.parametrize(
        ("value", "error", "words"),
        [
            ("fast", "ArgumentError", "learning_rate must be a number or \"auto\"; it is 'fast'"),
            (None, "DTypeError", "learning_rate must be a real number, not NoneType"),
            (np.ones((2, 1)), "ShapeError", r"learning_rate has shape \(2, 1\); needed is a number, or"),
            (0.0, "ArgumentError", "learning_rate must be finite and more than 0.0"),
        ],
    )
    def test_no_other_word_will_do(self, host_backend, rng, value, error, words):
        with pytest.raises(getattr(vp.errors, error), match=words):
            descend(*draw(rng), learning_rate=value)
