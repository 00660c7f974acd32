"""Sums of outer products: one body for every backend, and einsum in float64 to hold it to."""

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.conftest import BACKENDS, REAL_GPU
from tests.test_products import INTEGERS, draw, layouts, poisoned

FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]

# A sum takes the simulator a quarter of a second; there the kernels are tested, and not all that lies above.
QUICK = [name for name in BACKENDS if REAL_GPU or name != "numba-cuda"]
quick = pytest.mark.parametrize("backend", QUICK, indirect=True)


def expected(X, Y=None, weights=None):
    """``sum_i s_i conj(x_i) ⊗ y_i`` in the widest type of its kind."""
    Y = X if Y is None else Y
    s = np.ones(X.shape[-2]) if weights is None else np.asarray(weights)
    wide = np.complex128 if "c" in (X.dtype.kind, Y.dtype.kind) else np.float64
    return np.einsum("...i,...ip,...iq->...pq", s.astype(float), X.conj().astype(wide), Y.astype(wide))


def magnitude(X, Y=None, weights=None):
    """What the rounding of a sum is measured by: the same sum of absolute values."""
    Y = X if Y is None else Y
    return expected(np.abs(X), np.abs(Y), weights)


def assert_close(ours, X, Y=None, weights=None, factor=1):
    """Each of n products and sums rounds once; a tree of sums rounds less."""
    eps = np.finfo(np.float32 if ours.dtype == np.float16 else ours.dtype).eps
    bound = factor * (X.shape[-2] + 4) * eps * magnitude(X, Y, weights)
    if ours.dtype == np.float16:
        bound = bound + np.finfo(np.float16).eps / 2 * np.abs(expected(X, Y, weights))
    assert ours.shape == bound.shape
    assert (np.abs(ours - expected(X, Y, weights)) <= bound).all()


class TestEveryBackend:
    """The kernels' own branches, in few calls."""

    @pytest.mark.may_fall_back  # cpu may leave some to reference
    @pytest.mark.parametrize("dtype", ["float16", *FLOATS, "complex64", "uint8"])
    def test_joint_and_apart(self, backend, rng, dtype):
        X, Y = rng.integers(-4, 5, (2, 19, 4)), rng.integers(-4, 5, (19, 3))
        X, Y, s = X.astype(dtype), Y.astype(dtype), rng.integers(0, 4, 19).astype(dtype)
        if dtype == "complex64":
            X, s = X + 1j * X[:, ::-1], s.real
        for Y_or_X, ours in ((X, vp.gram(X, weights=s)), (Y, vp.gram(X, Y))):
            weights = s if Y_or_X is X else np.ones_like(s)
            exact = np.einsum("...i,...ip,...iq->...pq", weights, X.conj(), Y_or_X)
            assert ours.dtype == exact.dtype
            np.testing.assert_array_equal(ours, exact)  # sums of small integers do not round

    def test_layouts(self, backend, rng):
        X, Y = draw(rng, (19, 4), "float32"), draw(rng, (19, 3), "float32")
        plain = vp.gram(X, Y).tobytes()
        assert vp.gram(X, Y).tobytes() == plain
        for layout in ("fortran", "reversed"):
            assert vp.gram(layouts(X)[layout], layouts(Y)[layout]).tobytes() == plain


