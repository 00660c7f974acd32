"""Covariance and correlation: one body for every backend, and NumPy's in float64 to hold them to."""

import inspect
import warnings
from fractions import Fraction

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.test_gram import quick
from tests.test_products import draw, layouts

FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]

# Sums of some tens of products, in another order than NumPy's.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}

SHAPES = {
    "a table": ((4, 9), None, {}),
    "columns": ((9, 4), None, {"rowvar": False}),
    "a vector": ((9,), None, {}),
    "a vector in columns": ((9,), None, {"rowvar": False}),
    "one row": ((1, 9), None, {}),
    "one column": ((9, 1), None, {"rowvar": False}),
    "two tables": ((4, 9), (2, 9), {}),
    "two tables of columns": ((9, 4), (9, 2), {"rowvar": False}),
    "two vectors": ((9,), (9,), {}),
    "two vectors in columns": ((9,), (9,), {"rowvar": False}),
    "a table and a vector": ((4, 9), (9,), {}),
    "columns and a vector": ((9, 4), (9,), {"rowvar": False}),
    "columns and a row": ((9, 4), (1, 9), {"rowvar": False}),
    "a vector and a table": ((9,), (4, 9), {}),
}
OPTIONS = [
    {},
    {"bias": True},
    {"ddof": 0},
    {"ddof": 3},
    {"ddof": 2.0, "bias": True},
    {"ddof": -1},
    {"fweights": [2, 0, 1, 3, 1, 1, 4, 1, 2]},
    {"fweights": np.arange(9, dtype=np.uint8), "bias": True},
    {"aweights": np.linspace(0, 2, 9)},
    {"aweights": np.linspace(0, 2, 9), "ddof": 0},
    {"aweights": np.linspace(0.5, 2, 9), "fweights": [2.0, 0, 1, 3, 1, 1, 4, 1, 2], "ddof": 2},
]


@pytest.fixture(params=["cov", "corrcoef"])
def function(request):
    """The name of a function of ours and of NumPy's."""
    return request.param


def both(function, *args, **how):
    """Our result and NumPy's."""
    return getattr(vp, function)(*args, **how), getattr(np, function)(*args, **how)


def assert_as_numpy(ours, theirs, **close):
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, **{**CLOSE, **close})


