"""Passes over the rows of linear regressions, and the steps that they make."""

from typing import Any

import numpy as np

from .. import float_status
from ..packing import frozen
from . import passes

Array = np.ndarray[Any, Any]

_NO_LOSS = np.empty((0, 0))


def linreg_pass(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    x_offset: Array | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float | None,
    out: Array,
    loss: Array | None,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    flags = passes.one_pass(
        frozen(X),
        frozen(y),
        frozen(w),
        None if sample_weight is None else frozen(sample_weight),
        None if x_offset is None else frozen(x_offset),
        l1,
        l2,
        learning_rate or 0.0,
        learning_rate is not None,
        out,
        _NO_LOSS if loss is None else loss,
    )
    float_status.report(flags, "linreg_pass")


def linreg_is_kept(X: Array, w: Array, x_offset: Array | None) -> bool:
    """See the contract in `vecprod_gpu.backends`."""
    return False


def linreg_steps(
    X: Array,
    y: Array,
    w: Array,
    sample_weight: Array | None,
    x_offset: Array | None,
    *,
    l1: float,
    l2: float,
    learning_rate: float,
    points: Array,
    losses: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    if passes.is_small(X, w.shape[-1]):
        weights = None if sample_weight is None else frozen(sample_weight)
        offset = None if x_offset is None else frozen(x_offset)
        inputs = frozen(X), frozen(y), frozen(w), weights, offset
        flags = passes.small_steps(*inputs, l1, l2, learning_rate, points, losses)
        float_status.report(flags, "linreg_pass")
        return
    how = {"l1": l1, "l2": l2, "learning_rate": learning_rate}
    for point, loss in zip(points, losses, strict=True):
        linreg_pass(X, y, w, sample_weight, x_offset, out=point, loss=loss, **how)
        w = point
