"""Cross-validation over a grid, against scikit-learn and against explicit loops over folds in NumPy."""

import sys
import warnings

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.metrics import mean_squared_error, r2_score, root_mean_squared_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ParameterGrid,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)

import vecprod_gpu as vp
from vecprod_gpu._dispatch import load
from vecprod_gpu.errors import (
    ArgumentError,
    DeviceError,
    DivergenceError,
    DTypeError,
    NotFiniteError,
    ShapeError,
    SingularError,
)
from vecprod_gpu.linreg.search import linreg_search

matplotlib.use("Agg")

METRICS = {"r2": r2_score, "mse": mean_squared_error, "rmse": root_mean_squared_error}
# Scores are sums of some hundred products in another order, and of the solution of a system whose condition
# is below 1e3: 1e-12 at worst. Scores are of order 1.
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def draw(rng, n=120, d=6, tail=(), noise=1.0):
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d))) + 3
    true = rng.standard_normal((d, *tail))
    return X, X @ true + noise * rng.standard_normal((n, *tail)) - 2


class ScaledRidge(Ridge):
    """Ridge whose penalty counts per row, as ours does."""

    def __init__(self, l2=0.0, fit_intercept=True):
        super().__init__(alpha=l2, fit_intercept=fit_intercept)
        self.l2 = l2

    def fit(self, X, y, sample_weight=None):
        self.alpha = self.l2 * (len(X) if sample_weight is None else sample_weight.sum())
        return super().fit(X, y, sample_weight)


def loop(fit, X, y, pairs, metric, weights=None):
    """Score of each split: `fit` gives coefficients and intercept from X, y and weights."""
    scores = []
    s = np.ones(len(X)) if weights is None else weights
    for train, test in pairs:
        coef, intercept = fit(X[train], y[train], s[train])
        scores.append(metric(y[test], X[test] @ coef + intercept, sample_weight=s[test]))
    return np.array(scores)


def descend(X, y, s, rate, steps, l1=0.0, l2=0.0, fit_intercept=True):
    """Proximal gradient descent on the rows themselves."""
    x_mean, y_mean = (np.average(a, 0, s) * fit_intercept for a in (X, y))
    A, b, w = X - x_mean, y - y_mean, np.zeros((X.shape[1], *y.shape[1:]))
    S = s.reshape(-1, *(1,) * (y.ndim - 1))
    if rate == "auto":
        rate = 1 / (np.linalg.eigvalsh(A.T @ (s[:, None] * A) / s.sum())[-1] + l2)
    for _ in range(steps):
        w = w - rate * (A.T @ (S * (A @ w - b)) / s.sum() + l2 * w)
        w = np.sign(w) * np.maximum(np.abs(w) - rate * l1, 0)
    return w, y_mean - x_mean @ w


SPLITTERS = {
    "5": lambda X: 5,
    "KFold": lambda X: KFold(4),
    "shuffled KFold": lambda X: KFold(4, shuffle=True, random_state=7),
    "GroupKFold": lambda X: list(GroupKFold(4).split(X, None, np.arange(len(X)) % 9)),
    "ShuffleSplit": lambda X: ShuffleSplit(4, test_size=0.3, random_state=3),
    "TimeSeriesSplit": lambda X: TimeSeriesSplit(4),
    "RepeatedKFold": lambda X: RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
}


@pytest.mark.parametrize("name", SPLITTERS)
@pytest.mark.parametrize("tail", [(), (2,)])
def test_ridge_equals_grid_search_cv(host_backend, rng, name, tail):
    X, y = draw(rng, tail=tail)
    l2 = [0.0, 1e-3, 0.1, 1.0, 10.0]
    cv = SPLITTERS[name](X)
    ours = linreg_search(X, y, l2=l2, cv=cv)
    theirs = GridSearchCV(ScaledRidge(), {"l2": l2}, cv=cv, scoring="r2").fit(X, y)
    assert ours.best_index == theirs.best_index_
    assert ours.best_params["l2"] == theirs.best_params_["l2"]
    assert ours.n_splits == theirs.n_splits_
    result = ours.to_dict()
    for key, expected in theirs.cv_results_.items():
        if "score" in key and "time" not in key:
            np.testing.assert_allclose(result[key], expected, **CLOSE)
    np.testing.assert_allclose(ours.coef, theirs.best_estimator_.coef_.T, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.score(X, y), theirs.score(X, y), rtol=1e-9)
    assert ours.reads == 1


