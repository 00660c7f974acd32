"""r_regression and f_regression against scikit-learn's, in its selectors and by themselves."""

import warnings
from itertools import product

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import datasets, feature_selection
from sklearn.feature_selection import GenericUnivariateSelect, SelectKBest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from tests.sklearn.libraries import LIBRARIES, assert_lives_with, dispatched, to_library, to_numpy
from vecprod_gpu.sklearn.feature_selection import BLOCK_FEATURES, f_regression, r_regression

__all__ = ["dispatched"]

FLAGS = [{"center": center, "force_finite": finite} for center, finite in product((True, False), repeat=2)]
MORE_THAN_A_BLOCK = BLOCK_FEATURES + 7


def problem(seed, dtype=np.float64):
    """A target and features, some of which have to do with it, in one of several layouts."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(4, 300)), int(rng.integers(1, 2 * MORE_THAN_A_BLOCK))
    X = rng.normal(size=(n, d)) * rng.uniform(0.1, 10, size=d) + rng.normal(size=d)
    y = X @ rng.binomial(1, 0.2, size=d) + rng.normal(size=n)
    X = X.astype(dtype)
    return (X, np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1])[seed % 4], y


def message_of(call, *arguments):
    with pytest.raises((ValueError, TypeError)) as raised:
        call(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("seed", range(50))
def test_random_problems_give_what_scikit_learn_gives(seed):
    (X, y), flags = problem(seed), FLAGS[seed // 4 % 4]
    expected = feature_selection.r_regression(X, y, **flags)
    np.testing.assert_allclose(r_regression(X, y, **flags), expected, rtol=1e-8, atol=1e-12)
    theirs = feature_selection.f_regression(X, y, **flags)
    np.testing.assert_allclose(f_regression(X, y, **flags), theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("load", [datasets.load_diabetes, datasets.load_linnerud])
@pytest.mark.parametrize("flags", FLAGS)
def test_data_sets_give_what_scikit_learn_gives(load, flags):
    X, y = load(return_X_y=True)
    y = y[:, 0] if y.ndim > 1 else y
    theirs = feature_selection.f_regression(X, y, **flags)
    np.testing.assert_allclose(f_regression(X, y, **flags), theirs, rtol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.int8, bool])
def test_narrow_dtypes_are_summed_wide(dtype, rng):
    X = (10 * rng.normal(size=(90, 5))).astype(dtype)
    y = rng.integers(0, 5, size=90)
    ours, theirs = f_regression(X, y)[0], feature_selection.f_regression(X.astype(float), y)[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    assert ours.dtype == np.float64
    np.testing.assert_array_equal(f_regression(X.tolist(), y.tolist())[0], f_regression(X, y)[0])


@pytest.mark.parametrize("force_finite", [True, False])
def test_constants_and_copies_of_the_target(force_finite):
    y = np.array([0.1, 0.7, 1.3, 2.9, 3.0])
    X = np.column_stack([np.full(5, 0.1), y, -3 * y + 0.3, [1.0, 0, 1, 0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = r_regression(X, y, force_finite=force_finite)
        F, p = f_regression(X, y, force_finite=force_finite)
        none, chance = f_regression(X, np.full(5, 0.3), force_finite=force_finite)
    undefined, most = (0.0, np.finfo(float).max) if force_finite else (np.nan, np.inf)
    np.testing.assert_array_equal(r[:3], [undefined, 1, -1])
    np.testing.assert_array_equal(F[:3], [undefined, most, most])
    np.testing.assert_array_equal(p[:3], [1.0 if force_finite else np.nan, 0, 0])
    assert r[3] == pytest.approx(np.corrcoef(X[:, 3], y)[0, 1])
    np.testing.assert_array_equal(none, np.full(4, undefined))
    np.testing.assert_array_equal(chance, np.full(4, 1.0 if force_finite else np.nan))


def test_a_large_mean_costs_no_digits(rng):
    X = rng.normal(size=(500, 3))
    y = X[:, 0] + rng.normal(size=500)
    X = np.round(X * 2**20) / 2**20
    shifted = X + 2.0**23  # without rounding
    np.testing.assert_allclose(r_regression(shifted, y), r_regression(X, y), rtol=1e-9)


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array, sparse.coo_array])
def test_sparse_data_stay_sparse(make, flags, monkeypatch, rng):
    dense = rng.binomial(1, 0.3, size=(60, 8)) * np.arange(1.0, 9)
    y = dense @ rng.normal(size=8)
    X = make(dense)
    for name in ("toarray", "todense"):
        monkeypatch.setattr(make, name, None)
    np.testing.assert_allclose(r_regression(X, y, **flags), r_regression(dense, y, **flags), rtol=1e-8)
    both = f_regression(X, y.tolist(), **flags), f_regression(dense, y, **flags)
    np.testing.assert_allclose(*both, rtol=1e-7)


@pytest.mark.parametrize("score", [r_regression, f_regression])
def test_errors_are_those_of_scikit_learn(score):
    X, y = problem(0)
    theirs = getattr(feature_selection, score.__name__)
    spoilt = X.copy()
    for bad in (np.nan, np.inf):
        spoilt[3, -1] = bad
        assert message_of(score, spoilt, y) == message_of(theirs, spoilt, y)
        assert message_of(score, X, spoilt[:, -1]) == message_of(theirs, X, spoilt[:, -1])
    for wrong in ((X, y[1:]), (X[:, 0], y), (X, np.column_stack([y, y]))):
        assert message_of(score, *wrong) == message_of(theirs, *wrong)
    with pytest.raises(ValueError, match="'center' parameter"):
        score(X, y, center="yes")


def test_selectors_choose_what_they_choose_with_scikit_learns_scores():
    X, y = datasets.make_regression(n_samples=120, n_features=50, n_informative=6, noise=5, random_state=1)
    for mode, param in (("k_best", 6), ("percentile", 20), ("fpr", 0.01), ("fdr", 0.01), ("fwe", 0.01)):
        ours, theirs = (
            GenericUnivariateSelect(score, mode=mode, param=param).fit(X, y)
            for score in (f_regression, feature_selection.f_regression)
        )
        np.testing.assert_array_equal(ours.get_support(), theirs.get_support())
        assert ours.get_support().any()
        np.testing.assert_allclose(ours.pvalues_, theirs.pvalues_, rtol=1e-8, atol=1e-200)
    search = GridSearchCV(
        make_pipeline(SelectKBest(f_regression), LinearRegression()), {"selectkbest__k": [1, 6]}
    )
    assert search.fit(X, y).best_params_ == {"selectkbest__k": 6}


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_other_libraries_give_their_kind(library, dtype):
    host, y = problem(1, dtype)
    X = to_library(library, host)
    assert host.shape[1] > BLOCK_FEATURES, "several blocks"
    results = r_regression(X, to_library(library, y)), *f_regression(X, to_library(library, y))
    for result, expected in zip(results, (r_regression(host, y), *f_regression(host, y)), strict=True):
        assert_lives_with(result, X)
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-9)
    np.testing.assert_array_equal(to_numpy(r_regression(X, y)), to_numpy(results[0]))