@quick
class TestSums:
    @pytest.mark.may_fall_back  # cpu may leave the others to reference
    @pytest.mark.parametrize("dtype", ["float16", *FLOATS, *COMPLEX])
    @pytest.mark.parametrize(("n", "p", "q"), [(1, 1, 1), (9, 4, 3), (30, 1, 5), (2, 17, 2), (7, 3, 33)])
    def test_equal_einsum(self, backend, rng, dtype, n, p, q):
        X, Y, s = draw(rng, (n, p), dtype), draw(rng, (n, q), dtype), rng.random(n).astype(dtype)
        for given in ((X,), (X, Y), (X, None, s.real), (X, Y, s.real)):
            ours = vp.gram(*given[:2], weights=given[2] if len(given) > 2 else None)
            assert ours.dtype == dtype
            assert_close(ours, *given, factor=2 if dtype in COMPLEX else 1)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_of_real_numbers_fall_back_nowhere(self, backend, rng, dtype):
        X, Y, s = (draw(rng, shape, dtype) for shape in ((9, 4), (9, 3), 9))
        assert_close(vp.gram(X), X)
        assert_close(vp.gram(X, Y), X, Y)
        bound = 13 * np.finfo(dtype).eps * magnitude(X, Y, np.abs(s))
        assert (np.abs(vp.gram(X, Y, weights=s) - expected(X, Y, s)) <= bound).all()

    @pytest.mark.may_fall_back
    @pytest.mark.parametrize("dtype", INTEGERS)
    def test_of_integers_wrap(self, backend, rng, dtype):
        X, Y, s = (draw(rng, shape, dtype) for shape in ((9, 4), (9, 3), 9))
        for Y_or_X, ours in (
            (X, vp.gram(X)),
            (Y, vp.gram(X, Y)),
        ):
            assert ours.dtype == dtype
            np.testing.assert_array_equal(ours, np.einsum("ip,iq->pq", X, Y_or_X))
        np.testing.assert_array_equal(vp.gram(X, Y, weights=s), np.einsum("i,ip,iq->pq", s, X, Y))

    @pytest.mark.may_fall_back
    @pytest.mark.parametrize(
        ("dtypes", "result"),
        [
            (("f", "d", None), "d"),
            (("e", "f", None), "f"),
            (("f", "f", "d"), "d"),
            (("i", "i", "d"), "d"),
            (("b", None, "f"), "f"),
            (("b", "B", None), "h"),
            (("q", "Q", None), "d"),
            (("d", "F", None), "D"),
            (("F", None, "f"), "F"),
            ((">f8", None, None), "d"),
            (("g", None, "f"), "g"),
        ],
    )
    def test_promotion(self, backend, dtypes, result):
        shapes = ((4, 2), (4, 3), (4,))
        X, Y, s = (None if d is None else np.ones(shape, d) for shape, d in zip(shapes, dtypes, strict=True))
        ours = vp.gram(X, Y, weights=s)
        assert ours.dtype == result
        assert ours.dtype.isnative
        np.testing.assert_array_equal(ours, np.full((2, 2 if Y is None else 3), 4))

    @pytest.mark.may_fall_back
    @pytest.mark.parametrize("dtype", COMPLEX)
    def test_the_first_is_conjugated(self, backend, dtype):
        X, Y = np.array([[1j, 2]], dtype), np.array([[1, 1j]], dtype)
        np.testing.assert_array_equal(vp.gram(X, Y), [[-1j, 1], [2, 2j]])
        np.testing.assert_array_equal(vp.gram(X, Y, weights=[2.0]), [[-2j, 2], [4, 4j]])

    @pytest.mark.may_fall_back
    @pytest.mark.parametrize("dtype", ["float16", *FLOATS, *COMPLEX])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_with_itself_is_exactly_hermitian(self, backend, rng, dtype, weighted):
        X = draw(rng, (2, 37, 9), dtype)
        ours = vp.gram(X, weights=rng.random(37).astype(X.real.dtype) if weighted else None)
        np.testing.assert_array_equal(ours, np.swapaxes(ours, 1, 2).conj())
        diagonal = np.diagonal(ours, axis1=1, axis2=2)
        assert (diagonal.real > 0).all()
        assert not np.asarray(diagonal.imag).any()

    def test_weights_repeat_rows(self, backend, rng):
        X, Y, times = draw(rng, (12, 3), "float64"), draw(rng, (12, 2), "float64"), rng.integers(0, 4, 12)
        repeated = vp.gram(np.repeat(X, times, axis=0), np.repeat(Y, times, axis=0))
        np.testing.assert_allclose(vp.gram(X, Y, weights=times), repeated, rtol=1e-13, atol=1e-13)

    def test_nan_stays_in_its_columns(self, backend, rng):
        X, Y = draw(rng, (6, 3), "float64"), draw(rng, (6, 2), "float64")
        X[4, 1] = np.nan
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(np.isnan(vp.gram(X, Y)), [[False] * 2, [True] * 2, [False] * 2])
            assert np.isnan(vp.gram(X)).sum() == 5