@pytest.mark.parametrize("scoring", METRICS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tail", [(), (3,)])
def test_scores_and_weights(host_backend, rng, scoring, fit_intercept, weighted, tail):
    X, y = draw(rng, tail=tail)
    s = rng.uniform(0.1, 3, len(X)) if weighted else None
    l2 = [0.01, 1.0]
    ours = linreg_search(
        X, y, l2=l2, cv=3, scoring=scoring, fit_intercept=fit_intercept, sample_weight=s, random_state=4
    )
    pairs = list(KFold(3, shuffle=True, random_state=4).split(X))
    for point, penalty in enumerate(l2):

        def fit(X, y, s, penalty=penalty):
            model = Ridge(penalty * s.sum(), fit_intercept=fit_intercept).fit(X, y, s)
            return model.coef_.T, model.intercept_

        expected = loop(fit, X, y, pairs, METRICS[scoring], s)
        np.testing.assert_allclose(ours.scores[:, point], expected, **CLOSE)
    best = np.argmax if scoring == "r2" else np.argmin
    assert ours.best_index == best(ours.mean_scores)
    assert ours.ranks[ours.best_index] == 1
    assert ours.best_score == ours.mean_scores[ours.best_index]


def test_weights_are_repeated_rows(host_backend, rng):
    X, y = draw(rng)
    times = rng.integers(0, 4, len(X))
    which = np.repeat(np.arange(len(X)), times)
    pairs = list(KFold(3).split(X))
    repeated = [tuple(np.flatnonzero(np.isin(which, part)) for part in pair) for pair in pairs]
    how = {"l2": [0.0, 0.5], "l1": [0.0, 0.1], "scoring": "mse"}
    ours = linreg_search(X, y, cv=pairs, sample_weight=times, **how)
    theirs = linreg_search(X[which], y[which], cv=repeated, **how)
    # Coordinate descent ends within 1e-12 of the mean square of y.
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-8)
    np.testing.assert_allclose(ours.coef, theirs.coef, rtol=1e-7)


@pytest.mark.parametrize("tail", [(), (2,)])
def test_elastic_nets_equal_those_of_scikit_learn(host_backend, rng, tail):
    X, y = draw(rng, tail=tail)
    l1, l2 = [0.5, 0.01, 0.1], [0.0, 0.3]
    ours = linreg_search(X, y, l1=l1, l2=l2, cv=4)
    pairs = list(KFold(4).split(X))
    for point, params in enumerate(ours.to_dict()["params"]):
        strength = params["l1"] + params["l2"]

        def fit(X, y, s, strength=strength, share=params["l1"] / strength):
            columns = y.reshape(len(y), -1).T
            models = [
                ElasticNet(strength, l1_ratio=share, tol=1e-14, max_iter=100_000).fit(X, c) for c in columns
            ]
            coef, intercept = np.array([m.coef_ for m in models]).T, np.array([m.intercept_ for m in models])
            return (coef, intercept) if y.ndim > 1 else (coef[:, 0], intercept[0])

        expected = loop(fit, X, y, pairs, r2_score)
        # Both end where the duality gap is small, 1e-12 here: the coefficients are off by its root at most,
        # and in practice by far less; the score is flat to first order only at the optimum.
        np.testing.assert_allclose(ours.scores[:, point], expected, rtol=1e-7, atol=1e-9)
    assert ours.solver == "cd"


