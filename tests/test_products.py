"""Outer, batched outer and cross products: one body for every backend, and NumPy as the yardstick."""

import warnings

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.kernels import oracles

REAL = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def draw(rng, shape, dtype):
    """Random values that use the dtype's range: integers wrap when multiplied."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def layouts(array):
    """The same values read-only, Fortran-ordered, reversed, strided and misaligned."""
    read_only = array.copy()
    read_only.flags.writeable = False
    spread = np.repeat(array, 2, axis=-1)[..., ::2]
    shifted = np.frombuffer(b"-" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    backwards = np.ascontiguousarray(array[::-1])[::-1]
    return {
        "read-only": read_only,
        "fortran": np.asfortranarray(array),
        "strided": spread,
        "misaligned": shifted,
        "reversed": backwards,
    }


def poisoned(shape, dtype):
    """An output whose old contents show wherever they are left, or are read."""
    out = np.empty(shape, dtype)
    out.reshape(-1).view(np.uint8)[:] = 0xFF
    return out


def assert_as_numpy(ours, theirs):
    """Same dtype, shape and bits; complex products may differ by NumPy's own fused rounding."""
    assert type(ours) is np.ndarray
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if theirs.dtype.kind == "c":
        # One product of complex numbers has three roundings, a cross product seven.
        scale = np.abs(theirs).max(initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=8 * np.finfo(theirs.dtype).eps * scale)
    else:
        np.testing.assert_array_equal(ours, theirs)


