"""One call of each operation through a backend for GPUs, compared with an oracle.

Tests of the kernels, of planted faults and of the sanitizers share these; `cupy` is CuPy, or the stand-in
that `tests.shim.fake_cupy.install` yields, or `tests.kernels.numba_arrays`, which has a backend of its own.
"""

from unittest import mock

import numpy as np

from tests.kernels import exact, oracles
from vecprod_gpu.backends import cupy_raw

INTEGERS = "bBhHiIqQ"
EPS = {"e": 2**-10, "f": 2**-23, "d": 2**-52, "F": 2**-23, "D": 2**-52}
MEASURES = {"vector_angle": 2, "parallelogram_area": 2, "triangle_area": 3, "triple_product": 3}
"""How many vectors each quantity takes."""


def backend_of(cupy):
    """The backend that the arrays of a library are native to."""
    return getattr(cupy, "backend", cupy_raw)


def random(rng, shape, code):
    """Random numbers of a type code; integers use their whole range, so that products wrap."""
    dtype = np.dtype(code)
    if dtype.kind in "iu":
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def shifted(cupy, host, elements=1):
    """Device copy of an array that starts some elements past a 16-byte boundary."""
    whole = cupy.empty(host.size + elements, host.dtype)
    assert whole.data.ptr % 16 == 0
    view = whole[elements:].reshape(host.shape)
    view[...] = cupy.asarray(host)
    return view


def bits(array):
    """What two equal arrays share to the last bit, NaN included."""
    return array.get().tobytes()


def assert_close(actual, expected, code, scale=1.0, ulps=4):
    """Equal for integers; else within some units of the last place of `scale`."""
    assert actual.dtype == np.dtype(code)
    if np.dtype(code).kind in "iub":
        np.testing.assert_array_equal(actual, expected)
    else:
        wide = np.result_type(actual, np.float64)
        np.testing.assert_allclose(actual.astype(wide), expected, rtol=0, atol=ulps * EPS[code] * scale)


def assert_relative(actual, expected, code, ulps=4):
    """Each number within some units of its own last place, however small it is."""
    assert actual.dtype == np.dtype(code)
    smallest = float(np.finfo(code).smallest_subnormal)
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=ulps * EPS[code], atol=smallest)


def batched_outer(cupy, a, b, *, alpha=1, beta=0, previous=None, out=None):
    """``batched_outer`` on device arrays, checked; returns out."""
    code = a.dtype.char
    scalar = np.dtype("f" if code == "e" else code).type
    shape = (*np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), a.shape[-1], b.shape[-1])
    out = cupy.empty(shape, code) if out is None else out
    if previous is not None:
        out[...] = cupy.asarray(previous)
    backend_of(cupy).batched_outer(a, b, scalar(alpha), scalar(beta), out)
    expected = oracles.batched_outer(a.get(), b.get(), scalar(alpha), scalar(beta), previous)
    # At most three roundings of numbers up to the largest term of the sum.
    scale = float(np.abs(expected).max(initial=1)) + 4 * abs(beta)
    assert_close(out.get(), expected, code, scale)
    return out


def cross(cupy, a, b, out=None):
    """``cross`` on device arrays, checked; returns out."""
    code = a.dtype.char
    expected = oracles.cross(a.get(), b.get())
    scale = np.prod([float(np.abs(oracles.wide(operand.get())).max(initial=1)) for operand in (a, b)])
    out = cupy.empty(expected.shape, code) if out is None else out
    backend_of(cupy).cross(a, b, out)
    assert_close(out.get(), expected, code, scale, ulps=2)
    return out


def vecdot(cupy, a, b, out=None):
    """``vecdot`` on device arrays, checked; returns out."""
    code = a.dtype.char
    expected = oracles.vecdot(a.get(), b.get())
    terms = np.abs(oracles.wide(a.get())) * np.abs(oracles.wide(b.get()))
    out = cupy.empty(expected.shape, code) if out is None else out
    backend_of(cupy).vecdot(a, b, out)
    assert_close(out.get(), expected, code, float(terms.sum(axis=-1).max(initial=0)), ulps=8)
    return out


