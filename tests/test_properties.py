"""Properties that hold for every shape, stride and value, held by random search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import vecprod_gpu as vp
from tests.conftest import HOST_BACKENDS

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