class TestCross:
    @pytest.mark.parametrize("dtype", REAL + COMPLEX + INTEGERS)
    def test_equals_numpy(self, backend, rng, dtype):
        a, b = draw(rng, (7, 3), dtype), draw(rng, (7, 3), dtype)
        assert_as_numpy(vp.cross(a, b), np.cross(a, b))

    @pytest.mark.parametrize("dtype", REAL)
    def test_agrees_with_the_oracle(self, backend, rng, dtype):
        a, b = draw(rng, (33, 3), dtype), draw(rng, (33, 3), dtype)
        # Two products and a difference: three roundings of terms of at most |a| |b|.
        bound = 3 * np.finfo(dtype).eps * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        assert (np.abs(vp.cross(a, b) - oracles.cross(a, b)).max(axis=1) <= bound).all()

    @pytest.mark.parametrize(
        ("shape_a", "shape_b"),
        [((3,), (3,)), ((5, 3), (3,)), ((4, 1, 3), (5, 3)), ((2, 1, 3, 3), (1, 4, 1, 3)), ((0, 3), (0, 3))],
    )
    def test_broadcasts(self, backend, rng, shape_a, shape_b):
        a, b = draw(rng, shape_a, "float32"), draw(rng, shape_b, "float32")
        assert_as_numpy(vp.cross(a, b), np.cross(a, b))

    @pytest.mark.parametrize("count", [1, 2, 9, 50_000])
    @pytest.mark.parametrize("dtype", REAL)
    def test_rows_that_lie_apart(self, backend, rng, dtype, count):
        """What lies between them is neither used nor changed."""
        wide, sparse, around = (
            np.full(shape, np.inf, dtype) for shape in [(count, 5), (2 * count, 3), (count, 4)]
        )
        a, b, out = wide[::-1, 1:4], sparse[::2], around[:, :3]
        a[...], b[...] = draw(rng, (count, 3), dtype), draw(rng, (count, 3), dtype)
        with np.errstate(all="raise"):
            assert vp.cross(a, b, out=out) is out
            assert_as_numpy(out, np.cross(a, b))
        assert np.isposinf(around[:, 3]).all()

    @pytest.mark.parametrize("axes", [(0, 0, 0), (0, 1, 0), (1, 0, -1), (-2, -1, 1), (0, 0, 1)])
    def test_axes(self, backend, rng, axes):
        a, b = draw(rng, (3, 3), "float64"), draw(rng, (3, 3), "float64")
        assert_as_numpy(vp.cross(a, b, *axes), np.cross(a, b, *axes))

    def test_axis_is_applied_before_broadcasting(self, backend, rng):
        a, b = draw(rng, (3, 4, 5), "float64"), draw(rng, (3, 5), "float64")
        assert_as_numpy(vp.cross(a, b, axis=0), np.cross(a, b, axis=0))

    def test_axis_0_gives_a_view_that_is_not_contiguous(self, host_backend, rng):
        product = vp.cross(draw(rng, (3, 5), "float64"), draw(rng, (3, 5), "float64"), axis=0)
        assert not product.flags.c_contiguous

    @pytest.mark.parametrize("layout", ["read-only", "fortran", "strided", "misaligned", "reversed"])
    def test_layouts_give_the_same_bits(self, backend, rng, layout):
        a, b = draw(rng, (10, 3), "float32"), draw(rng, (10, 3), "float32")
        odd = layouts(a)[layout]
        kept = odd.copy()
        assert vp.cross(odd, b).tobytes() == vp.cross(a, b).tobytes()
        np.testing.assert_array_equal(odd, kept)

    def test_of_a_vector_with_itself_is_exactly_zero(self, backend, rng):
        a = draw(rng, (40, 3), "float32") * np.float32(1e3)
        assert not vp.cross(a, a).any()

    def test_out(self, backend, rng):
        a, b = draw(rng, (9, 3), "float32"), draw(rng, (9, 3), "float32")
        out = poisoned((9, 3), np.float32)
        assert vp.cross(a, b, out=out) is out
        np.testing.assert_array_equal(out, np.cross(a, b))

    def test_out_may_be_strided_and_wider(self, backend, rng):
        a, b = draw(rng, (9, 3), "float32"), draw(rng, (9, 3), "float32")
        for out in (poisoned((9, 6), np.float32)[:, ::2], poisoned((3, 9), np.float64).T):
            vp.cross(a, b, out=out)
            np.testing.assert_array_equal(out, np.cross(a, b))

    def test_out_moves_with_its_axis(self, backend, rng):
        a, b = draw(rng, (9, 3), "float64"), draw(rng, (9, 3), "float64")
        out = poisoned((3, 9), np.float64)
        vp.cross(a, b, axisc=0, out=out)
        np.testing.assert_array_equal(out, np.cross(a, b).T)

    @pytest.mark.parametrize("which", [0, 1])
    def test_out_may_be_an_input(self, backend, rng, which):
        inputs = [draw(rng, (9, 3), "float64"), draw(rng, (9, 3), "float64")]
        expected = np.cross(*inputs)
        vp.cross(*inputs, out=inputs[which])
        np.testing.assert_array_equal(inputs[which], expected)

    def test_out_may_overlap_an_input(self, backend, rng):
        memory, b = draw(rng, (10, 3), "float64"), draw(rng, (9, 3), "float64")
        expected = np.cross(memory[:-1], b)
        vp.cross(memory[:-1], b, out=memory[1:])
        np.testing.assert_array_equal(memory[1:], expected)

    def test_of_a_list_and_float32_is_float64(self, backend):
        product = vp.cross(np.ones(3, np.float32), [1.0, 2.0, 3.0])
        assert product.dtype == np.float64

    def test_int64_with_uint64_is_float64(self, backend):
        a, b = np.array([1, 2, 3]), np.array([4, 5, 6], np.uint64)
        assert_as_numpy(vp.cross(a, b), np.cross(a, b))

    @pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
    def test_subclasses_are_dropped(self, host_backend):
        masked = np.ma.masked_array([[1.0, 2.0, 3.0]], mask=[[0, 1, 0]])
        assert_as_numpy(vp.cross(masked, masked[:, ::-1]), np.cross(masked.data, masked.data[:, ::-1]))
        matrix = np.matrix([[1.0, 2.0, 3.0]])
        assert type(vp.cross(matrix, matrix)) is np.ndarray

    def test_of_objects_follows_numpy(self, backend_or_default):
        a = np.array([1, 2**70, 3], object)
        np.testing.assert_array_equal(vp.cross(a, a[::-1]), np.cross(a, a[::-1]))

    def test_of_booleans_is_an_error(self, backend_or_default):
        with pytest.raises(TypeError):
            vp.cross(np.ones(3, bool), np.ones(3, bool))

    def test_of_two_components_follows_the_installed_numpy(self, backend_or_default):
        for a, b in (([1, 2], [3, 4]), ([1, 2], [3, 4, 5]), ([1, 2, 3], [4, 5])):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    expected = np.cross(a, b)
                except ValueError:
                    with pytest.raises(ValueError, match="dimension"):
                        vp.cross(a, b)
                else:
                    np.testing.assert_array_equal(vp.cross(a, b), expected)
                    np.testing.assert_array_equal(
                        vp.cross(a, b, out=np.empty_like(expected, np.float64)), expected
                    )

    @pytest.mark.parametrize(
        ("a", "b", "words"),
        [
            (1, 2, "At least one array has zero dimension"),
            (np.ones((2, 3)), np.ones((4, 3)), "a and b do not broadcast: (2,) and (4,)"),
            (np.ones((2, 1)), np.ones((2, 3)), "a has 1 components along axis 1, b has 3"),
            (np.ones((2, 4)), np.ones((2, 4)), "a has 4 components along axis 1, b has 4"),
        ],
    )
    def test_shapes_that_do_not_fit(self, backend, a, b, words):
        with pytest.raises(vp.errors.ShapeError) as raised:
            vp.cross(a, b)
        assert words in str(raised.value)

    @pytest.mark.parametrize("axes", [{"axisa": 2}, {"axisb": 5}, {"axisc": 3}, {"axis": -3}])
    def test_axis_out_of_range(self, backend, axes):
        with pytest.raises(np.exceptions.AxisError):
            vp.cross(np.ones((2, 3)), np.ones((2, 3)), **axes)


