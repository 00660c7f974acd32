"""EmpiricalCovariance against scikit-learn's."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import covariance, datasets
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from tests.sklearn.libraries import LIBRARIES, assert_lives_with, dispatched, to_library, to_numpy
from vecprod_gpu.sklearn.covariance import EmpiricalCovariance

__all__ = ["dispatched"]

SETTINGS = [
    {"assume_centered": assume_centered, "store_precision": store_precision}
    for assume_centered in (False, True)
    for store_precision in (False, True)
]


def problem(seed, dtype=np.float64):
    """Correlated columns, in one of several layouts."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 10))
    X = rng.normal(size=(d + int(rng.integers(3, 200)), d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    X = X.astype(dtype)
    return (X, np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1])[seed % 4]


def assert_equal(ours, theirs, rtol=1e-8):
    for name in ("location_", "covariance_", "precision_"):
        expected = getattr(theirs, name)
        if expected is None:
            assert getattr(ours, name) is None
        else:
            spread = np.sqrt(theirs.covariance_.max()) if name == "location_" else 0
            atol = rtol * max(np.abs(expected).max(), spread)
            np.testing.assert_allclose(getattr(ours, name), expected, rtol, atol, err_msg=name)


def message_of(call, *arguments):
    with pytest.raises((ValueError, TypeError)) as raised:
        call(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("array_api", [False, True])
def test_scikit_learn_finds_no_fault(array_api, monkeypatch):
    if array_api:
        monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    else:
        monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    check_estimator(EmpiricalCovariance(), on_skip=None)


@pytest.mark.parametrize("seed", range(50))
def test_random_problems_give_what_scikit_learn_gives(seed):
    X, parameters = problem(seed), SETTINGS[seed // 4 % 4]
    ours = EmpiricalCovariance(**parameters).fit(X)
    theirs = covariance.EmpiricalCovariance(**parameters).fit(X)
    assert_equal(ours, theirs)
    np.testing.assert_allclose(ours.get_precision(), theirs.get_precision(), rtol=1e-6)
    np.testing.assert_allclose(ours.mahalanobis(X), theirs.mahalanobis(X), rtol=1e-8)
    assert ours.score(X[:7] + 1) == pytest.approx(theirs.score(X[:7] + 1), rel=1e-8)
    other = np.cov(X[::2].T).reshape(theirs.covariance_.shape)
    for norm in ("frobenius", "spectral"):
        for flags in ({}, {"scaling": False}, {"squared": False}):
            expected = theirs.error_norm(other, norm, **flags)
            assert ours.error_norm(other, norm, **flags) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("load", [datasets.load_diabetes, datasets.load_linnerud])
@pytest.mark.parametrize("parameters", SETTINGS)
def test_data_sets_give_what_scikit_learn_gives(load, parameters):
    X = load(return_X_y=True)[0]
    ours = EmpiricalCovariance(**parameters).fit(X)
    assert_equal(ours, covariance.EmpiricalCovariance(**parameters).fit(X))


def test_wide_and_dependent_data_have_a_pseudo_inverse():
    X = np.random.default_rng(0).normal(size=(6, 15))
    assert_equal(EmpiricalCovariance().fit(X), covariance.EmpiricalCovariance().fit(X))


def test_results_are_float64_whatever_the_data_are(rng):
    single = problem(3, np.float32)
    ours = EmpiricalCovariance().fit(single)
    assert_equal(ours, covariance.EmpiricalCovariance().fit(single.astype(float)))
    assert {ours.location_.dtype, ours.covariance_.dtype, ours.precision_.dtype} == {np.dtype(np.float64)}
    counts = rng.integers(0, 9, size=(30, 3))
    assert_equal(EmpiricalCovariance().fit(counts), covariance.EmpiricalCovariance().fit(counts))
    assert_equal(EmpiricalCovariance().fit(counts.tolist()), covariance.EmpiricalCovariance().fit(counts))


@pytest.mark.parametrize("parameters", SETTINGS)
@pytest.mark.parametrize("seed", range(5))
def test_chunks_in_any_order_and_merged_parts_give_the_whole(seed, parameters):
    X = problem(seed)
    whole = EmpiricalCovariance(**parameters).fit(X)
    cuts = np.sort(np.random.default_rng(seed).integers(1, len(X), size=3))
    chunks = [chunk for chunk in np.split(X, cuts) if len(chunk)]
    updated, merged = clone(whole), clone(whole).partial_fit(chunks[-1])
    for chunk in chunks[::-1]:
        updated.partial_fit(chunk)
    for chunk in chunks[:-1]:
        merged = merged.merge(clone(whole).partial_fit(chunk))
    before = whole.covariance_.copy()
    assert_equal(whole.merge(merged), whole, rtol=1e-9)
    np.testing.assert_array_equal(whole.covariance_, before)
    continued = clone(whole).fit(X[:-1]).partial_fit(X[-1:])
    for one in (updated, merged, continued):
        assert_equal(one, whole, rtol=1e-9)
    with pytest.raises(NotFittedError):
        whole.merge(EmpiricalCovariance())


def test_a_spoilt_chunk_leaves_what_was_read():
    X = problem(2)
    partial = EmpiricalCovariance().partial_fit(X[:-5])
    for bad in (np.nan, np.inf):
        spoilt = X.copy()
        spoilt[-1, 0] = bad
        expected = message_of(covariance.EmpiricalCovariance().fit, spoilt)
        assert message_of(EmpiricalCovariance().fit, spoilt) == expected
        assert message_of(partial.partial_fit, spoilt[-5:]) == expected
        for method in ("score", "mahalanobis"):
            assert "Input X contains" in message_of(getattr(partial, method), spoilt)
    assert_equal(partial.partial_fit(X[-5:]), EmpiricalCovariance().fit(X))


def test_other_errors_are_those_of_scikit_learn():
    X = problem(2)
    fits = [one().fit(X) for one in (EmpiricalCovariance, covariance.EmpiricalCovariance)]
    ours, theirs = fits
    for method in ("score", "mahalanobis"):
        wider = np.column_stack([X, X])
        assert message_of(getattr(ours, method), wider) == message_of(getattr(theirs, method), wider)
    for one in fits:
        with pytest.raises(NotImplementedError, match="Only spectral and frobenius norms are implemented"):
            one.error_norm(ours.covariance_, "nuclear")
        assert "Sparse data was passed" in message_of(clone(one).fit, sparse.csr_array(X))
        with pytest.warns(UserWarning, match="Only one sample available"):
            clone(one).fit(X[:1])
        with pytest.raises(ValueError, match="'assume_centered' parameter"):
            clone(one).set_params(assume_centered="yes").fit(X)
    with pytest.raises(NotFittedError):
        EmpiricalCovariance().mahalanobis(X)


def test_searches_clones_and_pickles():
    X = datasets.load_diabetes(return_X_y=True)[0]
    ours, theirs = (
        GridSearchCV(one(), {"assume_centered": [True, False]}).fit(X).cv_results_["mean_test_score"]
        for one in (EmpiricalCovariance, covariance.EmpiricalCovariance)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    fitted = EmpiricalCovariance().partial_fit(X[:50])
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_equal(loaded.partial_fit(X[50:]), fitted.partial_fit(X[50:]), rtol=0)
    assert not hasattr(clone(fitted), "covariance_")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_of_features_come_from_data_frames(library):
    frames = pytest.importorskip(library)
    X = problem(9)
    names = [f"x{j}" for j in range(X.shape[1])]
    frame = frames.DataFrame({name: X[:, j] for j, name in enumerate(names)})
    merged = EmpiricalCovariance().partial_fit(frame[:9]).merge(EmpiricalCovariance().fit(frame[9:]))
    assert list(merged.feature_names_in_) == names
    assert merged.n_features_in_ == len(names)
    assert_equal(merged, EmpiricalCovariance().fit(X))


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("parameters", SETTINGS)
def test_arrays_of_other_libraries_give_their_kind(library, dtype, parameters):
    host = problem(7, dtype)
    X = to_library(library, host)
    ours, theirs = (EmpiricalCovariance(**parameters).fit(one) for one in (X, host))
    pairs = [
        (ours.location_, theirs.location_),
        (ours.covariance_, theirs.covariance_),
        (ours.get_precision(), theirs.get_precision()),
        (ours.mahalanobis(X), theirs.mahalanobis(host)),
    ]
    for result, expected in pairs:
        assert_lives_with(result, X)
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-9)
    assert ours.score(X) == pytest.approx(theirs.score(host))
    other = to_library(library, np.eye(host.shape[1]))
    assert ours.error_norm(other) == pytest.approx(theirs.error_norm(np.eye(host.shape[1])))
    merged = clone(ours).partial_fit(X[:9, :]).merge(clone(ours).partial_fit(X[9:, :]))
    assert_lives_with(merged.covariance_, X)
    np.testing.assert_allclose(to_numpy(merged.covariance_), theirs.covariance_)
