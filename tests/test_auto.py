"""The choice of a solver, its reasons, and how well the chosen one does on data that are hard."""

import warnings

import numpy as np
import pytest

import vecprod_gpu as vp
from tests import longley
from vecprod_gpu.linreg._solvers import data


def draw(rng, n=40, d=4, lead=()):
    X = rng.standard_normal((*lead, n, d)) + 2
    return X, rng.standard_normal((*lead, n)) + X[..., 0]


def nothing(iteration, coef, loss):
    """A callback that lets the fit go on."""


TOO_LARGE = "a Gram matrix of X would be too large"
BRANCHES = {
    "well conditioned": ("rows", {}, "cholesky", "which leaves ten digits"),
    "ridge": ("rows", {"l2": 0.1}, "cholesky", "which leaves ten digits"),
    "lasso": ("rows", {"l1": 0.1}, "cd", "coordinate descent on co-moments is the fastest"),
    "a learning rate": ("rows", {"learning_rate": 0.1}, "comoments", "learning_rate asks for steps"),
    "a callback": ("rows", {"callback": nothing, "l1": 0.1}, "comoments", "callback asks for steps"),
    "momentum": ("rows", {"momentum": 0.5}, "gd", "momentum asks for steps"),
    "batches": ("rows", {"batch_size": 8, "momentum": 0.5}, "sgd", "batch_size asks for steps from batches"),
    "near collinearity": ("nearly collinear", {}, "svd", "too large to keep ten digits"),
    "its ridge": ("nearly collinear", {"l2": 0.1}, "cholesky", "which leaves ten digits"),
    "few rows": ("short", {}, "svd", "X has no more rows than columns"),
    "few rows, one penalty": ("short", {"l2": [0, 0.1]}, "svd", "X has no more rows than columns"),
    "few rows, ridge": ("short", {"l2": 0.1}, "cholesky", "which leaves ten digits"),
    "a batch": ("batch", {}, "cholesky", "which leaves ten digits"),
    "co-moments": ("moments", {}, "cholesky", "which leaves ten digits"),
    "co-moments and steps": ("moments", {"learning_rate": 0.1}, "comoments", "learning_rate asks for steps"),
    "co-moments and lasso": ("moments", {"l1": 0.1}, "cd", "coordinate descent"),
    "short co-moments": ("short moments", {}, "eigh", "there are no data left to read for singular values"),
    "a factor": ("factor", {"l2": 0.1}, "svd", "X is a triangular factor"),
    "wide": ("wide", {}, "gd", TOO_LARGE),
    "wide and a rate": (
        "wide",
        {"learning_rate": 0.01},
        "gd",
        f"learning_rate asks for steps, and {TOO_LARGE}",
    ),
    "wide lasso": ("wide and short", {"l1": 0.1}, "gd", TOO_LARGE),
    "wide and short": ("wide and short", {}, "svd", f"{TOO_LARGE}, but X has few rows"),
    "wide batch": ("wide batch", {}, "gd", TOO_LARGE),
}


def given(rng, what):
    """Arguments of that sort."""
    n = {"short": 3, "short moments": 3, "wide and short": 5}.get(what, 40)
    d = 8 if "wide" in what else 4
    X, y = draw(rng, n, d, (2,) if "batch" in what else ())
    if what == "nearly collinear":
        X[:, 3] = X[:, 0] + 1e-6 * X[:, 3]
    if "moments" in what:
        return (vp.CoMoments.from_arrays(X, y),)
    return (vp.TSQR.from_arrays(X, y),) if what == "factor" else (X, y)


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_every_branch_and_its_reason(host_backend, rng, monkeypatch, name):
    what, how, solver, reason = BRANCHES[name]
    monkeypatch.setattr(data, "MOST_COLUMNS", 6)
    fit = vp.linreg_fit(*given(rng, what), max_iter=5, **how)
    assert fit.solver == solver
    assert reason in fit.reason
    asked = vp.linreg_fit(*given(rng, what), max_iter=5, solver=solver, **how)
    assert asked.reason == "it was asked for"
    assert asked.solver == solver


def test_a_large_batch_of_small_problems_has_gram_matrices(host_backend, rng, monkeypatch):
    monkeypatch.setattr(data, "MOST_MATRIX_BYTES", 100)
    X, y = draw(rng, lead=(3,))
    assert vp.linreg_fit(X, y).solver == "cholesky"
    assert vp.linreg_fit(X[:, :4], y[:, :4]).solver == "gd"  # 5 x 5 moments of 4 x 4 numbers