class TestOuter:
    @pytest.mark.parametrize("dtype", REAL + COMPLEX + INTEGERS)
    def test_equals_numpy(self, backend, rng, dtype):
        a, b = draw(rng, 7, dtype), draw(rng, 5, dtype)
        assert_as_numpy(vp.outer(a, b), np.outer(a, b))

    @pytest.mark.parametrize(
        ("a", "b"), [(2, 3), (2, [1, 2]), ([[1, 2], [3, 4]], [5]), ([], [1.0]), ([1.5, 2], [[3], [4]])]
    )
    def test_flattens(self, backend, a, b):
        assert_as_numpy(vp.outer(a, b), np.outer(a, b))

    def test_of_booleans_is_boolean(self, backend_or_default):
        a, b = np.array([True, False, True]), np.array([True, False])
        assert_as_numpy(vp.outer(a, b), np.outer(a, b))

    def test_of_float16_rounds_as_numpy(self, backend_or_default, rng):
        a, b = draw(rng, 9, "float16"), draw(rng, 11, "float16")
        assert_as_numpy(vp.outer(a, b), np.outer(a, b))

    def test_of_objects_and_durations(self, backend_or_default):
        for a, b in (
            (np.array([2**70, 3], object), np.array([5, 7], object)),
            (np.array([1, 2], "m8[s]"), np.array([3, 4])),
        ):
            np.testing.assert_array_equal(vp.outer(a, b), np.outer(a, b))

    def test_out_in_fortran_order_and_cast(self, backend, rng):
        a, b = draw(rng, 6, "float64"), draw(rng, 4, "float64")
        for out in (np.asfortranarray(poisoned((6, 4), np.float64)), poisoned((6, 4), np.float32)):
            assert vp.outer(a, b, out) is out
            np.testing.assert_array_equal(out, np.outer(a, b).astype(out.dtype))

    def test_out_may_overlap_an_input(self, backend, rng):
        memory = draw(rng, (5, 5), "float64")
        expected = np.outer(memory[0], memory[1])
        vp.outer(memory[0], memory[1], out=memory)
        np.testing.assert_array_equal(memory, expected)

    @pytest.mark.parametrize(
        ("out", "error", "words"),
        [
            (np.empty((4, 6)), ValueError, "out has shape (4, 6); needed is (6, 4)"),
            (np.empty((6, 4), int), TypeError, "out has dtype int64, which cannot hold a result of float64"),
            ([[0.0]], TypeError, "out must be an array, not list"),
        ],
    )
    def test_out_that_does_not_fit(self, backend, rng, out, error, words):
        with pytest.raises(error) as raised:
            vp.outer(draw(rng, 6, "float64"), draw(rng, 4, "float64"), out=out)
        assert words in str(raised.value)

    def test_out_that_is_read_only(self, backend):
        out = np.zeros((3, 3))
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out is read-only"):
            vp.outer(np.ones(3), np.ones(3), out=out)
        assert not out.any()