def warned(function, *args, **how):
    """The kinds of the warnings of one call, without the name of the operation that met them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **how)
    return {(one.category, str(one.message).split(" encountered")[0]) for one in caught}


def two_pass(m, correction=1):
    """Covariance of rows in the widest floats there are: centred on the means first, then summed."""
    centred = m.astype(np.longdouble)
    centred -= centred.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=1, keepdims=True)
    return centred @ centred.T / (m.shape[1] - correction)


class TestEveryBackend:
    """The kernels' own branches, in few calls."""

    @pytest.mark.may_fall_back  # a GPU's backends leave complex numbers to reference
    @pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
    def test_joint_and_weighted(self, backend, rng, dtype):
        m, y = draw(rng, (9, 4), dtype), draw(rng, (9, 2), dtype)
        how = {"rowvar": False, "fweights": [2, 0, 1, 3, 1, 1, 4, 1, 2], "aweights": np.linspace(0.5, 2, 9)}
        assert_as_numpy(*both("cov", m, y, **how))
        assert_as_numpy(*both("corrcoef", m, y, rowvar=False))

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_large_means(self, backend, rng, dtype):
        m = (rng.standard_normal((3, 60)) + 1e6 * np.array([[1], [-2], [0.5]])).astype(dtype)
        np.testing.assert_allclose(vp.cov(m), two_pass(m).astype(float), rtol=1e-12, atol=1e-12)

    def test_batches_and_layouts(self, backend, rng):
        m = draw(rng, (2, 3, 20), "float32")
        plain = vp.batched_cov(m, dtype="f")
        np.testing.assert_allclose(plain, [np.cov(one) for one in m], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(plain, plain.swapaxes(1, 2))
        assert (
            vp.batched_cov(np.asfortranarray(m)[..., ::-1][..., ::-1], dtype="f").tobytes() == plain.tobytes()
        )


@quick
class TestCov:
    @pytest.mark.parametrize("shapes", SHAPES)
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_equals_numpy(self, backend, rng, shapes, dtype):
        first, second, how = SHAPES[shapes]
        y = None if second is None else draw(rng, second, dtype)
        assert_as_numpy(*both("cov", draw(rng, first, dtype), y, **how))

    @pytest.mark.parametrize("options", OPTIONS)
    @pytest.mark.parametrize("joint", [False, True])
    def test_options(self, backend, rng, options, joint):
        m, y = draw(rng, (4, 9), "float64"), draw(rng, (2, 9), "float64") if joint else None
        assert_as_numpy(*both("cov", m, y, **options))
        assert_as_numpy(*both("cov", m.T, None if y is None else y.T, rowvar=False, **options))

    def test_integer_weights_repeat_observations(self, backend, rng):
        m, times = draw(rng, (3, 8), "float64"), rng.integers(0, 4, 8)
        np.testing.assert_allclose(
            vp.cov(m, fweights=times), vp.cov(np.repeat(m, times, axis=1)), rtol=1e-13, atol=1e-14
        )


@quick
class TestCorrCoef:
    @pytest.mark.parametrize("shapes", SHAPES)
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_equals_numpy(self, backend, rng, shapes, dtype):
        first, second, how = SHAPES[shapes]
        y = None if second is None else draw(rng, second, dtype)
        assert_as_numpy(*both("corrcoef", draw(rng, first, dtype), y, **how))

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_is_clipped(self, backend, rng, dtype):
        m = rng.standard_normal((1, 7)) * rng.uniform(-1e3, 1e3, (30, 1)) + rng.uniform(-9, 9, (30, 1))
        ours = vp.corrcoef(m.astype(dtype), dtype=dtype)
        assert (np.abs(ours) <= 1).all()
        assert np.abs(ours).min() > 0.999

    @pytest.mark.parametrize("power", [150, -150])
    def test_does_not_overflow(self, backend, rng, power):
        m = draw(rng, (3, 9), "float64")
        scaled = m * 10.0 ** np.array([[0], [power], [power / 2]])
        np.testing.assert_allclose(vp.corrcoef(scaled), np.corrcoef(m), **CLOSE)


@quick
class TestLargeMeans:
    """A matrix of uncentred moments would lose the square of mean over spread."""

    @pytest.mark.parametrize("mean", [1e4, 1e6, 1e8])
    def test_in_float64(self, backend, rng, mean):
        m = rng.standard_normal((3, 60)) + mean * np.array([[1], [-2], [0.5]])
        np.testing.assert_allclose(vp.cov(m), two_pass(m).astype(float), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("mean", [1e4, 1e6])
    def test_in_float32_summed_in_float64(self, backend, rng, mean):
        m = (rng.standard_normal((3, 60)) + mean * np.array([[1], [-2], [0.5]])).astype(np.float32)
        np.testing.assert_allclose(vp.cov(m), two_pass(m).astype(float), rtol=1e-12, atol=1e-12)

    def test_in_float32(self, backend, rng):
        m = (rng.standard_normal((3, 60)) + 1e4 * np.array([[1], [-2], [0.5]])).astype(np.float32)
        ours = vp.cov(m, dtype=np.float32)
        assert ours.dtype == np.float32
        # The means are rounded by 1e-3 at most, and its square shows.
        np.testing.assert_allclose(ours, two_pass(m).astype(float), rtol=0, atol=1e-5)

    def test_weighted(self, backend, rng):
        m, times = rng.standard_normal((3, 40)) + 1e7, rng.integers(0, 4, 40)
        exact = two_pass(np.repeat(m, times, axis=1)).astype(float)
        np.testing.assert_allclose(vp.cov(m, fweights=times), exact, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            vp.cov(m, aweights=times / 7, ddof=0),
            exact * (times.sum() - 1) / times.sum(),
            rtol=1e-12,
            atol=1e-12,
        )


@quick
class TestNumbersOfAllKinds:
    @pytest.mark.may_fall_back  # for float16 on cpu, and long doubles
    @pytest.mark.parametrize(
        ("given", "asked", "result"),
        [
            ("float16", None, "float64"),
            ("float16", "float32", "float32"),
            ("float16", "float16", "float16"),
            ("float32", None, "float64"),
            ("float32", "float32", "float32"),
            ("float32", "float16", "float16"),
            ("float64", "float32", "float32"),
            ("int8", None, "float64"),
            ("uint64", None, "float64"),
            ("int32", "float32", "float32"),
            (">f8", None, "float64"),
            ("float64", ">f4", "float32"),
            ("longdouble", None, "longdouble"),
            ("float64", "longdouble", "longdouble"),
            ("complex64", None, "complex128"),
            ("complex64", "complex64", "complex64"),
            ("complex128", None, "complex128"),
            ("float64", "complex64", "complex64"),
        ],
    )
    def test_dtypes(self, backend, rng, function, given, asked, result):
        m = 40 * rng.random((3, 12)) * (1 if np.dtype(given).kind != "c" else 1 + 1j * rng.random((3, 12)))
        m = m.astype(given)
        ours = getattr(vp, function)(m, dtype=asked)
        assert ours.dtype == result
        assert ours.dtype.isnative
        wide = m.astype(np.promote_types(m.dtype.newbyteorder("="), np.float64))
        expected = getattr(np, function)(wide)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            ours, expected, rtol=0, atol=8 * np.finfo(result).eps * scale + 1e-14 * scale
        )

    @pytest.mark.may_fall_back  # a GPU's backends leave complex numbers to reference
    @pytest.mark.parametrize("dtype", COMPLEX)
    @pytest.mark.parametrize("options", [{}, {"bias": True}, {"aweights": np.linspace(0, 2, 9)}])
    def test_complex(self, backend, rng, dtype, options):
        m, y = draw(rng, (3, 9), dtype), draw(rng, (2, 9), dtype)
        ours, theirs = both("cov", m, y, **options)
        assert_as_numpy(ours, theirs)
        np.testing.assert_array_equal(ours, ours.conj().T)
        assert_as_numpy(*both("corrcoef", m, y))

    @pytest.mark.may_fall_back
    def test_real_with_complex(self, backend, rng):
        m, y = draw(rng, (3, 9), "float32"), draw(rng, (2, 9), "complex64")
        assert_as_numpy(*both("cov", m, y))
        assert_as_numpy(*both("corrcoef", y, m))

    @pytest.mark.may_fall_back
    def test_parts_of_complex_correlations_are_clipped(self, backend, rng):
        m = rng.standard_normal(7) * rng.uniform(-9, 9, (20, 1)) * rng.choice([1, 1j], (20, 1))
        ours = vp.corrcoef(m)
        assert (np.abs(ours.real) <= 1).all()
        assert (np.abs(ours.imag) <= 1).all()
        np.testing.assert_allclose(ours, np.corrcoef(m), **CLOSE)

    def test_of_lists(self, backend, function):
        ours, theirs = both(function, [[0, 2, 5], [2, 1, 0]], [1, 0, 7])
        assert_as_numpy(ours, theirs)

    def test_exactly_symmetric(self, backend, rng, function):
        for dtype in FLOATS:
            ours = getattr(vp, function)(draw(rng, (7, 30), dtype), draw(rng, (4, 30), dtype))
            np.testing.assert_array_equal(ours, ours.T)
            assert (np.diag(ours) > 0).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_stays_in_its_variable(self, backend, rng, function, value):
        m = draw(rng, (4, 9), "float64")
        m[2, 5] = value
        with np.errstate(invalid="ignore"):
            ours, theirs = both(function, m)
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        finite = np.isfinite(theirs)
        np.testing.assert_allclose(ours[finite], theirs[finite], **CLOSE)


@quick
class TestLayouts:
    @pytest.mark.parametrize("layout", ["read-only", "fortran", "strided", "misaligned", "reversed"])
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_give_the_same_bits(self, backend, rng, function, layout, dtype):
        m, y = draw(rng, (4, 30), dtype), draw(rng, (2, 30), dtype)
        odd = [layouts(array)[layout] for array in (m, y)]
        ours = getattr(vp, function)
        assert ours(*odd).tobytes() == ours(m, y).tobytes()
        assert ours(m.T.copy(), y.T.copy(), rowvar=False).tobytes() == ours(m, y).tobytes()
        np.testing.assert_array_equal(odd[0], m)

    def test_of_a_repeated_variable(self, backend, rng):
        m = np.broadcast_to(draw(rng, 20, "float32"), (3, 20))
        assert vp.cov(m).tobytes() == vp.cov(m.copy()).tobytes()

    def test_of_weights(self, backend, rng):
        m, weights = draw(rng, (3, 9), "float32"), rng.random(9)
        spread = np.repeat(weights, 2)[::2]
        assert vp.cov(m, aweights=spread).tobytes() == vp.cov(m, aweights=weights).tobytes()


class TestWarnings:
    """They follow NumPy on the host; what warns of too few observations does so everywhere."""

    CASES = (
        ("cov", [[1.0], [2.0]], {}),
        ("cov", [3.0], {}),
        ("cov", [[1.0, 2.0], [2.0, 5.0]], {"ddof": 2}),
        ("cov", [[1.0, 2.0], [2.0, 5.0]], {"ddof": 5}),
        ("cov", [[1.0, 2.0], [2.0, 5.0]], {"aweights": [1.0, 0.0]}),
        ("cov", [[1.0, 2.0], [2.0, np.inf]], {}),
        ("cov", [[1.0, 2.0], [2.0, np.nan]], {}),
        ("cov", [[1e200, -1e200], [2.0, 5.0]], {}),
        ("cov", [[1.0, 2.0], [2.0, 5.0]], {"ddof": 0}),
        ("corrcoef", [[1.0], [2.0]], {}),
        ("corrcoef", [[1.0, 1.0], [2.0, 5.0]], {}),
        ("corrcoef", [1.0, 1.0], {}),
        ("corrcoef", [1.0, 2.0], {}),
        ("corrcoef", [[1.0, 2.0], [2.0, np.nan]], {}),
    )

    @pytest.mark.parametrize("case", CASES)
    def test_are_numpys(self, host_backend, case):
        name, m, how = case
        assert warned(getattr(vp, name), m, **how) == warned(getattr(np, name), m, **how)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours, theirs = both(name, m, **how)
        assert_as_numpy(ours, theirs)

    @pytest.mark.parametrize("call", [vp.cov, vp.corrcoef, vp.batched_cov, vp.batched_corrcoef])
    def test_of_degrees_of_freedom_point_at_the_caller(self, backend, call):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call([[1.0], [2.0]])
        first = next(one for one in caught if "Degrees of freedom <= 0 for slice" in str(one.message))
        assert first.category is RuntimeWarning
        assert first.filename == __file__

    def test_errstate_is_followed(self, host_backend):
        with np.errstate(all="raise"), pytest.raises(FloatingPointError):
            vp.corrcoef([[1.0, 1.0], [2.0, 5.0]])
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(vp.corrcoef([[1.0, 1.0], [2.0, 5.0]])).sum() == 3

    @pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0), (0, 0)])
    @pytest.mark.parametrize("rowvar", [True, False])
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_of_nothing(self, backend, function, shape, rowvar):
        ours, theirs = both(function, np.ones(shape), rowvar=rowvar)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours, theirs)


