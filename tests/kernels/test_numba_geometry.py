"""The Numba twins of measures and normals against exact oracles: in Numba's simulator, or on a GPU."""

from fractions import Fraction

import numpy as np
import pytest
from numba import cuda
from vecprod_gpu.kernels.common import difference_of_products, root_scale

from vecprod_gpu.backends import numba_cuda
from vecprod_gpu.backends._device import windows

from . import exact
from .test_numba_simulator import FLOATS, INTEGERS, numbers, poisoned

TINY_AND_HUGE = [("float32", 1e-30), ("float32", 1e30), ("float64", 1e-200), ("float64", 1e200)]


def assert_relatively_close(result, expected, roundings):
    """Within some roundings of each number itself; beyond the range of the dtype, as a cast would be."""
    info = np.finfo(result.dtype)
    with np.errstate(over="ignore"):
        expected = expected.astype(result.dtype).astype(np.float64)
    limits = roundings * info.eps * np.abs(expected) + float(info.smallest_subnormal)
    with np.errstate(invalid="ignore"):
        difference = np.abs(result.astype(np.float64) - expected)
    assert np.all((result == expected) | (difference <= limits))


def device_view(host, view):
    """Native window on a view of a device array."""
    return numba_cuda.native(view(numba_cuda.export(numba_cuda.native(host), "numba")))


def components_first(host):
    """Native window on vectors whose components lie far apart."""
    moved = numba_cuda.native(np.ascontiguousarray(np.moveaxis(host, -1, 0)))
    return numba_cuda.moveaxis(moved, 0, -1)


# --- Arithmetic ------------------------------------------------------------------------------------


@cuda.jit
def every_difference(a, b, c, d, out):
    """Take the difference of products of each four numbers."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = difference_of_products(a[i], b[i], c[i], d[i])


@cuda.jit
def every_root_scale(x, out):
    """Take the scale of each number."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = root_scale(x[i])


def run(kernel, *host):
    """Result of a kernel that takes arrays and then out, all of one length and dtype."""
    out = cuda.to_device(np.full_like(host[0], np.nan))
    kernel[2, 32](*(cuda.to_device(np.ascontiguousarray(one)) for one in host), out)
    return out.copy_to_host()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_difference_of_products_keeps_what_is_left(dtype):
    a, b = numbers(200, dtype), numbers(200, dtype, seed=1)
    nudges = 1 + np.finfo(dtype).eps * np.random.default_rng(2).integers(-3, 4, (2, 200))
    c, d = (a * nudges[0]).astype(dtype), (b * nudges[1]).astype(dtype)
    exactly = [
        float(Fraction(w) * Fraction(x) - Fraction(y) * Fraction(z))
        for w, x, y, z in np.transpose([a, b, c, d]).astype(float).tolist()
    ]
    assert_relatively_close(run(every_difference, a, b, c, d), np.array(exactly), roundings=1.5)