def test_explicit_solvers_agree(host_backend, rng):
    X, y = draw(rng)
    how = {"l2": [0.01, 0.4], "cv": 3}
    auto = linreg_search(X, y, **how)
    for solver, given in (
        ("eigh", {}),
        ("cholesky", {}),
        ("cd", {"max_iter": 5000}),
        ("comoments", {"max_iter": 100_000}),
    ):
        other = linreg_search(X, y, solver=solver, **how, **given)
        # Coordinate descent ends within 1e-12 of the mean square of y; the others lose less.
        np.testing.assert_allclose(other.scores, auto.scores, rtol=1e-6 if solver == "cd" else 1e-9)
        assert other.solver == solver
        assert other.reason == "it was asked for"
    assert auto.solver in ("cholesky", "eigh")
    assert "no learning_rate" in auto.reason


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("tail", [(), (2,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_descents_equal_loops_over_the_rows(host_backend, rng, fit_intercept, tail, weighted):
    X, y = draw(rng, 60, 4, tail)
    X -= 3
    s = rng.uniform(0.5, 2, 60) if weighted else None
    l1, l2, rates, steps = [0.0, 0.2], [0.0, 0.3], [0.003, "auto", 0.1], [0, 1, 40, 7]
    ours = linreg_search(
        X,
        y,
        l1=l1,
        l2=l2,
        learning_rate=rates,
        max_iter=steps,
        cv=3,
        scoring="mse",
        fit_intercept=fit_intercept,
        sample_weight=s,
    )
    pairs = list(KFold(3).split(X))
    assert ours.solver == "comoments"
    for point, params in enumerate(ours.to_dict()["params"]):

        def fit(X, y, s, p=params):
            return descend(X, y, s, p["learning_rate"], p["max_iter"], p["l1"], p["l2"], fit_intercept)

        expected = loop(fit, X, y, pairs, mean_squared_error, s)
        np.testing.assert_allclose(ours.scores[:, point], expected, rtol=1e-10)
    best = ours.best_params
    s = np.ones(60) if s is None else s
    coef, intercept = descend(
        X, y, s, best["learning_rate"], best["max_iter"], best["l1"], best["l2"], fit_intercept
    )
    np.testing.assert_allclose(ours.coef, coef, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.intercept, intercept, rtol=1e-9, atol=1e-12)
    assert ours.fit.n_iter == best["max_iter"]


def test_rates_that_overshoot_and_that_lead_straight_to_the_end(rng):
    """On one column ``1 - η λ`` is 0, negative, or -1 at the bound."""
    X = rng.standard_normal((40, 1))
    y = 2 * X[:, 0] + rng.standard_normal(40)
    pairs = [(np.arange(40), np.arange(40))]
    curvature = X[:, 0].var()
    rates = (np.array([1.0, 1.5, 1.999]) / curvature).tolist()
    ours = linreg_search(X, y, learning_rate=rates, max_iter=[0, 1, 2, 5], cv=pairs, scoring="mse")
    for point, params in enumerate(ours.to_dict()["params"]):

        def fit(X, y, s, p=params):
            return descend(X, y, s, p["learning_rate"], p["max_iter"])

        np.testing.assert_allclose(
            ours.scores[:, point], loop(fit, X, y, pairs, mean_squared_error), rtol=1e-12
        )


def test_points_in_several_blocks(rng, monkeypatch):
    from vecprod_gpu.linreg._search import candidates

    X, y = draw(rng)
    how = {
        "learning_rate": [0.001, 0.002, 0.005],
        "max_iter": [3, 30, 300],
        "l2": [0.1, 0.2],
        "l1": [0.0, 0.1],
    }
    whole = linreg_search(X, y, **how)
    closed = linreg_search(X * 10.0 ** np.arange(6), y, l2=[0.0, 0.1, 1.0])
    for name in ("BLOCK_NUMBERS", "STEP_NUMBERS", "MATRIX_NUMBERS"):
        monkeypatch.setattr(candidates, name, 1)
    np.testing.assert_array_equal(linreg_search(X, y, **how).scores, whole.scores)
    blocked = linreg_search(X * 10.0 ** np.arange(6), y, l2=[0.0, 0.1, 1.0])
    np.testing.assert_allclose(blocked.scores, closed.scores, rtol=1e-13)


def test_x_is_read_once(rng, monkeypatch):
    module = load("cpu")
    seen = []
    original = module.co_moments

    def counting(X, *others, **how):
        seen.append(X.shape[1])
        original(X, *others, **how)

    monkeypatch.setattr(module, "co_moments", counting)
    X, y = draw(rng, 1003)
    with vp.use_backend("cpu"):
        for cv in (7, TimeSeriesSplit(4), KFold(5, shuffle=True, random_state=0)):
            seen.clear()
            found = linreg_search(X, y, l1=[0.0, 0.1], l2=np.geomspace(1e-3, 1, 9), cv=cv)
            assert sum(seen) == 1003
            assert found.reads == 1


@pytest.mark.parametrize("scoring", ["r2", "mse", "rmse"])
@pytest.mark.parametrize("tail", [(), (2,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_nearly_exact_fits_are_scored_by_residuals(host_backend, rng, scoring, tail, weighted):
    X, y = draw(rng, tail=tail, noise=1e-7)
    s = rng.uniform(0.5, 2, len(X)) if weighted else None
    l2 = [0.0, 1e-8, 1e-6, 1.0]
    ours = linreg_search(X, y, l2=l2, cv=4, scoring=scoring, sample_weight=s)
    assert ours.reads == 2
    pairs = list(KFold(4).split(X))
    for point, penalty in enumerate(l2):

        def fit(X, y, s, penalty=penalty):
            A, b = X - np.average(X, 0, s), y - np.average(y, 0, s)
            H = A.T @ (s[:, None] * A) / s.sum() + penalty * np.eye(6)
            S = s.reshape(-1, *(1,) * len(tail))
            w = np.linalg.solve(H, A.T @ (S * b) / s.sum())
            return w, np.average(y, 0, s) - np.average(X, 0, s) @ w

        expected = loop(fit, X, y, pairs, METRICS[scoring], s)
        # Residuals of 1e-7 of numbers near 10 have 8 digits; their relative error is 1e-15 * 10 / 1e-7.
        np.testing.assert_allclose(ours.scores[:, point], expected, rtol=1e-6)


def test_nearly_exact_descents_and_gathered_rows(rng):
    X, y = draw(rng, noise=0.0)
    steps = [10, 100_000]
    ours = linreg_search(
        X, y, learning_rate="auto", max_iter=steps, scoring="mse", random_state=0, l1=[0, 1e-9]
    )
    assert 1 < ours.reads <= 2
    assert (ours.mean_scores.reshape(2, 2)[:, 1] < 1e-12).all()
    assert ours.mean_scores[1] < 1e-24


def test_badly_scaled_columns(host_backend, rng):
    X, y = draw(rng)
    scales = 10.0 ** np.array([-6, 6, 0, 3, -3, 5])
    plain = linreg_search(X, y, l2=0.0)
    scaled = linreg_search(X * scales, y, l2=0.0)
    np.testing.assert_allclose(scaled.scores, plain.scores, **CLOSE)
    np.testing.assert_allclose(scaled.coef * scales, plain.coef, rtol=1e-9)


def test_dependent_columns_take_the_solution_of_least_norm(host_backend, rng):
    X, y = draw(rng)
    X = np.column_stack([X, X[:, 0] + X[:, 1]])
    with pytest.warns(np.exceptions.RankWarning):
        ours = linreg_search(X, y, cv=4)

    def fit(X, y, s):
        model = LinearRegression().fit(X, y)
        return model.coef_, model.intercept_

    np.testing.assert_allclose(ours.scores[:, 0], loop(fit, X, y, KFold(4).split(X), r2_score), **CLOSE)
    with pytest.raises(SingularError, match="training set of split 0"):
        linreg_search(X, y, solver="cholesky")


def test_more_columns_than_rows(rng):
    X, y = draw(rng, 12, 20)
    ours = linreg_search(X, y, l2=[0.01, 1.0], cv=3)
    theirs = GridSearchCV(ScaledRidge(), {"l2": [0.01, 1.0]}, cv=3).fit(X, y)
    np.testing.assert_allclose(ours.mean_scores, theirs.cv_results_["mean_test_score"], **CLOSE)


def test_float32_and_integers(host_backend, rng):
    X, y = draw(rng)
    narrow = linreg_search(X.astype(np.float32), y.astype(np.float32), l2=[0.0, 0.1])
    wide = linreg_search(
        X.astype(np.float32).astype(float), y.astype(np.float32).astype(float), l2=[0.0, 0.1]
    )
    assert narrow.coef.dtype == np.float32
    assert narrow.scores.dtype == np.float64
    np.testing.assert_allclose(narrow.scores, wide.scores, rtol=1e-11)  # the sums are float64 in both
    whole = (10 * X).round().astype(np.int16)
    np.testing.assert_array_equal(
        linreg_search(whole, y).scores, linreg_search(whole.astype(float), y).scores
    )


def test_constant_targets(rng):
    """As scikit-learn: met exactly they count 1, otherwise 0."""
    X, y = draw(rng, 40)
    assert linreg_search(X, np.full(40, 0.1), cv=4).scores.tolist() == [[1.0]] * 4
    y[:10] = 0.1
    assert linreg_search(X, y, cv=4).scores[0] == 0


@pytest.mark.parametrize("tail", [(), (2,)])
def test_a_function_scores(rng, tail):
    X, y = draw(rng, tail=tail)
    calls = []

    def scoring(true, predicted):
        calls.append((true.shape, predicted.shape))
        return -mean_squared_error(true, predicted)

    how = {"l2": [0.0, 0.1], "l1": [0.0, 0.2], "cv": 4, "random_state": 1}
    ours, theirs = linreg_search(X, y, scoring=scoring, **how), linreg_search(X, y, scoring="mse", **how)
    np.testing.assert_allclose(ours.scores, -theirs.scores, rtol=1e-10)
    assert ours.best_index == theirs.best_index
    assert ours.reads == 2
    assert calls == [((30, *tail), (30, *tail))] * 16
    with pytest.raises(ArgumentError, match="scoring returned 'much'; needed is a number"):
        linreg_search(X, y, scoring=lambda true, predicted: "much")


def test_predictions_in_several_blocks(rng, monkeypatch):
    from vecprod_gpu.linreg._search import scores

    monkeypatch.setattr(scores, "PREDICTION_BYTES", 1)
    X, y = draw(rng)
    ours = linreg_search(X, y, l2=[0.0, 0.1, 1.0], scoring=r2_score)
    np.testing.assert_allclose(ours.scores, linreg_search(X, y, l2=[0.0, 0.1, 1.0]).scores, rtol=1e-10)


@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_rates_that_diverge(rng, l1):
    X, y = draw(rng)
    largest = np.linalg.eigvalsh(np.cov(X.T))[-1]
    rates = [0.5 / largest, 5 / largest, "auto"]
    with pytest.warns(
        RuntimeWarning, match="diverges at 2 of 9 points.* largest stable learning_rate is"
    ) as seen:
        ours = linreg_search(X, y, l1=l1, learning_rate=rates, max_iter=[0, 5, 50])
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert f"learning_rate {rates[1]:.6g} with l2 0" in str(seen[0].message)
    np.testing.assert_array_equal(np.isnan(ours.mean_scores), [False] * 4 + [True] * 2 + [False] * 3)
    assert (ours.ranks[4:6] == 8).all()
    assert ours.best_index not in (4, 5)
    with pytest.raises(DivergenceError, match=r'every learning_rate, from .*largest stable one is .*"auto"'):
        linreg_search(X, y, l1=l1, learning_rate=[5 / largest, 9 / largest])


def test_a_rate_that_diverges_on_some_training_sets_alone(rng):
    X, y = draw(rng, 100, 1)
    X[:20] *= 30  # so that the training set without them alone is stable
    pairs = list(KFold(5).split(X))
    curvatures = [X[train].var() for train, _ in pairs]
    rate = float(1 / curvatures[0])
    assert rate > 2 / min(curvatures[1:])
    with pytest.warns(RuntimeWarning, match="diverges at 1 of 2 points"):
        ours = linreg_search(X, y, learning_rate=[rate, "auto"], max_iter=10)
    assert np.isnan(ours.scores[:, 0]).all()  # it diverges on all rows too, so that it is of no use
    assert ours.best_params["learning_rate"] == "auto"


def test_a_rate_that_diverges_on_all_rows_alone(rng):
    X, y = draw(rng, 40, 1)
    X[20:] += 30  # each half varies little, but the two are far apart
    with pytest.warns(RuntimeWarning, match="diverges at 1 of 2 points"):
        ours = linreg_search(X, y, learning_rate=[float(1 / X[:20].var()), "auto"], max_iter=3, cv=2)
    assert np.isnan(ours.scores[:, 0]).all()
    assert np.isfinite(ours.scores[:, 1]).all()


def test_to_dict_has_the_order_of_grid_search_cv(rng):
    X, y = draw(rng)
    values = {"l1": [0.0, 0.1], "l2": [0.3, 0.2], "learning_rate": ["auto", 0.01], "max_iter": [5, 10, 1]}
    ours = linreg_search(X, y, cv=3, **values)
    table = ours.to_dict()
    assert table["params"] == list(ParameterGrid(values))
    assert ours.best_params == table["params"][ours.best_index]
    assert set(table) == {
        *(f"param_{name}" for name in values),
        *(f"split{i}_test_score" for i in range(3)),
        "params",
        "mean_test_score",
        "std_test_score",
        "rank_test_score",
    }
    for name in values:
        assert table[f"param_{name}"].tolist() == [params[name] for params in table["params"]]
    assert all(len(column) == 24 for column in table.values())
    assert type(ours.best_params["max_iter"]) is int
    assert type(ours.best_params["l1"]) is float
    np.testing.assert_array_equal(table["mean_test_score"], ours.scores.mean(0))
    np.testing.assert_array_equal(table["std_test_score"], ours.scores.std(0))
    assert "SearchResult(best_params={'l1'" in repr(ours)


def test_to_dict_makes_a_data_frame(rng):
    pandas = pytest.importorskip("pandas")
    X, y = draw(rng)
    frame = pandas.DataFrame(linreg_search(X, y, l2=[0.1, 0.2]).to_dict())
    assert frame.shape == (2, 13)


def test_equals_share_a_rank(rng):
    X, y = draw(rng)
    ours = linreg_search(X, y, l2=[1.0, 0.5, 1.0, 0.5])
    theirs = GridSearchCV(ScaledRidge(), {"l2": [1.0, 0.5, 1.0, 0.5]}).fit(X, y)
    np.testing.assert_array_equal(ours.ranks, theirs.cv_results_["rank_test_score"])
    twice = linreg_search(X, y, l1=[0.0, 0.0], l2=[1.0, 0.5], learning_rate=0.01)
    np.testing.assert_array_equal(twice.scores[:, :2], twice.scores[:, 2:])


def test_scalars_and_other_sequences(rng):
    X, y = draw(rng)
    ours = linreg_search(X, y, l1=0, l2=np.float32(0.5), learning_rate=0.01, max_iter=np.int64(10))
    assert ours.best_params == {"l1": 0.0, "l2": 0.5, "learning_rate": 0.01, "max_iter": 10}
    grid = linreg_search(
        X.tolist(), y.tolist(), l2=(0.5, 1), learning_rate=np.array([0.01]), max_iter=range(9, 11)
    )
    assert grid.scores.shape == (5, 4)
    np.testing.assert_allclose(grid.scores[:, 1], ours.scores[:, 0], rtol=1e-12)


def test_single_rows_held_out(rng):
    X, y = draw(rng, 10, 2)
    ours = linreg_search(X, y, l2=[0.1], cv=10, scoring="mse")
    theirs = GridSearchCV(ScaledRidge(), {"l2": [0.1]}, cv=10, scoring="neg_mean_squared_error").fit(X, y)
    np.testing.assert_allclose(ours.mean_scores, -theirs.cv_results_["mean_test_score"], **CLOSE)
    with pytest.raises(
        ArgumentError, match='"r2" needs at least two rows to score, but split 0 holds out one'
    ):
        linreg_search(X, y, cv=10)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"l1": -0.1}, ArgumentError, "l1 must be finite and at least 0.0; it is -0.1"),
        ({"l2": [0.1, np.nan]}, ArgumentError, "l2 must be finite and at least 0.0; it is nan"),
        ({"l2": []}, ArgumentError, "l2 is empty; needed is at least one value"),
        ({"l2": [[0.1]]}, DTypeError, "l2 must be a real number, not list"),
        ({"l2": np.ones((1, 1))}, ShapeError, r"l2 has shape \(1, 1\)"),
        ({"l2": "0.1"}, DTypeError, "l2 must be a real number, not str"),
        ({"learning_rate": [0.1, 0]}, ArgumentError, "learning_rate must be finite and more than 0"),
        (
            {"learning_rate": "fast"},
            ArgumentError,
            "learning_rate must hold numbers or \"auto\"; it holds 'fast'",
        ),
        ({"max_iter": [10, -1]}, ArgumentError, "max_iter must be at least 0; it is -1"),
        ({"max_iter": 1.5}, DTypeError, "max_iter must be an integer, not 1.5"),
        ({"solver": "gd"}, ArgumentError, "solver is 'gd', which would read X anew for every point and fold"),
        ({"solver": "svd"}, ArgumentError, "solver is 'svd', which would read X anew"),
        ({"solver": "newton"}, ArgumentError, "solver is 'newton'; there are 'auto', 'comoments', 'cd'"),
        ({"solver": "eigh", "l1": 0.1}, ArgumentError, "l1 must be 0 for the solver eigh"),
        (
            {"solver": "cholesky", "max_iter": 5},
            ArgumentError,
            "learning_rate and max_iter are not for cholesky",
        ),
        ({"solver": "cd", "learning_rate": 0.1}, ArgumentError, "learning_rate is for the solver comoments"),
        ({"scoring": "accuracy"}, ArgumentError, "scoring is 'accuracy'; there are 'r2', 'mse', 'rmse'"),
        ({"cv": 1}, ArgumentError, "cv is 1; needed are at least 2 folds"),
        ({"cv": 121}, ArgumentError, "cv is 121; .*n_samples=120"),
        ({"sample_weight": -np.ones(120)}, ArgumentError, "sample_weight must not be negative"),
        ({"sample_weight": np.ones(3)}, ShapeError, r"sample_weight has shape \(3,\)"),
    ],
)
def test_bad_arguments(rng, how, error, message):
    X, y = draw(rng)
    with pytest.raises(error, match=message):
        linreg_search(X, y, **how)


def test_a_wrong_flag_is_told_before_the_data_are_read():
    with pytest.raises(vp.errors.DTypeError, match="fit_intercept must be True or False, not 'no'"):
        vp.linreg_search(np.full((9, 2), np.nan), np.ones(9), fit_intercept="no")


def test_bad_data(rng):
    X, y = draw(rng)
    with pytest.raises(ShapeError, match=r"X has shape \(2, 60, 6\); needed is \(n, d\)"):
        linreg_search(X.reshape(2, 60, 6), y.reshape(2, 60))
    with pytest.raises(ArgumentError, match="X is a CoMoments, which has no rows to hold out"):
        linreg_search(vp.CoMoments.from_arrays(X, y), None)
    with pytest.raises(ShapeError, match="y has shape"):
        linreg_search(X, y[:-1])
    X[97, 2] = np.nan
    for random_state in (None, 3):
        with pytest.raises(NotFiniteError, match="X holds nan at row 97, column 2"):
            linreg_search(X, y, random_state=random_state)


def test_a_memory_map(rng, tmp_path):
    X, y = draw(rng)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for seed in (None, 0):
        ours = linreg_search(mapped, y, l2=[0.1, 1.0], random_state=seed)
        np.testing.assert_array_equal(
            ours.scores, linreg_search(X, y, l2=[0.1, 1.0], random_state=seed).scores
        )


def test_cupy_arrays(rng):
    cupy = pytest.importorskip("cupy")
    X, y = draw(rng)
    with vp.use_backend("cupy"):
        for how in ({}, {"random_state": 0}, {"scoring": r2_score}):
            found = linreg_search(cupy.asarray(X), cupy.asarray(y), l2=[0.1, 1.0], **how)
            expected = linreg_search(X, y, l2=[0.1, 1.0], **how)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-12)
            assert type(found.coef) is type(cupy.asarray(X))
            np.testing.assert_allclose(found.coef.get(), expected.coef, rtol=1e-12)


def test_numba_arrays(rng):
    from numba import cuda

    X, y = draw(rng, 20, 2)
    with vp.use_backend("numba-cuda"):
        found = linreg_search(cuda.to_device(X), cuda.to_device(y), l2=[0.1, 1.0], cv=3)
        expected = linreg_search(X, y, l2=[0.1, 1.0], cv=3)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-12)
        with pytest.raises(DeviceError, match=r"cupy\.asarray"):
            linreg_search(cuda.to_device(X), cuda.to_device(y), random_state=0)
        with pytest.raises(DeviceError, match=r"cupy\.asarray"):
            linreg_search(cuda.to_device(X), cuda.to_device(y), cv=ShuffleSplit(2, random_state=0))


