"""Stochastic descent, and momentum, against loops in plain NumPy and against torch."""

import numpy as np
import pytest

import vecprod_gpu as vp


def draw(rng, n=60, d=4, noise=0.5):
    X = rng.standard_normal((n, d)) + 1
    return X, X @ np.arange(1.0, d + 1) + 2 + noise * rng.standard_normal(n)


def sgd(X, y, **how):
    return vp.linreg_fit(X, y, **{"solver": "sgd", "random_state": 0, "tol": 0, **how})


def loop(X, y, rate, steps, momentum=0.0, nesterov=False, s=None, l1=0.0, l2=0.0, fit_intercept=True):
    """The formula of torch.optim.SGD on centred data, then the proximal step of L1; all iterates."""
    s = np.ones(len(X)) if s is None else s
    A, b = (X - np.average(X, 0, s), y - np.average(y, 0, s)) if fit_intercept else (X, y)
    w = np.zeros((X.shape[1], *y.shape[1:]))
    velocity, path = np.zeros_like(w), []
    for _ in range(steps):
        gradient = A.T @ ((A @ w - b).T * s).T / s.sum() + l2 * w
        velocity = momentum * velocity + gradient
        w = w - rate * (gradient + momentum * velocity if nesterov else velocity)
        w = np.sign(w) * np.maximum(np.abs(w) - rate * l1, 0)
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("case", ["plain", "weights", "penalties", "targets", "rates"])
def test_momentum_is_that_of_torch(host_backend, rng, nesterov, case):
    X, y = draw(rng)
    how = {"momentum": 0.8, "nesterov": nesterov}
    if case == "weights":
        how["s"] = rng.uniform(0, 2, len(X))
    if case == "penalties":
        how |= {"l1": 0.1, "l2": 0.2, "fit_intercept": False}
    if case == "targets":
        y = np.column_stack([y, y**2])
    rate = np.array([0.05, 0.1]) if case == "rates" else 0.1
    seen = []
    ours = {"sample_weight" if name == "s" else name: value for name, value in how.items()}
    fit = vp.linreg_fit(
        X, y, learning_rate=rate, max_iter=30, tol=0, callback=lambda i, w, loss: seen.append(w), **ours
    )
    assert fit.solver == "gd"
    target = np.column_stack([y, y]) if case == "rates" else y
    path = loop(X, target, rate, 30, **how)
    np.testing.assert_allclose(seen, path, rtol=1e-11, atol=1e-12)  # sums of 60 products, 30 times
    np.testing.assert_allclose(fit.coef, path[-1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_equals_torch_itself(host_backend, rng, nesterov):
    torch = pytest.importorskip("torch")
    X, y = draw(rng)
    A, b = torch.tensor(X), torch.tensor(y)
    w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=0.02, momentum=0.9, nesterov=nesterov, weight_decay=0.1)
    for _ in range(25):
        optimiser.zero_grad()
        (((A @ w - b) ** 2).mean() / 2).backward()
        optimiser.step()
    how = {"momentum": 0.9, "nesterov": nesterov, "l2": 0.1, "learning_rate": 0.02, "fit_intercept": False}
    for solver, batch_size in (("gd", None), ("sgd", 60)):
        fit = vp.linreg_fit(X, y, solver=solver, batch_size=batch_size, max_iter=25, tol=0, **how)
        np.testing.assert_allclose(fit.coef, w.detach().numpy(), rtol=1e-11)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_of_all_rows_is_gd(host_backend, rng, weighted):
    X, y = draw(rng, 12)
    s = rng.integers(0, 3, 12).astype(float) if weighted else None
    how = {"l1": 0.05, "l2": 0.1, "max_iter": 3, "tol": 0, "sample_weight": s}
    for momentum in (0.0, 0.5):
        ours = sgd(X, y, batch_size=50, momentum=momentum, **how)
        same = vp.linreg_fit(X, y, solver="gd", momentum=momentum, **how)
        np.testing.assert_allclose(ours.learning_rate, same.learning_rate, rtol=1e-12)
        np.testing.assert_allclose(ours.coef, same.coef, rtol=1e-11)
        np.testing.assert_allclose(ours.loss_history, same.loss_history, rtol=1e-11)


def test_an_epoch_is_a_loop_over_batches(host_backend, rng):
    X, y = draw(rng, 10)
    s = np.array([0, 1, 2, 3, 1, 1, 0, 5, 1, 2.0])
    fit = sgd(X, y, batch_size=3, max_iter=2, learning_rate=0.05, sample_weight=s, l2=0.1)
    generator, w = np.random.default_rng(0), np.zeros(4)
    A, b = X - np.average(X, 0, s), y - np.average(y, 0, s)
    counted = np.flatnonzero(s)
    for _ in range(2):
        order = generator.permutation(counted)
        for rows in (order[:3], order[3:6], order[6:]):
            gradient = A[rows].T @ (s[rows] * (A[rows] @ w - b[rows])) / (len(rows) * s[counted].mean())
            w = w - 0.05 * (gradient + 0.1 * w)
    np.testing.assert_allclose(fit.coef, w, rtol=1e-11)


def test_the_seed_decides(host_backend, rng):
    X, y = draw(rng)
    how = {"batch_size": 7, "max_iter": 5}
    first = sgd(X, y, random_state=3, **how)
    for again in (3, np.random.default_rng(3), np.random.SeedSequence(3)):
        np.testing.assert_array_equal(sgd(X, y, random_state=again, **how).coef, first.coef)
    assert (sgd(X, y, random_state=4, **how).coef != first.coef).all()
    generator = np.random.default_rng(3)
    one, two = (sgd(X, y, random_state=generator, **how) for _ in range(2))
    assert (one.coef != two.coef).all()


def test_of_noise_it_finds_least_squares(host_backend, rng):
    X, y = draw(rng, 500)
    fit = sgd(X, y, batch_size=10, learning_rate=0.005, max_iter=60)
    exact = np.linalg.lstsq(np.column_stack([X, np.ones(500)]), y, rcond=None)[0]
    # Steps of 0.005 leave noise of sqrt(0.005 / 2 * 0.25 / 10) = 0.008 in each coefficient.
    np.testing.assert_allclose([*fit.coef, fit.intercept], exact, atol=0.05)
    assert (np.diff(fit.loss_history[:5]) < 0).all()


@pytest.mark.parametrize(
    "how", [{}, {"momentum": 0.5}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}]
)
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_without_noise_it_finds_the_solution(host_backend, rng, how, batch_size):
    X, y = draw(rng, 60, noise=0.0)
    fit = sgd(X, y, batch_size=batch_size, max_iter=400, tol=1e-8, **how)
    assert fit.converged
    assert fit.n_iter < 400
    np.testing.assert_allclose(fit.coef, [1, 2, 3, 4], rtol=1e-6)
    assert fit.intercept == pytest.approx(2, rel=1e-5)
    assert fit.gradient_norm <= 1e-8 * sgd(X, y, max_iter=0).gradient_norm


