"""What scikit-learn asks of every estimator, and how they work within its tools."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from scipy import sparse
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes HalvingGridSearchCV known
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

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

MODELS = [
    ElasticNet(),
    ElasticNetCV(),
    GDRegressor(),
    Lasso(),
    LassoCV(),
    LinearRegression(),
    Ridge(),
    RidgeCV(),
]
SOUND = ("passed", "skipped")  # for want of a library or a device
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)


@pytest.fixture
def data(rng):
    X = rng.normal(size=(80, 3))
    return X, X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=80)


@pytest.mark.parametrize("array_api", [False, True])
@every_model
def test_checks_of_scikit_learn(model, array_api, monkeypatch):
    if array_api:
        monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    else:
        monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    results = check_estimator(sklearn.clone(model), on_skip=None, on_fail=None)
    failed = {one["check_name"]: one["exception"] for one in results if one["status"] not in SOUND}
    assert not failed
    assert sum(one["status"] == "passed" for one in results) > 50


@every_model
def test_parameters_are_those_of_scikit_learn(model):
    theirs = getattr(sklearn.linear_model, type(model).__name__, None)
    if theirs is not None:
        assert model.get_params() == theirs().get_params()


@every_model
def test_pickles_and_clones(model, data):
    X, y = data
    fitted = sklearn.clone(model).fit(X, y)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))
    assert not hasattr(sklearn.clone(fitted), "coef_")


@every_model
def test_search_in_a_pipeline(model, data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), sklearn.clone(model))
    step = pipeline.steps[-1][0]
    grid = {f"{step}__fit_intercept": [True, False]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y + 50)
    assert search.best_params_ == {f"{step}__fit_intercept": True}
    assert search.score(X, y + 50) > 0.2
    halving = HalvingGridSearchCV(pipeline, grid, cv=3, min_resources=20, random_state=0).fit(X, y + 50)
    assert halving.best_params_ == search.best_params_


@every_model
def test_set_output_of_the_steps_before(model, data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, sklearn.clone(model)).fit(frame, y)
    assert list(pipeline[-1].feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
@every_model
def test_names_of_features(model, library, data):
    frames = pytest.importorskip(library)
    X, y = data
    frame = frames.DataFrame(dict(zip("abc", X.T, strict=True)))
    fitted = sklearn.clone(model).fit(frame, y)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    assert np.allclose(fitted.coef_, sklearn.clone(model).fit(X, y).coef_, rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[["c", "b", "a"]])


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_matrix])
@every_model
def test_sparse_data_are_refused_in_words(model, make, data):
    X, y = data
    assert not sklearn.utils.get_tags(model).input_tags.sparse
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        sklearn.clone(model).fit(make(X), y)
    fitted = sklearn.clone(model).fit(X, y)
    assert np.allclose(fitted.predict(make(X)), fitted.predict(X), rtol=1e-12)


@every_model
def test_weights_are_routed(model, data):
    X, y = data
    weights = np.arange(80.0)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = sklearn.clone(model).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, asking).fit(X, y, sample_weight=weights)
    direct = sklearn.clone(model).fit(StandardScaler().fit_transform(X), y, sample_weight=weights)
    assert np.allclose(routed[-1].coef_, direct.coef_, rtol=1e-12)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), GDRegressor()])
def test_names_of_features_in_chunks(model, data):
    frames = pytest.importorskip("polars")
    X, y = data
    frame = frames.DataFrame(dict(zip("abc", X.T, strict=True)))
    model = sklearn.clone(model).partial_fit(frame[:40], y[:40])
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame[["c", "b", "a"]], y)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3 features"):
        model.partial_fit(X[:, :2], y)