def test_a_curve(rng):
    X, y = draw(rng)
    l2 = [1.0, 1e-3, 0.1, 10.0]
    ours = linreg_search(X, y, l2=l2)
    ax = ours.plot()
    mean, best = ax.lines
    np.testing.assert_array_equal(mean.get_xdata(), np.sort(l2))
    np.testing.assert_array_equal(mean.get_ydata(), ours.mean_scores[np.argsort(l2)])
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (ours.best_params["l2"], ours.best_score)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose(band.max(), (ours.mean_scores + ours.std_scores).max())
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("l2", "r2", "log")
    assert ax.get_title() == "r2 of 5 splits"


@pytest.mark.parametrize(
    ("how", "scale", "label"),
    [
        ({"l2": [0.0, 1e-3, 1.0]}, "symlog", "l2"),
        ({"l2": [1.0, 2.0]}, "linear", "l2"),
        ({"learning_rate": ["auto", 0.01]}, "linear", "learning_rate"),
        ({"max_iter": [1, 10, 1000], "learning_rate": 0.01}, "log", "max_iter"),
        ({}, "linear", "l2"),
    ],
)
def test_axes_of_a_curve(rng, how, scale, label):
    X, y = draw(rng)
    figure, ax = matplotlib.pyplot.subplots()
    assert linreg_search(X, y, scoring=r2_score, **how).plot(ax) is ax
    assert (ax.get_xlabel(), ax.get_xscale(), ax.get_ylabel()) == (label, scale, "score")
    if "learning_rate" in label:
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["auto", "0.01"]
    matplotlib.pyplot.close(figure)


