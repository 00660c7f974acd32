"""The products under the names and rules of the Array API's ``linalg`` extension.

They are stricter than their namesakes in NumPy's main namespace: vectors are never flattened, the
vector axis never broadcasts, and numbers are numeric.
"""

from operator import index

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from . import _checks, _dispatch, _short_products, products
from ._arrays import Array, Kind, as_arrays, common_kind, moved
from ._costs import Work
from ._destination import Destination
from ._layout import size, without_axis
from ._libraries import takes_any_library
from .errors import ShapeError

__all__ = ["cross", "outer", "vecdot"]


@takes_any_library
def outer(x1: Array, x2: Array, /) -> Array:
    """Outer product of two vectors: ``out[i, j] = x1[i] * x2[j]``.

    Parameters
    ----------
    x1 : (m,) array_like
        First vector.
    x2 : (n,) array_like
        Second vector. Complex vectors are not conjugated.

    Returns
    -------
    (m, n) array
        Of the kind and promoted dtype of the inputs.

    Raises
    ------
    ShapeError
        If an input has not exactly one axis.
    DeviceError
        If the arrays live on different devices.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> vp.linalg.outer([1, 2], [3, 4])
    array([[3, 4],
           [6, 8]])
    """
    kind = common_kind(x1=x1, x2=x2)
    x1, x2 = as_arrays(kind, x1, x2)
    for name, array in (("x1", x1), ("x2", x2)):
        if array.ndim != 1:
            raise ShapeError(
                f"{name} has shape {tuple(array.shape)}; needed is a vector, with one axis"
                " (vecprod_gpu.batched_outer takes batches of them)"
            )
    return products.outer(x1, x2)


@takes_any_library
def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Cross product of 3-vectors along one axis: see `vecprod_gpu.cross`.

    Parameters
    ----------
    x1, x2 : (..., 3, ...) array_like
        Vectors of numbers; their other axes broadcast.
    axis : int, default -1
        Axis of the components, counted from the end; from the start only where x1 and x2 have
        equally many axes.

    Returns
    -------
    (..., 3, ...) array
        Of the kind and promoted dtype of the inputs, with the components on the same axis.

    Raises
    ------
    ShapeError
        If an input has no 3 components along the axis, or the other axes do not broadcast.
    DTypeError
        If an input holds no numbers.
    numpy.exceptions.AxisError
        If the axis is out of range.
    DeviceError
        If the arrays live on different devices.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> vp.linalg.cross([1, 2, 3], [4, 5, 6])
    array([-3,  6, -3])
    """
    x1, x2, _ = _vectors(x1, x2)
    axis = _axis_from_the_end(axis, x1, x2)
    for name, array in (("x1", x1), ("x2", x2)):
        if (components := tuple(array.shape)[axis]) != 3:
            raise ShapeError(f"{name} has {components} components along axis {axis}; a cross product needs 3")
    return products.cross(x1, x2, axis=axis)


@takes_any_library
def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Dot product of vectors along one axis: ``sum(conj(x1) * x2)``.

    Parameters
    ----------
    x1, x2 : (..., n, ...) array_like
        Vectors of equally many numbers; their other axes broadcast.
    axis : int, default -1
        Axis of the components, counted from the end; from the start only where x1 and x2 have
        equally many axes.

    Returns
    -------
    (...) array or scalar
        Of the kind and promoted dtype of the inputs. Integers wrap.

    Raises
    ------
    ShapeError
        If the inputs differ in length along the axis, or the other axes do not broadcast.
    DTypeError
        If an input holds no numbers.
    numpy.exceptions.AxisError
        If the axis is out of range.
    DeviceError
        If the arrays live on different devices.

    Notes
    -----
    The order of the sum follows from the length alone. On the host, float32 is summed in float64.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> complex(vp.linalg.vecdot([1, 1j], [1, 1j]))
    (2+0j)
    >>> vp.linalg.vecdot(np.eye(3), [1.0, 2.0, 3.0])
    array([1., 2., 3.])
    """
    short = _short_products.vecdot(x1, x2, axis)
    if short is not None:
        return short
    x1, x2, kind = _vectors(x1, x2)
    axis = _axis_from_the_end(axis, x1, x2)
    length, other = (tuple(x.shape)[axis] for x in (x1, x2))
    if other != length:
        raise ShapeError(f"x2 has {other} components along axis {axis}; x1 has {length}")
    shapes = [without_axis(array.shape, axis % array.ndim) for array in (x1, x2)]
    lead = _checks.broadcast("x1", shapes[0], "x2", shapes[1])
    dtype = np.result_type(np.dtype(x1.dtype), np.dtype(x2.dtype))
    elements = size(lead) * length
    work = Work(bytes=(size(x1.shape) + size(x2.shape)) * dtype.itemsize, flops=2 * elements)
    choice = _dispatch.choose("vecdot", kind, dtype, work)
    backend = choice.module
    x1, x2 = (moved(backend, backend.cast(backend.native(x), dtype), axis, -1) for x in (x1, x2))
    destination = Destination(choice, kind, lead, dtype, None)
    if elements:
        backend.vecdot(x1, x2, destination.native)
    else:
        backend.assign(destination.native, backend.native(np.zeros((1,) * len(lead), dtype)))
    result = destination.result()
    return result[()] if kind == "numpy" and lead == () else result


def _vectors(x1: Array, x2: Array) -> tuple[Array, Array, Kind]:
    """Both inputs as arrays of numbers with an axis at least, and their kind."""
    kind = common_kind(x1=x1, x2=x2)
    x1, x2 = as_arrays(kind, x1, x2)
    for name, array in (("x1", x1), ("x2", x2)):
        _checks.number_dtype(name, array)
        _checks.at_least_1d(name, array)
    return x1, x2, kind


def _axis_from_the_end(axis: int, x1: Array, x2: Array) -> int:
    """The axis as a negative number, which means the same in both inputs."""
    axis = index(axis)  # of what is none, with NumPy's words
    if axis >= 0 and x1.ndim != x2.ndim:
        raise ShapeError(
            f"axis is {axis}, counted from the start, but x1 has {x1.ndim} axes and x2 has {x2.ndim}; "
            "count it from the end"
        )
    axes: int = min(x1.ndim, x2.ndim)
    return int(normalize_axis_index(axis, axes)) - axes
