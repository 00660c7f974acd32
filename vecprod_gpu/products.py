"""Products of vectors: outer, batched outer and cross."""

import numbers
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import normalize_axis_index

from . import _checks, _dispatch
from ._arrays import Array, Kind, as_arrays, common_kind, moved, result_dtype
from ._costs import Work
from ._destination import Destination
from ._layout import size
from .backends._small import SMALL_ELEMENTS, small_cross, small_outer
from .errors import ArgumentError, ShapeError

# Compared by identity in the short way through a small call, where an array must not be compared at all.
_ONE, _ZERO, _LAST = 1, 0, -1

current_mode = _dispatch.mode.get


def outer(a: Array, b: Array, out: Array | None = None) -> Array:
    """Outer product of two vectors, as `numpy.outer`: ``out[i, j] = a[i] * b[j]``.

    Parameters
    ----------
    a : (m,) array_like
        First vector; flattened if it has more axes.
    b : (n,) array_like
        Second vector; flattened if it has more axes.
    out : (m, n) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (m, n) array
        Of the kind of the inputs, with NumPy's promoted dtype; ``out`` where it was given.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If ``out`` has the wrong shape, cannot hold the result, or is read-only.
    DeviceError
        If the arrays live on different devices.

    See Also
    --------
    batched_outer : For many pairs at once.

    Notes
    -----
    The first source article uses outer products for covariances and for the gradient of linear
    regression; its worked example should read as below.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> vp.outer([1, 2], [3, 4])
    array([[3, 4],
           [6, 8]])
    """
    kind = common_kind(a=a, b=b, out=out)
    a, b = as_arrays(kind, a, b)
    return _multiply(kind, a, b, (size(a.shape),), (size(b.shape),), (), 1, 0, out)


def batched_outer(
    a: Array, b: Array, *, alpha: Any = _ONE, beta: Any = _ZERO, out: Array | None = None
) -> Array:
    """Outer products of a batch of vectors: ``out[..., i, j] = alpha * a[..., i] * b[..., j] + beta * out``.

    Parameters
    ----------
    a : (..., m) array_like
        First vectors.
    b : (..., n) array_like
        Second vectors; the leading axes of a and b broadcast.
    alpha : number, default 1
        Scales the products, as in BLAS GER: a is scaled first.
    beta : number, default 0
        Scales what ``out`` held. With 0, ``out`` is not read, and may hold anything, NaN included.
    out : (..., m, n) array, optional
        Where the result is written; needed where ``beta`` is not 0.

    Returns
    -------
    (..., m, n) array
        Of the kind of the inputs, with NumPy's promoted dtype; ``out`` where it was given.

    Raises
    ------
    ShapeError
        If a or b has no axis, the leading axes do not broadcast, or ``out`` has another shape.
    DTypeError
        If ``out`` cannot hold the result, or alpha or beta is of a higher kind than the arrays.
    ArgumentError
        If ``beta`` is given without ``out``, or ``out`` is read-only.
    DeviceError
        If the arrays live on different devices.

    Notes
    -----
    Each product of real numbers is rounded as NumPy rounds it; nothing is fused, as NumPy's own products
    of complex numbers may be.  With ``beta``, the result is computed in the promoted dtype of the inputs
    and ``out``.  float16 is computed in float32 and rounded once.  Complex vectors are not conjugated.

    References
    ----------
    .. [1] Dongarra et al., "An extended set of FORTRAN basic linear algebra subprograms", ACM TOMS
       14 (1988), the operation GER.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> vp.batched_outer(np.array([[1., 2.], [0., 1.]]), np.array([[3., 4.], [5., 6.]]))
    array([[[3., 4.],
            [6., 8.]],
    <BLANKLINE>
           [[0., 0.],
            [5., 6.]]])
    """
    if (
        type(a) is ndarray
        and type(b) is ndarray
        and out is None
        and alpha is _ONE
        and beta is _ZERO
        and (ufunc := small_outer.get(dtype := a.dtype)) is not None
        and b.dtype is dtype
        and a.size * b.size <= SMALL_ELEMENTS
        and current_mode() is None
    ):
        try:
            return ufunc(a, b)
        except ValueError:  # the shapes do not fit: the long way says which
            pass
    kind = common_kind(a=a, b=b, out=out)
    a, b = as_arrays(kind, a, b)
    _checks.at_least_1d("a", a)
    _checks.at_least_1d("b", b)
    lead = _checks.broadcast("a", tuple(a.shape[:-1]), "b", tuple(b.shape[:-1]))
    return _multiply(kind, a, b, tuple(a.shape), tuple(b.shape), lead, alpha, beta, out)


