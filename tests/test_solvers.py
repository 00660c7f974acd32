"""Every solver of a fit, against each other and against plain NumPy."""

import pickle
import weakref

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.test_device_arrays import as_cupy, as_numba, to_host

SOLVERS = ("gd", "comoments", "sgd", "cd", "cholesky", "eigh", "svd")
EXACT = ("cd", "cholesky", "eigh", "svd")


def draw(rng, n=30, d=3, tail=(), lead=()):
    X = rng.standard_normal((*lead, n, d)) + 2
    return X, rng.standard_normal((*lead, n, *tail)) + X[..., :1].reshape(*lead, n, *(1 for _ in tail))


def least_squares(X, y, s=None, l2=0.0, fit_intercept=True):
    """Coefficients and intercept by an SVD of the weighted rows below those of the penalty."""
    s = np.ones(len(X)) if s is None else s
    A, b = X, y
    x_mean, y_mean = np.zeros(X.shape[1]), np.zeros(y.shape[1:])
    if fit_intercept:
        x_mean, y_mean = np.average(X, 0, s), np.average(y, 0, s)
        A, b = X - x_mean, y - y_mean
    root = np.sqrt(s / s.sum())
    rows = np.vstack([root[:, None] * A, np.sqrt(l2) * np.eye(X.shape[1])])
    sides = np.concatenate([(root * b.T).T, np.zeros((X.shape[1], *y.shape[1:]))])
    w = np.linalg.lstsq(rows, sides, rcond=1e-10)[0]
    return w, y_mean - x_mean @ w


def objective(X, y, w, b, s=None, l1=0.0, l2=0.0):
    s = np.ones(len(X)) if s is None else s
    error = s @ np.square(X @ w + b - y) / (2 * s.sum())
    return error + l1 * np.abs(w).sum(0) + l2 / 2 * np.square(w).sum(0)


CASES = {
    "plain": {},
    "l1": {"l1": 0.05},
    "l2": {"l2": 0.3, "fit_intercept": False},
    "weights": {"l1": 0.02, "l2": 0.1, "sample_weight": True},
    "targets": {"tail": (3,), "sample_weight": True, "w0": True},
    "targets with penalties": {"tail": (3,), "l1": [0.0, 0.1, 0.2], "learning_rate": [0.05, 0.04, 0.06]},
    "penalties": {"l2": [0.0, 0.1, 0.2], "w0": True},
    "both penalties": {"l1": [0.0, 0.1, 0.2], "l2": [0.2, 0.0, 0.1], "fit_intercept": False},
    "rates": {"learning_rate": [0.04, 0.05, 0.06], "sample_weight": True},
    "batch": {"lead": (2,), "l1": 0.05, "w0": True},
    "batch of rates": {"lead": (2, 1), "learning_rate": [0.02, 0.03, 0.04], "l2": 0.2},
}


