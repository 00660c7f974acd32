"""Least squares and ridge regression, held to scikit-learn's."""

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import datasets, linear_model

from tests.sklearn.problems import difference, random_problem
from vecprod_gpu.linreg._streaming import streamed
from vecprod_gpu.sklearn import LinearRegression, Ridge

PAIRS = [
    (LinearRegression, linear_model.LinearRegression, {}),
    (Ridge, linear_model.Ridge, {"alpha": 0.7}),
    (Ridge, linear_model.Ridge, {"alpha": 30.0, "solver": "svd"}),
]
SETS = {"diabetes": datasets.load_diabetes, "linnerud": datasets.load_linnerud}


def assert_same(ours, theirs, tolerance):
    assert difference(ours.coef_, theirs.coef_) <= tolerance
    assert difference(ours.intercept_, theirs.intercept_) <= tolerance or ours.intercept_ == 0.0


@pytest.mark.parametrize(("ours", "theirs", "params"), PAIRS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_results_on_fifty_random_problems(rng, ours, theirs, params, fit_intercept):
    for _ in range(50):
        X, y, weights = random_problem(rng)
        models = [
            one(fit_intercept=fit_intercept, **params).fit(X, y, sample_weight=weights)
            for one in (ours, theirs)
        ]
        assert_same(*models, 1e-8)
        assert difference(models[0].predict(X), models[1].predict(X)) <= 1e-8


@pytest.mark.parametrize(("ours", "theirs", "params"), PAIRS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", SETS)
def test_results_on_known_data(name, ours, theirs, params, fit_intercept):
    X, y = SETS[name](return_X_y=True)
    models = [one(fit_intercept=fit_intercept, **params).fit(X, y) for one in (ours, theirs)]
    assert_same(*models, 1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_singular_values_and_rank(rng, fit_intercept):
    for _ in range(20):
        X, y, weights = random_problem(rng)
        ours, theirs = (
            one(fit_intercept=fit_intercept).fit(X, y, sample_weight=weights)
            for one in (LinearRegression, linear_model.LinearRegression)
        )
        assert ours.rank_ == theirs.rank_
        assert difference(ours.singular_, theirs.singular_) <= 1e-8


@pytest.mark.parametrize("shape", [(40, 6), (5, 9), (6, 6), (1, 3)])
@pytest.mark.parametrize("targets", [0, 2])
def test_of_many_solutions_the_shortest(rng, shape, targets):
    n, d = shape
    X = rng.normal(size=shape)
    X[:, -1] = X[:, 0] - 2 * X[:, 1]
    y = rng.normal(size=(n, targets) if targets else n)
    ours, theirs = (one().fit(X, y) for one in (LinearRegression, linear_model.LinearRegression))
    assert ours.rank_ == theirs.rank_ < d
    assert np.allclose(ours.singular_, theirs.singular_, rtol=1e-8, atol=1e-12)
    assert np.allclose(ours.coef_, theirs.coef_, rtol=1e-8, atol=1e-10)


def test_tol_cuts_singular_values(rng):
    X = rng.normal(size=(60, 3)) * [1, 1, 1e-3]
    y = rng.normal(size=60)
    for tol in (1e-6, 1e-2):
        ours, theirs = (one(tol=tol).fit(X, y) for one in (LinearRegression, linear_model.LinearRegression))
        assert ours.rank_ == theirs.rank_ == (3 if tol < 1e-3 else 2)
        assert_same(ours, theirs, 1e-8)


def test_digits_of_ill_conditioned_data(rng):
    left, right = (np.linalg.qr(rng.normal(size=size))[0] for size in ((300, 8), (8, 8)))
    X = left * np.geomspace(1, 1e-5, 8) @ right
    coef = rng.normal(size=8)
    ours = LinearRegression(fit_intercept=False).fit(X, X @ coef)
    assert difference(ours.coef_, coef) <= 1e-9  # normal equations would keep six digits


@pytest.mark.parametrize("model", [LinearRegression(positive=True), Ridge(alpha=2.0, positive=True)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_positive_coefficients(rng, model, fit_intercept):
    reference = getattr(linear_model, type(model).__name__)(**model.get_params())
    if isinstance(model, Ridge):
        reference.set_params(tol=1e-12)
    for _ in range(6):
        X, y, weights = random_problem(rng)
        ours, theirs = (
            one.set_params(fit_intercept=fit_intercept).fit(X, y, sample_weight=weights)
            for one in (model, reference)
        )
        assert ours.coef_.min() >= 0
        assert difference(ours.predict(X), theirs.predict(X)) <= (1e-4 if isinstance(model, Ridge) else 1e-8)


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
def test_positive_coefficients_from_chunks(rng, estimator):
    X, y, _ = random_problem(rng, targets=2)
    whole = estimator(positive=True).fit(X, y)
    chunks = estimator(positive=True).partial_fit(X[:4], y[:4]).partial_fit(X[4:], y[4:])
    assert difference(chunks.coef_, whole.coef_) <= 1e-8


@pytest.mark.parametrize("model", [LinearRegression(positive=True), Ridge(positive=True)], ids=repr)
def test_positive_coefficients_of_constant_chunks(model):
    X, y = np.full((5, 3), 3.0), np.arange(5.0)
    model.partial_fit(X, y).partial_fit(X, y)
    assert model.coef_.tolist() == [0, 0, 0]
    assert model.intercept_ == 2


def test_a_penalty_for_each_target(rng):
    X, y, weights = random_problem(rng, targets=3)
    alpha = [0.1, 5.0, 80.0]
    ours, theirs = (one(alpha).fit(X, y, sample_weight=weights) for one in (Ridge, linear_model.Ridge))
    assert_same(ours, theirs, 1e-8)
    with pytest.raises(ValueError, match="number of penalties do not correspond: 2 != 3"):
        Ridge([1.0, 2.0]).fit(X, y)


@pytest.mark.parametrize("solver", ["auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga"])
def test_every_name_of_a_solver_gives_the_same(rng, solver):
    X, y, weights = random_problem(rng)
    theirs = linear_model.Ridge(0.3, solver="svd").fit(X, y, sample_weight=weights)
    ours = Ridge(0.3, solver=solver).fit(X, y, sample_weight=weights)
    assert_same(ours, theirs, 1e-8)
    assert ours.solver_ == ("svd" if solver == "svd" else "cholesky")


@pytest.mark.parametrize("params", [{"solver": "lbfgs"}, {"solver": "svd", "positive": True}])
def test_solvers_that_do_not_go_with_a_sign(rng, params):
    X, y, _ = random_problem(rng)
    for one in (Ridge, linear_model.Ridge):
        with pytest.raises(ValueError, match="positive"):
            one(**params).fit(X, y)


def test_a_single_weight_for_all_rows(rng):
    X, y, _ = random_problem(rng)
    ours, theirs = (one(2.0).fit(X, y, sample_weight=0.25) for one in (Ridge, linear_model.Ridge))
    assert_same(ours, theirs, 1e-8)


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
def test_shapes_of_one_column_of_targets(rng, estimator):
    X, y, _ = random_problem(rng, targets=1)
    ours, theirs = (one().fit(X, y) for one in (estimator, getattr(linear_model, estimator.__name__)))
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    assert ours.predict(X).shape == theirs.predict(X).shape


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
def test_dtypes(rng, estimator):
    X, y, weights = random_problem(rng)
    exact = estimator().fit(X, y, sample_weight=weights)
    narrow = estimator().fit(X.astype(np.float32), y, sample_weight=weights)
    assert narrow.coef_.dtype == narrow.predict(X.astype(np.float32)).dtype == np.float32
    assert difference(narrow.coef_, exact.coef_) <= 1e-4
    counts = np.rint(10 * X).astype(np.int32)
    assert estimator().fit(counts, y).coef_.dtype == np.float64
    assert difference(estimator().fit(counts, y).coef_, estimator().fit(counts * 1.0, y).coef_) <= 1e-12


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
@pytest.mark.parametrize("shape", [(50, 3), (3, 50)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_told_in_the_same_words(rng, estimator, shape, bad):
    X, y = rng.normal(size=shape), rng.normal(size=shape[0])
    weights = np.ones(shape[0])
    for name, array in (("X", X), ("y", y), ("sample_weight", weights)):
        spoilt = {"X": X, "y": y, "sample_weight": weights} | {name: array.copy()}
        spoilt[name][..., -1] = bad
        messages = []
        for one in (estimator, getattr(linear_model, estimator.__name__)):
            with pytest.raises(ValueError, match=name) as caught:
                one().fit(**spoilt)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
def test_x_is_neither_copied_nor_changed(rng, estimator):
    X, y = rng.normal(size=(100_000, 16)), rng.normal(size=100_000)
    before = X.copy()
    estimator().fit(X[:100], y[:100])
    tracemalloc.start()
    estimator(copy_X=False).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4
    assert np.array_equal(X, before)


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_chunks_in_any_order_give_the_whole(rng, estimator, fit_intercept):
    X, y, _ = random_problem(rng, targets=2)
    weights = rng.uniform(0.1, 2, len(X))
    whole = estimator(fit_intercept=fit_intercept).fit(X, y, sample_weight=weights)
    cuts = np.sort(rng.choice(np.arange(1, len(X)), 3, replace=False))
    parts = np.split(np.arange(len(X)), cuts)
    for order in (parts, parts[::-1]):
        model = estimator(fit_intercept=fit_intercept)
        for rows in order:
            model.partial_fit(X[rows], y[rows], sample_weight=weights[rows])
        assert_same(model, whole, 1e-10)


def test_chunks_give_rank_and_singular_values(rng):
    X = rng.normal(size=(60, 5))
    X[:, 4] = X[:, 0] + X[:, 1]
    y = rng.normal(size=60)
    whole = LinearRegression().fit(X, y)
    chunks = LinearRegression().partial_fit(X[:30], y[:30]).partial_fit(X[30:], y[30:])
    assert chunks.rank_ == whole.rank_ == 4
    assert np.allclose(chunks.singular_[:4], whole.singular_[:4], rtol=1e-8)
    assert difference(chunks.coef_, whole.coef_) <= 1e-8


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
@pytest.mark.parametrize("shape", [(60, 4), (5, 9)])
def test_more_rows_after_fit(rng, estimator, shape):
    X, y = rng.normal(size=shape), rng.normal(size=shape[0])
    model = estimator().fit(X[:3], y[:3]).fit(X[: shape[0] - 2], y[: shape[0] - 2])
    model.partial_fit(X[-2:], y[-2:])
    assert difference(model.coef_, estimator().fit(X, y).coef_) <= 1e-8


def test_more_rows_after_a_fit_that_kept_nothing(rng, monkeypatch):
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 64)
    X, y = rng.normal(size=(5, 9)), rng.normal(size=5)
    model = Ridge().fit(X, y)
    with pytest.raises(ValueError, match="no co-moments were kept"):
        model.partial_fit(X, y)


@pytest.mark.parametrize("shape", [(20, 30), (10, 40), (30, 30)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_of_wide_data(rng, shape, fit_intercept):
    X, y = rng.normal(size=shape) + 1, rng.normal(size=(shape[0], 2))
    weights = rng.uniform(0.1, 2, shape[0])
    ours, theirs = (
        one(0.3, fit_intercept=fit_intercept).fit(X, y, sample_weight=weights)
        for one in (Ridge, linear_model.Ridge)
    )
    assert_same(ours, theirs, 1e-8)
    assert ours.solver_ == ("svd" if shape == (10, 40) else "cholesky")


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge])
def test_squares_that_overflow(rng, estimator):
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    huge = estimator().fit(X * 1e160, y)
    assert difference(huge.coef_ * 1e160, linear_model.LinearRegression().fit(X, y).coef_) <= 1e-8
