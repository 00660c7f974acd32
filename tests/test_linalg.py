"""The Array API's products: its rules, and NumPy's functions of the same names, on every backend."""

import inspect

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.test_products import COMPLEX, INTEGERS, REAL, assert_as_numpy, draw, layouts

NUMERIC = REAL + COMPLEX + INTEGERS


def test_signatures_are_the_standards():
    positional = inspect.Parameter.POSITIONAL_ONLY
    for function in (vp.linalg.outer, vp.linalg.cross, vp.linalg.vecdot):
        x1, x2, *axis = inspect.signature(function).parameters.values()
        assert (x1.name, x1.kind, x2.name, x2.kind) == ("x1", positional, "x2", positional)
        if function is not vp.linalg.outer:
            assert (axis[0].name, axis[0].kind, axis[0].default) == ("axis", axis[0].KEYWORD_ONLY, -1)
    assert sorted(vp.linalg.__all__) == ["cross", "outer", "vecdot"]


class TestOuter:
    @pytest.mark.parametrize("dtype", NUMERIC)
    def test_equals_numpy(self, backend, rng, dtype):
        x1, x2 = draw(rng, 7, dtype), draw(rng, 5, dtype)
        assert_as_numpy(vp.linalg.outer(x1, x2), np.linalg.outer(x1, x2))

    @pytest.mark.parametrize(("m", "n"), [(0, 3), (3, 0), (1, 1)])
    def test_of_short_vectors(self, backend, m, n):
        assert_as_numpy(vp.linalg.outer(np.ones(m), np.ones(n)), np.ones((m, n)))

    def test_promotes(self, backend):
        assert vp.linalg.outer(np.ones(2, "f"), np.ones(2, "d")).dtype == np.float64
        assert vp.linalg.outer(np.ones(2, "b"), np.ones(2, "B")).dtype == np.int16

    @pytest.mark.parametrize("shape", [(), (1, 3), (2, 2), (0, 2)])
    def test_never_flattens(self, backend, shape):
        with pytest.raises(vp.errors.ShapeError) as raised:
            vp.linalg.outer(np.ones(shape), np.ones(3))
        assert f"x1 has shape {shape}; needed is a vector" in str(raised.value)
        with pytest.raises(vp.errors.ShapeError, match="x2 has shape"):
            vp.linalg.outer([1.0], np.ones(shape))


class TestCross:
    @pytest.mark.parametrize("dtype", NUMERIC)
    def test_equals_numpy(self, backend, rng, dtype):
        x1, x2 = draw(rng, (7, 3), dtype), draw(rng, (7, 3), dtype)
        assert_as_numpy(vp.linalg.cross(x1, x2), np.linalg.cross(x1, x2))

    @pytest.mark.parametrize(
        ("shape1", "shape2", "axis"),
        [
            ((3,), (3,), -1),
            ((4, 1, 3), (5, 3), -1),
            ((3, 5), (3, 5), 0),
            ((3, 5), (3, 1), -2),
            ((2, 3, 5), (3, 5), -2),
            ((2, 3, 5), (1, 3, 1), 1),
            ((0, 3), (3,), -1),
        ],
    )
    def test_axes_and_broadcasting(self, backend, rng, shape1, shape2, axis):
        x1, x2 = draw(rng, shape1, "float64"), draw(rng, shape2, "float64")
        ours = vp.linalg.cross(x1, x2, axis=axis)
        assert ours.shape == np.broadcast_shapes(shape1, shape2)
        plain = vp.cross(np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1))
        np.testing.assert_array_equal(ours, np.moveaxis(plain, -1, axis))
        if x1.ndim == x2.ndim:
            np.testing.assert_array_equal(ours, np.cross(x1, x2, axis=axis))

    @pytest.mark.parametrize("axis", [None, "x", 1.0])
    @pytest.mark.parametrize("function", [vp.linalg.cross, vp.linalg.vecdot])
    def test_axes_that_are_none(self, function, axis):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            function(np.ones((2, 3)), np.ones((2, 3)), axis=axis)

    @pytest.mark.parametrize(
        ("shape1", "shape2", "axis", "words"),
        [
            ((2,), (2,), -1, "x1 has 2 components along axis -1; a cross product needs 3"),
            ((3,), (2,), -1, "x2 has 2 components along axis -1; a cross product needs 3"),
            ((5, 3), (5, 1), -1, "x2 has 1 components along axis -1"),
            ((3, 3), (4, 3), 0, "x2 has 4 components along axis -2"),
            ((4, 3), (5, 3), -1, "do not broadcast: (4,) and (5,)"),
            ((2, 3), (3,), 1, "axis is 1, counted from the start, but x1 has 2 axes and x2 has 1"),
            ((3, 2), (3,), 0, "axis is 0, counted from the start"),
            ((), (3,), -1, "x1 must have at least one axis"),
            ((3,), (), -1, "x2 must have at least one axis"),
        ],
    )
    def test_shapes_that_do_not_fit(self, backend, shape1, shape2, axis, words):
        with pytest.raises(vp.errors.ShapeError) as raised:
            vp.linalg.cross(np.ones(shape1), np.ones(shape2), axis=axis)
        assert words in str(raised.value)


