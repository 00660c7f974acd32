"""Arrays that live on a GPU: they run where they are, and come back as what they were."""

import inspect

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.conftest import REAL_GPU
from vecprod_gpu._dispatch import load


def as_cupy(array):
    import cupy

    return cupy.asarray(array)


def as_numba(array):
    from numba import cuda

    return cuda.to_device(array)


KINDS = {"cupy": (as_cupy, "cupy"), "numba": (as_numba, "numba-cuda")}
if REAL_GPU:  # CuPy sees no simulated arrays
    KINDS |= {"numba by cupy": (as_numba, "cupy"), "cupy by numba": (as_cupy, "numba-cuda")}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def to_device(kind):
    """Copy of a host array as a device array of the kind, in a test where only its own backend runs it."""
    convert, backend = KINDS[kind]
    with vp.use_backend(backend):
        yield convert


def to_host(array):
    return array.get() if hasattr(array, "get") else array.copy_to_host()


def test_products_keep_the_kind(to_device, rng):
    a, b = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
    device_a, device_b = to_device(a), to_device(b)
    for ours, theirs in (
        (vp.cross(device_a, device_b), np.cross(a, b)),
        (vp.batched_outer(device_a, device_b), a[:, :, None] * b[:, None, :]),
        (vp.outer(device_a, device_b), np.outer(a, b)),
        (vp.cross(device_a, device_b, axisc=0), np.cross(a, b, axisc=0)),
    ):
        assert type(ours) is type(device_a)
        np.testing.assert_array_equal(to_host(ours), theirs)


def test_out_on_the_device(to_device, rng):
    a, b = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
    out = to_device(np.full((5, 3), np.nan))
    assert vp.cross(to_device(a), to_device(b), out=out) is out
    np.testing.assert_array_equal(to_host(out), np.cross(a, b))
    narrow = to_device(np.full((5, 3), np.nan, np.float32))
    vp.cross(to_device(a), to_device(b), out=narrow)
    np.testing.assert_array_equal(to_host(narrow), np.cross(a, b).astype(np.float32))


def test_beta_on_the_device(to_device, rng):
    a, b, c = (rng.integers(-9, 9, shape).astype(float) for shape in ((4, 5), (4, 6), (4, 5, 6)))
    out = to_device(c)
    vp.batched_outer(to_device(a), to_device(b), alpha=2, beta=3, out=out)
    np.testing.assert_array_equal(to_host(out), 2 * a[:, :, None] * b[:, None, :] + 3 * c)


def test_linear_regression(to_device, rng):
    X, y, w = rng.standard_normal((9, 3)), rng.standard_normal(9), rng.standard_normal(3)
    gradient, loss = vp.linreg_gradient(*map(to_device, (X, y, w)), return_loss=True)
    exact = X.T @ (X @ w - y) / 9
    assert type(gradient) is type(to_device(w))
    np.testing.assert_allclose(to_host(gradient), exact, rtol=1e-12)
    np.testing.assert_allclose(to_host(loss), ((X @ w - y) ** 2).mean() / 2, rtol=1e-12)
    fit = vp.linreg_fit(to_device(X), to_device(y), learning_rate=0.1, max_iter=3, tol=0)
    with vp.use_backend("reference"):
        same = vp.linreg_fit(X, y, learning_rate=0.1, max_iter=3, tol=0)
    np.testing.assert_allclose(to_host(fit.coef), same.coef, rtol=1e-10)
    np.testing.assert_allclose(to_host(fit.intercept), same.intercept, rtol=1e-10)


def test_a_fit_uploads_no_columns(monkeypatch, rng):
    backend, uploaded = load("cupy"), []
    native = backend.native

    def watched(array):
        if type(array) is np.ndarray:
            uploaded.append(array.size)
        return native(array)

    monkeypatch.setattr(backend, "native", watched)
    vp.linreg_fit(as_cupy(rng.random((50, 3))), as_cupy(rng.random(50)), learning_rate=0.1, max_iter=2)
    assert max(uploaded) <= 3


def test_cupy_results_predict_and_score(rng):
    X, y = rng.standard_normal((9, 3)), rng.standard_normal(9)
    fit = vp.linreg_fit(as_cupy(X), as_cupy(y), learning_rate=0.1, max_iter=50)
    same = vp.linreg_fit(X, y, learning_rate=0.1, max_iter=50)
    np.testing.assert_allclose(to_host(fit.predict(as_cupy(X))), same.predict(X), rtol=1e-10)
    assert fit.score(as_cupy(X), as_cupy(y)) == pytest.approx(same.score(X, y), rel=1e-10)


def test_numba_results_say_how_to_predict():
    with vp.use_backend("numba-cuda"):
        fit = vp.linreg_fit(as_numba(np.eye(3)), as_numba(np.ones(3)), learning_rate=0.1, max_iter=1)
    with pytest.raises(TypeError, match=r"cupy\.asarray"):
        fit.predict(as_numba(np.eye(3)))


class TestOneCallOneDevice:
    def test_inputs(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(TypeError, match="all arrays of one call must live in one place, but a is a "):
            vp.cross(convert(np.ones((2, 3))), np.ones((2, 3)))

    def test_out(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(TypeError, match="out is a host array"):
            vp.cross(convert(np.ones((2, 3))), convert(np.ones((2, 3))), out=np.ones((2, 3)))

    def test_regression(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(TypeError, match="X is a host array, y is a "):
            vp.linreg_gradient(np.ones((3, 2)), convert(np.ones(3)), np.ones(2))

    def test_lists_count_as_host_arrays(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(TypeError, match="b is a host array"):
            vp.cross(convert(np.ones(3)), [1.0, 2.0, 3.0])


class TestNothingLeavesItsDevice:
    def test_for_a_host_backend(self, kind):
        convert, _ = KINDS[kind]
        with vp.use_backend("cpu"), pytest.raises(vp.errors.DeviceError, match="are not moved"):
            vp.cross(convert(np.ones(3)), convert(np.ones(3)))

    def test_for_a_dtype_without_a_kernel(self):
        ones = as_cupy(np.ones(3, bool))
        with pytest.raises(TypeError, match="cross takes no bool on a GPU"):
            vp.cross(ones, ones)

    def test_for_two_components(self):
        with pytest.raises(ValueError, match="on a GPU both need 3"):
            vp.cross(as_cupy(np.ones(2)), as_cupy(np.ones(2)))

    def test_by_default_the_kind_decides(self):
        ones = as_cupy(np.ones((2, 3)))
        choice = vp.explain(vp.cross, ones, ones)
        assert (choice.backend, choice.reason) == ("cupy", "the arrays are cupy arrays")


def test_the_backends_have_one_signature():
    reference = load("reference")
    for name in ("cpu", "cupy", "numba-cuda"):
        module = load(name)
        assert sorted(set(reference.__all__) - {"cross_by_numpy"}) == sorted(module.__all__)
        for operation in ("batched_outer", "cross", "linreg_pass"):
            ours = inspect.signature(getattr(module, operation)).parameters.values()
            theirs = inspect.signature(getattr(reference, operation)).parameters.values()
            assert [(p.name, p.kind) for p in ours] == [(p.name, p.kind) for p in theirs]