class TestBatchedOuter:
    @pytest.mark.parametrize("dtype", REAL + COMPLEX + INTEGERS)
    @pytest.mark.parametrize("shape", [(1, 8, 8), (5, 3, 3), (4, 7, 1), (3, 1, 9), (2, 17, 5)])
    def test_equals_numpy(self, backend, rng, dtype, shape):
        batch, m, n = shape
        a, b = draw(rng, (batch, m), dtype), draw(rng, (batch, n), dtype)
        assert_as_numpy(vp.batched_outer(a, b), a[:, :, None] * b[:, None, :])

    @pytest.mark.parametrize(
        ("shape_a", "shape_b"),
        [
            ((4,), (6,)),
            ((2, 3, 4), (6,)),
            ((2, 1, 4), (3, 6)),
            ((2, 1, 3, 2), (1, 4, 1, 5)),
            ((3, 0, 4), (0, 5)),
        ],
    )
    def test_broadcasts(self, backend, rng, shape_a, shape_b):
        a, b = draw(rng, shape_a, "float32"), draw(rng, shape_b, "float32")
        assert_as_numpy(vp.batched_outer(a, b), a[..., :, None] * b[..., None, :])

    @pytest.mark.parametrize("layout", ["read-only", "fortran", "strided", "misaligned", "reversed"])
    def test_layouts_give_the_same_bits(self, backend, rng, layout):
        a, b = draw(rng, (6, 5), "float32"), draw(rng, (6, 4), "float32")
        odd_a, odd_b = layouts(a)[layout], layouts(b)[layout]
        assert vp.batched_outer(odd_a, odd_b).tobytes() == vp.batched_outer(a, b).tobytes()

    @pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int32"])
    def test_alpha_and_beta(self, backend, rng, dtype):
        a, b, c = draw(rng, (4, 5), dtype), draw(rng, (4, 6), dtype), draw(rng, (4, 5, 6), dtype)
        alpha, beta = (3, 2) if dtype == "int32" else (-1.5, 0.25)
        expected = oracles.batched_outer(a, b, alpha, beta, c)
        out = c.copy()
        assert vp.batched_outer(a, b, alpha=alpha, beta=beta, out=out) is out
        if dtype == "int32":
            np.testing.assert_array_equal(out, expected)
        else:
            # Four roundings of terms of about |a| |b| and |c|, which are below 16 here.
            np.testing.assert_allclose(out, expected, rtol=0, atol=64 * np.finfo(dtype).eps)

    def test_beta_zero_does_not_read_out(self, backend, rng):
        a, b = draw(rng, (4, 5), "float64"), draw(rng, (4, 6), "float64")
        out = np.full((4, 5, 6), np.nan)
        vp.batched_outer(a, b, alpha=2.0, beta=0.0, out=out)
        np.testing.assert_array_equal(out, (2 * a)[:, :, None] * b[:, None, :])

    def test_beta_reads_an_out_of_another_dtype_and_order(self, backend, rng):
        a, b, c = draw(rng, (4, 5), "float32"), draw(rng, (4, 6), "float32"), draw(rng, (4, 5, 6), "float64")
        out = np.asfortranarray(c)
        vp.batched_outer(a, b, beta=2, out=out)
        expected = oracles.batched_outer(a, b, 1, 2, c)
        # Computed in float32, whose eps is 1.2e-7, from terms below 16.
        np.testing.assert_allclose(out, expected, rtol=0, atol=64 * np.finfo(np.float32).eps)

    @pytest.mark.parametrize(
        ("how", "error", "words"),
        [
            ({"beta": 1}, ValueError, "give out, or leave beta at 0"),
            ({"alpha": "2"}, TypeError, "alpha must be a number, not str"),
            ({"alpha": np.ones(3)}, TypeError, "alpha must be a number, not ndarray"),
            ({"alpha": 1j}, TypeError, "alpha is 1j, which arrays of float64 cannot be scaled by"),
        ],
    )
    def test_scalars_that_do_not_fit(self, backend, how, error, words):
        with pytest.raises(error) as raised:
            vp.batched_outer(np.ones(3), np.ones(3), **how)
        assert words in str(raised.value)

    def test_integers_are_not_scaled_by_fractions(self, backend):
        with pytest.raises(TypeError, match=r"alpha is 0\.5, which arrays of int64"):
            vp.batched_outer(np.arange(3), np.arange(3), alpha=0.5)
        with pytest.raises(ValueError, match="alpha is 300, which uint8 cannot hold"):
            vp.batched_outer(np.ones(3, np.uint8), np.ones(3, np.uint8), alpha=300)

    @pytest.mark.parametrize(
        ("a", "b", "words"),
        [
            (1.0, np.ones(3), "a must have at least one axis"),
            (np.ones((2, 3)), np.ones((4, 3)), "a and b do not broadcast: (2,) and (4,)"),
        ],
    )
    def test_shapes_that_do_not_fit(self, backend, a, b, words):
        with pytest.raises(vp.errors.ShapeError) as raised:
            vp.batched_outer(a, b)
        assert words in str(raised.value)

    @pytest.mark.parametrize(
        ("a", "held", "dtype"),
        [
            (np.ones(2, np.int32), 2**53 + 1, "int64"),
            (np.ones(2, int), 0.5, "float64"),
            (np.ones(2), 1 + 5j, "complex128"),
        ],
    )
    def test_beta_keeps_what_a_wider_out_holds(self, backend, a, held, dtype):
        out = np.full((2, 2), held, dtype)
        vp.batched_outer(a, a, beta=1, out=out)
        np.testing.assert_array_equal(out, np.full((2, 2), held, dtype) + 1)

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 3), (0, 2, 3)])
    def test_beta_with_an_empty_result(self, backend, shape):
        *batch, m, n = shape
        out = np.empty(shape)
        assert vp.batched_outer(np.ones((*batch, m)), np.ones((*batch, n)), beta=2, out=out) is out

    def test_scalars_of_another_kind_that_mean_0_or_1(self, host_backend):
        a = np.array([True, False])
        np.testing.assert_array_equal(vp.batched_outer(a, a, alpha=1.0), np.outer(a, a))
        np.testing.assert_array_equal(vp.batched_outer(np.ones(2), np.ones(2), alpha=1 + 0j), np.ones((2, 2)))

    def test_numpy_integers_are_held_to_the_dtype_too(self, backend):
        with pytest.raises(ValueError, match="which uint8 cannot hold"):
            vp.batched_outer(np.ones(3, np.uint8), np.ones(3, np.uint8), alpha=np.int64(300))