class TestErrors:
    @pytest.mark.parametrize(
        ("how", "error", "words"),
        [
            ({"m": np.ones((2, 2, 2))}, "ShapeError", "m has more than 2 dimensions: its shape is (2, 2, 2)"),
            ({"y": np.ones((2, 2, 2))}, "ShapeError", "y has more than 2 dimensions"),
            ({"y": np.ones((2, 5))}, "ShapeError", "y has 5 observations; needed are 4, as in m"),
            ({"y": np.ones(3), "rowvar": False}, "ShapeError", "y has 3 observations; needed are 2"),
            ({"ddof": 0.5}, "ArgumentError", "ddof must be integer; it is 0.5"),
            ({"fweights": [1, 2]}, "WeightShapeError", "fweights has shape (2,); needed is (4,)"),
            ({"fweights": np.ones((1, 4))}, "WeightShapeError", "fweights has shape (1, 4)"),
            ({"fweights": 1}, "WeightShapeError", "fweights has shape ()"),
            ({"fweights": [1, 2, 0.5, 1]}, "DTypeError", "fweights must be integer"),
            ({"fweights": [1, 2, np.nan, 1]}, "DTypeError", "fweights must be integer"),
            (
                {"fweights": [1, -2, 1, 1]},
                "ArgumentError",
                "fweights cannot be negative; it is -2.0 at observation 1",
            ),
            ({"aweights": [1, 2]}, "WeightShapeError", "aweights has shape (2,); needed is (4,)"),
            ({"aweights": np.ones((4, 1))}, "WeightShapeError", "aweights has shape (4, 1)"),
            (
                {"aweights": [1, 2, 1, -0.5]},
                "ArgumentError",
                "aweights cannot be negative; it is -0.5 at observation 3",
            ),
            ({"aweights": np.zeros(4)}, "WeightSumError", "the weights sum to zero"),
            ({"m": np.array([["a", "b"]])}, "DTypeError", "m has dtype <U1; needed are numbers"),
            ({"y": np.ones(4, "m8[s]")}, "DTypeError", "y has dtype timedelta64[s]; needed are numbers"),
            ({"dtype": int}, "DTypeError", "dtype is int64, which cannot hold covariances of float64 data"),
            (
                {"m": np.ones((2, 4), complex), "dtype": float},
                "DTypeError",
                "dtype is float64, which cannot hold",
            ),
            ({"dtype": bool}, "DTypeError", "dtype is bool"),
        ],
    )
    def test_of_cov(self, backend, how, error, words):
        with pytest.raises(getattr(vp.errors, error)) as raised:
            vp.cov(**{"m": np.arange(8.0).reshape(2, 4), **how})
        assert words in str(raised.value)

    @pytest.mark.parametrize(
        ("how", "error"),
        [
            ({"fweights": np.ones((1, 4))}, RuntimeError),
            ({"fweights": [1, 2]}, RuntimeError),
            ({"fweights": [0.5] * 4}, TypeError),
            ({"fweights": [-1] * 4}, ValueError),
            ({"aweights": [-1] * 4}, ValueError),
            ({"aweights": [0] * 4}, ZeroDivisionError),
            ({"ddof": 0.5}, ValueError),
            ({"y": np.ones((2, 5))}, ValueError),
            ({"m": np.ones((2, 2, 2))}, ValueError),
        ],
    )
    def test_are_numpys_too(self, host_backend, how, error):
        for function in (vp.cov, np.cov):
            with pytest.raises(error):
                function(**{"m": np.arange(8.0).reshape(2, 4), **how})

    @pytest.mark.parametrize("y", [None, [1.0, 2.0, 3.0]])
    def test_of_no_data_name_them(self, y):
        with pytest.raises(vp.errors.DTypeError, match=r"^m is None; needed are numbers$"):
            vp.cov(None, y)
        with pytest.raises(vp.errors.DTypeError, match=r"^x is None; needed are numbers$"):
            vp.corrcoef(None, y)

    def test_of_corrcoef_name_its_own_arguments(self, backend):
        with pytest.raises(vp.errors.ShapeError, match=r"^x has more than 2 dimensions"):
            vp.corrcoef(np.ones((2, 2, 2)))


