"""PCA against scikit-learn's, and against singular values that are known."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import datasets, decomposition
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from tests.sklearn.libraries import LIBRARIES, assert_lives_with, dispatched, to_library, to_numpy
from vecprod_gpu.sklearn.decomposition import PCA

__all__ = ["dispatched"]

ATTRIBUTES = (
    "components_",
    "explained_variance_",
    "explained_variance_ratio_",
    "singular_values_",
    "mean_",
    "noise_variance_",
)


def problem(seed, dtype=np.float64):
    """More rows than columns, whose variances are well apart, in one of several layouts."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 12))
    n = d + int(rng.integers(2, 200))
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    X = (rng.normal(size=(n, d)) * 1.7 ** np.arange(d)) @ rotation * rng.uniform(0.1, 10)
    X = (X + 10 * rng.normal(size=d)).astype(dtype)
    return (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X[::-1])[seed % 4]


def with_singular_values(values, n, rng):
    """Centred rows whose columns are orthogonal, and as long as given."""
    centred = rng.normal(size=(n, len(values)))
    columns, _ = np.linalg.qr(np.column_stack([np.ones(n), centred]))
    return columns[:, 1:] * values


def assert_equal(ours, theirs, rtol=1e-8):
    for name in ATTRIBUTES:
        expected = getattr(theirs, name)
        spread = theirs.singular_values_ if name == "mean_" else 0
        atol = rtol * max(np.max(np.abs(expected), initial=0), np.max(spread, initial=0))
        np.testing.assert_allclose(getattr(ours, name), expected, rtol, atol, err_msg=name)
        assert np.shape(getattr(ours, name)) == np.shape(expected)
    for name in ("n_components_", "n_samples_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)


def assert_same_model(ours, theirs, X, rtol=1e-8):
    projected = theirs.transform(X)
    scale = np.abs(projected).max(initial=0)
    np.testing.assert_allclose(ours.transform(X), projected, rtol, rtol * scale)
    np.testing.assert_allclose(ours.inverse_transform(projected), theirs.inverse_transform(projected), rtol)
    covariance, precision = theirs.get_covariance(), theirs.get_precision()
    np.testing.assert_allclose(ours.get_covariance(), covariance, rtol, rtol * np.abs(covariance).max())
    rtol = max(rtol, 1e-14 * np.linalg.cond(covariance))  # what an inverse can be known to
    np.testing.assert_allclose(ours.get_precision(), precision, rtol, rtol * np.abs(precision).max())
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol)
    assert ours.score(X) == pytest.approx(theirs.score(X), rel=rtol)


@pytest.mark.parametrize("array_api", [False, True])
def test_scikit_learn_finds_no_fault(array_api, monkeypatch):
    if array_api:
        monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    else:
        monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    check_estimator(PCA(), on_skip=None)


@pytest.mark.parametrize("seed", range(50))
def test_random_problems_give_what_scikit_learn_gives(seed):
    X, whiten = problem(seed), seed % 5 == 4
    n_components = [None, 1, 0.7, "mle", min(3, X.shape[1]), X.shape[1] - 1][seed % 6]
    parameters = {"n_components": n_components, "whiten": whiten}
    ours = PCA(**parameters).fit(X)
    theirs = decomposition.PCA(**parameters, svd_solver="full").fit(X)
    assert_equal(ours, theirs)
    assert_same_model(ours, theirs, X)
    np.testing.assert_array_equal(ours.fit_transform(X), ours.transform(X))


def test_no_component_leaves_noise():
    X = problem(1)
    ours, theirs = PCA(0).fit(X), decomposition.PCA(0, svd_solver="full").fit(X)
    assert_equal(ours, theirs)
    assert ours.transform(X).shape == (len(X), 0)
    assert ours.score(X) == pytest.approx(theirs.score(X))


@pytest.mark.parametrize("load", [datasets.load_diabetes, datasets.load_linnerud])
@pytest.mark.parametrize("svd_solver", ["auto", "covariance_eigh", "full"])
def test_data_sets_give_what_scikit_learn_gives(load, svd_solver):
    X = load(return_X_y=True)[0]
    ours = PCA(svd_solver=svd_solver).fit(X)
    theirs = decomposition.PCA(svd_solver="full").fit(X)
    assert_equal(ours, theirs)
    assert_same_model(ours, theirs, X)


@pytest.mark.parametrize("svd_solver", ["auto", "full", "covariance_eigh", "arpack", "randomized"])
@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (12, 12)])
def test_every_solver_takes_every_shape(svd_solver, shape):
    X = np.random.default_rng(3).normal(size=shape) * 1.5 ** np.arange(shape[1])
    ours = PCA(4, svd_solver=svd_solver, random_state=0, iterated_power=30).fit(X)
    theirs = decomposition.PCA(4, svd_solver="full").fit(X)
    assert_equal(ours, theirs)
    np.testing.assert_allclose(ours.fit_transform(X.copy()), theirs.transform(X), atol=1e-8)


