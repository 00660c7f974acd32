"""Angles, areas, volumes and normals: what the cross product is for."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from . import _checks, _dispatch, _short_products
from ._arrays import Array, as_arrays, common_kind, moved, native_order, summing_dtype
from ._costs import Work
from ._destination import Destination
from ._layout import size, without_axis
from ._libraries import takes_any_library
from .errors import ArgumentError, DTypeError, IndexRangeError, ShapeError


@takes_any_library
def vector_angle(a: Array, b: Array, axis: int = -1, *, out: Array | None = None) -> Array:
    """Angle between two vectors: ``atan2(|a × b|, a · b)``, in radians from 0 to π.

    Parameters
    ----------
    a, b : (..., 3) array_like
        Real vectors, of any length; their other axes broadcast. Integers count as float64.
    axis : int, default -1
        Axis of a and of b that holds the components.
    out : (...) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (...) array or scalar
        Angles in radians, of the kind and promoted dtype of the inputs; ``out`` where it was given.
        0 where a vector is zero; NaN where a component is not finite.

    Raises
    ------
    ShapeError
        If a vector has no 3 components along its axis, the other axes do not broadcast, or ``out`` has
        another shape.
    DTypeError
        If the vectors are not real, or ``out`` cannot hold the result.
    numpy.exceptions.AxisError
        If the axis is out of range.
    ArgumentError, DeviceError
        If ``out`` is read-only, or the arrays live on different devices.

    Notes
    -----
    The inverse cosine of the normalised dot product loses half of its digits for nearly parallel
    vectors; this keeps them all, near 0 and near π, and lengths can neither overflow nor underflow.
    The second source article defines the angle from the cross product.

    References
    ----------
    .. [1] W. Kahan, "How Futile are Mindless Assessments of Roundoff in Floating-Point Computation?"
       (2006), section 12, on angles; the difference of products is his too.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> angle = vp.vector_angle([1, 0, 0], [[1, 1, 0], [-1, 0, 1e-12]])
    >>> np.degrees(angle)
    array([ 45., 180.])
    >>> float(np.pi - angle[1])
    1.000088900582341e-12
    """
    return _measure("vector_angle", {"a": a, "b": b}, axis, out)


@takes_any_library
def parallelogram_area(a: Array, b: Array, axis: int = -1, *, out: Array | None = None) -> Array:
    """Area of the parallelogram that two vectors span: ``|a × b|``.

    Parameters
    ----------
    a, b : (..., 3) array_like
        Its sides: real vectors, whose other axes broadcast. Integers count as float64.
    axis : int, default -1
        Axis of a and of b that holds the components.
    out : (...) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (...) array or scalar
        Areas, in the square of the vectors' unit; never negative.

    Raises
    ------
    ShapeError, DTypeError, AxisError, ArgumentError, DeviceError
        As for `vector_angle`.

    Notes
    -----
    The second source article defines the area from the cross product.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> float(vp.parallelogram_area([2, 0, 0], [1, 3, 0]))
    6.0
    """
    return _measure("parallelogram_area", {"a": a, "b": b}, axis, out)


@takes_any_library
def triangle_area(p: Array, q: Array, r: Array, axis: int = -1, *, out: Array | None = None) -> Array:
    """Area of the triangle of three points: ``|(q - p) × (r - p)| / 2``.

    Parameters
    ----------
    p, q, r : (..., 3) array_like
        Its corners: real points, whose other axes broadcast. Integers count as float64.
    axis : int, default -1
        Axis of p, q and r that holds the coordinates.
    out : (...) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (...) array or scalar
        Areas, in the square of the points' unit; never negative.

    Raises
    ------
    ShapeError, DTypeError, AxisError, ArgumentError, DeviceError
        As for `vector_angle`.

    See Also
    --------
    face_normals : For triangles that share their corners.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> float(vp.triangle_area([1, 1, 1], [3, 1, 1], [1, 4, 1]))
    3.0
    """
    return _measure("triangle_area", {"p": p, "q": q, "r": r}, axis, out)


@takes_any_library
def triple_product(a: Array, b: Array, c: Array, axis: int = -1, *, out: Array | None = None) -> Array:
    """Scalar triple product ``a · (b × c)``: the signed volume of the parallelepiped of three vectors.

    Parameters
    ----------
    a, b, c : (..., 3) array_like
        Its edges: real vectors, whose other axes broadcast. Integers stay integers, and wrap.
    axis : int, default -1
        Axis of a, b and c that holds the components.
    out : (...) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (...) array or scalar
        Volumes, in the cube of the vectors' unit; positive where a, b, c are right-handed.

    Raises
    ------
    ShapeError, DTypeError, AxisError, ArgumentError, DeviceError
        As for `vector_angle`.

    Notes
    -----
    Each product and each sum is rounded to the dtype, as in NumPy's ``cross`` and a sum from left to
    right; nothing is contracted. float16 is computed in float32 and rounded once.
    The second source article defines the volume from the cross product.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> int(vp.triple_product([1, 0, 0], [0, 2, 0], [0, 0, 3]))
    6
    """
    return _measure("triple_product", {"a": a, "b": b, "c": c}, axis, out)


@takes_any_library
def face_normals(vertices: Array, faces: Array, *, unit: bool = True, out: Array | None = None) -> Array:
    """Normals of the triangles of a mesh: ``(q - p) × (r - p)`` of each one's corners p, q, r.

    Parameters
    ----------
    vertices : (..., V, 3) array_like
        Real points; leading axes hold several shapes of one mesh. Integers count as float64.
    faces : (F, 3) array_like of int
        The numbers of each triangle's corners, counted from 0, counter-clockwise as seen from outside.
    unit : bool, default True
        Whether normals are scaled to length 1; if not, their length is twice the triangle's area.
    out : (..., F, 3) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (..., F, 3) array
        Normals, of the kind and floating dtype of the vertices. Zeros for a degenerate triangle.

    Raises
    ------
    IndexRangeError
        If a face has an index that is negative or not less than V; the message names the face, and
        ``out`` keeps what it held.
    ShapeError, DTypeError, ArgumentError, DeviceError
        If an argument has not the shape or dtype above, or ``out`` does not fit.

    Notes
    -----
    On a GPU this waits for the check of the indices.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> vp.face_normals([[0, 0, 0], [2, 0, 0], [0, 2, 0]], [[0, 1, 2], [0, 2, 1]])
    array([[ 0.,  0.,  1.],
           [ 0.,  0., -1.]])
    """
    mesh = _Mesh(vertices, faces, out)
    shape = (*mesh.lead, mesh.face_count, 3)
    return mesh.run(
        shape, lambda normals: mesh.backend.face_normals(mesh.vertices, mesh.faces, bool(unit), normals)
    )


@takes_any_library
def vertex_normals(vertices: Array, faces: Array, *, out: Array | None = None) -> Array:
    """Normals at the vertices of a mesh: the sum over the faces at a vertex, each weighted by its area.

    Parameters
    ----------
    vertices : (..., V, 3) array_like
        Real points; leading axes hold several shapes of one mesh. Integers count as float64.
    faces : (F, 3) array_like of int
        The numbers of each triangle's corners, counted from 0, counter-clockwise as seen from outside.
    out : (..., V, 3) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (..., V, 3) array
        Normals of length 1, of the kind and floating dtype of the vertices. Zeros where a vertex belongs
        to no face, or its faces cancel.

    Raises
    ------
    IndexRangeError, ShapeError, DTypeError, ArgumentError, DeviceError
        As for `face_normals`.

    Notes
    -----
    The corners are sorted by vertex, stably, and each vertex gathers its own in that order: the same
    bits every time, where scattered additions would vary.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> tent = [[0, 0, 0], [1, 0, 1], [1, 2, 1], [2, 0, 0]]
    >>> vp.vertex_normals(tent, [[0, 1, 2], [1, 3, 2]])[1]
    array([0., 0., 1.])
    """
    mesh = _Mesh(vertices, faces, out)
    shape = (*mesh.lead, mesh.vertex_count, 3)
    return mesh.run(shape, lambda normals: mesh.backend.vertex_normals(mesh.vertices, mesh.faces, normals))


@takes_any_library
def grid_normals(z: Array, dx: Any = 1.0, dy: float = 1.0, *, out: Array | None = None) -> Array:
    """Unit normals of a height field: ``(-∂z/∂x, -∂z/∂y, 1)``, scaled to length 1.

    Parameters
    ----------
    z : (..., H, W) array_like
        Real heights; H and W are at least 2. Integers count as float64.
    dx : float or (H,) array_like, default 1.0
        Step along the last axis, in the unit of z; or one for each row, as a grid of latitudes and
        longitudes has.
    dy : float, default 1.0
        Step along the axis before it; negative where y grows against the order of the rows.
    out : (..., H, W, 3) array, optional
        Where the result is written, cast as ``same_kind`` allows.

    Returns
    -------
    (..., H, W, 3) array
        Normals, of the kind and floating dtype of z.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If z or dx has not the shape or dtype above, or ``out`` does not fit.
    ArgumentError
        If a step is 0 or not finite, dx in the dtype that z is computed in, or ``out`` is read-only.

    Notes
    -----
    Derivatives are those of `numpy.gradient`: central differences inside, one-sided at the edges.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> plane = np.array([[0.0, 2.0], [2.0, 4.0]])
    >>> vp.grid_normals(plane)[0, 0] * 3
    array([-2., -2.,  1.])
    """
    kind = common_kind(z=z, out=out)
    (z,) = as_arrays(kind, z)
    z_shape = tuple(z.shape)
    if len(z_shape) < 2 or min(z_shape[-2:]) < 2:
        raise ShapeError(f"z has shape {z_shape}; needed is (..., H, W), with at least 2 rows and 2 columns")
    *lead, rows, columns = z_shape
    dtype = _floating("z", z)
    steps = _steps(dx, rows, summing_dtype(dtype))
    dy = _nonzero("dy", dy)
    shape = (*lead, rows, columns, 3)
    if out is not None:
        _checks.output(out, kind, shape, dtype)
    elements = size(z_shape)
    work = Work(bytes=4 * elements * dtype.itemsize, flops=12 * elements)
    choice = _dispatch.choose("normals", kind, dtype, work)
    backend = choice.module
    heights = backend.cast(backend.native(z), dtype)
    destination = Destination(choice, kind, shape, dtype, out, packed=True)
    destination.avoid(heights)
    batch = (size(lead), rows, columns)
    if elements:
        normals = backend.reshape(destination.native, (*batch, 3))
        backend.grid_normals(backend.reshape(heights, batch), backend.native(steps), dy, normals)
    return destination.result()


class _Mesh:
    """Vertices and faces of one call, checked, and brought to the backend chosen for them."""

    def __init__(self, vertices: Array, faces: Array, out: Array | None) -> None:
        self.kind = common_kind(vertices=vertices, faces=faces, out=out)
        vertices, faces = as_arrays(self.kind, vertices, faces)
        shape = tuple(vertices.shape)
        if len(shape) < 2 or shape[-1] != 3:
            raise ShapeError(f"vertices has shape {shape}; needed is (..., V, 3), a point for each vertex")
        if faces.ndim != 2 or faces.shape[1] != 3:
            raise ShapeError(
                f"faces has shape {tuple(faces.shape)}; needed is (F, 3), three corners for each triangle"
            )
        if np.dtype(faces.dtype).kind not in "iu" and size(faces.shape):
            raise DTypeError(f"faces has dtype {faces.dtype}; needed are integers, the numbers of vertices")
        self.lead, self.vertex_count, self.face_count = shape[:-2], shape[-2], int(faces.shape[0])
        self.dtype = _floating("vertices", vertices)
        self._out = out
        corners = size(self.lead) * self.face_count * 9
        work = Work(bytes=(size(shape) + corners // 3) * self.dtype.itemsize, flops=2 * corners)
        self.choice = _dispatch.choose("normals", self.kind, self.dtype, work)
        self.backend = self.choice.module
        self.vertices = self.backend.reshape(
            self.backend.cast(self.backend.native(vertices), self.dtype),
            (size(self.lead), self.vertex_count, 3),
        )
        wide = np.int32 if np.dtype(faces.dtype) == np.int32 else np.int64
        self._faces_as_given = faces
        if self.kind == "numpy":
            faces = faces.astype(wide, copy=False)
        faces = self.backend.cast(self.backend.native(faces), np.dtype(wide))
        self.faces = self.backend.contiguous(faces)

    def run(self, shape: tuple[int, ...], compute: Callable[[Array], int]) -> Array:
        """What ``compute`` writes, unless it returns the number of a face that points nowhere."""
        if self._out is not None:
            _checks.output(self._out, self.kind, shape, self.dtype)
        # Not written to until every index is known to be good.
        destination = Destination(self.choice, self.kind, shape, self.dtype, self._out, buffered=True)
        bad = compute(self.backend.reshape(destination.native, (size(self.lead), *shape[-2:])))
        if bad >= 0:
            faces = self.backend.export(self.backend.native(self._faces_as_given), "numpy")
            indices = np.asarray(faces)[bad].tolist()
            raise IndexRangeError(
                f"faces[{bad}] is {indices}, but vertices are numbered from 0 to {self.vertex_count - 1}"
                if self.vertex_count
                else f"faces[{bad}] is {indices}, but there are no vertices"
            )
        return destination.result()


def _measure(quantity: str, vectors: dict[str, Array], axis: int, out: Array | None) -> Array:
    """One number for each pair or triple of vectors, on the backend chosen for them."""
    short = _short_products.measure(quantity, tuple(vectors.values()), axis, out)
    if short is not None:
        return short
    kind = common_kind(**vectors, out=out)
    arrays = as_arrays(kind, *vectors.values())
    axes = [_axis_of_components(name, array, axis) for name, array in zip(vectors, arrays, strict=True)]
    lead = _broadcast(
        vectors, [without_axis(array.shape, at) for array, at in zip(arrays, axes, strict=True)]
    )
    keeps_integers = quantity == "triple_product"
    dtype = np.result_type(
        *(_real(name, array, keeps_integers) for name, array in zip(vectors, arrays, strict=True))
    )
    if out is not None:
        _checks.output(out, kind, lead, dtype)
    count = size(lead)
    work = Work(bytes=(3 * len(arrays) + 1) * count * dtype.itemsize, flops=20 * count)
    choice = _dispatch.choose(quantity if keeps_integers else "measure", kind, dtype, work)
    backend = choice.module
    native = tuple(
        moved(backend, backend.cast(backend.native(array), dtype), at, -1)
        for array, at in zip(arrays, axes, strict=True)
    )
    destination = Destination(choice, kind, lead, dtype, out)
    destination.avoid(*native)
    if count:
        backend.measure(quantity, native, destination.native)
    result = destination.result()
    return result[()] if out is None and kind == "numpy" and lead == () else result


def _axis_of_components(name: str, array: Array, axis: int) -> int:
    """Where the components lie, counted from the first axis."""
    _checks.at_least_1d(name, array)
    at = normalize_axis_index(axis, array.ndim, msg_prefix=name)
    if array.shape[at] != 3:
        raise ShapeError(
            f"{name} has shape {tuple(array.shape)}, with {array.shape[at]} components along axis {axis}; "
            "needed are 3"
        )
    return at


def _broadcast(names: Iterable[str], shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The vectors' other axes, broadcast together."""
    first, *others = names
    lead = shapes[0]
    for name, shape in zip(others, shapes[1:], strict=True):
        lead = _checks.broadcast(first, lead, name, shape)
        first = f"{first}, {name}"
    return lead


