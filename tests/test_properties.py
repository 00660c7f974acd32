"""Properties that hold for every shape, stride and value, held by random search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import vecprod_gpu as vp
from tests.conftest import HOST_BACKENDS
from tests.test_geometry import exact_each, triple_by_numpy
from tests.test_grids import grid_by_gradient
from tests.test_meshes import raw_face_normals, raw_vertex_normals, unit

DTYPES = st.sampled_from(["float32", "float64", "int8", "uint16", "int64", "float16", "complex64", "bool"])


def on(name):
    return vp.use_backend(name)


@st.composite
def arrays(draw, shape, dtype, finite=False):
    """An array of the shape, cut out of a larger one by steps of either sign, NaN and infinity included."""
    steps = [draw(st.sampled_from([1, 2, -1, -3])) for _ in shape]
    memory = tuple(max(1, length * abs(step)) for length, step in zip(shape, steps, strict=True))
    dtype = np.dtype(dtype)
    elements = None
    if dtype.kind in "fc":
        width = 32 if dtype.itemsize in (4, 8) and dtype != np.float64 else 16 if dtype.itemsize == 2 else 64
        options = {"allow_nan": not finite, "allow_infinity": not finite}
        elements = (
            st.floats(width=width, **options)
            if dtype.kind == "f"
            else st.complex_numbers(max_magnitude=1e3, allow_nan=False, allow_infinity=False, width=64)
        )
    large = draw(hnp.arrays(dtype, memory, elements=elements, fill=st.nothing()))
    cut = large[tuple(slice(None, None, step) for step in steps)]
    return cut[tuple(slice(0, length) for length in shape)]


def assert_equal(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if theirs.dtype.kind == "c":
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max(initial=1))
    else:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", [*HOST_BACKENDS, None])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_batched_outer_is_numpys_product(name, data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4))
    m, n = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    a = data.draw(arrays((*shapes.input_shapes[0], m), data.draw(DTYPES)))
    b = data.draw(arrays((*shapes.input_shapes[1], n), data.draw(DTYPES)))
    with np.errstate(all="ignore"):
        expected = a[..., :, None] * b[..., None, :]
        if name is None:
            assert_equal(vp.batched_outer(a, b), expected)
        else:
            with on(name):
                assert_equal(vp.batched_outer(a, b), expected)


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cross_is_numpys(name, data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4))
    numbers = DTYPES.filter(lambda dtype: dtype not in ("bool",))
    axis_a = data.draw(st.integers(0, len(shapes.input_shapes[0])))
    axis_b = data.draw(st.integers(0, len(shapes.input_shapes[1])))
    shape_a, shape_b = list(shapes.input_shapes[0]), list(shapes.input_shapes[1])
    shape_a.insert(axis_a, 3)
    shape_b.insert(axis_b, 3)
    a = data.draw(arrays(tuple(shape_a), data.draw(numbers)))
    b = data.draw(arrays(tuple(shape_b), data.draw(numbers)))
    axis_c = data.draw(st.integers(-1, len(shapes.result_shape)))
    with on(name), np.errstate(all="ignore"):
        assert_equal(vp.cross(a, b, axis_a, axis_b, axis_c), np.cross(a, b, axis_a, axis_b, axis_c))


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=60, deadline=None)
@given(a=st.integers(0, 6).flatmap(lambda n: arrays((n, 3), "float32", finite=True)))
def test_a_vector_crossed_with_itself_is_zero(name, a):
    with on(name), np.errstate(all="ignore"):
        product = vp.cross(a, a)
        finite = np.isfinite(a[:, [1, 2, 0]] * a[:, [2, 0, 1]]).all(axis=1)
    assert not product[finite].any()


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_gradient_does_not_depend_on_the_strides(name, data):
    n, d = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 6))
    values = st.floats(-100, 100, width=32)
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    X = data.draw(hnp.arrays(dtype, (n, d), elements=values))
    y = data.draw(hnp.arrays(dtype, n, elements=values))
    w = data.draw(hnp.arrays(dtype, d, elements=values))
    spread = np.full((2 * n, 3 * d), np.nan, dtype)
    spread[::2, ::3] = X
    with on(name):
        plain = vp.linreg_gradient(X, y, w)
        assert vp.linreg_gradient(spread[::2, ::3], y, w).tobytes() == plain.tobytes()
        assert vp.linreg_gradient(X[:, ::-1], y, w[::-1])[::-1].shape == plain.shape
    exact = X.astype(float).T @ (X.astype(float) @ w.astype(float) - y) / n
    # The rounding of d + n products of at most 1e4 each, times the |x| they are summed with.
    np.testing.assert_allclose(plain, exact, rtol=0, atol=1e2 * (d + n) * 1e4 * np.finfo(dtype).eps)


def draw_vectors(data, count, dtype, finite=False):
    """Arrays of 3-vectors along their last axis whose other axes broadcast, and the shape of these."""
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3))
    return [
        data.draw(arrays((*shape, 3), dtype, finite)) for shape in shapes.input_shapes
    ], shapes.result_shape


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_angles_are_exact_whatever_the_lengths(name, data):
    dtype = np.dtype(data.draw(st.sampled_from(["float32", "float64"])))
    (a, b), shape = draw_vectors(data, 2, dtype, finite=True)
    with on(name), np.errstate(all="ignore"):
        ours = vp.vector_angle(a, b)
    assert ours.shape == shape
    angles = exact_each(
        "vector_angle", [np.broadcast_to(each, (*shape, 3)).reshape(-1, 3) for each in (a, b)]
    )
    # Components that vanish beside the others count as rounding.
    nothing = 64 * float(np.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(np.ravel(ours), angles, rtol=8 * np.finfo(dtype).eps, atol=nothing)


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_triple_products_are_numpys(name, data):
    dtype = data.draw(st.sampled_from(["float32", "float64", "int8", "uint16", "int64"]))
    vectors, shape = draw_vectors(data, 3, dtype)
    # Arrays of one axis more, since NumPy's scalars warn where its arrays wrap.
    with on(name), np.errstate(all="ignore"):
        ours = vp.triple_product(*(vector[np.newaxis] for vector in vectors))
        theirs = triple_by_numpy(*(vector[np.newaxis] for vector in vectors))
    assert ours.shape == (1, *shape)
    assert_equal(ours, theirs)


@pytest.mark.parametrize("name", HOST_BACKENDS)
@pytest.mark.parametrize("function", [vp.vector_angle, vp.parallelogram_area, vp.triangle_area])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_measures_do_not_depend_on_the_strides(name, function, data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    vectors, shape = draw_vectors(data, 3 if function is vp.triangle_area else 2, dtype)
    with on(name), np.errstate(all="ignore"):
        ours = function(*vectors)
        plain = function(*(np.broadcast_to(vector, (*shape, 3)).copy() for vector in vectors))
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_dot_products_of_integers_are_numpys(name, data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4))
    dtypes = st.sampled_from(["int8", "uint16", "int32", "int64"])
    length = data.draw(st.integers(0, 40))
    a, b = (data.draw(arrays((*shape, length), data.draw(dtypes))) for shape in shapes.input_shapes)
    with on(name):
        ours = vp.linalg.vecdot(a, b)
    assert_equal(ours, np.vecdot(a, b))


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_sums_of_products_do_not_depend_on_the_strides(name, data):
    n, p, q = (data.draw(st.integers(least, most)) for least, most in ((2, 40), (1, 5), (1, 5)))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    X, Y = data.draw(arrays((n, p), dtype, finite=True)), data.draw(arrays((n, q), dtype, finite=True))
    weights = data.draw(st.none() | hnp.arrays(dtype, n, elements=st.floats(0, 8, width=32)))
    with on(name), np.errstate(all="ignore"):
        for ours, plain in (
            (vp.gram(X, Y, weights=weights), vp.gram(X.copy(), Y.copy(), weights=weights)),
            (vp.gram(X, weights=weights), vp.gram(X.copy(), weights=weights)),
            (vp.cov(X, Y, rowvar=False), vp.cov(X.T.copy(), Y.T.copy())),
            (vp.linalg.vecdot(X.T, X.T), vp.linalg.vecdot(X.copy(), X.copy(), axis=0)),
        ):
            np.testing.assert_array_equal(ours, plain)
            if ours.ndim == 2 and ours.shape != (p, q):
                np.testing.assert_array_equal(ours, ours.T)


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_covariances_are_numpys(name, data):
    n, p, q = (data.draw(st.integers(least, most)) for least, most in ((2, 30), (2, 5), (2, 3)))
    dtype = data.draw(st.sampled_from(["float32", "float64", "int8", "uint16"]))
    elements = st.integers(0, 100) if np.dtype(dtype).kind in "iu" else st.floats(-100, 100, width=32)
    m, y = (data.draw(hnp.arrays(dtype, (rows, n), elements=elements)) for rows in (p, q))
    how = {
        "ddof": data.draw(st.sampled_from([None, 0, 1, -3])),
        "bias": data.draw(st.booleans()),
        "fweights": data.draw(st.none() | hnp.arrays(int, n, elements=st.integers(1, 5))),
        "aweights": data.draw(st.none() | hnp.arrays(float, n, elements=st.floats(0.25, 8))),
    }
    if not data.draw(st.booleans()):
        m, y, how["rowvar"] = m.T, y.T, False
    y = data.draw(st.sampled_from([None, y]))
    with on(name):
        ours = vp.cov(m, y, **how)
    # Up to 30 products of numbers of at most 100, weighted, in another order.
    np.testing.assert_allclose(ours, np.cov(m, y, **how), rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_normals_of_meshes_are_the_formula(name, data):
    count, face_count = data.draw(st.integers(1, 8)), data.draw(st.integers(0, 12))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    points = data.draw(hnp.arrays(dtype, (count, 3), elements=st.integers(-8, 8)))
    index_dtype = data.draw(st.sampled_from(["uint16", "int64"]))
    corners = st.integers(0, count - 1) if data.draw(st.booleans()) else st.integers(0, count)
    faces = data.draw(hnp.arrays(index_dtype, (face_count, 3), elements=corners))
    points = data.draw(st.sampled_from([points, np.asfortranarray(points), points[::-1].copy()[::-1]]))
    functions = ((vp.face_normals, raw_face_normals), (vp.vertex_normals, raw_vertex_normals))
    for function, raw in functions:
        with on(name):
            if (faces == count).any():
                with pytest.raises(vp.errors.IndexRangeError) as raised:
                    function(points, faces)
                assert f"faces[{np.argmax((faces == count).any(axis=1))}]" in str(raised.value)
            else:
                expected = unit(raw(points, faces))
                np.testing.assert_allclose(function(points, faces), expected, rtol=3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", HOST_BACKENDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_normals_of_grids_are_the_gradients(name, data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=5))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    z = data.draw(hnp.arrays(dtype, shape, elements=st.floats(-100, 100, width=32)))
    z = z.swapaxes(0, -1)[..., ::-1] if data.draw(st.booleans()) else z
    steps = st.sampled_from([0.25, -0.5, 1.0, 3.0])
    dx = data.draw(steps | hnp.arrays(float, z.shape[-2], elements=steps))
    dy = data.draw(steps)
    with on(name):
        ours = vp.grid_normals(z, dx, dy)
    assert ours.dtype == dtype
    np.testing.assert_allclose(
        ours, grid_by_gradient(z.astype(float), dx, dy), rtol=0, atol=4 * np.finfo(dtype).eps
    )
