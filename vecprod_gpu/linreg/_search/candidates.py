"""Fits of all points of a grid on all training sets, from their co-moments."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ... import _dispatch
from ..._callers import frames_to_caller
from ...errors import SingularError
from .._solvers.closed import WORST_CONDITION, Spectrum, eigenvalue_cut, shortest
from .._solvers.quadratic import Quadratic
from .._solvers.stability import ROUNDING
from .grid import Grid

Host = np.ndarray[Any, Any]
Block = tuple[Host, Host]
"""Numbers of m points, and their coefficients ``(k, d, m)``, in the basis of the split."""

BLOCK_NUMBERS = 1 << 17  # coefficients at once: they stay in the cache from the fit to the score
MATRIX_NUMBERS = 1 << 23  # of matrices that are factorised at once
STEP_NUMBERS = 1 << 20  # objectives that descents with L1 write down on the way
NEARLY_SINGULAR = 1e-3 / float(np.finfo(np.float64).eps)
"""Condition of a scaled matrix, beyond which its rank is a matter of rounding, which eigenvalues tell."""
TOLD_GAP = 1e-6  # of a descent that was cut short: less cannot be seen in a score
GAP = 1e-12  # of coordinate descent, whose sweeps over co-moments are cheap


class Candidates(Protocol):
    """The fits of some points."""

    def basis(self, split: int) -> Host | None:
        """``(d, d)``: in whose columns the coefficients of a split are given; None for the plain ones."""

    def blocks(self, split: int) -> Iterator[Block]:
        """The points fitted on the training set of a split."""


@dataclass(frozen=True)
class Training:
    """What F training sets have in common for all points.

    Attributes
    ----------
    quadratic : Quadratic
        Half the mean squared error on each.
    """

    quadratic: Quadratic

    def require_squares(self, l1: Host, l2: Host) -> None:
        """Raise where a column is too small for its squares on a training set."""
        self.quadratic.require_squares(l1, l2, "training set")

    @cached_property
    def spectrum(self) -> Any:
        """Eigenvalues ``(F, d)`` and eigenvectors of the Hessians."""
        return np.linalg.eigh(self.quadratic.hessian)

    @cached_property
    def scaled(self) -> Spectrum:
        """The same of the Hessians scaled to a unit diagonal."""
        return Spectrum.of(self.quadratic.hessian)

    @cached_property
    def is_flat(self) -> Host:
        """Along which eigenvectors the training set varies by rounding alone, ``(F, d)``."""
        values = self.spectrum.eigenvalues
        flat: Host = values <= eigenvalue_cut(values)
        return flat

    @cached_property
    def along(self) -> Host:
        """The linear part of the quadratics in the eigenbases, ``(F, d, k)``."""
        along: Host = self.spectrum.eigenvectors.mT @ self.quadratic.linear
        return along

    @cached_property
    def is_dependent(self) -> Host:
        """Along which eigenvectors ``(F, d)`` columns depend on each other, where these can tell.

        Where more is flat than there are dependent columns, small ones are among it, beside large ones.
        """
        if not self.is_flat.any():
            return self.is_flat
        missing = self.is_flat.shape[1] - self.scaled.rank
        dependent: Host = self.is_flat & (self.is_flat.sum(axis=1) == missing)[:, np.newaxis]
        return dependent

    def minima(self, split: int, l2: Host, flat: Host) -> tuple[Host, Host]:
        """Minima ``(k, d, m)`` of the objectives in the eigenbasis of a split, and curvatures ``(d, m)``.

        Along `flat` eigenvectors ``(d,)`` the data have neither curvature nor slope.
        """
        values = np.where(flat, 0.0, np.maximum(self.spectrum.eigenvalues[split], 0.0))
        along = np.where(flat[:, np.newaxis], 0.0, self.along[split])
        curvature = values[:, np.newaxis] + l2
        return _quotient(along.T[:, :, np.newaxis], curvature), curvature

    @cached_property
    def largest(self) -> Host:
        """The largest eigenvalue of each, ``(F,)``."""
        largest: Host = np.maximum(self.spectrum.eigenvalues[:, -1], 0.0)
        return largest

    def rates(self, grid: Grid, split: int) -> Host:
        """Learning rates ``(l2, learning_rate)`` of a split; those that run away brought to the bound."""
        curvature = self.largest[split] + grid.l2[:, np.newaxis]
        automatic = np.divide(1.0, curvature, out=np.ones_like(curvature), where=curvature > 0)
        rates = np.where(np.isnan(grid.learning_rate), automatic, grid.learning_rate)
        with np.errstate(divide="ignore"):
            stable: Host = np.minimum(rates, 2 / curvature)
        return stable


def runs_away(largest: Host, grid: Grid) -> Host:
    """At which points the descent diverges on problems of largest eigenvalues (F,): ``(F, points)``."""
    curvature = np.maximum(largest, 0.0)[:, np.newaxis] + grid.l2
    with np.errstate(divide="ignore"):
        bound = 2 / curvature * (1 + ROUNDING)
    is_over = grid.learning_rate > bound[..., np.newaxis]
    everywhere = is_over[:, np.newaxis, :, :, np.newaxis] & (grid.max_iter > 0)
    return np.broadcast_to(everywhere, (len(largest), *grid.shape)).reshape(len(largest), -1)


@dataclass(frozen=True)
class EigenSteps:
    """Descents without L1 in closed form: ``(1 - (1 - η λ)**t) / λ`` along an eigenvector of curvature λ."""

    training: Training
    grid: Grid

    def basis(self, split: int) -> Host:
        """The eigenvectors."""
        basis: Host = self.training.spectrum.eigenvectors[split]
        return basis

    def blocks(self, split: int) -> Iterator[Block]:
        """Some pairs of l2 and learning_rate, each with all max_iter."""
        grid = self.grid
        l2 = np.repeat(grid.l2, len(grid.learning_rate))
        best, curvature = self.training.minima(split, l2, self.training.is_flat[split])
        x = self.training.rates(grid, split).ravel() * curvature
        numbers = grid.numbers[grid.l1 == 0].reshape(-1, len(l2), len(grid.max_iter))
        pairs = max(1, BLOCK_NUMBERS // (best[..., 0].size * len(grid.max_iter)))
        for first in range(0, len(l2), pairs):
            some = slice(first, first + pairs)
            coef = best[:, :, some, np.newaxis] * _covered(x[:, some], grid.max_iter)
            coef = coef.reshape(*coef.shape[:2], -1)
            for same in numbers[:, some]:
                yield same.ravel(), coef


class ClosedForms:
    """Ridge regression by eigenvectors, for the points at which these lose no digits.

    Along each eigenvector the coefficient is ``c / (λ + l2)``, and 0 where columns depend on each other.
    All other points are solved one by one, from matrices scaled to a unit diagonal.
    """

    def __init__(self, training: Training, grid: Grid, solver: str) -> None:
        training.require_squares(np.zeros(1), grid.l2)
        self._training, self._grid, self._solver = training, grid, solver
        self._singly = self._is_unsafe()
        if solver == "cholesky":
            self._singly[...] = True
        self._coef = np.empty((*self._singly.shape, *training.quadratic.linear.shape[1:]))
        solve = self._by_scaled_eigenvectors if solver == "eigh" else self._by_factors
        d = training.quadratic.hessian.shape[1]
        pairs = np.argwhere(self._singly)
        at_once = max(1, MATRIX_NUMBERS // d**2)
        for first in range(0, len(pairs), at_once):
            split, model = pairs[first : first + at_once].T
            self._coef[split, model] = solve(split, model)

    def basis(self, split: int) -> None:
        """None: in original units nothing is lost of small columns beside large ones."""

    def blocks(self, split: int) -> Iterator[Block]:
        """Those by eigenvectors, and those that were solved one by one."""
        numbers = self._grid.numbers[self._grid.l1 == 0, :, 0, 0]
        for chosen, coef in (self._by_eigenvectors(split), self._one_by_one(split)):
            for same in numbers[:, chosen]:
                yield same, coef

    def _is_unsafe(self) -> Host:
        """Where the unscaled matrix is so badly conditioned that scaling it first may save digits."""
        values = self._training.spectrum.eigenvalues
        smallest = np.where(self._training.is_dependent, np.inf, values).min(axis=1, keepdims=True)
        smallest = np.maximum(smallest, 0.0) + self._grid.l2
        unsafe: Host = values[:, -1:] + self._grid.l2 > WORST_CONDITION * smallest
        return unsafe

    def _by_factors(self, split: Host, model: Host) -> Host:
        """Coefficients ``(m, d, k)`` of some points by Cholesky factors, where there are such."""
        quadratic, l2 = self._training.quadratic, self._grid.l2
        matrices = quadratic.hessian[split]
        matrices.reshape(len(split), -1)[:, :: matrices.shape[1] + 1] += l2[model, np.newaxis]
        sides = quadratic.linear[split]
        coef, condition = np.empty_like(sides), np.empty(len(split))
        _dispatch.host().solve_positive(matrices, sides, coef, condition)
        if self._solver == "cholesky" and not np.isfinite(condition).all():
            raise SingularError(
                "columns of X depend on each other (or are constant) in the training set of split "
                f"{split[~np.isfinite(condition)][0]}, so that there is no Cholesky factor; "
                'use solver="auto" or "eigh", or an l2 of more than 0'
            )
        left = condition > NEARLY_SINGULAR
        if self._solver == "auto" and left.any():
            coef[left] = self._by_scaled_eigenvectors(split[left], model[left])
        return coef

    def _by_scaled_eigenvectors(self, split: Host, model: Host) -> Host:
        """Coefficients ``(m, d, k)`` of some points, of least norm where columns depend on each other."""
        quadratic, scaled = self._training.quadratic, self._training.scaled.at(split)
        return shortest(quadratic.hessian[split], quadratic.linear[split], self._grid.l2[model], scaled)

    def _by_eigenvectors(self, split: int) -> Block:
        left, training = np.flatnonzero(~self._singly[split]), self._training
        best, _ = training.minima(split, self._grid.l2[left], training.is_dependent[split])
        return left, training.spectrum.eigenvectors[split] @ best

    def _one_by_one(self, split: int) -> Block:
        there = np.flatnonzero(self._singly[split])
        return there, np.ascontiguousarray(self._coef[split, there].transpose(2, 1, 0))


def coordinate_paths(training: Training, grid: Grid, is_in: Host) -> Candidates:
    """Elastic nets of the l1 that are in, by coordinate descent from the strongest penalty on."""
    quadratic = training.quadratic
    splits, d, k = quadratic.linear.shape
    numbers = grid.numbers[is_in][:, :, 0]
    l1, l2 = (one.ravel() for one in np.meshgrid(grid.l1[is_in], grid.l2, indexing="ij"))
    training.require_squares(l1, l2)
    order = np.lexsort((-l2, -l1))
    found = []
    is_short = np.zeros((len(grid.max_iter), splits, len(order)), bool)
    for iteration, max_iter in enumerate(grid.max_iter.tolist()):
        coef = np.zeros((splits, k, d, len(order)))
        for target in range(k):
            w = np.zeros((splits, d, len(order)))
            square = np.ascontiguousarray(quadratic.square[:, target : target + 1])
            n_iter, gap = np.empty((splits, len(order)), np.int64), np.empty((splits, len(order)))
            _dispatch.host().coordinate_descent(
                quadratic.hessian,
                np.ascontiguousarray(quadratic.linear[:, :, target : target + 1]),
                square,
                w,
                l1=l1[order],
                l2=l2[order],
                tol=GAP,
                max_iter=max_iter,
                is_path=True,
                n_iter=n_iter,
                gap=gap,
            )
            coef[:, target] = w
            # Without penalties the gap is NaN, and nothing but the sweeps tells.
            is_short[iteration] |= (n_iter >= max_iter) & ~(gap <= TOLD_GAP * square)
        found.append((numbers[:, :, iteration].ravel()[order], coef))
    if is_short.any():
        _warn_of_gaps(is_short)
    return _Listed(found)


def _warn_of_gaps(is_short: Host) -> None:
    """Tell of how many points ``(iterations, F, m)`` the sweeps were too few."""
    points, splits = np.count_nonzero(is_short.any(axis=1)), np.count_nonzero(is_short.any(axis=(0, 2)))
    total = is_short.size // is_short.shape[1]
    warnings.warn(
        f"coordinate descent did not converge within max_iter sweeps at {points} of its {total} points, on "
        f"{splits} of {is_short.shape[1]} training sets, so that their scores are off: raise max_iter, or "
        "the penalties",
        RuntimeWarning,
        stacklevel=frames_to_caller(),
    )


@dataclass(frozen=True)
class ProximalSteps:
    """Descents with L1, step by step: all points of a split at once."""

    training: Training
    grid: Grid

    def basis(self, split: int) -> None:
        """None: a soft threshold is for the plain coefficients."""

    def blocks(self, split: int) -> Iterator[Block]:
        """The points of one max_iter after the other."""
        grid, quadratic = self.grid, self.training.quadratic
        d, k = quadratic.linear.shape[1:]
        is_in = grid.l1 > 0
        numbers = grid.numbers[is_in].reshape(-1, len(grid.max_iter))
        l1, l2, rate = (np.tile(one, k) for one in self._models(split, is_in))
        c = np.ascontiguousarray(np.repeat(quadratic.linear[split], len(numbers), axis=1))[np.newaxis]
        w = np.zeros_like(c)
        at_once = max(1, STEP_NUMBERS // w.shape[2])
        taken = 0
        for iteration in np.argsort(grid.max_iter, kind="stable").tolist():
            steps = int(grid.max_iter[iteration]) - taken
            taken += steps
            while steps:
                count = min(steps, at_once)
                values, norms = np.empty((2, count, 1, w.shape[2]))
                _dispatch.host().proximal_descent(
                    quadratic.hessian[split][np.newaxis],
                    c,
                    w,
                    l1=l1,
                    l2=l2,
                    learning_rate=rate,
                    values=values,
                    norms=norms,
                )
                steps -= count
            yield numbers[:, iteration], w[0].reshape(d, k, -1).transpose(1, 0, 2)

    def _models(self, split: int, is_in: Host) -> list[Host]:
        """Penalties and learning rates of the models of a split."""
        grid = self.grid
        rates = self.training.rates(grid, split)
        shape = (np.count_nonzero(is_in), *rates.shape)
        l1 = grid.l1[is_in][:, np.newaxis, np.newaxis]
        return [np.broadcast_to(one, shape).ravel() for one in (l1, grid.l2[:, np.newaxis], rates)]


@dataclass(frozen=True)
class _Listed:
    """Fits of all splits: numbers of m points, and coefficients ``(F, k, d, m)``."""

    found: list[Block]

    def basis(self, split: int) -> None:
        """None: the coefficients are plain."""

    def blocks(self, split: int) -> Iterator[Block]:
        """Those of one split."""
        return ((points, coef[split]) for points, coef in self.found)


def _quotient(a: Host, b: Host) -> Host:
    """``a / b``, and 0 where b is 0."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    quotient: Host = np.divide(a, b, out=np.zeros(shape), where=np.broadcast_to(b > 0, shape))
    return quotient


def _covered(x: Host, steps: Host) -> Host:
    """``1 - (1 - x)**t`` for x from 0 to 2 and each number t of steps, which becomes the last axis."""
    with np.errstate(divide="ignore"):
        logarithm = np.where(x <= 0.5, np.log1p(-np.minimum(x, 0.5)), np.log(np.abs(1 - x)))
    # What is left after a step straight to the end is less than any number, but not 0 to the power of 0.
    covered: Host = np.maximum(logarithm, -1000.0)[..., np.newaxis] * steps
    np.expm1(covered, out=covered)
    np.negative(covered, out=covered)
    overshoots = x > 1
    if overshoots.any():
        is_beyond = overshoots[..., np.newaxis] & (steps % 2 == 1)
        np.subtract(2.0, covered, out=covered, where=is_beyond)
    return covered