@quick
class TestShapes:
    @pytest.mark.parametrize(
        ("X", "Y", "weights", "lead"),
        [
            ((2, 5, 3), None, None, (2,)),
            ((2, 5, 3), (5, 4), None, (2,)),
            ((5, 3), (2, 5, 4), None, (2,)),
            ((2, 1, 5, 3), (4, 5, 2), None, (2, 4)),
            ((5, 3), None, (4, 5), (4,)),
            ((2, 1, 5, 3), (4, 5, 2), (3, 1, 1, 5), (3, 2, 4)),
            ((2, 5, 3), (2, 5, 3), (5,), (2,)),
        ],
    )
    def test_broadcast(self, backend, rng, X, Y, weights, lead):
        X = draw(rng, X, "float32")
        Y = None if Y is None else draw(rng, Y, "float32")
        s = None if weights is None else rng.random(weights).astype(np.float32)
        ours = vp.gram(X, Y, weights=s)
        assert ours.shape[:-2] == lead
        n = X.shape[-2]
        for problem in np.ndindex(lead):
            alone = vp.gram(
                np.broadcast_to(X, (*lead, *X.shape[-2:]))[problem],
                None if Y is None else np.broadcast_to(Y, (*lead, *Y.shape[-2:]))[problem],
                weights=None if s is None else np.broadcast_to(s, (*lead, n))[problem],
            )
            assert ours[problem].tobytes() == alone.tobytes()
        assert_close(ours, X, Y, s)

    @pytest.mark.parametrize(
        ("X", "Y", "shape"),
        [
            ((0, 3), None, (3, 3)),
            ((0, 3), (0, 2), (3, 2)),
            ((4, 0), (4, 2), (0, 2)),
            ((4, 2), (4, 0), (2, 0)),
            ((0, 4, 3), None, (0, 3, 3)),
            ((2, 0, 3), (0, 2), (2, 3, 2)),
        ],
    )
    def test_of_nothing(self, backend, X, Y, shape):
        ours = vp.gram(np.ones(X, "f"), None if Y is None else np.ones(Y, "f"))
        assert ours.dtype == np.float32
        assert ours.shape == shape
        assert not ours.any()
        out = poisoned(shape, np.float32)
        vp.gram(np.ones(X, "f"), None if Y is None else np.ones(Y, "f"), out=out)
        assert not out.any()

    @pytest.mark.parametrize("layout", ["read-only", "fortran", "strided", "misaligned", "reversed"])
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_layouts_give_the_same_bits(self, backend, rng, layout, dtype):
        X, Y, s = draw(rng, (37, 5), dtype), draw(rng, (37, 3), dtype), rng.random(37).astype(dtype)
        odd_X, odd_Y, odd_s = (layouts(array)[layout] for array in (X, Y, s))
        assert vp.gram(odd_X).tobytes() == vp.gram(X).tobytes()
        assert vp.gram(odd_X, odd_Y).tobytes() == vp.gram(X, Y).tobytes()
        assert vp.gram(odd_X, odd_Y, weights=odd_s).tobytes() == vp.gram(X, Y, weights=s).tobytes()
        np.testing.assert_array_equal(odd_X, X)

    def test_a_repeated_row_gives_the_same_bits(self, backend, rng):
        X = np.broadcast_to(draw(rng, 5, "float32"), (2, 20, 5))
        assert vp.gram(X).tobytes() == vp.gram(X.copy()).tobytes()

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"X": np.ones(5)}, "X has shape (5,); needed is (..., n, columns)"),
            ({"Y": np.ones(5)}, "Y has shape (5,); needed is (..., n, columns)"),
            ({"Y": np.ones((4, 3))}, "Y has 4 rows; needed are 5, one for each row of X"),
            ({"weights": 1.0}, "weights has shape (); needed is (..., 5), a weight for each row of X"),
            ({"weights": np.ones(4)}, "weights has shape (4,); needed is (..., 5)"),
            ({"weights": np.ones((5, 1))}, "weights has shape (5, 1)"),
            ({"X": np.ones((2, 5, 3)), "Y": np.ones((3, 5, 2))}, "X and Y do not broadcast: (2,) and (3,)"),
            (
                {"X": np.ones((2, 5, 3)), "weights": np.ones((3, 5))},
                "weights do not broadcast: (2,) and (3,)",
            ),
        ],
    )
    def test_that_do_not_fit(self, backend, how, words):
        with pytest.raises(vp.errors.ShapeError) as raised:
            vp.gram(**{"X": np.ones((5, 3)), **how})
        assert words in str(raised.value)

    @pytest.mark.parametrize("name", ["X", "Y", "weights"])
    @pytest.mark.parametrize("dtype", ["bool", "U1", "m8[s]"])
    def test_of_no_numbers(self, backend, name, dtype):
        given = {"X": np.ones((5, 3)), "Y": np.ones((5, 2)), "weights": np.ones(5)}
        given[name] = given[name].astype(dtype)
        with pytest.raises(vp.errors.DTypeError, match=f"^{name} has dtype .*; needed are numbers"):
            vp.gram(**given)

    def test_weights_are_real(self, backend):
        # With others the sum of a matrix with itself would not be Hermitian.
        with pytest.raises(vp.errors.DTypeError, match=r"^weights has dtype complex128; needed are real"):
            vp.gram(np.ones((5, 3), complex), weights=np.ones(5, complex))


