"""The .cu kernels of geometry and of dot products through the ``cupy`` backend, as `test_cu_shim`."""

import itertools

import numpy as np
import pytest

from tests.conftest import REAL_GPU
from tests.kernels import checks
from tests.kernels.checks import MEASURES, points, random, shifted
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import products

from .test_cu_shim import FLOATING, INTEGERS, bits

REAL = "efd"
LENGTHS = [quantity for quantity in MEASURES if quantity != "triple_product"]


def on_device(cupy, *arrays):
    return [cupy.asarray(array) for array in arrays]


def measured(cupy, quantity, *vectors):
    """What a quantity of host arrays is, unchecked."""
    vectors = on_device(cupy, *np.broadcast_arrays(*vectors))
    out = cupy.empty(vectors[0].shape[:-1], vectors[0].dtype)
    cupy_raw.measure(quantity, vectors, out)
    return out.get()


# --- Dot products ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*FLOATING, *INTEGERS])
def test_vecdot_of_every_dtype_and_length(cupy, rng, code):
    for count, length in [(1, 1), (5, 3), (67, 4), (33, 5), (3, 64), (2, 65), (70, 129), (3, 1000)]:
        a, b = random(rng, (2, count, length), code)
        checks.vecdot(cupy, *on_device(cupy, a, b))


def test_vecdot_of_nothing(cupy):
    out = checks.vecdot(cupy, cupy.empty((5, 0), "f"), cupy.empty((5, 0), "f"))
    np.testing.assert_array_equal(out.get(), np.zeros(5))
    checks.vecdot(cupy, cupy.empty((0, 5), "f"), cupy.empty((0, 5), "f"))


def test_vecdot_reads_and_writes_any_strides(cupy, rng):
    a, b = on_device(cupy, random(rng, (6, 4, 70), "F"), random(rng, (70, 4, 12), "F"))
    checks.vecdot(cupy, a[::-1, :, ::-2], a[:, ::-1, 35:])
    checks.vecdot(cupy, cupy.moveaxis(b, 0, -1)[:, ::2], cupy.moveaxis(a, 0, 1))
    checks.vecdot(cupy, a[:, :1], a[0, 0])
    checks.vecdot(cupy, a[:, None, :, None], cupy.moveaxis(b, 0, -1)[:, None, :6])
    checks.vecdot(cupy, a, a, out=cupy.moveaxis(cupy.empty((4, 6), "F"), 0, 1))


def test_vecdot_of_one_pair(cupy, rng):
    assert checks.vecdot(cupy, *on_device(cupy, *random(rng, (2, 9), "d"))).shape == ()


@pytest.mark.parametrize("length", [3, 4, 5, 31, 64, 65, 500])
def test_vecdot_adds_in_the_documented_order(cupy, rng, length):
    a, b = random(rng, (2, 11, length), "f")
    lanes = products.vecdot_lanes(length)
    sums = np.zeros((11, lanes), "f")
    for k in range(length):
        sums[:, k % lanes] += a[:, k] * b[:, k]
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    out = checks.vecdot(cupy, *on_device(cupy, a, b))
    np.testing.assert_array_equal(out.get(), sums[:, 0])


def test_vecdot_has_the_same_bits_for_any_grid_and_strides(cupy, rng, monkeypatch):
    a, b = random(rng, (2, 37, 90), "f")
    expected = bits(checks.vecdot(cupy, *on_device(cupy, a, b)))
    by_column = cupy.moveaxis(cupy.asarray(a.T.copy()), 0, 1)
    for threads, blocks in [(32, 1), (64, 2), (256, 1)]:
        monkeypatch.setattr(cupy_raw._LAUNCHER, "threads", threads, raising=False)
        monkeypatch.setattr(cupy_raw._LAUNCHER, "max_blocks", blocks, raising=False)
        assert bits(checks.vecdot(cupy, by_column, shifted(cupy, b))) == expected


