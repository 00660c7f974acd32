"""The mean squared error from residuals, where the quadratic form has no digit left for it."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._streaming.rows import Rows, on_host
from .data import Given
from .quadratic import Quadratic

Host = np.ndarray[Any, Any]

NEARLY_EXACT = 1e-8  # of the terms of the quadratic form; below it few of float64's digits are left
ROW_BYTES = 1 << 24  # of X, widened to float64 at once


def refined_loss(given: Given, quadratic: Quadratic, coef: Host) -> Host:
    """Half the mean squared error ``(B, k)`` of coefficients, by residuals where it is nearly zero."""
    return refined(quadratic.loss(coef), _terms(quadratic, coef), given, quadratic, coef)


def refined(loss: Host, terms: Host, given: Given, quadratic: Quadratic, coef: Host) -> Host:
    """The loss of coefficients, by residuals where the terms that it is left of cancel each other.

    Those cost one more read of the data; without data the loss, from the quadratic form, has to do.
    """
    nearly_exact = 2 * loss <= NEARLY_EXACT * terms
    data = given.data
    if data is None or not nearly_exact.any():
        return loss
    step = max(1, ROW_BYTES // (8 * given.layout.columns * max(1, given.layout.problems)))
    return np.where(nearly_exact, squares_of_residuals(data.parts(step), coef, quadratic) / 2, loss)


def _terms(quadratic: Quadratic, coef: Host) -> Host:
    """How large the terms of ``yy - 2 cᵀ w + wᵀ H w`` may be, which cancel each other."""
    spread = np.sqrt(np.einsum("bdd->bd", quadratic.hessian))
    terms: Host = quadratic.square + np.square(np.einsum("bd,bdk->bk", spread, np.abs(coef)))
    return terms


def squares_of_residuals(parts: Iterable[Rows], coef: Host, quadratic: Quadratic) -> Host:
    """Weighted mean ``(B, k)`` of the squared residuals of coefficients ``(B, d, k)``, part by part."""
    problems, k = coef.shape[0], coef.shape[2]
    sums, total = np.zeros((problems, k)), np.zeros((problems, 1))
    for part in parts:
        layout = part.layout
        X = on_host(part.X).reshape(problems, part.n, layout.d).astype(np.float64, order="C")
        y = on_host(part.y).reshape(problems, part.n, layout.targets).astype(np.float64, order="C")
        weights = np.ones((problems, part.n))
        if part.weights is not None:
            weights = on_host(part.weights).reshape(problems, part.n).astype(np.float64)
        X -= quadratic.x_mean[:, np.newaxis]
        residuals = X @ coef - (y - quadratic.y_mean[:, np.newaxis])
        sums += np.einsum("bn,bnk->bk", weights, np.square(residuals))
        total += weights.sum(axis=1, keepdims=True)
        part.release()
    mean: Host = sums / total
    return mean