def _real(name: str, array: Array, keeps_integers: bool) -> np.dtype[Any]:
    """The dtype to compute in for one argument."""
    dtype: np.dtype[Any] = np.dtype(array.dtype)
    if dtype.kind in "iu":
        return dtype if keeps_integers else np.dtype(np.float64)
    if dtype.kind != "f":
        raise DTypeError(f"{name} has dtype {dtype}; needed are real numbers")
    return native_order(dtype)


def _floating(name: str, array: Array) -> np.dtype[Any]:
    return _real(name, array, keeps_integers=False)


def _steps(dx: Any, rows: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The step along the last axis in each row."""
    steps = np.asarray(dx)
    if steps.ndim == 0:
        steps = np.full(rows, _nonzero("dx", dx))
    elif steps.shape != (rows,):
        raise ShapeError(f"dx has shape {steps.shape}; needed is a number, or ({rows},), one for each row")
    with np.errstate(over="ignore", under="ignore"):
        held = steps.astype(_floating("dx", steps)).astype(dtype)
    bad = np.flatnonzero(~np.isfinite(held) | (held == 0))
    if bad.size:
        row = bad[0]
        raise ArgumentError(f"dx must be finite and not 0 in {dtype}; it is {steps[row]} in row {row}")
    return held


def _nonzero(name: str, step: Any) -> float:
    number = _checks.real(name, step)
    if number == 0:
        raise ArgumentError(f"{name} must not be 0: it is the step between neighbouring heights")
    return number