def measure(cupy, quantity, *vectors, out=None):
    """``measure`` on device arrays, checked; returns out."""
    code, hosts = vectors[0].dtype.char, [vector.get() for vector in vectors]
    shape = np.broadcast_shapes(*(vector.shape for vector in vectors))[:-1]
    out = cupy.empty(shape, code) if out is None else out
    backend_of(cupy).measure(quantity, vectors, out)
    if quantity == "triple_product":
        scale = 6 * np.prod([float(np.abs(oracles.wide(host)).max(initial=0)) for host in hosts])
        assert_close(out.get(), oracles.triple_product(*hosts), code, scale, ulps=2)
    else:
        assert_relative(out.get(), exact.measure(quantity, *hosts), code, ulps=6)
    return out


def points(rng, shape, code):
    """Random points whose differences are exact in any type."""
    return (rng.integers(-255, 256, (*shape, 3)) / 64).astype(code)


def mesh(rng, vertex_count, face_count, code="f", problems=1):
    """Host arrays of random vertices and faces."""
    return points(rng, (problems, vertex_count), code), rng.integers(vertex_count, size=(face_count, 3))


def face_normals(cupy, vertices, faces, unit=True, out=None):
    """``face_normals``, faces on the host and all else on the device, checked; returns out."""
    expected = exact.face_normals(vertices.get(), faces, unit)
    out = cupy.empty(expected.shape, vertices.dtype) if out is None else out
    assert backend_of(cupy).face_normals(vertices, cupy.asarray(faces), unit, out) == -1
    assert_relative(out.get(), expected, vertices.dtype.char)
    return out


def vertex_normals(cupy, vertices, faces, out=None):
    """``vertex_normals``, faces on the host and all else on the device, checked; returns out."""
    out = cupy.empty(vertices.shape, vertices.dtype) if out is None else out
    assert backend_of(cupy).vertex_normals(vertices, cupy.asarray(faces), out) == -1
    assert_relative(out.get(), exact.vertex_normals(vertices.get(), faces), vertices.dtype.char)
    return out


def grid_normals(cupy, z, dx, dy=1.0, out=None):
    """``grid_normals``, dx on the host and all else on the device, checked; returns out."""
    out = cupy.empty((*z.shape, 3), z.dtype) if out is None else out
    backend_of(cupy).grid_normals(z, cupy.asarray(dx), dy, out)
    assert_relative(out.get(), exact.grid_normals(z.get(), dx, dy), z.dtype.char)
    return out


def regression(rng, n, d, k=1, problems=1, stored="f", summed="f", shared_target=False):
    """Host arrays X, y, w, sample_weight and x_offset of a random regression."""
    return (
        random(rng, (problems, n, d), stored),
        random(rng, (problems, n, 1 if shared_target else k), summed),
        random(rng, (problems, d, k), summed),
        rng.random((problems, n)).astype(summed),
        random(rng, (problems, d), summed),
    )


def linreg(cupy, X, y, w, sample_weight, x_offset, *, l1=0.0, l2=0.0, learning_rate=None, out=None):
    """Check ``linreg_pass``, X on the device and all else on the host; returns out and loss."""
    device = [None if array is None else cupy.asarray(array) for array in (y, w, sample_weight, x_offset)]
    out = cupy.empty(w.shape, w.dtype) if out is None else device[1]
    loss = cupy.empty((w.shape[0], w.shape[2]), np.float64)
    scalars = {"l1": l1, "l2": l2, "learning_rate": learning_rate}
    backend_of(cupy).linreg_pass(X, *device, **scalars, out=out, loss=loss)
    expected, expected_loss = oracles.linreg(X.get(), y, w, sample_weight, x_offset, **scalars)
    # A dot product of d terms, summed in lanes of the summing type, dominates the error.
    ulps = 4 * (4 + X.shape[2] ** 0.5)
    scale = np.abs(expected).max() * max(1.0, abs(learning_rate or 1.0)) + np.sqrt(expected_loss.max())
    assert_close(out.get(), expected, w.dtype.char, scale, ulps)
    np.testing.assert_allclose(loss.get(), expected_loss, rtol=ulps * EPS[w.dtype.char])
    return out, loss


def bits_of_numbers(array):
    """The bits of a device array, with one NaN for all: its sign and payload are the compiler's choice."""
    host = array.get()
    return np.where(np.isnan(host), host.dtype.type(np.nan), host).tobytes()