def test_vecdot_keeps_subnormal_numbers(cupy):
    a, b = np.full((1, 70), 2.0**-80, "f"), np.full((1, 70), 2.0**-60, "f")
    out = checks.vecdot(cupy, *on_device(cupy, a, b))
    np.testing.assert_array_equal(out.get(), np.float32(70 * 2.0**-140))
    out = checks.vecdot(cupy, *on_device(cupy, a * np.complex64(1j), b.astype("F")))
    np.testing.assert_array_equal(out.get(), np.complex64(-70j * 2.0**-140))


# --- Angles, areas and volumes ---------------------------------------------------------------------


@pytest.mark.parametrize("code", REAL)
@pytest.mark.parametrize("quantity", MEASURES)
def test_measures_of_every_dtype_and_count(cupy, rng, quantity, code):
    for count in (0, 1, 3, 8, 9, 67):
        checks.measure(cupy, quantity, *on_device(cupy, *points(rng, (MEASURES[quantity], count), code)))


@pytest.mark.parametrize("code", INTEGERS)
def test_triple_product_of_integers_wraps(cupy, rng, code):
    for count in (3, 16, 67):
        vectors = on_device(cupy, *random(rng, (3, count, 3), code))
        checks.measure(cupy, "triple_product", *vectors)
        checks.measure(cupy, "triple_product", *(array[::-1] for array in vectors))


@pytest.mark.parametrize("quantity", MEASURES)
def test_measures_read_and_write_any_strides(cupy, rng, quantity):
    count = MEASURES[quantity]
    arrays = on_device(cupy, *points(rng, (3, 5, 7), "f"))
    by_component = [cupy.moveaxis(cupy.asarray(points(rng, (4, 7), "f").T.copy()), 0, -1) for _ in range(3)]
    checks.measure(cupy, quantity, *arrays[:count])
    checks.measure(cupy, quantity, *(array[::-1, :, ::-1] for array in arrays[:count]))
    checks.measure(cupy, quantity, *by_component[:count])
    crossed = [arrays[0][:, None, 2:, None], arrays[1][0, :4, None, None], arrays[2][:3, 0]]
    checks.measure(cupy, quantity, *crossed[:count])
    checks.measure(cupy, quantity, *[arrays[0][0, 0], arrays[1], arrays[2][:, :1]][:count])
    assert checks.measure(cupy, quantity, *(array[1, 2] for array in arrays[:count])).shape == ()
    out = cupy.moveaxis(cupy.empty((7, 5), "f"), 0, 1)
    checks.measure(cupy, quantity, *arrays[:count], out=out)


@pytest.mark.parametrize("code", REAL)
@pytest.mark.parametrize("quantity", MEASURES)
def test_measures_have_the_same_bits_wherever_arrays_start(cupy, rng, quantity, code):
    vectors = random(rng, (MEASURES[quantity], 53, 3), code)
    expected = measured(cupy, quantity, *vectors).tobytes()
    for places in itertools.islice(itertools.product((1, 0), repeat=len(vectors)), 3):
        views = [shifted(cupy, array, place) for array, place in zip(vectors, places, strict=True)]
        for start in (0, 1):
            out = shifted(cupy, np.zeros(53, code), start)
            cupy_raw.measure(quantity, tuple(views), out)
            assert bits(out) == expected


def test_triple_product_is_rounded_as_numpy_rounds_it(cupy, rng):
    for code in "fd":
        a, b, c = random(rng, (3, 101, 3), code)
        terms = a * np.cross(b, c)
        expected = (terms[:, 0] + terms[:, 1]) + terms[:, 2]
        np.testing.assert_array_equal(measured(cupy, "triple_product", a, b, c), expected)
        assert not measured(cupy, "triple_product", a, b, b).any()


def test_triple_product_of_half_is_rounded_once(cupy, rng):
    vectors = random(rng, (3, 101, 3), "e")
    wide = measured(cupy, "triple_product", *vectors.astype("f"))
    np.testing.assert_array_equal(measured(cupy, "triple_product", *vectors), wide.astype("e"))


# --- Where digits cancel, and at any scale ---------------------------------------------------------