@pytest.mark.parametrize(
    ("shape", "parameters", "solver"),
    [
        ((60, 20), {}, "covariance_eigh"),
        ((600, 20), {"n_components": 2}, "covariance_eigh"),
        ((20, 20), {}, "full"),
        ((20, 60), {"n_components": 0.5}, "full"),
        ((600, 20), {"svd_solver": "full"}, "full"),
        ((20, 600), {"n_components": 2}, "randomized"),
        ((1100, 1010), {"n_components": 2}, "randomized"),
        ((600, 20), {"svd_solver": "randomized", "n_components": 2}, "randomized"),
    ],
)
def test_shape_and_components_decide_the_solver(shape, parameters, solver):
    X = np.random.default_rng(0).normal(size=shape)
    assert PCA(**parameters, random_state=0).fit(X)._fit_svd_solver == solver


@pytest.mark.parametrize("svd_solver", ["auto", "full"])
def test_float32_stays_and_integers_become_float64(svd_solver):
    X = problem(5, np.float32)
    ours = PCA(svd_solver=svd_solver).fit(X)
    assert_equal(ours, decomposition.PCA(svd_solver="full").fit(X.astype(float)), rtol=1e-5)
    assert {np.asarray(getattr(ours, name)).dtype for name in ATTRIBUTES[:-1]} == {np.dtype(np.float32)}
    assert ours.transform(X).dtype == np.float32
    counts = np.random.default_rng(0).integers(0, 9, size=(30, 3))
    assert_equal(PCA(svd_solver=svd_solver).fit(counts), decomposition.PCA(svd_solver="full").fit(counts))
    assert_equal(PCA().fit(counts.tolist()), decomposition.PCA().fit(counts))


@pytest.mark.parametrize("seed", range(5))
def test_chunks_in_any_order_and_merged_parts_give_the_whole(seed):
    X = problem(seed)
    whole = PCA(2 if X.shape[1] > 2 else None).fit(X)
    cuts = np.sort(np.random.default_rng(seed).integers(1, len(X), size=3))
    chunks = [chunk for chunk in np.split(X, cuts) if len(chunk)]
    updated, merged = clone(whole), clone(whole).partial_fit(chunks[-1])
    for chunk in chunks[::-1]:
        updated.partial_fit(chunk)
    for chunk in chunks[:-1]:
        merged = merged.merge(clone(whole).partial_fit(chunk))
    assert whole.merge(merged).n_samples_ == 2 * len(X)
    assert (whole.n_samples_, merged.n_samples_) == (len(X), len(X))
    continued = clone(whole).fit(X[:-1]).partial_fit(X[-1:])
    for one in (updated, merged, continued):
        assert_equal(one, whole, rtol=1e-9)


