"""Penalties chosen by cross-validation, held to scikit-learn's."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV as TheirLassoCV
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)

from tests.sklearn.problems import difference, random_problem
from vecprod_gpu.linreg.moments import CoMoments, MomentSums
from vecprod_gpu.sklearn import ElasticNetCV, LassoCV, RidgeCV

ALPHAS = np.geomspace(0.01, 1000, 7)
TIGHT = {"tol": 1e-12, "max_iter": 100_000}


def fit_both(ours, X, y, weights=None, **params):
    theirs = getattr(linear_model, type(ours).__name__)(**ours.get_params())
    return [one.fit(X, y, sample_weight=weights, **params) for one in (ours, theirs)]


def assert_same(ours, theirs, tolerance, names):
    for name in ("coef_", "intercept_", *names):
        assert difference(getattr(ours, name), getattr(theirs, name)) <= tolerance, name


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    "params",
    [{}, {"alpha_per_target": True}, {"scoring": "neg_mean_absolute_error"}, {"scoring": "r2"}],
    ids=str,
)
def test_ridge_on_rows_left_out(rng, fit_intercept, params):
    for _ in range(6):
        X, y, weights = random_problem(rng, targets=int(rng.integers(2, 4)))
        weights = None if weights is None else weights + 0.5
        model = RidgeCV(ALPHAS, fit_intercept=fit_intercept, store_cv_results=True, **params)
        assert_same(*fit_both(model, X, y, weights), 1e-8, ("alpha_", "best_score_", "cv_results_"))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(12, 30), (10, 10)])
def test_ridge_on_rows_left_out_of_wide_data(rng, fit_intercept, shape):
    X, weights = rng.normal(size=shape) + 2, rng.uniform(0.2, 2, shape[0])
    for y in (rng.normal(size=shape[0]), rng.normal(size=(shape[0], 2))):
        model = RidgeCV(ALPHAS, fit_intercept=fit_intercept, store_cv_results=True)
        assert_same(*fit_both(model, X, y, weights), 1e-8, ("alpha_", "best_score_", "cv_results_"))


@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1e8])
@pytest.mark.parametrize("shape", [(12, 30), (10, 10), (30, 4)])
def test_ridge_on_rows_left_out_of_data_of_any_size(rng, shape, scale):
    X, y, weights = rng.normal(size=shape), rng.normal(size=shape[0]), rng.uniform(0.2, 2, shape[0])
    model = RidgeCV(ALPHAS * scale**2, store_cv_results=True)
    ours, theirs = fit_both(model, X * scale, y, weights)
    assert_same(ours, theirs, 1e-8, ("alpha_", "best_score_", "cv_results_"))
    near = RidgeCV(ALPHAS).fit(X, y, weights)
    assert np.allclose(ours.coef_ * scale, near.coef_, rtol=1e-8)


@pytest.mark.parametrize("shape", [(14, 3), (8, 12)])
def test_rows_left_out_are_left_out(rng, shape):
    X, y = rng.normal(size=shape) * 3 + 1, rng.normal(size=shape[0])
    values = RidgeCV([0.3, 3.0], store_cv_results=True).fit(X, y).cv_results_
    for row in range(shape[0]):
        rest = np.arange(shape[0]) != row
        for i, alpha in enumerate((0.3, 3.0)):
            left = linear_model.Ridge(alpha).fit(X[rest], y[rest])
            assert np.isclose(values[row, i], (left.predict(X[[row]])[0] - y[row]) ** 2, rtol=1e-8)


def test_rows_left_out_of_ill_conditioned_data(rng):
    left, right = (np.linalg.qr(rng.normal(size=size))[0] for size in ((80, 6), (6, 6)))
    X = 30 * left * np.geomspace(1, 1e-5, 6) @ right
    y = X @ rng.normal(size=6) + rng.normal(size=80)
    ours, theirs = fit_both(RidgeCV([1e-10, 1e-8], gcv_mode="svd", store_cv_results=True), X, y)
    assert_same(ours, theirs, 1e-6, ("alpha_", "cv_results_"))


@pytest.mark.parametrize(
    "cv",
    [
        3,
        KFold(4, shuffle=True, random_state=0),
        RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
        ShuffleSplit(3, random_state=1),
        TimeSeriesSplit(3),
    ],
    ids=lambda cv: type(cv).__name__,
)
@pytest.mark.parametrize(
    "scoring",
    [None, "neg_mean_squared_error", "neg_root_mean_squared_error", "neg_median_absolute_error", "max"],
)
def test_ridge_on_folds(rng, cv, scoring):
    if scoring == "max":
        scoring = make_scorer(lambda y, p: -np.abs(y - p).max())
    for fit_intercept in (True, False):
        X, y, weights = random_problem(rng, targets=None if scoring is None else 2)
        weights = None if callable(scoring) or weights is None else weights + 0.5
        model = RidgeCV(ALPHAS, cv=cv, scoring=scoring, fit_intercept=fit_intercept)
        assert_same(*fit_both(model, X, y, weights), 1e-8, ("alpha_", "best_score_"))


def test_a_scorer_without_weights(rng):
    X, y, _ = random_problem(rng, targets=0)
    scorer = make_scorer(lambda y, p: -mean_absolute_error(y, p))
    with pytest.warns(UserWarning, match="does not support sample_weight"):
        ours, theirs = fit_both(RidgeCV(ALPHAS, cv=3, scoring=scorer), X, y, np.arange(1.0, len(X) + 1))
    assert_same(ours, theirs, 1e-8, ("alpha_", "best_score_"))


def test_single_rows_held_out_have_no_r2(rng):
    X, y, _ = random_problem(rng, targets=0, most_features=4)
    with pytest.warns(UserWarning, match="less than two samples"):
        ours, theirs = fit_both(RidgeCV(ALPHAS, cv=LeaveOneOut()), X, y)
    assert np.isnan(ours.best_score_)
    assert np.isnan(theirs.best_score_)
    assert ours.alpha_ == theirs.alpha_


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"cv": 3, "store_cv_results": True}, "store_cv_results=True are incompatible"),
        ({"cv": 3, "alpha_per_target": True}, "alpha_per_target=True are incompatible"),
        ({"alphas": [1.0, 0.0]}, r"alphas\[1\] == 0.0, must be > 0.0"),
        ({"alphas": [1.0, -1.0], "cv": 3}, r"alphas\[1\] == -1.0, must be >= 0.0"),
    ],
)
def test_ridge_refuses(rng, params, message):
    X, y, _ = random_problem(rng, targets=0)
    for one in (RidgeCV, linear_model.RidgeCV):
        with pytest.raises(ValueError, match=message):
            one(**params).fit(X, y)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(
    "model",
    [
        LassoCV(alphas=12, cv=4, **TIGHT),
        ElasticNetCV(l1_ratio=[0.3, 0.9], alphas=8, eps=1e-2, **TIGHT),
        ElasticNetCV(alphas=[0.1, 10.0, 1.0], cv=KFold(3, shuffle=True, random_state=0), **TIGHT),
        LassoCV(alphas=5, cv=ShuffleSplit(2, random_state=0), **TIGHT),
    ],
    ids=["lasso", "ratios", "given", "shuffled"],
)
def test_paths(rng, model, fit_intercept, positive):
    names = ["alpha_", "alphas_", "mse_path_"] + ["l1_ratio_"] * isinstance(model, ElasticNetCV)
    for _ in range(2):
        X, y, weights = random_problem(rng, targets=0)
        weights = None if weights is None else weights + 0.5
        model = sklearn.clone(model).set_params(fit_intercept=fit_intercept, positive=positive)
        ours, theirs = fit_both(model, X, y, weights)
        assert_same(ours, theirs, 1e-7, names)
        assert np.shape(ours.dual_gap_) == np.shape(theirs.dual_gap_) == ()
        assert isinstance(ours.n_iter_, int)
    assert hasattr(ours, "l1_ratio_") == hasattr(theirs, "l1_ratio_")


def test_a_nearly_exact_path(rng):
    X = rng.normal(size=(60, 5))
    y = X @ rng.normal(size=5) + 1e-7 * rng.normal(size=60)
    ours, theirs = fit_both(LassoCV(alphas=[1e-9, 1e-8], tol=1e-16, max_iter=100_000), X, y)
    assert np.allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-3)


@pytest.mark.parametrize("estimator", [LassoCV, ElasticNetCV])
def test_a_constant_target_has_the_smallest_grid(rng, estimator):
    X, y = rng.normal(size=(30, 3)), np.full(30, 4.0)
    ours, theirs = fit_both(estimator(alphas=3), X, y)
    assert np.array_equal(ours.alphas_, theirs.alphas_)
    assert not ours.coef_.any()


def test_paths_refuse(rng):
    X, y, _ = random_problem(rng, targets=2)
    for one in (LassoCV, TheirLassoCV):
        with pytest.raises(ValueError, match="For multi-task outputs, use MultiTaskLassoCV"):
            one().fit(X, y)
    with pytest.raises(ValueError, match="Automatic alpha grid generation is not supported for l1_ratio=0"):
        ElasticNetCV(l1_ratio=0).fit(X, y[:, 0])
    with pytest.raises(ValueError, match=r"alphas\[1\] == -1"):
        LassoCV(alphas=[1.0, -1.0]).fit(X, y[:, 0])


@pytest.mark.parametrize("empty", [[], (), np.array([])], ids=["list", "tuple", "array"])
@pytest.mark.parametrize("model", [RidgeCV(), RidgeCV(cv=3), LassoCV(), ElasticNetCV()], ids=repr)
def test_a_penalty_must_be_given_to_try(rng, model, empty):
    X, y, _ = random_problem(rng, targets=0)
    with pytest.raises(ValueError, match="alphas is empty; needed is at least one penalty to try"):
        model.set_params(alphas=empty).fit(X, y)


def test_a_ratio_must_be_given_to_try(rng):
    X, y, _ = random_problem(rng, targets=0)
    with pytest.raises(ValueError, match="l1_ratio is empty; needed is at least one ratio to try"):
        ElasticNetCV(l1_ratio=[]).fit(X, y)


def test_too_few_sweeps_on_a_fold_are_told(rng):
    X = rng.normal(size=(50, 10)) @ rng.normal(size=(10, 10))
    with pytest.warns(ConvergenceWarning, match="Objective did not converge"):
        LassoCV(alphas=3, max_iter=1, tol=1e-10).fit(X, X @ rng.normal(size=10))


@pytest.mark.parametrize(
    "model", [RidgeCV(ALPHAS, cv=4), LassoCV(alphas=5), ElasticNetCV(l1_ratio=[0.2, 0.7])]
)
def test_x_is_read_once(rng, model, monkeypatch):
    X = rng.normal(size=(200, 4))
    y = X @ [1.0, 2.0, 0.0, 0.0] + rng.normal(size=200)
    read = []
    original = MomentSums.of
    monkeypatch.setattr(
        CoMoments, "_summarise", staticmethod(lambda rows: read.append(rows.n) or original(rows))
    )
    model.fit(X, y)
    assert sum(read) == 200


@pytest.mark.parametrize(
    "model", [RidgeCV(ALPHAS, cv=GroupKFold(3)), LassoCV(alphas=5, cv=GroupKFold(3), **TIGHT)]
)
def test_groups_are_routed_to_the_splitter(rng, model):
    X, y, _ = random_problem(rng, targets=0)
    groups = rng.integers(0, 5, len(X))
    weights = rng.uniform(0.1, 1, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
        ours, theirs = fit_both(model, X, y, weights, groups=groups)
    assert_same(ours, theirs, 1e-6, ("alpha_",))


@pytest.mark.parametrize("weighs_scores", [True, False])
def test_weights_are_routed_to_the_scores(rng, weighs_scores):
    X, y, _ = random_problem(rng, targets=0)
    weights = rng.uniform(0.1, 3, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = sklearn.metrics.get_scorer("neg_mean_absolute_error")
        scorer = scorer.set_score_request(sample_weight=weighs_scores)
        for scoring in (scorer, None):
            model = RidgeCV(ALPHAS, cv=3, scoring=scoring).set_fit_request(sample_weight=True)
            assert_same(*fit_both(model, X, y, weights), 1e-8, ("alpha_", "best_score_"))