def walk(cupy, X, y, w, sample_weight=None, x_offset=None, *, steps=3):
    """Check that ``linreg_steps`` has the bits of ``linreg_pass``, X on the device; returns both results."""
    backend, how = backend_of(cupy), {"l1": 0.02, "l2": 0.3, "learning_rate": 0.1}
    device = [None if array is None else cupy.asarray(array) for array in (y, w, sample_weight, x_offset)]
    y, w, *optional = device
    points = cupy.empty((steps, *w.shape), w.dtype)
    losses = cupy.empty((steps, w.shape[0], w.shape[2]), np.float64)
    backend.linreg_steps(X, y, w, *optional, **how, points=points, losses=losses)
    for point, loss in zip(points, losses, strict=True):
        out, expected = cupy.empty(w.shape, w.dtype), cupy.empty(loss.shape, np.float64)
        backend.linreg_pass(X, y, w, *optional, **how, out=out, loss=expected)
        assert bits_of_numbers(point) == bits_of_numbers(out)
        assert bits_of_numbers(loss) == bits_of_numbers(expected)
        w = out
    return points, losses


def random_weights(rng, shape, code):
    """Random weights: real and positive, or any integers."""
    return random(rng, shape, code) if np.dtype(code).kind in "iu" else rng.random(shape).astype(code)


def gram(cupy, X, Y=None, weights=None):
    """``gram``, weights on the host and all else on the device, checked; returns out."""
    code = X.dtype.char if X.dtype.char != "e" else "f"
    out = cupy.empty((X.shape[0], X.shape[2], (X if Y is None else Y).shape[2]), code)
    backend_of(cupy).gram(X, Y, None if weights is None else cupy.asarray(weights), out)
    if Y is None:
        np.testing.assert_array_equal(out.get(), np.conj(np.swapaxes(out.get(), 1, 2)))
    hosts = [X.get() if one is None else one.get() for one in (X, Y)]
    expected = oracles.gram(hosts[0], None if Y is None else hosts[1], weights)
    if np.dtype(code).kind in "iu":
        np.testing.assert_array_equal(out.get(), expected)
        return out
    lengths = [
        np.sqrt(np.einsum("bii->bi", oracles.gram(np.abs(host), None, weights)).real) for host in hosts
    ]
    tolerance = 24 * EPS[code] * lengths[0][:, :, np.newaxis] * lengths[1][:, np.newaxis, :]
    assert np.all(np.abs(out.get() - expected) <= tolerance)
    return out


