"""np.outer, np.cross and np.einsum under accel: bits, layout, errors and warnings as without it."""

import itertools
import warnings

import numpy as np
import pytest

from vecprod_gpu import accel

OUTER, CROSS, EINSUM = np.outer, np.cross, np.einsum
LINALG_OUTER, LINALG_CROSS = np.linalg.outer, np.linalg.cross
DTYPES = ["f", "d", "b", "h", "i", "q", "B", "H", "I", "Q"]


def values(rng, dtype, shape):
    """Numbers of a dtype: all integers, or floats of every sign, zeros of both signs among them."""
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, size=shape, dtype=dtype, endpoint=True)
    signs = rng.choice([-1.0, 1.0, 0.0, -0.0], p=[0.4, 0.4, 0.1, 0.1], size=shape)
    return (signs * 10 ** rng.uniform(-3, 3, size=shape)).astype(dtype)


def assert_same(result, expected):
    assert type(result) is type(expected)
    assert (result.dtype, result.shape, result.strides) == (expected.dtype, expected.shape, expected.strides)
    assert result.tobytes() == expected.tobytes()


def outcome(function, *args, **kwargs):
    """What a call returns, warns of and raises."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            result = type(error), str(error)
    return result, [(one.category, str(one.message), one.filename) for one in given]


def counted(function, *args, **kwargs):
    """The result of a call, and the report of it."""
    with accel._profile.counting() as report:
        result = function(*args, **kwargs)
    return result, report


@pytest.mark.parametrize(
    ("dtype", "other"), [*zip(DTYPES, DTYPES, strict=True), ("f", "d"), ("q", "Q"), ("i", "f")]
)
@pytest.mark.parametrize("vectors", [1, 7, 12_000])
def test_the_bits_of_products(dtype, other, vectors, any_size, rng):
    a, b = values(rng, dtype, (vectors, 3)), values(rng, other, (vectors, 3))
    some, others = a[:90], b[:100, 0]
    for name, ours, theirs, arguments in (
        ("np.cross", np.cross, CROSS, (a, b)),
        ("np.linalg.cross", np.linalg.cross, LINALG_CROSS, (a, b)),
        ("np.outer", np.outer, OUTER, (some, others)),
        ("np.linalg.outer", np.linalg.outer, LINALG_OUTER, (some[:, 1], others)),
    ):
        result, report = counted(ours, *arguments)
        assert report.calls(name) == 1, report.reasons()
        assert_same(result, theirs(*arguments))


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        (((3, 50), (3, 50)), {"axis": 0}),
        (((3, 50), (50, 3)), {"axisa": 0}),
        (((3, 50), (3, 50)), {"axisa": 0, "axisb": 0}),
        (((50, 3), (50, 3)), {"axisc": 0}),
        (((50, 3), (3,)), {}),
        (((4, 1, 3), (5, 3)), {"axisc": 1}),
        (((2, 3, 4), (2, 4, 3)), {"axisa": 1, "axisc": -2}),
    ],
)
def test_axes_of_cross(shapes, axes, any_size, rng):
    a, b = (values(rng, "d", shape) for shape in shapes)
    result, report = counted(np.cross, a, b, **axes)
    assert report.calls("np.cross") == 1
    assert_same(result, CROSS(a, b, **axes))


def test_lists_beside_arrays(any_size, rng):
    a = values(rng, "d", (100, 3))
    for direction in ([0, 0, 1], (0.5, 0.0, 2.0)):
        result, report = counted(np.cross, a, direction)
        assert report.calls("np.cross") == 1
        assert_same(result, CROSS(a, direction))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("i,j->ij", ((200,), (30,))),
        ("bi,bj->bij", ((50, 3), (50, 4))),
        (" xyi , xyj -> xyij ", ((5, 6, 3), (5, 6, 2))),
        ("...i,...j->...ij", ((5, 6, 3), (5, 6, 2))),
        ("...i,...j->...ij", ((3,), (2,))),
    ],
)
@pytest.mark.parametrize("dtype", ["f", "d", "i"])
def test_outer_products_by_einsum(subscripts, shapes, dtype, any_size, rng):
    a, b = (values(rng, dtype, shape) for shape in shapes)
    a[a == 0], b[b == 0] = 1, 1
    result, report = counted(np.einsum, subscripts, a, b)
    assert report.calls("np.einsum") == 1, report.reasons()
    assert_same(result, EINSUM(subscripts, a, b))


@pytest.mark.parametrize(
    ("subscripts", "shapes", "options"),
    [
        ("bi,bj->bij", ((50, 3), (1, 4)), {}),
        ("bi,bj->bji", ((50, 3), (50, 4)), {}),
        ("bi,bj->ij", ((50, 3), (50, 4)), {}),
        ("bi,bi->bi", ((50, 3), (50, 3)), {}),
        ("bbi,bbj->bbij", ((5, 5, 3), (5, 5, 3)), {}),
        ("ij,jk", ((5, 3), (3, 4)), {}),
        ("i,j", ((5,), (4,)), {"optimize": True}),
        ("i,j->ij", ((5,), (4,)), {"order": "F"}),
        ("i,j->ij", ((5,), (4,)), {"dtype": "f"}),
        ("...i,...j->...ij", ((4, 1, 3), (5, 3)), {}),
    ],
)
def test_other_forms_of_einsum(subscripts, shapes, options, any_size, rng):
    a, b = (values(rng, "d", shape) for shape in shapes)
    ours, theirs = (outcome(function, subscripts, a, b, **options) for function in (np.einsum, EINSUM))
    assert ours[1] == theirs[1]
    if type(theirs[0]) is tuple:
        assert ours[0] == theirs[0]
    else:
        assert_same(ours[0], theirs[0])


def test_signs_of_zeros_are_those_of_einsum(any_size, rng):
    a, b = values(rng, "d", (50, 3)), values(rng, "d", (50, 4))
    result, report = counted(np.einsum, "bi,bj->bij", a, b)
    assert report.reasons("np.einsum") == {"zeros, whose products have a sign of NumPy's own": 1}
    assert_same(result, EINSUM("bi,bj->bij", a, b))
    tiny = np.full((50, 3), 1e-200)
    assert_same(np.einsum("bi,bj->bij", tiny, -tiny), EINSUM("bi,bj->bij", tiny, -tiny))


def test_einsum_follows_the_layout_of_its_operands(any_size, rng):
    a, b = (values(rng, "d", (3, 50)).T for _ in range(2))
    assert_same(np.einsum("bi,bj->bij", a, b), EINSUM("bi,bj->bij", a, b))


class TestOut:
    @pytest.mark.parametrize("make", [np.empty, lambda shape: np.empty(shape[::-1]).T])
    def test_receives_the_result(self, make, any_size, rng):
        a, b, out = values(rng, "d", 20), values(rng, "d", 30), make((20, 30))
        result, report = counted(np.outer, a, b, out=out)
        assert result is out
        assert report.calls("np.outer") == 1
        np.testing.assert_array_equal(out, OUTER(a, b))

    def test_overlapping_inputs(self, any_size, rng):
        memory = values(rng, "d", 25)
        expected = OUTER(memory[:5], memory[5:10])
        np.outer(memory[:5], memory[5:10], out=memory.reshape(5, 5))
        np.testing.assert_array_equal(memory.reshape(5, 5), expected)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: np.empty((20, 30), "f"),
            lambda: np.empty((20, 30), complex),
            lambda: np.empty((20, 30), int),
            lambda: np.empty((5, 20, 30)),
            lambda: np.empty((20, 31)),
            lambda: np.ma.masked_all((20, 30)),
            lambda: np.broadcast_to(1.0, (20, 30)),
            lambda: [],
        ],
    )
    def test_other_arrays(self, make, any_size, rng):
        a, b = values(rng, "d", 20), values(rng, "d", 30)
        ours, theirs = (outcome(function, a, b, make()) for function in (np.outer, OUTER))
        assert type(ours[0]) is type(theirs[0])
        assert ours[1] == theirs[1]
        np.testing.assert_array_equal(ours[0], theirs[0])


MISTAKES = {
    "no arguments": lambda f: f(),
    "one argument": lambda f: f([1, 2, 3]),
    "an unknown option": lambda f: f([1, 2, 3], [1, 2, 3], colour=1),
    "0-d": lambda f: f(np.ones(()), np.ones(3)),
    "other lengths": lambda f: f(np.ones((2, 4)), np.ones((2, 4))),
    "no broadcast": lambda f: f(np.ones((2, 3)), np.ones((5, 3))),
    "bool": lambda f: f(np.ones((4, 3), bool), np.ones((4, 3), bool)),
    "strings": lambda f: f(np.array(["a", "b", "c"]), np.ones(3)),
    "ragged": lambda f: f([[1], [1, 2]], np.ones((99, 3))),
    "an axis out of range": lambda f: f(np.ones((9, 3)), np.ones((9, 3)), axis=7),
    "an axis that is none": lambda f: f(np.ones((9, 3)), np.ones((9, 3)), axis="x"),
    "no axis": lambda f: f(np.ones((9, 3)), np.ones((9, 3)), axis=None),
    "None": lambda f: f(None, np.ones(3)),
    "object": lambda f: f(np.array([1, 2, 3], object), np.ones(3)),
    "datetime": lambda f: f(np.array(["2020"] * 3, "M8[D]"), np.ones(3)),
    "masked": lambda f: f(np.ma.masked_array([1.0, 2, 3], [0, 1, 0]), np.ones(3)),
    "matrix": lambda f: f(np.matrix([1.0, 2, 3]), np.ones(3)),
    "2 components": lambda f: f(np.ones((4, 2)), np.ones((4, 3))),
    "foreign byte order": lambda f: f(np.ones((4, 3), ">f8"), np.ones((4, 3))),
    "longdouble": lambda f: f(np.ones((4, 3), "g"), np.ones((4, 3))),
    "complex": lambda f: f(np.ones((4, 3), "D"), np.ones((4, 3))),
    "float16": lambda f: f(np.ones((4, 3), "e"), np.ones((4, 3), "e")),
    "empty": lambda f: f(np.ones((0, 3)), np.ones((0, 3))),
    "overflow": lambda f: f(np.full((4, 3), 1e300), np.arange(12.0).reshape(4, 3) * 1e300),
    "invalid": lambda f: f(np.full((4, 3), np.inf), np.arange(12.0).reshape(4, 3)),
    "NaN": lambda f: f(np.full((4, 3), np.nan), np.arange(12.0).reshape(4, 3)),
}


@pytest.mark.parametrize("name", ["outer", "cross", "linalg.outer", "linalg.cross"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_numpy_has_to_say(name, mistake, any_size):
    """Errors, warnings and the file that they point at, and results of what is not ours."""
    theirs = {"outer": OUTER, "cross": CROSS, "linalg.outer": LINALG_OUTER, "linalg.cross": LINALG_CROSS}[
        name
    ]
    ours = getattr(np.linalg if "." in name else np, name.rpartition(".")[2])
    assert ours is not theirs
    (result, warned), (expected, expected_warnings) = (
        outcome(MISTAKES[mistake], one) for one in (ours, theirs)
    )
    assert warned == expected_warnings
    if isinstance(expected, np.ndarray):
        assert type(result) is type(expected)
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(result, expected)
    else:
        assert result == expected


@pytest.mark.parametrize("kind", ["over", "invalid"])
def test_errstate(kind, any_size):
    a = np.full((4, 3), 1e300 if kind == "over" else np.inf)
    b = np.arange(12.0).reshape(4, 3) * 1e300
    with (
        np.errstate(**{kind: "raise"}),
        pytest.raises(FloatingPointError, match=r"encountered in (multiply|subtract)"),
    ):
        np.cross(a, b)
    with np.errstate(all="ignore"):
        result, report = counted(np.cross, a, b)
        assert report.calls("np.cross") == 1
        np.testing.assert_array_equal(result, CROSS(a, b))


def test_reasons(any_size):
    square, three = np.ones((4, 4)), np.ones((4, 3))
    for expected, call in {
        "object dtype is not supported": lambda: np.cross(three.astype(object), three),
        "list is no NumPy array": lambda: np.cross([1, 2, 3], [4, 5, 6]),
        "MaskedArray is no NumPy array": lambda: np.cross(np.ma.asarray(three), three),
        "foreign byte order is not supported": lambda: np.cross(three.astype(">f8"), three),
        "vectors do not have 3 components": lambda: np.linalg.cross(three, three[:, :2]),
        "floating-point warnings are given by NumPy": lambda: np.cross(three * 1e300, three * 1e300),
        "not an outer product of two operands": lambda: np.einsum("ij,jk", square, square),
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, report = counted(lambda call=call: outcome(call))
        assert list(report.reasons()) == [expected]


def test_small_calls_are_numpys(installed):
    a = np.ones(8)
    for call in (lambda: np.outer(a, a), lambda: np.einsum("i,j->ij", a, a), lambda: np.cov(a, a)):
        _, report = counted(call)
        assert list(report.reasons()) == ["too small to gain"]


def test_compiled_code_is_loaded_once_it_pays(run):
    code = """
