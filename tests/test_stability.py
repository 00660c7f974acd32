"""Learning rates at which a descent stands or falls, and data that no descent can stand."""

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu.linreg._solvers import data

MOMENTUM = {
    "plain": ({}, 2.0),
    "heavy ball": ({"momentum": 0.9}, 2 * 1.9),
    "light ball": ({"momentum": 0.5}, 2 * 1.5),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, 2 * 1.9 / 2.8),
}


def draw(rng, n=60, d=4, lead=()):
    X = rng.standard_normal((*lead, n, d))
    return X, X @ np.arange(1.0, d + 1) + rng.standard_normal((*lead, n))


def largest(X):
    A = X - X.mean(0)
    return np.linalg.eigvalsh(A.T @ A / len(X))[-1]


@pytest.mark.parametrize("name", MOMENTUM)
@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("solver", ["gd", "comoments"])
def test_the_bound_is_the_bound(host_backend, rng, name, l2, solver):
    how, factor = MOMENTUM[name]
    if how and solver == "comoments":
        return
    X, y = draw(rng)
    bound = factor / (largest(X) + l2)
    how = {**how, "l2": l2, "solver": solver, "max_iter": 9_000, "tol": 1e-6}
    assert vp.linreg_fit(X, y, learning_rate=0.999 * bound, **how).converged
    for beyond in (1.001, 1.5, 20):
        with pytest.raises(vp.errors.DivergenceError) as raised:
            vp.linreg_fit(X, y, learning_rate=beyond * bound, **how)
        words = f"diverges at learning_rate {beyond * bound:.6g}; the largest stable one is {bound:.6g}"
        assert words in str(raised.value)
        assert isinstance(raised.value, ArithmeticError)


@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_slow_growth_is_seen_too(host_backend, rng, l1):
    X, y = draw(rng)
    # The part along the steepest direction grows by 0.06 % in a step, the objective by twice as much.
    for solver in ("gd", "comoments"):
        with pytest.raises(vp.errors.DivergenceError):
            vp.linreg_fit(X, y, solver=solver, learning_rate=2.0006 / largest(X), l1=l1, max_iter=9_000)


@pytest.mark.parametrize("solver", ["gd", "comoments"])
def test_rates_of_single_models(host_backend, rng, solver):
    X, y = draw(rng)
    bound = 2 / largest(X)
    with pytest.raises(vp.errors.DivergenceError, match=f"at learning_rate {1.2 * bound:.6g}; the"):
        vp.linreg_fit(X, y, solver=solver, learning_rate=[0.5 * bound, 1.2 * bound, 1.1 * bound])
    l2 = np.array([0.0, 1.0])
    bounds = 2 / (largest(X) + l2)
    assert vp.linreg_fit(X, y, solver=solver, learning_rate=0.99 * bounds, l2=l2, max_iter=5000).converged
    with pytest.raises(vp.errors.DivergenceError, match=f"the largest stable one is {bounds[1]:.6g}"):
        vp.linreg_fit(X, y, solver=solver, learning_rate=0.99 * bounds[0], l2=l2, max_iter=5000)


@pytest.mark.parametrize("solver", ["gd", "comoments"])
def test_the_steepest_problem_of_a_batch_decides(host_backend, rng, solver):
    X, y = draw(rng, lead=(3,))
    X[1] *= 4
    bound = 2 / largest(X[1])
    with pytest.raises(vp.errors.DivergenceError, match=f"the largest stable one is {bound:.6g}"):
        vp.linreg_fit(X, y, solver=solver, learning_rate=2 * bound)


@pytest.mark.parametrize("solver", ["gd", "comoments"])
@pytest.mark.parametrize("how", [{}, {"l1": 0.1}])
def test_no_step_no_divergence(host_backend, rng, solver, how):
    X, y = draw(rng)
    assert vp.linreg_fit(X, y, solver=solver, learning_rate=1e9, max_iter=0, **how).n_iter == 0
    flat = vp.linreg_fit(np.ones((5, 2)), np.arange(5.0), solver=solver, learning_rate=1e9, max_iter=5, **how)
    assert not flat.coef.any()


@pytest.mark.parametrize("how", [how for how, _ in MOMENTUM.values()])
def test_the_automatic_rate_is_stable_with_momentum(host_backend, rng, how):
    X, y = draw(rng)
    X[:, 2] *= 5
    fit = vp.linreg_fit(X, y, solver="gd", tol=1e-8, max_iter=9_000, **how)
    assert fit.converged
    assert fit.learning_rate == pytest.approx(1 / largest(X), rel=1e-10)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("n", "d", "decay"), [(50, 300, 0.0), (400, 100, 0.0), (100, 60, 1.0)])
def test_wide_data_have_a_rate_without_a_gram_matrix(host_backend, rng, monkeypatch, dtype, n, d, decay):
    X, y = draw(rng, n, d)
    X = (X * np.arange(1, d + 1) ** -decay).astype(dtype)
    rate = {}
    for most in (20, 4096):
        monkeypatch.setattr(data, "MOST_COLUMNS", most)
        rate[most] = vp.linreg_fit(X, y.astype(dtype), solver="gd", max_iter=1).learning_rate
    assert rate[4096] == pytest.approx(1 / largest(X.astype(float)), rel=1e-6)
    assert rate[20] == pytest.approx(rate[4096], rel=0.02)
    bound = 2 * rate[4096]
    monkeypatch.setattr(data, "MOST_COLUMNS", 20)
    with pytest.raises(vp.errors.DivergenceError) as raised:
        vp.linreg_fit(X, y.astype(dtype), solver="gd", learning_rate=1.05 * bound, max_iter=5000)
    named = float(str(raised.value).split("stable one is ")[1].split(",")[0])
    assert 0.98 * bound <= named <= 1.001 * bound


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("most", [2, 4096])
@pytest.mark.parametrize("where", ["X", "y"])
@pytest.mark.parametrize("solver", ["auto", "gd", "comoments", "sgd", "cd", "cholesky", "eigh", "svd"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_is_named(host_backend, rng, monkeypatch, value, most, where, solver):
    monkeypatch.setattr(data, "MOST_COLUMNS", most)
    X, y = draw(rng)
    if where == "X":
        X[5, 2] = X[7, 1] = value
    else:
        y[5] = value
    words = f"{where} holds {value} at row 5" + (", column 2" if where == "X" else "")
    for how in ({}, {"learning_rate": 0.1}, {"fit_intercept": False}):
        with pytest.raises(vp.errors.NotFiniteError, match=words):
            vp.linreg_fit(X, y, solver=solver, max_iter=3, **how)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_overflow_is_no_divergence(host_backend, rng):
    X, y = draw(rng)
    with pytest.raises(vp.errors.NotFiniteError, match="overflow"):
        vp.linreg_fit(X, 1e200 * y, solver="gd", learning_rate=0.1)


def test_a_callback_does_not_see_the_step_that_runs_away(host_backend, rng):
    X, y = draw(rng)
    seen = []
    with pytest.raises(vp.errors.DivergenceError):
        vp.linreg_fit(X, y, solver="gd", learning_rate=50.0, callback=lambda *step: seen.append(step))
    assert all(np.isfinite(loss) for _, _, loss in seen)