@pytest.mark.parametrize("code", REAL)
@pytest.mark.parametrize("sign", [1, -1])
def test_nearly_parallel_vectors_lose_nothing(cupy, rng, code, sign):
    a = random(rng, (200, 3), code)
    nearly = np.nextafter(a, np.array(9, code), dtype=code)
    for quantity in ("vector_angle", "parallelogram_area"):
        out = checks.measure(cupy, quantity, *on_device(cupy, a, sign * nearly)).get()
        assert out.all()


@pytest.mark.parametrize("code", REAL)
def test_exchanged_vectors_change_signs_alone(cupy, rng, code):
    a, b = random(rng, (2, 200, 3), code)
    for quantity in ("vector_angle", "parallelogram_area"):
        np.testing.assert_array_equal(measured(cupy, quantity, a, b), measured(cupy, quantity, b, a))
    faces = np.arange(198).reshape(-1, 3)
    vertices, front, back = on_device(cupy, np.stack([a, b]), faces, faces[:, [0, 2, 1]].copy())
    one, other = (cupy.empty((2, 66, 3), code) for _ in range(2))
    for unit in (True, False):
        cupy_raw.face_normals(vertices, front, unit, one)
        cupy_raw.face_normals(vertices, back, unit, other)
        np.testing.assert_array_equal(one.get(), -other.get())


@pytest.mark.parametrize("code", REAL)
def test_angles_with_oneself_and_ones_opposite(cupy, rng, code):
    a = random(rng, (60, 3), code)
    np.testing.assert_array_equal(measured(cupy, "vector_angle", a, a), np.zeros(60))
    np.testing.assert_array_equal(measured(cupy, "vector_angle", a, -a), np.full(60, np.pi, code))


@pytest.mark.parametrize("code", "fd")
def test_angles_do_not_see_lengths(cupy, rng, code):
    a, b = random(rng, (2, 60, 3), code)
    expected = measured(cupy, "vector_angle", a, b)
    least, most = np.finfo(code).minexp + 8, np.finfo(code).maxexp - 4
    for first, second in [(least, least), (least, most), (most, most), (3, -5)]:
        scaled = np.ldexp(a, first), np.ldexp(b, second)
        np.testing.assert_array_equal(measured(cupy, "vector_angle", *scaled), expected)


@pytest.mark.parametrize("code", REAL)
def test_angles_of_subnormal_vectors(cupy, code):
    smallest = np.finfo(code).smallest_subnormal
    a = np.array([[1, 0, 0], [1, 1, 0], [3, 2, -1]], code) * smallest
    checks.measure(cupy, "vector_angle", *on_device(cupy, a, np.array([1, 1, 1], code)))
    checks.measure(cupy, "vector_angle", *on_device(cupy, a, a[::-1]))


@pytest.mark.parametrize("code", "fd")
def test_tiny_angles_survive(cupy, code):
    tiny = np.finfo(code).smallest_subnormal * np.array([1, 1000, 2.0**20], code)
    a = np.zeros((3, 3), code)
    a[:, 0], a[:, 1] = 1, tiny
    out = measured(cupy, "vector_angle", a, np.array([1, 0, 0], code))
    np.testing.assert_array_equal(out, tiny)


@pytest.mark.parametrize("code", REAL)
def test_the_angle_of_a_zero_vector_is_zero(cupy, code):
    zeros, others = np.zeros((3, 3), code), np.array([[1, 2, 3], [-1, -2, -3], [0, 0, 0]], code)
    for first, second in [(zeros, others), (-zeros, others), (others, zeros), (others, -zeros)]:
        np.testing.assert_array_equal(measured(cupy, "vector_angle", first, second), np.zeros(3))


