"""scikit-learn's own linear models under accel: the same classes, attributes and solutions."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn import linear_model
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV

from tests.accel.test_products import counted
from vecprod_gpu import accel

MODELS = [LinearRegression(), Ridge(alpha=2.0), Lasso(alpha=0.1), ElasticNet(alpha=0.1, l1_ratio=0.3)]
ORIGINALS = {cls: cls.fit for cls in (LinearRegression, Ridge, Lasso, ElasticNet)}
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)


@pytest.fixture
def data(rng):
    X = rng.normal(size=(400, 5)) + 3
    return X, X @ [1.0, -2.0, 0.5, 0.0, 0.0] + 0.1 * rng.normal(size=400)


def by_scikit_learn(model, *arguments):
    """A clone that scikit-learn fitted itself."""
    clone = sklearn.clone(model)
    ORIGINALS[type(model)](clone, *arguments)
    return clone


def assert_alike(ours, theirs, tolerance):
    """The same attributes, of the same types, dtypes and shapes, with the same values to rounding."""
    assert set(vars(ours)) == set(vars(theirs))
    for name, expected in vars(theirs).items():
        value = getattr(ours, name)
        if isinstance(expected, np.ndarray | np.generic):
            assert type(value) is type(expected), name
            assert (value.dtype, value.shape) == (expected.dtype, expected.shape), name
            if name not in ("dual_gap_", "feature_names_in_"):
                np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance)
        elif name not in ("n_iter_", "rank_"):
            assert value == expected, name


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", ["vector", "column", "two"])
@every_model
def test_fits(model, targets, weighted, dtype, any_size, data, rng):
    X, y = data
    X = (X * 10).astype(dtype)
    y = {"vector": y, "column": y[:, np.newaxis], "two": np.column_stack([y, y[::-1]])}[targets].astype(dtype)
    weights = rng.uniform(1, 2, size=400) if weighted else None
    ours, report = counted(sklearn.clone(model).fit, X, y, weights)
    assert report.calls(f"{type(model).__name__}.fit") == 1, report.reasons()
    assert type(ours) is type(model)
    is_exact = hasattr(model, "solver") or hasattr(model, "n_jobs")
    tolerance = 1e-4 if dtype == np.float32 or not is_exact else 1e-9  # or the tol of coordinate descent
    assert_alike(ours, by_scikit_learn(model, X, y, weights), tolerance)


@every_model
def test_frames(model, any_size, data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X, columns=list("abcde"))
    ours, report = counted(sklearn.clone(model).fit, frame, y)
    assert report.calls() == 1
    assert list(ours.feature_names_in_) == list("abcde")


@every_model
def test_pickles_hold_nothing_of_ours(model, any_size, data):
    pickled = pickle.dumps(sklearn.clone(model).fit(*data))
    assert b"vecprod" not in pickled
    assert isinstance(pickle.loads(pickled), type(model))


@every_model
def test_signature_and_routing(model, installed, data):
    assert inspect.signature(type(model).fit) == inspect.signature(ORIGINALS[type(model)])
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
    search = GridSearchCV(sklearn.clone(model), {"fit_intercept": [True, False]}, cv=3).fit(*data)
    assert search.best_params_ == {"fit_intercept": True} or search.best_score_ > 0.5


def left(model, change, any_size_data):
    X, y = any_size_data
    return {
        "sparse": (model, sparse.csr_array(X), y),
        "list": (model, X.tolist(), y),
        "NaN": (model, np.where(X > 8, np.nan, X) * np.nan, y),
        "too few rows": (model, X[:3], y[:3]),
        "another length": (model, X, y[:-1]),
        "depending columns": (model, np.column_stack([X, X[:, 0]]), y),
        "huge": (model, X * 1e300, y),
        "negative weights": (model, X, y, -np.ones(400)),
        "one weight": (model, X, y, 2.0),
        "nothing": (model,),
        "an invalid parameter": (sklearn.clone(model).set_params(fit_intercept="perhaps"), X, y),
    }[change]


@pytest.mark.parametrize(
    "change",
    [
        *("sparse", "list", "NaN", "too few rows", "another length", "depending columns", "huge"),
        *("negative weights", "one weight", "nothing", "an invalid parameter"),
    ],
)
@every_model
def test_what_scikit_learn_has_to_say(model, change, any_size, data):
    results = []
    for fit in (type(model).fit, ORIGINALS[type(model)]):
        given, *arguments = left(model, change, data)
        clone = sklearn.clone(given)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                outcome = None if fit(clone, *arguments) is clone else "another object"
            except Exception as error:
                outcome = type(error), str(error)
        results.append((clone, outcome, [(one.category, str(one.message)) for one in warned]))
    (ours, *ours_said), (theirs, *theirs_said) = results
    assert ours_said == theirs_said
    assert set(vars(ours)) == set(vars(theirs))
    if hasattr(theirs, "coef_") and np.isfinite(theirs.coef_).all():
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(positive=True),
        LinearRegression(copy_X=False),
        Ridge(solver="svd"),
        Ridge(solver="saga", max_iter=5, random_state=0),
        Ridge(positive=True),
        Ridge(copy_X=False),
        Ridge(alpha=[1.0]),
        Lasso(warm_start=True),
        Lasso(selection="random", random_state=0),
        Lasso(alpha=0.1, max_iter=1, tol=1e-12),
        Lasso(copy_X=False),
        ElasticNet(precompute=np.eye(5)),
        ElasticNet(positive=True),
    ],
    ids=str,
)
def test_parameters_that_are_scikit_learns(model, any_size, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X, y = (array.copy() for array in data)
        try:
            theirs = by_scikit_learn(model, X, y)
        except ValueError:
            theirs = None
        Z, y = (array.copy() for array in data)
        clone = sklearn.clone(model)
        if theirs is None:
            _, report = counted(pytest.raises, ValueError, clone.fit, Z, y)
        else:
            _, report = counted(clone.fit, Z, y)
            np.testing.assert_array_equal(clone.coef_, theirs.coef_)
    assert report.calls() == 0
    assert sum(report.reasons(f"{type(model).__name__}.fit").values()) == 1
    np.testing.assert_array_equal(X, Z)


def test_subclasses_are_left_alone(any_size, data):
    class Mine(Ridge):
        """It might do anything."""

    _, report = counted(Mine().fit, *data)
    assert report.reasons() == {"a subclass may have changed what fit does": 1}


def test_originals_come_back():
    accel.install()
    assert all(cls.fit is not ORIGINALS[cls] for cls in ORIGINALS)
    accel.uninstall()
    assert all(cls.fit is ORIGINALS[cls] for cls in ORIGINALS)
    assert "fit" not in vars(Lasso)


def test_small_fits_are_scikit_learns(installed, data):
    _, report = counted(Ridge().fit, *data)
    assert report.reasons() == {"too small to gain": 1}


def test_scikit_learn_that_comes_later(run):
    code = """
