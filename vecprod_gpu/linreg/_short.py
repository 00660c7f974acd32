"""The short way of one pass: arrays of NumPy that the CPU takes as they are, unless asked to go elsewhere.

Most of the time of a small call goes into finding out what is to be done, which calls whose arrays look the
same have in common.  A gradient of 8 x 4 takes 6 us this way, and 11 by way of `Problem`, which takes all.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy import ndarray

from .. import _checks, _dispatch
from .._arrays import Array
from ._plan import MOST_PLANS, Look, Plan, plan_of

current_mode = _dispatch.mode.get


def short_gradient(X: Array, y: Array, w: Array, out: Array | None, l2: Any, return_loss: bool) -> Any:
    """The gradient at w, and the loss if it is asked for; None where the call cannot go the short way."""
    if not (type(X) is type(y) is type(w) is ndarray and isinstance(l2, float)):
        return None
    return _pass(X, y, w, out, 0.0, _checks.real("l2", l2, minimum=0.0), None, return_loss)


def short_step(X: Array, y: Array, w: Array, out: Array | None, learning_rate: Any, l1: Any, l2: Any) -> Any:
    """The step from w; None where the call cannot go the short way."""
    if not (type(X) is type(y) is type(w) is ndarray):
        return None
    if not (isinstance(learning_rate, float) and isinstance(l1, float) and isinstance(l2, float)):
        return None
    learning_rate = _checks.real("learning_rate", learning_rate, above=0.0)
    l1, l2 = _checks.real("l1", l1, minimum=0.0), _checks.real("l2", l2, minimum=0.0)
    return _pass(X, y, w, out, l1, l2, learning_rate, return_loss=False)


def _pass(
    X: Array,
    y: Array,
    w: Array,
    out: Array | None,
    l1: float,
    l2: float,
    learning_rate: float | None,
    return_loss: bool,
) -> Any:
    if current_mode() is not None or (out is not None and type(out) is not ndarray):
        return None
    plan = _short_plan((X.shape, X.dtype), (y.shape, y.dtype), (w.shape, w.dtype))
    if plan is None or not (y.flags.c_contiguous and w.flags.c_contiguous):
        return None
    shapes, dtype = plan.shapes, plan.dtype
    if out is not None:
        _checks.output(out, "numpy", shapes.w, dtype)
    native = np.empty(shapes.native_w, dtype)
    losses = np.empty(shapes.native_loss) if return_loss else None
    _dispatch.chosen_cpu().linreg_pass(
        X.reshape(shapes.native_X),
        y.reshape(shapes.native_y),
        w.reshape(shapes.native_w),
        None,
        None,
        l1=l1,
        l2=l2,
        learning_rate=learning_rate,
        out=native,
        loss=losses,
    )
    result = native.reshape(shapes.w)
    if out is not None:
        np.copyto(out, result, casting="same_kind")
        result = out
    if losses is None:
        return result
    return result, losses.astype(dtype).reshape(shapes.loss)[()]  # which makes a scalar of one loss


@lru_cache(MOST_PLANS)
def _short_plan(X: Look, y: Look, w: Look) -> Plan | None:
    """None where an array would have to be cast, there is no problem, or another backend takes the call."""
    if not X[1].kind == y[1].kind == w[1].kind == "f":
        return None
    plan = plan_of(X, y, w, (None, None))
    if (X[1], y[1], w[1], plan.dtype) != (plan.stored, plan.sums, plan.sums, plan.sums):
        return None
    if 0 in plan.shapes.lead:
        return None
    choice = _dispatch.choose("linreg", "numpy", plan.stored, plan.work)
    return plan if choice.backend == "cpu" else None