def co_moments(cupy, X, Y=None, weights=None, *, summed=None, **options):
    """``co_moments``, weights on the host and all else on the device, checked; returns out, means and total.

    Distances from the means are summed in the type of out, and may err by some roundings of it; the means
    are kept in double, and err by some roundings of double besides.
    """
    code = summed or (X.dtype.char if X.dtype.char != "e" else "f")
    problems, d = X.shape[0], X.shape[2] + (0 if Y is None else Y.shape[2])
    out, means = cupy.empty((problems, d, d), code), cupy.empty((problems, d), code)
    total = cupy.empty((problems,), np.float64)
    device = None if weights is None else cupy.asarray(weights.astype(code))
    options = {"scale": 1.0, "correlation": False, **options}
    backend_of(cupy).co_moments(X, Y, device, **options, total=total, means=means, out=out)
    hosts = X.get(), None if Y is None else Y.get(), None if weights is None else weights.astype(code)
    expected_total, expected_means, expected = oracles.co_moments(*hosts, **options)

    np.testing.assert_array_equal(out.get(), np.conj(np.swapaxes(out.get(), 1, 2)))
    np.testing.assert_allclose(total.get(), expected_total, rtol=1e-14)
    deviations = np.sqrt(np.einsum("bii->bi", oracles.co_moments(*hosts)[2]).real)
    root = np.sqrt(expected_total)[:, np.newaxis]
    mean_error = 4 * EPS["d"] * np.abs(expected_means) + 4 * EPS[code] * deviations / root
    assert np.all(np.abs(means.get() - expected_means) <= mean_error + EPS[code] * np.abs(expected_means))
    pairs = deviations[:, :, np.newaxis] * deviations[:, np.newaxis, :]
    mixed = deviations[:, :, np.newaxis] * (root * mean_error)[:, np.newaxis, :]
    tolerance = 24 * EPS[code] * pairs + mixed + np.swapaxes(mixed, 1, 2)
    if options["correlation"]:
        assert not np.any(np.abs([out.get().real, out.get().imag]) > 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            tolerance = tolerance / pairs
    else:
        tolerance *= abs(options["scale"])
    is_close = np.abs(out.get() - expected) <= tolerance
    assert np.all(is_close | (np.isnan(out.get()) & np.isnan(expected)))
    return out, means, total


def solve_systems(cupy, X, Y, *, l2=0.0, is_centred=True):
    """``solve_systems`` of host arrays (B, n, d) and (B, n, k), of which a problem may be singular, checked.

    The oracle solves for centred rows and, for the penalty, one row more for each column.
    """
    total, means, matrix = (one.astype(np.float64) for one in oracles.co_moments(X, Y))
    (problems, _, d), k = X.shape, Y.shape[2]
    results = [cupy.empty(shape, np.float64) for shape in ((problems, d, k), (problems, k), (problems, k))]
    condition, share, finite = backend_of(cupy).solve_systems(
        *map(cupy.asarray, (total, means, matrix)),
        is_centred=is_centred,
        l2=l2,
        **dict(zip(("coef", "intercept", "loss"), results, strict=True)),
    )
    found = [one.get() for one in results]
    expected = [oracles.ridge(*pair, l2=l2, is_centred=is_centred) for pair in zip(X, Y, strict=True)]
    for i, (coef, intercept, loss, *_) in enumerate(expected):
        if coef is None:
            assert np.isnan(found[0][i]).all()
        else:
            for array, right in zip(found, (coef, intercept, loss), strict=True):
                np.testing.assert_allclose(array[i], right, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(condition, max(one[3] for one in expected), rtol=1e-9)
    if np.isfinite(condition):
        np.testing.assert_allclose(share, min(one[4] for one in expected), rtol=1e-6, atol=1e-14)
    assert finite
    return found


def everything(cupy, seed=0):
    """One call that reaches each kernel and each of its paths, in sizes that fill no chunk or tile."""
    rng = np.random.default_rng(seed)
    every_product(cupy, rng)
    every_measure(cupy, rng)
    every_normal(cupy, rng)
    every_moment(cupy, rng)
    every_regression(cupy, rng)
    every_walk(cupy, rng)
    every_system(cupy, rng)


def every_product(cupy, rng):
    """Those calls for outer, cross and dot products."""
    for a_shape, b_shape in [((7, 13), (7, 19)), ((6, 5), (8,)), ((3, 1, 5), (4, 3)), ((2, 5), (1040,))]:
        a, b = random(rng, a_shape, "f"), random(rng, b_shape, "f")
        shape = (*np.broadcast_shapes(a_shape[:-1], b_shape[:-1]), a_shape[-1], b_shape[-1])
        scaling = {"alpha": 2, "beta": -3, "previous": random(rng, shape, "f")}
        batched_outer(cupy, cupy.asarray(a), cupy.asarray(b))
        batched_outer(cupy, cupy.asarray(a), cupy.asarray(b), **scaling)
        batched_outer(cupy, shifted(cupy, a), shifted(cupy, b), **scaling)
    vectors = random(rng, (2, 301, 3), "f")
    cross(cupy, cupy.asarray(vectors[0]), cupy.asarray(vectors[1]))
    cross(cupy, shifted(cupy, vectors[0]), cupy.asarray(vectors[1]))
    components_first = np.ascontiguousarray(np.moveaxis(vectors, -1, 1))
    cross(cupy, cupy.moveaxis(cupy.asarray(components_first[0]), 0, -1), cupy.asarray(vectors[1]))
    for length in (3, 13, 200):
        a, b = random(rng, (2, 37, length), "f")
        vecdot(cupy, cupy.asarray(a), shifted(cupy, b))


def every_regression(cupy, rng, sizes=((301, 13, 1), (90, 70, 7), (37, 300, 3))):
    """Those calls for gradients, steps and losses, by each of the kernels that the backend has for them."""
    with mock.patch.object(backend_of(cupy)._LAUNCHER, "compiles_for_shapes", False, create=True):
        every_gradient(cupy, rng, sizes)
    if backend_of(cupy)._LAUNCHER.compiles_for_shapes:
        every_gradient(cupy, rng, sizes)


def every_gradient(cupy, rng, sizes):
    """Those calls by one of the kernels."""
    for n, d, k in sizes:
        X, *rest = regression(rng, n, d, k)
        linreg(cupy, cupy.asarray(X), *rest, l1=0.1, l2=0.2, learning_rate=0.05)
        linreg(cupy, shifted(cupy, X), *rest, l2=0.2)
        by_columns = cupy.asarray(X.transpose(0, 2, 1).copy()).transpose(0, 2, 1)
        linreg(cupy, by_columns, rest[0], rest[1], None, None)


def every_walk(cupy, rng):
    """Those calls for many steps: teams of one and of several, with one block of rows each and with more."""
    X, *rest = regression(rng, 2200, 4, 1, stored="d", summed="d")
    walk(cupy, cupy.asarray(X), *rest)
    X, *rest = regression(rng, 37, 6, 3, problems=2)
    walk(cupy, shifted(cupy, X), *rest)
    X, y, w, *_ = regression(rng, 290, 64, 1, problems=2)
    walk(cupy, cupy.asarray(X), y, w)


def every_measure(cupy, rng):
    """Those calls for angles, areas and volumes."""
    for quantity, count in MEASURES.items():
        vectors = points(rng, (count, 3, 67), "f")
        device = [cupy.asarray(array) for array in vectors]
        measure(cupy, quantity, *device)
        measure(cupy, quantity, shifted(cupy, vectors[0]), *device[1:])
        measure(cupy, quantity, *device, out=cupy.empty((3, 68), "f")[:, 1:])
        measure(cupy, quantity, *(array[1] for array in device), out=cupy.empty(69, "f")[2:])
        measure(cupy, quantity, *(array[:, ::-1] for array in device[:-1]), device[-1][1, 0])
    a = random(rng, (11, 3), "f")
    measure(cupy, "vector_angle", cupy.asarray(a), cupy.asarray(np.nextafter(a, np.float32(9))))
    measure(cupy, "parallelogram_area", cupy.asarray(np.ldexp(a, 99)), cupy.asarray(np.ldexp(a[::-1], -20)))
    most, one = np.diag(np.full(3, np.finfo("f").max)), np.eye(3, dtype="f")[[1, 2, 0]]
    measure(cupy, "triangle_area", *map(cupy.asarray, (-most, most, one - most)))


def every_normal(cupy, rng):
    """Those calls for normals."""
    vertices, faces = mesh(rng, 23, 61, problems=2)
    for index in (np.int32, np.int64):
        for unit in (True, False):
            face_normals(cupy, cupy.asarray(vertices), faces.astype(index), unit)
        vertex_normals(cupy, cupy.asarray(vertices)[:, ::-1], faces.astype(index))
    faces[17, 1] = 23
    bad = cupy.asarray(faces)
    assert backend_of(cupy).face_normals(cupy.asarray(vertices), bad, True, cupy.empty((2, 61, 3), "f")) == 17
    assert backend_of(cupy).vertex_normals(cupy.asarray(vertices), bad, cupy.empty((2, 23, 3), "f")) == 17
    z = random(rng, (2, 9, 11), "f")
    grid_normals(cupy, cupy.asarray(z), np.linspace(1, 2, 9, dtype="f"), -0.5)


def every_moment(cupy, rng, sizes=((301, 13, 1), (90, 70, 5), (9, 64, 72))):
    """Those calls for Gram matrices and co-moments."""
    for n, p, q in sizes:
        X, Y = random(rng, (2, n, p), "f"), random(rng, (2, n, q), "f") + np.float32(9)
        weights = random_weights(rng, (2, n), "f")
        gram(cupy, cupy.asarray(X))
        gram(cupy, shifted(cupy, X), cupy.asarray(Y), weights)
        co_moments(cupy, cupy.asarray(X), shifted(cupy, Y), scale=0.5)
        by_columns = cupy.asarray(X.transpose(0, 2, 1).copy()).transpose(0, 2, 1)
        weights[0, : n // 2] = 0
        co_moments(cupy, by_columns, cupy.asarray(Y)[:, ::-1], weights, correlation=True)
        X, Y, weights = (random(rng, (2, n, *row), "b") for row in ((p,), (q,), ()))
        gram(cupy, shifted(cupy, X), cupy.asarray(Y), weights)


def every_system(cupy, rng, problems=131):
    """Those calls for the solutions of many small problems."""
    for d, k, options in [(1, 1, {}), (4, 2, {"l2": 0.3}), (3, 1, {"is_centred": False})]:
        X, Y = rng.standard_normal((problems, 9, d)) + 3, rng.standard_normal((problems, 9, k))
        if d > 1 and not options.get("l2"):
            X[::8, :, 1] = 7 * X[::8, :, 0]
        solve_systems(cupy, X, Y, **options)