def test_a_heat_map(rng):
    X, y = draw(rng)
    ours = linreg_search(X, y, l2=[0.0, 0.1], learning_rate=[0.001, 0.01, 0.02], max_iter=20, scoring="mse")
    ax = ours.plot()
    np.testing.assert_array_equal(ax.images[0].get_array(), ours.mean_scores.reshape(2, 3))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learning_rate", "l2")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.001", "0.01", "0.02"]
    row, column = divmod(ours.best_index, 3)
    assert (ax.lines[0].get_xdata()[0], ax.lines[0].get_ydata()[0]) == (column, row)
    matplotlib.pyplot.close(ax.figure)


def test_a_heat_map_of_the_two_that_matter(rng):
    X, y = draw(rng)
    ours = linreg_search(
        X, y, l2=[0.0, 1e-9], learning_rate=np.geomspace(1e-4, 1e-2, 20), max_iter=[1, 10, 100]
    )
    ax = ours.plot()
    best = ours.best_params["l2"]
    shown = ours.mean_scores.reshape(2, 20, 3)[0 if best == 0 else 1]
    np.testing.assert_array_equal(ax.images[0].get_array(), shown)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("learning_rate", "max_iter")
    assert ax.get_title().endswith(f"l2 = {best:.3g}")
    assert len(ax.get_yticks()) == 8
    matplotlib.pyplot.close(ax.figure)


def test_plots_of_missing_scores(rng):
    X, y = draw(rng)
    how = {"l1": [0.0, 0.1], "l2": [0.0, 0.1], "learning_rate": [0.01, 0.02], "max_iter": 5}
    for scoring in (r2_score, lambda true, predicted: np.nan):
        ax = linreg_search(X, y, scoring=scoring, **how).plot()
        assert ax.images[0].get_array().shape == (2, 2)
        matplotlib.pyplot.close(ax.figure)


def test_plot_without_matplotlib(rng, monkeypatch):
    X, y = draw(rng)
    ours = linreg_search(X, y)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "vecprod-gpu\[demo\]"'):
        ours.plot()


def test_no_warning_without_a_reason(rng):
    X, y = draw(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linreg_search(X, y, l1=[0.0, 0.1], l2=[0.0, 0.1])
        linreg_search(X, y, l1=[0.0, 0.1], learning_rate=["auto", 1e-3], max_iter=[0, 1, 10, 10_000])
        linreg_search(X * [1, 1, 1, 1, 1, 0], y, learning_rate="auto", max_iter=10)