import sys
from vecprod_gpu import accel
accel.install()
import numpy as np
few, many = np.ones((10, 3)), np.ones((200_000, 3))
for _ in range(20):
    np.cross(few[0], few[0]), np.cross(few, few), np.outer(few, few)
assert "numba" not in sys.modules
with accel._profile.counting() as report:
    for _ in range(100):
        np.cross(many, many)
assert "numba" in sys.modules
assert list(report.reasons()) == ["too little work so far to pay for loading ours"]
assert report.calls("np.cross") > 50
"""
    run("-c", code)


def test_without_numba_all_is_numpys(run):
    code = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
from vecprod_gpu import accel
accel.install()
import numpy as np
with accel._profile.counting() as report:
    many = np.ones((200_000, 3))
    for _ in range(60):
        np.cross(many, many)
assert not report.calls()
assert any(reason.startswith("the backend cpu is not available") for reason in report.reasons())
"""
    run("-c", code)


def test_reference_is_not_asked(any_size):
    import vecprod_gpu as vp

    with vp.use_backend("reference"):
        _, report = counted(np.cross, np.ones((4, 3)), np.ones((4, 3)))
    assert list(report.reasons()) == ["VECPROD_BACKEND or use_backend asks for reference"]


def test_a_gpu_warns_of_nothing_so_numpy_does(any_size, monkeypatch):
    """The results of a GPU are looked at, and NumPy is asked again for what is not finite."""
    import vecprod_gpu as vp

    a, b = np.full((4, 3), 1e300), np.arange(12.0).reshape(4, 3) * 1e300
    with vp.use_backend("cupy"):
        with pytest.warns(RuntimeWarning, match="overflow encountered in multiply"):
            result, report = counted(np.cross, a, b)
        assert list(report.reasons()) == ["NaN or infinity in the result"]
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(result, CROSS(a, b))
        _, report = counted(np.cross, a, np.ones((4, 3)))
    assert [entry.detail for entry in report.counts] == ["cupy"]


@pytest.mark.parametrize("order", [*itertools.permutations(("contiguous", "strided"))])
def test_strides(order, any_size, rng):
    arrays = {"contiguous": values(rng, "d", (40, 3)), "strided": values(rng, "d", (80, 6))[::-2, ::-2]}
    a, b = (arrays[name] for name in order)
    assert_same(np.cross(a, b), CROSS(a, b))
    assert_same(np.outer(a[:, 0], b), OUTER(a[:, 0], b))
