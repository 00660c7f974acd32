"""Angles, areas, volumes and normals in plain NumPy, right at any magnitude.

Numbers are taken apart into mantissas and exponents, so that neither products nor squares overflow or
underflow, and float16 and float32 are computed in float64.  A component of a cross product is a difference
of two products, whose rounding errors count where they nearly cancel: Dekker's product finds them (A
floating-point technique for extending the available precision, Numerische Mathematik 18, 1971).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

ZERO_EXPONENT = -(1 << 20)  # stands for that of zero: below all others, and sums of three do not overflow
ROOM = 480  # the largest coordinate becomes 2**ROOM before normals are summed: 2**60 of them do not overflow


def measure(quantity: str, vectors: tuple[Array, ...], out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    out[...] = _QUANTITIES[quantity](*vectors)


def components(vectors: Array) -> tuple[Array, Array, Array]:
    """The three components, each with an axis of length 1: NumPy warns of integers without axes that wrap."""
    return vectors[..., 0:1], vectors[..., 1:2], vectors[..., 2:3]


def face_normals(vertices: Array, faces: Array, unit: bool, out: Array) -> int:
    """See the contract in `vecprod_gpu.backends`."""
    bad = first_bad_face(faces, vertices.shape[1])
    if bad < 0:
        normals, exponents = _triangle_cross(*_corners(_wide(vertices), faces))
        out[...] = _unit(_aligned(normals, exponents)[0]) if unit else np.ldexp(normals, exponents)
    return bad


def vertex_normals(vertices: Array, faces: Array, out: Array) -> int:
    """See the contract in `vecprod_gpu.backends`."""
    bad = first_bad_face(faces, vertices.shape[1])
    if bad < 0:
        scaled = _with_largest(_wide(vertices), ROOM, axis=(1, 2))
        normals = np.ldexp(*_triangle_cross(*_corners(scaled, faces)))
        sums = np.zeros_like(scaled)
        for total, normal in zip(sums, normals, strict=True):
            np.add.at(total, faces, normal[:, np.newaxis])
        out[...] = _unit(_with_largest(sums, 0))
    return bad


def grid_normals(z: Array, dx: Array, dy: float, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    z = _wide(z)
    slope_x = np.gradient(z, axis=2) / _wide(dx)[:, np.newaxis]
    slope_y = np.gradient(z, axis=1) / dy
    out[...] = _unit(_with_largest(np.stack([-slope_x, -slope_y, np.ones_like(z)], axis=-1), 0))


def first_bad_face(faces: Array, vertex_count: int) -> int:
    """The first face with an index outside of ``[0, vertex_count)``, or -1."""
    is_bad = np.any((faces < 0) | (faces >= vertex_count), axis=1)
    return int(is_bad.argmax()) if is_bad.any() else -1


def _corners(vertices: Array, faces: Array) -> tuple[Array, ...]:
    """The three points of each face."""
    return tuple(vertices[:, faces[:, corner]] for corner in range(3))


# --- Quantities ------------------------------------------------------------------------------------


def _vector_angle(a: Array, b: Array) -> Array:
    a, b = _with_largest(_wide(a), 0), _with_largest(_wide(b), 0)
    # Zero may come out negative, and arctan2(0, -0) is pi.
    return _first(np.arctan2(_length(*_cross(a, b)), _dot(a, b) + 0.0))


def _parallelogram_area(a: Array, b: Array) -> Array:
    return _first(_length(*_cross(_wide(a), _wide(b))))


def _triangle_area(p: Array, q: Array, r: Array) -> Array:
    normals, exponents = _triangle_cross(_wide(p), _wide(q), _wide(r))
    return _first(_length(normals, exponents - 1))


def _triple_product(a: Array, b: Array, c: Array) -> Array:
    """``a · (b × c)`` as NumPy rounds it, but float16 in float32; integers wrap."""
    if a.dtype == np.float16:
        a, b, c = (vectors.astype(np.float32) for vectors in (a, b, c))
    (a0, a1, a2), (b0, b1, b2), (c0, c1, c2) = components(a), components(b), components(c)
    volume = a0 * (b1 * c2 - b2 * c1) + a1 * (b2 * c0 - b0 * c2) + a2 * (b0 * c1 - b1 * c0)
    return _first(volume)


_QUANTITIES: dict[str, Callable[..., Array]] = {
    "vector_angle": _vector_angle,
    "parallelogram_area": _parallelogram_area,
    "triangle_area": _triangle_area,
    "triple_product": _triple_product,
}


# --- Vectors, along the last axis ------------------------------------------------------------------


def _wide(array: Array) -> Array:
    """The array in float64, or in a wider type that it has."""
    return array.astype(np.result_type(array.dtype, np.float64), copy=False)


def _first(array: Array) -> Array:
    """The array without its last axis, of length 1."""
    return array[..., 0]


def _dot(a: Array, b: Array) -> Array:
    """``a · b``, along an axis of length 1."""
    return a[..., 0:1] * b[..., 0:1] + a[..., 1:2] * b[..., 1:2] + a[..., 2:3] * b[..., 2:3]  # type: ignore[no-any-return]


def _norm(vectors: Array) -> Array:
    """Lengths of vectors whose squares are in range, along an axis of length 1."""
    return np.sqrt(_dot(vectors, vectors))


def _unit(vectors: Array) -> Array:
    """Vectors divided by their lengths, whose squares are in range; zeros for zeros."""
    norms = _norm(vectors)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms != 0)


def _with_largest(vectors: Array, exponent: int, axis: int | tuple[int, ...] = -1) -> Array:
    """Vectors times powers of two, so that the largest finite component has the exponent named."""
    magnitudes = np.where(np.isfinite(vectors), np.abs(vectors), 0)
    _, exponents = np.frexp(magnitudes.max(axis=axis, initial=0, keepdims=True))
    scaled: Array = np.ldexp(vectors, exponent - exponents)
    return scaled


def _cross(a: Array, b: Array) -> tuple[Array, Array]:
    """Mantissas and exponents of the components of ``a × b``."""
    (a, a_exponents), (b, b_exponents) = _parts(a), _parts(b)
    following, last = [1, 2, 0], [2, 0, 1]
    first = a_exponents[..., following] + b_exponents[..., last]
    second = a_exponents[..., last] + b_exponents[..., following]
    common = np.maximum(first, second)
    mantissas, exponents = _parts(
        _difference_of_products(
            a[..., following],
            np.ldexp(b[..., last], first - common),
            a[..., last],
            np.ldexp(b[..., following], second - common),
        )
    )
    return mantissas, exponents + common


def _aligned(mantissas: Array, exponents: Array) -> tuple[Array, Array]:
    """Vectors c and exponents e with ``mantissas * 2**exponents = c * 2**e``, c's largest one a mantissa."""
    largest = exponents.max(axis=-1, keepdims=True)
    return np.ldexp(mantissas, exponents - largest), largest