@pytest.mark.parametrize(("tol", "steps"), [(0, 7), (1e-2, 500)])
@pytest.mark.parametrize("case", CASES)
def test_comoments_take_the_steps_of_gd(host_backend, rng, case, tol, steps):
    how = dict(CASES[case])
    lead, tail = how.pop("lead", ()), how.pop("tail", ())
    X, y = draw(rng, 12, lead=lead, tail=tail)
    axes = (3,) if any(isinstance(one, list) for one in how.values()) else tail
    if how.pop("sample_weight", False):
        how["sample_weight"] = rng.uniform(0, 2, X.shape[:-1])
    if how.pop("w0", False):
        how["w0"] = rng.standard_normal((*lead, 3, *axes))
    fits, seen = [], {}
    for solver in ("gd", "comoments"):
        shown = seen.setdefault(solver, [])
        fits.append(
            vp.linreg_fit(
                X,
                y,
                solver=solver,
                tol=tol,
                max_iter=steps,
                callback=lambda *step, shown=shown: shown.append(step),
                **how,
            )
        )
        alone = vp.linreg_fit(X, y, solver=solver, tol=tol, max_iter=steps, **how)
        np.testing.assert_array_equal(fits[-1].coef, alone.coef)
    gd, same = fits
    assert (gd.n_iter, gd.converged) == (same.n_iter, same.converged)
    assert gd.converged == (tol > 0)
    for name in ("coef", "intercept", "loss", "loss_history", "gradient_norm", "learning_rate"):
        ours, theirs = getattr(same, name), getattr(gd, name)
        assert np.shape(ours) == np.shape(theirs)
        # The same steps in another order of sums: rounding, on numbers of about 1.
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12, err_msg=name)
    assert len(seen["gd"]) == gd.n_iter
    for one, other in zip(seen["gd"], seen["comoments"], strict=True):
        assert one[0] == other[0]
        for mine, its in zip(one[1:], other[1:], strict=True):
            assert np.shape(mine) == np.shape(its)
            np.testing.assert_allclose(mine, its, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("solver", ["gd", "comoments", "sgd"])
@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_stop_iteration_ends_it_there(host_backend, rng, solver, l1):
    X, y = draw(rng)
    how = {"solver": solver, "learning_rate": 0.1, "l1": l1, "tol": 0, "random_state": 0}

    def stop(iteration, coef, loss):
        if iteration == 3:
            raise StopIteration

    fit = vp.linreg_fit(X, y, callback=stop, **how)
    same = vp.linreg_fit(X, y, max_iter=3, **how)
    assert (fit.n_iter, fit.converged) == (3, False)
    np.testing.assert_array_equal(fit.coef, same.coef)
    np.testing.assert_array_equal(fit.loss_history, same.loss_history)


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize("l2", [0.0, 0.4])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_exact_solvers_equal_least_squares(host_backend, rng, solver, l2, fit_intercept):
    X, y = draw(rng, tail=(2,))
    s = rng.uniform(0, 2, len(X))
    fit = vp.linreg_fit(X, y, solver=solver, l2=l2, fit_intercept=fit_intercept, sample_weight=s, tol=1e-14)
    w, b = least_squares(X, y, s, l2, fit_intercept)
    # Normal equations of a condition of some hundreds leave 13 digits.
    np.testing.assert_allclose(fit.coef, w, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(fit.intercept, b, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(fit.loss, objective(X, y, w, b, s, l2=l2), rtol=1e-11)
    assert fit.loss_history.shape == (1, 2)
    assert (fit.gradient_norm < 1e-6).all()
    assert fit.converged
    assert fit.learning_rate is None


@pytest.mark.parametrize("solver", ["gd", "comoments", "cd", "cholesky", "eigh", "svd"])
@pytest.mark.parametrize("tail", [(), (3,)])
def test_models_with_penalties_of_their_own(host_backend, rng, solver, tail):
    X, y = draw(rng, tail=tail)
    l1 = [0.0, 0.2, 0.1] if solver in ("gd", "comoments", "cd") else [0.0] * 3
    l2 = np.array([0.3, 0.1, 0.2])
    how = {"solver": solver, "max_iter": 5000, "tol": 1e-10}
    fit = vp.linreg_fit(X, y, l1=l1, l2=l2, **how)
    assert fit.coef.shape == (3, 3)
    assert fit.intercept.shape == fit.loss.shape == fit.gradient_norm.shape == (3,)
    assert fit.predict(X).shape == (len(X), 3)
    for j in range(3):
        target = y[:, j] if tail else y
        alone = vp.linreg_fit(X, target, l1=l1[j], l2=l2[j], **how)
        # Both are within the tolerance of one minimum: the square root of 1e-10.
        np.testing.assert_allclose(fit.coef[:, j], alone.coef, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fit.loss[j], alone.loss, rtol=1e-8)


def test_lasso_path_by_coordinates_equals_scikit_learn(host_backend, rng):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = draw(rng, 60, 8)
    alphas = [0.3, 0.01, 0.1]  # in no order
    fit = vp.linreg_fit(X, y, solver="cd", l1=alphas, tol=1e-12)
    for j, alpha in enumerate(alphas):
        theirs = linear_model.Lasso(alpha=alpha, tol=1e-12).fit(X, y)
        np.testing.assert_allclose(fit.coef[:, j], theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(fit.intercept[j], theirs.intercept_, atol=1e-6)


def test_coordinate_descent_says_when_it_was_cut_short(host_backend, rng):
    X, y = draw(rng, 60, 8)
    assert not vp.linreg_fit(X, y, solver="cd", l1=[0.3, 1e-4], tol=1e-14, max_iter=1).converged
    assert vp.linreg_fit(X, y, solver="cd", l1=[0.3, 1e-4], tol=1e-14).converged
    # One model is done before the last sweep, of the other no gap is known.
    fit = vp.linreg_fit(
        np.eye(4)[:, :2], np.arange(4.0), solver="cd", l1=[0, 100.0], l2=[1.0, 0], max_iter=50
    )
    assert fit.converged
    assert not fit.coef[:, 1].any()


@pytest.mark.filterwarnings("error")
def test_coordinates_of_columns_that_hold_nothing(host_backend):
    fit = vp.linreg_fit(np.full((5, 2), 3.0), np.arange(5.0), solver="cd", l1=10.0)
    assert (fit.coef.tolist(), float(fit.gradient_norm), float(fit.intercept)) == ([0, 0], 0, 2)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {"l1": [1, 2], "l2": [1, 2, 3]},
            "there must be one number for each model, but there are of l1 2 and l2 3",
        ),
        ({"learning_rate": [0.1, 0.2, 0.3]}, "given for 3 models, but y has 2 targets"),
        ({"l2": []}, r"l2 has shape \(0,\); needed is a number, or one for each of K models"),
        ({"w0": np.ones((3, 3))}, r"w0 has shape \(3, 3\); needed is \(3, 2\)"),
        ({"l1": [0.1, -1]}, "l1 must be finite and at least 0.0; it is -1"),
        ({"l1": ["a"]}, "l1 has dtype <U1; needed are real numbers"),
        ({"w0": np.full((3, 2), np.inf)}, "w0 must hold finite numbers"),
        ({"solver": "newton"}, "solver is 'newton'; there are 'auto', 'gd'"),
        ({"momentum": 1.0}, "momentum must be less than 1"),
        ({"nesterov": True}, "nesterov needs a momentum"),
        ({"momentum": 0.5, "solver": "cd"}, "momentum is for the solvers gd and sgd, not for cd"),
        ({"batch_size": 2, "solver": "gd"}, "batch_size is for the solver sgd, not for gd"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"l1": 1.0, "solver": "svd"}, "l1 must be 0 for the solver svd; cd, comoments and gd take it"),
        ({"random_state": "x", "solver": "sgd"}, "random_state must be None, an integer or a generator"),
    ],
)
def test_what_cannot_be_asked_for(host_backend, rng, how, words):
    X, y = draw(rng, tail=(2,))
    with pytest.raises(vp.errors.VecprodError, match=words):
        vp.linreg_fit(X, y, **how)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1", "g", ">f4"])
