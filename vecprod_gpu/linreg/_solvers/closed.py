"""Closed forms of least squares with an L2 penalty: Cholesky, eigenvalues, singular values."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ... import _dispatch
from ...errors import SingularError
from .._least_norm import shorten
from .._settings import Settings
from .data import Given, Models
from .outcome import Outcome, Recorded
from .quadratic import GradientNorm, Quadratic, penalty
from .residuals import refined, refined_loss
from .systems import Solved, solve_on_device

Host = np.ndarray[Any, Any]

WORST_CONDITION = 1e-10 / float(np.finfo(np.float64).eps)
"""Of a Gram matrix that `auto` trusts: beyond it, fewer than ten digits are left."""

LARGEST_SQUARED = 1e150  # of coefficients: sums of their squares do not overflow


@dataclass(frozen=True)
class Factorised:
    """Solutions by Cholesky factors, and how far they can be trusted.

    Attributes
    ----------
    coef : (B, d, k) ndarray
        NaN where a matrix is not positive definite.
    condition : float
        The worst condition number of a matrix, scaled to a unit diagonal; infinite where one is singular,
        or where squares of a column underflow.
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
    is_faint = bool(quadratic.faint(np.zeros(1), l2).any())
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
    return Factorised(coef, np.inf if is_faint else float(condition.max()))


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
        given.quadratic(settings.fit_intercept).require_squares(*settings.per_model(models.count))
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
    """From eigenvalues of the co-moments: of many solutions the one of least norm."""
    quadratic = given.quadratic(settings.fit_intercept)
    l1, l2 = settings.per_model(models.count)
    quadratic.require_squares(l1, l2)
    plain = Spectrum.of(quadratic.hessian)
    penalties, which = np.unique(l2, return_inverse=True)
    solutions = [shortest(quadratic.hessian, quadratic.linear, one, plain) for one in penalties]
    coef = np.stack([_model(solutions[one], j) for j, one in enumerate(which)], axis=-1)
    return _outcome("eigh", given, settings, quadratic, coef, plain.rank)


def svd(given: Given, models: Models, settings: Settings) -> Outcome:
    """From singular values of the data: of many solutions the one of least norm."""
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


@dataclass(frozen=True)
class Spectrum:
    """Eigenvectors of ``H + l2`` of ``B`` problems, scaled to a unit diagonal.

    So they tell columns that depend on each other from small ones beside large ones, whose eigenvalues look
    like rounding in original units.

    Attributes
    ----------
    roots : (B, d, 1) ndarray
        Of the diagonal; infinite where it is 0, so that constant columns have coefficients of 0.
    values : (B, d) ndarray
    basis : (B, d, d) ndarray
        Eigenvectors in columns.
    """

    roots: Host
    values: Host
    basis: Host

    @classmethod
    def of(cls, hessian: Host, l2: Host | float = 0.0) -> "Spectrum":
        """For a penalty, or one for each problem ``(B,)``."""
        matrices = hessian + np.reshape(l2, (-1, 1, 1)) * np.eye(hessian.shape[1])
        diagonal = np.einsum("bdd->bd", matrices)
        roots = np.sqrt(np.where(diagonal > 0, diagonal, np.inf))[..., np.newaxis]
        return cls(roots, *np.linalg.eigh(matrices / roots / roots.mT))

    @cached_property
    def counts(self) -> Host:
        """Which eigenvalues ``(B, d)`` are more than rounding."""
        counts: Host = self.values > eigenvalue_cut(self.values)
        return counts

    @cached_property
    def rank(self) -> Host:
        """How many columns are independent of the others, ``(B,)``."""
        rank: Host = self.counts.sum(axis=1)
        return rank

    def at(self, problems: Host) -> "Spectrum":
        """Of some problems."""
        return Spectrum(self.roots[problems], self.values[problems], self.basis[problems])

    def solve(self, linear: Host) -> Host:
        """Solutions ``(B, d, k)``, the shortest ones in scaled units."""
        along = self.basis.mT @ (linear / self.roots)
        counts = self.counts[..., np.newaxis]
        shares = np.divide(along, self.values[..., np.newaxis], out=np.zeros_like(along), where=counts)
        w: Host = self.basis @ shares / self.roots
        return w


def shortest(hessian: Host, linear: Host, l2: Host | float, plain: Spectrum) -> Host:
    """The shortest w ``(B, d, k)`` with ``(H + l2) w = c``, for a penalty or one for each problem.

    `plain` is the spectrum without a penalty.
    """
    w = (Spectrum.of(hessian, l2) if np.any(l2) else plain).solve(linear)
    for problem in np.flatnonzero(~plain.counts.all(axis=1)).tolist():
        shorten(w[problem], plain.basis[problem][:, ~plain.counts[problem]], plain.roots[problem])
    return w


def square_root(quadratic: Quadratic) -> tuple[Host, Host]:
    """Of one problem X' ``(r, d)`` and y' ``(r, k)`` of the same H and c, with as many rows as its rank."""
    plain = Spectrum.of(quadratic.hessian)
    counts, roots = plain.counts[0], np.where(np.isinf(plain.roots[0]), 0.0, plain.roots[0])
    rows, deviations = plain.basis[0].T[counts], np.sqrt(plain.values[0, counts])[:, np.newaxis]
    return deviations * rows * roots[:, 0], rows @ (quadratic.linear[0] / plain.roots[0]) / deviations


def _model(array: Host, model: int) -> Host:
    """One model along the last axis, which is shared where there is but one."""
    return array[..., model if array.shape[-1] > 1 else 0]


def _outcome(
    solver: str, given: Given, settings: Settings, quadratic: Quadratic, coef: Host, rank: Host | None
) -> Outcome:
    l2 = settings.per_model(coef.shape[2])[1]
    loss = _solution_loss(given, quadratic, coef, l2)
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


def _solution_loss(given: Given, quadratic: Quadratic, coef: Host, l2: Host) -> Host:
    """Half the mean squared error ``(B, k)`` of solutions."""
    if max(coef.max(initial=0.0), -coef.min(initial=0.0)) > LARGEST_SQUARED:
        return refined_loss(given, quadratic, coef)
    loss, terms = np.empty((2, coef.shape[0], coef.shape[2]))
    if loss.size:
        parts = quadratic.hessian, quadratic.linear, quadratic.square
        _dispatch.host().solution_loss(*parts, coef, l2, loss, terms)
    return refined(loss, terms, given, quadratic, coef)
