"""One gradient, or one descent step, of linear regression: X is read once."""

from typing import Any

import numpy as np

from .. import _checks, _dispatch
from .._arrays import Array
from .._destination import Destination
from .._libraries import call, library_of
from ..backends._device.recordings import recordings_of
from ..errors import DTypeError
from ._problem import Problem
from ._short import short_gradient, short_step

current_mode = _dispatch.mode.get


def linreg_gradient(
    X: Array,
    y: Array,
    w: Array,
    *,
    l2: float = 0.0,
    sample_weight: Array | None = None,
    return_loss: bool = False,
    out: Array | None = None,
) -> Any:
    """Gradient of half the weighted mean squared error: ``Xᵀ S (X w - y) / W + l2 * w``, with ``W = sum(s)``.

    Parameters
    ----------
    X : (..., n, d) array_like
        Observations in rows. Integers count as float64; float16 is summed in float32.
    y : (..., n) or (..., n, k) array_like
        One target, or k of them.
    w : (..., d) or (..., d, k) array_like
        Coefficients: of one model; of one model for each target; or, with a single target, of k models
        that share X, y and the one read of X.
    l2 : float, default 0.0
        Ridge penalty: ``l2 / 2 * |w|²`` is part of the objective.
    sample_weight : (..., n) array_like, optional
        Weight s of each row. Integer weights are the same as repeated rows.
    return_loss : bool, default False
        Whether to return the objective too, from the same pass.
    out : array of the shape of w, optional
        Where the gradient is written. It may be w.

    Returns
    -------
    gradient : array of the shape of w
        Of the kind of the inputs, with their promoted dtype; ``out`` where it was given.
    loss : (...) or (..., k) array
        With ``return_loss`` only: ``sum(s * (X w - y)**2) / (2 W) + l2 / 2 * |w|²``.

    Raises
    ------
    ShapeError
        If the shapes do not fit each other; the message names the argument and the shape needed.
    DTypeError
        If an argument is not real, or ``out`` cannot hold the result.
    ArgumentError
        If l2 is negative or not finite, or ``out`` is read-only.
    DeviceError
        If the arrays live on different devices.

    Notes
    -----
    X is read from memory once, however many models there are.  Sums follow one fixed tree: the same
    inputs give the same bits, for any strides and any number of threads.

    References
    ----------
    .. [1] A. Ashari et al., "On optimizing machine learning workloads via kernel fusion", PPoPP 2015,
       for ``Xᵀ(v ∘ (X w))`` with one load of X.
    .. [2] The first source article states this gradient, up to its sign.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X, y = np.array([[1., 2.], [2., 3.], [3., 4.]]), np.array([2., 3., 4.])
    >>> vp.linreg_gradient(X, y, np.array([1., 0.]))
    array([-2., -3.])
    >>> gradient, loss = vp.linreg_gradient(X, y, np.array([1., 0.]), return_loss=True)
    >>> float(loss)
    0.5
    """
    if sample_weight is None and (short := short_gradient(X, y, w, out, l2, return_loss)) is not None:
        return short
    if (library := library_of(X, y, w, l2, sample_weight, out)) is not None:
        how = {"l2": l2, "sample_weight": sample_weight, "return_loss": return_loss, "out": out}
        return call(library, linreg_gradient, X, y, w, **how)
    if (recordings := recordings_of(type(X))) is not None:
        arrays = X, y, w, sample_weight, out
        return recordings.of_call(_gradient, current_mode(), arrays, (l2, return_loss))
    return _gradient(X, y, w, sample_weight, out, l2, return_loss)