def test_difference_of_products_out_of_range():
    huge = np.finfo(np.float64).max
    a, b, c, d = np.array([[np.inf, 1, 1, 1], [np.nan, 1, 1, 1], [huge, 2, 1, 1], [0, 1, 0, -1]]).T
    np.testing.assert_array_equal(run(every_difference, a, b, c, d), [np.nan, np.nan, np.nan, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_swapped_products_change_the_sign_alone(dtype):
    a, b, c, d = np.random.default_rng(0).standard_normal((4, 50)).astype(dtype)
    np.testing.assert_array_equal(run(every_difference, a, b, c, d), -run(every_difference, c, d, a, b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_root_scale_brings_any_number_near_one(dtype):
    info = np.finfo(dtype)
    x = np.array([1, 1.9, 2, 3.9, 1e-30, 1e30, info.tiny, info.max, 0, np.inf, np.nan], dtype)
    roots = run(every_root_scale, x)
    assert np.all(np.frexp(roots)[0] == 0.5)
    scaled = (x * roots) * roots
    assert np.all((scaled[:8] >= 0.5) & (scaled[:8] < 2))
    least = run(every_root_scale, np.array([info.smallest_subnormal]))[0]
    assert info.smallest_subnormal * least * least >= info.eps


# --- measure ---------------------------------------------------------------------------------------


def measure(quantity, *vectors):
    native = tuple(numba_cuda.native(one) for one in vectors)
    out = poisoned(np.broadcast_shapes(*(one.shape[:-1] for one in native)), native[0].dtype)
    numba_cuda.measure(quantity, native, out)
    return numba_cuda.export(out, "numpy")


def check_measure(quantity, *vectors, roundings=4):
    assert_relatively_close(measure(quantity, *vectors), exact.measure(quantity, *vectors), roundings)


def volume(a, b, c):
    """As NumPy rounds it, in the dtype of the vectors."""
    x, y, z = np.moveaxis(np.cross(b, c), -1, 0)
    return (a[..., 0] * x + a[..., 1] * y) + a[..., 2] * z


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "shapes", [((9, 3), (9, 3)), ((2, 1, 3), (4, 3)), ((3,), (70, 3)), ((3,), (3,))], ids=str
)
@pytest.mark.parametrize("quantity", ["vector_angle", "parallelogram_area"])
def test_measures_of_pairs(quantity, dtype, shapes):
    check_measure(quantity, *(numbers(shape, dtype, seed) for seed, shape in enumerate(shapes)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shapes", [((9, 3),) * 3, ((2, 1, 3), (4, 3), (3,))], ids=str)
def test_triangle_area(dtype, shapes):
    whole = [np.rint(8 * numbers(shape, dtype, seed)) for seed, shape in enumerate(shapes)]
    check_measure("triangle_area", *whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sign", [1, -1], ids=["parallel", "antiparallel"])
def test_nearly_parallel_vectors_keep_their_digits(dtype, sign):
    a = numbers((60, 3), dtype)
    nudges = 1 + np.finfo(dtype).eps * np.random.default_rng(1).integers(-3, 4, a.shape)
    b = (sign * a * nudges).astype(dtype)
    check_measure("vector_angle", a, b)
    check_measure("parallelogram_area", a, b)
    check_measure("triangle_area", np.zeros(3, dtype), a, b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_vector_and_itself(dtype):
    a, c = numbers((20, 3), dtype), numbers((20, 3), dtype, seed=1)
    assert not measure("vector_angle", a, a).any()
    assert not measure("parallelogram_area", a, a).any()
    assert not measure("triangle_area", a, c, c).any()
    assert not measure("triple_product", c, a, a).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("quantity", ["vector_angle", "parallelogram_area"])
def test_measures_at_any_scale(quantity, dtype):
    info = np.finfo(dtype)
    exponents = np.random.default_rng(2).integers(info.minexp, info.maxexp - 2, (2, 60, 1))
    a, b = np.ldexp(np.random.default_rng(3).normal(size=(2, 60, 3)), exponents).astype(dtype)
    check_measure(quantity, a, b)


@pytest.mark.parametrize(("dtype", "scale"), TINY_AND_HUGE)
def test_triangles_at_any_scale(dtype, scale):
    p, q, r = (np.rint(8 * numbers((9, 3), "float64", seed)) for seed in range(3))
    p, q, r = (np.ldexp(one, round(np.log2(scale))).astype(dtype) for one in (p, q, r))
    check_measure("triangle_area", p, q, r)


def test_triangle_of_points_too_far_apart_to_subtract():
    huge = np.finfo(np.float32).max
    p, q = np.array([[-huge, 0, 0], [huge, 0, 0]], np.float32)
    check_measure("triangle_area", p, q, np.array([-huge, 1e-15, 0], np.float32))
    check_measure("triangle_area", p, q, np.array([-huge, 1e20, 0], np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_angle_of_subnormal_vectors(dtype):
    least = np.finfo(dtype).smallest_subnormal
    a, b = least * np.array([[1, 0, 0], [3, 4, 0]], dtype), least * np.array([[0, 5, 0], [3, 4, 1]], dtype)
    check_measure("vector_angle", a, b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_angle_with_a_zero_vector_is_zero(dtype):
    zeros = np.array([[0.0, 0.0, 0.0], [-0.0, -0.0, -0.0]], dtype)
    a = np.array([[1, 2, 3], [1, -2, 3], [-1, -2, -3], [0, 0, 0], [-0.0, 0, 0]], dtype)
    assert not measure("vector_angle", a[:, None], zeros).any()
    assert not measure("vector_angle", zeros, a[:, None]).any()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("component", range(3))
def test_angle_with_what_is_not_finite_is_nan(odd, component):
    a = np.eye(3, dtype=np.float32)[[component]]
    a[a == 1] = odd
    others = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [odd, odd, odd]], np.float32)
    assert np.isnan(measure("vector_angle", a, others)).all()
    assert np.isnan(measure("vector_angle", others, a)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_triple_product_rounds_as_numpy_does(dtype):
    a, b, c = (numbers((40, 3), dtype, seed) for seed in range(3))
    np.testing.assert_array_equal(measure("triple_product", a, b, c), volume(a, b, c))


def test_triple_product_of_half_is_rounded_once():
    a, b, c = (numbers((40, 3), "float16", seed) for seed in range(3))
    expected = volume(*(one.astype(np.float32) for one in (a, b, c))).astype(np.float16)
    np.testing.assert_array_equal(measure("triple_product", a, b, c), expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_triple_product_of_integers_wraps(dtype):
    a, b, c = (numbers((9, 3), dtype, seed) for seed in range(3))
    np.testing.assert_array_equal(measure("triple_product", a, b, c), volume(a, b, c))


@pytest.mark.parametrize(
    "quantity", ["vector_angle", "parallelogram_area", "triangle_area", "triple_product"]
)
def test_measures_of_nothing(quantity):
    count = 2 if quantity in ("vector_angle", "parallelogram_area") else 3
    assert measure(quantity, *[np.ones((0, 3))] * count).shape == (0,)


@pytest.mark.parametrize("view", [lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x[1:, 1:]])
@pytest.mark.parametrize("quantity", ["vector_angle", "triangle_area"])
def test_measures_of_device_views(quantity, view):
    count = 2 if quantity == "vector_angle" else 3
    hosts = [np.rint(8 * numbers((4, 5, 3), "float64", seed)) for seed in range(count)]
    result = measure(quantity, *(device_view(host, view) for host in hosts))
    assert_relatively_close(result, exact.measure(quantity, *map(view, hosts)), roundings=4)


@pytest.mark.parametrize("quantity", ["parallelogram_area", "triple_product"])
def test_measures_of_component_major_vectors(quantity):
    hosts = [numbers((7, 3), "float32", seed) for seed in range(2 if quantity == "parallelogram_area" else 3)]
    np.testing.assert_array_equal(measure(quantity, *map(components_first, hosts)), measure(quantity, *hosts))


# --- face_normals, vertex_normals ------------------------------------------------------------------


def normals(vertices, faces, unit=None):
    """First bad face, and normals: of the vertices unless `unit` is said, of the faces then."""
    vertices, faces = numba_cuda.native(vertices), numba_cuda.native(faces)
    count = vertices.shape[1] if unit is None else faces.shape[0]
    out = poisoned((vertices.shape[0], count, 3), vertices.dtype)
    if unit is None:
        bad = numba_cuda.vertex_normals(vertices, faces, out)
    else:
        bad = numba_cuda.face_normals(vertices, faces, unit, out)
    return bad, numba_cuda.export(out, "numpy")


def mesh(batch=1, vertex_count=7, face_count=11, dtype="float64", index_dtype="int64"):
    """Whole-numbered points, so that edges are exact, and random faces, some of them degenerate."""
    points = np.rint(16 * numbers((batch, vertex_count, 3), dtype))
    return points, np.random.default_rng(4).integers(0, vertex_count, (face_count, 3)).astype(index_dtype)


def check_normals(vertices, faces, unit=None, roundings=4):
    bad, result = normals(vertices, faces, unit)
    assert bad == -1
    if unit is None:
        expected = exact.vertex_normals(vertices, faces)
    else:
        expected = exact.face_normals(vertices, faces, unit)
    assert_relatively_close(result, expected, roundings)


@pytest.mark.parametrize("unit", [True, False, None], ids=["unit", "raw", "vertex"])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_normals_of_every_dtype(dtype, index_dtype, unit):
    check_normals(*mesh(2, dtype=dtype, index_dtype=index_dtype), unit)


@pytest.mark.parametrize("unit", [True, False, None], ids=["unit", "raw", "vertex"])
@pytest.mark.parametrize("sizes", [(1, 3, 1), (3, 5, 67), (1, 70, 20), (2, 40, 90)], ids=str)
def test_normals_of_ragged_sizes(sizes, unit):
    check_normals(*mesh(*sizes), unit)


@pytest.mark.parametrize("unit", [True, False, None], ids=["unit", "raw", "vertex"])
@pytest.mark.parametrize("sizes", [(0, 3, 2), (2, 3, 0), (2, 0, 0), (0, 0, 0)], ids=str)
def test_normals_of_nothing(sizes, unit):
    batch, vertex_count, face_count = sizes
    bad, result = normals(np.ones((batch, vertex_count, 3)), np.zeros((face_count, 3), np.int64), unit)
    assert bad == -1
    assert result.shape == (batch, vertex_count if unit is None else face_count, 3)
    assert not result.any()


@pytest.mark.parametrize("unit", [True, False], ids=["unit", "raw"])
def test_degenerate_faces_have_no_normal(unit):
    points = np.array([[[0, 0, 0], [1, 2, 3], [2, 4, 6], [-3, -6, -9], [1, 2, 3]]], np.float32)
    faces = np.array([[0, 1, 2], [3, 1, 0], [1, 1, 4], [2, 2, 2], [0, 1, 4]])
    bad, result = normals(points, faces, unit)
    assert bad == -1
    assert not result.any()


@pytest.mark.parametrize(("dtype", "scale"), TINY_AND_HUGE)
@pytest.mark.parametrize("unit", [True, False], ids=["unit", "raw"])
def test_face_normals_at_any_scale(dtype, scale, unit):
    points, faces = mesh()
    check_normals(np.ldexp(points, round(np.log2(scale))).astype(dtype), faces, unit)


def test_face_normals_of_points_too_far_apart_to_subtract():
    huge = np.finfo(np.float32).max
    points = np.array([[[-huge, 0, 0], [huge, 0, 0], [-huge, huge, huge]]], np.float32)
    check_normals(points, np.array([[0, 1, 2]]), True)


def test_face_normals_of_slivers_keep_their_digits():
    points = np.zeros((1, 41, 3), np.float32)
    points[0, 1:21] = numbers((20, 3), "float32")
    nudges = 1 + np.finfo(np.float32).eps * np.random.default_rng(1).integers(-3, 4, (20, 3))
    points[0, 21:] = points[0, 1:21] * nudges
    faces = np.array([[0, 1 + i, 21 + i] for i in range(20)])
    check_normals(points, faces, True)
    check_normals(points, faces, False)


@pytest.mark.parametrize("unit", [True, False], ids=["unit", "raw"])
def test_face_normals_keep_nan(unit):
    points, _ = mesh(1, 3)
    points[0, 1] = np.nan
    assert np.isnan(normals(points, np.array([[0, 1, 2]]), unit)[1]).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_vertex_normals_of_single_precision_at_any_scale(scale):
    points, faces = mesh()
    check_normals(np.ldexp(points, round(np.log2(scale))).astype(np.float32), faces)


def test_vertex_normals_are_weighted_by_area():
    points = np.array([[[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 2], [9, 9, 9]]], np.float64)
    result = normals(points, np.array([[0, 1, 2], [0, 2, 3]]))[1][0]
    np.testing.assert_allclose(result[0], np.array([2, 0, 3]) / np.sqrt(13), rtol=1e-15)
    np.testing.assert_array_equal(result[1], [0, 0, 1])
    assert not result[4].any()


def test_vertex_normals_that_cancel():
    points, _ = mesh(1, 3)
    assert not normals(points, np.array([[0, 1, 2], [0, 2, 1]]))[1].any()


def test_vertex_normals_have_the_same_bits_for_any_grid_and_strides(monkeypatch):
    points, faces = numbers((2, 9, 3), "float32"), mesh(2, 9, 40)[1]
    result = normals(points, faces)[1]
    monkeypatch.setattr(windows, "threads", lambda: 64)
    np.testing.assert_array_equal(normals(components_first(points), faces)[1], result)


@pytest.mark.parametrize("unit", [True, False, None], ids=["unit", "raw", "vertex"])
@pytest.mark.parametrize("view", [lambda x: x[::-1], lambda x: x[:, ::2], lambda x: x[:, :, ::-1]])
def test_normals_of_device_views(view, unit):
    points, faces = mesh(2, 10, 8)
    faces %= 5
    result = normals(device_view(points, view), faces, unit)[1]
    np.testing.assert_array_equal(result, normals(np.ascontiguousarray(view(points)), faces, unit)[1])


@pytest.mark.parametrize("unit", [True, False, None], ids=["unit", "raw", "vertex"])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("wrong", ["below", "at the end", "least", "most"])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_the_first_bad_face_is_named(unit, index_dtype, wrong, batch):
    points, faces = mesh(batch, 5, 45, index_dtype=index_dtype)
    info = np.iinfo(index_dtype)
    index = {"below": -1, "at the end": 5, "least": info.min, "most": info.max}[wrong]
    faces[36, 2] = faces[44, 0] = faces[20, 1] = index
    assert normals(points, faces, unit)[0] == 20


@pytest.mark.parametrize("unit", [True, None], ids=["face", "vertex"])
def test_every_face_is_bad_where_there_are_no_vertices(unit):
    assert normals(np.ones((1, 0, 3)), np.zeros((3, 3), np.int32), unit)[0] == 0


# --- grid_normals ----------------------------------------------------------------------------------


def grid_normals(z, dx, dy):
    z = numba_cuda.native(z)
    out = poisoned((*z.shape, 3), z.dtype)
    steps = np.asarray(dx, np.float32 if z.dtype == np.float16 else z.dtype)
    numba_cuda.grid_normals(z, numba_cuda.native(steps), dy, out)
    return numba_cuda.export(out, "numpy")


def check_grid_normals(z, dx, dy, roundings=4):
    assert_relatively_close(grid_normals(z, dx, dy), exact.grid_normals(z, dx, dy), roundings)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 3, 4), (1, 9, 11)], ids=str)
def test_grid_normals_of_every_dtype(dtype, shape):
    heights = np.rint(16 * numbers(shape, dtype))
    check_grid_normals(heights, np.linspace(0.5, 1.75, shape[1]), -0.25)


def test_grid_normals_use_the_step_of_each_row():
    z = np.tile(np.arange(3.0), (1, 2, 1))
    slopes = grid_normals(z, [1, 4], 1.0)[0, :, 0]
    np.testing.assert_allclose(-slopes[:, 0] / slopes[:, 2], [1, 0.25], rtol=1e-15)


def test_grid_normals_of_a_plain_point_up():
    result = grid_normals(np.full((1, 3, 3), 7.0), np.ones(3), 1.0)
    np.testing.assert_array_equal(result, np.broadcast_to([0.0, 0.0, 1.0], result.shape))
    assert not np.signbit(result).any()


@pytest.mark.parametrize(("dtype", "scale"), TINY_AND_HUGE)
def test_grid_normals_at_any_scale(dtype, scale):
    heights = np.ldexp(np.rint(16 * numbers((1, 3, 4), "float64")), round(np.log2(scale)))
    check_grid_normals(heights.astype(dtype), np.ones(3), 2.0)


def test_grid_normals_of_nothing():
    assert grid_normals(np.ones((0, 2, 2)), np.ones(2), 1.0).shape == (0, 2, 2, 3)


@pytest.mark.parametrize("view", [lambda x: x[::-1], lambda x: x[:, ::-1, ::2], lambda x: x[:, 1:]])
def test_grid_normals_of_device_views(view):
    z = numbers((2, 6, 4), "float32")
    steps = np.arange(1, 1 + view(z).shape[1])
    result = grid_normals(device_view(z, view), steps, 1.0)
    np.testing.assert_array_equal(result, grid_normals(np.ascontiguousarray(view(z)), steps, 1.0))


def test_grid_normals_of_heights_in_fortran_order():
    z = numbers((2, 6, 4), "float32")
    columns_first = numba_cuda.native(np.ascontiguousarray(z.transpose(0, 2, 1)))
    result = grid_normals(numba_cuda.moveaxis(columns_first, 1, 2), np.ones(6), 1.0)
    np.testing.assert_array_equal(result, grid_normals(z, np.ones(6), 1.0))