@pytest.mark.parametrize("code", REAL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantity", LENGTHS)
def test_what_is_not_finite_gives_nan(cupy, rng, quantity, bad, code):
    count = MEASURES[quantity]
    good = random(rng, (count, 3), code)
    for vector, component in itertools.product(range(count), range(3)):
        vectors = np.stack([good, np.zeros_like(good)])
        vectors[:, vector, component] = bad
        out = measured(cupy, quantity, *np.moveaxis(vectors, 1, 0))
        assert np.isnan(out).all()


@pytest.mark.parametrize("code", "fd")
def test_areas_overflow_and_underflow_only_at_the_end(cupy, rng, code):
    a, b, c = points(rng, (3, 60), code)
    exponents = np.finfo(code).minexp // 2, np.finfo(code).maxexp // 2 - 4
    for exponent in exponents:
        # Squares of these areas are far out of range, the areas themselves are not.
        checks.measure(
            cupy, "parallelogram_area", *on_device(cupy, np.ldexp(a, exponent), np.ldexp(b, exponent))
        )
        huge, tiny = np.ldexp(a, 2 * exponent), np.ldexp(b, -exponent)
        checks.measure(cupy, "parallelogram_area", *on_device(cupy, huge, tiny))
        triangle = [np.ldexp(corner, exponent) for corner in (a, b, c)]
        checks.measure(cupy, "triangle_area", *on_device(cupy, *triangle))


@pytest.mark.parametrize("code", "fd")
def test_areas_that_are_themselves_out_of_range(cupy, code):
    a, b = np.array([1, 0, 0], code), np.array([0, 1, 0], code)
    far = np.finfo(code).maxexp // 2
    assert measured(cupy, "parallelogram_area", np.ldexp(a, far), np.ldexp(b, far)) == np.inf
    assert measured(cupy, "parallelogram_area", np.ldexp(a, far - 1), np.ldexp(b, far)) == 2.0 ** (
        2 * far - 1
    )
    small = np.finfo(code).minexp - np.finfo(code).nmant
    assert measured(cupy, "parallelogram_area", np.ldexp(a, small), b) == 2.0**small
    assert measured(cupy, "parallelogram_area", np.ldexp(a, small), np.ldexp(b, -2)) == 0
    # Each edge is longer than any number.
    most = np.finfo(code).max
    assert measured(cupy, "triangle_area", -most * a, most * a, 0 * a) == 0
    assert measured(cupy, "triangle_area", -most * a, most * a, np.ldexp(b, -far) - most * a) == np.ldexp(
        most, -far
    )


# --- Normals of faces ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", REAL)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("unit", [True, False])
def test_face_normals_of_every_dtype(cupy, rng, code, index, unit):
    for vertex_count, face_count, problems in [(1, 1, 1), (7, 5, 3), (40, 90, 2)]:
        vertices, faces = checks.mesh(rng, vertex_count, face_count, code, problems)
        checks.face_normals(cupy, cupy.asarray(vertices), faces.astype(index), unit)


def test_mesh_normals_read_and_write_any_strides(cupy, rng):
    vertices, faces = checks.mesh(rng, 9, 31, "f", problems=4)
    by_component = cupy.moveaxis(cupy.asarray(np.moveaxis(vertices, -1, 0).copy()), 0, -1)
    padded = cupy.empty((4, 18, 7), "f")[::-1, ::2, 6:0:-2]
    padded[...] = cupy.asarray(vertices)
    repeated = cupy.broadcast_to(cupy.asarray(vertices[:1]), (4, 9, 3))
    for view in (by_component, padded, repeated):
        for compute, count in [(checks.face_normals, 31), (checks.vertex_normals, 9)]:
            compute(cupy, view, faces)
            out = cupy.moveaxis(cupy.empty((3, 4, count), "f"), 0, -1)[:, ::-1]
            compute(cupy, view, faces, out=out)


if not REAL_GPU:  # CuPy itself makes no view of a field that is not aligned

    def test_normals_of_packed_records_are_computed(cupy, rng):
        vertices, faces = checks.mesh(rng, 9, 31, "f")
        records = np.zeros((1, 9), np.dtype([("flag", "i1"), ("point", "f4", 3)]))
        records["point"] = vertices
        view = cupy.asarray(records)["point"]
        assert view.strides[1] % 4
        checks.face_normals(cupy, view, faces)
        checks.vertex_normals(cupy, view, faces)


@pytest.mark.parametrize("code", "fd")
@pytest.mark.parametrize("unit", [True, False])
def test_degenerate_faces_have_zero_normals(cupy, code, unit):
    vertices = np.array([[[0, 0, 0], [1, 3, 5], [2, 6, 10], [1 / 3, 1, 5 / 3]]], code)
    faces = np.array([[0, 1, 1], [2, 2, 2], [0, 1, 2], [1, 0, 1]])
    out = checks.face_normals(cupy, cupy.asarray(vertices), faces, unit)
    assert not out.get().any()


@pytest.mark.parametrize("code", "fd")
def test_unit_normals_do_not_see_size(cupy, rng, code):
    vertices, faces = checks.mesh(rng, 20, 50, code)
    out = cupy.empty((1, 50, 3), code)
    cupy_raw.face_normals(cupy.asarray(vertices), cupy.asarray(faces), True, out)
    expected = out.get()
    for exponent in (np.finfo(code).minexp + 8, np.finfo(code).maxexp - 4):
        cupy_raw.face_normals(cupy.asarray(np.ldexp(vertices, exponent)), cupy.asarray(faces), True, out)
        np.testing.assert_array_equal(out.get(), expected)


def normals_of(kind):
    """The operation on native arrays, without what they do not share."""
    if kind == "vertex":
        return cupy_raw.vertex_normals
    return lambda vertices, faces, out: cupy_raw.face_normals(vertices, faces, True, out)


@pytest.mark.parametrize("kind", ["face", "vertex"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_the_first_bad_face_is_named(cupy, rng, kind, index):
    vertices, faces = checks.mesh(rng, 9, 700, "f", problems=2)
    out = cupy.empty((2, len(faces) if kind == "face" else 9, 3), "f")
    for first, corner, bad in [
        (699, 0, 9),
        (300, 1, -1),
        (41, 2, np.iinfo(index).max),
        (0, 0, np.iinfo(index).min),
    ]:
        faces[first, corner] = bad
        arrays = on_device(cupy, vertices, faces.astype(index))
        assert normals_of(kind)(*arrays, out) == first


@pytest.mark.parametrize("kind", ["face", "vertex"])
def test_meshes_with_nothing_in_them(cupy, kind):
    face = np.array([[0, 1, 2], [0, 0, 3]])
    for problems, vertex_count, faces, expected in [
        (2, 5, face[:0], -1),
        (2, 0, face[:0], -1),
        (0, 5, face, -1),
        (0, 3, face, 1),
        (2, 0, face, 0),
    ]:
        out = cupy.empty((problems, len(faces) if kind == "face" else vertex_count, 3), "f")
        arrays = cupy.empty((problems, vertex_count, 3), "f"), cupy.asarray(faces)
        assert normals_of(kind)(*arrays, out) == expected
        if kind == "vertex" and not len(faces):
            assert not out.get().any()


# --- Normals of vertices ---------------------------------------------------------------------------


@pytest.mark.parametrize("code", REAL)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_vertex_normals_of_every_dtype(cupy, rng, code, index):
    for vertex_count, face_count, problems in [(1, 1, 1), (7, 5, 3), (40, 300, 2), (300, 40, 1)]:
        vertices, faces = checks.mesh(rng, vertex_count, face_count, code, problems)
        checks.vertex_normals(cupy, cupy.asarray(vertices), faces.astype(index))


def test_vertices_without_faces_have_zero_normals(cupy):
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]]], "d")
    out = checks.vertex_normals(cupy, cupy.asarray(vertices), np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(out.get()[0], [[0, 0, 1]] * 3 + [[0, 0, 0]])
    out = checks.vertex_normals(cupy, cupy.asarray(vertices), np.array([[0, 1, 2], [2, 1, 0]]))
    assert not out.get().any()


def test_vertex_normals_add_in_the_order_of_faces(cupy):
    # The normals around vertex 0 are 1, 2^60 and -2^60 along z, and one along x.
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [2.0**60, 0, 0], [0, -1, 0], [0, 0, 3]]])
    faces = np.array([[0, 1, 2], [0, 3, 2], [0, 3, 4], [0, 2, 5]])
    out = cupy.empty(vertices.shape, "d")
    for order, expected in [([0, 1, 2, 3], [1, 0, 0]), ([1, 2, 0, 3], [3, 0, 1]), ([3, 1, 0, 2], [1, 0, 0])]:
        cupy_raw.vertex_normals(*on_device(cupy, vertices, faces[order]), out)
        np.testing.assert_allclose(out.get()[0, 0], expected / np.linalg.norm(expected), rtol=1e-15)