@pytest.mark.parametrize("batch_size", [1, 5])
def test_weights_are_importances(host_backend, rng, batch_size):
    X, y = draw(rng, 100, noise=3.0)
    s = np.where(X[:, 0] > 1, 10.0, 0.1)
    y[X[:, 0] <= 1] -= 20
    fit = sgd(X, y, batch_size=batch_size, sample_weight=s, learning_rate=1e-3 * batch_size, max_iter=200)
    root = np.sqrt(s)[:, None]
    exact = np.linalg.lstsq(root * np.column_stack([X, np.ones(100)]), root[:, 0] * y, rcond=None)[0]
    plain = np.linalg.lstsq(np.column_stack([X, np.ones(100)]), y, rcond=None)[0]
    ours = np.array([*fit.coef, fit.intercept])
    assert np.abs(ours - exact).max() < 0.1 * np.abs(plain - exact).max()


def test_rows_without_weight_are_not_read(host_backend, rng):
    X, y = draw(rng)
    s = (np.arange(60) % 3 > 0).astype(float)
    how = {"batch_size": 4, "max_iter": 3, "momentum": 0.5}
    ours = sgd(X, y, sample_weight=s, **how)
    X[s == 0] = y[s == 0] = 1e6
    far = sgd(X, y, sample_weight=s, **how)
    assert far.learning_rate == pytest.approx(ours.learning_rate, rel=1e-9)
    np.testing.assert_allclose(far.coef, ours.coef, rtol=1e-9)
    kept = sgd(X[s > 0], y[s > 0], **how)
    assert kept.learning_rate == pytest.approx(ours.learning_rate, rel=1e-9)


def test_the_callback_sees_epochs(host_backend, rng):
    X, y = draw(rng)
    seen = []
    fit = sgd(X, y, batch_size=7, max_iter=4, callback=lambda *step: seen.append(step))
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3, 4]
    assert fit.n_iter == 4
    np.testing.assert_array_equal([loss for _, _, loss in seen], fit.loss_history[:-1])
    np.testing.assert_array_equal(seen[-1][1], fit.coef)
    A = X @ fit.coef + fit.intercept - y
    assert fit.loss == pytest.approx((A**2).mean() / 2, rel=1e-10)


def test_models_of_one_target(host_backend, rng):
    X, y = draw(rng)
    rates, l2 = np.array([0.01, 0.02]), np.array([0.1, 0.2])
    fit = sgd(X, y, batch_size=7, max_iter=4, learning_rate=rates, l2=l2)
    assert fit.loss_history.shape == (5, 2)
    np.testing.assert_array_equal(fit.learning_rate, rates)
    for j in range(2):
        alone = sgd(X, y, batch_size=7, max_iter=4, learning_rate=rates[j], l2=l2[j])
        np.testing.assert_allclose(fit.coef[:, j], alone.coef, rtol=1e-11)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", [1, 8, 60])
@pytest.mark.filterwarnings("ignore:overflow")
def test_it_runs_away_beyond_the_named_rate_and_not_below(host_backend, rng, momentum, batch_size):
    X, y = draw(rng)
    how = {"momentum": momentum, "batch_size": batch_size}
    with pytest.raises(vp.errors.DivergenceError) as raised:
        sgd(X, y, learning_rate=20.0, max_iter=50, **how)
    named = float(str(raised.value).split("stable one is ")[1].split(",")[0])
    fit = sgd(X, y, learning_rate=0.95 * named, max_iter=100, **how)
    assert fit.loss_history.max() < 100 * fit.loss_history[0]


def test_what_it_cannot_fit(host_backend, rng):
    with pytest.raises(vp.errors.ShapeError, match=r"X has the batch axes \(2,\); the solver sgd fits one"):
        sgd(np.ones((2, 5, 3)), np.ones((2, 5)))
