"""The largest eigenvalue of the Hessian of a regression, which decides on the learning rate."""

from typing import Any

import numpy as np

from .._settings import Settings
from .centring import Centred
from .data import Given
from .steppers import gradient_of

Host = np.ndarray[Any, Any]

LANCZOS_STEPS = 40  # reads of X; the largest eigenvalue is then known to about a thousandth, from below
MARGIN = 1.01  # by which it is overstated in return


def largest_eigenvalue(given: Given, centred: Centred, settings: Settings) -> float:
    """Of ``Xᵀ S X / W`` in any problem of the batch: exact where there is a Gram matrix, else by Lanczos."""
    if not given.layout.problems:
        return 0.0
    if given.has_gram:
        quadratic = given.quadratic(settings.fit_intercept)
        quadratic.require_squares(settings.l1, settings.l2)
        return float(np.linalg.eigvalsh(quadratic.hessian)[:, -1].max())
    tridiagonal = _lanczos(centred)
    if not np.isfinite(tridiagonal).all():
        given.require_rows("gd").raise_for_not_finite()
    return MARGIN * float(np.linalg.eigvalsh(tridiagonal)[:, -1].max())


def _lanczos(centred: Centred) -> Host:
    """Tridiagonal matrices, whose largest eigenvalues are those of the Hessians, nearly.

    Every step multiplies by the Hessians, in one read of X: the gradient at v of a regression on a target
    of 0 is the Hessian times v.

    References
    ----------
    G. H. Golub and C. F. Van Loan, "Matrix Computations", 4th ed. (2013), section 10.1.
    """
    problem = centred.problem.with_models((1,))
    problems, d, _ = problem.shapes.native_w
    problem = problem.with_target(problem.filled((problems, problem.shapes.n, 1), 0.0))
    vector = np.random.default_rng(0).standard_normal((problems, d))
    vectors: list[Host] = []
    steps = min(LANCZOS_STEPS, d)
    tridiagonal = np.zeros((problems, steps, steps))
    for step in range(steps):
        length = np.linalg.norm(vector, axis=1, keepdims=True)
        if step:
            tridiagonal[:, step, step - 1] = tridiagonal[:, step - 1, step] = length[:, 0]
        vectors.append(np.divide(vector, length, out=np.zeros_like(vector), where=length > 0))
        vector = gradient_of(problem, vectors[-1][:, :, np.newaxis], centred.x_offset)[:, :, 0]
        tridiagonal[:, step, step] = np.einsum("bd,bd->b", vectors[-1], vector)
        for earlier in vectors:  # all of them, since rounding brings back what was taken out
            vector -= np.einsum("bd,bd->b", earlier, vector)[:, np.newaxis] * earlier
    return tridiagonal
