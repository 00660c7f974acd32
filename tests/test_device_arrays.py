"""Arrays that live on a GPU: they run where they are, and come back as what they were."""

import inspect
import warnings

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.conftest import REAL_GPU
from vecprod_gpu._dispatch import ON_DEVICE, load


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


def assert_same_as_on_the_host(function, arrays, to_device, **how):
    """Device arrays in, the same kind out, with the numbers that host arrays give."""
    device_arrays = [to_device(array) for array in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = function(*device_arrays, **how), function(*arrays, **how)
    assert type(ours) is type(device_arrays[0])
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(to_host(ours), theirs)


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


def test_measures_keep_the_kind(to_device, rng):
    a, b, c = rng.standard_normal((3, 5, 3))
    for function, vectors in (
        (vp.vector_angle, (a, b)),
        (vp.parallelogram_area, (a, b)),
        (vp.triangle_area, (a, b, c)),
        (vp.triple_product, (a, b, c)),
        (vp.linalg.vecdot, (a, b)),
        (vp.linalg.cross, (a, b)),
        (vp.linalg.outer, (a[0], b[0])),
    ):
        assert_same_as_on_the_host(function, vectors, to_device)
        if function is not vp.linalg.outer:
            assert_same_as_on_the_host(function, [vector[0] for vector in vectors], to_device)
            assert_same_as_on_the_host(function, [vector[:0] for vector in vectors], to_device)
            assert_same_as_on_the_host(function, [vector.T.copy() for vector in vectors], to_device, axis=0)


def test_normals_keep_the_kind(to_device, rng):
    vertices, faces = rng.standard_normal((2, 9, 3)), rng.integers(0, 9, (12, 3))
    for dtype in (np.int32, np.int64, np.uint8):
        assert_same_as_on_the_host(vp.face_normals, (vertices, faces.astype(dtype)), to_device)
        assert_same_as_on_the_host(vp.vertex_normals, (vertices, faces.astype(dtype)), to_device)
    assert_same_as_on_the_host(vp.face_normals, (vertices[0], faces), to_device, unit=False)
    z = rng.standard_normal((4, 5))
    assert_same_as_on_the_host(vp.grid_normals, (z,), to_device, dx=[0.5, 1, 2, 4], dy=-0.5)


def test_normals_into_out_on_the_device(to_device, rng):
    vertices, faces = rng.standard_normal((9, 3)), rng.integers(0, 9, (9, 3))
    for function in (vp.face_normals, vp.vertex_normals):
        out = to_device(np.full((9, 3), 7.0, np.float32))
        for bad in (np.full((9, 3), 9), faces - 9):
            with pytest.raises(vp.errors.IndexRangeError):
                function(to_device(vertices), to_device(bad), out=out)
        assert (to_host(out) == 7).all()
        assert function(to_device(vertices), to_device(faces), out=out) is out
        np.testing.assert_allclose(to_host(out), function(vertices, faces), rtol=1e-6)


def test_moments_keep_the_kind(to_device, rng):
    m, y = rng.standard_normal((4, 9)), rng.standard_normal((2, 9))
    for function, arrays in (
        (vp.cov, (m, y)),
        (vp.cov, (m[0],)),
        (vp.corrcoef, (m,)),
        (vp.corrcoef, (m[0],)),
    ):
        assert_same_as_on_the_host(function, arrays, to_device)
    assert_same_as_on_the_host(vp.cov, (m.T.copy(), y.T.copy()), to_device, rowvar=False)
    assert_same_as_on_the_host(vp.cov, (m,), to_device, dtype=np.float32)
    stack = np.stack([m, 2 * m + 1])
    for function in (vp.batched_cov, vp.batched_corrcoef):
        assert_same_as_on_the_host(function, (stack,), to_device)
        assert_same_as_on_the_host(function, (m[0],), to_device)
        assert_same_as_on_the_host(function, (stack[:0],), to_device)


def test_weights_of_moments_may_live_anywhere(to_device, rng):
    m, f, a = rng.standard_normal((4, 9)), rng.integers(0, 4, 9), rng.random(9)
    expected = np.cov(m, fweights=f, aweights=a)
    for fweights, aweights in ((f, a), (to_device(f), to_device(a)), (f.tolist(), to_device(a))):
        ours = vp.cov(to_device(m), fweights=fweights, aweights=aweights)
        np.testing.assert_allclose(to_host(ours), expected, rtol=1e-12, atol=1e-14)


def test_gram_keeps_the_kind(to_device, rng):
    X, Y, s = rng.standard_normal((2, 9, 4)), rng.standard_normal((9, 3)), rng.random(9)
    for arrays in ((X,), (X, Y), (X[:, :0],), (Y, Y)):
        assert_same_as_on_the_host(vp.gram, arrays, to_device)
    weighted = vp.gram(to_device(X), to_device(Y), weights=to_device(s))
    np.testing.assert_allclose(to_host(weighted), vp.gram(X, Y, weights=s), rtol=1e-12, atol=1e-14)
    out = to_device(np.full((3, 3), np.nan, np.float32))
    assert vp.gram(to_device(Y), out=out) is out
    np.testing.assert_allclose(to_host(out), Y.T @ Y, rtol=1e-6)


def test_columns_are_chosen_where_they_are(to_device, rng):
    X, y, s = rng.standard_normal((20, 4)), rng.standard_normal(20), rng.random(20)
    for method in ("f", "forward", "correlation"):
        ours = vp.select_features(*map(to_device, (X, y)), 3, method=method, sample_weight=to_device(s))
        same = vp.select_features(X, y, 3, method=method, sample_weight=s)
        assert type(ours.indices) is type(ours.scores) is np.ndarray
        np.testing.assert_array_equal(ours.indices, same.indices)
        np.testing.assert_allclose(ours.scores, same.scores, rtol=1e-10)


def test_chosen_columns_of_cupy_arrays(rng):
    X = rng.standard_normal((20, 4))
    chosen = vp.select_features(X, X[:, 2] + 0.1 * X[:, 0], 2)
    taken = chosen.transform(as_cupy(X))
    assert type(taken) is type(as_cupy(X))
    np.testing.assert_array_equal(to_host(taken), X[:, chosen.indices])
    with pytest.raises(vp.errors.DeviceError, match=r"cupy\.asarray"):
        chosen.transform(as_numba(X))


def test_an_automatic_learning_rate(to_device, rng):
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    how = {"solver": "gd", "max_iter": 1, "fit_intercept": False}
    ours, same = vp.linreg_fit(to_device(X), to_device(y), **how), vp.linreg_fit(X, y, **how)
    assert ours.learning_rate == pytest.approx(same.learning_rate, rel=1e-12)
    np.testing.assert_allclose(to_host(ours.coef), same.coef, rtol=1e-10)


def test_a_fit_uploads_no_columns(monkeypatch, rng):
    backend, uploaded = load("cupy"), []
    native = backend.native

    def watched(array):
        if type(array) is np.ndarray:
            uploaded.append(array.size)
        return native(array)

    monkeypatch.setattr(backend, "native", watched)
    X, y = as_cupy(rng.random((50, 3))), as_cupy(rng.random(50))
    vp.linreg_fit(X, y, solver="gd", learning_rate=0.1, max_iter=2)
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

    def test_meshes(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(vp.errors.DeviceError, match=r"vertices is a .*, faces is a host array"):
            vp.face_normals(convert(np.eye(3)), [[0, 1, 2]])

    def test_heights(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(vp.errors.DeviceError, match="out is a host array"):
            vp.grid_normals(convert(np.eye(3)), out=np.empty((3, 3, 3)))

    def test_moments(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(vp.errors.DeviceError, match="y is a host array"):
            vp.cov(convert(np.eye(3)), np.eye(3))
        with pytest.raises(vp.errors.DeviceError, match="weights is a host array"):
            vp.gram(convert(np.eye(3)), weights=np.ones(3))
        with pytest.raises(vp.errors.DeviceError, match="sample_weight is a host array"):
            vp.select_features(convert(np.eye(3)), convert(np.arange(3.0)), 1, sample_weight=np.ones(3))

    def test_lists_count_as_host_arrays(self, kind):
        convert, _ = KINDS[kind]
        with pytest.raises(TypeError, match="b is a host array"):
            vp.cross(convert(np.ones(3)), [1.0, 2.0, 3.0])


class Tensor:
    """As torch's on a GPU: it says where it lies, in a dtype that is not NumPy's."""

    __cuda_array_interface__ = {"shape": (3,), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012
    dtype, shape, ndim = "torch.float32", (3,), 1


def test_a_tensor_is_told_how_to_come_in():
    for arguments in ((Tensor(), Tensor()), (as_cupy(np.ones(3)), Tensor())):
        with pytest.raises(vp.errors.DTypeError, match=r"is a .*\.Tensor, .*cupy\.from_dlpack\([ab]\)"):
            vp.cross(*arguments)


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


ON_HOST_ALONE = {
    "coordinate_descent",
    "normal_equations",
    "outer_adjoint",
    "proximal_descent",
    "solution_loss",
    "solve_positive",
}
ON_DEVICE_ALONE = {"solve_systems", "solves_systems"}
OPERATIONS = (
    "batched_outer",
    "co_moments",
    "cross",
    "face_normals",
    "gram",
    "grid_normals",
    "linreg_is_kept",
    "linreg_pass",
    "linreg_steps",
    "measure",
    "vecdot",
    "vertex_normals",
)


def test_the_backends_have_one_signature():
    reference = load("reference")
    for name in ("cpu", "cupy", "numba-cuda"):
        module = load(name)
        shared = set(reference.__all__) - {"cross_by_numpy"}
        expected = shared - ON_HOST_ALONE | ON_DEVICE_ALONE if name in ON_DEVICE else shared
        assert expected == set(module.__all__)
        for operation in OPERATIONS:
            ours = inspect.signature(getattr(module, operation)).parameters.values()
            theirs = inspect.signature(getattr(reference, operation)).parameters.values()
            assert [(p.name, p.kind) for p in ours] == [(p.name, p.kind) for p in theirs]
