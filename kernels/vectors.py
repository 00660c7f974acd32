"""Vectors of three floats, as tuples: what the Numba kernels of measures and of normals share.

Vectors are multiplied by a power of two, twice (see ``common.root_scale``), before their lengths or products
are taken, and results divided by it, twice.  Both are exact, and what lies between them neither overflows
nor underflows.
"""

import math

from .common import difference_of_products, fused, inlined, product, root_scale, widened


@inlined
def load(array, start, step):
    """Three numbers of `array`, `step` apart, in the type that they are computed in."""
    return widened(array[start]), widened(array[start + step]), widened(array[start + 2 * step])


@inlined
def difference(a, b):
    """``a - b``."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@inlined
def multiple(a, factor):
    """``a * factor``."""
    return product(a[0], factor), product(a[1], factor), product(a[2], factor)


@inlined
def quotient(a, divisor):
    """``a / divisor``."""
    return a[0] / divisor, a[1] / divisor, a[2] / divisor


@inlined
def dot(a, b):
    """``a · b`` of floats, each product and its sum rounded as one."""
    return fused(a[0], b[0], fused(a[1], b[1], product(a[2], b[2])))


@inlined
def cross(a, b):
    """``a × b`` of floats, each component as if it were computed in twice the digits."""
    return (
        difference_of_products(a[1], b[2], a[2], b[1]),
        difference_of_products(a[2], b[0], a[0], b[2]),
        difference_of_products(a[0], b[1], a[1], b[0]),
    )


@inlined
def largest(a):
    """Largest magnitude among the components that are numbers."""
    return max(max(abs(a[0]), abs(a[1])), abs(a[2]))


@inlined
def scaled(a):
    """``(a * root) * root`` with components up to 2, and the power of two `root`."""
    root = root_scale(largest(a))
    return multiple(multiple(a, root), root), root


@inlined
def length(a):
    """``|a|``, which overflows or underflows only where it is itself out of range."""
    near_one, root = scaled(a)
    return math.sqrt(dot(near_one, near_one)) / root / root


@inlined
def unit(a):
    """``a / |a|``; zeros for zeros."""
    near_one, root = scaled(a)
    norm = math.sqrt(dot(near_one, near_one))
    return quotient(near_one, norm if norm != 0 else root)


@inlined
def spanned(a, b):
    """``a × b`` times the square of a power of two, `root`, with which it is in range."""
    a, a_root = scaled(a)
    b, b_root = scaled(b)
    return cross(a, b), product(a_root, b_root)


@inlined
def spanned_between(p, q, r):
    """``(q - p) × (r - p)`` times the square of `root`; not even the differences overflow."""
    shrunk = root_scale(max(max(largest(p), largest(q)), largest(r)))
    p, q, r = multiple(p, shrunk), multiple(q, shrunk), multiple(r, shrunk)
    normal, root = spanned(difference(q, p), difference(r, p))
    return normal, product(root, shrunk)