@pytest.mark.parametrize(("n", "d"), [(20, 3), (1, 1), (3, 1), (2, 5)])
@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_dtypes_and_kinds_of_the_result(host_backend, rng, solver, dtype, n, d):
    X, y = (5 + 3 * rng.standard_normal(shape) for shape in ((n, d), (n,)))
    X, y = X.astype(dtype), y.astype(dtype)
    if solver == "cholesky" and n <= d:
        with pytest.raises(vp.errors.SingularError, match="depend on each other"):
            vp.linreg_fit(X, y, solver=solver)
        return
    fit = vp.linreg_fit(X, y, solver=solver, max_iter=3)
    expected = np.float64 if X.dtype.kind in "iu" else X.dtype.newbyteorder("=")
    assert fit.coef.dtype == fit.intercept.dtype == expected
    assert fit.coef.shape == (d,)
    assert isinstance(fit.intercept, np.generic)
    assert type(fit.n_iter) is int
    assert type(fit.converged) is bool
    assert type(fit.rank) in (int, type(None))
    assert type(fit.learning_rate) in (float, type(None))
    assert isinstance(fit.loss, np.float64)
    assert isinstance(fit.gradient_norm, np.float64)
    assert fit.loss_history.dtype == np.float64
    assert fit.loss == fit.loss_history[-1]