import sys
from vecprod_gpu import accel
accel.install()
import numpy as np
assert "sklearn" not in sys.modules
from sklearn.linear_model import Ridge
with accel._profile.counting() as report:
    Ridge().fit(np.arange(80.0).reshape(20, 4) ** 1.5, np.arange(20.0))
assert report.calls("Ridge.fit") + report.calls("Ridge.fit", accelerated=False) == 1
"""
    run("-c", code)


def test_scikit_learn_that_is_too_old(run):
    code = """
import sklearn
sklearn.__version__ = "1.8.2"
from vecprod_gpu import accel
accel.install("info")
import sklearn.linear_model
assert "vecprod" not in sklearn.linear_model.Ridge.fit.__code__.co_filename
"""
    ended = run("-c", code)
    words = "estimators falling back to scikit-learn: ours need 1.9 or later, and this is 1.8.2"
    assert ended.stderr == f"[vecprod_gpu.accel] {words}\n"


def test_all_who_inherit_a_fit_are_known():
    """A new class of scikit-learn's that inherits one of these methods is to be thought of."""
    heirs = {
        cls
        for cls in vars(linear_model).values()
        if isinstance(cls, type)
        and any(cls.fit is original for original in ORIGINALS.values() if hasattr(cls, "fit"))
    }
    assert heirs == set(ORIGINALS)
