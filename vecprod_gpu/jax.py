"""Functions for JAX that jit, grad and vmap see through.

``pip install "vecprod-gpu[jax]"``.  Outside of JAX's transforms these are the functions of `vecprod_gpu`,
which take and return arrays of JAX where they live.  Under `jax.jit` on the CPU they run as callbacks
(`jax.pure_callback`); each has its gradient, of any order in reverse mode, and vmap makes one call of a
batch.

On a GPU a callback would copy its arrays to the host and back, which is never done unasked: there a traced
call raises `DeviceError` when it is compiled.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from . import products
from .errors import DeviceError, ShapeError
from .linreg import steps
from .linreg._derivatives import by_data

__all__ = ["batched_outer", "cross", "gram", "linreg_gradient", "linreg_loss"]

Array = Any


def _differentiable(function: Callable[..., Any], **options: Any) -> Any:
    """A function whose gradient is given apart, to its ``defvjp``; JAX's takes no conjugates."""
    return jax.custom_vjp(function, **options)


# --- Products --------------------------------------------------------------------------------------


def cross(a: Array, b: Array, axis: int = -1) -> Array:
    """Cross product of 3-vectors: ``(a1 b2 - a2 b1, a2 b0 - a0 b2, a0 b1 - a1 b0)``.

    Parameters
    ----------
    a, b : (..., 3) array_like
        Vectors; their other axes broadcast.
    axis : int, default -1
        Axis of a, of b and of the result that holds the components.

    Returns
    -------
    (..., 3) jax.Array
        In JAX's promoted dtype.

    Raises
    ------
    ShapeError
        If an input has no 3 components along the axis, or the other axes do not broadcast.
    DeviceError
        If it is traced and then compiled for a GPU.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from vecprod_gpu.jax import cross
    >>> jax.jit(cross)(jnp.array([1.0, 2.0, 3.0]), jnp.array([4.0, 5.0, 6.0]))
    Array([-3.,  6., -3.], dtype=float32)
    """
    a, b = _promoted(a, b)
    for name, array in (("a", a), ("b", b)):
        if (components := array.shape[axis]) != 3:
            raise ShapeError(f"{name} has {components} components along axis {axis}; a cross product needs 3")
    if not _is_traced(a, b):
        return products.cross(a, b, axis=axis)
    return jnp.moveaxis(_cross(*(jnp.moveaxis(array, axis, -1) for array in (a, b))), -1, axis)


def batched_outer(a: Array, b: Array) -> Array:
    """Outer products of a batch of vectors: ``out[..., i, j] = a[..., i] * b[..., j]``.

    Parameters
    ----------
    a : (..., m) array_like
        First vectors.
    b : (..., n) array_like
        Second vectors; the leading axes of a and b broadcast.

    Returns
    -------
    (..., m, n) jax.Array
        In JAX's promoted dtype.

    Raises
    ------
    ShapeError
        If a or b has no axis, or the leading axes do not broadcast.
    DeviceError
        If it is traced and then compiled for a GPU.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from vecprod_gpu.jax import batched_outer
    >>> jax.jit(batched_outer)(jnp.array([1, 2]), jnp.array([3, 4]))
    Array([[3, 4],
           [6, 8]], dtype=int32)
    """
    a, b = _promoted(a, b)
    return _batched_outer(a, b) if _is_traced(a, b) else products.batched_outer(a, b)


def gram(X: Array, Y: Array | None = None, *, weights: Array | None = None) -> Array:
    """Sum of outer products of the rows of X and Y: ``sum_i s_i conj(X[..., i, :]) ⊗ Y[..., i, :]``.

    Parameters
    ----------
    X : (..., n, p) array_like
        Rows of numbers.
    Y : (..., n, q) array_like, optional
        As many rows; X itself unless given. The leading axes of X, Y and weights broadcast.
    weights : (..., n) array_like, optional
        Factor s of each row; 1 unless given.

    Returns
    -------
    (..., p, q) jax.Array
        ``Xᴴ S Y``, in JAX's promoted dtype; float16 and bfloat16 are summed in float32.

    Raises
    ------
    ShapeError, DTypeError
        As for `vecprod_gpu.gram`.
    DeviceError
        If it is traced and then compiled for a GPU.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from vecprod_gpu.jax import gram
    >>> jax.grad(lambda X: gram(X).sum())(jnp.array([[1.0, 2.0], [3.0, 4.0]]))
    Array([[ 6.,  6.],
           [14., 14.]], dtype=float32)
    """
    given = [array for array in (X, Y, weights) if array is not None]
    ready = iter(_promoted(*given))
    X, Y, weights = (None if array is None else next(ready) for array in (X, Y, weights))
    if not _is_traced(X, Y, weights):
        return products.gram(X, Y, weights=weights)
    return _gram(X, Y, weights)


