"""One call of each operation through the ``cupy`` backend, compared with the float64 oracles.

Tests of the kernels, of planted faults and of the sanitizers share these; `cupy` is CuPy, or the stand-in
that `tests.shim.fake_cupy.install` yields.
"""

import numpy as np

from tests.kernels import oracles
from vecprod_gpu.backends import cupy_raw

EPS = {"e": 2**-10, "f": 2**-23, "d": 2**-52, "F": 2**-23, "D": 2**-52}


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


def assert_close(actual, expected, code, scale=1.0, ulps=4):
    """Equal for integers; else within some units of the last place of `scale`."""
    assert actual.dtype == np.dtype(code)
    if np.dtype(code).kind in "iub":
        np.testing.assert_array_equal(actual, expected)
    else:
        wide = np.result_type(actual, np.float64)
        np.testing.assert_allclose(actual.astype(wide), expected, rtol=0, atol=ulps * EPS[code] * scale)


def batched_outer(cupy, a, b, *, alpha=1, beta=0, previous=None, out=None):
    """``batched_outer`` on device arrays, checked; returns out."""
    code = a.dtype.char
    scalar = np.dtype("f" if code == "e" else code).type
    shape = (*np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), a.shape[-1], b.shape[-1])
    out = cupy.empty(shape, code) if out is None else out
    if previous is not None:
        out[...] = cupy.asarray(previous)
    cupy_raw.batched_outer(a, b, scalar(alpha), scalar(beta), out)
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
    cupy_raw.cross(a, b, out)
    assert_close(out.get(), expected, code, scale, ulps=2)
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
    cupy_raw.linreg_pass(X, *device, **scalars, out=out, loss=loss)
    expected, expected_loss = oracles.linreg(X.get(), y, w, sample_weight, x_offset, **scalars)
    # A dot product of d terms, summed in lanes of the summing type, dominates the error.
    ulps = 4 * (4 + X.shape[2] ** 0.5)
    scale = np.abs(expected).max() * max(1.0, abs(learning_rate or 1.0)) + np.sqrt(expected_loss.max())
    assert_close(out.get(), expected, w.dtype.char, scale, ulps)
    np.testing.assert_allclose(loss.get(), expected_loss, rtol=ulps * EPS[w.dtype.char])
    return out, loss


def everything(cupy, seed=0):
    """One call that reaches each kernel and each of its paths, in sizes that fill no chunk or tile."""
    rng = np.random.default_rng(seed)
    a, b = random(rng, (7, 13), "f"), random(rng, (7, 19), "f")
    previous = random(rng, (7, 13, 19), "f")
    batched_outer(cupy, cupy.asarray(a), cupy.asarray(b))
    batched_outer(cupy, shifted(cupy, a), shifted(cupy, b), alpha=2, beta=-3, previous=previous)
    vectors = random(rng, (2, 301, 3), "f")
    cross(cupy, cupy.asarray(vectors[0]), cupy.asarray(vectors[1]))
    cross(cupy, shifted(cupy, vectors[0]), cupy.asarray(vectors[1]))
    components_first = np.ascontiguousarray(np.moveaxis(vectors, -1, 1))
    cross(cupy, cupy.moveaxis(cupy.asarray(components_first[0]), 0, -1), cupy.asarray(vectors[1]))
    for n, d, k in [(301, 13, 1), (90, 70, 7), (37, 300, 1)]:
        X, *rest = regression(rng, n, d, k)
        linreg(cupy, cupy.asarray(X), *rest, l1=0.1, l2=0.2, learning_rate=0.05)
        linreg(cupy, shifted(cupy, X), *rest, l2=0.2)
        by_columns = cupy.asarray(X.transpose(0, 2, 1).copy()).transpose(0, 2, 1)
        linreg(cupy, by_columns, rest[0], rest[1], None, None)
