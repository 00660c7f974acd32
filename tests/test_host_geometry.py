"""Geometry and dot products of the two backends that compute on the host, called directly.

The yardstick is exact: fractions, up to a last square root or arc tangent.
"""

import math
import os
import subprocess
import sys
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest

from tests.conftest import HOST_BACKENDS
from tests.workers import ROOT
from vecprod_gpu.backends import reference
from vecprod_gpu.backends._cpu.threads import pools

REAL = ["float32", "float64"]
LENGTHS = {"vector_angle": 2, "parallelogram_area": 2, "triangle_area": 3}
QUANTITIES = {**LENGTHS, "triple_product": 3}
MANY = 150_000  # vectors: several blocks for the threads
ULPS = {"float32": 1, "float64": 6}  # float32 is computed in float64 and rounded once


@pytest.fixture(params=HOST_BACKENDS)
def host(request):
    """The module of each backend; that of ``cpu`` needs Numba."""
    if request.param == "reference":
        return reference
    from vecprod_gpu.backends import cpu

    return cpu


def poisoned(shape, dtype):
    """An output whose old contents show wherever they are left, or are read."""
    out = np.empty(shape, dtype)
    out.reshape(-1).view(np.uint8)[:] = 0xFF
    return out


def measure(host, quantity, *vectors):
    """The quantity of vectors that broadcast, in their dtype."""
    shape = np.broadcast_shapes(*(v.shape[:-1] for v in vectors))
    out = poisoned(shape, vectors[0].dtype)
    host.measure(quantity, vectors, out)
    return out


