"""Small products of NumPy arrays, which a compiled ufunc answers at once; with `out`, which it writes."""

import re

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu import _dispatch
from vecprod_gpu.backends._cpu.products import ufuncs

DTYPES = ["e", "f", "d", "i", "D"]
CALLS = {
    "cross of two": (vp.cross, np.cross, (3,), (3,), (3,)),
    "cross of rows": (vp.cross, np.cross, (2, 5, 3), (2, 5, 3), (2, 5, 3)),
    "cross with one": (vp.cross, np.cross, (2, 5, 3), (3,), (2, 5, 3)),
    "cross of one": (vp.cross, np.cross, (1, 3), (5, 3), (5, 3)),
    "cross of one with one": (vp.cross, np.cross, (3,), (1, 1, 3), (1, 1, 3)),
    "cross along axes": (
        lambda a, b, out=None: vp.cross(a, b, axisa=0, axisb=1, axisc=-2, out=out),
        lambda a, b: np.cross(a, b, axisa=0, axisb=1, axisc=-2),
        (3, 2, 5),
        (2, 3, 5),
        (2, 3, 5),
    ),
    "cross along an axis": (
        lambda a, b, out=None: vp.cross(a, b, axis=0, out=out),
        lambda a, b: np.cross(a, b, axis=0),
        (3, 5),
        (3,),
        (3, 5),
    ),
    "outer product": (vp.outer, np.outer, (4,), (5,), (4, 5)),
    "outer products": (
        vp.batched_outer,
        lambda a, b: a[..., :, None] * b[..., None, :],
        (2, 4, 3),
        (2, 4, 5),
        (2, 4, 3, 5),
    ),
}


@pytest.fixture(autouse=True)
def built():
    """The ufuncs, which a first larger call would have compiled."""
    for dtype in map(np.dtype, DTYPES):
        ufuncs.cross_ufunc(dtype)
        ufuncs.cross_rows_ufunc(dtype)
        ufuncs.outer_ufunc(dtype)
        ufuncs.outer_rows_ufunc(dtype)


@pytest.fixture(params=CALLS)
def case(request):
    return CALLS[request.param]


def draw(rng, shape, dtype):
    return (10 * rng.standard_normal(shape) + (1j if dtype == "D" else 0)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_result_is_given_at_once(case, dtype, rng, no_long_way):
    ours, numpys, *shapes, _ = case
    a, b = (draw(rng, shape, dtype) for shape in shapes)
    result, expected = ours(a, b), numpys(a, b)
    assert (type(result), result.dtype) == (np.ndarray, expected.dtype)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["f", "d", "i", "D"])
@pytest.mark.parametrize("shape", [(300, 400), (1, 100_000), (100_000, 1)])
def test_a_pair_of_many_numbers_is_multiplied_at_once(shape, dtype, rng, no_long_way):
    a, b = (draw(rng, length, dtype) for length in shape)
    result, expected = vp.outer(a, b), np.outer(a, b)
    np.testing.assert_allclose(result, expected, rtol=1e-15)
    assert (result.dtype, result.flags.c_contiguous) == (expected.dtype, True)
    out = np.full((shape[0], 2 * shape[1]), 77, dtype)
    for view in (out[:, ::2], out[::-1, shape[1] - 1 :: -1]):
        assert vp.outer(a, b, view) is view
        np.testing.assert_array_equal(view, result)


def test_an_outer_product_of_more_axes_is_flattened(rng):
    a, b = draw(rng, (2, 3), "d"), draw(rng, (3,), "d")
    for factors in ((a, b), (b, a), (a, a), (a[0, 0, np.newaxis], b), (np.array(2.0), b)):
        np.testing.assert_array_equal(vp.outer(*factors), np.outer(*factors))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["packed", "reversed", "gaps"])
