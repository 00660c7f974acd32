"""The lasso and the elastic net, held to scikit-learn's, and to what a minimum has to meet."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import datasets, linear_model
from sklearn.exceptions import ConvergenceWarning

from tests.sklearn.problems import difference, random_problem
from vecprod_gpu.sklearn import ElasticNet, Lasso

TIGHT = {"tol": 1e-12, "max_iter": 100_000}
PENALTIES = [(Lasso, {"alpha": 0.3}), (ElasticNet, {"alpha": 0.2, "l1_ratio": 0.7})]
SETS = {"diabetes": datasets.load_diabetes, "linnerud": datasets.load_linnerud}


def theirs_of(model):
    return getattr(linear_model, type(model).__name__)(**model.get_params())


def assert_same(ours, theirs, tolerance=1e-7):
    assert difference(ours.coef_, theirs.coef_) <= tolerance
    assert difference(ours.intercept_, theirs.intercept_) <= tolerance or ours.intercept_ == 0.0


def objective(model, X, y, weights, coef, intercept):
    """Of one target."""
    weights = np.ones(len(X)) if weights is None else weights
    l1_ratio = getattr(model, "l1_ratio", 1.0)
    loss = weights @ (X @ coef + intercept - y) ** 2 / (2 * weights.sum())
    penalty = l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) / 2 * coef @ coef
    return loss + model.alpha * penalty


@pytest.mark.parametrize(("estimator", "params"), PENALTIES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_results_on_random_problems(rng, estimator, params, fit_intercept, positive):
    for _ in range(8):
        X, y, weights = random_problem(rng)
        ours = estimator(fit_intercept=fit_intercept, positive=positive, **TIGHT, **params)
        theirs = theirs_of(ours).fit(X, y, sample_weight=weights)
        assert_same(ours.fit(X, y, sample_weight=weights), theirs)
        assert not positive or ours.coef_.min() >= 0


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", SETS)
def test_results_on_known_data(name, fit_intercept):
    X, y = SETS[name](return_X_y=True)
    for model in (Lasso(0.1, fit_intercept=fit_intercept, **TIGHT), ElasticNet(0.1, **TIGHT)):
        theirs = theirs_of(model).fit(X, y)
        assert_same(model.fit(X, y), theirs)


@pytest.mark.parametrize("positive", [True, False])
def test_more_columns_than_rows(rng, positive):
    X = rng.normal(size=(20, 50))
    y = X[:, :3] @ [2.0, -1.0, 1.0] + 0.1 * rng.normal(size=20)
    ours = Lasso(0.1, positive=positive, **TIGHT)
    assert_same(ours.fit(X, y), theirs_of(ours).fit(X, y), 1e-6)


@pytest.mark.parametrize(("estimator", "params"), PENALTIES)
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("tol", [1e-1, 1e-4, 1e-8])
def test_the_gap_bounds_what_is_left_to_gain(rng, estimator, params, positive, tol):
    for _ in range(4):
        X, y, weights = random_problem(rng, targets=0)
        rough, exact = (
            estimator(tol=one, max_iter=100_000, positive=positive, **params) for one in (tol, 1e-14)
        )
        values = [
            objective(one, X, y, weights, one.coef_, one.intercept_)
            for one in (model.fit(X, y, sample_weight=weights) for model in (rough, exact))
        ]
        rounding = 1e-12 * values[1]
        assert values[0] - values[1] <= rough.dual_gap_ + rounding
        mean_square = np.average((y - np.average(y, weights=weights)) ** 2, weights=weights)
        assert rough.dual_gap_ <= tol * mean_square + rounding


def test_the_gap_of_positive_coefficients_without_l1(rng):
    X, y, _ = random_problem(rng, targets=0)
    model = ElasticNet(0.5, l1_ratio=0.0, positive=True, tol=1e-3)
    rough = model.fit(X, y)
    value = objective(rough, X, y, None, rough.coef_, rough.intercept_)
    exact = ElasticNet(0.5, l1_ratio=0.0, positive=True, **TIGHT).fit(X, y)
    assert 0 <= value - objective(exact, X, y, None, exact.coef_, exact.intercept_) <= rough.dual_gap_ + 1e-12


@pytest.mark.parametrize("targets", [0, 1, 3])
def test_shapes_of_what_is_told(rng, targets):
    X, y, weights = random_problem(rng, targets=targets)
    ours, theirs = (one(0.1).fit(X, y, sample_weight=weights) for one in (Lasso, linear_model.Lasso))
    for name in ("coef_", "intercept_", "dual_gap_", "n_iter_"):
        assert np.shape(getattr(ours, name)) == np.shape(getattr(theirs, name))
    assert ours.sparse_coef_.shape == theirs.sparse_coef_.shape
    assert np.array_equal(ours.sparse_coef_.toarray(), np.atleast_2d(ours.coef_))
    assert difference(ours.predict(sparse.csr_array(X)), ours.predict(X)) <= 1e-12


@pytest.mark.parametrize("targets", [0, 2])
def test_a_warm_start_begins_where_the_last_fit_ended(rng, targets):
    X, y, _ = random_problem(rng, targets=targets, most_features=30)
    model = Lasso(0.05, warm_start=True, **TIGHT).fit(X, y)
    sweeps = np.max(model.n_iter_)
    coef = model.coef_.copy()
    again = np.max(model.fit(X, y).n_iter_)
    assert again <= max(1, sweeps // 2)
    assert difference(model.coef_, coef) <= 1e-9
    assert np.max(model.set_params(warm_start=False).fit(X, y).n_iter_) == sweeps


@pytest.mark.parametrize("model", [Lasso(0.01, warm_start=True), ElasticNet(0.01, warm_start=True)])
@pytest.mark.parametrize(("features", "targets"), [(2, 0), (6, 0), (4, 2), (2, 2)])
def test_a_warm_start_needs_as_many_features_and_targets(rng, model, features, targets):
    model.fit(rng.normal(size=(30, 4)), rng.normal(size=30))
    X, y = rng.normal(size=(30, features)), rng.normal(size=(30, targets) if targets else 30)
    message = rf"\(features, targets\) \(4, 1\); X and y have \({features}, {targets or 1}\)"
    with pytest.raises(ValueError, match=message):
        model.set_params(warm_start=True).fit(X, y)
    coef = model.set_params(warm_start=False).fit(X, y).coef_
    assert coef.shape == ((targets, features) if targets else (features,))


def test_a_warm_start_takes_a_target_as_a_column(rng):
    X, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    ours = Lasso(0.01, warm_start=True, **TIGHT).fit(X, y)
    assert difference(ours.coef_.copy(), ours.fit(X, y[:, np.newaxis]).coef_) <= 1e-9


def test_too_few_sweeps_are_told(rng):
    X = rng.normal(size=(50, 10)) @ rng.normal(size=(10, 10))
    y = X @ rng.normal(size=10)
    for model in (Lasso(0.01, max_iter=1, tol=1e-10), linear_model.Lasso(0.01, max_iter=1, tol=1e-10)):
        with pytest.warns(ConvergenceWarning, match="Objective did not converge"):
            model.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Lasso(0.01, max_iter=None).fit(X[:, :2], y)


def test_no_penalty_at_all(rng):
    X, y, _ = random_problem(rng, targets=0)
    for one in (Lasso, linear_model.Lasso):
        with pytest.warns(UserWarning, match="With alpha=0, this algorithm does not converge well"):
            one(0.0).fit(X, y)


def test_one_weight_for_all_changes_nothing(rng):
    X, y, _ = random_problem(rng, targets=0)
    assert np.array_equal(Lasso(0.1).fit(X, y, sample_weight=7.0).coef_, Lasso(0.1).fit(X, y).coef_)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_gram_matrix_of_other_data_is_refused(rng, fit_intercept):
    X, y, weights = rng.normal(size=(30, 4)) + 1, rng.normal(size=30), rng.uniform(1, 3, 30)
    X -= np.average(X, axis=0, weights=weights)
    gram = (X.T * weights) @ X * 30 / weights.sum()
    plain = Lasso(0.1, fit_intercept=fit_intercept).fit(X, y, sample_weight=weights)
    given = Lasso(0.1, fit_intercept=fit_intercept, precompute=gram).fit(X, y, sample_weight=weights)
    assert np.array_equal(given.coef_, plain.coef_)
    for wrong in (gram + 1, np.eye(3)):
        with pytest.raises(ValueError, match=r"Gram matrix.*did not pass validation"):
            Lasso(0.1, fit_intercept=fit_intercept, precompute=wrong).fit(X, y, sample_weight=weights)


def test_a_gram_matrix_of_data_that_are_not_centred_is_left_alone(rng):
    X, y = rng.normal(size=(30, 4)) + 1, rng.normal(size=30)
    for one in (Lasso, linear_model.Lasso):
        with pytest.warns(UserWarning, match="recomputing Gram matrix"):
            model = one(0.1, precompute=X.T @ X, **TIGHT).fit(X, y)
        assert difference(model.coef_, linear_model.Lasso(0.1, **TIGHT).fit(X, y).coef_) <= 1e-8


def test_what_overflows_is_told(rng):
    X, y = rng.normal(size=(20, 3)) * 1e200, rng.normal(size=20)
    with pytest.raises(ValueError, match="non-finite parameter values"):
        Lasso(0.1).fit(X, y)


def test_float32(rng):
    X, y, weights = random_problem(rng, targets=0)
    exact = Lasso(0.1, **TIGHT).fit(X, y, sample_weight=weights)
    narrow = Lasso(0.1, **TIGHT).fit(X.astype(np.float32), y.astype(np.float32), sample_weight=weights)
    assert narrow.coef_.dtype == narrow.predict(X.astype(np.float32)).dtype == np.float32
    assert difference(narrow.coef_, exact.coef_) <= 1e-4
