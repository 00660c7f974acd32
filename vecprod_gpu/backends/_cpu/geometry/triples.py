"""Arithmetic of three-vectors in float64, one at a time, for the compiled loops of geometry.

A cross product loses nearly all digits where its factors are nearly parallel, unless each component
is computed as if in twice the digits: a fused multiply-add finds the rounding errors of the two products.
Kahan's difference of products takes one of them less, but then ``a × b`` may differ from ``-(b × a)``, and
faces that cancel leave a normal where they meet.

float32 takes the same way: its products are exact in float64, but differences of points need not be.

Components between 2**-100 and 2**100 are *moderate*, and so is all of float32: products, their rounding
errors, and the squares of what is left of them stay in the range of float64.  Where others occur, the
``far`` functions take exponents apart.  The same components give the same bits either way.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiling import by_type, inlined

MAGNITUDE = (1 << 63) - 1  # all bits of a float64 but the sign
EXPONENT = 0x7FF << 52
BIAS = 1023
LEAST, MOST = ((BIAS + exponent) << 52 for exponent in (-100, 100))
HALF_OF_RANGE = (2 * BIAS) << 52  # the bits of 2**1023
ZERO_EXPONENT = -(1 << 20)  # stands for that of zero: below all others, and sums of three do not overflow
TINY = 1e-300  # far below what moderate numbers come to; added to them it vanishes


@intrinsic  # type: ignore[untyped-decorator]
def fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` of float64, rounded once."""
    signature = types.float64(types.float64, types.float64, types.float64)
    return signature, lambda context, builder, signature, arguments: builder.fma(*arguments)


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(typing_context: Any, x: Any) -> Any:
    """The bits of a float64 as an integer.

    Those of magnitudes compare as the numbers do, but without the exception that a comparison of vectors
    raises for NaN.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic  # type: ignore[untyped-decorator]
def float_of(typing_context: Any, bits: Any) -> Any:
    """The float64 that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@inlined()
def load(flat: Any, i: int) -> Any:
    """Vector i of packed ones."""
    return np.float64(flat[3 * i]), np.float64(flat[3 * i + 1]), np.float64(flat[3 * i + 2])


@inlined()
def minus(a: Any, b: Any) -> tuple[float, float, float]:
    """``a - b``."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@inlined()
def times(a: Any, factor: float) -> tuple[float, float, float]:
    """``a * factor``."""
    return a[0] * factor, a[1] * factor, a[2] * factor


@inlined()
def dot(a: Any, b: Any) -> float:
    """``a · b``."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]  # type: ignore[no-any-return]


@inlined()
def norm(a: Any) -> float:
    """Length of a moderate vector."""
    return math.sqrt(dot(a, a))


@inlined()
def difference_of_products(a: float, b: float, c: float, d: float) -> float:
    """``a * b - c * d``."""
    first, second = a * b, c * d
    return (first - second) + (fused(a, b, -first) - fused(c, d, -second))  # type: ignore[no-any-return]


@inlined()
def cross(a: Any, b: Any) -> tuple[float, float, float]:
    """``a × b`` of moderate vectors."""
    return (
        difference_of_products(a[1], b[2], a[2], b[1]),
        difference_of_products(a[2], b[0], a[0], b[2]),
        difference_of_products(a[0], b[1], a[1], b[0]),
    )


@inlined()
def triangle_cross(p: Any, q: Any, r: Any) -> tuple[float, float, float]:
    """``(q - p) × (r - p)`` of moderate points."""
    return cross(minus(q, p), minus(r, p))


@inlined()
def unit(a: Any) -> tuple[float, float, float]:
    """``a / |a|`` of a moderate vector; zeros for zeros."""
    return times(a, 1 / (norm(a) + TINY))


# --- Any range -------------------------------------------------------------------------------------


def are_moderate(flat: Any) -> Any:
    """Whether all numbers, stored side by side, are zero or moderate."""


