"""Products of vectors: outer, batched outer and cross, and sums of outer products."""

import numbers
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import normalize_axis_index

from . import _checks, _dispatch, _short_moments, _short_products
from ._arrays import Array, Kind, as_arrays, common_kind, moved, result_dtype, summing_dtype
from ._costs import Work, cross_work, outer_work
from ._destination import Destination
from ._layout import size, without_axis
from ._libraries import call, library_of, takes_any_library
from .backends._device.recordings import recordings_of
from .errors import ArgumentError, DTypeError, ShapeError

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
    if type(a) is type(b) is ndarray and a.ndim == b.ndim == 1:
        short = _short_products.outer(a, b, out)
        if short is not None:
            return short
    if (recordings := recordings_of(type(a))) is not None:
        return recordings.of_pair(_outer, current_mode(), a, b, out)
    if (library := library_of(a, b, out)) is not None:
        return call(library, outer, a, b, out=out)
    return _outer(a, b, out)


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
    is_plain = alpha is _ONE and beta is _ZERO
    if is_plain and type(a) is type(b) is ndarray:
        short = _short_products.outer(a, b, out)
        if short is not None:
            return short
    if (recordings := recordings_of(type(a))) is not None:
        if is_plain:
            return recordings.of_pair(_batched_outer, current_mode(), a, b, out)
        return recordings.of_call(_batched_outer, current_mode(), (a, b, out), (alpha, beta))
    if (library := library_of(a, b, out)) is not None:
        return call(library, batched_outer, a, b, alpha=alpha, beta=beta, out=out)
    return _batched_outer(a, b, out, alpha, beta)


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
    if axis is not None:
        axisa = axisb = axisc = axis
    if type(a) is type(b) is ndarray:
        if axisa is _LAST and axisb is _LAST and axisc is _LAST:
            short = _short_products.cross(a, b, out)
        else:
            short = _short_products.cross_along(a, b, axisa, axisb, axisc, out)
        if short is not None:
            return short
    if (recordings := recordings_of(type(a))) is not None:
        if axisa is _LAST and axisb is _LAST and axisc is _LAST:
            return recordings.of_pair(_cross, current_mode(), a, b, out)
        return recordings.of_call(_cross, current_mode(), (a, b, out), (axisa, axisb, axisc))
    if (library := library_of(a, b, out)) is not None:
        return call(library, cross, a, b, axisa, axisb, axisc, out=out)
    return _cross(a, b, out, axisa, axisb, axisc)


