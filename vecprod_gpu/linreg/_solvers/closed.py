"""Closed forms of least squares with an L2 penalty: Cholesky, eigenvalues, singular values."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _dispatch
from ...errors import SingularError
from .._settings import Settings
from .data import Given, Models
from .outcome import Outcome, Recorded
from .quadratic import GradientNorm, Quadratic, penalty
from .residuals import refined
from .systems import Solved, solve_on_device

Host = np.ndarray[Any, Any]

WORST_CONDITION = 1e-10 / float(np.finfo(np.float64).eps)
"""Of a Gram matrix that `auto` trusts: beyond it, fewer than ten digits are left."""


@dataclass(frozen=True)
class Factorised:
    """Solutions by Cholesky factors, and how far they can be trusted.

    Attributes
    ----------
    coef : (B, d, k) ndarray
        NaN where a matrix is not positive definite.
    condition : float
        The worst condition number of a matrix, scaled to a unit diagonal; infinite where one is singular.
    """

    coef: Host
    condition: float

    @property
    def is_trusted(self) -> bool:
        """Whether enough digits are left."""
        return self.condition <= WORST_CONDITION


def factorise(quadratic: Quadratic, l2: Host) -> Factorised:
    """Solve ``(H + l2) w = c`` for penalties l2 ``(k,)``, by Cholesky factors of the scaled matrix."""
    problems, d, targets = quadratic.linear.shape
    k = len(l2)
    solve = _dispatch.host().solve_positive
    if problems == 0:
        return Factorised(np.zeros((0, d, k)), 1.0)
    if (l2 == l2[0]).all():
        matrices = quadratic.hessian
        if l2[0]:
            matrices = matrices.copy()
            matrices.reshape(problems, -1)[:, :: d + 1] += l2[0]
        coef, condition = np.empty((problems, d, targets)), np.empty(problems)
        solve(matrices, quadratic.linear, coef, condition)
        coef = np.ascontiguousarray(np.broadcast_to(coef, (problems, d, k)))
    else:
        matrices = np.repeat(quadratic.hessian, k, axis=0)
        matrices.reshape(problems, k, -1)[:, :, :: d + 1] += l2[:, np.newaxis]
        sides = np.broadcast_to(quadratic.linear, (problems, d, k)).transpose(0, 2, 1).reshape(-1, d, 1)
        each, condition = np.empty((problems * k, d, 1)), np.empty(problems * k)
        solve(matrices, np.ascontiguousarray(sides), each, condition)
        coef = np.ascontiguousarray(each.reshape(problems, k, d).transpose(0, 2, 1))
    return Factorised(coef, float(condition.max()))


def solve_normal_equations(given: Given, models: Models, settings: Settings) -> Factorised | Solved:
    """By Cholesky factors: many small problems where their rows are, all others on the host."""
    solved = solve_on_device(given, models, settings)
    if solved is not None:
        return solved
    return factorise(given.quadratic(settings.fit_intercept), settings.per_model(models.count)[1])


def cholesky(
    given: Given, models: Models, settings: Settings, found: Factorised | Solved | None = None
) -> Outcome:
    """From Cholesky factors of the co-moments, scaled to a unit diagonal; the columns must be independent."""
    if found is None:
        found = solve_normal_equations(given, models, settings)
    if not np.isfinite(found.condition):
        raise SingularError(
            "columns of X depend on each other (or are constant), so that there is no Cholesky factor; "
            'use solver="svd", "eigh" or an l2 of more than 0'
        )
    # Of columns that a penalty alone keeps apart nothing is known.
    rank = None if settings.l2.all() else np.broadcast_to(np.int64(given.layout.d), given.layout.problems)
    if isinstance(found, Solved):
        return found.outcome(rank)
    quadratic = given.quadratic(settings.fit_intercept)
    return _outcome("cholesky", given, settings, quadratic, found.coef, rank)


def eigh(given: Given, models: Models, settings: Settings) -> Outcome:
    """From eigenvalues of the co-moments in original units: the solution of least norm."""
    quadratic = given.quadratic(settings.fit_intercept)
    values, basis = np.linalg.eigh(quadratic.hessian)
    kept = values > eigenvalue_cut(values)
    l2 = settings.per_model(models.count)[1]
    along = np.swapaxes(basis, 1, 2) @ quadratic.linear
    curvature = values[:, :, np.newaxis] + l2
    shares = np.divide(
        along,
        curvature,
        out=np.zeros(np.broadcast_shapes(along.shape, curvature.shape)),
        where=kept[..., np.newaxis],
    )
    return _outcome("eigh", given, settings, quadratic, basis @ shares, kept.sum(axis=1))


def svd(given: Given, models: Models, settings: Settings) -> Outcome:
    """From singular values of the data in original units: the solution of least norm."""
    factor = given.factor
    l2 = settings.per_model(models.count)[1]
    penalties, which = np.unique(l2, return_inverse=True)
    solutions = [factor.solve(float(one), settings.fit_intercept) for one in penalties]
    coef, intercept, residual, norm = (
        np.stack([_model(getattr(solutions[one], name), j) for j, one in enumerate(which)], axis=-1)
        for name in ("coef", "intercept", "residual", "gradient_norm")
    )
    total = np.asarray(factor.weight_sum, float).reshape(-1, 1)
    loss = residual / (2 * total) + penalty(coef, np.zeros(1), l2)
    losses = Recorded(loss), Recorded(loss[np.newaxis])
    return Outcome("svd", coef, intercept, *losses, Recorded(norm), True, rank=solutions[0].rank)


def eigenvalue_cut(values: Host) -> Host:
    """Up to where eigenvalues ``(B, d)`` count as zero, ``(B, 1)``."""
    cut: Host = values.shape[1] * np.finfo(np.float64).eps * values[:, -1:]
    return cut


def _model(array: Host, model: int) -> Host:
    """One model along the last axis, which is shared where there is but one."""
    return array[..., model if array.shape[-1] > 1 else 0]


def _outcome(
    solver: str, given: Given, settings: Settings, quadratic: Quadratic, coef: Host, rank: Host | None
) -> Outcome:
    l2 = settings.per_model(coef.shape[2])[1]
    loss, terms = np.empty((2, coef.shape[0], coef.shape[2]))
    if loss.size:
        parts = quadratic.hessian, quadratic.linear, quadratic.square
        _dispatch.host().solution_loss(*parts, coef, l2, loss, terms)
    loss = refined(loss, terms, given, quadratic, coef)
    if l2.any():
        loss = loss + penalty(coef, np.zeros(1), l2)
    return Outcome(
        solver,
        coef,
        quadratic.intercept(coef),
        Recorded(loss),
        Recorded(loss[np.newaxis]),
        GradientNorm(quadratic, coef, l2),
        True,
        rank=rank,
    )