def cross(
    a: Array,
    b: Array,
    axisa: int = _LAST,
    axisb: int = _LAST,
    axisc: int = _LAST,
    axis: int | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """Cross product of 3-vectors, as `numpy.cross`: ``(a1 b2 - a2 b1, a2 b0 - a0 b2, a0 b1 - a1 b0)``.

    Parameters
    ----------
    a, b : (..., 3) array_like
        Vectors; their other axes broadcast.
    axisa, axisb : int, default -1
        Axis of a and of b that holds the components.
    axisc : int, default -1
        Axis of the result that is to hold them.
    axis : int, optional
        If given, takes the place of axisa, axisb and axisc.
    out : (..., 3) array, optional
        Where the result is written. It may be a or b.

    Returns
    -------
    (..., 3) array
        Of the kind of the inputs, with NumPy's promoted dtype; ``out`` where it was given.

    Raises
    ------
    ShapeError
        If an input is 0-d, has no 3 components along its axis, or the other axes do not broadcast.
    numpy.exceptions.AxisError
        If an axis is out of range.
    DTypeError, ArgumentError, DeviceError
        As for `batched_outer`.

    Notes
    -----
    ``cross(a, a)`` is exactly zero for finite a: the products are not fused with the subtraction.
    Vectors of two components follow the installed NumPy on the host (a DeprecationWarning or, from
    2.5, an error) and are an error on a GPU, where no floating-point warning is given either.

    The second source article defines angle, area and volume from this product.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> vp.cross([1, 2, 3], [4, 5, 6])
    array([-3,  6, -3])
    """
    if (
        type(a) is ndarray
        and type(b) is ndarray
        and out is None
        and axis is None
        and axisa is _LAST
        and axisb is _LAST
        and axisc is _LAST
        and (ufunc := small_cross.get(dtype := a.dtype)) is not None
        and b.dtype is dtype
        and a.size <= SMALL_ELEMENTS
        and current_mode() is None
    ):
        try:
            if (shape := a.shape) == b.shape and shape[-1] == 3:
                return ufunc(a, b)
        except IndexError:  # no axis: the long way says so
            pass
    if axis is not None:
        axisa = axisb = axisc = axis
    kind = common_kind(a=a, b=b, out=out)
    a, b = as_arrays(kind, a, b)
    if a.ndim < 1 or b.ndim < 1:
        raise ShapeError("At least one array has zero dimension")
    axisa = normalize_axis_index(axisa, a.ndim, msg_prefix="axisa")
    axisb = normalize_axis_index(axisb, b.ndim, msg_prefix="axisb")
    if (a.shape[axisa], b.shape[axisb]) != (3, 3):
        return _cross_of_other_lengths(a, b, kind, axisa, axisb, axisc, out)
    lead = _checks.broadcast("a", _without(a.shape, axisa), "b", _without(b.shape, axisb))
    axisc = normalize_axis_index(axisc, len(lead) + 1, msg_prefix="axisc")
    dtype = result_dtype(a, b)
    if out is not None:
        _checks.output(out, kind, (*lead[:axisc], 3, *lead[axisc:]), dtype)
    vectors = size(lead)
    choice = _dispatch.choose(
        "cross", kind, dtype, Work(bytes=9 * vectors * dtype.itemsize, flops=9 * vectors)
    )
    backend = choice.module
    a = moved(backend, backend.cast(backend.native(a), dtype), axisa, -1)
    b = moved(backend, backend.cast(backend.native(b), dtype), axisb, -1)
    destination = Destination(choice, kind, (*lead, 3), dtype, out, axisc)
    destination.avoid(a, b, unless_identical=True)
    backend.cross(a, b, destination.native)
    return destination.result()


def _multiply(
    kind: Kind,
    a: Array,
    b: Array,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    lead: tuple[int, ...],
    alpha: Any,
    beta: Any,
    out: Array | None,
) -> Array:
    """``alpha * a ⊗ b + beta * out`` of a and b in the shapes given, on the backend chosen for them."""
    dtype_a, dtype_b, dtype = np.multiply.resolve_dtypes((np.dtype(a.dtype), np.dtype(b.dtype), None))
    if out is not None and not _is_zero(beta) and out.dtype != dtype:
        # What out holds is read too, and must not be cut down to the dtype of the product.
        dtype_a = dtype_b = dtype = np.promote_types(dtype, out.dtype)
    alpha = _checks.scalar_of("alpha", alpha, dtype)
    beta = _checks.scalar_of("beta", beta, dtype)
    shape = (*lead, a_shape[-1], b_shape[-1])
    if out is not None:
        _checks.output(out, kind, shape, dtype)
    elif beta != 0:
        raise ArgumentError(f"beta is {beta}, which scales what out held: give out, or leave beta at 0")
    elements = size(shape)
    moved_elements = (elements if beta == 0 else 2 * elements) + size(a_shape) + size(b_shape)
    work = Work(bytes=moved_elements * dtype.itemsize, flops=elements)
    choice = _dispatch.choose("batched_outer", kind, dtype, work)
    backend = choice.module
    a = backend.reshape(backend.cast(backend.native(a), dtype_a), a_shape)
    b = backend.reshape(backend.cast(backend.native(b), dtype_b), b_shape)
    destination = Destination(choice, kind, shape, dtype, out)
    destination.avoid(a, b)
    if beta != 0:
        destination.keep_contents()
    backend.batched_outer(a, b, alpha, beta, destination.native)
    return destination.result()


def _is_zero(scalar: Any) -> bool:
    """Whether a scale is the number 0; what is no number is left to the checks."""
    return isinstance(scalar, numbers.Number | np.generic) and bool(scalar == 0)


def _cross_of_other_lengths(
    a: Array, b: Array, kind: Kind, axisa: int, axisb: int, axisc: int, out: Array | None
) -> Array:
    """Vectors that have not three components: NumPy's own answer, whatever its version's is."""
    lengths = (a.shape[axisa], b.shape[axisb])
    if kind != "numpy" or not set(lengths) <= {2, 3}:
        raise ShapeError(
            "incompatible dimensions for cross product (dimension must be 2 or 3): "
            f"a has {lengths[0]} components along axis {axisa}, b has {lengths[1]} along axis {axisb}"
            + ("; on a GPU both need 3" if kind != "numpy" else "")
        )
    choice = _dispatch.choose("cross_of_2_vectors", kind, result_dtype(a, b), Work(bytes=0))
    result = choice.module.cross_by_numpy(a, b, axisa, axisb, axisc)
    if out is None:
        return result
    _checks.output(out, kind, result.shape, result.dtype)
    np.copyto(out, result, casting="same_kind")
    return out


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(shape[:axis]) + tuple(shape[axis + 1 :])