@pytest.mark.parametrize("solver", sorted({*SOLVERS} - {"sgd"}))
@pytest.mark.parametrize("lead", [(1,), (2, 3), (0,), (0, 2)])
@pytest.mark.parametrize("tail", [(), (1,), (2,)])
def test_batches(host_backend, rng, solver, lead, tail):
    X, y = draw(rng, 9, lead=lead, tail=tail)
    l1 = 0.1 if solver in ("gd", "comoments", "cd") else 0.0
    how = {"solver": solver, "max_iter": 20, "l1": l1, "learning_rate": 0.1, "tol": 0}
    fit = vp.linreg_fit(X, y, **how)
    assert fit.coef.shape == (*lead, 3, *tail)
    assert np.shape(fit.intercept) == np.shape(fit.loss) == np.shape(fit.gradient_norm) == (*lead, *tail)
    assert fit.loss_history.shape[1:] == (*lead, *tail)
    assert fit.rank is None or fit.rank.shape == lead
    for batch in np.ndindex(*lead):
        alone = vp.linreg_fit(X[batch], y[batch], **how)
        np.testing.assert_allclose(fit.coef[batch], alone.coef, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(fit.loss[batch], alone.loss, rtol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("convert", "backend"), [(as_cupy, "cupy"), (as_numba, "numba-cuda")])
def test_device_arrays(rng, solver, convert, backend):
    X, y = draw(rng, 9)
    s = rng.uniform(0.5, 2, 9)
    how = {"solver": solver, "max_iter": 2, "random_state": 0, "batch_size": 4 if solver == "sgd" else None}
    with vp.use_backend(backend):
        if solver == "sgd" and backend == "numba-cuda":
            with pytest.raises(vp.errors.DeviceError, match="cannot pick rows"):
                vp.linreg_fit(convert(X), convert(y), **how)
            return
        fit = vp.linreg_fit(convert(X), convert(y), sample_weight=convert(s), **how)
    with vp.use_backend("reference"):
        same = vp.linreg_fit(X, y, sample_weight=s, **how)
    assert type(fit.coef) is type(fit.intercept) is type(convert(X))
    np.testing.assert_allclose(to_host(fit.coef), same.coef, rtol=1e-9)
    np.testing.assert_allclose(to_host(fit.intercept), same.intercept, rtol=1e-9)
    np.testing.assert_allclose(fit.loss_history, same.loss_history, rtol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_result_is_pickled_and_lets_the_data_go(host_backend, rng, solver):
    X, y = draw(rng)
    kept = weakref.ref(X)
    fit = vp.linreg_fit(X, y, solver=solver, max_iter=5)
    del X
    assert kept() is None
    copy = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(copy.loss_history, fit.loss_history)
    assert copy.gradient_norm == fit.gradient_norm
    assert repr(copy) == repr(fit)


@pytest.mark.parametrize("solver", ["gd", "comoments", "cd", "svd", "auto"])
def test_what_has_shrunk_to_nothing_is_no_error(host_backend, rng, solver):
    with np.errstate(all="raise"):
        fit = vp.linreg_fit(*draw(rng), solver=solver, max_iter=3000, tol=0)
        assert fit.gradient_norm <= fit.loss_history[0]


def test_the_last_loss_does_not_cost_the_history(host_backend, rng):
    X, y = draw(rng)
    # A history of so many steps would fill 80 GB.
    fit = vp.linreg_fit(X, y, learning_rate=1e-3, max_iter=10**10, tol=0)
    w, b = least_squares(X, y)
    assert fit.loss == pytest.approx(objective(X, y, w, b), rel=1e-12)
    np.testing.assert_allclose(fit.coef, w, rtol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("noise", [0.0, 1e-7])
@pytest.mark.parametrize(("scale", "mean"), [(1.0, 0.0), (1e3, 0.0), (1.0, 100.0), (1e-3, 1.0)])
def test_the_loss_of_a_nearly_exact_fit(host_backend, rng, solver, noise, scale, mean):
    X = (mean + scale * rng.standard_normal((300, 5))).round(12)
    y = X @ [1.0, -2.0, 0.5, 3.0, 0.25] + 1.5 + noise * rng.standard_normal(300)
    fit = vp.linreg_fit(X, y, solver=solver, tol=1e-13, max_iter=100 if solver == "sgd" else 3000)
    A, b = X.astype(np.longdouble), y.astype(np.longdouble)
    residual = (A - A.mean(0)) @ fit.coef - (b - b.mean())
    assert (fit.loss_history >= 0).all()
    if noise:
        # Residuals of 1e-7 of values up to 1e4 are known to 1e-5, their independent errors average out.
        assert fit.loss == pytest.approx(float((residual**2).mean() / 2), rel=1e-6)
    else:
        assert fit.loss <= 1e-25 * np.abs(y).max() ** 2 or solver == "sgd"


@pytest.mark.parametrize("solver", ["gd", "comoments", "cholesky", "svd"])
@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_far_from_one_the_steps_are_as_many(host_backend, rng, solver, scale):
    X = rng.standard_normal((50, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(50)
    near, far = (vp.linreg_fit(X * by, y * by, solver=solver, tol=1e-9) for by in (1.0, scale))
    assert far.converged
    assert far.n_iter == near.n_iter
    np.testing.assert_allclose(far.coef, near.coef, rtol=1e-9)