class TestBothWaysThroughASmallCall:
    """A small call takes a short way once its ufunc is built; nothing else about it may change."""

    @pytest.fixture(params=["long way", "short way"])
    def way(self, request, monkeypatch):
        for ufuncs in ("small_cross", "small_cross_rows", "small_outer", "small_outer_rows"):
            monkeypatch.setattr(f"vecprod_gpu._short_products.{ufuncs}", {})
        if request.param == "short way":
            monkeypatch.undo()
            few, more = np.ones((2, 3)), np.ones((20, 3))
            with vp.use_backend("cpu"):
                for vectors in (few[0], few, more):
                    vp.cross(vectors, vectors)
                    vp.batched_outer(vectors, vectors)

    @pytest.mark.parametrize("axis", [-1.0, "last", None, np.array([-1, -1])])
    def test_axes_that_are_no_integers(self, way, axis):
        with pytest.raises(TypeError):
            vp.cross(np.ones((2, 3)), np.ones((2, 3)), axisa=axis)

    def test_shapes_that_do_not_fit(self, way):
        for a, b in (
            (np.ones((2, 3)), np.ones((4, 3))),
            (np.ones(()), np.ones(3)),
            (np.ones((2, 4)), np.ones((2, 4))),
        ):
            with pytest.raises(vp.errors.ShapeError):
                vp.cross(a, b)
        for a, b in ((np.ones((2, 3)), np.ones((4, 3))), (np.ones(()), np.ones(3))):
            with pytest.raises(vp.errors.ShapeError):
                vp.batched_outer(a, b)

    def test_results(self, way, rng):
        a, b = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
        assert_as_numpy(vp.cross(a, b), np.cross(a, b))
        assert_as_numpy(vp.cross(a, b[0]), np.cross(a, b[0]))
        assert_as_numpy(vp.batched_outer(a, b), a[:, :, None] * b[:, None, :])

    @pytest.mark.parametrize("batch", [(4, 3, 2), (2, 30, 20)])
    def test_results_lie_in_c_order(self, way, rng, batch):
        a = np.asfortranarray(rng.standard_normal((*batch, 3)))
        one = np.broadcast_to(rng.standard_normal(3), a.shape)
        for b in (a, one):
            assert vp.cross(a, b).flags.c_contiguous
            assert vp.batched_outer(a, b).flags.c_contiguous
            assert vp.cross(a.T, b.T, axis=0).strides == np.cross(a.T, b.T, axis=0).strides

    @pytest.mark.parametrize("batch", [(), (2,), (20,), (2, 3)])
    def test_outer_products_into_out(self, way, rng, batch):
        a, b = rng.standard_normal((*batch, 4)), rng.standard_normal((*batch, 5))
        expected = a[..., :, None] * b[..., None, :]
        out = np.full(expected.shape[::-1], np.nan).T
        assert vp.batched_outer(a, b, out=out) is out
        np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize("batch", [(), (2,), (20,)])
    def test_out_that_cannot_take_outer_products(self, way, batch):
        vectors = np.ones((*batch, 3))
        frozen = np.zeros((*batch, 3, 3))
        frozen.flags.writeable = False
        with pytest.raises(vp.errors.ArgumentError, match="out is read-only"):
            vp.batched_outer(vectors, vectors, out=frozen)
        for shape in ((2, *batch, 3, 3), (*batch, 3, 4), (*batch, 3), ()):
            out = np.zeros(shape)
            with pytest.raises(vp.errors.ShapeError, match="out has shape"):
                vp.batched_outer(vectors, vectors, out=out)
            assert not out.any()
        with pytest.raises(vp.errors.DTypeError, match="out"):
            vp.batched_outer(vectors, vectors, out=np.zeros((*batch, 3, 3), int))

    def test_outer_products_over_their_operands(self, way, rng):
        whole = rng.standard_normal((6, 3))
        a, b, out = whole[:3], whole[3:4], whole[:3].reshape(1, 3, 3)
        expected = np.outer(a[0], b[0])
        vp.batched_outer(a[:1], b, out=out)
        np.testing.assert_array_equal(out[0], expected)