def test_out_is_written_at_once(case, dtype, layout, rng, no_long_way):
    ours, numpys, *shapes, result = case
    a, b = (draw(rng, shape, dtype) for shape in shapes)
    around = np.full((*result[:-1], 2 * result[-1]), 77, dtype)
    out = {
        "packed": around[..., : result[-1]].copy(),
        "reversed": around[..., result[-1] - 1 :: -1],
        "gaps": around[..., ::2],
    }[layout]
    assert ours(a, b, out=out) is out
    np.testing.assert_allclose(out, numpys(a, b), rtol=1e-6)
    if layout == "gaps":
        assert (around[..., 1::2] == 77).all()


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_out_may_overlap_an_input(dtype, shift, rng, no_long_way):
    memory = draw(rng, (12, 3), dtype)
    a, b, out = memory[2:9], draw(rng, (7, 3), dtype), memory[2 + shift : 9 + shift]
    expected = np.cross(a, b)
    assert vp.cross(a, b, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_may_hold_the_one_vector(dtype, rng, no_long_way):
    memory, b = draw(rng, (9, 3), dtype), draw(rng, (9, 3), dtype)
    for one in (memory[0], memory[8:]):
        expected = np.cross(one, b)
        vp.cross(one, b, out=memory)
        np.testing.assert_allclose(memory, expected, rtol=1e-6)


def test_one_vector_need_not_be_dense(rng):
    many, rows = draw(rng, (7, 3), "d"), draw(rng, (3, 3), "d")
    for one in (rows[:, 1], rows[1, ::-1], np.broadcast_to(rows[0, 0], 3), rows[::2][:1]):
        np.testing.assert_array_equal(vp.cross(many, one), np.cross(many, one))
        np.testing.assert_array_equal(vp.cross(one, many), np.cross(one, many))


@pytest.mark.parametrize("axes", [(0, 0, 0), (0, 0, 1), (-2, 1, 0), (0, 2, -1), (2, 0, 2), (1, 1, -3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_axes_are_numpys(axes, dtype, rng, no_long_way):
    shapes = [(5, 4), (5, 4)]
    a, b = (
        draw(rng, np.insert(shape, axis % 3, 3), dtype) for shape, axis in zip(shapes, axes, strict=False)
    )
    expected = np.cross(a, b, *axes)
    product = vp.cross(a, b, *axes)
    np.testing.assert_allclose(product, expected, rtol=1e-6)
    assert product.strides == expected.strides


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", [(200_000, 3), (3, 200_000)])
def test_large_products_are_the_long_ways(shape, dtype, rng):
    a, b = draw(rng, shape, dtype), draw(rng, shape, dtype)
    axis = shape.index(3)
    expected = np.cross(a, b, axis=axis)
    np.testing.assert_array_equal(vp.cross(a, b, axis=axis), expected)
    out = np.full_like(a, 77)
    assert vp.cross(a, b, axis=axis, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert vp.cross(a, b, axis=axis, out=a) is a
    np.testing.assert_array_equal(a, expected)
    pairs = np.moveaxis(b, axis, -1)
    products = pairs[:, :, np.newaxis] * pairs[:, np.newaxis, :]
    np.testing.assert_array_equal(vp.batched_outer(pairs, pairs), products)
    out = np.full_like(products, 77)
    assert vp.batched_outer(pairs, pairs, out=out) is out
    np.testing.assert_array_equal(out, products)
    vp.batched_outer(out[:, 0], out[:, 1], out=out)  # which overlap
    np.testing.assert_array_equal(out, products[:, 0, :, np.newaxis] * products[:, 1, np.newaxis, :])


@pytest.mark.parametrize("axes", [(2, 0, 0), (0, -3, 0), (0, 0, 2), (0, 0, -3), (True, 0.5, 0)])
def test_axes_that_arrays_have_not_are_told_as_ever(axes):
    with pytest.raises((np.exceptions.AxisError, TypeError)) as expected:
        np.cross(np.ones((3, 3)), np.ones((3, 3)), *axes)
    with pytest.raises(expected.type, match=str(expected.value).split(":")[0]):
        vp.cross(np.ones((3, 3)), np.ones((3, 3)), *axes)


@pytest.mark.parametrize("shapes", [((3, 1), (3,)), ((3, 1), (5, 3)), ((5, 3), (3, 1)), ((5, 1), (3,))])
def test_three_numbers_need_not_be_one_vector(shapes, rng):
    with pytest.raises(ValueError, match="components"):
        vp.cross(*(draw(rng, shape, "d") for shape in shapes))


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda out: out[:-1], ValueError),
        (lambda out: np.broadcast_to(out, (2, *out.shape)).copy(), ValueError),
        (lambda out: out.astype(np.int64), TypeError),
        (lambda out: np.broadcast_to(out, out.shape), ValueError),
    ],
    ids=["shorter", "more axes", "integers", "read-only"],
)
def test_what_cannot_be_written_is_told_as_ever(case, spoil, error, rng):
    ours, _, *shapes, result = case
    a, b = (draw(rng, shape, "d") for shape in shapes)
    out = spoil(np.zeros(result))
    with pytest.raises(error, match="out"):
        ours(a, b, out=out)
    assert not out.any()


def test_a_wider_out_is_cast(case, rng):
    ours, numpys, *shapes, result = case
    a, b = (draw(rng, shape, "f") for shape in shapes)
    out = np.empty(result, np.float64)
    np.testing.assert_array_equal(ours(a, b, out=out), numpys(a, b).astype(np.float64))


def test_memory_of_another_byte_order_is_written(case, rng):
    ours, numpys, *shapes, result = case
    a, b = (draw(rng, shape, "d") for shape in shapes)
    out = np.empty(result, ">f8")
    np.testing.assert_array_equal(ours(a, b, out=out), numpys(a, b))


MEASURES = {
    "vector_angle": (vp.vector_angle, 2, "fd"),
    "parallelogram_area": (vp.parallelogram_area, 2, "fd"),
    "triangle_area": (vp.triangle_area, 3, "fd"),
    "triple_product": (vp.triple_product, 3, "fdi"),
    "vecdot": (lambda a, b: vp.linalg.vecdot(a, b), 2, "fdiD"),
}


@pytest.fixture(params=[(name, dtype) for name, (*_, dtypes) in MEASURES.items() for dtype in dtypes])
def measure(request, rng):
    """A function of vectors, so many of a dtype, and what it gives the long way."""
    name, dtype = request.param
    function, count, _ = MEASURES[name]

    def the_long_way(*arguments, **keywords):
        with vp.use_backend("cpu"):
            return function(*arguments, **keywords)

    vectors = [draw(rng, (7, 3), dtype) for _ in range(count)]
    the_long_way(*vectors)  # builds the ufunc
    return function, vectors, the_long_way


@pytest.mark.parametrize("shapes", [((5, 0), (1, 3)), ((5, 3), (5, 0)), ((0, 0), (0, 3)), ((5, 0), (5, 0))])
def test_an_empty_part_of_an_array_is_written(shapes):
    a, b = map(np.ones, shapes)
    out = np.ones((5, 4, 4))[: len(a), : a.shape[1], : b.shape[1]]
    for mode in ("cpu", "reference"):
        with vp.use_backend(mode):
            assert vp.batched_outer(a, b, out=out) is out
    assert vp.batched_outer(a, b, out=out) is out


@pytest.mark.parametrize("function", [vp.cross, vp.batched_outer])
@pytest.mark.parametrize("shape", [(2000, 1, 3), (1000, 2, 3), (2, 3, 100, 3), (1, 1, 3), (40, 1, 10, 3)])
def test_batches_within_batches(function, shape, rng):
    a, b = draw(rng, shape, "d"), draw(rng, shape, "d")
    expected = np.cross(a, b) if function is vp.cross else a[..., :, np.newaxis] * b[..., np.newaxis, :]
    np.testing.assert_array_equal(function(a, b), expected)
    out = np.full_like(expected, 77)
    assert function(a, b, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_what_may_pay_on_a_gpu_is_weighed(rng, monkeypatch):
    """However the call before went."""
    a = draw(rng, (1 << 16, 3), "d")
    with vp.use_backend("cpu"):
        vp.vector_angle(a[:8], a[:8])
        vp.linalg.vecdot(a[:8], a[:8])
    weighed = []
    choose = _dispatch.choose
    monkeypatch.setattr(_dispatch, "choose", lambda name, *rest: weighed.append(name) or choose(name, *rest))
    vp.vector_angle(a, a)
    vp.linalg.vecdot(a, a)
    vp.batched_outer(a, a)
    assert weighed == ["measure", "vecdot", "batched_outer"]


class TestMeasures:
    """Angles, areas, volumes and dot products."""

    @pytest.mark.parametrize(
        "view", [lambda v: v, lambda v: v[2], lambda v: v[::-2], lambda v: np.asfortranarray(v)]
    )
    def test_are_given_at_once(self, measure, view, request):
        function, vectors, the_long_way = measure
        vectors = [view(vector) for vector in vectors]
        expected = the_long_way(*vectors)
        request.getfixturevalue("no_long_way")
        result = function(*vectors)
        assert (type(result), result.dtype) == (type(expected), expected.dtype)
        np.testing.assert_array_equal(result, expected)

    @pytest.mark.parametrize(
        "view",
        [
            lambda first, *others: (first[0], *others),
            lambda first, *others: (first.real.astype("d"), *others),
            lambda first, *others: (first.tolist(), *others),
            lambda *vectors: [vector[:0] for vector in vectors],
            lambda *vectors: [vector[:, np.newaxis] for vector in vectors],
        ],
    )
    def test_of_other_vectors_are_the_long_ways(self, measure, view):
        function, vectors, the_long_way = measure
        vectors = view(*vectors)
        np.testing.assert_array_equal(function(*vectors), the_long_way(*vectors))

    def test_are_written_at_once(self, measure, no_long_way):
        function, vectors, _ = measure
        if function is MEASURES["vecdot"][0]:
            return  # it has no out
        expected = function(*vectors)
        for out in (np.full(7, 77, expected.dtype), np.full(14, 77, expected.dtype)[::2]):
            assert function(*vectors, out=out) is out
            np.testing.assert_array_equal(out, expected)
        column = vectors[0][:, 1]
        if column.dtype == expected.dtype:
            function(*vectors, out=column)
            np.testing.assert_array_equal(column, expected)

    @pytest.mark.parametrize("bad", [np.ones((7, 2)), np.ones((6, 3)), np.ones(()), np.ones((7, 3), bool)])
    def test_of_what_they_cannot_take_are_refused_as_ever(self, measure, bad):
        function, vectors, the_long_way = measure
        for arguments in ((*vectors[:-1], bad), (bad,) * len(vectors)):
            try:
                expected = the_long_way(*arguments)
            except (ValueError, TypeError) as error:
                with pytest.raises(type(error), match=re.escape(str(error))):
                    function(*arguments)
            else:
                np.testing.assert_array_equal(function(*arguments), expected)