def test_vertex_normals_have_the_same_bits_for_any_grid(cupy, rng, monkeypatch):
    vertices, faces = random(rng, (2, 30, 3), "f"), rng.integers(30, size=(200, 3))
    arrays, out = on_device(cupy, vertices, faces), cupy.empty((2, 30, 3), "f")
    cupy_raw.vertex_normals(*arrays, out)
    expected = bits(out)
    for threads, blocks in [(32, 1), (64, 2)]:
        monkeypatch.setattr(cupy_raw._LAUNCHER, "threads", threads, raising=False)
        monkeypatch.setattr(cupy_raw._LAUNCHER, "max_blocks", blocks, raising=False)
        cupy_raw.vertex_normals(*arrays, out)
        assert bits(out) == expected


# --- Normals of height fields ----------------------------------------------------------------------


@pytest.mark.parametrize("code", REAL)
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 2, 9), (2, 17, 3), (1, 20, 30)], ids=str)
def test_grid_normals_of_every_dtype_and_shape(cupy, rng, code, shape):
    steps = (rng.integers(1, 9, shape[1]) / 4).astype("d" if code == "d" else "f")
    z = points(rng, shape, code)[..., 0]
    checks.grid_normals(cupy, cupy.asarray(z), steps, 0.25)
    checks.grid_normals(cupy, cupy.asarray(z), -steps, -3.0)


