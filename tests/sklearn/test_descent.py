"""Gradient steps, held to the core's own, and to the minimum that they lead to."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

import vecprod_gpu as vp
from tests.sklearn.problems import difference, random_problem
from vecprod_gpu.sklearn import GDRegressor


def standardised(rng, n=200, d=4, targets=0):
    X = rng.normal(size=(n, d)) + 2
    return X, X @ rng.normal(size=(d, targets) if targets else d) + 0.1 * rng.normal(
        size=(n, targets) if targets else n
    )


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("targets", [0, 1, 3])
def test_a_descent_ends_at_the_minimum(rng, fit_intercept, targets):
    X, y = standardised(rng, targets=targets)
    weights = rng.uniform(0.1, 2, len(X))
    params = {"tol": 1e-10, "max_iter": 100_000, "fit_intercept": fit_intercept}
    ours = GDRegressor(0.2, l1_ratio=0.4, **params).fit(X, y, sample_weight=weights)
    theirs = linear_model.ElasticNet(0.2, l1_ratio=0.4, **params).fit(X, y, sample_weight=weights)
    assert ours.coef_.shape == ((4,) if not targets else (targets, 4))
    assert difference(np.squeeze(ours.coef_), theirs.coef_) <= 1e-6
    assert np.allclose(ours.intercept_, theirs.intercept_, rtol=1e-6)
    assert np.shape(ours.predict(X)) == y.shape


@pytest.mark.parametrize("params", [{}, {"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}], ids=str)
@pytest.mark.parametrize("targets", [0, 2])
def test_steps_are_those_of_the_core(rng, params, targets):
    X, y = standardised(rng, targets=targets)
    ours = GDRegressor(0.1, l1_ratio=0.5, max_iter=7, tol=0, learning_rate=0.05, **params).fit(X, y)
    core = vp.linreg_fit(X, y, solver="gd", l1=0.05, l2=0.05, max_iter=7, tol=0, learning_rate=0.05, **params)
    assert difference(ours.coef_, core.coef.T) <= 1e-10
    assert np.allclose(ours.intercept_, core.intercept, rtol=1e-10)
    assert difference(ours.loss_curve_, core.loss_history) <= 1e-8
    assert ours.n_iter_ == 7
    assert ours.learning_rate_ == 0.05


def test_batches(rng):
    X, y = standardised(rng)
    first, second, other = (
        GDRegressor(batch_size=16, max_iter=20, tol=0, random_state=seed).fit(X, y) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.coef_, second.coef_)
    assert not np.array_equal(first.coef_, other.coef_)
    assert first.score(X, y) > 0.99
    assert first.n_iter_ == 20


def test_a_warm_start_goes_on(rng):
    X, y = standardised(rng, targets=2)
    whole = GDRegressor(max_iter=10, tol=0, learning_rate=0.1).fit(X, y)
    parts = GDRegressor(max_iter=5, tol=0, learning_rate=0.1, warm_start=True).fit(X, y).fit(X, y)
    assert difference(parts.coef_, whole.coef_) <= 1e-10
    assert difference(parts.set_params(warm_start=False).fit(X, y).coef_, whole.coef_) > 1e-6


@pytest.mark.parametrize("params", [{}, {"momentum": 0.3}, {"batch_size": 32}], ids=str)
@pytest.mark.parametrize(("features", "targets"), [(2, 0), (6, 0), (4, 2), (2, 2)])
def test_a_warm_start_needs_as_many_features_and_targets(rng, params, features, targets):
    model = GDRegressor(warm_start=True, tol=1e-2, **params).fit(*standardised(rng))
    X, y = standardised(rng, d=features, targets=targets)
    message = rf"\(features, targets\) \(4, 1\); X and y have \({features}, {targets or 1}\)"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert model.set_params(warm_start=False).fit(X, y).predict(X).shape == y.shape


def test_chunks_need_as_many_targets(rng):
    X, y = standardised(rng, targets=2)
    model = GDRegressor().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"\(features, targets\) \(4, 2\); X and y have \(4, 1\)"):
        model.partial_fit(X, y[:, 0])


@pytest.mark.parametrize("params", [{}, {"momentum": 0.3}, {"batch_size": 32}], ids=str)
def test_one_step_on_each_chunk(rng, params):
    X, y = standardised(rng)
    model = GDRegressor(learning_rate=0.1, random_state=0, **params)
    model.partial_fit(X[:100], y[:100])
    first = vp.linreg_fit(
        X[:100],
        y[:100],
        solver="sgd" if "batch_size" in params else "gd",
        learning_rate=0.1,
        l2=0.0001,
        max_iter=1,
        tol=0,
        random_state=int(np.random.RandomState(0).randint(np.iinfo(np.int32).max)),
        **params,
    )
    assert difference(model.coef_, first.coef) <= 1e-10
    model.partial_fit(X[100:], y[100:])
    assert np.isclose(model.intercept_, y.mean() - X.mean(axis=0) @ model.coef_, rtol=1e-10)


@pytest.mark.parametrize("shape", [(200, 4), (5, 9)])
def test_the_intercept_is_that_of_all_rows(rng, shape):
    n = shape[0]
    X, y, weights = rng.normal(size=shape) + 1, rng.normal(size=(n, 2)) + 5, rng.uniform(0.1, 2, n)
    model = GDRegressor(max_iter=3, tol=0).fit(X[: n // 2], y[: n // 2], sample_weight=weights[: n // 2])
    model.partial_fit(X[n // 2 :], y[n // 2 :], sample_weight=weights[n // 2 :])
    means = (np.average(one, axis=0, weights=weights) for one in (X, y))
    x_mean, y_mean = means
    assert np.allclose(model.intercept_, y_mean - model.coef_ @ x_mean, rtol=1e-10)


def test_chunks_lead_to_the_minimum(rng):
    X, y = standardised(rng, n=400)
    model = GDRegressor(alpha=0.0)
    for _ in range(60):
        for start in range(0, 400, 100):
            model.partial_fit(X[start : start + 100], y[start : start + 100])
    exact = linear_model.LinearRegression().fit(X, y)
    assert difference(model.coef_, exact.coef_) <= 0.05


def test_early_stopping(rng):
    X = rng.normal(size=(60, 40))
    y = X[:, 0] + 2 * rng.normal(size=60)
    params = {"alpha": 0.0, "learning_rate": 0.05, "max_iter": 5000, "tol": 1e-9, "random_state": 3}
    stopped = GDRegressor(early_stopping=True, validation_fraction=0.25, n_iter_no_change=4, **params).fit(
        X, y
    )
    scores = stopped.validation_scores_
    assert stopped.n_iter_ == len(scores) < 5000
    assert stopped.best_validation_score_ == max(scores)
    assert max(scores[:-4]) == max(scores)  # the last four brought no gain
    held_out = np.random.RandomState(3).permutation(60)[:15]
    assert np.isclose(stopped.score(X[held_out], y[held_out]), scores[-1], rtol=1e-9)


def test_early_stopping_where_no_step_is_needed(rng):
    model = GDRegressor(early_stopping=True).fit(rng.normal(size=(30, 2)), np.full(30, 5.0))
    assert model.n_iter_ == len(model.validation_scores_) == 0
    assert np.isnan(model.best_validation_score_)
    assert model.intercept_ == 5.0


def test_early_stopping_needs_rows_to_fit(rng):
    with pytest.raises(ValueError, match="none are left to fit"):
        GDRegressor(early_stopping=True).fit(rng.normal(size=(1, 2)), [1.0])
    with pytest.raises(ValueError, match="early_stopping"):
        GDRegressor(early_stopping=True).partial_fit(rng.normal(size=(10, 2)), np.ones(10))


def test_too_few_steps_are_told(rng):
    X, y = standardised(rng)
    with pytest.warns(ConvergenceWarning, match="has not met tol=1e-09 within max_iter=2"):
        GDRegressor(max_iter=2, tol=1e-9).fit(X, y)


def test_a_descent_that_runs_away_is_told(rng):
    X, y = standardised(rng)
    with pytest.raises(vp.errors.DivergenceError, match="largest stable"):
        GDRegressor(learning_rate=100.0).fit(X, y)


def test_what_is_not_finite_is_told_as_scikit_learn_does(rng):
    X, y, _ = random_problem(rng, targets=0)
    X = X.copy()
    X[0, 0] = np.nan
    for params in ({}, {"momentum": 0.1}, {"batch_size": 3}):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            GDRegressor(**params).fit(X, y)