class TestVecdot:
    @pytest.mark.parametrize("dtype", INTEGERS)
    @pytest.mark.parametrize("length", [1, 3, 17])
    def test_of_integers_wraps(self, backend, rng, dtype, length):
        x1, x2 = draw(rng, (4, length), dtype), draw(rng, (4, length), dtype)
        assert_as_numpy(vp.linalg.vecdot(x1, x2), np.linalg.vecdot(x1, x2))

    @pytest.mark.may_fall_back  # cpu computes no float16
    @pytest.mark.parametrize("dtype", ["float16", *REAL, *COMPLEX])
    @pytest.mark.parametrize("length", [1, 3, 8, 33])
    def test_equals_a_sum_in_float64(self, backend, rng, dtype, length):
        x1, x2 = draw(rng, (3, length), dtype), draw(rng, (3, length), dtype)
        ours = vp.linalg.vecdot(x1, x2)
        assert ours.dtype == dtype
        wide = np.complex128 if dtype in COMPLEX else np.float64
        terms = x1.conj().astype(wide) * x2.astype(wide)
        # A rounding for each product and sum, and of the result where float16 is summed in float32.
        sums = np.finfo(np.float32 if dtype == "float16" else dtype).eps
        bound = (length + 2) * sums * np.abs(terms).sum(axis=-1)
        bound = bound + np.finfo(dtype).eps * np.abs(terms.sum(axis=-1))
        assert (np.abs(ours - terms.sum(axis=-1)) <= bound).all()

    @pytest.mark.parametrize("dtype", COMPLEX)
    def test_conjugates_the_first(self, backend, dtype):
        x1, x2 = np.array([1j, 2 + 1j], dtype), np.array([1, 1j], dtype)
        assert vp.linalg.vecdot(x1, x2) == -1j + (2 - 1j) * 1j
        assert vp.linalg.vecdot(x1, x1) == 6
        assert vp.linalg.vecdot(x1.real.copy(), x1) == 2 * (2 + 1j)

    def test_float32_is_summed_in_float64_on_the_host(self, host_backend, rng):
        x = np.array([1e8, 1, -1e8, 0.5], np.float32)
        assert vp.linalg.vecdot(x, np.ones(4, np.float32)) == 1.5
        x1, x2 = draw(rng, (9, 1_000), "float32"), draw(rng, (9, 1_000), "float32")
        exact = (x1.astype(float) * x2).sum(axis=1)
        np.testing.assert_allclose(vp.linalg.vecdot(x1, x2), exact, rtol=1.01 * 2**-24, atol=1e-12)

    @pytest.mark.parametrize(
        ("shape1", "shape2", "axis"),
        [
            ((4,), (4,), -1),
            ((5, 4), (4,), -1),
            ((3, 1, 4), (5, 4), -1),
            ((4, 5), (4, 5), 0),
            ((4, 5), (4, 1), -2),
            ((2, 4, 5), (4, 5), -2),
            ((2, 1, 4, 5), (1, 3, 4, 1), 2),
        ],
    )
    def test_axes_and_broadcasting(self, backend, rng, shape1, shape2, axis):
        x1, x2 = (rng.integers(-99, 99, shape).astype(np.float32) for shape in (shape1, shape2))
        ours = vp.linalg.vecdot(x1, x2, axis=axis)
        theirs = np.vecdot(np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1))
        np.testing.assert_array_equal(ours, theirs)
        assert ours.shape == theirs.shape

    def test_of_single_vectors_is_a_scalar(self, backend):
        assert type(vp.linalg.vecdot([1, 2], [3, 4])) is np.int64
        assert type(vp.linalg.vecdot(np.ones(4, "f"), np.ones(4, "f"))) is np.float32
        assert type(vp.linalg.vecdot(np.ones(0), np.ones(0))) is np.float64

    @pytest.mark.parametrize(("shape1", "shape2"), [((3, 0), (0,)), ((0, 4), (4,)), ((2, 1, 0), (3, 0))])
    def test_of_nothing_is_zero(self, backend, shape1, shape2):
        ours = vp.linalg.vecdot(np.ones(shape1, "f"), np.ones(shape2, "f"))
        assert_as_numpy(ours, np.vecdot(np.ones(shape1, "f"), np.ones(shape2, "f")))

    @pytest.mark.may_fall_back  # for float16 and long doubles
    @pytest.mark.parametrize(
        ("dtype1", "dtype2", "result"),
        [
            ("f", "d", "d"),
            ("e", "f", "f"),
            ("b", "B", "h"),
            ("i", "f", "d"),
            ("q", "Q", "d"),
            ("F", "d", "D"),
            (">f4", "f", "f"),
            ("g", "f", "g"),
        ],
    )
    def test_promotes(self, backend, dtype1, dtype2, result):
        ours = vp.linalg.vecdot(np.full((2, 4), 3, dtype1), np.full(4, 2, dtype2))
        assert ours.dtype == result
        assert ours.dtype.isnative
        np.testing.assert_array_equal(ours, [24, 24])

    @pytest.mark.parametrize("dtype", [*REAL, "complex64"])
    def test_layouts_give_the_same_bits(self, backend, rng, dtype):
        x1, x2 = draw(rng, (4, 13), dtype), draw(rng, (4, 13), dtype)
        plain = vp.linalg.vecdot(x1, x2).tobytes()
        for odd1, odd2 in zip(layouts(x1).values(), layouts(x2).values(), strict=True):
            assert vp.linalg.vecdot(odd1, odd2).tobytes() == plain
        assert vp.linalg.vecdot(x1.T.copy(), x2.T.copy(), axis=0).tobytes() == plain

    @pytest.mark.parametrize("dtype", [*REAL, "complex64"])
    @pytest.mark.parametrize("length", [3, 70, 1_001])
    def test_layouts_of_longer_vectors_give_the_same_bits(self, host_backend, rng, dtype, length):
        x1, x2 = draw(rng, (10, length), dtype), draw(rng, (10, length), dtype)
        plain = vp.linalg.vecdot(x1, x2).tobytes()
        for odd1, odd2 in zip(layouts(x1).values(), layouts(x2).values(), strict=True):
            assert vp.linalg.vecdot(odd1, odd2).tobytes() == plain
        assert vp.linalg.vecdot(x1.T.copy(), x2.T.copy(), axis=0).tobytes() == plain
        backwards = x1[:, ::-1]
        assert vp.linalg.vecdot(backwards, x2).tobytes() == vp.linalg.vecdot(backwards.copy(), x2).tobytes()

    def test_the_order_of_a_sum_depends_on_its_length_alone(self, host_backend, rng):
        x1, x2 = draw(rng, (40, 70_001), "float64"), draw(rng, 70_001, "float64")
        together = vp.linalg.vecdot(x1, x2)
        for row in (0, 17, 39):
            assert vp.linalg.vecdot(x1[row], x2) == together[row]
        assert vp.linalg.vecdot(x1, x2).tobytes() == together.tobytes()

    def test_nan_stays(self, backend):
        x = np.eye(3)
        x[1, 1] = np.nan
        np.testing.assert_array_equal(np.isnan(vp.linalg.vecdot(x, np.ones(3))), [False, True, False])

    @pytest.mark.parametrize(
        ("shape1", "shape2", "axis", "words"),
        [
            ((4,), (3,), -1, "x2 has 3 components along axis -1; x1 has 4"),
            ((4,), (1,), -1, "x2 has 1 components along axis -1; x1 has 4"),
            ((1,), (4,), -1, "x2 has 4 components along axis -1; x1 has 1"),
            ((2, 4), (3, 4), -1, "leading axes of x1 and x2 do not broadcast: (2,) and (3,)"),
            ((2, 4), (4,), 1, "axis is 1, counted from the start, but x1 has 2 axes and x2 has 1"),
            ((), (4,), -1, "x1 must have at least one axis"),
            ((4,), (), -1, "x2 must have at least one axis"),
        ],
    )
    def test_shapes_that_do_not_fit(self, backend, shape1, shape2, axis, words):
        with pytest.raises(vp.errors.ShapeError) as raised:
            vp.linalg.vecdot(np.ones(shape1), np.ones(shape2), axis=axis)
        assert words in str(raised.value)


@pytest.mark.parametrize("function", [vp.linalg.cross, vp.linalg.vecdot])
class TestBothWithAnAxis:
    @pytest.mark.parametrize(
        ("shape1", "shape2", "axis"), [((3,), (3,), 1), ((3, 3), (3, 3), -3), ((3, 3), (3,), -2)]
    )
    def test_axis_out_of_range(self, backend, function, shape1, shape2, axis):
        with pytest.raises(np.exceptions.AxisError):
            function(np.ones(shape1), np.ones(shape2), axis=axis)

    @pytest.mark.parametrize("dtype", ["bool", "U1", "m8[s]"])
    def test_numbers_are_numeric(self, backend, function, dtype):
        with pytest.raises(vp.errors.DTypeError, match=r"^x1 has dtype .*; needed are numbers"):
            function(np.zeros(3, dtype), np.ones(3))
        with pytest.raises(vp.errors.DTypeError, match=r"^x2 has dtype .*; needed are numbers"):
            function(np.ones(3), np.zeros(3, dtype))

    def test_vectors_are_given_by_position(self, function):
        with pytest.raises(TypeError):
            function(x1=np.ones(3), x2=np.ones(3))
        with pytest.raises(TypeError):
            function(np.ones(3), np.ones(3), -1)
