"""Coordinate descent on co-moments: lasso and elastic net."""

from typing import Any

import numpy as np

from ... import _dispatch
from .._settings import Settings
from .data import Given, Models
from .outcome import Outcome, Recorded
from .quadratic import penalty
from .residuals import refined_loss
from .stability import inverse_curvature

Host = np.ndarray[Any, Any]


def coordinate(given: Given, models: Models, settings: Settings) -> Outcome:
    """Sweep over the coefficients until the duality gap is small; penalties of one target form a path."""
    quadratic = given.quadratic(settings.fit_intercept)
    l1, l2 = settings.per_model(models.count)
    quadratic.require_squares(l1, l2)
    problems, d, targets = quadratic.linear.shape
    is_path = targets == 1 and models.count > 1
    # The strongest penalty comes first: from one solution it is not far to the next.
    order = np.lexsort((-l2, -l1)) if is_path else np.arange(models.count)
    w = np.zeros((problems, d, models.count)) if models.start is None else models.start[:, :, order].copy()
    n_iter = np.zeros((problems, models.count), np.int64)
    gap = np.zeros((problems, models.count))
    if problems:
        _dispatch.host().coordinate_descent(
            quadratic.hessian,
            quadratic.linear,
            quadratic.square,
            w,
            l1=l1[order],
            l2=l2[order],
            tol=settings.tol,
            max_iter=settings.max_iter,
            is_path=is_path,
            n_iter=n_iter,
            gap=gap,
        )
    coef = np.empty_like(w)
    coef[:, :, order] = w
    largest = float(np.linalg.eigvalsh(quadratic.hessian).max(initial=0.0))
    loss = refined_loss(given, quadratic, coef) + penalty(coef, l1, l2)
    is_done = (n_iter < settings.max_iter) | (gap <= settings.tol * quadratic.square)
    return Outcome(
        "cd",
        coef,
        quadratic.intercept(coef),
        Recorded(loss),
        Recorded(loss[np.newaxis]),
        Recorded(quadratic.proximal_gradient_norm(coef, l1, l2, inverse_curvature(largest, l2))),
        bool(is_done.all()),
        int(n_iter.max(initial=0)),
    )