class TestOnTheHost:
    def test_of_objects_is_an_error(self):
        with pytest.raises(vp.errors.DTypeError, match="m has dtype object; needed are numbers"):
            vp.cov(np.array([[Fraction(1, 3), 2, 3], [2, 5, Fraction(-7, 2)]], object))

    def test_of_several_blocks_of_rows(self, host_backend, rng):
        for shape in ((3, 20_011), (40, 3_001), (130, 500)):
            assert_as_numpy(*both("cov", draw(rng, shape, "float32")), atol=1e-12)
            weights = rng.integers(0, 3, shape[1])
            assert_as_numpy(*both("cov", draw(rng, shape, "float64"), fweights=weights), atol=1e-12)

    @pytest.mark.parametrize("mean", [1e4, 1e8])
    def test_in_many_rows(self, host_backend, rng, mean):
        m = rng.standard_normal((4, 30_011)) + mean
        m += np.linspace(0, 10, m.shape[1])  # so that the means of blocks differ
        np.testing.assert_allclose(vp.cov(m), two_pass(m).astype(float), rtol=1e-11, atol=1e-11)

    def test_float32_is_summed_in_float32_where_asked(self, host_backend, rng):
        m = draw(rng, (3, 5_003), "float32")
        ours = vp.cov(m, dtype=np.float32)
        np.testing.assert_allclose(ours, np.cov(m.astype(float)), rtol=0, atol=1e-6)

    def test_repeated_calls_give_the_same_bits(self, host_backend, rng):
        m = draw(rng, (17, 20_011), "float32")
        first = vp.cov(m, dtype=np.float32)
        for _ in range(4):
            assert vp.cov(m, dtype=np.float32).tobytes() == first.tobytes()

    def test_a_variable_does_not_see_the_others(self, host_backend, rng):
        m = draw(rng, (5, 3_001), "float64")
        np.testing.assert_allclose(vp.cov(m)[:2, :2], vp.cov(m[:2]), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["d", "D"])