def layouts(array):
    """The same values read-only, Fortran-ordered, reversed, strided and misaligned."""
    read_only = array.copy()
    read_only.flags.writeable = False
    shifted = np.frombuffer(b"-" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    return {
        "read-only": read_only,
        "fortran": np.asfortranarray(array),
        "strided": np.repeat(array, 2, axis=-1)[..., ::2],
        "every second": np.repeat(array, 2, axis=0)[::2],
        "misaligned": shifted,
        "reversed": np.flip(np.flip(array).copy()),
    }


LAYOUTS = sorted(layouts(np.ones((1, 3))))


# --- The yardstick ---------------------------------------------------------------------------------

DIGITS = Context(prec=60, Emin=-(10**6), Emax=10**6)


def exact(vector):
    """Components as fractions."""
    return [Fraction(float(x)) for x in vector]


def rounded(number):
    """A fraction rounded to the digits of float64, however large it is."""
    return 4 * Fraction(float(number / 4)) if abs(number) > 1 else Fraction(float(number))


def decimal(fraction):
    """A fraction to 60 digits."""
    return DIGITS.divide(Decimal(fraction.numerator), Decimal(fraction.denominator))


def length(vector):
    """Length of a vector of fractions, to 60 digits."""
    return DIGITS.sqrt(decimal(dot(vector, vector)))


def cross(a, b):
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def edges(p, q, r):
    """``q - p`` and ``r - p``, as rounded as they are wherever they are computed."""
    return [[rounded(x - y) for x, y in zip(end, p, strict=True)] for end in (q, r)]


def exact_angle(a, b):
    across, along = length(cross(a, b)), dot(a, b)
    if along == 0:
        return math.pi / 2 if across else 0.0
    angle = math.atan(float(DIGITS.divide(across, decimal(abs(along)))))
    return angle if along > 0 else math.pi - angle


def exact_measure(quantity, vectors):
    """One number in float64, right to about one unit in the last place."""
    vectors = [exact(vector) for vector in vectors]
    if quantity == "vector_angle":
        return exact_angle(*vectors)
    if quantity == "parallelogram_area":
        return float(length(cross(*vectors)))
    return float(length(cross(*edges(*vectors))) / 2)


def exact_measures(quantity, *vectors):
    return np.array([exact_measure(quantity, each) for each in zip(*vectors, strict=True)])


def unit(normal):
    """A vector of fractions as floats, scaled to length 1; zeros for zeros."""
    norm = length(normal)
    return [float(DIGITS.divide(decimal(x), norm)) if norm else 0.0 for x in normal]


def exact_normals(vertices, faces):
    """Unit normals of the faces of one mesh."""
    points = [exact(vertex) for vertex in vertices]
    return np.array([unit(cross(*edges(*(points[corner] for corner in face)))) for face in faces])


def exact_vertex_normals(vertices, faces):
    """Unit normals at the vertices of one mesh."""
    points = [exact(vertex) for vertex in vertices]
    sums = [[Fraction(0)] * 3 for _ in points]
    for face in faces:
        normal = cross(*edges(*(points[corner] for corner in face)))
        for corner in face:
            sums[corner] = [x + y for x, y in zip(sums[corner], normal, strict=True)]
    return np.array([unit(total) for total in sums])


def assert_close(ours, expected, ulps):
    """Within so many units in the last place of the expected values, in the dtype of ours."""
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = expected.astype(ours.dtype)
        is_close = np.abs(ours.astype(np.float64) - expected) <= ulps * np.spacing(np.abs(nearest))
    is_wrong = ~((ours == nearest) | is_close)
    assert not is_wrong.any(), (ours[is_wrong][:3], expected[is_wrong][:3])


# --- What goes in ----------------------------------------------------------------------------------


def directions(rng, count, dtype):
    """Vectors of about length 1, some of them along an axis."""
    vectors = rng.standard_normal((count, 3))
    vectors[rng.random((count, 3)) < 0.1] = 0
    return vectors.astype(dtype)


def any_magnitude(rng, shape, dtype):
    """Numbers of all magnitudes that the dtype has, subnormal ones and zeros among them."""
    info = np.finfo(dtype)
    exponents = rng.integers(info.minexp - info.nmant, info.maxexp, shape)
    signs = rng.choice([-1, 0, 1], shape, p=[0.45, 0.1, 0.45])
    return np.ldexp(signs * rng.uniform(0.5, 1, shape), exponents).astype(dtype)


def nearly_parallel(rng, count, dtype):
    """Pairs of vectors at angles from 1e-30 to 1e-3 to each other, or to each other's opposites."""
    a = directions(rng, count, np.float64)
    b = a + 10.0 ** rng.uniform(-30, -3, (count, 1)) * directions(rng, count, np.float64)
    return a.astype(dtype), (b * rng.choice([-1, 1], (count, 1))).astype(dtype)


def mesh(rng, vertex_count, face_count, dtype=np.int64):
    """Faces with three different corners each."""
    first, second, third = rng.random((face_count, vertex_count)).argsort(axis=1)[:, :3].T
    return np.stack([first, second, third], axis=1).astype(dtype)


# --- Angles, areas and volumes ---------------------------------------------------------------------


class TestMeasure:
    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", LENGTHS)
    def test_of_directions(self, host, rng, quantity, dtype):
        vectors = [directions(rng, 600, dtype) for _ in range(LENGTHS[quantity])]
        assert_close(measure(host, quantity, *vectors), exact_measures(quantity, *vectors), ULPS[dtype])

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", LENGTHS)
    def test_at_any_magnitude(self, host, rng, quantity, dtype):
        vectors = [any_magnitude(rng, (600, 3), dtype) for _ in range(LENGTHS[quantity])]
        expected = exact_measures(quantity, *vectors)
        with np.errstate(over="ignore"):
            assert_close(measure(host, quantity, *vectors), expected, ULPS[dtype])

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", ["vector_angle", "parallelogram_area"])
    def test_of_nearly_parallel_vectors(self, host, rng, quantity, dtype):
        vectors = nearly_parallel(rng, 600, dtype)
        assert_close(measure(host, quantity, *vectors), exact_measures(quantity, *vectors), ULPS[dtype])

    @pytest.mark.parametrize("dtype", REAL)
    def test_area_of_nearly_flat_triangles(self, host, rng, dtype):
        a, b = nearly_parallel(rng, 600, dtype)
        vectors = np.zeros_like(a), a, b
        expected = exact_measures("triangle_area", *vectors)
        assert_close(measure(host, "triangle_area", *vectors), expected, ULPS[dtype])

    @pytest.mark.parametrize("dtype", REAL)
    def test_angles_all_around(self, host, dtype):
        angles = np.concatenate([np.linspace(0, np.pi, 2001), np.geomspace(1e-30, 1, 500)])
        a = np.broadcast_to(np.array([2, 0, 0], dtype), (angles.size, 3))
        b = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1).astype(dtype)
        assert_close(measure(host, "vector_angle", a, b), exact_measures("vector_angle", a, b), ULPS[dtype])

    @pytest.mark.parametrize("dtype", REAL)
    def test_lengths_do_not_show_in_angles(self, host, rng, dtype):
        a, b = directions(rng, 300, dtype), directions(rng, 300, dtype)
        expected = measure(host, "vector_angle", a, b)
        limit = np.finfo(dtype).maxexp - 4
        for a_exponent, b_exponent in [(limit, limit), (limit, -limit // 2), (-limit // 2, -limit // 2)]:
            scaled = np.ldexp(a, a_exponent), np.ldexp(b, b_exponent)
            np.testing.assert_array_equal(measure(host, "vector_angle", *scaled), expected)

    @pytest.mark.parametrize("dtype", REAL)
    def test_angle_with_a_zero_vector_is_zero(self, host, dtype):
        a = np.array([[0, 0, 0], [-0.0, 0, -0.0], [0, 0, 0], [-1, -1, -1]], dtype)
        b = np.array([[1, 2, 3], [-1, -1, -1], [0, 0, 0], [0, 0, 0]], dtype)
        angles = measure(host, "vector_angle", a, b)
        np.testing.assert_array_equal(angles, 0)
        assert not np.signbit(angles).any()

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", LENGTHS)
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_of_what_is_not_finite_is_nan(self, host, rng, quantity, dtype, bad):
        clean = [directions(rng, 300, dtype) for _ in range(LENGTHS[quantity])]
        expected = measure(host, quantity, *clean)
        for operand in range(len(clean)):
            vectors = [vector.copy() for vector in clean]
            vectors[operand][np.arange(100, 130), np.arange(30) % 3] = bad
            with np.errstate(invalid="ignore"):
                found = measure(host, quantity, *vectors)
            assert np.isnan(found[100:130]).all()
            found[100:130] = expected[100:130]
            np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_no_exception_without_cause(self, host, rng, quantity, dtype):
        count = QUANTITIES[quantity]
        special = np.array([[0, 0, 0], [np.nan, 1, 2], [-0.0, 0, 0], [1, 1, 1]], dtype)
        with np.errstate(all="raise", under="ignore"):
            measure(host, quantity, *(directions(rng, 600, dtype) for _ in range(count)))
            for first in range(4):
                measure(host, quantity, *(np.roll(special, first * i, axis=0) for i in range(count)))

    @pytest.mark.parametrize("quantity", LENGTHS)
    def test_small_and_large_numbers_raise_underflow_at_most(self, host, rng, quantity):
        vectors = [any_magnitude(rng, (600, 3), np.float64) for _ in range(LENGTHS[quantity])]
        fits = np.isfinite(exact_measures(quantity, *vectors))
        with np.errstate(all="raise", under="ignore"):
            measure(host, quantity, *(vector[fits] for vector in vectors))

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", ["parallelogram_area", "triangle_area"])
    def test_overflow_of_the_result_is_told(self, host, quantity, dtype):
        large = np.finfo(dtype).max
        vectors = np.array([[[0, 0, 0]], [[large, 0, 0]], [[0, large, 0]]], dtype)[-QUANTITIES[quantity] :]
        with pytest.warns(RuntimeWarning, match="overflow"):
            assert measure(host, quantity, *vectors) == np.inf

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_infinity_is_told(self, host, quantity, dtype):
        vectors = np.array([[[np.inf, 1, 2]], [[0, 4, 5]], [[5, 4, 5]]], dtype)[: QUANTITIES[quantity]]
        with pytest.warns(RuntimeWarning, match="invalid"):
            assert np.isnan(measure(host, quantity, *vectors))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_layouts_give_the_same_bits(self, host, rng, quantity, dtype, layout):
        vectors = [directions(rng, 700, dtype).reshape(7, 100, 3) for _ in range(QUANTITIES[quantity])]
        expected = measure(host, quantity, *vectors)
        np.testing.assert_array_equal(
            measure(host, quantity, *(layouts(vector)[layout] for vector in vectors)), expected
        )
        mixed = [layouts(vectors[0])[layout], *vectors[1:]]
        np.testing.assert_array_equal(measure(host, quantity, *mixed), expected)
        for out in layouts(poisoned((7, 100), dtype)).values():
            if out.flags.writeable:
                host.measure(quantity, tuple(vectors), out)
                np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize(
        "shapes", [((), ()), ((5,), ()), ((4, 1), (3,)), ((1, 300), (2, 1)), ((0, 2), (2,))]
    )
    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_leading_axes_broadcast(self, host, rng, quantity, shapes):
        shapes = [*shapes, shapes[0]][: QUANTITIES[quantity]]
        vectors = [rng.standard_normal((*shape, 3)) for shape in shapes]
        spread = np.broadcast_shapes(*shapes)
        full = [np.broadcast_to(v, (*spread, 3)).copy() for v in vectors]
        out = poisoned(spread, np.float64)
        host.measure(quantity, tuple(vectors), out)
        np.testing.assert_array_equal(out, measure(host, quantity, *full))

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_threads_and_neighbours_do_not_show_in_the_bits(self, host, rng, monkeypatch, quantity, dtype):
        vectors = [rng.standard_normal((MANY, 3)).astype(dtype) for _ in range(QUANTITIES[quantity])]
        vectors[0][MANY // 2] = np.ldexp(vectors[0][MANY // 2], np.finfo(dtype).maxexp - 8)
        vectors[1][MANY // 2] = np.ldexp(vectors[1][MANY // 2], 8 - np.finfo(dtype).maxexp)
        results = []
        for count in (1, 4):
            monkeypatch.setattr(pools, "_limit", count)
            results.append(measure(host, quantity, *vectors))
        np.testing.assert_array_equal(*results)
        some = slice(MANY // 2 - 300, MANY // 2 + 1, 7)
        alone = [
            measure(host, quantity, *(vector[i : i + 1] for vector in vectors)) for i in range(MANY)[some]
        ]
        np.testing.assert_array_equal(results[0][some], np.concatenate(alone))

    @pytest.mark.parametrize("dtype", [*REAL, "int8", "uint8", "int16", "int32", "int64", "uint64"])
    def test_triple_product_is_rounded_as_by_numpy(self, host, rng, dtype):
        a, b, c = (100 * rng.standard_normal((3, 500, 3))).astype(dtype)
        normal = np.cross(b, c)
        expected = a[:, 0] * normal[:, 0] + a[:, 1] * normal[:, 1] + a[:, 2] * normal[:, 2]
        volumes = measure(host, "triple_product", a, b, c)
        assert volumes.dtype == expected.dtype
        np.testing.assert_array_equal(volumes, expected)

    @pytest.mark.parametrize("dtype", REAL)
    def test_triple_product_of_equal_vectors_is_zero(self, host, rng, dtype):
        a, b = directions(rng, 300, dtype), directions(rng, 300, dtype)
        np.testing.assert_array_equal(measure(host, "triple_product", a, b, b), 0)

    @pytest.mark.parametrize("quantity", LENGTHS)
    def test_of_float16_and_long_double(self, rng, quantity):
        narrow = [rng.standard_normal((200, 3)).astype(np.float16) for _ in range(LENGTHS[quantity])]
        expected = exact_measures(quantity, *narrow)
        assert_close(measure(reference, quantity, *narrow), expected, 1)
        wide = [vector.astype(np.longdouble) for vector in narrow]
        np.testing.assert_allclose(measure(reference, quantity, *wide), expected, rtol=1e-15)
        assert all(reference.supports("measure", vectors[0].dtype) for vectors in (narrow, wide))


# --- Normals of meshes -----------------------------------------------------------------------------


def mesh_normals(host, operation, vertices, faces, **options):
    """Normals of one mesh all of whose faces are right."""
    return batched_normals(host, operation, vertices[np.newaxis], faces, **options)[0]


def batched_normals(host, operation, vertices, faces, unit=True):
    """Normals of some meshes with the same faces, all of which are right."""
    count = faces.shape[0] if operation == "face_normals" else vertices.shape[1]
    out = poisoned((vertices.shape[0], count, 3), vertices.dtype)
    options = (unit,) if operation == "face_normals" else ()
    assert getattr(host, operation)(vertices, faces, *options, out) == -1
    return out


MESHES = ["face_normals", "vertex_normals"]


class TestMeshNormals:
    @pytest.mark.parametrize("index", ["int32", "int64"])
    @pytest.mark.parametrize("dtype", REAL)
    def test_of_faces(self, host, rng, dtype, index):
        vertices, faces = directions(rng, 80, dtype), mesh(rng, 80, 600, index)
        found = mesh_normals(host, "face_normals", vertices, faces)
        assert_close(found, exact_normals(vertices, faces), ULPS[dtype])

    @pytest.mark.parametrize("dtype", REAL)
    def test_of_faces_at_any_magnitude(self, host, rng, dtype):
        vertices, faces = any_magnitude(rng, (300, 3), dtype), mesh(rng, 300, 300)
        with np.errstate(all="raise", under="ignore"):
            found = mesh_normals(host, "face_normals", vertices, faces)
        assert_close(found, exact_normals(vertices, faces), ULPS[dtype])

    @pytest.mark.parametrize("dtype", REAL)
    def test_unscaled_are_twice_as_long_as_the_area(self, host, rng, dtype):
        vertices, faces = any_magnitude(rng, (100, 3), dtype), mesh(rng, 100, 300)
        points = [exact(vertex) for vertex in vertices]
        expected = [[float(decimal(x)) for x in cross(*edges(*(points[i] for i in face)))] for face in faces]
        with np.errstate(over="ignore"):
            found = mesh_normals(host, "face_normals", vertices, faces, unit=False)
        assert_close(found, np.array(expected), ULPS[dtype])

    @pytest.mark.parametrize("index", ["int32", "int64"])
    @pytest.mark.parametrize("dtype", REAL)
    def test_at_vertices(self, host, rng, dtype, index):
        vertices, faces = directions(rng, 300, dtype), mesh(rng, 280, 700, index)
        vertices += 0.1
        found = mesh_normals(host, "vertex_normals", vertices, faces)
        expected = exact_vertex_normals(vertices, faces)
        np.testing.assert_array_equal(found[280:], 0)  # no face is there
        tolerance = {"float32": 1e-7, "float64": 1e-14}[dtype]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)

    @pytest.mark.parametrize("exponent", [-1000, -500, 500, 1015])
    def test_lengths_do_not_show_in_normals_at_vertices(self, host, rng, exponent):
        vertices, faces = directions(rng, 80, np.float64), mesh(rng, 80, 200)
        expected = mesh_normals(host, "vertex_normals", vertices, faces)
        with np.errstate(all="raise", under="ignore"):
            found = mesh_normals(host, "vertex_normals", np.ldexp(vertices, exponent), faces)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("operation", MESHES)
    def test_degenerate_faces_give_zeros(self, host, operation, dtype):
        vertices = np.array([[1, 2, 3], [2, 4, 6], [4, 8, 12], [0, 1, 0]], dtype)
        faces = np.array([[0, 1, 2], [0, 0, 3], [3, 1, 3], [2, 2, 2]])
        with np.errstate(all="raise", under="ignore"):
            np.testing.assert_array_equal(mesh_normals(host, operation, vertices, faces), 0)

    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("operation", MESHES)
    def test_bad_vertices_spoil_their_own_faces_alone(self, host, rng, operation, dtype):
        vertices, faces = directions(rng, 60, dtype), mesh(rng, 58, 400)
        faces[7] = [1, 58, 2]
        faces[300] = [59, 4, 5]
        expected = mesh_normals(host, operation, vertices, faces)
        vertices[58], vertices[59, 1] = np.nan, np.inf
        is_spoilt = np.zeros(expected.shape[0], bool)
        is_spoilt[[7, 300] if operation == "face_normals" else [1, 2, 4, 5, 58, 59]] = True
        with np.errstate(invalid="ignore"):
            found = mesh_normals(host, operation, vertices, faces)
        assert np.isnan(found[is_spoilt]).all()
        np.testing.assert_allclose(found[~is_spoilt], expected[~is_spoilt], rtol=1e-6)

    def test_overflow_is_told(self, host):
        vertices = np.array([[0, 0, 0], [1e300, 0, 0], [0, 1e300, 0]])
        with pytest.warns(RuntimeWarning, match="overflow"):
            normal = mesh_normals(host, "face_normals", vertices, np.array([[0, 1, 2]]), unit=False)
        np.testing.assert_array_equal(normal, [[0, 0, np.inf]])

    @pytest.mark.parametrize("operation", MESHES)
    def test_infinity_is_told(self, host, operation):
        vertices = np.array([[0, 0, 0], [np.inf, 0, 0], [0, 1, 0]])
        with pytest.warns(RuntimeWarning, match="invalid"):
            mesh_normals(host, operation, vertices, np.array([[0, 1, 2]]))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", REAL)
    @pytest.mark.parametrize("operation", MESHES)
    def test_batches_and_layouts(self, host, rng, operation, dtype, layout):
        vertices, faces = rng.standard_normal((5, 90, 3)).astype(dtype), mesh(rng, 90, 333)
        expected = np.stack([mesh_normals(host, operation, each, faces) for each in vertices])
        found = batched_normals(host, operation, layouts(vertices)[layout], faces)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("operation", MESHES)
    def test_out_of_any_layout(self, host, rng, operation):
        vertices, faces = rng.standard_normal((2, 90, 3)), mesh(rng, 90, 90)
        expected = batched_normals(host, operation, vertices, faces)
        for out in layouts(poisoned((2, 90, 3), np.float64)).values():
            if out.flags.writeable:
                options = (True,) if operation == "face_normals" else ()
                assert getattr(host, operation)(vertices, faces, *options, out) == -1
                np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize("batch", [1, 3])
    @pytest.mark.parametrize("operation", MESHES)
    def test_threads_do_not_show_in_the_bits(self, host, rng, monkeypatch, operation, batch):
        vertices = rng.standard_normal((batch, 5000, 3), np.float32)
        faces = rng.integers(0, 5000, (MANY, 3), np.int32)
        results = []
        for count in (1, 4, 7):
            monkeypatch.setattr(pools, "_limit", count)
            results.append(batched_normals(host, operation, vertices, faces))
        np.testing.assert_array_equal(results[1], results[0])
        np.testing.assert_array_equal(results[2], results[0])

    @pytest.mark.parametrize("dtype", REAL)
    def test_sums_at_vertices_follow_the_order_of_faces(self, host, dtype):
        vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1e9, 0, 0], [0, 1e9, 0]], dtype)
        small, large, opposite = [0, 1, 2], [0, 3, 4], [0, 4, 3]
        lost = mesh_normals(host, "vertex_normals", vertices, np.array([small, large, opposite]))
        kept = mesh_normals(host, "vertex_normals", vertices, np.array([large, opposite, small]))
        np.testing.assert_array_equal(lost[0], [0, 0, 0])
        np.testing.assert_array_equal(kept[0], [0, 0, 1])

    @pytest.mark.parametrize("index", ["int32", "int64"])
    @pytest.mark.parametrize("count", [2, 300, 100_000])
    @pytest.mark.parametrize("bad", [-1, 50, 2**31 - 1, -(2**31)])
    @pytest.mark.parametrize("operation", MESHES)
    def test_the_first_bad_face_is_named(self, host, rng, monkeypatch, operation, bad, count, index):
        monkeypatch.setattr(pools, "_limit", 4)
        vertices = rng.standard_normal((2, 50, 3))
        faces = rng.integers(0, 50, (count, 3)).astype(index)
        for where, corner in [(count - 1, 0), (count * 2 // 3, 2), (0, 1)]:
            faces[where, corner] = bad
            out = np.empty((2, count if operation == "face_normals" else 50, 3))
            options = (True,) if operation == "face_normals" else ()
            assert getattr(host, operation)(vertices, faces, *options, out) == where

    @pytest.mark.parametrize("operation", MESHES)
    def test_of_nothing(self, host, operation):
        for batch, vertex_count, face_count in [(0, 4, 2), (2, 0, 0), (2, 4, 0), (0, 0, 0)]:
            vertices, faces = np.ones((batch, vertex_count, 3)), np.zeros((face_count, 3), np.int64)
            assert not batched_normals(host, operation, vertices, faces).any()

    @pytest.mark.parametrize("operation", MESHES)
    def test_faces_are_looked_at_where_there_is_nothing_else(self, host, operation):
        options = (True,) if operation == "face_normals" else ()
        faces = np.array([[0, 1, 2], [0, 1, 4]])
        for batch, vertex_count, bad in [(0, 4, 1), (2, 0, 0), (0, 0, 0)]:
            count = 2 if operation == "face_normals" else vertex_count
            out = np.empty((batch, count, 3))
            vertices = np.ones((batch, vertex_count, 3))
            assert getattr(host, operation)(vertices, faces, *options, out) == bad


# --- Normals of height fields ----------------------------------------------------------------------


def grid_normals(host, z, dx, dy):
    out = poisoned((*z.shape, 3), z.dtype)
    host.grid_normals(z, dx, dy, out)
    return out


def grid_oracle(z, dx, dy):
    z = z.astype(np.float64)
    slope_x = np.gradient(z, axis=-1) / dx.astype(np.float64)[:, np.newaxis]
    slope_y = np.gradient(z, dy, axis=-2)
    steep = np.hypot(np.hypot(slope_x, slope_y), 1)
    return np.stack([-slope_x / steep, -slope_y / steep, 1 / steep], axis=-1)


class TestGridNormals:
    @pytest.mark.parametrize("shape", [(1, 2, 2), (3, 2, 5), (2, 7, 2), (2, 40, 33), (1, 300, 700)])
    @pytest.mark.parametrize("dtype", REAL)
    def test_of_random_heights(self, host, rng, dtype, shape):
        z, dx = rng.standard_normal(shape).astype(dtype), rng.uniform(0.1, 9, shape[1]).astype(dtype)
        assert_close(
            grid_normals(host, z, dx, 0.25), grid_oracle(z, dx, 0.25), {"float32": 1, "float64": 12}[dtype]
        )

    @pytest.mark.parametrize("dtype", REAL)
    def test_steep_slopes_do_not_overflow(self, host, dtype):
        large = np.finfo(dtype).max / 4
        z = np.array([[[0, large, large], [0, 0, large]]], dtype)
        dx = np.ones(2, dtype)
        with np.errstate(all="raise", under="ignore"):
            found = grid_normals(host, z, dx, 1.0)
        np.testing.assert_allclose(found, grid_oracle(z, dx, 1.0), rtol=1e-6, atol=0)

    @pytest.mark.parametrize("dtype", REAL)
    def test_bad_heights_spoil_their_neighbours_alone(self, host, rng, dtype):
        z, dx = rng.standard_normal((1, 9, 30)).astype(dtype), np.ones(9, dtype)
        expected = grid_normals(host, z, dx, 1.0)
        z[0, 4, 20] = np.nan
        with np.errstate(all="raise", under="ignore"):
            found = grid_normals(host, z, dx, 1.0)
        is_spoilt = np.isnan(found).all(axis=-1)
        assert sorted(zip(*np.nonzero(is_spoilt[0]), strict=True)) == [(3, 20), (4, 19), (4, 21), (5, 20)]
        np.testing.assert_array_equal(found[~is_spoilt], expected[~is_spoilt])

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", REAL)
    def test_layouts_give_the_same_bits(self, host, rng, dtype, layout):
        z, dx = rng.standard_normal((3, 20, 31)).astype(dtype), rng.uniform(1, 2, 20).astype(dtype)
        expected = grid_normals(host, z, dx, 0.5)
        np.testing.assert_array_equal(grid_normals(host, layouts(z)[layout], dx, 0.5), expected)
        out = layouts(poisoned((3, 20, 31, 3), dtype))[layout]
        if out.flags.writeable:
            host.grid_normals(z, dx, 0.5, out)
            np.testing.assert_array_equal(out, expected)

    def test_threads_do_not_show_in_the_bits(self, host, rng, monkeypatch):
        z, dx = rng.standard_normal((2, 400, 300), np.float32), rng.uniform(1, 2, 400).astype(np.float32)
        results = []
        for count in (1, 4):
            monkeypatch.setattr(pools, "_limit", count)
            results.append(grid_normals(host, z, dx, 0.5))
        np.testing.assert_array_equal(*results)

    def test_of_no_problems(self, host):
        assert grid_normals(host, np.ones((0, 3, 4)), np.ones(3), 1.0).shape == (0, 3, 4, 3)


# --- Dot products ----------------------------------------------------------------------------------

NUMBERS = [*REAL, "complex64", "complex128", "int8", "uint8", "int16", "uint32", "int64", "uint64"]


def draw(rng, shape, dtype):
    """Random values that use the dtype's range: integers wrap when multiplied."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def vecdot(host, a, b):
    out = poisoned(np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), a.dtype)
    host.vecdot(a, b, out)
    return out


def assert_dot(found, a, b):
    """As exact as the sums: of integers and float32 to the last digit."""
    if a.dtype.kind in "iu":
        np.testing.assert_array_equal(found, np.sum(a * b, axis=-1, dtype=a.dtype))
        return
    wide = np.promote_types(a.dtype, np.longdouble)
    expected = np.sum(np.conj(a).astype(wide) * b, axis=-1)
    magnitude = np.sum(np.abs(a) * np.abs(b), axis=-1, dtype=np.float64)
    precision = np.finfo(a.dtype).eps
    if a.dtype.char in "fF":  # one rounding of the result; of the sum, one of float64 for each term
        tolerance = precision / 2 * np.abs(expected) + 1e-12 * magnitude
    else:
        tolerance = 16 * precision * magnitude
    assert (np.abs(found - expected) <= tolerance).all()


class TestVecdot:
    @pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 17, 100, 4096, 4097, 20_000])
    @pytest.mark.parametrize("dtype", NUMBERS)
    def test_of_any_length(self, host, rng, dtype, length):
        a, b = draw(rng, (7, length), dtype), draw(rng, (7, length), dtype)
        assert_dot(vecdot(host, a, b), a, b)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("length", [3, 100, 5000])
    @pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int16"])
    def test_layouts_give_the_same_bits(self, host, rng, dtype, length, layout):
        a, b = draw(rng, (3, 5, length), dtype), draw(rng, (3, 5, length), dtype)
        expected = vecdot(host, a, b)
        np.testing.assert_array_equal(vecdot(host, layouts(a)[layout], layouts(b)[layout]), expected)
        np.testing.assert_array_equal(vecdot(host, layouts(a)[layout], b), expected)
        out = layouts(poisoned((3, 5), dtype))[layout]
        if out.flags.writeable:
            host.vecdot(a, b, out)
            np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize("shape", [(MANY, 3), (3000, 300), (3, 600_000)])
    def test_threads_do_not_show_in_the_bits(self, host, rng, monkeypatch, shape):
        a, b = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
        results = []
        for count in (1, 4):
            monkeypatch.setattr(pools, "_limit", count)
            results.append(vecdot(host, a, b))
        np.testing.assert_array_equal(*results)
        assert_dot(results[0], a, b)

    @pytest.mark.parametrize(
        "shapes", [((4,), (4,)), ((3, 1, 4), (5, 4)), ((4,), (300, 2, 4)), ((0, 4), (4,))]
    )
    def test_leading_axes_broadcast(self, host, rng, shapes):
        a, b = (rng.standard_normal(shape) for shape in shapes)
        full = [array.copy() for array in np.broadcast_arrays(a, b)]
        np.testing.assert_array_equal(vecdot(host, a, b), vecdot(host, *full))

    def test_sums_of_float32_lose_nothing_on_the_way(self, host):
        a = np.array([[1e30, 1.0, -1e30, 3e38, 3e38, -3e38, -3e38]], np.float32)
        b = np.array([[1, 1, 1, 3, 3, 3, 3]], np.float32)
        with np.errstate(all="raise"):
            assert vecdot(host, a[:, :3], b[:, :3]) in (0, 1)  # float64 has no digits for the 1
            assert vecdot(host, a[:, 3:], b[:, 3:]) == 0

    @pytest.mark.parametrize("dtype", REAL)
    def test_exceptions_are_those_of_the_result(self, host, rng, dtype):
        large = np.full((1, 5), np.finfo(dtype).max, dtype)
        with pytest.warns(RuntimeWarning, match="overflow"):
            assert vecdot(host, large, large) == np.inf
        infinite = np.array([[np.inf, -np.inf, 1]], dtype)
        with pytest.warns(RuntimeWarning, match="invalid"):
            assert np.isnan(vecdot(host, infinite, np.ones_like(infinite)))
        with np.errstate(all="raise"):
            assert np.isnan(vecdot(host, np.array([[np.nan] * 20], dtype), np.ones((1, 20), dtype)))
            assert vecdot(host, infinite[:, :1], np.ones((1, 1), dtype)) == np.inf

    def test_reference_takes_every_dtype(self):
        long = np.array([1, 2, 3], np.longdouble)
        assert vecdot(reference, long, long) == 14
        half = np.full(4096, 5, np.float16)
        with np.errstate(over="ignore"):
            assert vecdot(reference, half, half / np.float16(512)) == 200
        flags = np.array([[True, False], [False, True]])
        np.testing.assert_array_equal(vecdot(reference, flags, flags[:1]), [True, False])
        objects = np.array([1, 2**70], object)
        out = np.empty((), object)
        reference.vecdot(objects, objects, out)
        assert out == 1 + 2**140


# --- Processors ------------------------------------------------------------------------------------


@pytest.mark.skipif("cpu" not in HOST_BACKENDS, reason="the backend is not tested")
def test_without_fused_multiply_add():
    script = """if True:
        import llvmlite.binding, numpy as np
        from vecprod_gpu.backends import cpu

        a = np.array([[1.0, 2.0, 3.0]] * 9) / 3
        b = np.nextafter(a, 9)
        for dtype in ("float32", "float64"):
            out = np.empty(9, dtype)
            cpu.measure("parallelogram_area", (a.astype(dtype), b.astype(dtype)), out)
            print(*out.tolist())
    """
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    printed = subprocess.check_output([sys.executable, "-c", script], text=True, cwd=ROOT, env=environment)
    a = np.array([[1.0, 2.0, 3.0]] * 9) / 3
    b = np.nextafter(a, 9)
    for dtype, line in zip(REAL, printed.splitlines(), strict=True):
        vectors = a.astype(dtype), b.astype(dtype)
        found = np.array(line.split(), np.float64).astype(dtype)
        assert_close(found, exact_measures("parallelogram_area", *vectors), ULPS[dtype])
