"""Arrays of other libraries, which come back as they came."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.model_selection import KFold

from tests.sklearn.libraries import LIBRARIES, assert_lives_with, dispatched, to_library, to_numpy
from vecprod_gpu.errors import DeviceError
from vecprod_gpu.sklearn import (
    ElasticNet,
    ElasticNetCV,
    GDRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    Ridge,
    RidgeCV,
)
from vecprod_gpu.sklearn._arrays import Place
from vecprod_gpu.sklearn._closed import least_squares, nonnegative_ridge, ridge
from vecprod_gpu.sklearn._means import Means
from vecprod_gpu.sklearn._observations import Observations, Validated
from vecprod_gpu.sklearn._splits import Splits
from vecprod_gpu.sklearn._sweeps import Sweeps

MODELS = [
    LinearRegression(),
    LinearRegression(positive=True),
    Ridge([0.1, 3.0]),
    Ridge(solver="svd"),
    Lasso(0.1),
    ElasticNet(0.1, positive=True, warm_start=True),
    RidgeCV(cv=3),
    RidgeCV(alpha_per_target=True, store_cv_results=True),
    RidgeCV(scoring="neg_mean_squared_error"),
    RidgeCV(cv=3, scoring="neg_mean_absolute_error"),
    LassoCV(alphas=5),
    ElasticNetCV(alphas=5, cv=3, l1_ratio=[0.2, 0.9]),
    GDRegressor(),
    GDRegressor(momentum=0.2, warm_start=True),
    GDRegressor(batch_size=16, random_state=0, max_iter=5, tol=0),
    GDRegressor(early_stopping=True, random_state=0),
]
__all__ = ["dispatched"]


@pytest.fixture
def data(rng):
    X = rng.normal(size=(60, 3)) + 1
    return X, X @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(60, 2)), rng.uniform(0.5, 2, 60)


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_results_live_where_x_lives(library, model, data):
    X, y, weights = data
    if isinstance(model, LassoCV | ElasticNetCV):
        y = y[:, 0]
    there = [to_library(library, one) for one in (X, y, weights)]
    # The library may sum in another order, which a scorer sees.
    host = sklearn.clone(model).fit(X, y, sample_weight=weights)
    device = sklearn.clone(model).fit(there[0], there[1], sample_weight=there[2])
    arrays = [name for name, value in vars(host).items() if isinstance(value, np.ndarray)]
    assert "coef_" in arrays
    for name in arrays:
        assert_lives_with(getattr(device, name), there[0])
        assert np.allclose(to_numpy(getattr(device, name)), getattr(host, name), rtol=1e-8, atol=1e-10)
    predictions = device.predict(there[0])
    assert_lives_with(predictions, there[0])
    assert np.allclose(to_numpy(predictions), host.predict(X), rtol=1e-8)
    if getattr(model, "warm_start", False):
        device.fit(there[0], there[1], sample_weight=there[2])
        assert_lives_with(device.coef_, there[0])


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), GDRegressor()])
def test_chunks(library, model, data):
    X, y, _ = data
    host, device = sklearn.clone(model), sklearn.clone(model)
    for rows in (slice(0, 20), slice(20, 60)):
        host.partial_fit(X[rows], y[rows])
        device.partial_fit(to_library(library, X[rows]), to_library(library, y[rows]))
    assert np.allclose(to_numpy(device.coef_), host.coef_, rtol=1e-8)


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
def test_wide_data(library, data):
    X, y, _ = data
    X, y = X.T.copy(), X[:3, :1].copy()
    for model in (LinearRegression(), Ridge(), RidgeCV(), GDRegressor(max_iter=3, tol=0)):
        host = sklearn.clone(model).fit(X, y)
        device = sklearn.clone(model).fit(to_library(library, X), to_library(library, y))
        assert np.allclose(to_numpy(device.coef_), host.coef_, rtol=1e-8, atol=1e-12)


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
def test_targets_and_weights_follow_x(library, data):
    X, y, weights = data
    exact = Ridge().fit(X, y, sample_weight=weights)
    device = Ridge().fit(to_library(library, X), y, sample_weight=weights)
    assert np.allclose(to_numpy(device.coef_), exact.coef_, rtol=1e-10)
    y, weights = to_library(library, y), to_library(library, weights)
    host = Ridge(to_library(library, np.ones(2))).fit(X, y, sample_weight=weights)
    assert type(host.coef_) is np.ndarray
    assert np.allclose(host.coef_, exact.coef_, rtol=1e-10)


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
def test_float32_stays_float32(library, data):
    X, y, _ = (one.astype(np.float32) for one in data)
    device = LinearRegression().fit(to_library(library, X), to_library(library, y))
    assert (
        to_numpy(device.coef_).dtype == to_numpy(device.predict(to_library(library, X))).dtype == np.float32
    )


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
def test_nan_is_told(library, data):
    X, y, _ = data
    X[1, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        LinearRegression().fit(to_library(library, X), to_library(library, y))


@pytest.mark.parametrize("targets", [1, 2])
def test_what_is_computed_from_device_arrays(data, targets):
    import cupy

    X, y, weights = data
    y = np.ascontiguousarray(y[:, :targets])
    there = Validated(
        "", Place(cupy, None, True, False), np.dtype(float), *map(cupy.asarray, (X, y, weights))
    )
    here = Validated("", Place.of(X), np.dtype(float), X, y, weights)
    for find in (
        lambda rows: least_squares(rows, 1e-6).coef,
        lambda rows: ridge(rows, np.array([2.0]), "auto").coef,
        lambda rows: ridge(rows, np.array([2.0]), "svd").coef,
        lambda rows: nonnegative_ridge(rows, np.array([2.0])).coef,
        lambda rows: Sweeps(1000, 1e-12, False).minimise(rows.quadratic, *np.full((2, targets), 0.1)).coef,
        lambda rows: Means.of(rows).x,
    ):
        found, expected = (find(Observations.of(one, True)) for one in (there, here))
        assert type(found) is np.ndarray
        assert np.allclose(found, expected, rtol=1e-10)
    shuffled = KFold(3, shuffle=True, random_state=0)
    splits = [Splits.read(one, shuffled, True, groups={}) for one in (there, here)]
    errors = [np.stack(list(one.errors(one.ridge(np.array([1.0, 10.0])), 2))) for one in splits]
    assert np.allclose(*errors, rtol=1e-10)


def test_without_dispatch_a_tensor_is_an_array_like(data):
    torch = pytest.importorskip("torch")
    X, y, _ = data
    fitted = Ridge().fit(torch.asarray(X), torch.asarray(y))
    assert type(fitted.coef_) is np.ndarray


def test_an_array_that_cannot_be_shared():
    class Elsewhere:
        dtype = "float64"

        def __dlpack__(self, **_):
            raise BufferError("it is on another device")

        def __dlpack_device__(self):
            return (12, 0)

    with pytest.raises(DeviceError, match="can be shared neither with NumPy nor with CuPy"):
        Place(np, "elsewhere", True, False).bring(Elsewhere())