@quick
class TestOut:
    def test_of_any_stride_and_dtype(self, backend, rng):
        X, Y = draw(rng, (2, 9, 4), "float32"), draw(rng, (2, 9, 3), "float32")
        result = vp.gram(X, Y)
        for out in (
            poisoned((2, 4, 3), np.float32),
            poisoned((3, 4, 2), np.float32).T,
            poisoned((2, 4, 6), np.float32)[:, ::-1, ::2],
            poisoned((2, 4, 3), np.float64),
            poisoned((2, 4, 3), np.float16),
            poisoned((2, 4, 3), np.complex64),
        ):
            assert vp.gram(X, Y, out=out) is out
            np.testing.assert_array_equal(out, result.astype(out.dtype))

    def test_may_be_an_input(self, backend, rng):
        for which in ("X", "Y"):
            given = {"X": draw(rng, (4, 4), "float64"), "Y": draw(rng, (4, 4), "float64")}
            result = vp.gram(**given)
            vp.gram(**given, out=given[which])
            np.testing.assert_array_equal(given[which], result)

    def test_may_overlap_an_input(self, backend, rng):
        memory = draw(rng, (6, 4), "float64")
        result = vp.gram(memory[:5])
        vp.gram(memory[:5], out=memory[2:])
        np.testing.assert_array_equal(memory[2:], result)

    @pytest.mark.parametrize(
        ("out", "error", "words"),
        [
            (np.empty((2, 3)), "ShapeError", "out has shape (2, 3); needed is (3, 2)"),
            (
                np.empty((3, 2), int),
                "DTypeError",
                "out has dtype int64, which cannot hold a result of float64",
            ),
            ([[0.0]], "DTypeError", "out must be an array, not list"),
            (np.broadcast_to(0.0, (3, 2)), "ArgumentError", "out is read-only"),
        ],
    )
    def test_that_does_not_fit(self, backend, out, error, words):
        with pytest.raises(getattr(vp.errors, error)) as raised:
            vp.gram(np.ones((5, 3)), np.ones((5, 2)), out=out)
        assert words in str(raised.value)


class TestOnTheHost:
    @pytest.mark.parametrize("Y", [None, np.ones((5, 2))])
    def test_of_nothing(self, Y):
        with pytest.raises(vp.errors.DTypeError, match=r"^X is None; needed are numbers$"):
            vp.gram(None, Y)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_of_many_rows(self, host_backend, rng, dtype):
        X, Y = draw(rng, (40_003, 5), dtype), draw(rng, (40_003, 2), dtype)
        s = rng.random(40_003).astype(dtype)
        for second, weights in ((X, None), (Y, None), (X, s), (Y, s)):
            terms = X.T.astype(np.longdouble)[:, np.newaxis] * second.T
            terms *= 1 if weights is None else weights
            ours = vp.gram(X, None if second is X else second, weights=weights)
            # Blocks of rows are added in float64: a sum row by row would lose some 60 eps of the squares.
            bound = 16 * np.finfo(dtype).eps * np.abs(terms).sum(axis=-1)
            assert (np.abs(ours - terms.sum(axis=-1)) <= bound).all()

    @pytest.mark.parametrize(("n", "p"), [(70, 130), (3, 300), (500, 65)])
    def test_of_many_columns(self, host_backend, rng, n, p):
        X, Y = draw(rng, (n, p), "float64"), draw(rng, (n, p // 2 + 1), "float64")
        assert_close(vp.gram(X), X)
        assert_close(vp.gram(X, Y), X, Y)

    def test_float16_sums_do_not_saturate(self, backend_or_default):
        X = np.full((4096, 2), 1, np.float16)
        np.testing.assert_array_equal(vp.gram(X), np.full((2, 2), 4096))
        np.testing.assert_array_equal(
            vp.gram(X, -X * 64, weights=np.full(4096, 0.125, "e")), [[-32768] * 2] * 2
        )

    def test_repeated_calls_give_the_same_bits(self, host_backend, rng):
        X, s = draw(rng, (50_021, 7), "float32"), rng.random(50_021).astype(np.float32)
        first, weighted = vp.gram(X), vp.gram(X, weights=s)
        for _ in range(4):
            assert vp.gram(X).tobytes() == first.tobytes()
            assert vp.gram(X, weights=s).tobytes() == weighted.tobytes()
        in_columns = np.asfortranarray(X)
        assert vp.gram(in_columns).tobytes() == first.tobytes()