@_differentiable
def _cross(a: Array, b: Array) -> Array:
    shape = _broadcast(a.shape, b.shape)
    return _on_host(products.cross, jax.ShapeDtypeStruct(shape, a.dtype), *_aligned((a, 1), (b, 1)))


def _cross_backward(inputs: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    a, b = inputs
    return _summed_to(_cross(b, grad), a), _summed_to(_cross(grad, a), b)


_cross.defvjp(lambda a, b: (_cross(a, b), (a, b)), _cross_backward)


@_differentiable
def _batched_outer(a: Array, b: Array) -> Array:
    shape = (*_broadcast(a.shape[:-1], b.shape[:-1]), a.shape[-1], b.shape[-1])
    return _on_host(products.batched_outer, jax.ShapeDtypeStruct(shape, a.dtype), *_aligned((a, 1), (b, 1)))


def _batched_outer_backward(inputs: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    a, b = inputs
    of_a = (grad @ b[..., None])[..., 0]
    of_b = (a[..., None, :] @ grad)[..., 0, :]
    return _summed_to(of_a, a), _summed_to(of_b, b)


_batched_outer.defvjp(lambda a, b: (_batched_outer(a, b), (a, b)), _batched_outer_backward)


@_differentiable
def _gram(X: Array, Y: Array | None, weights: Array | None) -> Array:
    right = X if Y is None else Y
    lead = _broadcast(X.shape[:-2], right.shape[:-2], () if weights is None else weights.shape[:-1])
    shape = jax.ShapeDtypeStruct((*lead, X.shape[-1], right.shape[-1]), X.dtype)
    given = [(array, core) for array, core in ((X, 2), (Y, 2), (weights, 1)) if array is not None]

    def call(*arrays: np.ndarray[Any, Any]) -> Any:
        ready = iter(arrays)
        X, Y, s = (None if array is None else next(ready) for array in has)
        return products.gram(X, Y, weights=s)

    has = tuple(None if array is None else True for array in (X, Y, weights))
    return _on_host(call, shape, *_aligned(*given))


def _gram_backward(inputs: tuple[Array, Array | None, Array | None], grad: Array) -> tuple[Array | None, ...]:
    X, Y, weights = inputs
    right = X if Y is None else Y
    along_X, along_Y = (right @ grad.mT).conj(), X.conj() @ grad
    of_weights = None
    if weights is not None:
        of_weights = _summed_to((along_Y * right).sum(-1).real, weights)
        along_X, along_Y = (weights[..., None] * along for along in (along_X, along_Y))
    if Y is None:
        return _summed_to(along_X + along_Y, X), None, of_weights
    return _summed_to(along_X, X), _summed_to(along_Y, Y), of_weights


_gram.defvjp(lambda *inputs: (_gram(*inputs), inputs), _gram_backward)


# --- Regression ------------------------------------------------------------------------------------


def linreg_gradient(
    X: Array,
    y: Array,
    w: Array,
    *,
    l2: float = 0.0,
    sample_weight: Array | None = None,
    return_loss: bool = False,
) -> Any:
    """Gradient of half the weighted mean squared error: ``Xᵀ S (X w - y) / W + l2 * w``, with ``W = sum(s)``.

    Parameters
    ----------
    X, y, w, sample_weight
        As for `vecprod_gpu.linreg_gradient`.
    l2 : float, default 0.0
        Ridge penalty; a number that is not traced.
    return_loss : bool, default False
        Whether to return the objective too, from the same pass.

    Returns
    -------
    gradient : jax.Array of the shape of w
        In JAX's promoted dtype.
    loss : (...) or (..., k) jax.Array
        With ``return_loss`` only.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        As for `vecprod_gpu.linreg_gradient`.
    DeviceError
        If it is traced and then compiled for a GPU.

    Notes
    -----
    X is read once, also for all models of a `jax.vmap` over w alone.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from vecprod_gpu.jax import linreg_gradient
    >>> X, y = jnp.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]), jnp.array([2.0, 3.0, 4.0])
    >>> jax.jit(linreg_gradient)(X, y, jnp.array([1.0, 0.0]))
    Array([-2., -3.], dtype=float32)
    """
    gradient, loss = _gradient_and_loss(X, y, w, sample_weight, float(l2))
    return (gradient, loss) if return_loss else gradient


def linreg_loss(
    X: Array, y: Array, w: Array, *, l2: float = 0.0, sample_weight: Array | None = None
) -> Array:
    """Half the weighted mean squared error: ``sum(s * (X w - y)**2) / (2 W) + l2 / 2 * |w|²``.

    Parameters
    ----------
    X, y, w, l2, sample_weight
        As for `linreg_gradient`.

    Returns
    -------
    (...) or (..., k) jax.Array
        The objective of each problem and model.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, DeviceError
        As for `linreg_gradient`.

    Notes
    -----
    The pass that computes the loss computes its gradient too: `jax.value_and_grad` for w reads X once.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from vecprod_gpu.jax import linreg_loss
    >>> X, y = jnp.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]), jnp.array([2.0, 3.0, 4.0])
    >>> jax.jit(jax.grad(linreg_loss, argnums=2))(X, y, jnp.array([1.0, 0.0]))
    Array([-2., -3.], dtype=float32)
    """
    return _gradient_and_loss(X, y, w, sample_weight, float(l2))[1]


def _as_real(array: Array | None) -> Array | None:
    """An argument as an array of JAX, integers as real numbers."""
    if array is None:
        return None
    array = jnp.asarray(array)
    return array.astype(float) if array.dtype.kind in "biu" else array


def _gradient_and_loss(
    X: Array, y: Array, w: Array, sample_weight: Array | None, l2: float
) -> tuple[Array, Array]:
    X, y, w, sample_weight = map(_as_real, (X, y, w, sample_weight))
    if _is_traced(X, y, w, sample_weight):
        gradient, loss = _pass(X, y, w, sample_weight, l2)
    else:
        gradient, loss = _host_gradient(X, y, w, sample_weight, l2=l2)
    return gradient, loss


@partial(_differentiable, nondiff_argnums=(4,))
def _pass(X: Array, y: Array, w: Array, sample_weight: Array | None, l2: float) -> Any:
    """Gradient and loss in one read of X, on the host."""
    given = [array for array in (X, y, w, sample_weight) if array is not None]
    dtype = jnp.result_type(*given)
    lead, models = X.shape[:-2], w.shape[X.ndim - 1 :]
    shapes = jax.ShapeDtypeStruct(w.shape, dtype), jax.ShapeDtypeStruct((*lead, *models), dtype)
    return _on_host(partial(_host_pass, l2, len(lead)), shapes, *given)


def _host_pass(l2: float, axes: int, *arrays: np.ndarray[Any, Any]) -> Any:
    """Gradient and loss, where vmap has put axes before the `axes` that the problems share."""
    X, y, w, *weights = arrays
    mapped = X.ndim - 2 - axes
    if (
        mapped == 1
        and axes == 0
        and y.ndim == w.ndim == 2
        and all(len(data) == 1 for data in (X, y, *weights))
    ):
        models = w.T  # one read of X for all of them
        gradient, loss = _host_gradient(X[0], y[0], models, *(s[0] for s in weights), l2=l2)
        return gradient.T, loss
    lead = _broadcast(*(array.shape[:mapped] for array in arrays))
    return _host_gradient(
        *(np.broadcast_to(array, (*lead, *array.shape[mapped:])) for array in arrays), l2=l2
    )


def _host_gradient(X: Any, y: Any, w: Any, sample_weight: Any = None, *, l2: float) -> Any:
    return steps.linreg_gradient(X, y, w, l2=l2, sample_weight=sample_weight, return_loss=True)


def _pass_forward(X: Any, y: Any, w: Any, sample_weight: Any, l2: float) -> tuple[Any, Any]:
    primals = X, y, w, sample_weight
    values = [None if primal is None else primal.value for primal in primals]
    # Told by the structure of the residuals, since numbers in them would be traced.
    is_wanted = tuple(() if primal is not None and primal.perturbed else None for primal in primals)
    gradient, loss = _pass(*values, l2)
    return (gradient, loss), (*values, gradient, is_wanted)


def _pass_backward(l2: float, residuals: Any, grads: Any) -> tuple[Array | None, ...]:
    X, y, w, sample_weight, gradient, is_wanted = residuals
    of_gradient, of_loss = (None if isinstance(grad, SymbolicZero) else grad for grad in grads)
    of_X = of_y = of_w = of_weight = None
    wants_X, wants_y, wants_w, wants_weight = (mark is not None for mark in is_wanted)
    if wants_w and of_loss is not None:
        of_w = gradient * jnp.expand_dims(of_loss, X.ndim - 2)
    if wants_w and of_gradient is not None:
        hessian_product, _ = _pass(X, jnp.zeros_like(y), of_gradient, sample_weight, l2)
        of_w = hessian_product if of_w is None else of_w + hessian_product
    if (wants_X or wants_y or wants_weight) and not (of_gradient is None and of_loss is None):
        of_X, of_y, of_weight = by_data(X, y, w, sample_weight, of_gradient, of_loss)
    wanted = zip((of_X, of_y, of_w, of_weight), is_wanted, residuals, strict=False)
    return tuple(
        None if mark is None or grad is None else grad.astype(value.dtype) for grad, mark, value in wanted
    )


_pass.defvjp(_pass_forward, _pass_backward, symbolic_zeros=True)


# --- What they share -------------------------------------------------------------------------------


def _is_traced(*arrays: Array | None) -> bool:
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def _promoted(*arrays: Array) -> list[Array]:
    """The arrays in the dtype that JAX promotes theirs to."""
    ready = list(map(jnp.asarray, arrays))
    dtype = jnp.result_type(*ready)
    return [array.astype(dtype) for array in ready]


def _aligned(*operands: tuple[Array, int]) -> list[Array]:
    """Arrays with equally many axes before their core ones, so that vmap may put more before these."""
    most = max(array.ndim - core for array, core in operands)
    return [jnp.expand_dims(array, tuple(range(most - (array.ndim - core)))) for array, core in operands]


def _broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"leading axes do not broadcast: {', '.join(map(str, shapes))}") from None


def _summed_to(grad: Array, like: Array) -> Array:
    """The gradient summed over the axes along which `like` was broadcast, in its dtype."""
    grad = grad.sum(tuple(range(grad.ndim - like.ndim)))
    repeated = tuple(i for i, length in enumerate(like.shape) if length == 1 != grad.shape[i])
    return grad.sum(repeated, keepdims=True).astype(like.dtype)


def _on_host(function: Callable[..., Any], result: Any, *arrays: Array) -> Any:
    """``function(*arrays)`` as a callback on NumPy arrays; axes of vmap come before all others."""

    def call(*arrays: Any) -> Any:
        returned = function(*map(np.asarray, arrays))
        return jax.tree.map(lambda array, shape: np.asarray(array, shape.dtype), returned, result)

    return jax.pure_callback(call, result, *map(_host_only.bind, arrays), vmap_method="expand_dims")


def _refuse_device(*_: Any) -> Any:
    raise DeviceError(
        "the functions of vecprod_gpu.jax have no compiled call for a GPU, and would copy their arrays to "
        "the host and back: call them outside of jit, grad and vmap, or put the arrays on jax.devices('cpu')"
    )


def _stay(array: Array) -> Array:
    is_here = isinstance(array, np.ndarray) or all(device.platform == "cpu" for device in array.devices())
    return array if is_here else _refuse_device()


# An identity that can be compiled for the CPU alone.
_host_only = Primitive("vecprod_gpu_host_only")
_host_only.def_impl(_stay)
_host_only.def_abstract_eval(lambda aval: aval)
batching.defvectorized(_host_only)
mlir.register_lowering(_host_only, _refuse_device)
mlir.register_lowering(_host_only, lambda context, array: [array], platform="cpu")
