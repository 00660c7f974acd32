"""Batches of small regressions on a GPU, which are solved there: as each problem alone, on the host."""

import importlib

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.kernels import every_kernel, numba_arrays
from vecprod_gpu.errors import NotFiniteError, SingularError
from vecprod_gpu.linreg._solvers import data


class Device:
    """Fits host arrays as device arrays of one dialect."""

    def __init__(self, dialect):
        self.dialect = dialect

    def place(self, array):
        if self.dialect == "cupy":
            return importlib.import_module("cupy").asarray(array)
        return numba_arrays.backend.export(numba_arrays.asarray(array), "numba")

    def fit(self, X, y, sample_weight=None, **options):
        weights = None if sample_weight is None else self.place(sample_weight)
        with vp.use_backend(self.dialect):
            return vp.linreg_fit(self.place(X), self.place(y), sample_weight=weights, **options)


@pytest.fixture(params=every_kernel.DIALECTS)
def device(request, monkeypatch):
    """Either dialect, for which few problems count as many."""
    monkeypatch.setattr(data, "MANY_PROBLEMS", 4)
    return Device(request.param)


def host(array):
    return array.get() if hasattr(array, "get") else array.copy_to_host()


def problems(rng, *, count=6, n=11, d=3, k=(), noise=0.5, dtype=np.float64):
    X = rng.standard_normal((count, n, d)) + 2
    y = np.einsum("bnd,bd...->bn...", X, rng.standard_normal((count, d, *k)))
    return X.astype(dtype), (y + noise * rng.standard_normal(y.shape)).astype(dtype)


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ({}, {}),
        ({}, {"l2": 0.3}),
        ({"dtype": np.float32}, {"fit_intercept": False, "solver": "cholesky"}),
    ],
)
def test_a_batch_is_solved_on_the_device_as_on_the_host(device, rng, shapes, options):
    assert_solved_on_the_device(device, *problems(rng, **shapes), options)


def test_several_targets_are_solved_on_the_device(rng, monkeypatch):
    """Of CuPy's arrays: those of Numba's simulator have no ``shape[-1]``."""
    monkeypatch.setattr(data, "MANY_PROBLEMS", 4)
    assert_solved_on_the_device(Device("cupy"), *problems(rng, k=(2,)), {"l2": 0.3})


def assert_solved_on_the_device(device, X, y, options):
    with every_kernel.launches(device.dialect) as counts:
        found = device.fit(X, y, **options)
    assert counts["solve_systems"].total() == 1
    expected = vp.linreg_fit(X, y, **options)
    assert found.solver == expected.solver == "cholesky"
    assert host(found.coef).dtype == expected.coef.dtype
    assert host(found.coef).shape == expected.coef.shape
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if X.dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(host(found.coef), expected.coef, **tolerance)
    np.testing.assert_allclose(host(found.intercept), expected.intercept, **tolerance)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-8)
    np.testing.assert_allclose(found.loss_history, expected.loss_history, rtol=1e-8)
    np.testing.assert_allclose(found.gradient_norm, 0, atol=1e-12)
    if expected.rank is None:
        assert found.rank is None
    else:
        np.testing.assert_array_equal(found.rank, expected.rank)
    assert found.converged


def test_weights_and_several_axes_of_a_batch(device, rng):
    X, y = problems(rng)
    weights = rng.random(y.shape) + 0.1
    arrays = [one.reshape(2, 3, *one.shape[1:]) for one in (X, y, weights)]
    found, expected = device.fit(*arrays), vp.linreg_fit(*arrays[:2], sample_weight=arrays[2])
    np.testing.assert_allclose(host(found.coef), expected.coef, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-8)
    np.testing.assert_array_equal(found.rank, np.full((2, 3), 3))


def test_a_dependent_column_of_one_problem(device, rng):
    X, y = problems(rng)
    X[4, :, 1] = 3 * X[4, :, 0]
    with pytest.raises(SingularError):
        device.fit(X, y, solver="cholesky")
    with pytest.warns(np.exceptions.RankWarning):
        found = device.fit(X, y)
    assert found.solver == "svd"
    assert found.rank.tolist() == [3, 3, 3, 3, 2, 3]


def test_a_number_that_is_none_is_named(device, rng):
    X, y = problems(rng)
    X[2, 7, 1] = np.nan
    with pytest.raises(NotFiniteError, match="row 7, column 1 of problem 2"):
        device.fit(X, y)


def test_the_loss_of_an_exact_fit_is_that_of_its_residuals(device, rng):
    X, y = problems(rng, noise=0)
    found = device.fit(X, y)
    assert found.solver == "cholesky"
    assert np.all(found.loss < 1e-25)


def test_models_of_several_penalties_share_a_target(device, rng):
    X, y = problems(rng)
    found, expected = device.fit(X, y, l2=[0.1, 1.0]), vp.linreg_fit(X, y, l2=[0.1, 1.0])
    np.testing.assert_allclose(host(found.coef), expected.coef, rtol=1e-9, atol=1e-11)