@by_type(are_moderate)
def _are_moderate_by_dtype(flat: Any) -> Any:
    def by_range(flat: Any) -> bool:
        found = 0
        for i in range(flat.size):
            magnitude = bits_of(flat[i]) & MAGNITUDE
            found |= int((magnitude != 0) & ((magnitude < LEAST) | (magnitude > MOST)))
        return found == 0

    def always(flat: Any) -> bool:
        return True

    return by_range if flat.dtype is types.float64 else always


@inlined()
def largest_magnitude(a: Any) -> Any:
    """The bits of the largest component, without its sign."""
    return max(bits_of(a[0]) & MAGNITUDE, bits_of(a[1]) & MAGNITUDE, bits_of(a[2]) & MAGNITUDE)


@inlined()
def near_one(a: Any) -> tuple[Any, float]:
    """``a * factor`` with components up to 4, and the power of two `factor`."""
    exponent = largest_magnitude(a) & EXPONENT
    factor = float_of(max((2 * BIAS - 1 << 52) - exponent, 1 << 52))
    return times(a, factor), factor


@inlined()
def far_norm(a: Any) -> float:
    """Length of any vector."""
    scaled, factor = near_one(a)
    return norm(scaled) / factor


@inlined()
def far_unit(a: Any) -> tuple[float, float, float]:
    """``a / |a|`` of any vector; zeros for zeros."""
    scaled, _ = near_one(a)
    return unit(scaled)


@inlined()
def _parts(x: float) -> tuple[float, int]:
    """``m, e`` with ``x = m * 2**e`` and m between a half and one; zero comes below all other numbers."""
    mantissa, exponent = math.frexp(x)
    return mantissa, exponent if mantissa != 0 else ZERO_EXPONENT


@inlined()
def _far_difference_of_products(a: Any, b: Any, c: Any, d: Any) -> tuple[float, int]:
    """Mantissa and exponent of ``a * b - c * d``, of numbers taken apart by `_parts`."""
    first, second = a[1] + b[1], c[1] + d[1]
    common = max(first, second)
    value = difference_of_products(
        a[0], math.ldexp(b[0], first - common), c[0], math.ldexp(d[0], second - common)
    )
    mantissa, exponent = _parts(value)
    return mantissa, exponent + common


@inlined()
def far_cross(a: Any, b: Any) -> tuple[Any, Any]:
    """Mantissas and exponents of the components of ``a × b``."""
    a0, a1, a2 = _parts(a[0]), _parts(a[1]), _parts(a[2])
    b0, b1, b2 = _parts(b[0]), _parts(b[1]), _parts(b[2])
    x, i = _far_difference_of_products(a1, b2, a2, b1)
    y, j = _far_difference_of_products(a2, b0, a0, b2)
    z, k = _far_difference_of_products(a0, b1, a1, b0)
    return (x, y, z), (i, j, k)


@inlined()
def far_triangle_cross(p: Any, q: Any, r: Any) -> tuple[Any, Any]:
    """As `far_cross`, of ``q - p`` and ``r - p``; not even the differences overflow."""
    if max(largest_magnitude(p), largest_magnitude(q), largest_magnitude(r)) < HALF_OF_RANGE:
        return far_cross(minus(q, p), minus(r, p))
    p, q, r = times(p, 0.5), times(q, 0.5), times(r, 0.5)
    c, (i, j, k) = far_cross(minus(q, p), minus(r, p))
    return c, (i + 2, j + 2, k + 2)


@inlined()
def scaled_by_powers(mantissas: Any, exponents: Any) -> tuple[float, float, float]:
    """``mantissas * 2**exponents``."""
    return (
        math.ldexp(mantissas[0], exponents[0]),
        math.ldexp(mantissas[1], exponents[1]),
        math.ldexp(mantissas[2], exponents[2]),
    )


@inlined()
def aligned(mantissas: Any, exponents: Any) -> tuple[Any, int]:
    """``c, e`` with ``c * 2**e`` for the vector, and the largest component of c no less than a half."""
    i, j, k = exponents
    common = max(i, j, k)
    return scaled_by_powers(mantissas, (i - common, j - common, k - common)), common


@inlined()
def far_length(mantissas: Any, exponents: Any) -> float:
    """Length of the vector."""
    vector, exponent = aligned(mantissas, exponents)
    return math.ldexp(norm(vector), exponent)