def test_grid_normals_read_and_write_any_strides(cupy, rng):
    z = cupy.asarray(points(rng, (6, 14, 8), "f")[..., 0])
    steps = np.ones(7, "f")
    checks.grid_normals(cupy, z[::-1, ::2, ::-1], steps)
    checks.grid_normals(cupy, cupy.moveaxis(z, 1, 0)[:4, :, :7].T[:, ::-1].T[:, :, :4], np.ones(6, "f"))
    checks.grid_normals(cupy, cupy.broadcast_to(z[0, :7], (3, 7, 8)), steps)
    checks.grid_normals(cupy, z[:, :7], steps, out=cupy.moveaxis(cupy.empty((3, 6, 7, 8), "f"), 0, -1))


def test_grid_normals_of_no_surface(cupy):
    checks.grid_normals(cupy, cupy.empty((0, 4, 5), "f"), np.ones(4, "f"))


@pytest.mark.parametrize("code", "fd")
def test_steep_and_flat_grids(cupy, code):
    steep = np.array([[[0, 0], [0, 1]]], code) * np.finfo(code).max / 4
    flat = np.array([[[0, 0], [0, 1]]], code) * np.finfo(code).smallest_subnormal
    out = checks.grid_normals(cupy, cupy.asarray(flat), np.ones(2, code)).get()
    np.testing.assert_array_equal(out[0, 1, 1], [*[-np.finfo(code).smallest_subnormal] * 2, 1])
    out = cupy.empty((1, 2, 2, 3), code)
    cupy_raw.grid_normals(cupy.asarray(steep), cupy.asarray(np.ones(2, code)), 1.0, out)
    np.testing.assert_allclose(out.get()[0, 1, 1, :2], np.sqrt([0.5, 0.5]) * -1, rtol=1e-6)


# --- Launches --------------------------------------------------------------------------------------


def test_few_lanes_share_a_short_vector_and_many_a_long_one():
    for length in (*range(130), 10**4, 10**9):
        lanes = products.vecdot_lanes(length)
        assert lanes in (1, 2, 4, 8, 16, 32)
        assert lanes == 32 or lanes * products.COMPONENTS_PER_LANE >= length