@takes_any_library
def gram(
    X: Array, Y: Array | None = None, *, weights: Array | None = None, out: Array | None = None
) -> Array:
    """Sum of outer products of the rows of X and Y: ``sum_i s_i conj(X[..., i, :]) ⊗ Y[..., i, :]``.

    Parameters
    ----------
    X : (..., n, p) array_like
        Rows of numbers.
    Y : (..., n, q) array_like, optional
        As many rows; X itself unless given. The leading axes of X, Y and weights broadcast.
    weights : (..., n) array_like, optional
        Factor s of each row; 1 unless given.
    out : (..., p, q) array, optional
        Where the result is written, cast as ``same_kind`` allows. It may be an input.

    Returns
    -------
    (..., p, q) array
        ``Xᴴ S Y``, of the kind of the inputs, with NumPy's promoted dtype; ``out`` where it was given.
        Without Y it is exactly Hermitian.

    Raises
    ------
    ShapeError
        If X, Y or weights have other shapes, or ``out`` has.
    DTypeError
        If an argument holds no numbers, weights are complex, or ``out`` cannot hold the result.
    ArgumentError, DeviceError
        If ``out`` is read-only, or the arrays live on different devices.

    Notes
    -----
    Sums are made in the dtype of the result within a block of rows (float32 for float16) and in float64
    across blocks, in an order that follows from the shape alone. Integers wrap.
    The first source article builds covariances and gradients from such sums.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> vp.gram(X)
    array([[10., 14.],
           [14., 20.]])
    >>> vp.gram(X, np.ones((2, 1)), weights=[1.0, 0.5])
    array([[2.5],
           [4. ]])
    """
    if (short := _short_moments.gram(X, Y, weights, out)) is not None:
        return short
    if X is None:
        raise DTypeError("X is None; needed are numbers")
    arguments = {"X": X, "Y": Y, "weights": weights}
    kind = common_kind(**arguments, out=out)
    given: dict[str, Array] = {
        name: as_arrays(kind, array)[0] for name, array in arguments.items() if array is not None
    }
    lead, n, p, q = _gram_shapes(given)
    dtype = np.result_type(*(_checks.number_dtype(name, array) for name, array in given.items()))
    sums = summing_dtype(dtype)
    shape = (*lead, p, q)
    if out is not None:
        _checks.output(out, kind, shape, dtype)
    problems = size(lead)
    work = Work(bytes=problems * n * (p + q) * dtype.itemsize, flops=2 * problems * n * p * q)
    choice = _dispatch.choose("gram", kind, dtype, work)
    backend = choice.module

    def native(name: str, row: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
        if name not in given:
            return None
        array = backend.broadcast_to(backend.cast(backend.native(given[name]), dtype), (*lead, n, *row))
        return backend.reshape(array, (problems, n, *row))

    arrays = native("X", (p,), dtype), native("Y", (q,), dtype), native("weights", (), sums)
    destination = Destination(choice, kind, shape, sums, out, packed=True)
    destination.avoid(*(array for array in arrays if array is not None))
    if 0 in (problems, n, p, q):
        backend.assign(destination.native, backend.native(np.zeros(shape, sums)))
    else:
        X, Y, s = arrays
        s = None if s is None else backend.contiguous(s)
        backend.gram(X, Y, s, backend.reshape(destination.native, (problems, p, q)))
    if out is None:
        return backend.export(backend.cast(destination.native, dtype), kind)
    return destination.result()


# --- The long way: checks, the choice of a backend, its operation -----------------------------------


def _outer(a: Array, b: Array, out: Array | None) -> Array:
    kind = common_kind(a=a, b=b, out=out)
    a, b = as_arrays(kind, a, b)
    return _multiply(kind, a, b, (size(a.shape),), (size(b.shape),), (), 1, 0, out)


def _batched_outer(a: Array, b: Array, out: Array | None, alpha: Any = _ONE, beta: Any = _ZERO) -> Array:
    kind = common_kind(a=a, b=b, out=out)
    a, b = as_arrays(kind, a, b)
    _checks.at_least_1d("a", a)
    _checks.at_least_1d("b", b)
    lead = _checks.broadcast("a", tuple(a.shape[:-1]), "b", tuple(b.shape[:-1]))
    return _multiply(kind, a, b, tuple(a.shape), tuple(b.shape), lead, alpha, beta, out)


def _cross(
    a: Array, b: Array, out: Array | None, axisa: int = _LAST, axisb: int = _LAST, axisc: int = _LAST
) -> Array:
    kind = common_kind(a=a, b=b, out=out)
    a, b = as_arrays(kind, a, b)
    if a.ndim < 1 or b.ndim < 1:
        raise ShapeError("At least one array has zero dimension")
    axisa = normalize_axis_index(axisa, a.ndim, msg_prefix="axisa")
    axisb = normalize_axis_index(axisb, b.ndim, msg_prefix="axisb")
    if (a.shape[axisa], b.shape[axisb]) != (3, 3):
        return _cross_of_other_lengths(a, b, kind, axisa, axisb, axisc, out)
    lead = _checks.broadcast("a", without_axis(a.shape, axisa), "b", without_axis(b.shape, axisb))
    axisc = normalize_axis_index(axisc, len(lead) + 1, msg_prefix="axisc")
    dtype = result_dtype(a, b)
    if out is not None:
        _checks.output(out, kind, (*lead[:axisc], 3, *lead[axisc:]), dtype)
    choice = _dispatch.choose("cross", kind, dtype, cross_work(size(lead), dtype))
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
    choice = _dispatch.choose("batched_outer", kind, dtype, outer_work(elements, moved_elements, dtype))
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


def _gram_shapes(given: dict[str, Array]) -> tuple[tuple[int, ...], int, int, int]:
    """``lead, n, p, q``, checked against each other."""
    shapes = {name: tuple(array.shape) for name, array in given.items()}
    X = shapes["X"]
    Y = shapes.get("Y", X)
    for name, shape in (("X", X), ("Y", Y)):
        if len(shape) < 2:
            raise ShapeError(f"{name} has shape {shape}; needed is (..., n, columns)")
    n, p = X[-2:]
    if Y[-2] != n:
        raise ShapeError(f"Y has {Y[-2]} rows; needed are {n}, one for each row of X")
    lead = _checks.broadcast("X", X[:-2], "Y", Y[:-2])
    if "weights" in given:
        weights = shapes["weights"]
        if weights[-1:] != (n,):
            raise ShapeError(f"weights has shape {weights}; needed is (..., {n}), a weight for each row of X")
        if given["weights"].dtype.kind == "c":
            raise DTypeError(f"weights has dtype {given['weights'].dtype}; needed are real numbers")
        lead = _checks.broadcast("X and Y", lead, "weights", weights[:-1])
    return lead, n, p, Y[-1]