def test_fewer_rows_than_components_give_as_many_components_as_rows():
    X = problem(7)[:20]
    pca = PCA(n_components=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a single row has no variance
        counts = [pca.partial_fit(X[i : i + 1]).n_components_ for i in range(6)]
    assert counts == [1, 2, 3, 4, 4, 4]
    assert_equal(pca, PCA(n_components=4, svd_solver="full").fit(X[:6]))


def test_columns_of_different_size_keep_their_digits_without_the_data(rng):
    mixed = rng.normal(size=(400, 20)) @ (np.eye(20) + 0.1 * rng.normal(size=(20, 20)))
    X = mixed * rng.permutation(np.geomspace(1, 1e-7, 20))
    pca = PCA().partial_fit(X[:100]).partial_fit(X[100:])
    exact = decomposition.PCA(svd_solver="full").fit(X)
    assert exact.singular_values_[-1] < 1e-7 * exact.singular_values_[0]
    np.testing.assert_allclose(pca.singular_values_, exact.singular_values_, rtol=1e-7)
    np.testing.assert_allclose(pca.components_, exact.components_, atol=1e-8)


def test_data_are_read_again_where_co_moments_lose_a_wanted_component(rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    values = np.geomspace(1, 1e-10, 6)
    X = with_singular_values(values, 300, rng) @ rotation
    exact = PCA().fit(X)
    assert exact._fit_svd_solver == "full"
    np.testing.assert_allclose(exact.singular_values_, values, rtol=1e-4)
    assert PCA(2).fit(X)._fit_svd_solver == "covariance_eigh"
    lost = PCA(svd_solver="covariance_eigh").fit(X).singular_values_
    assert abs(lost[-1] / values[-1] - 1) > 1e-4
    np.testing.assert_allclose(lost, values, atol=1e-7)
    single = X.astype(np.float32)
    assert PCA(3).fit(single)._fit_svd_solver == "covariance_eigh", "seven digits are there"


def test_an_exact_fit_is_extended_by_nothing():
    X = np.random.default_rng(0).normal(size=(5, 9))
    pca = PCA().fit(X)
    with pytest.raises(ValueError, match="keeps no co-moments"):
        pca.partial_fit(X)
    with pytest.raises(ValueError, match="keeps no co-moments"):
        pca.merge(PCA().partial_fit(X))
    assert_equal(pca.fit(X.T).partial_fit(X.T), PCA().fit(np.vstack([X.T, X.T])))
    for solver in ("full", "arpack", "randomized"):
        assert not hasattr(PCA(svd_solver=solver), "partial_fit")
        assert not hasattr(PCA(svd_solver=solver), "merge")


def test_merge_refuses_what_does_not_fit():
    X = problem(3)
    pca = PCA().fit(X)
    with pytest.raises(TypeError, match="cannot merge a PCA with a LinearRegression"):
        pca.merge(LinearRegression())
    with pytest.raises(NotFittedError):
        pca.merge(PCA())
    with pytest.raises(ValueError, match=r"needed is X \(n, "):
        pca.merge(PCA().fit(np.column_stack([X, X])))


def message_of(call, *arguments):
    with pytest.raises((ValueError, TypeError)) as raised:
        call(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("svd_solver", ["auto", "full", "covariance_eigh", "randomized"])
def test_what_is_not_finite_is_refused_in_the_words_of_scikit_learn(bad, svd_solver):
    X = problem(2)
    whole = PCA().fit(X)
    spoilt = X.copy()
    spoilt[-1, -1] = bad
    expected = message_of(decomposition.PCA(svd_solver=svd_solver).fit, spoilt)
    assert message_of(PCA(svd_solver=svd_solver).fit, spoilt) == expected
    assert message_of(PCA(svd_solver=svd_solver).fit_transform, spoilt) == expected
    partial = PCA().partial_fit(X[:-5])
    assert message_of(partial.partial_fit, spoilt[-5:]) == expected
    assert_equal(partial.partial_fit(X[-5:]), whole)


def test_squares_that_overflow_are_told():
    with pytest.raises(ValueError, match="overflow float64"):
        PCA().fit(problem(2) * 1e200)


@pytest.mark.parametrize("shape", [(8, 3), (3, 8)])
@pytest.mark.parametrize("n_components", [9, -1, 1.5, "most", "mle", 4])
@pytest.mark.parametrize("svd_solver", ["full", "covariance_eigh"])
def test_components_that_cannot_be_are_refused_in_the_words_of_scikit_learn(shape, n_components, svd_solver):
    X = np.random.default_rng(0).normal(size=shape)
    ours, theirs = (
        components_or_refusal(one(n_components, svd_solver=svd_solver), X) for one in (PCA, decomposition.PCA)
    )
    assert ours == theirs


def components_or_refusal(pca, X):
    try:
        return pca.fit(X).n_components_
    except ValueError as refusal:
        return str(refusal)


@pytest.mark.parametrize("seed", range(12))
def test_evidence_chooses_what_it_chooses_in_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    signal = int(rng.integers(1, 8))
    X = rng.normal(size=(int(rng.integers(15, 300)), signal)) @ rng.normal(size=(signal, 10))
    X = X + rng.uniform(0.01, 0.5) * rng.normal(size=X.shape)
    assert PCA("mle").fit(X).n_components_ == decomposition.PCA("mle", svd_solver="full").fit(X).n_components_


def test_evidence_takes_no_component_of_rounding(rng):
    X = np.outer(rng.normal(size=50), [1.0, 2.0, 3.0])
    assert PCA("mle").fit(X).n_components_ == 1


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
@pytest.mark.parametrize("svd_solver", ["auto", "arpack", "covariance_eigh"])
def test_sparse_data_stay_sparse(make, svd_solver, monkeypatch):
    dense = np.random.default_rng(0).binomial(1, 0.3, size=(60, 8)) * np.arange(1.0, 9)
    X = make(dense)
    for name in ("toarray", "todense"):
        monkeypatch.setattr(type(X), name, None)
    ours = PCA(3, svd_solver=svd_solver, random_state=0).fit(X)
    assert_equal(ours, decomposition.PCA(3, svd_solver="full").fit(dense))
    np.testing.assert_allclose(ours.transform(X), ours.transform(dense), atol=1e-9)


def test_sparse_data_are_refused_where_they_would_have_to_be_made_dense():
    X = sparse.csr_array(np.eye(6))
    expected = message_of(decomposition.PCA(svd_solver="full").fit, X)
    assert message_of(PCA(svd_solver="full").fit, X) == expected
    assert "parse" in message_of(PCA().partial_fit, X)


def test_precision_of_dependent_columns_is_the_pseudo_inverse(rng):
    X = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 5))
    pca = PCA().fit(X)
    expected = np.linalg.pinv(np.cov(X.T), rcond=1e-10)
    np.testing.assert_allclose(pca.get_precision(), expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_of_features_come_from_data_frames(library):
    frames = pytest.importorskip(library)
    X = problem(9)
    names = [f"x{j}" for j in range(X.shape[1])]
    frame = frames.DataFrame({name: X[:, j] for j, name in enumerate(names)})
    pca = PCA(2).set_output(transform=library).fit(frame)
    assert list(pca.feature_names_in_) == names
    assert list(pca.fit_transform(frame).columns) == list(pca.get_feature_names_out()) == ["pca0", "pca1"]
    assert_equal(pca, PCA(2).fit(X))
    parts = PCA(2).partial_fit(frame[:9]).merge(PCA(2).partial_fit(frame[9:]))
    assert list(parts.feature_names_in_) == names
    renamed = frame.rename(dict(zip(names, names[::-1], strict=True)), **_axis(library))
    with pytest.raises(ValueError, match="feature names"):
        parts.partial_fit(renamed)
    with pytest.raises(ValueError, match="was fitted to the features"):
        parts.merge(PCA(2).fit(renamed))


def _axis(library):
    return {"axis": 1} if library == "pandas" else {}


def test_pipelines_searches_clones_and_pickles(rng):
    X, y = datasets.load_diabetes(return_X_y=True)
    searches = [
        GridSearchCV(
            make_pipeline(one(whiten=True), LinearRegression()), {"pca__n_components": [1, 3, 0.9]}
        ).fit(X, y)
        for one in (PCA, decomposition.PCA)
    ]
    ours, theirs = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    fitted = PCA(2).partial_fit(X[:50])
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_equal(loaded.partial_fit(X[50:]), fitted.partial_fit(X[50:]), rtol=0)
    assert not hasattr(clone(fitted), "components_")


def test_a_fitted_estimator_holds_none_of_the_data(rng):
    X = rng.normal(size=(20_000, 5))
    assert len(pickle.dumps(PCA().fit(X))) < 10_000
    assert len(pickle.dumps(PCA().partial_fit(X).partial_fit(X))) < 10_000


@pytest.mark.parametrize("copy", [True, False])
def test_data_are_not_changed(copy):
    X = problem(4)
    before = X.copy()
    X.flags.writeable = False
    PCA(1, copy=copy).fit_transform(X)
    np.testing.assert_array_equal(X, before)


def test_truncated_solvers_may_overwrite_the_data():
    X = np.random.default_rng(1).normal(size=(30, 600))
    expected = decomposition.PCA(2, random_state=0).fit_transform(X.copy())
    np.testing.assert_allclose(PCA(2, copy=False, random_state=0).fit_transform(X.copy()), expected)


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"n_components": 2, "whiten": True}, {"svd_solver": "full"}, {"n_components": 0.8}, {"wide": True}],
)
def test_arrays_of_other_libraries_give_their_kind(library, dtype, parameters):
    host = problem(6, dtype)
    if "wide" in parameters:
        host, parameters = host[:4], {"n_components": 2}
    X = to_library(library, host)
    rtol = 1e-8 if dtype == np.float64 else 1e-3
    ours, theirs = PCA(**parameters).fit(X), PCA(**parameters).fit(host)
    for name in ATTRIBUTES[:-1]:
        result = getattr(ours, name)
        assert_lives_with(result, X)
        assert result.dtype == X.dtype
        expected = getattr(theirs, name)
        np.testing.assert_allclose(to_numpy(result), expected, rtol, rtol * np.abs(expected).max())
    projected = ours.transform(X)
    assert_lives_with(projected, X)
    expected = theirs.transform(host)
    np.testing.assert_allclose(to_numpy(projected), expected, rtol, rtol * np.abs(expected).max())
    assert_lives_with(ours.get_precision(), X)
    if "svd_solver" not in parameters and host.shape[0] > host.shape[1]:
        merged = clone(ours).partial_fit(X[:20, :]).merge(clone(ours).partial_fit(X[20:, :]))
        assert_lives_with(merged.components_, X)
        np.testing.assert_allclose(to_numpy(merged.mean_), theirs.mean_, rtol)


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("library", LIBRARIES)
def test_arrays_of_other_libraries_are_told_of_nan(library):
    host = problem(6)
    host = np.where(np.arange(host.size).reshape(host.shape) == 7, np.nan, host)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        PCA().fit(to_library(library, host))
