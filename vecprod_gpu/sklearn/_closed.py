"""Least squares in closed form, with and without a penalty or a sign constraint."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from ..linreg._settings import Settings
from ..linreg._solvers.auto import solve
from ..linreg._solvers.closed import Spectrum, factorise, shortest, square_root
from ..linreg._solvers.data import Models, to_host
from ..linreg._solvers.quadratic import Quadratic
from ._means import Means
from ._observations import Observations

Host = np.ndarray[Any, Any]

MUCH_WIDER = 3  # columns for each row, from which on the singular values cost less than d³


@dataclass(frozen=True)
class Solution:
    """Coefficients of k targets.

    Attributes
    ----------
    coef : (d, k) ndarray
    intercept : (k,) ndarray
    solver : str
        What found them.
    rank : int or None
        Singular values that count.
    singular : (min(n, d),) ndarray or None
        Singular values of the weighted and centred X.
    """

    coef: Host
    intercept: Host
    solver: str
    rank: int | None = None
    singular: Host | None = None


def least_squares(observations: Observations, rcond: float) -> Solution:
    """The shortest solution; singular values up to `rcond` times the largest count as 0."""
    if not observations.is_wide:
        quadratic = observations.quadratic
        found = factorise(quadratic, np.zeros(observations.targets))
        if found.is_trusted:
            singular = _singular_values(quadratic.hessian[0]) * np.sqrt(observations.weight_sum)
            if singular[-1] > rcond * singular[0]:
                return _solution(quadratic, found.coef, "cholesky", len(singular), singular)
    if observations.given.rows is None:
        return _by_square_root(observations, rcond)
    exact = observations.factor.solve(0.0, observations.fit_intercept, rcond)
    return Solution(exact.coef[0], exact.intercept[0], "svd", int(exact.rank[0]), exact.singular[0])


def ridge(observations: Observations, alpha: Host, solver: str) -> Solution:
    """With a penalty ``alpha |w|²`` for each target; by singular values where `solver` is "svd"."""
    l2 = np.broadcast_to(alpha / observations.weight_sum, observations.targets).astype(np.float64)
    by_factor = observations.given.rows is not None and (solver == "svd" or _is_best_factorised(observations))
    settings = Settings(
        solver="svd" if by_factor else "auto",
        l2=l2 if observations.given.layout.models else l2[0],
        models=observations.targets if observations.given.layout.models else None,
        fit_intercept=observations.fit_intercept,
    )
    with observations.inputs.telling_of_nan():
        outcome, _ = solve(observations.given, Models.read(observations.given, settings, None), settings)
    return Solution(to_host(outcome.coef)[0], to_host(outcome.intercept)[0], outcome.solver)


def nonnegative_ridge(observations: Observations, alpha: Host) -> Solution:
    """With a penalty ``alpha |w|²`` for each target, and no coefficient below 0.

    By Lawson and Hanson's active sets, on a matrix with the Gram matrix of the data and as many rows as
    columns.
    """
    X, y = _square_root(observations)
    d = X.shape[1]
    penalties = np.broadcast_to(np.sqrt(alpha), y.shape[1])
    coef = np.empty((d, y.shape[1]))
    for k, penalty in enumerate(penalties.tolist()):
        rows = np.vstack([X, penalty * np.eye(d)])  # without a penalty zeros, as nnls needs some rows
        coef[:, k] = nnls(rows, np.pad(y[:, k], (0, len(rows) - len(X))))[0]
    return Solution(coef, Means.of(observations).intercept(coef), "nnls")


def _is_best_factorised(observations: Observations) -> bool:
    """Whether a Gram matrix cannot be had, or would take longer than singular values of the rows."""
    n, d = observations.given.n, observations.features
    is_square = d // MUCH_WIDER < n <= d
    return observations.is_wide and not (is_square and observations.given.has_gram)


def _by_square_root(observations: Observations, rcond: float) -> Solution:
    """Where there are no rows left to factorise: by singular values of rows with the same co-moments."""
    X, y = _square_root(observations)
    left, singular, right = np.linalg.svd(X, full_matrices=False)
    counts = singular > rcond * singular.max(initial=0.0)
    quadratic = observations.quadratic
    coef = right[counts].T @ (left.T[counts] @ y / singular[counts, np.newaxis])
    if counts.all():  # nothing but columns that depend on each other is cut, for which no digit need be lost
        coef = shortest(quadratic.hessian, quadratic.linear, 0.0, Spectrum.of(quadratic.hessian))[0]
    singular = np.pad(singular, (0, observations.features - len(singular)))
    return _solution(quadratic, coef[np.newaxis], "eigh", int(counts.sum()), singular)


def _solution(quadratic: Quadratic, coef: Host, solver: str, rank: int, singular: Host) -> Solution:
    return Solution(coef[0], quadratic.intercept(coef)[0], solver, rank, singular)


def _singular_values(gram: Host) -> Host:
    """Square roots of the eigenvalues, from the largest on.

    They are those of a Cholesky factor: scaled to a unit diagonal first, it keeps the digits of small
    columns beside large ones.
    """
    scale = np.sqrt(np.diagonal(gram))
    factor = np.linalg.cholesky(gram / scale / scale[:, np.newaxis]) * scale[:, np.newaxis]
    return np.linalg.svd(factor, compute_uv=False)


def _square_root(observations: Observations) -> tuple[Host, Host]:
    """X' and y' as of `Observations.triangle`; without rows from eigenvectors of the co-moments."""
    if observations.given.rows is not None:
        return observations.triangle()
    quadratic, root = observations.quadratic, np.sqrt(observations.weight_sum)
    quadratic.require_squares(np.zeros(1), np.zeros(1))
    X, y = square_root(quadratic)
    return X * root, y * root