class TestUnusualArrays:
    def test_byte_order_becomes_native(self, host_backend):
        a = np.array([1.0, 2.0, 3.0], ">f8")
        assert_as_numpy(vp.cross(a, a[::-1]), np.cross(a.astype(float), a[::-1].astype(float)))
        assert vp.cross(a, a).dtype.isnative
        assert vp.outer(a, a).dtype.isnative

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_out_may_be_a_masked_array(self, host_backend, dtype):
        out = np.ma.zeros((4, 3), dtype)
        assert vp.outer(np.arange(4.0), np.ones(3), out=out) is out
        np.testing.assert_array_equal(out.data, np.outer(np.arange(4.0), np.ones(3)))

    def test_large_out_may_be_a_matrix(self, rng):
        a, b = rng.standard_normal((2, 400_000, 3))
        out = np.zeros((400_000, 3)).view(np.matrix)
        vp.cross(a, b, out=out)
        np.testing.assert_array_equal(np.asarray(out), np.cross(a, b))

    @pytest.mark.parametrize("count", [699_051, 699_052, 1_000_003])
    def test_large_products_past_the_cache(self, host_backend, rng, count):
        a, b = rng.standard_normal((2, count, 3), dtype=np.float32)
        shifted = np.empty(3 * count + 1, np.float32)[1:].reshape(count, 3)
        for out in (None, shifted, a.copy()):
            assert_as_numpy(vp.cross(a, b, out=out), np.cross(a, b))

    def test_no_arrays_at_all(self, host_backend):
        with pytest.raises(ValueError, match="zero dimension"):
            vp.cross(None, None)

    def test_out_of_another_library(self, host_backend):
        class Tensor:
            shape, dtype = (3,), np.dtype(float)

        with pytest.raises(TypeError, match="out must be a NumPy array, not Tensor"):
            vp.cross(np.ones(3), np.ones(3), out=Tensor())