@pytest.mark.parametrize("solver", ["auto", "svd"])
def test_longley_keeps_nine_digits(host_backend, solver):
    fit = vp.linreg_fit(longley.X, longley.y, solver=solver)
    np.testing.assert_allclose(fit.coef, longley.COEF, rtol=1e-9)
    assert fit.intercept == pytest.approx(longley.INTERCEPT, rel=1e-9)
    assert fit.loss == pytest.approx(longley.RESIDUAL / (2 * len(longley.y)), rel=1e-9)
    assert fit.rank == 6


def test_a_large_mean_in_float32(host_backend, rng):
    X = (rng.standard_normal((2000, 3)) + 1e4).astype(np.float32)
    true = np.array([1.0, -2.0, 0.5])
    y = (X.astype(np.float64) - 1e4) @ true
    for solver in ("auto", "cholesky", "eigh", "svd", "comoments", "cd"):
        fit = vp.linreg_fit(X, y.astype(np.float32), solver=solver)
        np.testing.assert_allclose(fit.coef, true, atol=1e-3)


class TestDependentColumns:
    """The least-norm solution of the centred data in original units, and a warning that says so."""

    @staticmethod
    def draw(rng, fit_intercept):
        base = rng.standard_normal((200, 3)) + 3
        X = np.column_stack([base, base @ [1.0, 2, -1], base[:, 0], np.full(200, 0.1)])
        X[:, 3] *= 100
        y = rng.standard_normal(200)
        A, b = (X - X.mean(0), y - y.mean()) if fit_intercept else (X, y)
        return X, y, np.linalg.lstsq(A, b, rcond=1e-10)[0], 3 if fit_intercept else 4

    @pytest.mark.parametrize("solver", ["auto", "svd", "eigh"])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_of_arrays(self, host_backend, rng, solver, fit_intercept):
        X, y, w, rank = self.draw(rng, fit_intercept)
        with pytest.warns(np.exceptions.RankWarning, match=f"X has 6 columns, but only {rank} are") as caught:
            fit = vp.linreg_fit(X, y, solver=solver, fit_intercept=fit_intercept)
        assert caught[0].filename == __file__
        np.testing.assert_allclose(fit.coef, w, atol=1e-11)
        assert fit.rank == rank
        assert fit.gradient_norm < 1e-8

    def test_of_summaries(self, host_backend, rng):
        X, y, w, rank = self.draw(rng, True)
        for summary in (vp.CoMoments, vp.TSQR):
            with pytest.warns(np.exceptions.RankWarning):
                fit = vp.linreg_fit(summary.from_arrays(X, y))
            np.testing.assert_allclose(fit.coef, w, rtol=1e-10, atol=1e-10)
            assert fit.rank == rank

    def test_cholesky_refuses_them(self, host_backend, rng):
        X, y, _, _ = self.draw(rng, True)
        with pytest.raises(vp.errors.SingularError, match='use solver="svd", "eigh" or an l2'):
            vp.linreg_fit(X, y, solver="cholesky")

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("solver", ["auto", "svd", "eigh", "cholesky"])
    def test_a_ridge_penalty_leaves_one_solution_and_no_warning(self, host_backend, rng, solver):
        X, y, _, rank = self.draw(rng, True)
        fit = vp.linreg_fit(X, y, solver=solver, l2=0.1)
        A = X - X.mean(0)
        w = np.linalg.solve(A.T @ A / 200 + 0.1 * np.eye(6), A.T @ (y - y.mean()) / 200)
        np.testing.assert_allclose(fit.coef, w, rtol=1e-9, atol=1e-11)
        assert fit.rank == (rank if solver in ("svd", "eigh") else None)

    @pytest.mark.parametrize("n", [1, 2, 5, 6])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_more_columns_than_rows(self, host_backend, rng, n, fit_intercept):
        X, y = draw(rng, n, 6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.RankWarning)
            fit = vp.linreg_fit(X, y, fit_intercept=fit_intercept)
        A, b = (X - X.mean(0), y - y.mean()) if fit_intercept else (X, y)
        np.testing.assert_allclose(fit.coef, np.linalg.lstsq(A, b, rcond=1e-10)[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(fit.predict(X), y, rtol=1e-9, atol=1e-9)
        assert fit.rank == n - fit_intercept

    def test_only_one_problem_of_a_batch(self, host_backend, rng):
        X, y = draw(rng, lead=(2,))
        X[1, :, 3] = X[1, :, 0]
        with pytest.warns(np.exceptions.RankWarning, match="only 3 are independent"):
            fit = vp.linreg_fit(X, y)
        assert fit.rank.tolist() == [4, 3]
        assert fit.coef[1, 0] == pytest.approx(fit.coef[1, 3])


@pytest.mark.parametrize("how", [{}, {"l1": 0.1}, {"l2": [0.1, 0.2]}, {"learning_rate": 0.1, "l1": 0.1}])
@pytest.mark.parametrize("weighted", [False, True])
def test_co_moments_give_the_fit_of_the_arrays(host_backend, rng, how, weighted):
    X, y = draw(rng)
    s = rng.uniform(0, 2, 40) if weighted else None
    ours = vp.linreg_fit(vp.CoMoments.from_arrays(X, y, s), **how)
    same = vp.linreg_fit(X, y, sample_weight=s, **how)
    assert (ours.solver, ours.n_iter) == (same.solver, same.n_iter)
    np.testing.assert_array_equal(ours.coef, same.coef)
    np.testing.assert_array_equal(ours.intercept, same.intercept)
    np.testing.assert_array_equal(ours.loss_history, same.loss_history)


def test_a_factor_gives_the_fit_of_the_arrays(host_backend, rng):
    X, y = (array.astype(np.float32) for array in draw(rng))
    s = rng.uniform(0, 2, 40).astype(np.float32)
    for how in ({}, {"l2": [0.1, 0.2]}, {"fit_intercept": False}):
        ours = vp.linreg_fit(vp.TSQR.from_arrays(X, y, s), **how)
        same = vp.linreg_fit(X, y, sample_weight=s, solver="svd", **how)
        assert ours.coef.dtype == np.float32
        np.testing.assert_array_equal(ours.coef, same.coef)
        np.testing.assert_array_equal(ours.loss, same.loss)


@pytest.mark.parametrize(
    ("summary", "how", "words"),
    [
        ("CoMoments", {"solver": "svd"}, 'solver="svd" needs the data or a TSQR'),
        ("CoMoments", {"solver": "gd"}, "solver='gd' steps through the data: give X and y themselves"),
        ("CoMoments", {"batch_size": 4}, "solver='sgd' steps through the data"),
        ("CoMoments", {"momentum": 0.5}, "solver='gd' steps through the data"),
        ("CoMoments", {"y": np.ones(40)}, "X is a CoMoments, which holds y and the weights: give neither"),
        ("TSQR", {"sample_weight": np.ones(40)}, "X is a TSQR, which holds y and the weights"),
        ("TSQR", {"solver": "cholesky"}, 'a TSQR serves the solver "svd" alone'),
        ("TSQR", {"l1": 0.1}, 'a TSQR serves the solver "svd" alone'),
        ("TSQR", {"learning_rate": 0.1}, 'a TSQR serves the solver "svd" alone'),
        ("TSQR", {"callback": nothing}, 'a TSQR serves the solver "svd" alone'),
        ("TSQR", {"momentum": 0.5}, "solver='gd' steps through the data"),
        ("TSQR", {"batch_size": 4}, "solver='sgd' steps through the data"),
    ],
)
def test_what_summaries_cannot_do(host_backend, rng, summary, how, words):
    with pytest.raises(vp.errors.ArgumentError, match=words):
        vp.linreg_fit(getattr(vp, summary).from_arrays(*draw(rng)), **how)


@pytest.mark.parametrize("summary", [vp.CoMoments, vp.TSQR])
def test_summaries_without_what_a_fit_needs(host_backend, rng, summary):
    X, y = draw(rng)
    with pytest.raises(vp.errors.ArgumentError, match="was read without y"):
        vp.linreg_fit(summary.from_arrays(X))
    with pytest.raises(vp.errors.ArgumentError, match="is empty"):
        vp.linreg_fit(summary())
    with pytest.raises(vp.errors.ArgumentError, match="add up to 0: no row would count"):
        vp.linreg_fit(summary.from_arrays(X, y, np.zeros(40)))
    with pytest.raises(vp.errors.ArgumentError, match="y is missing"):
        vp.linreg_fit(X)
