"""Fits of all points of a grid on all training sets, from their co-moments."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from .. import _dispatch
from ..errors import SingularError
from ._closed import WORST_CONDITION, eigenvalue_cut
from ._grid import Grid
from ._quadratic import Quadratic
from ._stability import ROUNDING

Host = np.ndarray[Any, Any]
Block = tuple[Host, Host]
"""Numbers of m points, and their coefficients ``(k, d, m)``, in the basis of the split."""

BLOCK_NUMBERS = 1 << 17  # coefficients at once: they stay in the cache from the fit to the score
MATRIX_NUMBERS = 1 << 23  # of matrices that are factorised at once
STEPS_AT_ONCE = 256
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

    @cached_property
    def spectrum(self) -> Any:
        """Eigenvalues ``(F, d)`` and eigenvectors of the Hessians."""
        return np.linalg.eigh(self.quadratic.hessian)

    @cached_property
    def is_flat(self) -> Host:
        """Along which eigenvectors the training set varies by rounding alone, ``(F, d)``."""
        values = self.spectrum.eigenvalues
        flat: Host = values <= eigenvalue_cut(values)
        return flat

    @cached_property
    def eigenvalues(self) -> Host:
        """``(F, d)``, 0 where they are flat."""
        return np.where(self.is_flat, 0.0, self.spectrum.eigenvalues)

    @cached_property
    def along(self) -> Host:
        """The linear part of the quadratics in the eigenbases, ``(F, d, k)``; 0 where they are flat."""
        along = self.spectrum.eigenvectors.mT @ self.quadratic.linear
        return np.where(self.is_flat[..., np.newaxis], 0.0, along)

    @cached_property
    def largest(self) -> Host:
        """The largest eigenvalue of each, ``(F,)``."""
        return np.linalg.eigvalsh(self.quadratic.hessian)[:, -1]

    def rates(self, grid: Grid, split: int) -> Host:
        """Learning rates ``(l2, learning_rate)`` of a split; those that run away brought to the bound."""
        curvature = np.maximum(self.largest[split], 0.0) + grid.l2[:, np.newaxis]
        automatic = np.divide(1.0, curvature, out=np.ones_like(curvature), where=curvature > 0)
        rates = np.where(np.isnan(grid.learning_rate), automatic, grid.learning_rate)
        with np.errstate(divide="ignore"):
            return np.minimum(rates, 2 / curvature)


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
    """Descents without L1 in closed form: after t steps ``(1 - (1 - η λ)**t) / λ`` of each eigenvector."""

    training: Training
    grid: Grid

    def basis(self, split: int) -> Host | None:
        """The eigenvectors."""
        basis: Host = self.training.spectrum.eigenvectors[split]
        return basis

    def blocks(self, split: int) -> Iterator[Block]:
        """In blocks of several pairs of l2 and learning_rate with all max_iter."""
        grid, along = self.grid, self.training.along[split].T
        numbers = grid.numbers[grid.l1 == 0].reshape(-1, grid.l2.size * grid.learning_rate.size, grid.shape[3])
        curvature = self.training.eigenvalues[split][:, np.newaxis] + np.repeat(
            grid.l2, grid.learning_rate.size
        )
        x = self.training.rates(grid, split).ravel() * curvature
        best = _over(along[:, :, np.newaxis], curvature)
        pairs = max(1, BLOCK_NUMBERS // (best[..., :1].size * grid.shape[3]))
        for first in range(0, x.shape[1], pairs):
            some = slice(first, first + pairs)
            gone = _remaining(x[:, some], grid.max_iter)
            np.subtract(1.0, gone, out=gone) if self._is_exact else None
            yield numbers, gone


def _over(a: Host, b: Host) -> Host:
    """``a / b``, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b > 0)