def linreg_step(
    X: Array,
    y: Array,
    w: Array,
    learning_rate: float,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> Array:
    """One step of gradient descent: ``soft_threshold(w - η * gradient, η * l1)``, with η the learning rate.

    Parameters
    ----------
    X, y, w, sample_weight
        As for `linreg_gradient`.
    learning_rate : float
        Step length η, more than 0.
    l1 : float, default 0.0
        Lasso penalty: ``l1 * |w|_1`` is part of the objective, and taken by the proximal step, which
        moves each coefficient towards zero by ``η * l1`` and stops there.
    l2 : float, default 0.0
        Ridge penalty: ``l2 / 2 * |w|²`` is part of the objective.
    out : array of the shape of w, optional
        Where the new coefficients are written. It may be w.

    Returns
    -------
    array of the shape of w
        The new coefficients; ``out`` where it was given.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, DeviceError
        As for `linreg_gradient`; also if the learning rate is not positive or l1 is negative.

    References
    ----------
    .. [1] I. Daubechies, M. Defrise and C. De Mol, "An iterative thresholding algorithm for linear
       inverse problems with a sparsity constraint", Comm. Pure Appl. Math. 57 (2004).

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X, y = np.array([[1., 2.], [2., 3.], [3., 4.]]), np.array([2., 3., 4.])
    >>> vp.linreg_step(X, y, np.zeros(2), 0.01)
    array([0.06666667, 0.09666667])
    """
    if sample_weight is None and (short := short_step(X, y, w, out, learning_rate, l1, l2)) is not None:
        return short
    if (library := library_of(X, y, w, learning_rate, l1, l2, sample_weight, out)) is not None:
        how = {"l1": l1, "l2": l2, "sample_weight": sample_weight, "out": out}
        return call(library, linreg_step, X, y, w, learning_rate, **how)
    if (recordings := recordings_of(type(X))) is not None:
        arrays = X, y, w, sample_weight, out
        return recordings.of_call(_step, current_mode(), arrays, (learning_rate, l1, l2))
    return _step(X, y, w, sample_weight, out, learning_rate, l1, l2)


def _gradient(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    out: Array | None,
    l2: float,
    return_loss: bool,
) -> Any:
    l2 = _checks.real("l2", l2, minimum=0.0)
    problem, native_w = _prepare(X, y, w, sample_weight, out)
    loss = problem.empty(problem.shapes.native_loss, np.float64) if return_loss else None
    gradient = _run(problem, native_w, out, loss, 0.0, l2, None)
    return (gradient, problem.to_caller(loss, problem.shapes.loss)) if return_loss else gradient


def _step(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    out: Array | None,
    learning_rate: float,
    l1: float,
    l2: float,
) -> Array:
    learning_rate = _checks.real("learning_rate", learning_rate, above=0.0)
    l1 = _checks.real("l1", l1, minimum=0.0)
    l2 = _checks.real("l2", l2, minimum=0.0)
    problem, native_w = _prepare(X, y, w, sample_weight, out)
    return _run(problem, native_w, out, None, l1, l2, learning_rate)


def _prepare(
    X: Array, y: Array, w: Array, sample_weight: Array | None, out: Array | None
) -> tuple[Problem, Array]:
    """`Problem.prepare`, with coefficients, which a whole fit does without."""
    if w is None:
        raise DTypeError("w is None; needed are the coefficients to begin at, as np.zeros(X.shape[-1])")
    return Problem.prepare(X, y, w, sample_weight, out)


def _run(
    problem: Problem,
    w: Array,
    out: Array | None,
    loss: Array | None,
    l1: float,
    l2: float,
    learning_rate: float | None,
) -> Array:
    """One pass into `out`, or into new memory in the caller's shape."""
    shapes, backend = problem.shapes, problem.backend
    how = None, l1, l2, learning_rate
    if out is not None:
        _checks.output(out, problem.kind, shapes.w, problem.dtype)
    if out is None or problem.kind == "numpy":  # the kernels of the host write to aligned memory only
        native = problem.empty(shapes.native_w)
        problem.run(w, native, loss, *how)
        return problem.to_caller(native, shapes.w) if out is None else problem.write(native, out)
    destination = Destination(problem.choice, problem.kind, shapes.w, problem.sums, out, packed=True)
    destination.avoid(backend.reshape(w, shapes.w), unless_identical=True)
    rows = (problem.X, problem.y, problem.sample_weight)
    destination.avoid(*(array for array in rows if array is not None))
    problem.run(w, backend.reshape(destination.native, shapes.native_w), loss, *how)
    return destination.result()