def test_float16_is_scaled_and_added_in_float32(backend_or_default):
    a, b = np.array([300], np.float16), np.array([-200], np.float16)
    out = np.full((1, 1), 60000, np.float16)
    vp.batched_outer(a, b, beta=2, out=out)
    assert out[0, 0] == 60000


class TestWarnings:
    """Floating-point warnings follow NumPy on the host."""

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_overflow_and_invalid(self, backend_or_default, dtype):
        huge = np.full(3, np.finfo(dtype).max, dtype)
        with pytest.warns(RuntimeWarning, match="overflow"):
            vp.outer(huge, huge)
        with pytest.warns(RuntimeWarning, match="invalid"):
            vp.outer(np.array([np.inf], dtype), np.zeros(1, dtype))

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int64", "uint64"])
    def test_integers_wrap_in_silence(self, host_backend, dtype):
        limits = np.iinfo(dtype)
        a, b = np.array([limits.max, 2, limits.min], dtype), np.array([3, limits.max, 5], dtype)
        with np.errstate(all="raise"):
            for lead in ((), (2,)):
                shape = (*lead, 3)
                batch = np.broadcast_to(a, shape), np.broadcast_to(b, shape)
                np.testing.assert_array_equal(vp.cross(*batch), np.cross(*batch))
                volume = vp.triple_product(batch[0], batch[1], batch[0])
                assert volume.shape == lead
                assert not volume.any()
            np.testing.assert_array_equal(vp.outer(a, b), np.outer(a, b))

    def test_errstate_is_followed(self, host_backend):
        huge = np.full((4, 3), 1e300)
        with np.errstate(all="raise"), pytest.raises(FloatingPointError):
            vp.cross(huge, huge[:, ::-1] * [1, 2, 3])
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            vp.cross(huge, huge[:, ::-1] * [1, 2, 3])
