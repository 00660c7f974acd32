"""Columns of unlike sizes, and numbers whose squares underflow, beside scikit-learn."""

import numpy as np
import pytest
from sklearn import linear_model

import vecprod_gpu.sklearn
from vecprod_gpu.errors import NotFiniteError
from vecprod_gpu.sklearn import LinearRegression, Ridge, RidgeCV

MODULES = vecprod_gpu.sklearn, linear_model


def draw(rng, ratio):
    """A large column, its double and a small one, on which the target leans most; and the plain columns."""
    u = rng.normal(size=(60, 2))
    y = u[:, 0] + 3 * u[:, 1] + 0.1 * rng.normal(size=60)
    return np.column_stack([ratio * u[:, 0], 2 * ratio * u[:, 0], u[:, 1] / ratio]), u, y


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error"])
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")  # of scikit-learn
def test_ridge_on_folds_keeps_small_columns(rng, exponent, scoring):
    X, _, y = draw(rng, 10.0**exponent)
    alphas = 10.0 ** np.arange(-2 * exponent - 2, 2 * exponent + 4, 2)
    ours, theirs = (one.RidgeCV(alphas, cv=5, scoring=scoring).fit(X, y) for one in MODULES)
    assert ours.alpha_ == theirs.alpha_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-6)
    assert np.allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ratio", [1e2, 1e6, 1e12, 1e40])
def test_chunks_keep_small_columns(rng, ratio):
    X, u, y = draw(rng, ratio)
    plain = linear_model.LinearRegression(tol=0).fit(u, y)
    for model in (LinearRegression(tol=0), LinearRegression(positive=True), Ridge(alpha=1e-20 / ratio**2)):
        model.partial_fit(X[:20], y[:20]).partial_fit(X[20:], y[20:])
        assert np.allclose(model.predict(X), plain.predict(u), rtol=1e-9, atol=1e-10)
        if isinstance(model, LinearRegression) and not model.positive:
            assert model.rank_ == 2
            assert model.singular_.shape == (3,)
            assert np.allclose(model.coef_[:2] * ratio, plain.coef_[0] / 5 * np.array([1, 2]), rtol=1e-9)


def test_tol_cuts_singular_values_of_chunks(rng):
    X, _, y = draw(rng, 1e2)
    ours, theirs = LinearRegression(tol=1e-3), linear_model.LinearRegression(tol=1e-3).fit(X, y)
    ours.partial_fit(X[:20], y[:20]).partial_fit(X[20:], y[20:])
    assert ours.rank_ == theirs.rank_ == 1
    assert np.allclose(ours.singular_, theirs.singular_, rtol=1e-8, atol=1e-10)
    assert np.allclose(ours.coef_, theirs.coef_, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("small", [1e-155, 1e-160, 1e-170, 1e-300])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_squares_that_underflow(rng, small, fit_intercept):
    X = rng.normal(size=(30, 3))
    y = X @ [1.0, 2.0, 3.0] + 1 + 0.1 * rng.normal(size=30)
    ours, theirs = (one.LinearRegression(fit_intercept=fit_intercept) for one in MODULES)
    ours.fit(X * small, y)
    assert np.allclose(ours.coef_ * small, theirs.fit(X, y).coef_, rtol=1e-12)
    assert np.allclose(ours.singular_ / small, theirs.singular_, rtol=1e-12)
    for model in (LinearRegression(), LinearRegression(positive=True), Ridge(alpha=0.0)):
        with pytest.raises(NotFiniteError, match="squares of column 0 of X underflow float64; scale it up"):
            model.partial_fit(X[:10] * small, y[:10]).partial_fit(X[10:] * small, y[10:])
    assert np.allclose(RidgeCV(cv=3).fit(X * small, y).coef_, 0, atol=1e-150)