def test_of_no_variables_there_are_no_covariances_with_others(host_backend, dtype):
    for shape, rowvar in (((0, 5), True), ((5, 0), False)):
        for function in (vp.cov, vp.corrcoef):
            assert function(np.empty(shape, dtype), np.arange(5.0).astype(dtype), rowvar).shape == (0, 0)


@pytest.mark.parametrize("how", [{}, {"ddof": 5}, {"y": np.ones((2, 3))}, {"fweights": [1, 2]}])
@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_of_no_variables_nothing_is_asked(host_backend, shape, how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_as_numpy(*both("cov", np.empty(shape), **how))


def test_signatures_are_numpys():
    for ours, theirs in ((vp.cov, np.cov), (vp.corrcoef, np.corrcoef)):
        expected = inspect.signature(theirs).parameters
        for name, parameter in inspect.signature(ours).parameters.items():
            assert parameter.kind == expected[name].kind
        positional = [name for name, one in expected.items() if one.kind == one.POSITIONAL_OR_KEYWORD]
        assert list(inspect.signature(ours).parameters)[:3] == positional[:3]


def test_arguments_in_order(rng):
    m, y = draw(rng, (4, 9), "float64"), draw(rng, (2, 9), "float64")
    fweights, aweights = rng.integers(0, 4, 9), rng.random(9)
    arguments = (m.T, y.T, False, True, 1, fweights, aweights)
    assert_as_numpy(*both("cov", *arguments))
    assert_as_numpy(*both("corrcoef", *arguments[:3]))


def test_corrcoef_has_no_degrees_of_freedom():
    for how in ({"ddof": 1}, {"bias": True}):
        with pytest.raises(TypeError):
            vp.corrcoef(np.eye(3), **how)