def _length(mantissas: Array, exponents: Array) -> Array:
    """Lengths of the vectors ``mantissas * 2**exponents``, along an axis of length 1."""
    vectors, exponents = _aligned(mantissas, exponents)
    return np.ldexp(_norm(vectors), exponents)


def _triangle_cross(p: Array, q: Array, r: Array) -> tuple[Array, Array]:
    """As `_cross`, of ``q - p`` and ``r - p``; points are halved where the differences could overflow."""
    limit = np.finfo(p.dtype).max / 2
    is_large = np.any((np.abs(p) > limit) | (np.abs(q) > limit) | (np.abs(r) > limit), axis=-1, keepdims=True)
    p, q, r = (np.ldexp(points, -is_large.astype(np.intc)) for points in (p, q, r))
    normals, exponents = _cross(q - p, r - p)
    return normals, exponents + 2 * is_large


# --- Numbers ---------------------------------------------------------------------------------------


def _parts(x: Array) -> tuple[Array, Array]:
    """Mantissas between 1/2 and 1, and exponents; zero comes below all other numbers."""
    mantissas, exponents = np.frexp(x)
    return mantissas, np.where(mantissas == 0, ZERO_EXPONENT, exponents)


def _difference_of_products(a: Array, b: Array, c: Array, d: Array) -> Array:
    """``a * b - c * d`` as if computed in twice the digits."""
    first, second = a * b, c * d
    error = _product_error(a, b, first) - _product_error(c, d, second)
    return (first - second) + error  # type: ignore[no-any-return]


def _product_error(a: Array, b: Array, product: Array) -> Array:
    """``a * b - product``, exactly."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error: Array = a_high * b_high - product + a_high * b_low + a_low * b_high + a_low * b_low
    return error


def _halves(x: Array) -> tuple[Array, Array]:
    """Two numbers of half as many digits whose sum is x, by Veltkamp's splitting."""
    digits = np.finfo(x.dtype).nmant + 1
    shifted = x * (2.0 ** ((digits + 1) // 2) + 1)
    high = shifted - (shifted - x)
    return high, x - high
